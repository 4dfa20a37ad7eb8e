/* Dense convolutions: the windows of two output pixels are laid out as rows, which a matrix is multiplied with. */
#include "copy.h"
#include "dense.h"

/* the window of an output pixel; beyond the edges it holds the real value 0 */
static inline void gather(const struct convolution *call, int32_t pixel, int8_t *window) {
    int32_t in = call->in, kernel = call->kernel, bytes = kernel * in;
    int32_t row = pixel / call->out_width, column = pixel - row * call->out_width;
    int32_t top = row * call->stride - call->pad, first = column * call->stride - call->pad;
    int32_t from = first < 0 ? -first : 0;
    int32_t to = call->width - first < kernel ? call->width - first : kernel;
    for (int32_t y = top; y < top + kernel; y++) {
        if (y < 0 || y >= call->height) {
            fill(window, call->zero, bytes);
        } else if (from == 0 && to == kernel) {
            copy(window, call->x + (y * call->width + first) * in, bytes);
        } else {
            fill(window, call->zero, from * in);
            copy(window + from * in, call->x + (y * call->width + first + from) * in, (to - from) * in);
            fill(window + to * in, call->zero, (kernel - to) * in);
        }
        window += bytes;
    }
}

/* Backwards where y is behind x: either may reach into the other as far as `Call.leads` says. */
void ofa_convolution(const void *arguments) {
    const struct convolution *call = arguments;
    const struct finish how = call->finish;
    int8_t small[OFA_SMALL_WINDOWS], *window = call->scratch ? call->scratch : small;
    int8_t *second = window + 4 * call->words;
    int32_t out = call->out, pixels = call->out_width * call->out_height;
    int32_t back = is_behind(call->y, call->x), pixel = back * (pixels - 2), step = 2 - 4 * back;
    for (int32_t left = pixels; left > 1; left -= 2) {
        gather(call, pixel, window);
        gather(call, pixel + 1, second);
        two_rows(window, second, call->y + pixel * out, call->weights, call->words, out, call->channels, &how);
        pixel += step;
    }
    if (pixels & 1) {
        pixel = (1 - back) * (pixels - 1);
        gather(call, pixel, window);
        one_row(window, call->y + pixel * out, call->weights, call->words, out, call->channels, &how);
    }
}
