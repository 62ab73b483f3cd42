/* SPDX-License-Identifier: MIT
 *
 * PackedModel: a model's matrices laid out as the matrix products read them (gemm.h), so that a product
 * does not lay them out anew each time. Whoever runs many passes over the same weights owns one: a
 * Generator, a Workspace.
 */
#ifndef RLHF_MODEL_PACKED_H
#define RLHF_MODEL_PACKED_H

#include "common/kernels/gemm.h"
#include "common/model/family.h"
#include "common/model/model.h"

typedef struct PackedModel PackedModel;

/* Which products: y = x W, dx = dy W^T (without the LM head), and those of the LM head. PACK_MERGED: with
 * the model's adapter in W, if it has one; without it an adapter is left out. */
enum {
    PACK_FORWARD = 1,
    PACK_BACKWARD = 2,
    PACK_HEAD_FORWARD = 4,
    PACK_HEAD_BACKWARD = 8,
    PACK_MERGED = 16,
};

size_t packed_bytes(const ModelConfig *config, GemmType type, unsigned which);
PackedModel *packed_create(const ModelConfig *config, GemmType type, unsigned which, Error *err);
void packed_free(PackedModel *packed);

/* Packs the model's matrices unless these very weights (Model.base_version, merged Model.version) are
 * packed already. */
void packed_update(PackedModel *packed, const Model *model);

/* The matrix of a part (PART_QKV_WEIGHT ... PART_DOWN_WEIGHT, or the LM head's) for one of the products
 * above; NULL when it is not packed, or packed is NULL. */
const PackedMatrix *packed_part(const PackedModel *packed, Part part, size_t layer, unsigned which);

#endif
