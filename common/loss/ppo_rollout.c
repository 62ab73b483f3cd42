/* SPDX-License-Identifier: MIT
 *
 * What a rollout becomes before the first update: rewards, advantages, returns, and the coefficient of
 * the KL penalty.
 */
#include <math.h>

#include "common/loss/ppo.h"

static const double WHITEN_EPSILON = 1e-8;

double ppo_kl(KlEstimator estimator, double logp_old, double logp_ref) {
    double d = logp_old - logp_ref;
    switch (estimator) {
    case KL_K1:
        return d;
    case KL_K2:
        return d * d / 2;
    case KL_K3:
        break;
    }
    return expm1(-d) + d;
}

void ppo_rewards(const float *kl, const double *score, const size_t *start, size_t S, double beta,
                 float *reward) {
    for (size_t s = 0; s < S; s++) {
        for (size_t t = start[s]; t < start[s + 1]; t++) {
            double last = t + 1 == start[s + 1] ? score[s] : 0;
            reward[t] = (float)(last - beta * (double)kl[t]);
        }
    }
}

void ppo_advantages(const float *reward, const float *value, const size_t *start, size_t S,
                    double gamma, double lambda, float *advantage, float *returns) {
    for (size_t s = 0; s < S; s++) {
        double next_value = 0, next_advantage = 0;
        for (size_t t = start[s + 1]; t-- > start[s];) {
            double v = (double)value[t];
            double delta = (double)reward[t] + gamma * next_value - v;
            next_advantage = delta + gamma * lambda * next_advantage;
            next_value = v;
            advantage[t] = (float)next_advantage;
            returns[t] = (float)(next_advantage + v);
        }
    }
}

static void moments(const float *x, size_t n, double *mean, double *variance) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - *mean;
        squares += d * d;
    }
    *variance = squares / (double)n;
}

void ppo_whiten(float *x, size_t n, bool keep_mean) {
    if (n == 0) {
        return;
    }
    double mean, variance;
    moments(x, n, &mean, &variance);
    double scale = 1 / sqrt(variance + WHITEN_EPSILON);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(((double)x[i] - mean) * scale + (keep_mean ? mean : 0));
    }
}

double ppo_explained_variance(const float *value, const float *returns, size_t n) {
    if (n == 0) {
        return 0;
    }
    double mean, variance, error_mean = 0, error_squares = 0;
    moments(returns, n, &mean, &variance);
    if (variance == 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        error_mean += (double)returns[i] - (double)value[i];
    }
    error_mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)returns[i] - (double)value[i] - error_mean;
        error_squares += d * d;
    }
    return 1 - error_squares / (double)n / variance;
}

double ppo_adapt_beta(double beta, double kl, double target, double horizon, size_t episodes) {
    double error = fmin(fmax(kl / target - 1, -0.2), 0.2);
    return beta * (1 + error * (double)episodes / horizon);
}

double ppo_best_of_n_kl(size_t n) {
    return log((double)n) - ((double)n - 1) / (double)n;
}

double ppo_final_score(double score, double mean, double deviation, double clip, bool finished,
                       MissingEos rule, double value) {
    double result = (score - mean) / deviation;
    if (clip > 0) {
        result = fmin(fmax(result, -clip), clip);
    }
    if (!finished && rule == MISSING_EOS_REPLACE) {
        return value;
    }
    return !finished && rule == MISSING_EOS_SUBTRACT ? result - value : result;
}
