/* SPDX-License-Identifier: MIT
 *
 * What the sources behind trainer.h share: the loop's state, and how it comes from and goes to files.
 */
#ifndef RLHF_TRAIN_TRAINER_PRIVATE_H
#define RLHF_TRAIN_TRAINER_PRIVATE_H

#include "common/train/trainer.h"

typedef struct TrainerState {
    int64_t step;      /* steps done */
    int64_t best_step; /* -1: none */
    double best_value;
    bool scheduled; /* false: made by a signal or a time limit */
    bool finished;  /* ended by the stage's rule */
} TrainerState;

typedef struct Trainer {
    const TrainerOptions *options;
    const TrainerStage *stage;
    Run *run;
    Log *log;
    TrainerState state;
    Metrics metrics, timing;
    int64_t saved; /* step of the newest checkpoint, -1: none */
    int64_t extra; /* step of one that is not scheduled, -1: none */
    int failures;  /* to save, in a row */
} Trainer;

/* Writes a complete checkpoint of the state after state.step steps, or leaves nothing. */
bool trainer_write_checkpoint(Trainer *trainer, Error *err);

/* Loads the newest complete checkpoint, cuts the run's files to it; *resumed = false: there was none, the
 * run begins anew. */
bool trainer_resume(Trainer *trainer, bool *resumed, Error *err);

/* Publishes from the best checkpoint, else the newest, and writes the report. */
bool trainer_publish(Trainer *trainer, Error *err);

#endif
