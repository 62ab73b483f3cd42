/* SPDX-License-Identifier: MIT
 *
 * The narrow products of an adapter in a training pass. Private to common/model.
 */
#ifndef RLHF_MODEL_ADAPTER_PASS_H
#define RLHF_MODEL_ADAPTER_PASS_H

#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "common/model/adapter.h"

typedef struct AdapterPass {
    float *low;    /* [N, rank] */
    float *wide;   /* [N, the widest input]; NULL without dropout in the configuration */
    Dropout masks; /* of the batch; rate 0: none */
    uint32_t site; /* of the first target; others follow */
} AdapterPass;

/* A product with its adapters: that of `part` and what lies behind it. */
typedef struct AdapterProduct {
    const AdapterPass *pass;
    const Model *model;
    GemmType type;
    Part part;
    size_t layer, rows;
} AdapterProduct;

/* Whether any part of the product has one. */
bool adapter_is_on(const ModelConfig *config, Part part);

/* y [rows, out] = s dropout(x) A^T B^T in the columns of parts that have an adapter, 0 in others; at least
 * one has. Product and end come on top of it. */
void adapter_forward(const AdapterProduct *product, float *y, const float *x);
/* dx [rows, in] = its gradient by x. */
void adapter_backward(const AdapterProduct *product, float *dx, const float *dy);
/* Adds the gradients of A and B. */
void adapter_gradient(const AdapterProduct *product, const Gradients *gradients, const float *x,
                      const float *dy);

#endif
