/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "common/base/memory.h"
#include "ppo/reward_pass.h"
#include "ppo/reward_source.h"

typedef struct ModelSource {
    RewardSource source;
    RewardPass pass;
    float *score; /* [capacity] */
    size_t capacity;
} ModelSource;

static bool model_prepare(RewardSource *source, size_t most, Error *err) {
    ModelSource *self = (ModelSource *)source;
    return mem_reserve(&self->score, &self->capacity, most, sizeof *self->score, err) &&
           reward_pass_prepare(&self->pass, err);
}

static bool model_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                        Error *err) {
    ModelSource *self = (ModelSource *)source;
    if (!model_prepare(source, n, err) ||
        !reward_pass_run(&self->pass, item, n, self->score, err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        score[i] = self->score[i];
    }
    return true;
}

static void model_source_free(RewardSource *source) {
    ModelSource *self = (ModelSource *)source;
    reward_pass_close(&self->pass);
    free(self->score);
    free(self->source.name);
    free(self);
}

/* `model` in memory, or, when it is NULL, the folder's. */
static RewardSource *create(const char *folder, Model *model, const RewardContext *context,
                            Error *err) {
    ModelSource *self = mem_alloc(1, sizeof *self, err);
    if (self == NULL) {
        return NULL;
    }
    Str name = {0};
    str_appendf(&name, "the reward model %s", folder);
    self->source = (RewardSource){
        .name = str_take(&name, err),
        .score = model_score,
        .prepare = model_prepare,
        .free = model_source_free,
    };
    if (self->source.name == NULL ||
        !(model == NULL ? reward_pass_open(&self->pass, folder, 1, context, err)
                        : reward_pass_take(&self->pass, model, context, err))) {
        model_source_free(&self->source);
        return NULL;
    }
    self->source.reads_text = self->pass.tokenizer != NULL;
    self->source.weights = reward_pass_weights(&self->pass);
    self->source.work = reward_pass_work(&self->pass);
    self->source.longest = reward_pass_longest(&self->pass);
    return &self->source;
}

RewardSource *reward_model_source(const char *folder, const RewardContext *context, Error *err) {
    return create(folder, NULL, context, err);
}

RewardSource *reward_memory_source(Model *model, const RewardContext *context, Error *err) {
    return create("in memory", model, context, err);
}
