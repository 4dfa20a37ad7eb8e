/* Depthwise convolutions: four channels at a time, over the part of the window that is inside the image. */
#include "arithmetic.h"

void ofa_depthwise(const void *arguments) {
    const struct depthwise *call = arguments;
    const struct finish how = call->finish;
    int32_t count = call->count, kernel = call->kernel, width = call->width, height = call->height;
    int8_t *y = call->y;
#if OFA_DSP
    uint32_t minus_zero = (uint32_t)(-call->zero & 0xffff) * 0x10001u;
#else
    int32_t zero = call->zero;
#endif
    for (int32_t row = 0; row < call->out_height; row++) {
        int32_t top = row * call->stride - call->pad;
        int32_t row_from = top < 0 ? -top : 0, row_to = height - top < kernel ? height - top : kernel;
        for (int32_t column = 0; column < call->out_width; column++) {
            int32_t first = column * call->stride - call->pad;
            int32_t from = first < 0 ? -first : 0, to = width - first < kernel ? width - first : kernel;
            int32_t rest_of_row = (width - (to - from)) * count, rest_of_weights = (kernel - (to - from)) * 4;
            const int8_t *corner = call->x + ((top + row_from) * width + first + from) * count;
            const int8_t *weights = call->weights + (row_from * kernel + from) * 4;
            const struct channel *channel = call->channels;
            for (int32_t left = count; left > 0; left -= 4) {
                int32_t s0 = channel[0].bias, s1 = channel[1].bias, s2 = channel[2].bias, s3 = channel[3].bias;
                const int8_t *x = corner, *w = weights;
                for (int32_t i = row_to - row_from; i > 0; i--) {
                    for (int32_t j = to - from; j > 0; j--) {
#if OFA_DSP
                        uint32_t a = load_word(x), b = load_word(w);
                        uint32_t a_even = add_even_bytes(minus_zero, a), b_even = even_bytes(b);
                        uint32_t a_odd = add_odd_bytes(minus_zero, a), b_odd = odd_bytes(b);
                        s0 = multiply_lower(a_even, b_even, s0);
                        s2 = multiply_upper(a_even, b_even, s2);
                        s1 = multiply_lower(a_odd, b_odd, s1);
                        s3 = multiply_upper(a_odd, b_odd, s3);
#else
                        s0 += (x[0] - zero) * w[0];
                        s1 += (x[1] - zero) * w[1];
                        s2 += (x[2] - zero) * w[2];
                        s3 += (x[3] - zero) * w[3];
#endif
                        x += count;
                        w += 4;
                    }
                    x += rest_of_row;
                    w += rest_of_weights;
                }
                y[0] = finish(s0, &channel[0], &how);
                if (left > 1) {
                    y[1] = finish(s1, &channel[1], &how);
                }
                if (left > 2) {
                    y[2] = finish(s2, &channel[2], &how);
                }
                if (left > 3) {
                    y[3] = finish(s3, &channel[3], &how);
                }
                y += left > 3 ? 4 : left;
                corner += 4;
                channel += 4;
                weights += kernel * kernel * 4;
            }
        }
    }
}
