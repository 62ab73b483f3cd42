/* SPDX-License-Identifier: MIT
 *
 * Ends of products: values against plain formulas in double, and the same bits however C is cut.
 */
#include <math.h>
#include <string.h>

#include "common/base/random.h"
#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "tests/support/support.h"

enum { ROWS = 11, WIDTH = 83, LD = 90 };
static float start[ROWS * LD], bias[WIDTH], other[ROWS * WIDTH];
static float whole[ROWS * LD], cut[ROWS * LD], second[ROWS * WIDTH], second_cut[ROWS * WIDTH];

static double gelu(double v) {
    return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
}

static double slope(double v) {
    return (gelu(v + 1e-5) - gelu(v - 1e-5)) / 2e-5;
}

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

static void gelu_formula(double c, double b, double x, double *to, double *y) {
    (void)x;
    *to = c + b;
    *y = gelu(c + b);
}

static void only_formula(double c, double b, double x, double *to, double *y) {
    (void)x;
    *to = gelu(c + b);
    *y = NAN;
}

static void both_formula(double c, double b, double x, double *to, double *y) {
    (void)b;
    *to = c * slope(x);
    *y = gelu(x);
}

static void check_finish(GemmFinish *finish, Formula *formula) {
    MatrixFinish f = {.bias = bias, .residual = other, .x = other, .y = second, .width = WIDTH};
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
            formula(c, bias[j], other[at], &to, &y);
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
    check_finish(finish_bias, bias_formula);
    check_finish(finish_bias_residual, residual_formula);
    check_finish(finish_bias_activation, gelu_formula);
    check_finish(finish_bias_activation_only, only_formula);
    check_finish(finish_activation_both, both_formula);
}

/* The activation may take the place of what it was applied to. */
static void test_in_place(void **state) {
    (void)state;
    MatrixFinish f = {.x = other, .y = second, .width = WIDTH};
    memcpy(whole, start, sizeof whole);
    finish_activation_both(&f, 0, ROWS, 0, WIDTH, whole, LD);
    memcpy(second_cut, other, sizeof second_cut);
    f = (MatrixFinish){.x = second_cut, .y = second_cut, .width = WIDTH};
    memcpy(cut, start, sizeof cut);
    finish_activation_both(&f, 0, ROWS, 0, WIDTH, cut, LD);
    assert_memory_equal(cut, whole, sizeof cut);
    assert_memory_equal(second_cut, second, sizeof second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finishes),
        cmocka_unit_test(test_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
