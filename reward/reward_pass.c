/* SPDX-License-Identifier: MIT
 *
 * Groups through the model: packing, scoring, and the backward pass of a step.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/loss/classification.h"
#include "reward/reward.h"

size_t reward_pass_bytes(const ModelConfig *config, const WorkspacePlan *plan, size_t most_texts) {
    size_t rows = plan->tokens;
    size_t floats = (2 * rows + 4 * most_texts) * config->labels;
    return workspace_bytes(config, plan) + floats * sizeof(float) +
           rows * (sizeof(int32_t) + sizeof(RewardGroup *) + sizeof(size_t));
}

bool reward_pass_init(RewardPass *pass, const ModelConfig *config, const WorkspacePlan *plan,
                      size_t most_texts, Error *err) {
    size_t rows = plan->tokens;
    size_t wide = mem_mul(rows, config->labels), narrow = mem_mul(most_texts, config->labels);
    *pass = (RewardPass){.rows = rows, .labels = config->labels, .segments = config->segments > 1};
    pass->workspace = workspace_create(config, plan, err);
    if (pass->workspace == NULL || !batch_init(&pass->batch, rows, rows, err)) {
        return false;
    }
    pass->score = mem_alloc_aligned(wide, sizeof(float), err);
    pass->dscore = mem_alloc_aligned(wide, sizeof(float), err);
    pass->texts = mem_alloc(narrow, sizeof(float), err);
    pass->dtexts = mem_alloc(narrow, sizeof(float), err);
    pass->few = mem_alloc(narrow, sizeof(float), err);
    pass->dfew = mem_alloc(narrow, sizeof(float), err);
    pass->id = mem_alloc(rows, sizeof *pass->id, err);
    pass->group = mem_alloc(rows, sizeof *pass->group, err);
    pass->sequence = mem_alloc(rows, sizeof *pass->sequence, err);
    return pass->score != NULL && pass->dscore != NULL && pass->texts != NULL &&
           pass->dtexts != NULL && pass->few != NULL && pass->dfew != NULL && pass->id != NULL &&
           pass->group != NULL && pass->sequence != NULL;
}

void reward_pass_done(RewardPass *pass) {
    workspace_free(pass->workspace);
    batch_done(&pass->batch);
    free(pass->score);
    free(pass->dscore);
    free(pass->texts);
    free(pass->dtexts);
    free(pass->few);
    free(pass->dfew);
    free(pass->id);
    free(pass->group);
    free(pass->sequence);
    *pass = (RewardPass){0};
}

static void clear(RewardPass *pass) {
    batch_clear(&pass->batch);
    pass->batch.only_targets = true;
    pass->groups = 0;
}

/* Rows [from, prompt's end) of the prompt and then the completion as one sequence. */
static bool add_sequence(RewardPass *pass, const Tokens *prompt, size_t from,
                         const RewardText *text, int32_t prefix, Error *err) {
    size_t head = prompt->count - from;
    size_t tail = text->completion == NULL ? 0 : text->completion->count;
    memcpy(pass->id, prompt->id + from, head * sizeof *pass->id);
    if (tail > 0) {
        memcpy(pass->id + head, text->completion->id, tail * sizeof *pass->id);
    }
    return batch_add(&pass->batch, pass->id, NULL, head + tail, prefix, text->key, NULL, err);
}

/* The row of an added sequence that its score is read at; any target says that it is read. */
static void mark_score_row(RewardPass *pass, const ModelConfig *config, const Tokens *prompt,
                           bool pair) {
    Batch *batch = &pass->batch;
    size_t s = batch->sequences - 1;
    batch->target[family_score_row(config, batch->start[s], batch->start[s + 1])] = 0;
    if (pair && pass->segments) {
        batch_set_segments(batch, s, prompt->count);
    }
}

static bool add_group(RewardPass *pass, const ModelConfig *config, const RewardGroup *group,
                      Error *err) {
    const Tokens *prompt = group->prompt;
    size_t from = 0, prefix = 0;
    bool shared = group->texts > 1 && prompt->count > 1 && !group->apart;
    if (shared) {
        from = prompt->count - 1;
        if (!batch_add(&pass->batch, prompt->id, NULL, from, BATCH_NO_PREFIX,
                       random_mix(group->key, 0), &prefix, err)) {
            return false;
        }
    }
    pass->group[pass->groups] = group;
    pass->sequence[pass->groups++] = pass->batch.sequences;
    for (size_t i = 0; i < group->texts; i++) {
        if (!add_sequence(pass, prompt, from, &group->text[i],
                          shared ? (int32_t)prefix : BATCH_NO_PREFIX, err)) {
            return false;
        }
        mark_score_row(pass, config, prompt, group->text[i].completion != NULL);
    }
    return true;
}

/* Adds the group; *full = true says that it does not fit any more and was not added. */
static bool pack(RewardPass *pass, const ModelConfig *config, const RewardGroup *group, bool *full,
                 Error *err) {
    CHECK(group->rows <= pass->rows);
    *full = pass->batch.tokens + group->rows > pass->rows;
    return *full || add_group(pass, config, group, err);
}

static size_t score_row(const RewardPass *pass, const ModelConfig *config, size_t group,
                        size_t text) {
    const size_t *start = pass->batch.start + pass->sequence[group] + text;
    return family_score_row(config, start[0], start[1]);
}

