/* SPDX-License-Identifier: MIT
 *
 * Adapters: LoRA (Hu et al. 2021, section 4.1). A linear layer y = x W^T of a frozen base becomes
 * y = x W^T + s dropout(x) A^T B^T with A [r, in] and B [out, r], s = alpha / r, or alpha / sqrt(r) (rank
 * stabilized; Kalajdzievski 2023). A and B are [r, in] and [out, r] whatever the order of W is. B begins
 * as zeros, so that the model begins as the base.
 *
 * An adapter's tensors are Parameters of the Model, behind all others, with PEFT's names; they and a
 * score head train, all else is frozen. A training pass computes the two narrow products; who decodes
 * packs W + s B A (packed.h). Folders in PEFT's layout are read and written by model_load and model_save.
 */
#ifndef RLHF_MODEL_ADAPTER_H
#define RLHF_MODEL_ADAPTER_H

#include "common/model/family.h"
#include "common/model/model.h"

enum { ADAPTER_RANK_LIMIT = 4096 };

/* The targets that names stand for, as PEFT's target_modules: the end of layers' names from one of their
 * dots on ("q_proj", "attn.c_proj", "3.mlp.up_proj"), or the one name "all-linear": all linear layers of
 * the blocks. ERROR_CONFIG naming what no layer is called, layers that are not computed with an adapter,
 * and layers that are meant in some blocks only. */
bool adapter_targets(const ModelConfig *config, const char *const *name, size_t names,
                     uint64_t *targets, Error *err);

/* The shortest name, as above, that means target `part` in all blocks and no other layer. It points into
 * the family's table, *length characters of it; where only a block's number tells (BERT), it begins with
 * "%zu", which stands for each of them. */
const char *adapter_target_name(const ModelConfig *config, Part part, size_t *length);

/* Rank and the like are in range, and there is a target. ERROR_CONFIG. */
bool adapter_check(const ModelConfig *config, Error *err);

/* Factor s. */
float adapter_scale(const AdapterConfig *adapter);

/* Number of A and B of a configuration, and the index of A in Model.parameter, which B follows; SIZE_MAX
 * when the part has none. */
size_t adapter_tensors(const ModelConfig *config);
size_t adapter_index(const ModelConfig *config, Part part, size_t layer);

/* The row of the layer that parameter i, an A or (*second) a B, adapts. */
const TensorRow *adapter_row(const ModelConfig *config, size_t i, bool *second);

/* Puts an adapter on a model that has none. Its base is frozen in place; the score head becomes its own.
 * The caller sets Model.base. On failure the model is as it was. */
bool model_adapt(Model *model, const AdapterConfig *adapter, uint64_t seed, Error *err);

/* The matrix of a product (PART_QKV_WEIGHT, ... and what lies behind it) in the family's order, with the
 * model's adapters in it: W + s B A. */
void adapter_merged(const Model *model, Part part, size_t layer, float *out);

/* Adds the adapter to the base and takes it off. The data must be the model's own, and floats
 * (model_widen). */
void model_merge_adapter(Model *model);

/* For the layout of parameters: name, shape and block of parameter i, an A or a B; and its first values:
 * A uniform in +-1 / sqrt(in), as PEFT has it, B zero. */
void adapter_parameter(Model *model, size_t i);
void adapter_initialize(Model *model, size_t i, uint64_t seed);

#endif
