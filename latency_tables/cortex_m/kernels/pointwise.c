/* 1x1 convolutions with stride 1, and linear layers, which are that with one pixel. */
#include "dense.h"
#include "parts.h"

/* Backwards where y is behind x: either may reach into the other as far as `Call.leads` says. */
void ofa_pointwise_part(const struct pointwise *call, const int8_t *x, int8_t *y, int32_t pixels) {
    const struct finish how = call->finish;
    int32_t in = call->in, words = call->words, out = call->out;
    int32_t back = is_behind(y, x), pixel = back * (pixels - 2), step = 2 - 4 * back;
    for (int32_t left = pixels; left > 1; left -= 2) {
        const int8_t *from = x + pixel * in;
        two_rows(from, from + in, y + pixel * out, call->weights, words, out, call->channels, &how);
        pixel += step;
    }
    if (pixels & 1) {
        pixel = (1 - back) * (pixels - 1);
        one_row(x + pixel * in, y + pixel * out, call->weights, words, out, call->channels, &how);
    }
}

void ofa_pointwise(const void *arguments) {
    const struct pointwise *call = arguments;
    ofa_pointwise_part(call, call->x, call->y, call->pixels);
}
