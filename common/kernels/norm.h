/* SPDX-License-Identifier: MIT
 *
 * LayerNorm (Ba et al. 2016) over the rows of an N x C matrix: y = (x - mean) rstd w + b.
 */
#ifndef RLHF_KERNELS_NORM_H
#define RLHF_KERNELS_NORM_H

#include <stddef.h>

typedef enum NormKind {
    NORM_LAYER, /* LayerNorm: with mean and bias */
    NORM_RMS,   /* RMSNorm (Zhang & Sennrich 2019): without */
} NormKind;

/* y, x: [N, C]; mean, rstd: [N], kept for backward; w, b: [C]. */
void layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *w,
                       const float *b, float epsilon, size_t rows, size_t width);

/* dx += gradient; dx must not be dy. */
void layernorm_backward(float *dx, const float *dy, const float *x, const float *mean,
                        const float *rstd, const float *w, size_t rows, size_t width);

/* dw += sum over rows of dy (x - mean) rstd; db += sum of dy. Either may be NULL. */
void layernorm_backward_parameters(float *dw, float *db, const float *dy, const float *x,
                                   const float *mean, const float *rstd, size_t rows, size_t width);

#endif
