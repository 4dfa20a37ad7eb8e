/* Linear attention, one head at a time: the products of all keys and values, then of every query and these. */
#include "reciprocal.h"

/* behind a ReLU */
static inline int32_t positive(int32_t value) { return value < 0 ? 0 : value; }

static void look_at_keys(const struct attention *call, int32_t head, int32_t *context, int32_t *totals) {
    int32_t tokens = call->tokens, features = call->features, stride = call->heads * features;
    int32_t key_zero = call->key_zero, value_zero = call->value_zero;
    for (int32_t f = 0; f < features; f++) {
        int32_t total = 0;
        for (int32_t i = 0; i < features; i += 4) {
            int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            const int8_t *key = call->keys + head + f, *value = call->values + head + i;
            total = 0;
            for (int32_t t = 0; t < tokens; t++) {
                int32_t weight = positive(*key - key_zero);
                total += weight;
                s0 += weight * (value[0] - value_zero);
                s1 += weight * (value[1] - value_zero);
                s2 += weight * (value[2] - value_zero);
                s3 += weight * (value[3] - value_zero);
                key += stride;
                value += stride;
            }
            context[0] = s0, context[1] = s1, context[2] = s2, context[3] = s3;
            context += 4;
        }
        totals[f] = total;
    }
}

/* sum * 2^zeros / 2^9, which fits: no value is more than 255 from zero */
static inline int32_t scaled(int64_t sum, uint32_t zeros) { return (int32_t)((int64_t)((uint64_t)sum << zeros) >> 9); }

void ofa_linear_attention(const void *arguments) {
    const struct attention *call = arguments;
    const struct finish how = call->finish;
    const struct channel channel = call->channel;
    int32_t tokens = call->tokens, features = call->features, stride = call->heads * features;
    int32_t zero = call->query_zero;
    int32_t *context = (int32_t *)(void *)call->scratch;
    int32_t *totals = context + features * features, *query = totals + features;
    for (int32_t head = 0; head < stride; head += features) {
        look_at_keys(call, head, context, totals);
        const int8_t *from = call->queries + head;
        int8_t *y = call->y + head;
        for (int32_t t = 0; t < tokens; t++) {
            uint32_t total = 0;
            for (int32_t f = 0; f < features; f++) {
                query[f] = positive(from[f] - zero);
                total += (uint32_t)query[f] * (uint32_t)totals[f];
            }
            total += total == 0; /* then all sums are 0 */
            uint32_t zeros = (uint32_t)__builtin_clz(total);
            int32_t factor = reciprocal(total << zeros >> 16);
            for (int32_t i = 0; i < features; i += 2) {
                int64_t s0 = 0, s1 = 0;
                const int32_t *row = context + i;
                for (int32_t f = 0; f < features; f++) {
                    s0 += (int64_t)query[f] * row[0];
                    s1 += (int64_t)query[f] * row[1];
                    row += features;
                }
                y[i] = finish(high_word(scaled(s0, zeros), factor) + channel.bias, &channel, &how); /* mean * 2^21 */
                y[i + 1] = finish(high_word(scaled(s1, zeros), factor) + channel.bias, &channel, &how);
            }
            from += stride;
            y += stride;
        }
    }
}
