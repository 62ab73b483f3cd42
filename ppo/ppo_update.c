/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "ppo/ppo.h"

/* How far a ratio of an iteration's first minibatch may be from 1 where the training path gave both
 * log-probs. */
static const double ratio_limit = 1e-5;

/* What the row functions need. */
typedef struct RowContext {
    const PpoConfig *config;
    const Rollout *rollout;
    const size_t *action; /* of the micro-batch's rows */
    double weight;        /* 1 / tokens of the minibatch */
    double bias;          /* of the critic */
    PpoStats policy, value;
    double deviation; /* largest |ratio - 1| */
    Drift drift;      /* of the log-probs at hand to the old ones */
} RowContext;

static void value_row(RowContext *context, size_t a, float score, float *gradient) {
    const Rollout *rollout = context->rollout;
    ppo_value_loss(score + context->bias, rollout->value[a], rollout->returns[a],
                   context->config->ppo.value_clip,
                   context->weight * context->config->ppo.value_coef, gradient, &context->value);
}

static void policy_rows(void *pointer, size_t n, const size_t *row, const PerToken *value,
                        PerToken *gradient) {
    RowContext *context = pointer;
    const PpoConfig *config = context->config;
    const Rollout *rollout = context->rollout;
    for (size_t i = 0; i < n; i++) {
        size_t a = context->action[row[i]];
        gradient->logprob[i] = 0;
        gradient->entropy[i] = 0;
        if (gradient->score != NULL) {
            gradient->score[i] = 0;
        }
        if (a == PACK_NO_ACTION) {
            continue;
        }
        double logp = value->logprob[i], old = rollout->old[a];
        double deviation = fabs(expm1(logp - old));
        if (!(deviation <= context->deviation)) {
            context->deviation = deviation;
        }
        ppo_drift_add(&context->drift, old, logp);
        ppo_policy_loss(logp, old, rollout->advantage[a], config->ppo.clip, context->weight,
                        &gradient->logprob[i], &context->policy);
        if (config->ppo.kl_loss > 0) {
            double slope;
            context->policy.kl_loss += ppo_kl_loss((KlEstimator)config->ppo.kl_loss_estimator, logp,
                                                   rollout->reference[a], &slope);
            gradient->logprob[i] += (float)(context->weight * config->ppo.kl_loss * slope);
        }
        context->policy.entropy += value->entropy[i];
        gradient->entropy[i] = (float)(-context->weight * config->ppo.entropy_coef);
        if (gradient->score != NULL) {
            value_row(context, a, value->score[i], &gradient->score[i]);
        }
    }
}

static void critic_rows(void *pointer, size_t n, const size_t *row, const PerToken *value,
                        PerToken *gradient) {
    RowContext *context = pointer;
    for (size_t i = 0; i < n; i++) {
        size_t a = context->action[row[i]];
        gradient->score[i] = 0;
        if (a != PACK_NO_ACTION) {
            value_row(context, a, value->score[i], &gradient->score[i]);
        }
    }
}

/* A step leaves the gradients zero; a minibatch that takes none must. */
static void drop_gradients(Ppo *ppo) {
    gradients_zero(&ppo->policy_gradients);
    if (ppo->part.critic != NULL) {
        gradients_zero(&ppo->critic_gradients);
    }
}

