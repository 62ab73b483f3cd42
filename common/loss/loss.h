/* SPDX-License-Identifier: MIT
 *
 * Objectives: pure functions on small arrays, one paper each. No vocabulary, no model, no allocation.
 *
 * Every function gives its loss and adds (+=) the gradient with respect to its inputs. `weight` scales
 * both, so that the caller divides once by the trained tokens (or prompts) of the whole optimizer step.
 * Sums are in double. Formulas and sources stand at each declaration in the headers below.
 */
#ifndef RLHF_LOSS_LOSS_H
#define RLHF_LOSS_LOSS_H

#include <math.h>
#include <stddef.h>

/* softplus(x) = log(1 + e^x) and the logistic function, stable at |x| = 1e4 and beyond. */
static inline double loss_softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static inline double loss_sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

#endif
