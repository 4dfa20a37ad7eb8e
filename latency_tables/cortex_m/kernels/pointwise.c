/* 1x1 convolutions with stride 1, and linear layers, which are that with one pixel. */
#include "dense.h"

void ofa_pointwise(const void *arguments) {
    const struct pointwise *call = arguments;
    const struct finish how = call->finish;
    const int8_t *x = call->x;
    int8_t *y = call->y;
    int32_t pixels = call->pixels, in = call->in, words = call->words, out = call->out;
    for (; pixels > 1; pixels -= 2) {
        two_rows(x, x + in, y, call->weights, words, out, call->channels, &how);
        x += 2 * in;
        y += 2 * out;
    }
    if (pixels) {
        one_row(x, y, call->weights, words, out, call->channels, &how);
    }
}
