/* SPDX-License-Identifier: MIT
 *
 * Products with the matrices of linear layers and of the LM head, in training passes and in decoding alike.
 * Private to common/model.
 */
#ifndef RLHF_MODEL_LINEAR_H
#define RLHF_MODEL_LINEAR_H

#include "common/kernels/matrix.h"
#include "common/model/adapter_pass.h"
#include "common/model/packed.h"

typedef struct LinearLayers {
    const Model *model;
    const PackedModel *packed; /* what of the model is packed, or NULL */
    GemmType type;
    const AdapterPass *adapter; /* of a model with an adapter that is not packed in, or NULL */
} LinearLayers;

/* A layer's matrix as it is stored: floats, or compact. */
typedef struct LinearMatrix {
    const float *weight; /* NULL: compact */
    CompactMatrix compact;
    bool in_out;
    size_t in, out, columns;
} LinearMatrix;

LinearMatrix linear_matrix(const Model *model, Part part, size_t layer);

/* Columns of x and of y. Parts behind a part (K and V behind Q, what a gate multiplies behind the gate) are
 * one matrix with it. */
size_t linear_inputs(const ModelConfig *config, Part part);
size_t linear_outputs(const ModelConfig *config, Part part);
/* Whether the matrix lies as [in, out]. */
bool linear_is_in_out(const ModelConfig *config, Part part);

/* y = x W of a part (PACK_FORWARD, PACK_HEAD_FORWARD) or y = x W^T (PACK_BACKWARD), in the family's order
 * of weights, through `finish` (or NULL). */
void linear_product(const LinearLayers *layers, Part part, size_t layer, unsigned which, float *y,
                    const float *x, size_t rows, GemmFinish *finish, const MatrixFinish *context);

/* Whether something about a part's layer trains that only the layer's input and output can tell: its
 * adapter. */
bool linear_has_adapter(const LinearLayers *layers, Part part);
/* Adds the gradients of its A and B. */
void linear_adapter_gradient(const LinearLayers *layers, Part part, size_t layer,
                             const Gradients *gradients, const float *x, const float *dy,
                             size_t rows);

/* dW += x^T dy */
void linear_weight_gradient(const LinearLayers *layers, Part part, size_t layer, float *dweight,
                            const float *x, const float *dy, size_t rows);

#endif
