/* Division by numbers known at run time only, once a row: 2^32 / d for d scaled to 16 bits. */
#ifndef OFA_RECIPROCAL_H
#define OFA_RECIPROCAL_H

#include "arithmetic.h"

/* 2^14 * (2^32 - 1) / d for 2^15 <= d < 2^16: 30 to 31 bits, of which 16 count */
static inline int32_t reciprocal(uint32_t d) { return (int32_t)((0xffffffffu / d) << 14); }

/* floor of the root of 2^30 <= m < 2^32, bit by bit, as often for every m */
static inline uint32_t root(uint32_t m) {
    uint32_t found = 0;
    for (uint32_t bit = 1u << 30; bit; bit >>= 2) {
        uint32_t tried = found + bit;
        uint32_t fits = (uint32_t)-(int32_t)(m >= tried); /* all ones or none: no branch on values */
        m -= tried & fits;
        found = (found >> 1) + (bit & fits);
    }
    return found;
}

static inline int32_t high_word(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 32); }

#endif
