/* 1x1 convolutions with stride 1, and linear layers, which are that with one pixel. */
#include "dense.h"
#include "parts.h"

void ofa_pointwise_part(const struct pointwise *call, const int8_t *x, int8_t *y, int32_t pixels) {
    const struct finish how = call->finish;
    int32_t in = call->in, words = call->words, out = call->out;
    for (; pixels > 1; pixels -= 2) {
        two_rows(x, x + in, y, call->weights, words, out, call->channels, &how);
        x += 2 * in;
        y += 2 * out;
    }
    if (pixels) {
        one_row(x, y, call->weights, words, out, call->channels, &how);
    }
}

void ofa_pointwise(const void *arguments) {
    const struct pointwise *call = arguments;
    ofa_pointwise_part(call, call->x, call->y, call->pixels);
}
