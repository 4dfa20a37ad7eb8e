/* Depthwise convolutions: four channels at a time, over the part of the window that is inside the image. */
#include "arithmetic.h"

/* adds `number` products of a row of the window, and moves on behind them */
#if OFA_DSP

/* 13 instructions for 4 products */
static inline void taps(
    const int8_t **x, const int8_t **w, int32_t number, int32_t count, int32_t minus_zero, int32_t sums[4]) {
    uint32_t a, b, a_odd, b_odd;
    __asm__ volatile(
        "1:\n\t"
        "ldr %[a], [%[x]]\n\t"
        "ldr %[b], [%[w]], #4\n\t"
        "add %[x], %[x], %[count]\n\t"
        "sxtab16 %[a_odd], %[zero], %[a], ror #8\n\t"
        "sxtb16 %[b_odd], %[b], ror #8\n\t"
        "sxtab16 %[a], %[zero], %[a]\n\t"
        "sxtb16 %[b], %[b]\n\t"
        "subs %[number], %[number], #1\n\t"
        "smlabb %[s1], %[a_odd], %[b_odd], %[s1]\n\t"
        "smlatt %[s3], %[a_odd], %[b_odd], %[s3]\n\t"
        "smlabb %[s0], %[a], %[b], %[s0]\n\t"
        "smlatt %[s2], %[a], %[b], %[s2]\n\t"
        "bne 1b"
        : [x] "+r"(*x), [w] "+r"(*w), [number] "+r"(number), [s0] "+r"(sums[0]), [s1] "+r"(sums[1]),
          [s2] "+r"(sums[2]), [s3] "+r"(sums[3]), [a] "=&r"(a), [b] "=&r"(b), [a_odd] "=&r"(a_odd),
          [b_odd] "=&r"(b_odd)
        : [count] "r"(count), [zero] "r"(minus_zero)
        : "cc", "memory");
}

#else

static inline void taps(
    const int8_t **x, const int8_t **w, int32_t number, int32_t count, int32_t zero, int32_t sums[4]) {
    const int8_t *a = *x, *b = *w;
    do {
        sums[0] += (a[0] - zero) * b[0];
        sums[1] += (a[1] - zero) * b[1];
        sums[2] += (a[2] - zero) * b[2];
        sums[3] += (a[3] - zero) * b[3];
        a += count;
        b += 4;
    } while (--number);
    *x = a, *w = b;
}

#endif

void ofa_depthwise(const void *arguments) {
    const struct depthwise *call = arguments;
    const struct finish how = call->finish;
    int32_t count = call->count, kernel = call->kernel, width = call->width, height = call->height;
    int8_t *y = call->y;
#if OFA_DSP
    int32_t zero = (int32_t)((uint32_t)(-call->zero & 0xffff) * 0x10001u); /* -zero in both halves */
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
                int32_t sums[4] = {channel[0].bias, channel[1].bias, channel[2].bias, channel[3].bias};
                const int8_t *x = corner, *w = weights;
                for (int32_t i = row_to - row_from; i > 0; i--) {
                    taps(&x, &w, to - from, count, zero, sums);
                    x += rest_of_row;
                    w += rest_of_weights;
                }
                y[0] = finish(sums[0], &channel[0], &how);
                if (left > 1) {
                    y[1] = finish(sums[1], &channel[1], &how);
                }
                if (left > 2) {
                    y[2] = finish(sums[2], &channel[2], &how);
                }
                if (left > 3) {
                    y[3] = finish(sums[3], &channel[3], &how);
                }
                y += left > 3 ? 4 : left;
                corner += 4;
                channel += 4;
                weights += kernel * kernel * 4;
            }
        }
    }
}
