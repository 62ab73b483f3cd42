/* SPDX-License-Identifier: MIT
 *
 * Ends of products: values against plain formulas in double, and the same bits however C is cut.
 */
#include <math.h>
#include <string.h>

#include "common/base/random.h"
#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "tests/kernels/activation_reference.h"
#include "tests/support/support.h"

enum { ROWS = 11, WIDTH = 83, LD = 90 };
static float start[ROWS * LD], bias[WIDTH], other[ROWS * WIDTH];
static float whole[ROWS * LD], cut[ROWS * LD], second[ROWS * WIDTH], second_cut[ROWS * WIDTH];

static ActivationKind kind;

/* One element: what C becomes, and what the second output gets. */
typedef void Formula(double c, double b, double x, double *to, double *second);

static void bias_formula(double c, double b, double x, double *to, double *y) {
    (void)x;
    *to = c + b;
    *y = NAN;
}

static void residual_formula(double c, double b, double x, double *to, double *y) {
    *to = c + b + x;
    *y = NAN;
}

static void activation_formula(double c, double b, double x, double *to, double *y) {
    (void)x;
    *to = c + b;
    *y = activation_reference(kind, c + b);
}

static void only_formula(double c, double b, double x, double *to, double *y) {
    (void)x;
    *to = activation_reference(kind, c + b);
    *y = NAN;
}

static void both_formula(double c, double b, double x, double *to, double *y) {
    (void)b;
    *to = c * slope_reference(kind, x);
    *y = activation_reference(kind, x);
}

static void check_finish(GemmFinish *finish, Formula *formula, bool has_bias) {
    MatrixFinish f = {.bias = has_bias ? bias : NULL,
                      .residual = other,
                      .x = other,
                      .y = second,
                      .width = WIDTH,
                      .activation = kind};
    memcpy(whole, start, sizeof whole);
    memset(second, 0, sizeof second);
    finish(&f, 0, ROWS, 0, WIDTH, whole, LD);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < LD; j++) {
            double c = start[i * LD + j], to, y;
            if (j >= WIDTH) {
                assert_true(whole[i * LD + j] == start[i * LD + j]);
                continue;
            }
            size_t at = i * WIDTH + j;
            formula(c, has_bias ? (double)bias[j] : 0, other[at], &to, &y);
            assert_close_double("C", whole[i * LD + j], to, 2e-6, 1e-6);
            assert_close_double("second", second[at], isnan(y) ? 0 : y, 1e-6, 1e-6);
        }
    }
    memcpy(cut, start, sizeof cut);
    memset(second_cut, 0, sizeof second_cut);
    f.y = second_cut;
    static const size_t columns[] = {0, 1, 17, 48, 50, 83}, rows[] = {0, 4, 5, 11};
    for (size_t i = 0; i + 1 < sizeof rows / sizeof *rows; i++) {
        for (size_t j = 0; j + 1 < sizeof columns / sizeof *columns; j++) {
            finish(&f, rows[i], rows[i + 1] - rows[i], columns[j], columns[j + 1] - columns[j],
                   cut + rows[i] * LD + columns[j], LD);
        }
    }
    assert_memory_equal(cut, whole, sizeof cut);
    assert_memory_equal(second_cut, second, sizeof second);
}

static void fill(float *to, size_t n, uint64_t stream) {
    Random random = random_stream(12, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, n, 2);
}

static void test_finishes(void **state) {
    (void)state;
    fill(start, ROWS * LD, 1);
    fill(bias, WIDTH, 2);
    fill(other, ROWS * WIDTH, 3);
    for (int has_bias = 0; has_bias < 2; has_bias++) {
        check_finish(finish_bias, bias_formula, has_bias);
        check_finish(finish_bias_residual, residual_formula, has_bias);
        for (kind = 0; kind <= ACTIVATION_TANH; kind++) {
            check_finish(finish_bias_activation, activation_formula, has_bias);
            check_finish(finish_bias_activation_only, only_formula, has_bias);
            check_finish(finish_activation_both, both_formula, has_bias);
        }
    }
}

/* The activation may take the place of what it was applied to. */
static void test_in_place(void **state) {
    (void)state;
    for (kind = 0; kind <= ACTIVATION_TANH; kind++) {
        MatrixFinish f = {.x = other, .y = second, .width = WIDTH, .activation = kind};
        memcpy(whole, start, sizeof whole);
        finish_activation_both(&f, 0, ROWS, 0, WIDTH, whole, LD);
        memcpy(second_cut, other, sizeof second_cut);
        f.x = f.y = second_cut;
        memcpy(cut, start, sizeof cut);
        finish_activation_both(&f, 0, ROWS, 0, WIDTH, cut, LD);
        assert_memory_equal(cut, whole, sizeof cut);
        assert_memory_equal(second_cut, second, sizeof second);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finishes),
        cmocka_unit_test(test_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
