/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "ppo/ppo.h"
#include "ppo/ppo_sizes.h"

/* Random numbers of evaluations: the same in each of them, so that policies differ and luck does
 * not. */
enum { STREAM_TRIAL = 0, STREAM_BEST_OF = 1 };

static Sampling evaluation_sampling(const Ppo *ppo, uint64_t stream) {
    const Settings *settings = &ppo->config->settings;
    return (Sampling){
        .temperature = (float)settings->generation.temperature,
        .top_p = 1,
        .repetition_penalty = 1,
        .max_tokens = (size_t)settings->generation.max_tokens,
        .seed = (uint64_t)settings->train.seed,
        .purpose = RANDOM_EVALUATE,
        .step = stream,
    };
}

static size_t choose_trials(Ppo *ppo) {
    size_t n = ppo->part.held_outs, most = ppo->trial.most_groups;
    n = n < most ? n : most;
    for (size_t i = 0; i < n; i++) {
        ppo->chosen[i] = &ppo->part.held_out[i];
    }
    return n;
}

static int compare_keys(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Share of different completions among all. */
static bool distinct_share(const Rollout *trial, double *share, Error *err) {
    uint64_t *key = mem_alloc(trial->samples, sizeof *key, err);
    if (key == NULL) {
        return false;
    }
    for (size_t s = 0; s < trial->samples; s++) {
        size_t from = trial->start[s];
        key[s] =
            hash_bytes(trial->action + from, (trial->start[s + 1] - from) * sizeof *trial->action);
    }
    qsort(key, trial->samples, sizeof *key, compare_keys);
    size_t different = 1;
    for (size_t s = 1; s < trial->samples; s++) {
        different += key[s] != key[s - 1];
    }
    *share = (double)different / (double)trial->samples;
    free(key);
    return true;
}

static double mean_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static double completion_kl(const Rollout *trial, size_t s) {
    double kl = 0;
    for (size_t a = trial->start[s]; a < trial->start[s + 1]; a++) {
        kl += (double)trial->old[a] - (double)trial->reference[a];
    }
    return kl;
}

static bool put_trial(Ppo *ppo, Metrics *metrics, double *kl, Error *err) {
    const Rollout *trial = &ppo->trial;
    double n = (double)trial->samples, finished = 0, distinct;
    *kl = 0;
    for (size_t s = 0; s < trial->samples; s++) {
        *kl += completion_kl(trial, s) / n;
        finished += trial->finished[s];
    }
    if (!distinct_share(trial, &distinct, err)) {
        return false;
    }
    metrics_put(metrics, "eval/score", mean_of(trial->raw_score, trial->samples));
    if (ppo->part.judge != NULL) {
        metrics_put(metrics, "eval/judge", mean_of(ppo->judged, trial->samples));
    }
    metrics_put(metrics, "eval/kl", *kl);
    metrics_put(metrics, "eval/length", (double)trial->actions / n);
    metrics_put(metrics, "eval/distinct", distinct);
    metrics_put(metrics, "eval/eos_rate", finished / n);
    return true;
}

static bool keep_before(Ppo *ppo, Error *err) {
    const Rollout *trial = &ppo->trial;
    for (size_t s = 0; s < ppo->befores && s < trial->samples; s++) {
        free(ppo->before[s].text);
        ppo->before[s].text = mem_strdup(trial->text[s], err);
        ppo->before[s].score = trial->raw_score[s];
        if (ppo->before[s].text == NULL) {
            return false;
        }
    }
    return true;
}

static bool write_samples(Ppo *ppo, int64_t done, Run *run, Error *err) {
    const Rollout *trial = &ppo->trial;
    for (size_t s = 0; s < ppo->befores && s < trial->samples; s++) {
        Str out = {0};
        str_appendf(&out, "{\"step\":%lld,\"prompt\":", (long long)done);
        reward_put_prompt(&out, trial->prompt[s]->message, trial->prompt[s]->messages);
        str_append(&out, ",\"before\":");
        json_put_string(&out, ppo->before[s].text, strlen(ppo->before[s].text));
        str_append(&out, ",\"after\":");
        json_put_string(&out, trial->text[s], strlen(trial->text[s]));
        str_append(&out, ",\"before_score\":");
        json_put_double(&out, ppo->before[s].score);
        str_append(&out, ",\"after_score\":");
        json_put_double(&out, trial->raw_score[s]);
        if (ppo->part.judge != NULL) {
            str_append(&out, ",\"after_judge\":");
            json_put_double(&out, ppo->judged[s]);
        }
        str_append(&out, ",\"kl\":");
        json_put_double(&out, completion_kl(trial, s));
        str_appendf(&out, ",\"tokens\":%zu,\"finish\":\"%s\"}",
                    trial->start[s + 1] - trial->start[s], trial->finished[s] ? "eos" : "length");
        bool ok = str_ok(&out, err) && run_sample(run, &out, err);
        str_done(&out);
        if (!ok) {
            return false;
        }
    }
    return true;
}

typedef struct Scored {
    double score, judge;
} Scored;

static int best_first(const void *left, const void *right) {
    const Scored *a = left, *b = right;
    return a->score > b->score ? -1 : a->score < b->score;
}

/* Expected score (and judge's score) of the best of k among the n of one prompt, over all
 * choices of k of them: the i-th best is the best of a choice with probability C(n - 1 - i, k -
 * 1) / C(n, k). */
static Scored best_of(const Scored *sorted, size_t n, size_t k) {
    Scored sum = {0};
    double share = (double)k / (double)n;
    for (size_t i = 0; i + k <= n; i++) {
        sum.score += share * sorted[i].score;
        sum.judge += share * sorted[i].judge;
        if (i + 1 < n) {
            share *= (double)(n - i - k) / (double)(n - 1 - i);
        }
    }
    return sum;
}

static bool score_best_of(Ppo *ppo, Rollout *many, size_t n, Scored *scored, Error *err) {
    double *judged = mem_alloc(many->samples, sizeof *judged, err);
    bool ok = judged != NULL &&
              (ppo->part.tokenizer == NULL || rollout_decode(many, ppo->part.tokenizer, err)) &&
              rollout_score(many, ppo->part.source, many->raw_score, err) &&
              (ppo->part.judge == NULL || rollout_score(many, ppo->part.judge, judged, err));
    for (size_t s = 0; ok && s < many->samples; s++) {
        scored[s] = (Scored){.score = many->raw_score[s], .judge = judged[s]};
    }
    for (size_t g = 0; ok && g < many->groups; g++) {
        qsort(scored + g * n, n, sizeof *scored, best_first);
    }
    free(judged);
    return ok;
}

/* The first policy's best-of-k curve: what choosing alone achieves, and its KL log k - (k - 1) /
 * k. */
static bool put_best_of(Ppo *ppo, size_t prompts, Metrics *metrics, Error *err) {
    size_t n = (size_t)ppo->config->ppo.best_of;
    Rollout many = {0};
    Sampling sampling = evaluation_sampling(ppo, STREAM_BEST_OF);
    Scored *scored = mem_alloc(mem_mul(prompts, n), sizeof *scored, err);
    bool ok = scored != NULL && rollout_init(&many, prompts, n, sampling.max_tokens, err) &&
              rollout_sample(&many, ppo->generator, ppo->part.policy, ppo->chosen, prompts, n,
                             &sampling, ppo->part.eos, err) &&
              score_best_of(ppo, &many, n, scored, err);
    for (size_t k = 1; ok && k <= n; k *= 2) {
        Scored mean = {0};
        for (size_t g = 0; g < prompts; g++) {
            Scored best = best_of(scored + g * n, n, k);
            mean.score += best.score / (double)prompts;
            mean.judge += best.judge / (double)prompts;
        }
        char name[METRIC_NAME];
        snprintf(name, sizeof name, "eval/best_of_%zu/score", k);
        metrics_put(metrics, name, mean.score);
        snprintf(name, sizeof name, "eval/best_of_%zu/kl", k);
        metrics_put(metrics, name, ppo_best_of_n_kl(k));
        if (ppo->part.judge != NULL) {
            snprintf(name, sizeof name, "eval/best_of_%zu/judge", k);
            metrics_put(metrics, name, mean.judge);
        }
    }
    rollout_done(&many);
    free(scored);
    return ok;
}

bool ppo_evaluate(Ppo *ppo, int64_t done, Run *run, Metrics *metrics, bool *eligible, Error *err) {
    size_t n = choose_trials(ppo);
    if (n == 0) {
        return true;
    }
    Rollout *trial = &ppo->trial;
    const Model *policy = ppo_result(ppo);
    Sampling sampling = evaluation_sampling(ppo, STREAM_TRIAL);
    if (!rollout_sample(trial, ppo->generator, policy, ppo->chosen, n, 1, &sampling, ppo->part.eos,
                        err) ||
        (ppo->part.tokenizer != NULL && !rollout_decode(trial, ppo->part.tokenizer, err)) ||
        !rollout_score(trial, ppo->part.source, trial->raw_score, err) ||
        (ppo->part.judge != NULL && !rollout_score(trial, ppo->part.judge, ppo->judged, err))) {
        return false;
    }
    double kl;
    if (!ppo_logprobs(ppo, trial, policy, true, false, err) || !put_trial(ppo, metrics, &kl, err)) {
        return false;
    }
    double most = ppo->config->ppo.select_max_kl;
    if (most > 0 && kl > most) {
        *eligible = false;
    }
    if (done == 0 && ppo->config->ppo.best_of > 0 && !put_best_of(ppo, n, metrics, err)) {
        return false;
    }
    return ppo->part.tokenizer == NULL || run == NULL ||
           ((done > 0 || keep_before(ppo, err)) && write_samples(ppo, done, run, err));
}
