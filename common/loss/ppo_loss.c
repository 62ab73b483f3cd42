/* SPDX-License-Identifier: MIT
 *
 * The losses of an update, one row at a time.
 */
#include <math.h>

#include "common/loss/ppo.h"

double ppo_kl_loss(KlEstimator estimator, double logp, double logp_ref, double *gradient) {
    double d = logp - logp_ref;
    switch (estimator) {
    case KL_K1:
        *gradient = 1;
        break;
    case KL_K2:
        *gradient = d;
        break;
    case KL_K3:
        *gradient = -expm1(-d);
        break;
    }
    return ppo_kl(estimator, logp, logp_ref);
}

double ppo_policy_loss(double logp, double old_logp, double advantage, double clip, double weight,
                       float *dlogp, PpoStats *stats) {
    double log_ratio = logp - old_logp;
    double ratio = exp(log_ratio);
    double free = -advantage * ratio;
    double bound = -advantage * fmin(fmax(ratio, 1 - clip), 1 + clip);
    bool clipped = bound > free;
    double loss = clipped ? bound : free;
    if (!clipped) {
        *dlogp += (float)(weight * free);
    }
    if (stats != NULL) {
        stats->policy_loss += loss;
        stats->approx_kl += log_ratio * log_ratio / 2;
        stats->approx_kl_k3 += expm1(log_ratio) - log_ratio;
        stats->clipped += clipped;
        stats->ratio += ratio;
        stats->ratio_squared += ratio * ratio;
        stats->ratio_max = fmax(stats->ratio_max, ratio);
        stats->advantage += advantage;
        stats->rows++;
    }
    return weight * loss;
}

double ppo_value_loss(double value, double old_value, double returns, double clip, double weight,
                      float *dvalue, PpoStats *stats) {
    double error = value - returns;
    double free = error * error / 2, loss = free;
    bool clipped = false;
    if (clip > 0) {
        double bounded = fmin(fmax(value, old_value - clip), old_value + clip) - returns;
        double bound = bounded * bounded / 2;
        clipped = bound > free;
        loss = clipped ? bound : free;
    }
    if (!clipped) {
        *dvalue += (float)(weight * error);
    }
    if (stats != NULL) {
        stats->value_loss += loss;
        stats->value_clipped += clipped;
    }
    return weight * loss;
}

void ppo_stats_add(PpoStats *to, const PpoStats *from) {
    to->policy_loss += from->policy_loss;
    to->value_loss += from->value_loss;
    to->entropy += from->entropy;
    to->approx_kl += from->approx_kl;
    to->approx_kl_k3 += from->approx_kl_k3;
    to->clipped += from->clipped;
    to->value_clipped += from->value_clipped;
    to->ratio += from->ratio;
    to->ratio_squared += from->ratio_squared;
    to->ratio_max = fmax(to->ratio_max, from->ratio_max);
    to->advantage += from->advantage;
    to->kl_loss += from->kl_loss;
    to->rows += from->rows;
}
