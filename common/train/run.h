/* SPDX-License-Identifier: MIT
 *
 * The run folder (--output): run.json, metrics.jsonl, timing.jsonl, samples.jsonl, checkpoints/, model/,
 * critic/, report.md. Refused with ERROR_CANNOT_CREATE if it already holds a run, unless resuming.
 *
 * metrics.jsonl and samples.jsonl depend on configuration and data alone; what depends on the clock
 * stands in timing.jsonl. A checkpoint records how long the first two were; resuming cuts them there.
 * One process at a time: run.lock is held with flock; a second one is ERROR_TEMPORARY.
 */
#ifndef RLHF_TRAIN_RUN_H
#define RLHF_TRAIN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/str.h"

/* Named numbers of one step, in the order they were put. */
enum { METRICS_MOST = 96, METRIC_NAME = 64 };
typedef struct Metrics {
    char name[METRICS_MOST][METRIC_NAME];
    double value[METRICS_MOST];
    size_t count;
} Metrics;
void metrics_put(Metrics *metrics, const char *name, double value); /* replaces an old value */
bool metrics_get(const Metrics *metrics, const char *name, double *value);
void metrics_clear(Metrics *metrics);

/* Zeroed or closed, it may be closed again. */
typedef struct Run {
    char *folder; /* owned */
    int lock;     /* descriptor */
    int metrics, timing, samples; /* descriptors, append */
    uint64_t metrics_size, samples_size;
    Str line;      /* the line under construction */
    bool finished; /* it was complete when opened */
    bool existed;  /* a run was already there (resume) */
} Run;

/* Creates the folder and run.json (the given text), or with resume opens an existing run, whose run.json
 * stays as it is; a missing folder is created in both cases. Removes what a killed process left half
 * written. */
bool run_open(Run *run, const char *folder, bool resume, const char *config_json, Error *err);
void run_close(Run *run);
/* After a checkpoint was chosen (or none: 0, 0): cuts the two files to the recorded sizes. A file that is
 * shorter than that is ERROR_DATA. */
bool run_rewind(Run *run, uint64_t metrics_size, uint64_t samples_size, Error *err);

/* Appends {"step": n, names: values} as one line. */
bool run_metrics(Run *run, int64_t step, const Metrics *metrics, Error *err);
bool run_timing(Run *run, int64_t step, const Metrics *timing, Error *err);
/* Appends one already rendered JSON object as a line. */
bool run_sample(Run *run, const Str *json, Error *err);
bool run_sync(Run *run, Error *err); /* fsync of both, before a checkpoint records their sizes */

/* Puts a finished folder in place: copies from_folder to `name`.tmp-PID, renames, an older one goes. */
bool run_publish(Run *run, const char *from_folder, const char *name, Error *err);
/* Writes report.md last: its presence marks the run as finished. */
bool run_finish(Run *run, const Str *report, Error *err);

#endif
