/* SPDX-License-Identifier: MIT
 *
 * What the training loop calls: a step, an evaluation, a checkpoint.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "reward/reward.h"

const Model *reward_result(const Reward *reward) {
    return reward->ema.data != NULL ? &reward->ema : &reward->model;
}

typedef struct StepOrder {
    const Reward *reward;
    int64_t step;
} StepOrder;

/* Item i of a step: the order of each epoch is a function of seed and epoch. */
static size_t step_item(const void *context, size_t i) {
    const StepOrder *order = context;
    const Settings *settings = &order->reward->config->settings;
    uint64_t items = order->reward->train.items;
    uint64_t place = (uint64_t)order->step * (uint64_t)settings->train.batch + i;
    return example_order((uint64_t)settings->train.seed, place / items, items, place % items);
}

/* The same for the rankings made from demonstrations, in an order of their own. */
static size_t contrast_item(const void *context, size_t i) {
    const StepOrder *order = context;
    const Settings *settings = &order->reward->config->settings;
    uint64_t items = order->reward->contrast.items, seed = (uint64_t)settings->train.seed;
    uint64_t place =
        (uint64_t)order->step * (uint64_t)order->reward->config->reward.contrast_batch + i;
    return example_order(random_mix(seed, RANDOM_CONTRAST), place / items, items, place % items);
}

static bool diverged(const StepOrder *order, const char *what, double value, Error *err) {
    Str records = {0};
    const Reward *reward = order->reward;
    size_t batch = (size_t)reward->config->settings.train.batch;
    for (size_t i = 0; i < batch && i < 4; i++) {
        const RewardItem *item = &reward->train.item[step_item(order, i)];
        const Record *record = reward->train.group[item->group].judgment[0].example->record;
        str_appendf(&records, "%s%s:%ld", i == 0 ? "" : ", ", record->file, record->line);
    }
    error_set(err, ERROR_DIVERGED,
              "the %s of step %lld is %g; no weight was changed; lower train.learning_rate or look "
              "at the step's records (%s, …); the last checkpoint is intact",
              what, (long long)order->step + 1, value, str_text(&records));
    str_done(&records);
    return false;
}

static bool step(void *context, int64_t n, Metrics *metrics, Metrics *timing, bool *finished,
                 Error *err) {
    (void)finished;
    Reward *reward = context;
    const Settings *settings = &reward->config->settings;
    size_t batch = (size_t)settings->train.batch;
    double begin = clock_seconds();
    StepOrder order = {reward, n};
    RewardSums sums = {0}, contrast = {0};
    size_t others = (size_t)reward->config->reward.contrast_batch;
    workspace_set_dropout(reward->pass.workspace, true, (uint64_t)settings->train.seed,
                          (uint64_t)n);
    if (!reward_accumulate(&reward->pass, &reward->model, &reward->gradients, &reward->train,
                           &reward->loss, step_item, &order, batch, 1 / (double)batch, &sums,
                           err) ||
        (reward->contrast.items > 0 &&
         !reward_accumulate(&reward->pass, &reward->model, &reward->gradients, &reward->contrast,
                            &reward->loss, contrast_item, &order, others,
                            reward->config->reward.contrast_coef / (double)others, &contrast,
                            err))) {
        return false;
    }
    double norm = optimizer_norm(&reward->gradients);
    double loss = sums.loss + contrast.loss;
    if (!isfinite(loss)) {
        return diverged(&order, "loss", loss, err);
    }
    if (!isfinite(norm)) {
        return diverged(&order, "gradient norm", norm, err);
    }
    double rate = stage_learning_rate(settings, n, reward->steps);
    optimizer_step(&reward->optimizer, &reward->model, &reward->gradients, norm, rate);
    if (reward->ema.data != NULL) {
        ema_update(&reward->ema, &reward->model, settings->train.ema);
    }
    reward->seen += sums.rows + contrast.rows;
    metrics_put(metrics, "train/loss", sums.loss);
    if (reward->loss.objective != REWARD_REGRESSION) {
        metrics_put(metrics, "train/accuracy", sums.correct / sums.pairs);
    }
    if (reward->loss.objective == REWARD_RANKING) {
        metrics_put(metrics, "train/pairs", sums.pairs);
    }
    if (reward->contrast.items > 0) {
        metrics_put(metrics, "train/contrast_loss", contrast.loss);
        metrics_put(metrics, "train/contrast_accuracy", contrast.correct / contrast.pairs);
    }
    metrics_put(metrics, "train/grad_norm", norm);
    metrics_put(metrics, "train/learning_rate", rate);
    metrics_put(metrics, "train/tokens", (double)reward->seen);
    metrics_put(metrics, "train/epoch",
                (double)((n + 1) * settings->train.batch) / (double)reward->train.items);
    metrics_put(timing, "tokens_per_second",
                (double)(sums.rows + contrast.rows) / (clock_seconds() - begin));
    return true;
}

static void put_text(Str *json, const char *name, const char *text) {
    json_put_key(json, name);
    json_put_string(json, text, strlen(text));
}

