/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "sft/sft.h"

typedef struct StepLoss {
    double sum;    /* of -log p over trained tokens */
    double weight; /* 1 / trained tokens of the step */
} StepLoss;

static void row_loss(void *context, size_t n, const size_t *row, const PerToken *value,
                     PerToken *gradient) {
    (void)row;
    StepLoss *loss = context;
    for (size_t i = 0; i < n; i++) {
        loss->sum -= (double)value->logprob[i];
        gradient->logprob[i] = -(float)loss->weight;
    }
}

size_t sft_step_example(const Sft *sft, int64_t step, int64_t i) {
    uint64_t place = (uint64_t)(step * sft->config->settings.train.batch + i);
    uint64_t epoch = place / sft->train.examples, within = place % sft->train.examples;
    uint64_t seed = (uint64_t)sft->config->settings.train.seed;
    return example_order(seed, epoch, sft->train.examples, within);
}

static const Example *step_example(const Sft *sft, int64_t step, int64_t i) {
    return &sft->train.example[sft_step_example(sft, step, i)];
}

static size_t trained_tokens(const Example *example, bool all) {
    size_t n = 0;
    if (example->completions == 0) {
        for (size_t i = 1; i < example->prompt.count; i++) { /* nothing predicts the first id */
            n += example->trained[i] != 0;
        }
        return n;
    }
    for (size_t j = 0; j < example->completions; j++) {
        n += example->completion[j].count + (all ? example->prompt.count - 1 : 0);
    }
    return n;
}

static bool diverged(const Sft *sft, int64_t step, const char *what, double value, Error *err) {
    Str records = {0};
    int64_t shown = sft->config->settings.train.batch < 4 ? sft->config->settings.train.batch : 4;
    for (int64_t i = 0; i < shown; i++) {
        const Record *record = step_example(sft, step, i)->record;
        str_appendf(&records, "%s%s:%ld", i == 0 ? "" : ", ", record->file, record->line);
    }
    error_set(err, ERROR_DIVERGED,
              "the %s of step %lld is %g; no weight was changed; lower train.learning_rate or look "
              "at the step's records (%s, …); the last checkpoint is intact",
              what, (long long)step + 1, value, str_text(&records));
    str_done(&records);
    return false;
}

/* Forward, loss and backward over one step's records in micro-batches. */
static bool accumulate_causal(Sft *sft, int64_t step, double *mean, size_t *tokens, Error *err) {
    int64_t records = sft->config->settings.train.batch;
    bool all = sft->config->sft.loss_on == 1;
    size_t trained = 0;
    for (int64_t i = 0; i < records; i++) {
        trained += trained_tokens(step_example(sft, step, i), all);
    }
    StepLoss loss = {.weight = 1.0 / (double)trained};
    *tokens = trained;
    batch_clear(&sft->batch);
    for (int64_t i = 0; i < records; i++) {
        const Example *example = step_example(sft, step, i);
        size_t first;
        if (!example_add(example, false, all, &sft->batch, &first, err)) {
            return false;
        }
        bool last = i + 1 == records;
        size_t next = last ? 0 : example_rows(step_example(sft, step, i + 1), false);
        if (last || sft->batch.tokens + next > sft->rows) {
            model_train(&sft->model, &sft->gradients, sft->workspace, &sft->batch, WANT_LOGPROB,
                        row_loss, &loss, &(PerToken){0});
            batch_clear(&sft->batch);
        }
    }
    *mean = loss.sum * loss.weight;
    return true;
}

static bool accumulate_masked(Sft *sft, int64_t step, double *mean, size_t *tokens,
                              Metrics *metrics, Error *err) {
    SftSums sums;
    if (!sft_masked_accumulate(sft, step, &sums, err)) {
        return false;
    }
    *mean = sft_loss(&sums);
    *tokens = sums.tokens;
    if (sums.sequences > 0) {
        metrics_put(metrics, "train/next_sentence_loss", sums.next_loss / (double)sums.sequences);
    }
    return true;
}

