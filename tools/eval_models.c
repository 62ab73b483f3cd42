/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/model/family.h"
#include "tools/eval.h"

enum { BATCH_TOKENS = 4096 };

void eval_judge_close(EvalJudge *judge) {
    workspace_free(judge->workspace);
    model_done(&judge->model);
    tokenizer_free(judge->tokenizer);
    layout_done(&judge->layout);
    batch_done(&judge->batch);
    free(judge->value);
    *judge = (EvalJudge){0};
}

static bool open_judge(EvalJudge *judge, const char *folder, HeadKind head, Error *err) {
    bool fresh = false;
    if (!model_load(&judge->model, folder, (int)head, head == HEAD_SCORES ? 1 : 0, &fresh, err)) {
        return false;
    }
    if (fresh) {
        return error_set(err, ERROR_DATA,
                         "%s has no score head; expected a reward model such as rlhf-reward writes",
                         folder);
    }
    judge->tokenizer = tokenizer_load(folder, err);
    bool encoder = family_is_encoder(&judge->model.config);
    if (judge->tokenizer == NULL || !layout_open(&judge->layout, NULL, folder, err) ||
        !layout_frame(&judge->layout, judge->tokenizer, encoder, err) ||
        !layout_eos(&judge->layout, judge->tokenizer, &judge->eos, err)) {
        return false;
    }
    size_t context = judge->model.config.context;
    judge->rows = context > BATCH_TOKENS ? context : BATCH_TOKENS;
    WorkspacePlan plan = {.tokens = judge->rows, .sequences = judge->rows};
    judge->value = mem_alloc(judge->rows, sizeof *judge->value, err);
    judge->workspace = workspace_create(&judge->model.config, &plan, err);
    return judge->value != NULL && judge->workspace != NULL &&
           batch_init(&judge->batch, judge->rows, judge->rows, err);
}

bool eval_judge_open(EvalJudge *judge, const char *folder, HeadKind head, Error *err) {
    *judge = (EvalJudge){0};
    eval_short_name(folder, judge->name);
    if (!open_judge(judge, folder, head, err)) {
        eval_judge_close(judge);
        return false;
    }
    return true;
}

/* Ids of prompt and completion; *begin is where the completion's begin. */
static bool encode(const EvalJudge *judge, const EvalItem *item, bool end, Tokens *ids,
                   size_t *begin, Error *err) {
    const Record *record = item->record;
    ids->count = 0;
    if (!layout_prompt(&judge->layout, judge->tokenizer, record->message, record->messages, ids,
                       err)) {
        return false;
    }
    *begin = ids->count;
    if (item->ids == NULL) {
        return layout_completion(&judge->layout, judge->tokenizer, item->text, strlen(item->text),
                                 end, ids, err);
    }
    return tokens_append(ids, item->ids->id, item->ids->count, err);
}

static bool check_ids(const EvalJudge *judge, const EvalItem *item, const Tokens *ids, Error *err) {
    const ModelConfig *config = &judge->model.config;
    if (ids->count > config->context) {
        return error_at(err, ERROR_DATA, item->record->file, item->record->line, 0,
                        "prompt and completion have %zu tokens; %s reads at most %zu", ids->count,
                        judge->name, config->context);
    }
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->id[i] < 0 || (size_t)ids->id[i] >= config->vocabulary) {
            return error_at(err, ERROR_DATA, item->record->file, item->record->line, 0,
                            "token %d; %s has %zu", ids->id[i], judge->name, config->vocabulary);
        }
    }
    return true;
}

/* What to do with the sequences of a full batch: items [from, from + batch.sequences). */
typedef void Collect(EvalJudge *judge, size_t from, double *out);

static void collect_scores(EvalJudge *judge, size_t from, double *out) {
    const Batch *batch = &judge->batch;
    PerToken values = {.score = judge->value};
    model_forward(&judge->model, judge->workspace, batch, &values);
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t row = family_score_row(&judge->model.config, batch->start[s], batch->start[s + 1]);
        out[from + s] = (double)(judge->value[row] + judge->model.config.reward_bias);
    }
}

static void collect_logprobs(EvalJudge *judge, size_t from, double *out) {
    const Batch *batch = &judge->batch;
    PerToken values = {.logprob = judge->value};
    model_forward(&judge->model, judge->workspace, batch, &values);
    for (size_t s = 0; s < batch->sequences; s++) {
        double sum = 0;
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            sum += batch->target[t] == BATCH_NO_TARGET ? 0 : (double)judge->value[t];
        }
        out[from + s] = sum;
    }
}

static bool add_item(EvalJudge *judge, const Tokens *ids, size_t begin, bool targets,
                     Tokens *target, Error *err) {
    target->count = 0;
    for (size_t t = 0; t < ids->count; t++) {
        bool trained = targets && t + 1 < ids->count && t + 1 >= begin;
        if (!tokens_push(target, trained ? ids->id[t + 1] : BATCH_NO_TARGET, err)) {
            return false;
        }
    }
    size_t s;
    if (!batch_add(&judge->batch, ids->id, target->id, ids->count, BATCH_NO_PREFIX, 0, &s, err)) {
        return false;
    }
    if (judge->model.config.segments > 1) {
        batch_set_segments(&judge->batch, s, begin);
    }
    return true;
}