/* {"step", "file", "line", "completions", "ranks" | "label", "scores"} of one judgment. */
static bool write_sample(const Reward *reward, int64_t done, const RewardGroup *group,
                         const RewardJudgment *judgment, Run *run, Error *err) {
    const Record *record = judgment->example->record;
    size_t labels = reward->labels;
    Str json = {0};
    str_appendf(&json, "{\"step\":%lld", (long long)done);
    if (record->messages > 0) {
        put_text(&json, "prompt", record->message[record->messages - 1].text);
    }
    json_put_key(&json, "completions");
    str_append_char(&json, '[');
    for (size_t i = 0; i < record->completions; i++) {
        str_append(&json, i == 0 ? "" : ",");
        json_put_string(&json, record->completion[i], strlen(record->completion[i]));
    }
    str_append_char(&json, ']');
    if (record->rank != NULL) {
        json_put_key(&json, "ranks");
        for (size_t i = 0; i < record->completions; i++) {
            str_append(&json, i == 0 ? "[" : ",");
            json_put_double(&json, record->rank[i]);
        }
        str_append_char(&json, ']');
    } else if (record->label != NULL) {
        put_text(&json, "label", record->label);
    }
    json_put_key(&json, "scores");
    for (size_t i = 0; i < judgment->texts * labels; i++) {
        size_t text = group->score + judgment->text[i / labels];
        str_append(&json, i == 0 ? "[" : ",");
        json_put_float(&json, reward->validation.score[text * labels + i % labels]);
    }
    str_append(&json, "]}");
    bool ok = str_ok(&json, err) && run_sample(run, &json, err);
    str_done(&json);
    return ok;
}

/* The first record of a few prompts, the same at each evaluation. */
static bool write_samples(const Reward *reward, int64_t done, Run *run, Error *err) {
    size_t items = reward->validation.items;
    size_t samples = (size_t)reward->config->settings.log.samples;
    samples = samples < items ? samples : items;
    for (size_t i = 0; i < samples; i++) {
        const RewardItem *item = &reward->validation.item[i * (items / samples)];
        const RewardGroup *group = &reward->validation.group[item->group];
        if (!write_sample(reward, done, group, &group->judgment[0], run, err)) {
            return false;
        }
    }
    return true;
}

static bool evaluate(void *context, int64_t done, Run *run, Metrics *metrics, bool *eligible,
                     Error *err) {
    (void)eligible;
    Reward *reward = context;
    if (reward->validation.items == 0) {
        return true;
    }
    RewardEvaluation evaluation = {0};
    bool ok =
        reward_score(&reward->pass, reward_result(reward), &reward->validation, err) &&
        reward_evaluate(&evaluation, &reward->validation, &reward->loss, reward->labels, err) &&
        write_samples(reward, done, run, err);
    if (ok) {
        reward_evaluation_metrics(&evaluation, reward->loss.objective, metrics);
    }
    reward_evaluation_done(&evaluation);
    return ok;
}

static Model *result(Reward *reward) {
    return reward->ema.data != NULL ? &reward->ema : &reward->model;
}

static bool save_result(Reward *reward, const char *folder, Error *err) {
    RewardScale scale;
    char *path = file_join(folder, "model", err);
    bool ok = path != NULL && reward_scale(reward, result(reward), &scale, err) &&
              reward_save_scaled(reward, result(reward), &scale, path, err);
    free(path);
    return ok;
}

/* A gain is folded into model/'s head, so that neither the average nor the weights are in there. */
static bool has_gain(const Reward *reward) {
    return reward_normalization(reward) == NORMALIZE_REFERENCE;
}

static bool has_raw(const Reward *reward) {
    return reward->ema.data != NULL || has_gain(reward);
}

static bool has_average(const Reward *reward) {
    return reward->ema.data != NULL && has_gain(reward);
}

/* model/ is what others use. raw/ holds the weights that training goes on from and average/ their
 * average, where these are not what model/ holds. */
static bool save(void *context, const char *folder, cJSON *state, Error *err) {
    Reward *reward = context;
    return save_result(reward, folder, err) &&
           (!has_raw(reward) || stage_save_weights(&reward->model, folder, "raw", err)) &&
           (!has_average(reward) || stage_save_weights(&reward->ema, folder, "average", err)) &&
           stage_save_optimizer(&reward->optimizer, &reward->model, folder, err) &&
           (cJSON_AddNumberToObject(state, "tokens", (double)reward->seen) != NULL ||
            error_set(err, ERROR_OS, "out of memory while saving a checkpoint"));
}

static bool load(void *context, const char *folder, const cJSON *state, Error *err) {
    Reward *reward = context;
    int64_t seen;
    if (!json_integer(json_member(state, "tokens"), 0, INT64_MAX / 2, &seen)) {
        return error_set(err, ERROR_DATA, "the state of %s has no number \"tokens\"", folder);
    }
    reward->seen = (uint64_t)seen;
    bool averaged = reward->ema.data != NULL;
    return stage_load_weights(&reward->model, folder, has_raw(reward) ? "raw" : "model", err) &&
           (!averaged || stage_load_weights(&reward->ema, folder,
                                            has_average(reward) ? "average" : "model", err)) &&
           stage_load_optimizer(&reward->optimizer, &reward->model, folder, err);
}

static const char *const publish[] = {"model", NULL};

const TrainerStage reward_stage = {
    .step = step,
    .evaluate = evaluate,
    .save = save,
    .load = load,
    .report = reward_report,
    .publish = publish,
    .progress_what = "step",
};
