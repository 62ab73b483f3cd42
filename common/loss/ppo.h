/* SPDX-License-Identifier: MIT
 *
 * PPO (Schulman et al. 2017) as RLHF uses it (Ziegler et al. 2019; Stiennon et al. 2020): rewards with a
 * KL penalty, generalized advantages, whitening, clipped losses. All arrays are ragged: sequence s of a
 * rollout has rows start[s] .. start[s+1]-1, one per action, EOS included; row t holds what belongs to
 * action t and to the state before it. V after the end is 0, finished or truncated alike.
 */
#ifndef RLHF_LOSS_PPO_H
#define RLHF_LOSS_PPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum KlEstimator { KL_K1, KL_K2, KL_K3 } KlEstimator;

/* Estimate of KL(old || ref) at a sampled action: d = logp_old - logp_ref; k1 = d, k2 = d^2/2,
 * k3 = exp(-d) - 1 + d (Schulman, "Approximating KL divergence", 2020). */
double ppo_kl(KlEstimator estimator, double logp_old, double logp_ref);

/* KL as a loss term at an action taken from pi_old: value of the estimator with the current log-prob and
 * its gradient with respect to that log-prob. k2 is the one whose gradient is right in expectation. */
double ppo_kl_loss(KlEstimator estimator, double logp, double logp_ref, double *gradient);

/* reward[t] = -beta kl[t], plus score[s] at the last action (EOS) of each sequence. */
void ppo_rewards(const float *kl, const double *score, const size_t *start, size_t S, double beta,
                 float *reward);

/* GAE (Schulman et al. 2016, eq. 16): delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lambda
 * A_{t+1}; returns R_t = A_t + V_t with these (un-whitened) advantages and old values. */
void ppo_advantages(const float *reward, const float *value, const size_t *start, size_t S,
                    double gamma, double lambda, float *advantage, float *returns);

/* (x - mean) / sqrt(var + 1e-8), biased variance; keep_mean adds the mean back (reward whitening). */
void ppo_whiten(float *x, size_t n, bool keep_mean);

/* Sums over the rows of a minibatch; divide by `rows` for means. ppo_policy_loss counts the row; entropy
 * and kl_loss are added by the caller. */
typedef struct PpoStats {
    double policy_loss, value_loss, entropy;
    double approx_kl;     /* sum of (logp - old)^2 / 2 */
    double approx_kl_k3;  /* sum of k3 of new relative to old */
    double clipped, value_clipped;   /* counts */
    double ratio, ratio_squared, ratio_max;
    double advantage, kl_loss;
    size_t rows;
} PpoStats;
void ppo_stats_add(PpoStats *to, const PpoStats *from);

/* One row. policy: L = max(-A ratio, -A clip(ratio, 1-e, 1+e)); *dlogp += weight dL/dlogp. Returns
 * weight L; the sums in *stats (may be NULL) are without the weight. */
double ppo_policy_loss(double logp, double old_logp, double advantage, double clip, double weight,
                       float *dlogp, PpoStats *stats);
/* value: L = 1/2 max((V-R)^2, (clip(V, V_old - e, V_old + e) - R)^2); clip <= 0: no clipping. */
double ppo_value_loss(double value, double old_value, double returns, double clip, double weight,
                      float *dvalue, PpoStats *stats);

/* 1 - Var(R - V) / Var(R); 0 when Var(R) = 0. */
double ppo_explained_variance(const float *value, const float *returns, size_t n);

/* Adaptive coefficient (Ziegler et al. 2019, eq. 2): e = clip(kl / target - 1, -0.2, 0.2),
 * beta *= 1 + e n / horizon; kl in nats a sequence, n episodes. */
double ppo_adapt_beta(double beta, double kl, double target, double horizon, size_t episodes);

/* KL(best-of-n || pi) = log n - (n - 1) / n, exact without ties. */
double ppo_best_of_n_kl(size_t n);

/* What the policy is paid: (score - mean) / deviation (0 and 1: as it is), then cut to [-clip, clip]
 * (0: no cut), then for a completion without EOS the rule: replace it by `value` (Ziegler et al. 2019:
 * -1), or subtract `value` from it (TRL: 1). deviation > 0. */
typedef enum MissingEos { MISSING_EOS_IGNORE, MISSING_EOS_REPLACE, MISSING_EOS_SUBTRACT } MissingEos;
double ppo_final_score(double score, double mean, double deviation, double clip, bool finished,
                       MissingEos rule, double value);

#endif
