/* SPDX-License-Identifier: MIT
 *
 * manifest.json of a checkpoint: {"format": 1, "step": n, "files": [{"name", "size", "xxh3"}]}, names
 * relative to the folder, sorted, with forward slashes.
 */
#ifndef RLHF_TRAIN_MANIFEST_H
#define RLHF_TRAIN_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* Hashes and fsyncs every file and folder below `folder`, then writes the manifest, complete or absent. */
bool manifest_write(const char *folder, int64_t step, Error *err);

/* ERROR_DATA if the manifest is missing or malformed, speaks of another step, or a file is missing or
 * differs from it. Names that lead out of the folder are refused. */
bool manifest_verify(const char *folder, int64_t step, Error *err);

#endif
