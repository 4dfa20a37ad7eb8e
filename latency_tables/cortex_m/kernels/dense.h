/* Rows of inputs times a matrix: two outputs at a time, of two rows at a time where there are two. */
#ifndef OFA_DENSE_H
#define OFA_DENSE_H

#include "four_outputs.h"

#if OFA_DSP

/* 22 instructions for 16 products, in every compiler: what they make of the same in C spills registers */
static inline void block_of_two(
    const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t words, int32_t sums[4]) {
    int32_t s00 = sums[0], s01 = sums[1], s10 = sums[2], s11 = sums[3];
    const int8_t *end = x0 + 4 * words;
    uint32_t first, second, first_even, second_even, x, even;
    __asm__ volatile(
        "1:\n\t"
        "ldr %[first], [%[w]], #4\n\t"
        "ldr %[second], [%[w]], #4\n\t"
        "ldr %[x], [%[x0]], #4\n\t"
        "sxtb16 %[first_even], %[first]\n\t"
        "sxtb16 %[second_even], %[second]\n\t"
        "sxtb16 %[first], %[first], ror #8\n\t"
        "sxtb16 %[second], %[second], ror #8\n\t"
        "sxtb16 %[even], %[x]\n\t"
        "sxtb16 %[x], %[x], ror #8\n\t"
        "smlad %[s00], %[even], %[first_even], %[s00]\n\t"
        "smlad %[s01], %[even], %[second_even], %[s01]\n\t"
        "smlad %[s00], %[x], %[first], %[s00]\n\t"
        "smlad %[s01], %[x], %[second], %[s01]\n\t"
        "ldr %[x], [%[x1]], #4\n\t"
        "sxtb16 %[even], %[x]\n\t"
        "sxtb16 %[x], %[x], ror #8\n\t"
        "smlad %[s10], %[even], %[first_even], %[s10]\n\t"
        "smlad %[s11], %[even], %[second_even], %[s11]\n\t"
        "smlad %[s10], %[x], %[first], %[s10]\n\t"
        "smlad %[s11], %[x], %[second], %[s11]\n\t"
        "cmp %[x0], %[end]\n\t"
        "bne 1b"
        : [x0] "+r"(x0), [x1] "+r"(x1), [w] "+r"(w), [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10),
          [s11] "+r"(s11), [first] "=&r"(first), [second] "=&r"(second), [first_even] "=&r"(first_even),
          [second_even] "=&r"(second_even), [x] "=&r"(x), [even] "=&r"(even)
        : [end] "r"(end)
        : "cc", "memory");
    sums[0] = s00, sums[1] = s01, sums[2] = s10, sums[3] = s11;
}

static inline void block_of_one(const int8_t *x, const int8_t *w, int32_t words, int32_t sums[2]) {
    int32_t s0 = sums[0], s1 = sums[1];
    const int8_t *end = x + 4 * words;
    do {
        uint32_t first = load_word(w), second = load_word(w + 4), a = load_word(x);
        uint32_t a_even = even_bytes(a), a_odd = odd_bytes(a);
        s0 = multiply_pairs(a_even, even_bytes(first), s0);
        s1 = multiply_pairs(a_even, even_bytes(second), s1);
        s0 = multiply_pairs(a_odd, odd_bytes(first), s0);
        s1 = multiply_pairs(a_odd, odd_bytes(second), s1);
        x += 4;
        w += 8;
    } while (x != end);
    sums[0] = s0, sums[1] = s1;
}

#else

static inline void block_of_two(
    const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t words, int32_t sums[4]) {
    int32_t s00 = sums[0], s01 = sums[1], s10 = sums[2], s11 = sums[3];
    const int8_t *end = x0 + 4 * words;
    do {
#define OFA_PLACE(i)                                          \
    {                                                         \
        int32_t a = x0[i], b = x1[i], f = w[i], s = w[4 + i]; \
        s00 += a * f, s01 += a * s, s10 += b * f, s11 += b * s; \
    }
        OFA_PLACE(0)
        OFA_PLACE(1)
        OFA_PLACE(2)
        OFA_PLACE(3)
#undef OFA_PLACE
        x0 += 4;
        x1 += 4;
        w += 8;
    } while (x0 != end);
    sums[0] = s00, sums[1] = s01, sums[2] = s10, sums[3] = s11;
}

static inline void block_of_one(const int8_t *x, const int8_t *w, int32_t words, int32_t sums[2]) {
    int32_t s0 = sums[0], s1 = sums[1];
    const int8_t *end = x + 4 * words;
    do {
        s0 += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        s1 += x[0] * w[4] + x[1] * w[5] + x[2] * w[6] + x[3] * w[7];
        x += 4;
        w += 8;
    } while (x != end);
    sums[0] = s0, sums[1] = s1;
}

#endif

/* `out` outputs of x0 to y, and as many of x1 behind them */
static inline void two_rows(const int8_t *x0, const int8_t *x1, int8_t *y, const int8_t *weights, int32_t words,
    int32_t out, const struct channel *channel, const struct finish *how) {
    const struct finish_four four = for_four(how);
    int32_t left = out;
    for (; left > 0; left -= 2) {
        int32_t sums[4] = {channel[0].bias, channel[1].bias, channel[0].bias, channel[1].bias};
        block_of_two(x0, x1, weights, words, sums);
        finish_two_by_two(sums, channel, &four, y, y + out, left);
        y += 2;
        channel += 2;
        weights += 8 * words;
    }
}

static inline void one_row(const int8_t *x, int8_t *y, const int8_t *weights, int32_t words, int32_t out,
    const struct channel *channel, const struct finish *how) {
    int32_t left = out;
    for (; left > 0; left -= 2) {
        int32_t sums[2] = {channel[0].bias, channel[1].bias};
        block_of_one(x, weights, words, sums);
        y[0] = finish(sums[0], &channel[0], how);
        if (left > 1) {
            y[1] = finish(sums[1], &channel[1], how);
        }
        y += 2;
        channel += 2;
        weights += 8 * words;
    }
}

#endif
