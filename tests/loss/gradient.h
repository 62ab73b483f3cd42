/* SPDX-License-Identifier: MIT
 *
 * Central differences of a function of floats. The step is a power of two and the points are small, so
 * that x + h and x - h are exact floats and the quotient is computed in double without rounding of x.
 */
#ifndef RLHF_TESTS_LOSS_GRADIENT_H
#define RLHF_TESTS_LOSS_GRADIENT_H

#include <string.h>

#include "tests/support/support.h"

typedef double LossOf(const void *context, const float *x, float *gradient);

enum { GRADIENT_MOST = 16 };

/* The gradient of f at x agrees with differences to 1e-6, and f adds to what is in the array. */
static inline void check_gradient(const char *name, LossOf *f, const void *context, const float *x,
                                  size_t n) {
    const float h = 1.0f / 1024;
    float gradient[GRADIENT_MOST], twice[GRADIENT_MOST], want[GRADIENT_MOST];
    float waste[GRADIENT_MOST] = {0}, point[GRADIENT_MOST];
    assert_true(n <= GRADIENT_MOST);
    memset(gradient, 0, sizeof gradient);
    f(context, x, gradient);
    for (size_t i = 0; i < n; i++) {
        memcpy(point, x, n * sizeof *x);
        double value[4];
        const float at[4] = {x[i] - 2 * h, x[i] - h, x[i] + h, x[i] + 2 * h};
        for (size_t k = 0; k < 4; k++) {
            point[i] = at[k];
            value[k] = f(context, point, waste);
        }
        /* fourth order: (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h */
        want[i] = (float)((value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * (double)h));
        twice[i] = gradient[i];
    }
    assert_close(name, gradient, want, n, 1e-6, 1e-7);
    f(context, x, twice);
    for (size_t i = 0; i < n; i++) {
        want[i] = 2 * gradient[i];
    }
    assert_close(name, twice, want, n, 1e-6, 1e-7);
}

#endif