static bool step(void *context, int64_t n, Metrics *metrics, Metrics *timing, bool *finished,
                 Error *err) {
    (void)finished;
    Sft *sft = context;
    double begin = clock_seconds();
    double mean;
    size_t tokens;
    workspace_set_dropout(sft->workspace, true, (uint64_t)sft->config->settings.train.seed,
                          (uint64_t)n);
    if (sft->encoder ? !accumulate_masked(sft, n, &mean, &tokens, metrics, err)
                     : !accumulate_causal(sft, n, &mean, &tokens, err)) {
        return false;
    }
    double norm = optimizer_norm(&sft->gradients);
    if (!isfinite(mean)) {
        return diverged(sft, n, "loss", mean, err);
    }
    if (!isfinite(norm)) {
        return diverged(sft, n, "gradient norm", norm, err);
    }
    double rate = stage_learning_rate(&sft->config->settings, n, sft->steps);
    optimizer_step(&sft->optimizer, &sft->model, &sft->gradients, norm, rate);
    if (sft->ema.data != NULL) {
        ema_update(&sft->ema, &sft->model, sft->config->settings.train.ema);
    }
    sft->seen += tokens;
    metrics_put(metrics, "train/loss", mean);
    metrics_put(metrics, "train/grad_norm", norm);
    metrics_put(metrics, "train/learning_rate", rate);
    metrics_put(metrics, "train/tokens", (double)sft->seen);
    metrics_put(metrics, "train/epoch",
                (double)((n + 1) * sft->config->settings.train.batch) /
                    (double)sft->train.examples);
    metrics_put(timing, "tokens_per_second", (double)tokens / (clock_seconds() - begin));
    return true;
}

const Model *sft_result(const Sft *sft) {
    return sft->ema.data != NULL ? &sft->ema : &sft->model;
}

bool sft_measure(Sft *sft, const ExampleSet *set, SftSums *sums, Error *err) {
    *sums = (SftSums){0};
    bool all = sft->config->sft.loss_on == 1;
    PerToken out = {.logprob = sft->logprob, .correct = sft->correct};
    workspace_set_dropout(sft->workspace, false, 0, 0);
    if (sft->encoder) {
        return sft_masked_measure(sft, set, sums, err);
    }
    batch_clear(&sft->batch);
    for (size_t i = 0; i < set->examples; i++) {
        size_t first;
        if (!example_add(&set->example[i], false, all, &sft->batch, &first, err)) {
            return false;
        }
        bool last = i + 1 == set->examples;
        size_t next = last ? 0 : example_rows(&set->example[i + 1], false);
        if (!last && sft->batch.tokens + next <= sft->rows) {
            continue;
        }
        model_forward(sft_result(sft), sft->workspace, &sft->batch, &out);
        for (size_t t = 0; t < sft->batch.tokens; t++) {
            if (sft->batch.target[t] != BATCH_NO_TARGET) {
                sums->loss -= (double)sft->logprob[t];
                sums->correct += sft->correct[t] > 0.5f;
                sums->tokens++;
            }
        }
        batch_clear(&sft->batch);
    }
    return true;
}

double sft_loss(const SftSums *sums) {
    double next = sums->sequences == 0 ? 0 : sums->next_loss / (double)sums->sequences;
    return sums->loss / (double)sums->tokens + next;
}

static bool write_sample(const Sft *sft, int64_t done, const Example *example,
                         const Completion *completion, Run *run, Error *err) {
    Str json = {0}, prompt = {0}, text = {0};
    bool ok = tokenizer_decode(sft->tokenizer, example->prompt.id, example->prompt.count, true,
                               true, &prompt, err) &&
              stage_render_completion(sft->tokenizer, completion, &text, err);
    if (ok) {
        str_appendf(&json, "{\"step\":%lld,\"prompt\":", (long long)done);
        json_put_string(&json, str_text(&prompt), prompt.size);
        str_append(&json, ",\"completion\":");
        json_put_string(&json, str_text(&text), text.size);
        str_appendf(&json, ",\"tokens\":%zu,\"finish\":\"%s\"}", completion->count,
                    completion->finish == FINISH_EOS ? "eos" : "length");
        ok = str_ok(&json, err) && run_sample(run, &json, err);
    }
    str_done(&json);
    str_done(&prompt);
    str_done(&text);
    return ok;
}

