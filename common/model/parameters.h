/* SPDX-License-Identifier: MIT
 *
 * The two halves of model_create, apart for readers: a file is compared with the layout before
 * memory is asked for, so that a configuration with absurd sizes costs nothing.
 */
#ifndef RLHF_MODEL_PARAMETERS_H
#define RLHF_MODEL_PARAMETERS_H

#include "common/model/model.h"

/* Fills config (a deep copy), parameter, parameters, held, and sizes; the slabs stay NULL. */
bool parameters_layout(Model *model, const ModelConfig *config, CompactType held, Error *err);
/* Takes the slabs, zeroed. On failure the model is done. */
bool parameters_allocate(Model *model, Error *err);

#endif