/* Gradients of one minibatch: completions order[first .. last). */
static bool minibatch(Ppo *ppo, const size_t *order, size_t first, size_t last, bool policy,
                      RowContext *context, Error *err) {
    const Rollout *rollout = &ppo->rollout;
    Model *critic = ppo->part.critic;
    size_t tokens = 0;
    for (size_t i = first; i < last; i++) {
        tokens += rollout->start[order[i] + 1] - rollout->start[order[i]];
    }
    *context = (RowContext){
        .config = ppo->config,
        .rollout = rollout,
        .action = ppo->pack.action,
        .weight = 1 / (double)tokens,
        .bias = critic == NULL ? 0 : critic->config.reward_bias,
    };
    unsigned want = WANT_LOGPROB | WANT_ENTROPY | (critic == NULL ? WANT_SCORE : 0u);
    PerToken none = {0};
    for (size_t next = first; next < last;) {
        if (!pack_fill(&ppo->pack, rollout, order, last, &next, err)) {
            return false;
        }
        if (policy) {
            model_train(ppo->part.policy, &ppo->policy_gradients, ppo->policy_space,
                        &ppo->pack.batch, want, policy_rows, context, &none);
        }
        if (critic != NULL) {
            model_train(critic, &ppo->critic_gradients, ppo->critic_space, &ppo->pack.batch,
                        WANT_SCORE, critic_rows, context, &none);
        }
    }
    return true;
}

static bool check_finite(double value, const char *what, int64_t iteration, const Rollout *rollout,
                         Error *err) {
    if (isfinite(value)) {
        return true;
    }
    return error_set(err, ERROR_DIVERGED,
                     "%s is %g in iteration %lld (mean score %g, first prompt key %016llx); lower "
                     "train.learning_rate, or clip scores with ppo.score_clip",
                     what, value, (long long)iteration + 1, rollout->score[0],
                     (unsigned long long)rollout->prompt[0]->key);
}

static double rate(const Ppo *ppo, double peak, int64_t iteration) {
    Settings settings = ppo->config->settings;
    settings.train.learning_rate = peak;
    return stage_learning_rate(&settings, iteration, ppo->iterations);
}

static void add_means(PpoUpdate *update, const RowContext *context) {
    const PpoStats *policy = &context->policy, *value = &context->value;
    double weight = context->weight;
    double ratio = policy->ratio * weight;
    update->policy_loss += policy->policy_loss * weight;
    update->value_loss += value->value_loss * weight;
    update->entropy += policy->entropy * weight;
    update->approx_kl += policy->approx_kl * weight;
    update->approx_kl_k3 += policy->approx_kl_k3 * weight;
    update->clip_share += policy->clipped * weight;
    update->value_clip_share += value->value_clipped * weight;
    update->ratio += ratio;
    update->ratio_variance += fmax(policy->ratio_squared * weight - ratio * ratio, 0);
    update->ratio_max = fmax(update->ratio_max, policy->ratio_max);
    update->kl_loss += policy->kl_loss * weight;
}

static void divide_means(PpoUpdate *update, size_t seen) {
    double *mean[] = {
        &update->policy_loss,    &update->value_loss, &update->entropy,  &update->approx_kl,
        &update->approx_kl_k3,   &update->clip_share, &update->ratio,    &update->value_clip_share,
        &update->ratio_variance, &update->kl_loss,    &update->ptx_loss,
    };
    for (size_t i = 0; i < sizeof mean / sizeof mean[0]; i++) {
        *mean[i] /= (double)seen;
    }
}

static bool step_policy(Ppo *ppo, int64_t iteration, PpoUpdate *update, Error *err) {
    update->policy_norm = optimizer_norm(&ppo->policy_gradients);
    if (!check_finite(update->policy_norm, "the norm of the policy's gradient", iteration,
                      &ppo->rollout, err)) {
        return false;
    }
    optimizer_step(&ppo->policy_optimizer, ppo->part.policy, &ppo->policy_gradients,
                   update->policy_norm, update->learning_rate);
    if (ppo->ema.data != NULL) {
        ema_update(&ppo->ema, ppo->part.policy, ppo->config->settings.train.ema);
    }
    return true;
}

static bool step_critic(Ppo *ppo, int64_t iteration, PpoUpdate *update, Error *err) {
    update->critic_norm = optimizer_norm(&ppo->critic_gradients);
    if (!check_finite(update->critic_norm, "the norm of the critic's gradient", iteration,
                      &ppo->rollout, err)) {
        return false;
    }
    optimizer_step(&ppo->critic_optimizer, ppo->part.critic, &ppo->critic_gradients,
                   update->critic_norm, update->critic_learning_rate);
    return true;
}

