/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "ppo/ppo.h"

void ppo_order(const Ppo *ppo, int64_t iteration, int64_t epoch, size_t *order) {
    const Rollout *rollout = &ppo->rollout;
    Random random = random_stream((uint64_t)ppo->config->settings.train.seed, RANDOM_PPO,
                                  (uint64_t)iteration, (uint64_t)epoch);
    size_t n = 0;
    for (size_t g = 0; g < rollout->groups; g++) {
        size_t group = (size_t)random_permute(&random, rollout->groups, g);
        for (size_t j = 0; j < rollout->per_group; j++) {
            order[n++] = group * rollout->per_group + j;
        }
    }
}

size_t ppo_minibatch_end(const Ppo *ppo, size_t k) {
    const Rollout *rollout = &ppo->rollout;
    size_t minibatches = (size_t)ppo->config->ppo.minibatches;
    return (k + 1) * rollout->groups / minibatches * rollout->per_group;
}

/* The prompts of an iteration: a function of (seed, iteration). A prompt seen again in a later
 * epoch gets other random numbers. */
static size_t choose_prompts(Ppo *ppo, int64_t iteration) {
    const Settings *settings = &ppo->config->settings;
    size_t batch = (size_t)settings->train.batch;
    for (size_t i = 0; i < batch; i++) {
        uint64_t index = (uint64_t)iteration * batch + i;
        uint64_t epoch = index / ppo->part.prompts;
        size_t at = example_order((uint64_t)settings->train.seed, epoch, ppo->part.prompts,
                                  (size_t)(index % ppo->part.prompts));
        ppo->keyed[i] = ppo->part.prompt[at];
        ppo->keyed[i].key = random_mix(ppo->keyed[i].key, epoch);
        ppo->chosen[i] = &ppo->keyed[i];
    }
    return batch;
}

static bool needs_texts(const Ppo *ppo) {
    return ppo->part.tokenizer != NULL && (ppo->part.source->reads_text || ppo->dump >= 0);
}

static bool sample(Ppo *ppo, int64_t iteration, Error *err) {
    const Settings *settings = &ppo->config->settings;
    size_t n = choose_prompts(ppo, iteration);
    Sampling sampling = {
        .temperature = (float)settings->generation.temperature,
        .top_p = 1,
        .repetition_penalty = 1,
        .max_tokens = (size_t)settings->generation.max_tokens,
        .seed = (uint64_t)settings->train.seed,
        .purpose = RANDOM_SAMPLE,
        .step = (uint64_t)iteration,
    };
    return rollout_sample(&ppo->rollout, ppo->generator, ppo->part.policy, ppo->chosen, n,
                          (size_t)settings->generation.samples, &sampling, ppo->part.eos, err) &&
           (!needs_texts(ppo) || rollout_decode(&ppo->rollout, ppo->part.tokenizer, err));
}

/* Log-probs of old policy and reference, values. */
static bool know(Ppo *ppo, int64_t iteration, Drift *drift, Error *err) {
    Rollout *rollout = &ppo->rollout;
    bool old = ppo_recomputes(ppo, iteration);
    if (!ppo_logprobs(ppo, rollout, ppo->part.policy, old, true, err)) {
        return false;
    }
    if (!old) {
        memcpy(rollout->old, rollout->sampled, rollout->actions * sizeof(float));
        return true;
    }
    for (size_t a = 0; a < rollout->actions; a++) {
        ppo_drift_add(drift, rollout->sampled[a], rollout->old[a]);
    }
    return ppo_drift_check(ppo->config, drift, err);
}

static bool check_first_kl(const Rollout *rollout, Error *err) {
    for (size_t a = 0; a < rollout->actions; a++) {
        if (rollout->old[a] != rollout->reference[a]) {
            return error_set(err, ERROR_INTERNAL,
                             "policy and reference have the same weights, but token %zu got the "
                             "log-probabilities %.9g and %.9g; please report this with the model's "
                             "config.json",
                             a, (double)rollout->old[a], (double)rollout->reference[a]);
        }
    }
    return true;
}

static void add_statistics(ScoreStatistics *statistics, const double *score, size_t n) {
    for (size_t i = 0; i < n; i++) {
        statistics->count += 1;
        double distance = score[i] - statistics->mean;
        statistics->mean += distance / statistics->count;
        statistics->squares += distance * (score[i] - statistics->mean);
    }
}

