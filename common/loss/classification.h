/* SPDX-License-Identifier: MIT
 *
 * Cross-entropy over n classes and squared error, for classifiers and regressors on labeled text.
 */
#ifndef RLHF_LOSS_CLASSIFICATION_H
#define RLHF_LOSS_CLASSIFICATION_H

#include <stddef.h>

/* -weight log softmax(logit)[label], with label smoothing e spread over all n classes as torch does:
 * (1-e) at the label plus e/n everywhere. dlogit[n] += gradient. */
double classification_loss(const float *logit, size_t n, size_t label, double smoothing, double weight,
                           float *dlogit);
/* weight (value - target)^2; *dvalue += gradient. */
double regression_loss(float value, double target, double weight, float *dvalue);

#endif
