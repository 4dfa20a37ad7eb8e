/* Kernels that are made of kernels: one of these for some tokens, with addresses filled in. */
#ifndef OFA_NESTED_H
#define OFA_NESTED_H

#include "arithmetic.h"

static inline void copy_words(void *to, const void *from, uint32_t bytes) {
    struct word *y = to;
    for (const struct word *x = from; bytes; bytes -= 4) {
        *y++ = *x++;
    }
}

/* `pixels` rows of x through the outputs from `first`, which is even, to `first + out` of a layer */
static __attribute__((noinline)) void apply(
    const struct pointwise *layer, const int8_t *x, int8_t *y, int32_t pixels, int32_t first, int32_t out) {
    struct pointwise call;
    copy_words(&call, layer, sizeof call);
    call.x = x;
    call.y = y;
    call.pixels = pixels;
    call.weights += 4 * call.words * first;
    call.channels += first;
    call.out = out;
    ofa_pointwise(&call);
}

static inline void norm_tokens(const struct layer_norm *norm, const int8_t *x, int8_t *y, int32_t tokens) {
    struct layer_norm call;
    copy_words(&call, norm, sizeof call);
    call.x = x;
    call.y = y;
    call.tokens = tokens;
    ofa_layer_norm(&call);
}

static inline void add_up(
    const struct add *add, const int8_t *first, const int8_t *second, int8_t *y, int32_t count) {
    struct add call;
    copy_words(&call, add, sizeof call);
    call.first = first;
    call.second = second;
    call.y = y;
    call.count = count;
    ofa_add(&call);
}

#endif
