/* int8 kernels for Cortex-M: maps are NHWC (one image), weights symmetric per output channel, activations affine.
 *
 * real value = scale * (q - zero); an accumulator becomes int8 by a 32-bit multiplier and a shift per channel, in
 * integers only (B. Jacob et al., Quantization and training of neural networks for efficient
 * integer-arithmetic-only inference, 2018). Which instructions run depends on sizes, never on values.
 *
 * A network is an array of `step`s: a kernel and its arguments. Every kernel is an object of its own, compiled without
 * knowledge of its caller's arguments, so that a step takes as many instructions in one network as in another.
 */
#ifndef OFA_KERNELS_H
#define OFA_KERNELS_H

#include <stdint.h>

/* an accumulator begins with `bias`; see `finish` for the others */
struct channel {
    int32_t bias, multiplier, shift;
};

/* ((accumulator << left) * multiplier / 2^32 >> shift, plus `offset`, halved) between low and high, then looked up.
 * offset = 1 + 2 * zero: the 1 rounds to nearest, halves up. `table` has 256 entries from q = -128 on, or is null. */
struct finish {
    int32_t left, offset, low, high;
    const int8_t *table;
};

/* 1x1 convolutions with stride 1 and linear layers. `channels` and `weights` are padded with zeros to even `out` and
 * to 4 * `words` inputs: for every two outputs, for every 4 inputs, 4 weights of the first and 4 of the second.
 * Reads up to 3 bytes behind x. */
struct pointwise {
    const int8_t *x;
    int8_t *y;
    const int8_t *weights;
    const struct channel *channels;
    int32_t pixels, in, words, out;
    struct finish finish;
};

/* bytes of windows for which there is room on the stack */
#define OFA_SMALL_WINDOWS 160

/* dense convolutions; weights as above with the inputs of a window (row, column, channel) for inputs.
 * `scratch` holds two windows, 8 * `words` bytes; null if that is no more than OFA_SMALL_WINDOWS. */

struct convolution {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    const int8_t *weights;
    const struct channel *channels;
    int32_t height, width, in, kernel, stride, pad, out_height, out_width, words, out;
    int32_t zero;
    struct finish finish;
};

/* a depthwise window has at most so many rows */
#define OFA_MOST_ROWS 16

/* depthwise convolutions; `weights` are padded with zeros to a multiple of 4 channels: for every 4 channels, for every
 * place of the window, one of each. Reads up to 3 bytes behind x. y may be x, if the output is no larger and `scratch`
 * holds `kept` rows of the input (none if 0). */
struct depthwise {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    const int8_t *weights;
    const struct channel *channels;
    int32_t height, width, count, kernel, stride, pad, out_height, out_width;
    int32_t kept, zero;
    struct finish finish;
};

/* mean of all pixels, one channel at a time */
struct global_average {
    const int8_t *x;
    int8_t *y;
    int32_t pixels, count;
    struct channel channel;
    struct finish finish;
};

/* `by_number[n - 1]` is for windows of n pixels: those over an edge average what is there */
struct average_pool {
    const int8_t *x;
    int8_t *y;
    const struct channel *by_number;
    int32_t height, width, count, kernel, stride, out_height, out_width;
    struct finish finish;
};

/* pixels beyond an edge do not count */
struct max_pool {
    const int8_t *x;
    int8_t *y;
    int32_t height, width, count, kernel, stride, pad, out_height, out_width;
};

/* (first * first_multiplier + second * second_multiplier + offset) >> shift, between low and high, then looked up */
struct add {
    const int8_t *first;
    const int8_t *second;
    int8_t *y;
    int32_t count;
    int32_t first_multiplier, second_multiplier, offset, shift, low, high;
    const int8_t *table;
};

/* every channel of every pixel times a gate of its own */
struct scale {
    const int8_t *x;
    const int8_t *gates;
    int8_t *y;
    int32_t pixels, count;
    int32_t zero, gate_zero;
    struct channel channel;
    struct finish finish;
};

/* an activation by itself */
struct lookup {
    const int8_t *x;
    int8_t *y;
    const int8_t *table;
    int32_t count;
};

/* every token to mean 0 and variance 1 over its `count` <= 512 features, then scaled and shifted by
 * (product of norm * 2^23 and scale >> 32, plus bias) >> shift. `epsilon` >= 1 is added to count^2 * variance of q. */
