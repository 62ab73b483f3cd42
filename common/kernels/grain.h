/* SPDX-License-Identifier: MIT
 *
 * How small a piece of pointwise work may be before a second thread costs more than it gives.
 */
#ifndef RLHF_KERNELS_GRAIN_H
#define RLHF_KERNELS_GRAIN_H

#include <stddef.h>

enum { PIECE_FLOATS = 8192 };

/* Rows of a piece of an N x C matrix that is cut by rows. */
static inline size_t row_grain(size_t width) {
    return 1 + PIECE_FLOATS / (width + 1);
}

/* Columns of a piece when it is cut by columns: whole cache lines. */
static inline size_t column_grain(size_t rows) {
    return 16 * (1 + PIECE_FLOATS / 16 / (rows + 1));
}

#endif
