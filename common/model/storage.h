/* SPDX-License-Identifier: MIT
 *
 * Between a tensor's order in files and in memory. Private to common/model.
 */
#ifndef RLHF_MODEL_STORAGE_H
#define RLHF_MODEL_STORAGE_H

#include "common/model/family.h"

/* memory and stored: `count` floats of a tensor of this row, not the same place. */
void storage_to_memory(const ModelConfig *config, const TensorRow *row, float *memory,
                       const float *stored, size_t count);
void storage_to_file(const ModelConfig *config, const TensorRow *row, float *stored,
                     const float *memory, size_t count);

#endif