struct layer_norm {
    const int8_t *x;
    int8_t *y;
    const int32_t *scales;
    const int32_t *biases;
    int32_t tokens, count, shift;
    uint32_t epsilon;
};

/* softmax attention of `heads` times `features` each (a multiple of 4), of `tokens` <= 512 tokens; y may be `queries`.
 * Scores below the largest by d weigh ofa_exponents[min(d * multiplier / 2^32 >> shift, 511)] <= 2^14.
 * `scratch` holds 4 * tokens + 2 * features bytes; `attention_by_operators`, which has all weights before it averages
 * values by the first of them, needs 2 * heads * tokens^2 more.
 * `linear_attention` has ReLU of queries (at most 128 features) and keys for scores, and these for weights; of the
 * numbers for scores it reads the zeros only. Its `scratch` holds 4 * features * (features + 2) bytes. */
struct attention {
    const int8_t *queries;
    const int8_t *keys;
    const int8_t *values;
    int8_t *y;
    int8_t *scratch;
    int32_t tokens, heads, features;
    int32_t query_zero, key_zero, value_zero, multiplier, shift;
    struct channel channel;
    struct finish finish;
};

/* 1x1 convolution (none if it has no pixels), depthwise convolution, 1x1 convolution, sum with x (none if its count is
 * 0), whose own addresses of maps and memory are not looked at. `scratch` holds `ring` rows of the depthwise
 * convolution's input, a row of its output and, with a sum, a row of y, and 3 bytes more; `ring` is as many as a window
 * reads, or 0 if the depthwise convolution reads x itself. The output may be written over the input where there is a
 * sum. */
struct inverted_residual {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    int32_t ring;
    struct pointwise expand;
    struct depthwise depthwise;
    struct pointwise project;
    struct add add;
};

extern const uint16_t ofa_exponents[512];

/* The rest is made of the kernels above: their structs are nested, with null for the addresses of maps. */

/* a linear layer `second`, or two of which `first` has fewer outputs; without a first, its `words` are 0 */
struct layers {
    struct pointwise first, second;
};

/* y = x + project(attention(query(norm(x)), key(norm(x)), value(norm(x)))); y may be x.
 * `scratch` begins with a slot of tokens * features per head, for queries and the head's output. At the offsets `keys`
 * and `values` are those of one head, or all if `all`; at `scores` the scratch of attention (`linear_attention` if `is_linear`). At `rows` are two tokens
 * normed, and a factor of theirs; at `factors` the first factors of all keys, then of all values, unless `all`. `even`
 * and `odd` are where the layers of the projection read and write in turn. */
struct overwriting_attention {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    int32_t keys, values, scores, rows, factors, even, odd, all, is_linear;
    struct layer_norm norm;
    struct layers query, key, value;
    struct attention attention;
    struct layers project;
    struct add add;
};

/* y = x + the layers, one after the other, of norm(x); y may be x. Layers read and write at the beginning of `scratch`
 * and at the offset `odd` in turn. */
struct overwriting_mlp {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    int32_t odd, num_layers;
    struct layer_norm norm;
    struct pointwise layers[4];
    struct add add;
};

/* a convolution whose stride is its kernel, without padding, and a sum with a constant map. y may begin where x does
 * or end where x does, if a row of outputs takes at least 16 bytes less than the rows of x that it is made of.
 * `scratch` is that of the convolution, and a row of outputs. */
struct patch_embedding {
    const int8_t *x;
    int8_t *y;
    int8_t *scratch;
    struct convolution convolution;
    struct add add;
};

struct step {
    void (*kernel)(const void *arguments);
    const void *arguments;
};

void ofa_pointwise(const void *arguments);
void ofa_convolution(const void *arguments);
void ofa_depthwise(const void *arguments);
void ofa_global_average(const void *arguments);
void ofa_average_pool(const void *arguments);
void ofa_max_pool(const void *arguments);
void ofa_add(const void *arguments);
void ofa_scale(const void *arguments);
void ofa_lookup(const void *arguments);
void ofa_layer_norm(const void *arguments);
void ofa_attention(const void *arguments);
void ofa_inverted_residual(const void *arguments);
void ofa_attention_by_operators(const void *arguments);
void ofa_linear_attention(const void *arguments);
void ofa_overwriting_attention(const void *arguments);
void ofa_overwriting_mlp(const void *arguments);
void ofa_patch_embedding(const void *arguments);

/* one inference */
void ofa_run(const struct step *steps, int32_t count);

#endif
