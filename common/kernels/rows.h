/* SPDX-License-Identifier: MIT
 *
 * RowKernels: the loops over a row of floats that a compiler vectorizes. One source (rows.c) is
 * compiled once for every instruction set that pays; row_kernels() gives the best one this CPU runs.
 * Pointers may not overlap unless a comment says so. Lengths may be any number, also 0 where a sum has
 * a meaning.
 */
#ifndef RLHF_KERNELS_ROWS_H
#define RLHF_KERNELS_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/kernels/activation.h"
#include "common/kernels/compact.h"

/* Which random numbers a row of a dropout mask gets: Philox4x32-10 with this key and the counter
 * (word0 + block, word1, word2, word3). Element c uses output word (c % 32) / 8 of block
 * 8 (c / 32) + c % 8, so that eight blocks are computed side by side. */
typedef struct DropoutRow {
    uint32_t key[2];
    uint32_t
        word[4]; /* a row that begins at column c, a multiple of 32, has c / 4 added to word[0] */
} DropoutRow;

/* A step of AdamW, the learning rate and bias corrections worked in. */
typedef struct AdamStep {
    float scale; /* of the gradient */
    float beta1, beta2;
    float keep; /* of the weight: 1 - learning rate * decay */
    float rate; /* of m / (sqrt(v) root + epsilon) */
    float root, epsilon;
} AdamStep;

typedef struct RowKernels {
    const char *name;

    /* y = x + b */
    void (*add)(float *y, const float *x, const float *b, size_t n);
    /* y += x + b */
    void (*bias_residual)(float *y, const float *b, const float *x, size_t n);
    /* y += a x */
    void (*axpy)(float *y, float a, const float *x, size_t n);
    /* y *= a */
    void (*scale)(float *y, float a, size_t n);

    /* f is the activation of a kind. b may be NULL: no bias. */
    /* x += b, y = f(x) */
    void (*bias_activation)(ActivationKind kind, float *x, float *y, const float *b, size_t n);
    /* y = f(x + b); y may be x */
    void (*activation)(ActivationKind kind, float *y, const float *x, const float *b, size_t n);
    /* d *= f'(x), then y = f(x); y may be x, or NULL: not wanted */
    void (*activation_both)(ActivationKind kind, float *d, float *y, const float *x, size_t n);
    /* y = f(g) u */
    void (*gated)(ActivationKind kind, float *y, const float *g, const float *u, size_t n);
    /* In: d, the gradient of y. Out: g and u are their gradients, d is y. */
    void (*gated_backward)(ActivationKind kind, float *g, float *u, float *d, size_t n);

    /* y = (x - mean) rstd w + b; rstd = 1 / sqrt(variance + epsilon), biased variance; b may be NULL */
    void (*norm)(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b,
                 float epsilon, size_t n);
    /* dx += d of the above */
    void (*norm_backward)(float *dx, const float *dy, const float *x, float mean, float rstd,
                          const float *w, size_t n);
    /* dw += dy (x - mean) rstd, db += dy */
    void (*norm_parameters)(float *dw, float *db, const float *dy, const float *x, float mean,
                            float rstd, size_t n);

    /* y = x rstd (base + w), returns rstd = 1 / sqrt(mean(x^2) + epsilon); y may be x */
    float (*rms_norm)(float *y, const float *x, float base, const float *w, float epsilon,
                      size_t n);
    /* the rstd alone */
    float (*rms)(const float *x, float epsilon, size_t n);
    /* dx += d of the above */
    void (*rms_backward)(float *dx, const float *dy, const float *x, float rstd, float base,
                         const float *w, size_t n);
    /* the same where d holds dy and becomes dx */
    void (*rms_backward_in_place)(float *d, const float *x, float rstd, float base, const float *w,
                                  size_t n);

    /* (a, b) turned: a = a cos - b sin, b = b cos + a sin, the sines times `direction` (1 or -1) */
    void (*rotate)(float *a, float *b, const float *cosine, const float *sine, float direction,
                   size_t n);

    /* sum += the sum of the rows of x, which are `stride` apart */
    void (*sum_rows)(float *sum, const float *x, size_t stride, size_t rows, size_t n);

    float (*max)(const float *x, size_t n); /* -infinity when n = 0 */
    /* y = exp(x - shift), returns the sum; y may be x */
    float (*exp)(float *y, const float *x, float shift, size_t n);
    /* returns sum exp(x - shift); *weighted = sum exp(x - shift) (x - shift) */
    float (*exp_sum)(const float *x, float shift, size_t n, float *weighted);
    /* x_j becomes -p_j (a + b (x_j - lse)), p = exp(x - lse): the part of d logits that a row's
     * log-prob (a) and entropy (b) share among all classes */
    void (*logits_backward)(float *x, float lse, float a, float b, size_t n);

    /* sum of x^2 in double, in an order that depends on n alone */
    double (*sum_of_squares)(const float *x, size_t n);
    /* g *= scale, m += (1 - beta1) (g - m), v = beta2 v + (1 - beta2) g^2,
     * w = keep w - rate m / (sqrt(v) root + epsilon), g = 0 */
    void (*adam)(float *w, float *m, float *v, float *g, const AdamStep *step, size_t n);

    /* y = x scale where the random number is at least threshold, else 0; y may be x */
    void (*dropout)(float *y, const float *x, const DropoutRow *row, uint32_t threshold,
                    float scale, size_t n);

    /* Of compact matrices: y = the values of BF16 numbers; of codes, each of which has a scale of its own;
     * of the elements from number `first` < 32 on of a row of blocks. */
    void (*widen_bf16)(float *y, const uint16_t *x, size_t n);
    void (*widen_codes)(float *y, const int8_t *code, const uint16_t *scale, size_t n);
    void (*widen_blocks)(float *y, const CompactBlock *block, size_t first, size_t n);
} RowKernels;

/* The best table for this CPU. */
const RowKernels *row_kernels(void);

/* Every table this CPU can run, the portable one first; NULL past the end. For tests. */
const RowKernels *row_kernels_at(size_t i);

#endif
