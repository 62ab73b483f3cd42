/* SPDX-License-Identifier: MIT
 *
 * AdamW (Loshchilov & Hutter 2019), gradient clipping, exponential moving average of weights.
 */
#ifndef RLHF_TRAIN_OPTIMIZER_H
#define RLHF_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/model.h"

typedef enum AdamEpsilon {
    ADAM_EPSILON_TORCH,      /* p -= lr m^ / (sqrt(v^) + eps): eps after bias correction */
    ADAM_EPSILON_TENSORFLOW, /* p -= lr sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + eps) */
} AdamEpsilon;

typedef struct OptimizerOptions {
    double beta1, beta2, epsilon, weight_decay;
    AdamEpsilon epsilon_mode;
    double clip; /* largest norm of the gradient; 0: none */
} OptimizerOptions;

typedef struct Optimizer {
    OptimizerOptions options;
    float *m, *v; /* [gradient count], owned */
    size_t count;
    int64_t step;
} Optimizer;

bool optimizer_init(Optimizer *optimizer, const OptimizerOptions *options,
                    const Gradients *gradients, Error *err);
void optimizer_done(Optimizer *optimizer);
size_t optimizer_bytes(const Model *model);

/* Norm of the gradient over all trainable parameters (double, fixed order). Not finite: the caller must
 * not step. */
double optimizer_norm(const Gradients *gradients);

/* One update; norm is the value just computed, for clipping. Decay applies to Parameter.decay only and is
 * decoupled. The model gets a new version. Leaves the gradients of its parameters zero, as gradients_init
 * does, so that the next backward may add to them. */
void optimizer_step(Optimizer *optimizer, Model *model, Gradients *gradients, double norm,
                    double learning_rate);

/* m, v and step, as safetensors with the parameters' names; reading checks names and shapes. */
bool optimizer_save(const Optimizer *optimizer, const Model *model, const char *path, Error *err);
bool optimizer_load(Optimizer *optimizer, const Model *model, const char *path, Error *err);

/* ema = decay ema + (1 - decay) weights. */
void ema_update(Model *ema, const Model *model, double decay);

/* Schedules. Linear over S steps uses (S - s)/S at s = 0 .. S-1; cosine goes from 1 to `floor`; warm-up
 * rises linearly to 1 over the first `warmup` steps, s -> (s + 1)/warmup, and counts among the S. */
typedef enum ScheduleKind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE } ScheduleKind;
double schedule_factor(ScheduleKind kind, int64_t step, int64_t steps, int64_t warmup,
                       double floor);

#endif
