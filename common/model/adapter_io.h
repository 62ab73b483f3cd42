/* SPDX-License-Identifier: MIT
 *
 * Adapter folders in PEFT's layout: adapter_config.json and adapter_model.safetensors. Ours also hold
 * config.json (what a score head, its labels and the reward bias are) and base.json: where the base was and
 * a fingerprint of its weights. model_load, model_reload and model_save come here for adapters.
 *
 * What PEFT can say and we do not compute (DoRA, patterns of ranks, biases, chosen layers, weights that an
 * initialization changed, ...) is refused by its key.
 */
#ifndef RLHF_MODEL_ADAPTER_IO_H
#define RLHF_MODEL_ADAPTER_IO_H

#include "common/model/model.h"

/* Whether a folder holds an adapter, and not a whole model. */
bool adapter_is_folder(const char *folder);

/* The folder of the base that an adapter's configuration names: as it stands, or relative to the adapter's
 * folder. Release with free; NULL and ERROR_NO_INPUT when it is not there. */
char *adapter_base_folder(const char *folder, Error *err);

/* As model_load_compact. base: folder of the base, or NULL: the one that the adapter names. near: a model on
 * the same base lends it as it is held (model_share), on another base or NULL: the base is read. */
bool adapter_load(Model *model, const char *folder, const char *base, const Model *near,
                  CompactType held, int head, size_t labels, bool *fresh_head, Error *err);
/* As model_load; of an adapter on the base of `near`, which then must live longer, the base is not read.
 * Another base is held as that of near. near may be NULL. */
bool model_load_beside(Model *model, const Model *near, const char *folder, int head, size_t labels,
                       bool *fresh_head, Error *err);
/* As model_reload, for a model with an adapter: everything that is its own. */
bool adapter_reload(Model *model, const char *folder, Error *err);
/* As model_save. */
bool adapter_save(const Model *model, const char *folder, Error *err);

#endif
