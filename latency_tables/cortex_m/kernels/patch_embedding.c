/* Patches to tokens, a row of patches at a time, over the image: a row of tokens is no larger than the pixels that it
 * is made of, and is kept aside until all of these are read. */
#include "nested.h"

void ofa_patch_embedding(const void *arguments) {
    const struct patch_embedding *call = arguments;
    struct convolution row;
    copy_words(&row, &call->convolution, sizeof row);
    int32_t rows = row.out_height, pixels = row.stride * row.width * row.in, tokens = row.out_width * row.out;
    int32_t back = (uintptr_t)call->y > (uintptr_t)call->x; /* to the end of the image: the last row first */
    int32_t number = back * (rows - 1), step = 1 - 2 * back;
    row.height = row.stride;
    row.out_height = 1;
    row.scratch = call->scratch;
    row.y = call->scratch + 8 * row.words;
    for (; rows > 0; rows--) {
        row.x = call->x + number * pixels;
        ofa_convolution(&row);
        add_up(&call->add, row.y, call->add.second + number * tokens, call->y + number * tokens, tokens);
        number += step;
    }
}
