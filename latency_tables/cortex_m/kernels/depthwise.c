/* Depthwise convolutions: four channels at a time, over the part of the window that is inside the image. */
#include "copy.h"
#include "four_outputs.h"
#include "parts.h"

#if OFA_DSP

/* Four products of a place of the window each; x and w are assembly for the addresses of four inputs and weights. */
#define OFA_TAP(x, w)                                 \
    "ldr %[a], " x "\n\t"                             \
    "ldr %[b], " w "\n\t"                             \
    "sxtab16 %[a_odd], %[zero], %[a], ror #8\n\t"     \
    "sxtb16 %[b_odd], %[b], ror #8\n\t"               \
    "sxtab16 %[a], %[zero], %[a]\n\t"                 \
    "sxtb16 %[b], %[b]\n\t"                           \
    "smlabb %[s1], %[a_odd], %[b_odd], %[s1]\n\t"     \
    "smlatt %[s3], %[a_odd], %[b_odd], %[s3]\n\t"     \
    "smlabb %[s0], %[a], %[b], %[s0]\n\t"             \
    "smlatt %[s2], %[a], %[b], %[s2]\n\t"

#define OFA_FIRST OFA_TAP("[%[x]]", "[%[w]], #4")
#define OFA_NEXT_TWO OFA_TAP("[%[x], %[count]]", "[%[w]], #4") OFA_TAP("[%[x], %[count], lsl #1]", "[%[w]], #4")
#define OFA_MOVE "add %[x], %[x], %[count], lsl #1\n\t"

/* more registers than these are not to be had: what else there is waits on the stack */
#define OFA_TAPS(code, ...)                                                                                           \
    __asm__ volatile(code                                                                                             \
                     : [x] "+r"(x), [w] "+r"(*w), [s0] "+r"(sums[0]), [s1] "+r"(sums[1]), [s2] "+r"(sums[2]),         \
                       [s3] "+r"(sums[3]), [a] "=&r"(a), [b] "=&r"(b), [a_odd] "=&r"(a_odd), [b_odd] "=&r"(b_odd)     \
                       __VA_ARGS__                                                                                    \
                     : [count] "r"(count), [zero] "r"(zero)                                                           \
                     : "cc", "memory")

/* Adds the products of `number` places of a row of the window, and moves w on behind them: 10 instructions for 4
 * products where `unrolled` says the number, 13 elsewhere. `zero` has what is taken off inputs, negated, twice. */
static inline __attribute__((always_inline)) void taps(const int32_t unrolled, const int8_t *x, const int8_t **w,
    int32_t number, int32_t count, int32_t zero, int32_t sums[4]) {
    uint32_t a, b, a_odd, b_odd;
    if (unrolled == 3) {
        OFA_TAPS(OFA_FIRST OFA_NEXT_TWO);
    } else if (unrolled == 5) {
        OFA_TAPS(OFA_FIRST OFA_NEXT_TWO OFA_MOVE OFA_NEXT_TWO);
    } else if (unrolled == 7) {
        OFA_TAPS(OFA_FIRST OFA_NEXT_TWO OFA_MOVE OFA_NEXT_TWO OFA_MOVE OFA_NEXT_TWO);
    } else {
        OFA_TAPS("1:\n\t" OFA_FIRST "add %[x], %[x], %[count]\n\t"
                 "subs %[number], %[number], #1\n\t"
                 "bne 1b", , [number] "+r"(number));
    }
}

static inline int32_t taken_off(int32_t zero) { return (int32_t)((uint32_t)(-zero & 0xffff) * 0x10001u); }

#else

static inline __attribute__((always_inline)) void taps(const int32_t unrolled, const int8_t *x, const int8_t **w,
    int32_t number, int32_t count, int32_t zero, int32_t sums[4]) {
    const int8_t *b = *w;
    number = unrolled ? unrolled : number;
    do {
        sums[0] += (x[0] - zero) * b[0];
        sums[1] += (x[1] - zero) * b[1];
        sums[2] += (x[2] - zero) * b[2];
        sums[3] += (x[3] - zero) * b[3];
        x += count;
        b += 4;
    } while (--number);
    *w = b;
}

