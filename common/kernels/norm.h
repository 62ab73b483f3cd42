/* SPDX-License-Identifier: MIT
 *
 * Norms over the rows of an N x C matrix: LayerNorm (Ba et al. 2016), y = (x - mean) rstd w + b, and RMSNorm
 * (Zhang, Sennrich 2019), y = x rstd w with rstd = 1 / sqrt(mean(x^2) + epsilon), whose weight may be kept
 * as its difference from 1: y = x rstd (1 + w) (Gemma); and RMSNorm of the heads of queries and keys.
 */
#ifndef RLHF_KERNELS_NORM_H
#define RLHF_KERNELS_NORM_H

#include <stddef.h>

typedef enum NormKind {
    NORM_LAYER,
    NORM_RMS,
    NORM_RMS_OFFSET, /* RMSNorm with 1 + w */
} NormKind;

typedef struct Norm {
    NormKind kind;
    const float *weight, *bias; /* [C]; bias NULL: none. RMSNorm reads no bias. */
    float epsilon;
} Norm;

/* What is added to the weight. */
static inline float norm_base(const Norm *norm) {
    return norm->kind == NORM_RMS_OFFSET ? 1.0f : 0.0f;
}

/* y, x: [N, C], not the same; mean, rstd: [N], kept for backward. RMSNorm does not touch the mean, here
 * and below: it may be NULL. */
void norm_forward(const Norm *norm, float *y, float *mean, float *rstd, const float *x, size_t rows,
                  size_t width);

/* dx += gradient; dx must not be dy. */
void norm_backward(const Norm *norm, float *dx, const float *dy, const float *x, const float *mean,
                   const float *rstd, size_t rows, size_t width);

/* dweight += sum over rows of dy (x - mean) rstd (RMSNorm: without the mean); dbias += sum of dy. Either
 * may be NULL. */
void norm_backward_parameters(const Norm *norm, float *dweight, float *dbias, const float *dy,
                              const float *x, const float *mean, const float *rstd, size_t rows,
                              size_t width);

/* Each of the `heads` heads that lie side by side in each row of x (rows `stride` apart) becomes its
 * RMSNorm, of the norm's kind and with its weight [head_size]. */
void head_norm_forward(const Norm *norm, float *x, size_t stride, size_t rows, size_t heads,
                       size_t head_size);

/* In: dx (rows `stride` apart) the gradient of the above, x (rows x_stride apart) what it was applied to.
 * Out: dx the gradient of x; dweight [head_size] (or NULL) += that of the weight. */
void head_norm_backward(const Norm *norm, float *dx, float *dweight, const float *x, size_t stride,
                        size_t x_stride, size_t rows, size_t heads, size_t head_size);

#endif