/* Records of the pre-training mix that belong to a minibatch: a function of its place in the
 * run. */
static bool mix_ptx(Ppo *ppo, int64_t iteration, int64_t epoch, size_t k, size_t first, size_t last,
                    PpoUpdate *update, Error *err) {
    const PpoConfig *config = ppo->config;
    uint64_t pass = (uint64_t)iteration * (uint64_t)config->ppo.epochs + (uint64_t)epoch;
    uint64_t fixed = (uint64_t)config->ppo.ptx_batch;
    uint64_t from = fixed > 0 ? (pass * (uint64_t)config->ppo.minibatches + k) * fixed
                              : pass * ppo->rollout.samples + first;
    double loss = 0;
    if (!ppo_ptx(ppo, from, fixed > 0 ? fixed : last - first, &loss, err)) {
        return false;
    }
    update->ptx_loss += loss;
    return true;
}

/* The first minibatch sees the weights that sampled: its log-probs are the old ones, exactly where
 * the training path gave them, within the drift's limit where the sampler did. */
static bool check_first(const Ppo *ppo, int64_t iteration, const RowContext *context,
                        PpoUpdate *update, Error *err) {
    update->first_deviation = context->deviation;
    if (!ppo_recomputes(ppo, iteration)) {
        update->drift = context->drift;
        return ppo_drift_check(ppo->config, &update->drift, err);
    }
    return context->deviation <= ratio_limit ||
           error_set(err, ERROR_INTERNAL,
                     "a ratio of iteration %lld's first minibatch is %.3g away from 1, expected at "
                     "most %g; please report this with the model's config.json",
                     (long long)iteration + 1, context->deviation, ratio_limit);
}

bool ppo_update(Ppo *ppo, int64_t iteration, PpoUpdate *update, Error *err) {
    const PpoConfig *config = ppo->config;
    bool policy = ppo_trains_policy(ppo, iteration);
    double peak = config->settings.train.learning_rate, own = config->ppo.critic_learning_rate;
    update->learning_rate = rate(ppo, peak, iteration);
    update->critic_learning_rate = rate(ppo, own > 0 ? own : peak, iteration);
    size_t seen = 0;
    for (int64_t epoch = 0; epoch < config->ppo.epochs && !update->stopped; epoch++) {
        ppo_order(ppo, iteration, epoch, ppo->order);
        size_t first = 0;
        for (size_t k = 0; k < (size_t)config->ppo.minibatches; k++) {
            size_t last = ppo_minibatch_end(ppo, k);
            RowContext context;
            if (!minibatch(ppo, ppo->order, first, last, policy, &context, err)) {
                return false;
            }
            if (seen == 0 && !check_first(ppo, iteration, &context, update, err)) {
                return false;
            }
            seen++;
            add_means(update, &context);
            if (!check_finite(context.policy.policy_loss + context.value.value_loss, "the loss",
                              iteration, &ppo->rollout, err)) {
                return false;
            }
            if (config->ppo.target_kl > 0 &&
                context.policy.approx_kl * context.weight > 1.5 * config->ppo.target_kl) {
                drop_gradients(ppo);
                update->stopped = true;
                break;
            }
            if (config->ppo.ratio_threshold > 0 &&
                context.policy.ratio * context.weight > config->ppo.ratio_threshold) {
                drop_gradients(ppo);
                update->skipped++;
                first = last;
                continue;
            }
            if (policy && config->ppo.ptx_coef > 0 &&
                !mix_ptx(ppo, iteration, epoch, k, first, last, update, err)) {
                return false;
            }
            if ((policy && !step_policy(ppo, iteration, update, err)) ||
                (ppo->part.critic != NULL && !step_critic(ppo, iteration, update, err))) {
                return false;
            }
            update->minibatches++;
            first = last;
        }
    }
    divide_means(update, seen);
    return true;
}
