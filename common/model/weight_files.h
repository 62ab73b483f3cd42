/* SPDX-License-Identifier: MIT
 *
 * The weight files of a model folder: model.safetensors, or the shards that
 * model.safetensors.index.json names. Private to common/model.
 */
#ifndef RLHF_MODEL_WEIGHT_FILES_H
#define RLHF_MODEL_WEIGHT_FILES_H

#include "common/model/safetensors.h"

typedef struct WeightFiles {
    char *index_path; /* owned; NULL for a single file */
    char **name;      /* owned; of each shard within the folder */
    SafeTensors *file;
    size_t files, names_capacity, files_capacity;
} WeightFiles;

/* Opens all of them. An index may name plain .safetensors names of its folder only, and every tensor must be
 * where it says. On failure nothing stays open. */
bool weight_files_find(WeightFiles *files, const char *folder, Error *err);
/* Opens one more file of the folder. */
bool weight_files_open(WeightFiles *files, const char *folder, const char *name, Error *err);
void weight_files_close(WeightFiles *files);

#endif
