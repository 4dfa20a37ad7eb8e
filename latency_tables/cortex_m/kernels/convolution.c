/* Dense convolutions: the windows of two output pixels are laid out as rows, which a matrix is multiplied with. */
#include "copy.h"
#include "dense.h"

/* the window of the output pixel (row, column); beyond the edges it holds the real value 0 */
static inline void gather(const struct convolution *call, int32_t row, int32_t column, int8_t *window) {
    int32_t in = call->in, kernel = call->kernel, bytes = kernel * in;
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

void ofa_convolution(const void *arguments) {
    const struct convolution *call = arguments;
    const struct finish how = call->finish;
    int8_t *y = call->y, *second = call->scratch + 4 * call->words;
    int32_t row = 0, column = 0, width = call->out_width, out = call->out, left = width * call->out_height;
    for (; left > 0; left -= 2) {
        gather(call, row, column, call->scratch);
        if (++column == width) {
            column = 0, row++;
        }
        if (left == 1) {
            one_row(call->scratch, y, call->weights, call->words, out, call->channels, &how);
            return;
        }
        gather(call, row, column, second);
        if (++column == width) {
            column = 0, row++;
        }
        two_rows(call->scratch, second, y, call->weights, call->words, out, call->channels, &how);
        y += 2 * out;
    }
}
