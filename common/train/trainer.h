/* SPDX-License-Identifier: MIT
 *
 * The one training loop: steps, evaluations, metrics, checkpoints, best selection, signals, progress,
 * resume. A stage gives callbacks and keeps what is peculiar to it.
 *
 * For each step: stop if a signal came or the time is up (after a checkpoint); step(); guard: a
 * non-finite "train/loss" or gradient norm is the stage's error ERROR_DIVERGED before its optimizer is
 * touched, and nothing non-finite of the kind reaches a checkpoint; evaluate() where due (also after the
 * last step, and before the first when evaluate_first); append metrics; checkpoint where due or when the
 * evaluation was the best so far. At the end model/ (and every folder the stage names) is published from
 * the best checkpoint, else the last, and the report written.
 *
 * A checkpoint's folder holds what the stage saved and state.json: {"step", "metrics_size",
 * "samples_size", "best_step", "best_value", "scheduled", "finished", "stage": {...}}. One made because
 * of a signal or a time limit is not scheduled: the next checkpoint replaces it, so that an interrupted
 * and continued run leaves the same files, byte for byte, as an undisturbed one.
 * A checkpoint that cannot be written (disk full) is told as a warning and tried again at the next
 * occasion; the third failure in a row, and one of a last checkpoint, ends the run with ERROR_IO.
 */
#ifndef RLHF_TRAIN_TRAINER_H
#define RLHF_TRAIN_TRAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/train/run.h"

typedef struct TrainerOptions {
    int64_t steps;            /* in all */
    int64_t evaluate_every;   /* steps; 0: only at the end */
    bool evaluate_first;      /* also before step 0, reported as step 0 */
    int64_t checkpoint_every; /* steps; 0: only at the end */
    int keep;                 /* checkpoints */
    double max_seconds;       /* 0: no limit; then a clean stop with ERROR_TEMPORARY */
    const char *best_metric;  /* name among the evaluation's metrics; NULL: the last one is the result */
    bool best_is_largest;
    uint64_t checkpoint_bytes; /* expected size, for the free-space check */
} TrainerOptions;

typedef struct TrainerStage {
    void *context;
    /* One optimizer step (PPO: one iteration). Steps count from 0; metrics go out as step + 1. May end
     * the run by a rule: *finished = true; then the run is evaluated, saved and published as after its
     * last step, and ends with ERROR_STOPPED. timing "tokens_per_second" is shown in the progress. */
    bool (*step)(void *context, int64_t step, Metrics *metrics, Metrics *timing, bool *finished,
                 Error *err);
    /* After `done` steps. Writes samples through run_sample. *eligible = false keeps this state from being
     * the best (PPO's KL limit). May be NULL. */
    bool (*evaluate)(void *context, int64_t done, Run *run, Metrics *metrics, bool *eligible,
                     Error *err);
    /* Into a checkpoint's folder: model/ and what else resuming needs; small state as members of
     * `state`. */
    bool (*save)(void *context, const char *folder, cJSON *state, Error *err);
    /* The counterpart; `state` holds what save put there. Called at most once, before any step. */
    bool (*load)(void *context, const char *folder, const cJSON *state, Error *err);
    /* Appends the stage's part of report.md, after the table of metrics. best_step: of the published
     * checkpoint. May be NULL. */
    bool (*report)(void *context, const Run *run, int64_t best_step, Str *out, Error *err);
    const char *const *publish; /* NULL-terminated names of checkpoint folders to publish: "model" ... */
    const char *progress_what;  /* "step", "iteration" */
} TrainerStage;

/* Runs to the end, or to a clean stop: then false with ERROR_INTERRUPTED, ERROR_TERMINATED,
 * ERROR_TEMPORARY or ERROR_STOPPED. The run must be open. */
bool trainer_run(const TrainerOptions *options, const TrainerStage *stage, Run *run, Log *log,
                 Error *err);

#endif
