/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "ppo/reward_source.h"

typedef struct MixSource {
    RewardSource source;
    RewardSource **part; /* [count], owned */
    double *weight;
    size_t count;
    double *score; /* [capacity] of one part */
    size_t capacity;
} MixSource;

static bool mix_prepare(RewardSource *source, size_t most, Error *err) {
    MixSource *self = (MixSource *)source;
    bool ok = mem_reserve(&self->score, &self->capacity, most, sizeof *self->score, err);
    for (size_t k = 0; ok && k < self->count; k++) {
        ok = reward_prepare(self->part[k], most, err);
    }
    return ok;
}

static bool mix_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                      Error *err) {
    MixSource *self = (MixSource *)source;
    if (!mem_reserve(&self->score, &self->capacity, n, sizeof *self->score, err)) {
        return false;
    }
    memset(score, 0, n * sizeof *score);
    for (size_t k = 0; k < self->count; k++) {
        if (!reward_score(self->part[k], item, n, self->score, err)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            score[i] += self->weight[k] * self->score[i];
        }
    }
    return true;
}

static void mix_free(RewardSource *source) {
    MixSource *self = (MixSource *)source;
    for (size_t k = 0; self->part != NULL && k < self->count; k++) {
        reward_source_free(self->part[k]);
    }
    free(self->part);
    free(self->weight);
    free(self->score);
    free(self->source.name);
    free(self);
}

RewardSource *reward_mix(RewardSource **source, const double *weight, size_t count, Error *err) {
    MixSource *self = mem_alloc(1, sizeof *self, err);
    if (self != NULL) {
        self->source = (RewardSource){.score = mix_score, .prepare = mix_prepare, .free = mix_free};
        self->source.name = mem_strdup("weighted sum of rewards", err);
        self->part = mem_alloc(count, sizeof(RewardSource *), err);
        self->weight = mem_alloc(count, sizeof *weight, err);
    }
    if (self == NULL || self->source.name == NULL || self->part == NULL || self->weight == NULL) {
        for (size_t k = 0; k < count; k++) {
            reward_source_free(source[k]);
        }
        if (self != NULL) {
            self->count = 0;
            mix_free(&self->source);
        }
        return NULL;
    }
    self->count = count;
    for (size_t k = 0; k < count; k++) {
        self->part[k] = source[k];
        self->weight[k] = weight[k];
        self->source.weights += source[k]->weights;
        self->source.work += source[k]->work;
        self->source.reads_text = self->source.reads_text || source[k]->reads_text;
        size_t longest = source[k]->longest;
        if (longest > 0 && (self->source.longest == 0 || longest < self->source.longest)) {
            self->source.longest = longest;
        }
    }
    return &self->source;
}
