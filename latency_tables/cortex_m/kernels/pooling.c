/* Means and maxima of pixels. */
#include "arithmetic.h"

void ofa_global_average(const void *arguments) {
    const struct global_average *call = arguments;
    const struct finish how = call->finish;
    const struct channel channel = call->channel;
    int32_t count = call->count;
    for (int32_t c = 0; c < count; c++) {
        const int8_t *x = call->x + c;
        int32_t sum = channel.bias;
        for (int32_t left = call->pixels; left > 0; left--) {
            sum += *x;
            x += count;
        }
        call->y[c] = finish(sum, &channel, &how);
    }
}

void ofa_average_pool(const void *arguments) {
    const struct average_pool *call = arguments;
    const struct finish how = call->finish;
    int32_t count = call->count, kernel = call->kernel, width = call->width, height = call->height;
    int8_t *y = call->y;
    for (int32_t row = 0; row < call->out_height; row++) {
        int32_t top = row * call->stride, rows = height - top < kernel ? height - top : kernel;
        for (int32_t column = 0; column < call->out_width; column++) {
            int32_t first = column * call->stride, columns = width - first < kernel ? width - first : kernel;
            const struct channel *channel = call->by_number + rows * columns - 1;
            const int8_t *corner = call->x + (top * width + first) * count;
            for (int32_t left = count; left > 0; left--) {
                const int8_t *x = corner++;
                int32_t sum = channel->bias;
                for (int32_t i = rows; i > 0; i--) {
                    for (int32_t j = columns; j > 0; j--) {
                        sum += *x;
                        x += count;
                    }
                    x += (width - columns) * count;
                }
                *y++ = finish(sum, channel, &how);
            }
        }
    }
}

void ofa_max_pool(const void *arguments) {
    const struct max_pool *call = arguments;
    int32_t count = call->count, kernel = call->kernel, width = call->width, height = call->height;
    int8_t *y = call->y;
    for (int32_t row = 0; row < call->out_height; row++) {
        int32_t top = row * call->stride - call->pad;
        int32_t row_from = top < 0 ? 0 : top, row_to = top + kernel < height ? top + kernel : height;
        for (int32_t column = 0; column < call->out_width; column++) {
            int32_t first = column * call->stride - call->pad;
            int32_t from = first < 0 ? 0 : first, to = first + kernel < width ? first + kernel : width;
            const int8_t *corner = call->x + (row_from * width + from) * count;
            for (int32_t left = count; left > 0; left--) {
                const int8_t *x = corner++;
                int32_t most = -128;
                for (int32_t i = row_to - row_from; i > 0; i--) {
                    for (int32_t j = to - from; j > 0; j--) {
                        int32_t value = *x;
                        most = value > most ? value : most;
                        x += count;
                    }
                    x += (width - (to - from)) * count;
                }
                *y++ = (int8_t)most;
            }
        }
    }
}
