/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: folders run/checkpoints/step-00000100 that are complete or absent.
 *
 * Written as step-00000100.tmp-PID: the caller puts files (and folders of files) into it; commit fsyncs
 * them, writes manifest.json last (format version, step, name, size and XXH3-128 of every file), fsyncs,
 * renames, fsyncs the parent, and reads the result back before it counts. Only then older ones are
 * pruned: the last `keep` verified ones and the best one stay.
 * Reading goes from the newest to the oldest, takes the first whose manifest and hashes hold, and says
 * which it skipped and why.
 * The caller holds the run's lock, so temporary folders that are found belong to the dead.
 */
#ifndef RLHF_TRAIN_CHECKPOINT_H
#define RLHF_TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/str.h"

enum { CHECKPOINT_FORMAT = 1 };

typedef struct CheckpointWriter {
    char *folder; /* the temporary one, owned: write here */
    char *target; /* owned */
    char *parent; /* owned */
    int64_t step;
} CheckpointWriter;

/* Removes leftovers of dead writers, checks free space (1.1 x expected_bytes; 0: no check). */
bool checkpoint_begin(CheckpointWriter *writer, const char *run, int64_t step, uint64_t expected_bytes,
                      Error *err);
/* An older checkpoint of the same step is replaced. On failure nothing is left of this one. */
bool checkpoint_commit(CheckpointWriter *writer, Error *err);
void checkpoint_abort(CheckpointWriter *writer); /* removes the temporary folder; safe after commit */

/* Keeps the newest `keep` (>= 1) and step `best` (-1: none), removes the other complete ones and the
 * leftovers of dead writers. */
bool checkpoint_prune(const char *run, int keep, int64_t best, Error *err);
/* Removes the one of this step; absent is fine. */
bool checkpoint_remove(const char *run, int64_t step, Error *err);
/* Steps of all, newest first; release with free. */
bool checkpoint_steps(const char *run, int64_t **step, size_t *count, Error *err);
/* Folder of the checkpoint of a step, whether it is there or not; release with free. */
char *checkpoint_folder(const char *run, int64_t step, Error *err);

/* The newest complete checkpoint with all hashes right: *folder (owned by the caller) and *step; folder
 * NULL when there is none. Skipped ones are told to the log and set aside as step-00000100.damaged. */
bool checkpoint_find(const char *run, Log *log, char **folder, int64_t *step, Error *err);
/* Manifest and hashes of one. */
bool checkpoint_verify(const char *folder, Error *err);

#endif
