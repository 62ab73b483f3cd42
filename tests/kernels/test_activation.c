/* SPDX-License-Identifier: MIT
 *
 * Activations and gated units, of every compilation, against formulas in double and differences of these.
 */
#include <float.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/rows.h"
#include "tests/kernels/activation_reference.h"
#include "tests/support/support.h"

enum { LONGEST = 1031 };
static const size_t lengths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1031};
static float x[LONGEST], y[LONGEST], b[LONGEST], got[LONGEST], more[LONGEST], third[LONGEST];
static const char *const names[] = {"gelu_new", "gelu", "silu", "relu", "tanh"};

static void fill(float *to, size_t n, uint64_t stream, double deviation) {
    Random random = random_stream(8, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, n, deviation);
}

static void check_rows(const RowKernels *row, ActivationKind kind, size_t n) {
    const char *name = names[kind];
    memcpy(got, x, sizeof got);
    row->bias_activation(kind, got, more, b, n);
    row->activation(kind, third, x, b, n);
    assert_memory_equal(more, third, n * sizeof *more);
    for (size_t i = 0; i < n; i++) {
        assert_true(got[i] == x[i] + b[i]);
        assert_close_double(name, more[i], activation_reference(kind, got[i]), 2e-7, 2e-7);
    }
    memcpy(got, x, sizeof got);
    row->bias_activation(kind, got, more, NULL, n);
    assert_memory_equal(got, x, n * sizeof *got);
    row->activation(kind, got, got, NULL, n);
    assert_memory_equal(got, more, n * sizeof *more);
    memcpy(got, y, sizeof got);
    memcpy(third, x, sizeof third);
    row->activation_both(kind, got, third, third, n);
    assert_memory_equal(third, more, n * sizeof *more);
    for (size_t i = 0; i < n; i++) {
        double slope = x[i] == 0 && kind == ACTIVATION_RELU ? 0 : slope_reference(kind, x[i]);
        assert_close_double(name, got[i], y[i] * slope, 1e-6, 1e-6);
    }
    memcpy(third, y, sizeof third);
    row->activation_both(kind, third, NULL, x, n);
    assert_memory_equal(third, got, n * sizeof *got);
}

static void test_rows(void **state) {
    (void)state;
    fill(x, LONGEST, 1, 3);
    fill(y, LONGEST, 2, 1);
    fill(b, LONGEST, 3, 1);
    x[0] = 0;
    for (size_t k = 0; row_kernels_at(k) != NULL; k++) {
        for (ActivationKind kind = 0; kind <= ACTIVATION_TANH; kind++) {
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                check_rows(row_kernels_at(k), kind, lengths[l]);
            }
        }
    }
}

/* On a fine grid: the error of what x is multiplied with, and of the slope. */
static void test_accuracy(void **state) {
    (void)state;
    enum { N = 96 };
    for (size_t k = 0; row_kernels_at(k) != NULL; k++) {
        for (ActivationKind kind = 0; kind <= ACTIVATION_TANH; kind++) {
            for (int block = -150; block < 150; block++) {
                float at[N], value[N], slope[N];
                for (int i = 0; i < N; i++) {
                    at[i] = ((float)block + (float)i / N) * 0.1f;
                    slope[i] = 1;
                }
                row_kernels_at(k)->activation(kind, value, at, NULL, N);
                row_kernels_at(k)->activation_both(kind, slope, NULL, at, N);
                for (int i = 0; i < N; i++) {
                    if (kind == ACTIVATION_RELU && fabsf(at[i]) < 1e-4f) {
                        continue;
                    }
                    double want = activation_reference(kind, at[i]);
                    double size = kind == ACTIVATION_TANH ? 1 : fmax(1e-3, fabs((double)at[i]));
                    double slack = kind == ACTIVATION_GELU_NEW ? 2.5e-6 : 2.5e-7;
                    assert_close_double(names[kind], value[i] / size, want / size, 0, 1.5e-7);
                    assert_close_double(names[kind], slope[i], slope_reference(kind, at[i]), 0,
                                        slack);
                }
            }
        }
    }
}

/* tanh near 0 and GELU's left tail keep their digits. */
static void test_small_values(void **state) {
    (void)state;
    for (size_t k = 0; row_kernels_at(k) != NULL; k++) {
        float at[] = {1e-20f, -1e-6f, 0.01f, 0.3f, -0.624f, 0.626f}, value[6];
        row_kernels_at(k)->activation(ACTIVATION_TANH, value, at, NULL, 6);
        for (int i = 0; i < 6; i++) {
            assert_close_double("tanh", value[i], tanh((double)at[i]), 2.5e-7, 0);
        }
        float left[] = {-1, -2, -3.5f, -5, -8, -12};
        row_kernels_at(k)->activation(ACTIVATION_GELU, value, left, NULL, 6);
        for (int i = 0; i < 6; i++) {
            double want = activation_reference(ACTIVATION_GELU, left[i]);
            assert_close_double("tail", value[i], want, 1e-5, 0);
        }
    }
}

