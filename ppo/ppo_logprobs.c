/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ppo/ppo.h"

/* Hard limits of the distance between the sampler's and the trainer's log-probs. */
static const double drift_limit[] = {[GEMM_FP32] = 1e-3, [GEMM_BF16] = 5e-2};

bool ppo_trains_policy(const Ppo *ppo, int64_t iteration) {
    return ppo->part.critic == NULL || iteration >= ppo->config->ppo.critic_warmup;
}

bool ppo_recomputes(const Ppo *ppo, int64_t iteration) {
    return ppo->config->ppo.old_logprobs == OLD_RECOMPUTE || iteration == 0 ||
           !ppo_trains_policy(ppo, iteration);
}

void ppo_drift_add(Drift *drift, double sampled, double trained) {
    double distance = fabs(sampled - trained);
    drift->tokens++;
    drift->sum += distance;
    if (!(distance <= drift->largest) && !isnan(drift->largest)) {
        drift->largest = distance;
        drift->sampled = sampled;
        drift->trained = trained;
    }
}

bool ppo_drift_check(const PpoConfig *config, const Drift *drift, Error *err) {
    double limit = drift_limit[config->settings.compute.dtype];
    if (drift->largest <= limit) {
        return true;
    }
    return error_set(err, ERROR_INTERNAL,
                     "the sampler gave a token the log-probability %.9g and the training path "
                     "%.9g, %.3g nats apart, expected at most %g; please report this with the "
                     "model's config.json",
                     drift->sampled, drift->trained, drift->largest, limit);
}

/* The rollout's entries of the pack's rows, plus a bias. */
static void hand_out(const Pack *pack, const float *row, float bias, float *entry) {
    for (size_t r = 0; r < pack->batch.tokens; r++) {
        if (pack->action[r] != PACK_NO_ACTION) {
            entry[pack->action[r]] = row[r] + bias;
        }
    }
}

bool ppo_logprobs(Ppo *ppo, Rollout *rollout, const Model *policy, bool old, bool values,
                  Error *err) {
    const PpoParts *part = &ppo->part;
    Pack *pack = &ppo->pack;
    bool shared = values && part->critic == NULL;
    for (size_t next = 0; next < rollout->samples;) {
        if (!pack_fill(pack, rollout, NULL, rollout->samples, &next, err)) {
            return false;
        }
        PerToken own = {.logprob = old ? ppo->row_logprob : NULL,
                        .score = shared ? ppo->row_score : NULL};
        if (old || shared) {
            model_forward(policy, ppo->policy_space, &pack->batch, &own);
        }
        if (old) {
            hand_out(pack, ppo->row_logprob, 0, rollout->old);
        }
        PerToken reference = {.logprob = ppo->row_logprob};
        model_forward(part->reference,
                      ppo->reference_space != NULL ? ppo->reference_space : ppo->policy_space,
                      &pack->batch, &reference);
        hand_out(pack, ppo->row_logprob, 0, rollout->reference);
        if (values && !shared) {
            PerToken critic = {.score = ppo->row_score};
            model_forward(part->critic, ppo->critic_space, &pack->batch, &critic);
        }
        if (values) {
            hand_out(pack, ppo->row_score, shared ? 0 : part->critic->config.reward_bias,
                     rollout->value);
        }
    }
    return true;
}
