/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/loss/loss.h"
#include "ppo/reward_pass.h"
#include "ppo/reward_source.h"

typedef struct ClassifierSource {
    RewardSource source;
    RewardPass pass;
    size_t label;
    ClassifierOutput output;
    float *logit; /* [capacity] */
    size_t capacity;
} ClassifierSource;

/* log softmax(logit)[label]; with a single label, log of the logistic function. */
static double log_probability(const float *logit, size_t labels, size_t label) {
    if (labels == 1) {
        return -loss_softplus(-(double)logit[0]);
    }
    double largest = logit[0], sum = 0;
    for (size_t j = 1; j < labels; j++) {
        largest = fmax(largest, (double)logit[j]);
    }
    for (size_t j = 0; j < labels; j++) {
        sum += exp(logit[j] - largest);
    }
    return logit[label] - largest - log(sum);
}

static bool classifier_prepare(RewardSource *source, size_t most, Error *err) {
    ClassifierSource *self = (ClassifierSource *)source;
    size_t numbers = mem_mul(most, self->pass.model.config.labels);
    return mem_reserve(&self->logit, &self->capacity, numbers, sizeof *self->logit, err) &&
           reward_pass_prepare(&self->pass, err);
}

static bool classifier_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                             Error *err) {
    ClassifierSource *self = (ClassifierSource *)source;
    size_t labels = self->pass.model.config.labels;
    if (!classifier_prepare(source, n, err) ||
        !reward_pass_run(&self->pass, item, n, self->logit, err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const float *logit = self->logit + i * labels;
        double log_p = log_probability(logit, labels, self->label);
        score[i] = self->output == CLASSIFIER_LOGIT         ? logit[self->label]
                   : self->output == CLASSIFIER_PROBABILITY ? exp(log_p)
                                                            : log_p;
    }
    return true;
}

static void classifier_free(RewardSource *source) {
    ClassifierSource *self = (ClassifierSource *)source;
    reward_pass_close(&self->pass);
    free(self->logit);
    free(self->source.name);
    free(self);
}

static bool find_label(const ModelConfig *config, const char *folder, const char *label,
                       size_t *index, Error *err) {
    Str names = {0};
    for (size_t j = 0; j < config->labels; j++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", j);
        const char *name = config->label_name == NULL ? number : config->label_name[j];
        if (strcmp(label, name) == 0 || strcmp(label, number) == 0) {
            *index = j;
            str_done(&names);
            return true;
        }
        if (j < 16) {
            str_appendf(&names, "%s%s", j == 0 ? "" : ", ", name);
        }
    }
    error_set(err, ERROR_CONFIG, "the classifier %s has no label \"%s\"; its labels are %s%s",
              folder, label, str_text(&names), config->labels > 16 ? ", ..." : "");
    str_done(&names);
    return false;
}

RewardSource *reward_classifier_source(const char *folder, const char *label,
                                       ClassifierOutput output, const RewardContext *context,
                                       Error *err) {
    ClassifierSource *self = mem_alloc(1, sizeof *self, err);
    if (self == NULL) {
        return NULL;
    }
    Str name = {0};
    str_appendf(&name, "the classifier %s", folder);
    self->source = (RewardSource){
        .name = str_take(&name, err),
        .score = classifier_score,
        .prepare = classifier_prepare,
        .free = classifier_free,
    };
    self->output = output;
    if (self->source.name == NULL || !reward_pass_open(&self->pass, folder, 0, context, err) ||
        !find_label(&self->pass.model.config, folder, label, &self->label, err)) {
        classifier_free(&self->source);
        return NULL;
    }
    self->source.reads_text = self->pass.tokenizer != NULL;
    self->source.weights = reward_pass_weights(&self->pass);
    self->source.work = reward_pass_work(&self->pass);
    self->source.longest = reward_pass_longest(&self->pass);
    return &self->source;
}
