/* SPDX-License-Identifier: MIT
 *
 * One optimizer step of language modeling: forward, backward, norm of the gradient, AdamW (which leaves it zero).
 */
#ifndef RLHF_BENCH_STEP_H
#define RLHF_BENCH_STEP_H

#include "bench/bench.h"
#include "common/model/model.h"
#include "common/train/optimizer.h"

typedef struct StepShape {
    const char *name;
    size_t layers, width, heads, vocabulary;
    size_t texts,
        length; /* length 0: the lengths of 64 E2E demonstrations, loss on the completions */
    bool bf16;
    bool recompute; /* activations of the blocks in backward, to save memory */
} StepShape;

typedef struct Step {
    Model model;
    Gradients gradients;
    Workspace *workspace;
    Optimizer optimizer;
    Batch batch;
    char *peer; /* JSON of the shape for the peers, owned */
} Step;

/* Random weights and tokens; ends the program on an error. */
void step_create(Step *step, const StepShape *shape);
void step_done(Step *step);
void step_train(void *step); /* the whole step */

/* Measures the whole step as row shape->name. */
void step_measure(const StepShape *shape);

#endif