static void normalize_scores(Ppo *ppo, int64_t iteration) {
    Rollout *rollout = &ppo->rollout;
    double mean = 0, deviation = 1;
    ScoreNormalization how = (ScoreNormalization)ppo->config->ppo.score_normalization;
    if (how == NORMALIZE_FIXED) {
        mean = ppo->config->reward.mean;
        deviation = ppo->config->reward.deviation;
    } else if (how == NORMALIZE_RUNNING || how == NORMALIZE_REFERENCE) {
        if (how == NORMALIZE_RUNNING || iteration == 0) {
            add_statistics(&ppo->statistics, rollout->raw_score, rollout->samples);
        }
        mean = ppo->statistics.mean;
        deviation = fmax(sqrt(ppo->statistics.squares / ppo->statistics.count), 1e-6);
    }
    for (size_t s = 0; s < rollout->samples; s++) {
        rollout->score[s] =
            ppo_final_score(rollout->raw_score[s], mean, deviation, ppo->config->ppo.score_clip,
                            rollout->finished[s], (MissingEos)ppo->config->ppo.missing_eos,
                            ppo->config->ppo.missing_eos_value);
    }
}

static void advantages(Ppo *ppo) {
    Rollout *rollout = &ppo->rollout;
    KlEstimator estimator = (KlEstimator)ppo_reward_estimator(ppo->config);
    for (size_t a = 0; a < rollout->actions; a++) {
        rollout->kl[a] = (float)ppo_kl(estimator, rollout->old[a], rollout->reference[a]);
    }
    ppo_rewards(rollout->kl, rollout->score, rollout->start, rollout->samples, ppo->beta,
                rollout->reward);
    if (ppo->config->ppo.whiten_rewards) {
        ppo_whiten(rollout->reward, rollout->actions, true);
    }
    ppo_advantages(rollout->reward, rollout->value, rollout->start, rollout->samples,
                   ppo->config->ppo.gamma, ppo->config->ppo.lambda, rollout->advantage,
                   rollout->returns);
    if (ppo->config->ppo.whiten_advantages) {
        ppo_whiten(rollout->advantage, rollout->actions, false);
    }
}

/* Numbers of the rollout; gives the mean KL of a completion. */
static double put_objective(const Ppo *ppo, Metrics *metrics) {
    const Rollout *rollout = &ppo->rollout;
    double n = (double)rollout->samples;
    double kl = 0, surprise = 0, entropy = 0, score = 0, raw = 0, squares = 0, length_max = 0;
    size_t finished = 0, length_min = SIZE_MAX;
    for (size_t a = 0; a < rollout->actions; a++) {
        kl += rollout->kl[a];
        surprise -= rollout->old[a];
        entropy += rollout->entropy[a];
    }
    for (size_t s = 0; s < rollout->samples; s++) {
        size_t length = rollout->start[s + 1] - rollout->start[s];
        score += rollout->score[s];
        raw += rollout->raw_score[s];
        squares += rollout->raw_score[s] * rollout->raw_score[s];
        finished += rollout->finished[s];
        length_max = fmax(length_max, (double)length);
        length_min = length < length_min ? length : length_min;
    }
    double penalty = -ppo->beta * kl / n;
    metrics_put(metrics, "objective/kl", kl / n);
    metrics_put(metrics, "objective/entropy", surprise / n);
    metrics_put(metrics, "objective/scores", score / n);
    metrics_put(metrics, "objective/raw_scores", raw / n);
    metrics_put(metrics, "objective/raw_scores_std",
                sqrt(fmax(squares / n - raw / n * raw / n, 0)));
    metrics_put(metrics, "objective/non_score_reward", penalty);
    metrics_put(metrics, "objective/rlhf_reward", score / n + penalty);
    metrics_put(metrics, "objective/beta", ppo->beta);
    metrics_put(metrics, "val/num_eos_tokens", (double)finished);
    metrics_put(metrics, "val/eos_rate", (double)finished / n);
    metrics_put(metrics, "val/length", (double)rollout->actions / n);
    metrics_put(metrics, "val/length_min", (double)length_min);
    metrics_put(metrics, "val/length_max", length_max);
    metrics_put(metrics, "val/token_entropy", entropy / (double)rollout->actions);
    metrics_put(metrics, "val/explained_variance",
                ppo_explained_variance(rollout->value, rollout->returns, rollout->actions));
    return kl / n;
}