static inline int32_t taken_off(int32_t zero) { return zero; }

#endif

/* The rows `from` to `to` of a window, of which `number` columns, from `offset` bytes behind the begin of a row on, are
 * inside the image. */
struct place {
    const int8_t *const *from;
    const int8_t *const *to;
    const int8_t *weights;
    int32_t offset, number, rest_of_weights, all_weights;
};

static inline __attribute__((always_inline)) void pixel(const int32_t unrolled, struct place at, int32_t count,
    int32_t zero, const struct channel *channel, const struct finish_four *how, int8_t *y) {
    for (int32_t left = count; left > 0; left -= 4) {
        int32_t sums[4] = {channel[0].bias, channel[1].bias, channel[2].bias, channel[3].bias};
        const int8_t *w = at.weights;
        for (const int8_t *const *row = at.from; row != at.to; row++) {
            taps(unrolled, *row + at.offset, &w, at.number, count, zero, sums);
            if (!unrolled) {
                w += at.rest_of_weights;
            }
        }
        finish_four(sums, channel, how, y, left);
        y += 4;
        channel += 4;
        at.offset += 4;
        at.weights += at.all_weights;
    }
}

void ofa_depthwise_part(
    const struct depthwise *call, const int8_t *const *rows, int32_t from, int32_t to, int8_t *y) {
    const struct finish_four how = for_four(&call->finish);
    const struct channel *channels = call->channels;
    int32_t count = call->count, kernel = call->kernel, width = call->width, zero = taken_off(call->zero);
    int32_t first = -call->pad;
    for (int32_t left = call->out_width; left > 0; left--) {
        int32_t begin = first < 0 ? -first : 0, end = width - first < kernel ? width - first : kernel;
        struct place at = {rows + from, rows + to, call->weights + (from * kernel + begin) * 4, (first + begin) * count,
            end - begin, (kernel - (end - begin)) * 4, kernel * kernel * 4};
        int32_t unrolled = at.number == kernel ? kernel : 0;
        if (unrolled == 3) {
            pixel(3, at, count, zero, channels, &how, y);
        } else if (unrolled == 5) {
            pixel(5, at, count, zero, channels, &how, y);
        } else if (unrolled == 7) {
            pixel(7, at, count, zero, channels, &how, y);
        } else {
            pixel(0, at, count, zero, channels, &how, y);
        }
        y += count;
        first += call->stride;
    }
}

/* Backwards where y is behind x: either may reach into the other as far as `Call.leads` says. In place (`kept` > 0), an
 * input's row is kept in scratch memory as long as a window reads it: before a row of outputs, all rows that it reaches
 * into have been put there. */
void ofa_depthwise(const void *arguments) {
    const struct depthwise *call = arguments;
    const int8_t *rows[OFA_MOST_ROWS];
    int32_t kernel = call->kernel, height = call->height, kept = call->kept, saved = 0;
    int32_t row_bytes = call->width * call->count, out_bytes = call->out_width * call->count;
    int32_t back = kept ? 0 : is_behind(call->y, call->x), row = back * (call->out_height - 1);
    for (int32_t left = call->out_height; left > 0; left--) {
        int32_t top = row * call->stride - call->pad;
        int32_t from = top < 0 ? -top : 0, to = height - top < kernel ? height - top : kernel;
        if (kept) {
            saved = saved < top ? top : saved;
            for (; saved < height && saved * row_bytes < (row + 1) * out_bytes; saved++) {
                copy(call->scratch + saved % kept * row_bytes, call->x + saved * row_bytes, row_bytes);
            }
        }
        for (int32_t i = from; i < to; i++) {
            int32_t place = top + i;
            rows[i] = place < saved ? call->scratch + place % kept * row_bytes : call->x + place * row_bytes;
        }
        ofa_depthwise_part(call, rows, from, to, call->y + row * out_bytes);
        row += 1 - 2 * back;
    }
}
