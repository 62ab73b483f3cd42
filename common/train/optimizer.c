/* SPDX-License-Identifier: MIT */
#include "common/train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/rows.h"

enum { BLOCK = 4096 /* floats: the grain of partitions */, PIECES = 64 /* of the norm */ };

bool optimizer_init(Optimizer *optimizer, const OptimizerOptions *options,
                    const Gradients *gradients, Error *err) {
    *optimizer = (Optimizer){.options = *options, .count = gradients->count};
    optimizer->m = mem_alloc_aligned(gradients->count, sizeof *optimizer->m, err);
    optimizer->v = optimizer->m == NULL
                       ? NULL
                       : mem_alloc_aligned(gradients->count, sizeof *optimizer->v, err);
    if (optimizer->v == NULL) {
        optimizer_done(optimizer);
        return false;
    }
    return true;
}

void optimizer_done(Optimizer *optimizer) {
    free(optimizer->m);
    free(optimizer->v);
    *optimizer = (Optimizer){0};
}

size_t optimizer_bytes(const Model *model) {
    size_t count = 0;
    for (size_t i = 0; i < model->parameters; i++) {
        count += model->parameter[i].trainable ? model->parameter[i].count : 0;
    }
    return mem_mul(count, 2 * sizeof(float));
}

typedef struct NormJob {
    const float *data;
    size_t count;
    double sum[PIECES];
} NormJob;

static void norm_piece(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    NormJob *job = context;
    size_t blocks = job->count / BLOCK + (job->count % BLOCK != 0);
    for (size_t piece = begin; piece < end; piece++) {
        double sum = 0;
        size_t last = (piece + 1) * blocks / PIECES;
        for (size_t block = piece * blocks / PIECES; block < last; block++) {
            size_t from = block * BLOCK;
            size_t n = job->count - from < BLOCK ? job->count - from : BLOCK;
            sum += row_kernels()->sum_of_squares(job->data + from, n);
        }
        job->sum[piece] = sum;
    }
}

double optimizer_norm(const Gradients *gradients) {
    /* The pieces depend on the count alone, so every number of threads adds in the same order. */
    NormJob job = {.data = gradients->data, .count = gradients->count};
    parallel_for(PIECES, 1, norm_piece, &job);
    double sum = 0;
    for (size_t i = 0; i < PIECES; i++) {
        sum += job.sum[i];
    }
    return sqrt(sum);
}

typedef struct StepJob {
    const Optimizer *optimizer;
    const Model *model;
    const Gradients *gradients;
    AdamStep step;
    float decayed; /* what a weight with decay keeps */
} StepJob;

/* Elements [begin, end) of the gradient, whatever parameters they lie in. */
static void step_piece(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const StepJob *job = context;
    for (size_t i = 0; i < job->model->parameters; i++) {
        const Parameter *p = &job->model->parameter[i];
        if (!p->trainable || p->gradient == SIZE_MAX || p->gradient >= end ||
            p->gradient + p->count <= begin) {
            continue;
        }
        size_t from = begin > p->gradient ? begin : p->gradient;
        size_t to = end < p->gradient + p->count ? end : p->gradient + p->count;
        AdamStep step = job->step;
        step.keep = p->decay ? job->decayed : 1;
        row_kernels()->adam(parameter_data(job->model, p) + (from - p->gradient),
                            job->optimizer->m + from, job->optimizer->v + from,
                            job->gradients->data + from, &step, to - from);
    }
}

void optimizer_step(Optimizer *optimizer, Model *model, Gradients *gradients, double norm,
                    double learning_rate) {
    CHECK(gradients->count == optimizer->count && isfinite(norm));
    const OptimizerOptions *o = &optimizer->options;
    optimizer->step++;
    double correction1 = 1 - pow(o->beta1, (double)optimizer->step);
    double correction2 = 1 - pow(o->beta2, (double)optimizer->step);
    bool torch = o->epsilon_mode == ADAM_EPSILON_TORCH;
    double scale = o->clip > 0 && norm > o->clip ? o->clip / norm : 1;
    StepJob job = {
        .optimizer = optimizer,
        .model = model,
        .gradients = gradients,
        .step = {.scale = (float)scale,
                 .beta1 = (float)o->beta1,
                 .beta2 = (float)o->beta2,
                 .rate = (float)(torch ? learning_rate / correction1
                                       : learning_rate * sqrt(correction2) / correction1),
                 .root = (float)(torch ? 1 / sqrt(correction2) : 1),
                 .epsilon = (float)o->epsilon},
        .decayed = (float)(1 - learning_rate * o->weight_decay),
    };
    parallel_for(gradients->count, BLOCK, step_piece, &job);
    model_touch(model);
}

typedef struct EmaJob {
    float *ema;
    const float *weight;
    float decay;
} EmaJob;

static void ema_piece(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const EmaJob *job = context;
    float *restrict ema = job->ema;
    const float *restrict weight = job->weight;
    const float decay = job->decay, rest = 1 - decay;
    for (size_t i = begin; i < end; i++) {
        ema[i] = decay * ema[i] + rest * weight[i];
    }
}

void ema_update(Model *ema, const Model *model, double decay) {
    CHECK(!ema->mapped && model_changing(ema) == model_changing(model));
    bool own = model->own != NULL; /* what is not is frozen */
    EmaJob job = {own ? ema->own : ema->data, own ? model->own : model->data, (float)decay};
    parallel_for(model_changing(model), BLOCK, ema_piece, &job);
    model_touch(ema);
}
