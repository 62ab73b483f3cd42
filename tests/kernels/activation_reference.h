/* SPDX-License-Identifier: MIT
 *
 * Activations in double.
 */
#ifndef RLHF_TESTS_ACTIVATION_REFERENCE_H
#define RLHF_TESTS_ACTIVATION_REFERENCE_H

#include <math.h>

#include "common/kernels/activation.h"

static inline double activation_reference(ActivationKind kind, double v) {
    switch (kind) {
    case ACTIVATION_GELU_NEW:
        return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case ACTIVATION_GELU:
        return 0.5 * v * erfc(-v / M_SQRT2);
    case ACTIVATION_SILU:
        return v / (1 + exp(-v));
    case ACTIVATION_RELU:
        return v > 0 ? v : 0;
    case ACTIVATION_TANH:
        return tanh(v);
    }
    return NAN;
}

/* Its slope, from differences. */
static inline double slope_reference(ActivationKind kind, double v) {
    const double step = 1e-5;
    return (activation_reference(kind, v + step) - activation_reference(kind, v - step)) /
           (2 * step);
}

#endif
