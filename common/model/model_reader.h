/* SPDX-License-Identifier: MIT
 *
 * ModelReader: a model's weights one parameter at a time, for who writes them in another form.
 *
 * Those of a folder stay in its files, which are mapped and let go again: memory is that of the caller's
 * buffer. They have to be in memory, as with model_load, where they are put together from several places:
 * an adapter, which is merged into its base; llama2.c's file; a score head that OpenRLHF normalizes.
 */
#ifndef RLHF_MODEL_MODEL_READER_H
#define RLHF_MODEL_MODEL_READER_H

#include "common/model/model.h"

typedef struct ModelReader ModelReader;

/* Refuses what model_load (head = -1) refuses, but for numbers that are not finite: these are found when
 * their tensor is read. */
ModelReader *model_reader_open(const char *folder, Error *err);
/* Of a model in memory, which lives longer. */
ModelReader *model_reader_of(const Model *model, Error *err);
void model_reader_close(ModelReader *reader);

/* Configuration and parameters; the values come from here alone: */
const Model *model_reader_model(const ModelReader *reader);
/* Floats that a buffer needs for any parameter; 0: the values are handed out where they lie. */
size_t model_reader_buffer(const ModelReader *reader);
/* Values [count] of parameter i, in the order of memory; in `buffer` (of that size, or of the parameter's
 * count; NULL where none is needed) or where they lie. NULL on failure. */
const float *model_reader_values(const ModelReader *reader, size_t i, float *buffer, Error *err);

/* As model_save_as. */
bool model_reader_save(const ModelReader *reader, const char *folder, TensorType type,
                       size_t max_shard_bytes, Error *err);

#endif