static void put_update(const Ppo *ppo, const PpoUpdate *update, Metrics *metrics) {
    metrics_put(metrics, "policy/approxkl_avg", update->approx_kl);
    metrics_put(metrics, "policy/approxkl_k3_avg", update->approx_kl_k3);
    metrics_put(metrics, "policy/clipfrac_avg", update->clip_share);
    metrics_put(metrics, "policy/entropy_avg", update->entropy);
    metrics_put(metrics, "loss/policy_avg", update->policy_loss);
    metrics_put(metrics, "loss/value_avg", update->value_loss);
    metrics_put(metrics, "val/clipfrac_avg", update->value_clip_share);
    metrics_put(metrics, "val/ratio", update->ratio);
    metrics_put(metrics, "val/ratio_var", update->ratio_variance);
    metrics_put(metrics, "val/ratio_max", update->ratio_max);
    metrics_put(metrics, "val/ratio_first_deviation", update->first_deviation);
    metrics_put(metrics, "policy/minibatches", (double)update->minibatches);
    metrics_put(metrics, "policy/minibatches_skipped", (double)update->skipped);
    metrics_put(metrics, "policy/stopped_by_target_kl", update->stopped ? 1 : 0);
    metrics_put(metrics, "policy/grad_norm", update->policy_norm);
    if (ppo->part.critic != NULL) {
        metrics_put(metrics, "critic/grad_norm", update->critic_norm);
        metrics_put(metrics, "critic/lr", update->critic_learning_rate);
    }
    if (ppo->config->ppo.kl_loss > 0) {
        metrics_put(metrics, "loss/kl_avg", update->kl_loss);
    }
    if (ppo->config->ppo.ptx_coef > 0) {
        metrics_put(metrics, "loss/ptx_avg", update->ptx_loss);
    }
    metrics_put(metrics, "lr", update->learning_rate);
}

static void put_drift(const Drift *drift, Metrics *metrics) {
    metrics_put(metrics, "val/sampler_drift", drift->sum / (double)drift->tokens);
    metrics_put(metrics, "val/sampler_drift_max", drift->largest);
}

/* The samples are too far from the reference: the run ends. */
static bool too_far(const Ppo *ppo, int64_t iteration, double kl) {
    double most = ppo->config->ppo.stop_kl;
    if (most <= 0 || kl <= most) {
        return false;
    }
    if (ppo->part.log != NULL) {
        log_warn(ppo->part.log,
                 "the samples of iteration %lld are %.2f nats from the reference, more than "
                 "ppo.stop_kl = %g",
                 (long long)iteration + 1, kl, most);
    }
    return true;
}

/* Seconds since *mark, which moves to now. */
static double lap(double *mark) {
    double before = *mark;
    *mark = clock_seconds();
    return *mark - before;
}

bool ppo_step(Ppo *ppo, int64_t iteration, Metrics *metrics, Metrics *timing, bool *finished,
              Error *err) {
    Rollout *rollout = &ppo->rollout;
    Drift drift = {0};
    PpoUpdate update = {0};
    double mark = clock_seconds();
    if (!sample(ppo, iteration, err)) {
        return false;
    }
    ppo->spent[TIME_SAMPLE] = lap(&mark);
    if (!rollout_score(rollout, ppo->part.source, rollout->raw_score, err)) {
        return false;
    }
    ppo->spent[TIME_SCORE] = lap(&mark);
    if (!know(ppo, iteration, &drift, err) ||
        (iteration == 0 && ppo->same_start && !check_first_kl(rollout, err))) {
        return false;
    }
    ppo->spent[TIME_KNOW] = lap(&mark);
    normalize_scores(ppo, iteration);
    advantages(ppo);
    double kl = put_objective(ppo, metrics);
    if (!ppo_dump(ppo, iteration, err) || !ppo_update(ppo, iteration, &update, err)) {
        return false;
    }
    put_drift(drift.tokens > 0 ? &drift : &update.drift, metrics);
    put_update(ppo, &update, metrics);
    if (ppo->config->ppo.kl_target > 0) {
        ppo->beta = ppo_adapt_beta(ppo->beta, kl, ppo->config->ppo.kl_target,
                                   ppo->config->ppo.kl_horizon, rollout->samples);
    }
    *finished = too_far(ppo, iteration, kl) || *finished;
    ppo->spent[TIME_UPDATE] = lap(&mark);
    ppo_put_time(ppo, iteration, timing);
    return true;
}
