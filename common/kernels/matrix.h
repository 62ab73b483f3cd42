/* SPDX-License-Identifier: MIT
 *
 * Pointwise work on the rows of an N x C matrix, spread over threads: sums, gathering rows, dropout; and
 * bias, residual and activation as ends of products.
 */
#ifndef RLHF_KERNELS_MATRIX_H
#define RLHF_KERNELS_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kernels/rows.h"

/* y = a + b, all [count], none the same. */
void matrix_add(float *y, const float *a, const float *b, size_t count);
/* x += y, both [count] */
void matrix_accumulate(float *x, const float *y, size_t count);

/* sum[c] += sum over rows of x[t][c]. */
void matrix_column_sum(float *sum, const float *x, size_t rows, size_t width);

/* y[i] = x[row[i]], and x[row[i]] += y[i]; no row may occur twice. x has rows of `width`. */
void matrix_gather(float *y, const float *x, const size_t *row, size_t n, size_t width);
void matrix_scatter_add(float *x, const float *y, const size_t *row, size_t n, size_t width);

/* y [rows, width] = the first columns of x, whose rows are `stride` apart. */
void matrix_copy_columns(float *y, const float *x, size_t stride, size_t rows, size_t width);

/* x[to] = x[from]: one row, on the calling thread. */
void matrix_move_row(float *x, size_t to, size_t from, size_t width);

/* Ends of products (GemmFinish in gemm.h); the context is a MatrixFinish, of which each reads what its
 * formula names. */
typedef struct MatrixFinish {
    const float *bias;     /* [width], or NULL: none */
    const float *residual; /* [rows of C, width] */
    const float *x;        /* [rows of C, width] what an activation was applied to */
    float *y;              /* [rows of C, width] what it gave; may be x */
    size_t width;          /* columns of C */
    ActivationKind activation;
} MatrixFinish;

/* C += bias */
void finish_bias(const void *finish, size_t row, size_t rows, size_t column, size_t columns,
                 float *c, size_t ldc);
/* C += residual + bias; the residual may not be C */
void finish_bias_residual(const void *finish, size_t row, size_t rows, size_t column,
                          size_t columns, float *c, size_t ldc);
/* C += bias, y = f(C); f: the activation */
void finish_bias_activation(const void *finish, size_t row, size_t rows, size_t column,
                            size_t columns, float *c, size_t ldc);
/* C = f(C + bias) */
void finish_bias_activation_only(const void *finish, size_t row, size_t rows, size_t column,
                                 size_t columns, float *c, size_t ldc);
/* C *= f'(x), then y = f(x) */
void finish_activation_both(const void *finish, size_t row, size_t rows, size_t column,
                            size_t columns, float *c, size_t ldc);

/* Inverted dropout. An element's fate is a function of key, the row's stream and position, the site and
 * the column: of nothing that depends on the batch. */
typedef struct Dropout {
    float rate; /* in [0, 1); 0: off */
    uint32_t key[2];
    const uint64_t *stream;   /* [N] of each row's sequence */
    const uint32_t *position; /* [N] of each row in its sequence, prefix included */
} Dropout;

/* Random number threshold and factor of a rate. */
uint32_t dropout_threshold(float rate);
float dropout_scale(float rate);
/* Counter words of a row; site < 2^16 tells the places of a model apart. */
DropoutRow dropout_row(const uint32_t key[2], uint64_t stream, uint32_t position, uint32_t site);

/* y = mask(x) / (1 - rate), [N, C] both; y may be x. The same call is its own backward. */
void dropout_apply(float *y, const float *x, const Dropout *dropout, uint32_t site, size_t rows,
                   size_t width);

#endif
