/* Softmax attention, one query of one head at a time: scores, their weights in place, then the mean of the values.
 * A query is read before its output is written, which may lie where queries do. */
#include "reciprocal.h"

/* scores make place for weights */
typedef uint16_t __attribute__((may_alias)) weight_t;

/* products of a query, its zero taken off, and a key; what the key's zero would take off is the same for all keys.
 * Of every four features of a query, `PLACE` says where each is. */
#if OFA_DSP

#define PLACE(i) (((i) & ~3) | ((i) & 1) << 1 | ((i) & 2) >> 1) /* 0, 2, 1, 3: as the bytes of a word unpack */

static inline int32_t score(const int16_t *query, const int8_t *key, int32_t features) {
    const struct word *pairs = (const struct word *)(const void *)query;
    int32_t sum = 0;
    do {
        uint32_t four = load_word(key);
        sum = multiply_pairs(pairs[0].value, even_bytes(four), sum);
        sum = multiply_pairs(pairs[1].value, odd_bytes(four), sum);
        pairs += 2;
        key += 4;
        features -= 4;
    } while (features);
    return sum;
}

#else

#define PLACE(i) (i)

static inline int32_t score(const int16_t *query, const int8_t *key, int32_t features) {
    int32_t sum = 0;
    do {
        sum += query[0] * key[0] + query[1] * key[1] + query[2] * key[2] + query[3] * key[3];
        query += 4;
        key += 4;
        features -= 4;
    } while (features);
    return sum;
}

#endif

/* the weights of all keys for the query at `place`; behind the scores there is room for the query in 16 bits */
static inline void weigh(const struct attention *call, int32_t place, int32_t *scores, weight_t *weights) {
    int32_t tokens = call->tokens, features = call->features, stride = call->heads * features;
    int32_t zero = call->query_zero, multiplier = call->multiplier, shift = call->shift, most = INT32_MIN;
    int16_t *query = (int16_t *)(void *)(scores + tokens);
    for (int32_t i = 0; i < features; i++) {
        query[PLACE(i)] = (int16_t)(call->queries[place + i] - zero);
    }
    const int8_t *key = call->keys + place % stride;
    for (int32_t t = 0; t < tokens; t++) {
        int32_t value = score(query, key, features);
        most = value > most ? value : most;
        scores[t] = value;
        key += stride;
    }
    for (int32_t t = 0; t < tokens; t++) {
        int32_t below = high_word(most - scores[t], multiplier) >> shift;
        weights[t] = ofa_exponents[below > 511 ? 511 : below];
    }
}

/* the mean of the values by these weights */
static inline void mix(const struct attention *call, int32_t place, const weight_t *weights) {
    const struct finish how = call->finish;
    const struct channel channel = call->channel;
    int32_t tokens = call->tokens, features = call->features, stride = call->heads * features, total = 0;
    for (int32_t t = 0; t < tokens; t++) {
        total += weights[t];
    }
    uint32_t zeros = (uint32_t)__builtin_clz((uint32_t)total);
    int32_t factor = reciprocal((uint32_t)total << zeros >> 16);
    int8_t *y = call->y + place;
    for (int32_t i = 0; i < features; i += 4) {
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        const int8_t *value = call->values + place % stride + i;
        for (int32_t t = 0; t < tokens; t++) {
            int32_t weight = weights[t];
            s0 += weight * value[0];
            s1 += weight * value[1];
            s2 += weight * value[2];
            s3 += weight * value[3];
            value += stride;
        }
        int32_t sums[4] = {s0, s1, s2, s3};
        for (int32_t j = 0; j < 4; j++) {
            int32_t mean = high_word((int32_t)((uint32_t)sums[j] << (zeros - 8)), factor); /* times 2^22 */
            y[i + j] = finish(mean + channel.bias, &channel, &how);
        }
    }
}

void ofa_attention(const void *arguments) {
    const struct attention *call = arguments;
    int32_t features = call->features, end = call->tokens * call->heads * features;
    int32_t *scores = (int32_t *)(void *)call->scratch;
    weight_t *weights = (weight_t *)(void *)scores;
    for (int32_t place = 0; place < end; place += features) {
        weigh(call, place, scores, weights);
        mix(call, place, weights);
    }
}

void ofa_attention_by_operators(const void *arguments) {
    const struct attention *call = arguments;
    int32_t tokens = call->tokens, features = call->features, end = tokens * call->heads * features;
    int32_t *scores = (int32_t *)(void *)call->scratch;
    weight_t *all = (weight_t *)(void *)((int16_t *)(void *)(scores + tokens) + features), *weights = all;
    for (int32_t place = 0; place < end; place += features) {
        weigh(call, place, scores, weights);
        weights += tokens;
    }
    weights = all;
    for (int32_t place = 0; place < end; place += features) {
        mix(call, place, weights);
        weights += tokens;
    }
}
