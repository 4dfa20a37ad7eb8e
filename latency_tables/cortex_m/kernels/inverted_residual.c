/* Inverted residuals: 1x1 convolution, depthwise convolution, 1x1 convolution, sum, one row of outputs at a time.
 *
 * The rows of the depthwise window lie in a ring; every row of the input is expanded into it once. The output may be
 * written over the input where there is a sum: row r is written after row r + pad was expanded. */
#include "copy.h"
#include "parts.h"

void ofa_inverted_residual(const void *arguments) {
    const struct inverted_residual *call = arguments;
    const struct depthwise *depthwise = &call->depthwise;
    const int8_t *rows[OFA_MOST_ROWS];
    int32_t kernel = depthwise->kernel, height = depthwise->height, width = depthwise->width, ring = call->ring;
    int32_t row_bytes = width * depthwise->count, ready = 0;
    int32_t in_bytes = call->expand.pixels ? width * call->expand.in : row_bytes;
    int32_t out_width = depthwise->out_width, out_bytes = out_width * call->project.out;
    int8_t *filtered = call->scratch + ring * row_bytes, *projected = filtered + out_width * depthwise->count;
    const int8_t *x = call->x;
    int8_t *y = call->y;
    for (int32_t row = 0; row < depthwise->out_height; row++) {
        int32_t top = row * depthwise->stride - depthwise->pad;
        int32_t from = top < 0 ? -top : 0, to = height - top < kernel ? height - top : kernel;
        ready = ready < top ? top : ready;
        for (; ring && ready < top + to; ready++) {
            int8_t *place = call->scratch + ready % ring * row_bytes;
            if (call->expand.pixels) {
                ofa_pointwise_part(&call->expand, x + ready * in_bytes, place, width);
            } else {
                copy(place, x + ready * in_bytes, row_bytes);
            }
        }
        for (int32_t i = from; i < to; i++) {
            int32_t place = top + i;
            rows[i] = ring ? call->scratch + place % ring * row_bytes : x + place * row_bytes;
        }
        ofa_depthwise_part(depthwise, rows, from, to, filtered);
        if (call->add.count) {
            ofa_pointwise_part(&call->project, filtered, projected, out_width);
            ofa_add_part(&call->add, x + row * in_bytes, projected, y, out_bytes);
        } else {
            ofa_pointwise_part(&call->project, filtered, y, out_width);
        }
        y += out_bytes;
    }
}
