/* A block's attention over its own input: layer norm, queries, keys, values, attention, projection, sum.
 * Queries of all heads have a slot each, which the head's output is written over; keys and values are there for one
 * head at a time; the projection of two tokens at a time is added to x. */
#include "nested.h"

/* queries of the heads from `head` to `end` of the tokens from `token` on, of their rows x; likewise keys and values */
static void by_heads(const struct overwriting_attention *call, const struct pointwise *layer, const int8_t *x,
    int8_t *slots, int32_t token, int32_t pair, int32_t head, int32_t end) {
    int32_t tokens = call->attention.tokens, features = call->attention.features;
    int8_t *y = slots + token * features;
    for (; head < end; head++) {
        apply(layer, x, y, pair, head * features, features);
        y += tokens * features;
    }
}

/* with two factors each: queries of all heads, and of keys and values the first factor, or all if `all` */
static void begin_with_factors(const struct overwriting_attention *call) {
    int32_t tokens = call->attention.tokens, heads = call->attention.heads, in = call->norm.count, step = 2;
    int32_t key_rank = call->key.first.out, value_rank = call->value.first.out;
    int8_t *slots = call->scratch, *keys = slots + call->keys, *values = slots + call->values;
    int8_t *key_factors = slots + call->factors, *value_factors = key_factors + tokens * key_rank;
    int8_t *rows = slots + call->rows, *factors = rows + (tokens > 1 ? 2 : 1) * in;
    for (int32_t t = 0; t < tokens; t += step) {
        int32_t pair = tokens - t < step ? tokens - t : step;
        norm_tokens(&call->norm, call->x + t * in, rows, pair);
        apply(&call->query.first, rows, factors, pair, 0, call->query.first.out);
        by_heads(call, &call->query.second, factors, slots, t, pair, 0, heads);
        if (call->all) {
            apply(&call->key.first, rows, factors, pair, 0, key_rank);
            by_heads(call, &call->key.second, factors, keys, t, pair, 0, heads);
            apply(&call->value.first, rows, factors, pair, 0, value_rank);
            by_heads(call, &call->value.second, factors, values, t, pair, 0, heads);
        } else {
            apply(&call->key.first, rows, key_factors + t * key_rank, pair, 0, key_rank);
            apply(&call->value.first, rows, value_factors + t * value_rank, pair, 0, value_rank);
        }
    }
}

/* without: queries, keys and values of a head */
static void begin_head(const struct overwriting_attention *call, int32_t head) {
    int32_t tokens = call->attention.tokens, features = call->attention.features, in = call->norm.count;
    int8_t *slot = call->scratch + head * tokens * features, *rows = call->scratch + call->rows;
    for (int32_t t = 0; t < tokens; t += 2) {
        int32_t pair = tokens - t < 2 ? 1 : 2;
        norm_tokens(&call->norm, call->x + t * in, rows, pair);
        by_heads(call, &call->query.second, rows, slot, t, pair, head, head + 1);
        by_heads(call, &call->key.second, rows, call->scratch + call->keys, t, pair, head, head + 1);
        by_heads(call, &call->value.second, rows, call->scratch + call->values, t, pair, head, head + 1);
    }
}

/* the output of all heads, side by side, of some tokens */
static void gather(const struct attention *how, const int8_t *slots, int8_t *rows, int32_t pair) {
    for (; pair > 0; pair--) {
        const int8_t *slot = slots;
        for (int32_t head = how->heads; head > 0; head--) {
            copy_words(rows, slot, (uint32_t)how->features);
            slot += how->tokens * how->features;
            rows += how->features;
        }
        slots += how->features;
    }
}

static void project_and_add(const struct overwriting_attention *call) {
    int32_t tokens = call->attention.tokens, features = call->attention.features, in = call->norm.count;
    int8_t *even = call->scratch + call->even, *odd = call->scratch + call->odd;
    int32_t has_factors = call->project.first.words != 0;
    for (int32_t t = 0; t < tokens; t += 2) {
        int32_t pair = tokens - t < 2 ? 1 : 2;
        gather(&call->attention, call->scratch + t * features, even, pair);
        if (has_factors) {
            apply(&call->project.first, even, odd, pair, 0, call->project.first.out);
        }
        int8_t *from = has_factors ? odd : even, *to = has_factors ? even : odd;
        apply(&call->project.second, from, to, pair, 0, in);
        add_up(&call->add, call->x + t * in, to, call->y + t * in, pair * in);
    }
}

void ofa_overwriting_attention(const void *arguments) {
    const struct overwriting_attention *call = arguments;
    int32_t tokens = call->attention.tokens, heads = call->attention.heads, features = call->attention.features;
    int32_t has_factors = call->query.first.words != 0;
    int8_t *keys = call->scratch + call->keys, *values = call->scratch + call->values;
    const int8_t *key_factors = call->scratch + call->factors;
    const int8_t *value_factors = key_factors + tokens * call->key.first.out;
    struct attention one;
    copy_words(&one, &call->attention, sizeof one);
    one.heads = 1;
    one.keys = keys;
    one.values = values;
    one.y = call->scratch;
    one.scratch = call->scratch + call->scores;
    if (has_factors) {
        begin_with_factors(call);
    }
    for (int32_t head = 0; head < heads; head++) {
        if (!has_factors) {
            begin_head(call, head);
        } else if (!call->all) {
            by_heads(call, &call->key.second, key_factors, keys, 0, tokens, head, head + 1);
            by_heads(call, &call->value.second, value_factors, values, 0, tokens, head, head + 1);
        }
        one.queries = one.y;
        if (call->is_linear) {
            ofa_linear_attention(&one);
        } else {
            ofa_attention(&one);
        }
        one.y += tokens * features;
        if (call->all) {
            one.keys += tokens * features;
            one.values += tokens * features;
        }
    }
    project_and_add(call);
}
