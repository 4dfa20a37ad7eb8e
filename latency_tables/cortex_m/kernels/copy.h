/* Runs of bytes, a word at a time. */
#ifndef OFA_COPY_H
#define OFA_COPY_H

#include "arithmetic.h"

static inline void copy(int8_t *to, const int8_t *from, int32_t count) {
    for (; count >= 4; count -= 4) {
        ((struct word *)to)->value = load_word(from);
        to += 4;
        from += 4;
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
}

static inline void fill(int8_t *to, int32_t value, int32_t count) {
    uint32_t four = (uint8_t)value * 0x01010101u;
    for (; count >= 4; count -= 4) {
        ((struct word *)to)->value = four;
        to += 4;
    }
    for (; count > 0; count--) {
        *to++ = (int8_t)value;
    }
}

#endif
