/* What is done number by number. Output may overwrite an input. */
#include "arithmetic.h"
#include "parts.h"

void ofa_add_part(const struct add *call, const int8_t *first, const int8_t *second, int8_t *y, int32_t count) {
    const int8_t *table = call->table;
    int32_t p = call->first_multiplier, q = call->second_multiplier, offset = call->offset, shift = call->shift;
    int32_t low = call->low, high = call->high;
    for (; count > 0; count--) {
        int32_t value = clamp((*first++ * p + *second++ * q + offset) >> shift, low, high);
        *y++ = table ? table[value + 128] : (int8_t)value;
    }
}

void ofa_add(const void *arguments) {
    const struct add *call = arguments;
    ofa_add_part(call, call->first, call->second, call->y, call->count);
}

void ofa_scale(const void *arguments) {
    const struct scale *call = arguments;
    const struct finish how = call->finish;
    const struct channel channel = call->channel;
    const int8_t *x = call->x;
    int8_t *y = call->y;
    int32_t zero = call->zero, gate_zero = call->gate_zero;
    for (int32_t pixels = call->pixels; pixels > 0; pixels--) {
        const int8_t *gate = call->gates;
        for (int32_t left = call->count; left > 0; left--) {
            *y++ = finish((*x++ - zero) * (*gate++ - gate_zero), &channel, &how);
        }
    }
}

void ofa_lookup(const void *arguments) {
    const struct lookup *call = arguments;
    const int8_t *x = call->x, *table = call->table;
    int8_t *y = call->y;
    for (int32_t left = call->count; left > 0; left--) {
        *y++ = table[*x++ + 128];
    }
}
