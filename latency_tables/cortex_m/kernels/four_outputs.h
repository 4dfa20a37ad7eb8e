/* Four accumulators on their way to int8 at once. */
#ifndef OFA_FOUR_OUTPUTS_H
#define OFA_FOUR_OUTPUTS_H

#include "arithmetic.h"

#if OFA_DSP

struct __attribute__((packed, may_alias)) half {
    uint16_t value;
};

/* as `struct finish`, with the ends of the range in all four bytes */
struct finish_four {
    int32_t left, offset;
    uint32_t low, high;
    const int8_t *table;
};

static inline struct finish_four for_four(const struct finish *how) {
    struct finish_four four = {
        how->left, how->offset, (uint8_t)how->low * 0x01010101u, (uint8_t)how->high * 0x01010101u, how->table};
    return four;
}

/* half of the sum, in -128 to 127 */
static inline uint32_t finished_byte(int32_t sum, const struct channel *channel, const struct finish_four *how) {
    int32_t product, byte;
    __asm__("smmul %0, %1, %2"
            : "=r"(product)
            : "r"((int32_t)((uint32_t)sum << how->left)), "r"(channel->multiplier));
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(byte) : "r"((product >> channel->shift) + how->offset));
    return (uint32_t)byte;
}

/* first and second in the bytes 0 and 1, whatever is in the others */
static inline uint32_t two_bytes(uint32_t first, uint32_t second) {
    __asm__("bfi %0, %1, #8, #8" : "+r"(first) : "r"(second));
    return first;
}

/* the low halves of both */
static inline uint32_t two_halves(uint32_t first, uint32_t second) {
    uint32_t both;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(both) : "r"(first), "r"(second));
    return both;
}

/* the larger and the smaller of each two signed bytes: GE flags tell the sign of differences */
static inline uint32_t larger_bytes(uint32_t a, uint32_t b) {
    uint32_t larger;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
    return larger;
}

static inline uint32_t smaller_bytes(uint32_t a, uint32_t b) {
    uint32_t smaller;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(smaller) : "r"(a), "r"(b) : "cc");
    return smaller;
}

static inline __attribute__((always_inline)) uint32_t finished_word(const int32_t sums[4], const struct channel *first,
    const struct channel *second, const struct channel *third, const struct channel *fourth,
    const struct finish_four *how) {
    uint32_t low = two_bytes(finished_byte(sums[0], first, how), finished_byte(sums[1], second, how));
    uint32_t high = two_bytes(finished_byte(sums[2], third, how), finished_byte(sums[3], fourth, how));
    uint32_t four = smaller_bytes(larger_bytes(two_halves(low, high), how->low), how->high);
    if (how->table) {
        const int8_t *table = how->table;
        four ^= 0x80808080u; /* from 0 on */
        low = two_bytes((uint32_t)table[four & 0xff], (uint32_t)table[four >> 8 & 0xff]);
        high = two_bytes((uint32_t)table[four >> 16 & 0xff], (uint32_t)table[four >> 24]);
        four = two_halves(low, high);
    }
    return four;
}

/* of a pixel, four channels: the first `number` of them to y */
static inline __attribute__((always_inline)) void finish_four(const int32_t sums[4], const struct channel *channel,
    const struct finish_four *how, int8_t *y, int32_t number) {
    uint32_t four = finished_word(sums, channel, channel + 1, channel + 2, channel + 3, how);
    if (number > 3) {
        ((struct word *)y)->value = four;
        return;
    }
    for (; number > 0; number--) {
        *y++ = (int8_t)four;
        four >>= 8;
    }
}

/* of two pixels, two channels: the first `number` of them to y and to z */
static inline __attribute__((always_inline)) void finish_two_by_two(const int32_t sums[4],
    const struct channel *channel, const struct finish_four *how, int8_t *y, int8_t *z, int32_t number) {
    uint32_t four = finished_word(sums, channel, channel + 1, channel, channel + 1, how);
    if (number > 1) {
        ((struct half *)y)->value = (uint16_t)four;
        ((struct half *)z)->value = (uint16_t)(four >> 16);
        return;
    }
    *y = (int8_t)four;
    *z = (int8_t)(four >> 16);
}

#else

struct finish_four {
    struct finish each;
};

static inline struct finish_four for_four(const struct finish *how) {
    struct finish_four four = {*how};
    return four;
}

static inline void finish_four(const int32_t sums[4], const struct channel *channel, const struct finish_four *how,
    int8_t *y, int32_t number) {
    y[0] = finish(sums[0], &channel[0], &how->each);
    if (number > 1) {
        y[1] = finish(sums[1], &channel[1], &how->each);
    }
    if (number > 2) {
        y[2] = finish(sums[2], &channel[2], &how->each);
    }
    if (number > 3) {
        y[3] = finish(sums[3], &channel[3], &how->each);
    }
}

static inline void finish_two_by_two(const int32_t sums[4], const struct channel *channel,
    const struct finish_four *how, int8_t *y, int8_t *z, int32_t number) {
    y[0] = finish(sums[0], &channel[0], &how->each);
    z[0] = finish(sums[2], &channel[0], &how->each);
    if (number > 1) {
        y[1] = finish(sums[1], &channel[1], &how->each);
        z[1] = finish(sums[3], &channel[1], &how->each);
    }
}

#endif

#endif
