/* SPDX-License-Identifier: MIT */
#include "common/loss/classification.h"

#include <math.h>

double classification_loss(const float *logit, size_t n, size_t label, double smoothing,
                           double weight, float *dlogit) {
    double top = (double)logit[0];
    for (size_t j = 1; j < n; j++) {
        top = fmax(top, (double)logit[j]);
    }
    double total = 0;
    for (size_t j = 0; j < n; j++) {
        total += exp((double)logit[j] - top);
    }
    double normalizer = top + log(total), loss = 0;
    for (size_t j = 0; j < n; j++) {
        double target = smoothing / (double)n + (j == label ? 1 - smoothing : 0);
        double log_p = (double)logit[j] - normalizer;
        if (target > 0) {
            loss -= target * log_p;
        }
        dlogit[j] += (float)(weight * (exp(log_p) - target));
    }
    return weight * loss;
}

double regression_loss(float value, double target, double weight, float *dvalue) {
    double error = (double)value - target;
    *dvalue += (float)(2 * weight * error);
    return weight * error * error;
}