/* Completions of a few held-out prompts, the same at each evaluation. */
static bool sample(Sft *sft, int64_t done, Run *run, Error *err) {
    enum { MOST = 64 };
    const Settings *settings = &sft->config->settings;
    size_t count = (size_t)settings->log.samples;
    count = count < sft->prompts.examples ? count : sft->prompts.examples;
    count = count < MOST ? count : MOST;
    Prompt prompt[MOST];
    size_t room = sft->model.config.context;
    for (size_t i = 0; i < count; i++) {
        const Example *example = &sft->prompts.example[i * (sft->prompts.examples / count)];
        prompt[i] = (Prompt){example->prompt.id, example->prompt.count, example->key};
        room = room < sft->model.config.context - prompt[i].count
                   ? room
                   : sft->model.config.context - prompt[i].count;
    }
    int32_t eos;
    if (!layout_eos(&sft->layout, sft->tokenizer, &eos, err)) {
        return false;
    }
    size_t tokens = (size_t)settings->generation.max_tokens;
    Sampling sampling = {
        .greedy = settings->generation.greedy,
        .temperature = (float)settings->generation.temperature,
        .top_k = (int)settings->generation.top_k,
        .top_p = (float)settings->generation.top_p,
        .min_p = (float)settings->generation.min_p,
        .repetition_penalty = (float)settings->generation.repetition_penalty,
        .max_tokens = tokens < room ? tokens : room,
        .stop = &eos,
        .stops = 1,
        .seed = (uint64_t)settings->train.seed,
        .purpose = RANDOM_EVALUATE,
    };
    if (room == 0) {
        return true;
    }
    const Completion *completion =
        generate(sft->generator, sft_result(sft), prompt, count, 1, &sampling, NULL, err);
    bool ok = completion != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        const Example *example = &sft->prompts.example[i * (sft->prompts.examples / count)];
        ok = write_sample(sft, done, example, &completion[i], run, err);
    }
    return ok;
}

static bool evaluate(void *context, int64_t done, Run *run, Metrics *metrics, bool *eligible,
                     Error *err) {
    (void)eligible;
    Sft *sft = context;
    if (sft->validation.examples > 0) {
        SftSums sums;
        if (!sft_measure(sft, &sft->validation, &sums, err)) {
            return false;
        }
        metrics_put(metrics, "eval/loss", sft_loss(&sums));
        metrics_put(metrics, "eval/perplexity", exp(sums.loss / (double)sums.tokens));
        metrics_put(metrics, "eval/token_accuracy", (double)sums.correct / (double)sums.tokens);
        metrics_put(metrics, "eval/tokens", (double)sums.tokens);
        if (sums.sequences > 0) {
            double n = (double)sums.sequences;
            metrics_put(metrics, "eval/next_sentence_loss", sums.next_loss / n);
            metrics_put(metrics, "eval/next_sentence_accuracy", (double)sums.next_correct / n);
        }
    }
    return sft->generator == NULL || sample(sft, done, run, err);
}

static bool save_result(const Sft *sft, const char *folder, Error *err) {
    char *path = file_join(folder, "model", err);
    bool ok =
        path != NULL && stage_save_model(sft_result(sft), sft->tokenizer, &sft->layout, path, err);
    free(path);
    return ok;
}

/* With an average, model/ holds the average and raw/ the weights that training goes on from. */
static bool save(void *context, const char *folder, cJSON *state, Error *err) {
    Sft *sft = context;
    return save_result(sft, folder, err) &&
           (sft->ema.data == NULL || stage_save_weights(&sft->model, folder, "raw", err)) &&
           stage_save_optimizer(&sft->optimizer, &sft->model, folder, err) &&
           (cJSON_AddNumberToObject(state, "trained_tokens", (double)sft->seen) != NULL ||
            error_set(err, ERROR_OS, "out of memory while saving a checkpoint"));
}

static bool load(void *context, const char *folder, const cJSON *state, Error *err) {
    Sft *sft = context;
    int64_t seen;
    if (!json_integer(json_member(state, "trained_tokens"), 0, INT64_MAX / 2, &seen)) {
        return error_set(err, ERROR_DATA, "%s/state.json has no number \"trained_tokens\"", folder);
    }
    sft->seen = (uint64_t)seen;
    bool averaged = sft->ema.data != NULL;
    return stage_load_weights(averaged ? &sft->ema : &sft->model, folder, "model", err) &&
           (!averaged || stage_load_weights(&sft->model, folder, "raw", err)) &&
           stage_load_optimizer(&sft->optimizer, &sft->model, folder, err);
}

static bool report(void *context, const Run *run, int64_t best_step, Str *out, Error *err) {
    (void)best_step;
    Sft *sft = context;
    str_append(out, "## Data\n\n```\n");
    str_append(out, str_text(&sft->train_data.description));
    str_append(out, "\n");
    examples_describe(&sft->train.counts, out);
    str_append(out, "\n```\n");
    return str_ok(out, err) && stage_save_merged(&sft->config->settings, sft->tokenizer,
                                                 &sft->layout, run->folder, err);
}

static const char *const publish[] = {"model", NULL};

const TrainerStage sft_stage = {
    .step = step,
    .evaluate = evaluate,
    .save = save,
    .load = load,
    .report = report,
    .publish = publish,
    .progress_what = "step",
};
