/* Layer normalisation in integers: count^2 * variance = count * sum of squares - square of the sum. */
#include "reciprocal.h"

void ofa_layer_norm(const void *arguments) {
    const struct layer_norm *call = arguments;
    const int8_t *x = call->x;
    int8_t *y = call->y;
    int32_t count = call->count, shift = call->shift;
    for (int32_t tokens = call->tokens; tokens > 0; tokens--) {
        int32_t sum = 0, squares = 0;
        for (int32_t i = 0; i < count; i++) {
            sum += x[i];
            squares += x[i] * x[i];
        }
        uint32_t variance = (uint32_t)count * (uint32_t)squares - (uint32_t)sum * (uint32_t)sum + call->epsilon;
        uint32_t half = (uint32_t)__builtin_clz(variance) >> 1;
        int32_t factor = reciprocal(root(variance << (2 * half)));
        for (int32_t i = 0; i < count; i++) {
            int32_t deviation = (int32_t)((uint32_t)(*x++ * count - sum) << (half + 9));
            int32_t norm = high_word(deviation, factor);
            *y++ = (int8_t)clamp((high_word(norm, call->scales[i]) + call->biases[i]) >> shift, -128, 127);
        }
    }
}
