/* SPDX-License-Identifier: MIT
 *
 * Between a tensor's order in files and in memory, and what it is held as there. Private to common/model.
 */
#ifndef RLHF_MODEL_STORAGE_H
#define RLHF_MODEL_STORAGE_H

#include "common/model/family.h"
#include "common/model/model.h"

/* memory and stored: `count` floats of a tensor of this row, not the same place. */
void storage_to_memory(const ModelConfig *config, const TensorRow *row, float *memory,
                       const float *stored, size_t count);
void storage_to_file(const ModelConfig *config, const TensorRow *row, float *stored,
                     const float *memory, size_t count);

/* Fills parameter i with values [count], in the order of memory. A number that cannot be held is ERROR_DATA
 * naming the tensor. */
bool storage_hold(Model *model, size_t i, const float *values, Error *err);
/* Hash, in hexadecimal, of the values that parameter i was filled with. */
void storage_digest(const Model *model, size_t i, char out[HASH_TEXT]);

#endif