/* Far out: 0 and the identity, no NaN; a NaN stays one. */
static void test_extremes(void **state) {
    (void)state;
    const float at[] = {-1e10f, 1e10f, -FLT_MAX, FLT_MAX, -100, 100, NAN};
    for (size_t k = 0; row_kernels_at(k) != NULL; k++) {
        for (ActivationKind kind = 0; kind <= ACTIVATION_TANH; kind++) {
            float value[7], slope[7] = {1, 1, 1, 1, 1, 1, 1};
            row_kernels_at(k)->activation(kind, value, at, NULL, 7);
            row_kernels_at(k)->activation_both(kind, slope, NULL, at, 6);
            for (int i = 0; i < 6; i++) {
                bool flat = kind == ACTIVATION_TANH;
                float side = at[i] < 0 ? 0 : at[i], bound = flat ? (at[i] < 0 ? -1 : 1) : side;
                if (i != 2 && i != 3) { /* FLT_MAX times the smallest gate is not small */
                    assert_true(fabsf(value[i] - bound) < 1e-10f);
                }
                assert_true(isfinite(value[i]));
                if (fabsf(at[i]) < 1000) {
                    assert_close_double("slope", slope[i], flat || at[i] < 0 ? 0 : 1, 0, 1e-10);
                }
            }
            assert_true(isnan(value[6]));
        }
    }
}

enum { ROWS = 37, INNER = 129 };
static float up[ROWS * 2 * INNER], dy[ROWS * INNER], gated[ROWS * INNER];
static float changed[ROWS * 2 * INNER], again[ROWS * INNER], before[ROWS * 2 * INNER];

static void check_gated(const RowKernels *row, ActivationKind kind, size_t n) {
    float g[INNER], u[INNER], d[INNER], value[INNER];
    memcpy(g, up, sizeof g);
    memcpy(u, up + INNER, sizeof u);
    memcpy(d, dy, sizeof d);
    row->gated(kind, value, g, u, n);
    row->gated_backward(kind, g, u, d, n);
    for (size_t i = 0; i < n; i++) {
        double gate = up[i], other = up[INNER + i], slope = slope_reference(kind, gate);
        double f = activation_reference(kind, gate);
        assert_close_double("gated", value[i], f * other, 1e-6, 1e-6);
        assert_true(d[i] == value[i]);
        assert_close_double("d gate", g[i], dy[i] * other * slope, 1e-6, 1e-6);
        assert_close_double("d up", u[i], dy[i] * f, 1e-6, 1e-6);
    }
}

static void test_gated(void **state) {
    (void)state;
    fill(up, ROWS * 2 * INNER, 4, 2);
    fill(dy, ROWS * INNER, 5, 1);
    for (ActivationKind kind = 0; kind <= ACTIVATION_TANH; kind++) {
        for (size_t k = 0; row_kernels_at(k) != NULL; k++) {
            check_gated(row_kernels_at(k), kind, INNER);
            check_gated(row_kernels_at(k), kind, 5);
        }
        for (int threads = 1; threads <= 3; threads++) {
            parallel_init(threads);
            gated_forward(kind, gated, up, ROWS, INNER);
            memcpy(changed, up, sizeof up);
            memcpy(again, dy, sizeof dy);
            gated_backward(kind, changed, again, ROWS, INNER);
            assert_memory_equal(again, gated, sizeof gated);
            for (size_t t = 0; t < ROWS; t++) { /* whose gate is whose */
                double g = up[t * 2 * INNER + 7], u = up[t * 2 * INNER + INNER + 7];
                assert_close_double("row", gated[t * INNER + 7], activation_reference(kind, g) * u,
                                    1e-6, 1e-6);
            }
            if (threads > 1) {
                assert_memory_equal(changed, before, sizeof before);
            }
            memcpy(before, changed, sizeof before);
        }
    }
}

static void test_plain(void **state) {
    (void)state;
    for (ActivationKind kind = 0; kind <= ACTIVATION_TANH; kind++) {
        for (int threads = 1; threads <= 3; threads++) {
            parallel_init(threads);
            activation_forward(kind, gated, up, ROWS * INNER);
            memcpy(again, dy, sizeof dy);
            activation_backward(kind, again, up, ROWS * INNER);
            for (size_t i = 0; i < ROWS * INNER; i++) {
                assert_close_double("value", gated[i], activation_reference(kind, up[i]), 3e-7,
                                    3e-7);
                assert_close_double("slope", again[i], dy[i] * slope_reference(kind, up[i]), 1e-6,
                                    1e-6);
            }
            memcpy(changed, up, ROWS * INNER * sizeof *up);
            activation_forward(kind, changed, changed, ROWS * INNER); /* in place */
            assert_memory_equal(changed, gated, sizeof gated);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_small_values),
        cmocka_unit_test(test_gated),    cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
