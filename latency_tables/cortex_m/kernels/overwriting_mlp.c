/* A block's MLP over its own input, two tokens at a time: layer norm, linear layers, sum. */
#include "nested.h"

void ofa_overwriting_mlp(const void *arguments) {
    const struct overwriting_mlp *call = arguments;
    int32_t tokens = call->norm.tokens, in = call->norm.count;
    for (int32_t t = 0; t < tokens; t += 2) {
        int32_t pair = tokens - t < 2 ? 1 : 2;
        int8_t *from = call->scratch, *to = call->scratch + call->odd;
        norm_tokens(&call->norm, call->x + t * in, from, pair);
        for (int32_t i = 0; i < call->num_layers; i++) {
            apply(&call->layers[i], from, to, pair, 0, call->layers[i].out);
            int8_t *made = to;
            to = from;
            from = made;
        }
        add_up(&call->add, call->x + t * in, from, call->y + t * in, pair * in);
    }
}
