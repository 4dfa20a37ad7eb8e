/* What the kernels share: unaligned words, pairs of 16-bit products, and the way from accumulators to int8. */
#ifndef OFA_ARITHMETIC_H
#define OFA_ARITHMETIC_H

#include "kernels.h"

struct __attribute__((packed, may_alias)) word {
    uint32_t value;
};

static inline uint32_t load_word(const int8_t *from) { return ((const struct word *)from)->value; }

/* 1 or 0 */
static inline int32_t is_behind(const int8_t *a, const int8_t *b) { return (uintptr_t)a > (uintptr_t)b; }

static inline int32_t clamp(int32_t value, int32_t low, int32_t high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

static inline int8_t finish(int32_t sum, const struct channel *channel, const struct finish *how) {
    int32_t shifted = (int32_t)((uint32_t)sum << how->left);
    int32_t product = (int32_t)(((int64_t)shifted * channel->multiplier) >> 32);
    int32_t value = clamp(((product >> channel->shift) + how->offset) >> 1, how->low, how->high);
    return how->table ? how->table[value + 128] : (int8_t)value;
}

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

/* bytes 0 and 2 as signed halves */
static inline uint32_t even_bytes(uint32_t word) {
    uint32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
}

/* bytes 1 and 3 as signed halves */
static inline uint32_t odd_bytes(uint32_t word) {
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

/* sum + both products of halves */
static inline int32_t multiply_pairs(uint32_t a, uint32_t b, int32_t sum) {
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

#define OFA_DSP 1
#else
#define OFA_DSP 0
#endif

#endif
