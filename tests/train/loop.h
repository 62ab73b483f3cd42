/* SPDX-License-Identifier: MIT
 *
 * The training loop around a stage, with its allocations counted from step to step.
 */
#ifndef RLHF_TESTS_TRAIN_LOOP_H
#define RLHF_TESTS_TRAIN_LOOP_H

#include "common/train/trainer.h"
#include "tests/support/allocations.h"
#include "tests/support/support.h"

enum { LOOP_STEPS = 6 };

typedef struct Loop {
    const TrainerStage *stage;
    size_t calls[LOOP_STEPS]; /* when each step began */
} Loop;

static inline bool loop_step(void *context, int64_t step, Metrics *metrics, Metrics *timing,
                             bool *finished, Error *err) {
    Loop *loop = context;
    loop->calls[step] = test_allocations();
    return loop->stage->step(loop->stage->context, step, metrics, timing, finished, err);
}

static inline bool loop_save(void *context, const char *folder, cJSON *state, Error *err) {
    const Loop *loop = context;
    return loop->stage->save(loop->stage->context, folder, state, err);
}

/* From the second step on neither the stage's step nor what the loop does around it allocates. */
static inline void assert_loop_allocates_nothing(const TrainerStage *stage, Log *log) {
    Error err = {0};
    Run run = {0};
    Loop loop = {.stage = stage};
    TrainerStage counted = *stage;
    counted.context = &loop;
    counted.step = loop_step;
    counted.evaluate = NULL;
    counted.save = loop_save;
    counted.report = NULL;
    TrainerOptions options = {.steps = LOOP_STEPS, .keep = 1};
    assert_ok(run_open(&run, test_folder(), false, "{}", &err), &err);
    assert_ok(trainer_run(&options, &counted, &run, log, &err), &err);
    run_close(&run);
    assert_true(loop.calls[0] > 0);
    for (size_t i = 2; i < LOOP_STEPS; i++) {
        assert_int_equal(loop.calls[i], loop.calls[i - 1]);
    }
}

#endif