static bool run_items(EvalJudge *judge, const EvalItem *item, size_t n, bool scores, double *out,
                      size_t *tokens, Error *err) {
    Collect *collect = scores ? collect_scores : collect_logprobs;
    Tokens ids = {0}, target = {0};
    bool ok = true;
    size_t from = 0;
    batch_clear(&judge->batch);
    for (size_t i = 0; ok && i < n; i++) {
        size_t begin;
        ok = encode(judge, &item[i], scores || item[i].finished, &ids, &begin, err) &&
             check_ids(judge, &item[i], &ids, err);
        if (ok && judge->batch.tokens + ids.count > judge->rows) {
            collect(judge, from, out);
            batch_clear(&judge->batch);
            from = i;
        }
        ok = ok && add_item(judge, &ids, begin, !scores, &target, err);
        if (ok && tokens != NULL) {
            tokens[i] = ids.count - begin;
        }
    }
    if (ok && judge->batch.sequences > 0) {
        collect(judge, from, out);
    }
    tokens_done(&ids);
    tokens_done(&target);
    return ok;
}

bool eval_scores(EvalJudge *judge, const EvalItem *item, size_t n, double *score, Error *err) {
    return run_items(judge, item, n, true, score, NULL, err);
}

bool eval_logprobs(EvalJudge *judge, const EvalItem *item, size_t n, double *logprob,
                   size_t *tokens, Error *err) {
    return run_items(judge, item, n, false, logprob, tokens, err);
}

static EvalItem *items_of(const EvalFile *file, bool ids, Error *err) {
    EvalItem *item = mem_alloc(file->texts, sizeof *item, err);
    for (size_t i = 0; item != NULL && i < file->texts; i++) {
        const EvalText *text = &file->text[i];
        item[i] = (EvalItem){.record = text->record,
                             .text = text->text,
                             .ids = ids && text->ids.count > 0 ? &text->ids : NULL,
                             .finished = text->finished};
    }
    return item;
}

static double mean_of(const double *value, size_t n, double *deviation) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        mean += value[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        squares += (value[i] - mean) * (value[i] - mean);
    }
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
    return mean;
}

bool eval_rewards(EvalFile *file, EvalJudge *judge, size_t index, Error *err) {
    EvalItem *item = items_of(file, false, err);
    double *score = item == NULL ? NULL : mem_alloc(file->texts, sizeof *score, err);
    bool ok = score != NULL && eval_scores(judge, item, file->texts, score, err);
    for (size_t i = 0; ok && i < file->texts; i++) {
        file->text[i].reward[index] = score[i];
    }
    if (ok) {
        char key[2 * EVAL_NAME], label[2 * EVAL_NAME];
        double deviation, mean = mean_of(score, file->texts, &deviation);
        snprintf(key, sizeof key, "reward/%s", judge->name);
        snprintf(label, sizeof label, "reward by %s", judge->name);
        ok = eval_metric(&file->metrics, METRIC_NUMBER, key, label, mean, err);
        snprintf(key, sizeof key, "reward_deviation/%s", judge->name);
        snprintf(label, sizeof label, "its deviation");
        ok = ok && eval_metric(&file->metrics, METRIC_NUMBER, key, label, deviation, err);
    }
    free(score);
    free(item);
    return ok;
}

bool eval_kl(EvalFile *file, EvalJudge *policy, EvalJudge *reference, Error *err) {
    if (tokenizer_fingerprint(policy->tokenizer) != tokenizer_fingerprint(reference->tokenizer)) {
        return error_set(err, ERROR_DATA,
                         "%s and %s have different tokenizers; a KL needs the same", policy->name,
                         reference->name);
    }
    size_t n = file->texts;
    EvalItem *item = items_of(file, true, err);
    double *p = item == NULL ? NULL : mem_alloc(n, sizeof *p, err);
    double *q = p == NULL ? NULL : mem_alloc(n, sizeof *q, err);
    size_t *tokens = q == NULL ? NULL : mem_alloc(n, sizeof *tokens, err);
    bool ok = tokens != NULL && eval_logprobs(policy, item, n, p, tokens, err) &&
              eval_logprobs(reference, item, n, q, NULL, err);
    double sum = 0, count = 0, deviation;
    for (size_t i = 0; ok && i < n; i++) {
        file->text[i].kl = p[i] - q[i];
        p[i] -= q[i];
        sum += p[i];
        count += (double)tokens[i];
    }
    if (ok) {
        double mean = mean_of(p, n, &deviation);
        ok = eval_metric(&file->metrics, METRIC_NUMBER, "kl", "KL to the reference, nats a text",
                         mean, err) &&
             eval_metric(&file->metrics, METRIC_NUMBER, "kl_error", "its standard error",
                         deviation / sqrt((double)n), err) &&
             eval_metric(&file->metrics, METRIC_NUMBER, "kl_token", "nats a token", sum / count,
                         err);
    }
    free(tokens);
    free(q);
    free(p);
    free(item);
    return ok;
}
