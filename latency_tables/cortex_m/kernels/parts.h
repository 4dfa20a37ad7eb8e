/* Kernels on some rows of a map: for those kernels that are made of others. */
#ifndef OFA_PARTS_H
#define OFA_PARTS_H

#include "kernels.h"

/* `pixels` of them from x to y */
void ofa_pointwise_part(const struct pointwise *call, const int8_t *x, int8_t *y, int32_t pixels);

/* One row of outputs to y: rows[i] is the input's row under the window's row i, for `from` <= i < `to`; other rows of
 * the window are outside the image. */
void ofa_depthwise_part(
    const struct depthwise *call, const int8_t *const *rows, int32_t from, int32_t to, int8_t *y);

/* `count` sums to y */
void ofa_add_part(const struct add *call, const int8_t *first, const int8_t *second, int8_t *y, int32_t count);

#endif