/* Scores of packed group g, the bias included, into out[texts * labels]. */
static void read_scores(const RewardPass *pass, const Model *model, size_t g, float *out) {
    size_t labels = pass->labels;
    for (size_t i = 0; i < pass->group[g]->texts; i++) {
        const float *from = pass->score + score_row(pass, &model->config, g, i) * labels;
        for (size_t j = 0; j < labels; j++) {
            out[i * labels + j] = from[j] + model->config.reward_bias;
        }
    }
}

static void forward(RewardPass *pass, const Model *model) {
    PerToken out = {.score = pass->score};
    model_forward(model, pass->workspace, &pass->batch, &out);
}

bool reward_score(RewardPass *pass, const Model *model, RewardSet *set, Error *err) {
    workspace_set_dropout(pass->workspace, false, 0, 0);
    clear(pass);
    for (size_t i = 0; i <= set->groups; i++) {
        bool full = i == set->groups;
        if (!full && !pack(pass, &model->config, &set->group[i], &full, err)) {
            return false;
        }
        if (!full) {
            continue;
        }
        if (pass->groups > 0) {
            forward(pass, model);
        }
        for (size_t g = 0; g < pass->groups; g++) {
            read_scores(pass, model, g, set->score + pass->group[g]->score * pass->labels);
        }
        clear(pass);
        if (i < set->groups && !add_group(pass, &model->config, &set->group[i], err)) {
            return false;
        }
    }
    return true;
}

static double judgment_loss(const RewardLoss *loss, const RewardJudgment *judgment, size_t labels,
                            double weight, const float *few, float *dfew, RewardSums *sums) {
    const Record *record = judgment->example->record;
    if (loss->objective == REWARD_CLASSIFICATION) {
        size_t best = 0;
        for (size_t j = 1; j < labels; j++) {
            best = few[j] > few[best] ? j : best;
        }
        sums->correct += best == judgment->label;
        sums->pairs++;
        return classification_loss(few, labels, judgment->label, loss->preference.label_smoothing,
                                   weight, dfew);
    }
    if (loss->objective == REWARD_REGRESSION) {
        sums->pairs++;
        return regression_loss(few[0], judgment->target, weight, dfew);
    }
    sums->correct += preference_correct(few, record->rank, judgment->texts);
    sums->pairs += (double)judgment->pairs;
    if (record->best_only) {
        size_t best = 0;
        for (size_t i = 1; i < judgment->texts; i++) {
            best = record->rank[i] < record->rank[best] ? i : best;
        }
        return preference_best_loss(few, best, judgment->texts, weight, dfew);
    }
    return preference_loss(few, record->rank, judgment->texts, record->margin, &loss->preference,
                           weight, dfew);
}

double reward_group_loss(const RewardLoss *loss, const RewardGroup *group, size_t labels,
                         const float *score, double scale, float *dscore, float *few, float *dfew,
                         RewardSums *sums) {
    double sum = 0;
    for (size_t i = 0; i < group->judgments; i++) {
        const RewardJudgment *judgment = &group->judgment[i];
        if (judgment->pairs == 0) {
            continue;
        }
        for (size_t k = 0; k < judgment->texts; k++) {
            memcpy(few + k * labels, score + judgment->text[k] * labels, labels * sizeof(float));
        }
        memset(dfew, 0, judgment->texts * labels * sizeof(float));
        sum += judgment_loss(loss, judgment, labels, scale * judgment->weight, few, dfew, sums);
        for (size_t k = 0; k < judgment->texts; k++) {
            for (size_t j = 0; j < labels; j++) {
                dscore[judgment->text[k] * labels + j] += dfew[k * labels + j];
            }
        }
    }
    sums->loss += sum;
    return sum;
}

/* Loss and backward of what is packed. */
static void train_packed(RewardPass *pass, const Model *model, Gradients *gradients,
                         const RewardLoss *loss, double scale, RewardSums *sums) {
    size_t labels = pass->labels;
    if (pass->groups == 0) {
        return;
    }
    forward(pass, model);
    memset(pass->dscore, 0, pass->batch.tokens * labels * sizeof(float));
    for (size_t g = 0; g < pass->groups; g++) {
        const RewardGroup *group = pass->group[g];
        read_scores(pass, model, g, pass->texts);
        memset(pass->dtexts, 0, group->texts * labels * sizeof(float));
        reward_group_loss(loss, group, labels, pass->texts, scale, pass->dtexts, pass->few,
                          pass->dfew, sums);
        for (size_t i = 0; i < group->texts; i++) {
            memcpy(pass->dscore + score_row(pass, &model->config, g, i) * labels,
                   pass->dtexts + i * labels, labels * sizeof(float));
        }
    }
    PerToken gradient = {.score = pass->dscore};
    model_backward(model, gradients, pass->workspace, &pass->batch, &gradient);
    sums->rows += pass->batch.tokens;
    clear(pass);
}

bool reward_accumulate(RewardPass *pass, const Model *model, Gradients *gradients,
                       const RewardSet *set, const RewardLoss *loss, RewardOrder *order,
                       const void *context, size_t items, double scale, RewardSums *sums,
                       Error *err) {
    clear(pass);
    for (size_t i = 0; i < items; i++) {
        const RewardItem *item = &set->item[order(context, i)];
        for (size_t g = item->group; g < item->group + item->groups; g++) {
            bool full;
            if (!pack(pass, &model->config, &set->group[g], &full, err)) {
                return false;
            }
            if (full) {
                train_packed(pass, model, gradients, loss, scale, sums);
                if (!add_group(pass, &model->config, &set->group[g], err)) {
                    return false;
                }
            }
        }
    }
    train_packed(pass, model, gradients, loss, scale, sums);
    return true;
}
