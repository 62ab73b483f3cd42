/* SPDX-License-Identifier: MIT
 *
 * Every compilation of the row loops against sums in double, on lengths with all kinds of remainders.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/random.h"
#include "common/kernels/matrix.h"
#include "common/kernels/rows.h"
#include "tests/support/support.h"

enum { LONGEST = 1031 };
static const size_t lengths[] = {1,  2,  3,  5,  7,  8,  9,   15,  16,  17,
                                 31, 32, 33, 48, 64, 65, 100, 257, 1031};
enum { LENGTHS = sizeof lengths / sizeof *lengths };
static float x[LONGEST], y[LONGEST], w[LONGEST], b[LONGEST], got[LONGEST], want[LONGEST];
static float more[LONGEST], more_want[LONGEST];

static void fill(float *to, uint64_t stream, double deviation) {
    Random random = random_stream(3, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, LONGEST, deviation);
}

typedef void RowTest(const RowKernels *row, size_t n);

static void each(RowTest *test) {
    for (size_t i = 0; row_kernels_at(i) != NULL; i++) {
        for (size_t l = 0; l < LENGTHS; l++) {
            test(row_kernels_at(i), lengths[l]);
        }
    }
}

static void norm_case(const RowKernels *row, size_t n) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i];
    }
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        square += (x[i] - mean) * (x[i] - mean);
    }
    double rstd = 1 / sqrt(square / (double)n + 1e-5);
    float m, r;
    row->norm(got, &m, &r, x, w, b, 1e-5f, n);
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)((x[i] - mean) * rstd * w[i] + b[i]);
    }
    row->norm(more, &m, &r, x, w, NULL, 1e-5f, n);
    for (size_t i = 0; i < n; i++) {
        more_want[i] = (float)((x[i] - mean) * rstd * w[i]);
    }
    assert_close(row->name, more, more_want, n, 1e-5, 1e-6);
    assert_close_double("mean", m, mean, 1e-5, 1e-6);
    assert_close_double("rstd", r, rstd, 1e-5, 0);
    assert_close(row->name, got, want, n, 1e-5, 1e-6);
    memset(got, 0, sizeof got);
    memset(more, 0, sizeof more);
    row->norm_parameters(got, more, y, x, m, r, n);
    row->norm_parameters(got, more, y, x, m, r, n); /* adds */
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)(2 * y[i] * (x[i] - mean) * rstd);
        more_want[i] = 2 * y[i];
    }
    assert_close(row->name, got, want, n, 1e-5, 1e-6);
    assert_close(row->name, more, more_want, n, 0, 0);
}

static void test_norm(void **state) {
    (void)state;
    fill(x, 4, 2);
    fill(y, 5, 1);
    fill(w, 6, 1);
    fill(b, 7, 1);
    each(norm_case);
}

static double norm_loss(const double *in, size_t n) {
    double mean = 0, square = 0, loss = 0;
    for (size_t i = 0; i < n; i++) {
        mean += in[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        square += (in[i] - mean) * (in[i] - mean) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        loss += y[i] * ((in[i] - mean) / sqrt(square + 1e-5) * w[i] + b[i]);
    }
    return loss;
}

static void norm_backward_case(const RowKernels *row, size_t n) {
    if (n < 2 || n > 100) {
        return;
    }
    double in[100];
    for (size_t i = 0; i < n; i++) {
        in[i] = x[i];
    }
    for (size_t i = 0; i < n; i++) {
        const double step = 1e-5;
        in[i] = x[i] + step;
        double above = norm_loss(in, n);
        in[i] = x[i] - step;
        want[i] = (float)(1 + (above - norm_loss(in, n)) / (2 * step));
        in[i] = x[i];
        got[i] = 1; /* what was there stays */
    }
    float m, r;
    row->norm(more, &m, &r, x, w, b, 1e-5f, n);
    row->norm_backward(got, y, x, m, r, w, n);
    assert_close(row->name, got, want, n, 1e-4, 1e-5);
}

static void test_norm_backward(void **state) {
    (void)state;
    each(norm_backward_case);
}

static double rms_loss(const double *in, float base, size_t n) {
    double square = 0, loss = 0;
    for (size_t i = 0; i < n; i++) {
        square += in[i] * in[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        loss += y[i] * in[i] / sqrt(square + 1e-5) * ((double)base + w[i]);
    }
    return loss;
}

static void rms_base_case(const RowKernels *row, float base, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += (double)x[i] * x[i] / (double)n;
    }
    double rstd = 1 / sqrt(square + 1e-5);
    float r = row->rms_norm(got, x, base, w, 1e-5f, n);
    assert_close_double("rstd", r, rstd, 1e-6, 0);
    assert_true(row->rms(x, 1e-5f, n) == r);
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)(x[i] * rstd * ((double)base + w[i]));
    }
    assert_close(row->name, got, want, n, 1e-6, 1e-7);
    memcpy(more, x, sizeof x);
    assert_true(row->rms_norm(more, more, base, w, 1e-5f, n) == r); /* in place */
    assert_memory_equal(more, got, n * sizeof *got);
    if (n > 100) {
        return;
    }
    double in[100];
    for (size_t i = 0; i < n; i++) {
        in[i] = x[i];
    }
    for (size_t i = 0; i < n; i++) {
        const double step = 1e-5;
        in[i] = x[i] + step;
        double above = rms_loss(in, base, n);
        in[i] = x[i] - step;
        want[i] = (float)((above - rms_loss(in, base, n)) / (2 * step));
        more_want[i] = 1 + want[i];
        in[i] = x[i];
        got[i] = 1; /* what was there stays */
        more[i] = y[i];
    }
    row->rms_backward(got, y, x, r, base, w, n);
    assert_close(row->name, got, more_want, n, 1e-5, 1e-5);
    row->rms_backward_in_place(more, x, r, base, w, n);
    assert_close(row->name, more, want, n, 1e-5, 1e-5);
}

static void rms_case(const RowKernels *row, size_t n) {
    rms_base_case(row, 0, n);
    rms_base_case(row, 1, n);
}

static void test_rms(void **state) {
    (void)state;
    fill(x, 4, 2);
    fill(y, 5, 1);
    fill(w, 6, 1);
    each(rms_case);
}

static void rotate_case(const RowKernels *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        want[i] = x[i] * w[i] - y[i] * b[i];
        more_want[i] = y[i] * w[i] + x[i] * b[i];
        got[i] = x[i];
        more[i] = y[i];
    }
    row->rotate(got, more, w, b, 1, n);
    assert_close(row->name, got, want, n, 0, 1e-6);
    assert_close(row->name, more, more_want, n, 0, 1e-6);
    row->rotate(got, more, w, b, -1, n);
    assert_close(row->name, got, x, n, 0, 2e-6);
    assert_close(row->name, more, y, n, 0, 2e-6);
}

static void test_rotate(void **state) {
    (void)state;
    fill(x, 14, 1);
    fill(y, 15, 1);
    fill(w, 16, 1);
    for (size_t i = 0; i < LONGEST; i++) {
        float angle = w[i];
        w[i] = cosf(angle);
        b[i] = sinf(angle);
    }
    each(rotate_case);
}

static void exp_case(const RowKernels *row, size_t n) {
    double largest = -INFINITY, sum = 0, weighted = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, x[i]);
    }
    assert_true(row->max(x, n) == (float)largest);
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)exp(x[i] - largest);
        sum += exp(x[i] - largest);
        weighted += exp(x[i] - largest) * (x[i] - largest);
    }
    float product;
    assert_close_double("sum", row->exp(got, x, (float)largest, n), sum, 1e-6, 0);
    for (size_t i = 0; i < n; i++) {
        assert_close_double("exp", got[i], want[i], 4e-7, 1e-37);
    }
    assert_close_double("sum", row->exp_sum(x, (float)largest, n, &product), sum, 1e-6, 0);
    assert_close_double("weighted", product, weighted, 1e-5, 1e-6);
    double lse = largest + log(sum);
    memcpy(got, x, sizeof x);
    row->logits_backward(got, (float)lse, 0.7f, -0.3f, n);
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)(-exp(x[i] - lse) * (0.7 - 0.3 * (x[i] - lse)));
    }
    assert_close(row->name, got, want, n, 3e-6, 1e-7);
}

static void test_exp(void **state) {
    (void)state;
    fill(x, 8, 10);
    x[0] = 3;
    x[1] = 200;
    each(exp_case);
    for (size_t i = 0; row_kernels_at(i) != NULL; i++) {
        const RowKernels *row = row_kernels_at(i);
        assert_true(row->max(x, 0) == -INFINITY);
        float nan[9] = {0, 0, 0, 0, 0, NAN}, weighted;
        assert_true(isnan(row->exp_sum(nan, 0, 9, &weighted))); /* a NaN is not lost */
        float edge[4] = {-1e30f, -88, 0, -FLT_MAX};
        row->exp(got, edge, 0, 4);
        assert_true(got[0] >= 0 && got[0] < 1.3e-38f && got[1] < 1.3e-38f && got[2] == 1);
    }
}

static void simple_case(const RowKernels *row, size_t n) {
    row->add(got, x, y, n);
    memcpy(more, x, sizeof x);
    row->axpy(more, 1, y, n);
    assert_close(row->name, got, more, n, 0, 0);
    memcpy(want, w, sizeof w);
    row->bias_residual(want, x, y, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(want[i] == w[i] + got[i]);
    }
    row->scale(got, 0.5f, n);
    for (size_t i = 0; i < n; i++) {
        want[i] = 0.5f * more[i];
    }
    assert_close(row->name, got, want, n, 0, 0);
    size_t third = n / 3;
    memcpy(more, w, sizeof more);
    row->sum_rows(more, x, third, 3, third);
    for (size_t i = 0; i < third; i++) {
        want[i] = w[i] + x[i] + x[third + i] + x[2 * third + i];
    }
    assert_close(row->name, more, want, third, 0, 1e-6);
}

static void adam_case(const RowKernels *row, size_t n) {
    static float m[LONGEST], v[LONGEST], g[LONGEST];
    const AdamStep step = {0.5f, 0.9f, 0.95f, 0.999f, 0.01f, 1.25f, 1e-4f};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        m[i] = b[i];
        v[i] = y[i] * y[i];
        g[i] = w[i];
        got[i] = x[i];
        sum += (double)w[i] * w[i];
    }
    assert_close_double("squares", row->sum_of_squares(w, n), sum, 1e-15, 0);
    row->adam(got, m, v, g, &step, n);
    for (size_t i = 0; i < n; i++) {
        double slope = 0.5 * w[i], old = y[i] * y[i];
        double mean = b[i] + (1 - (double)0.9f) * (slope - b[i]);
        double square = (double)0.95f * old + (1 - (double)0.95f) * slope * slope;
        double moved =
            (double)0.999f * x[i] - (double)0.01f * mean / (sqrt(square) * 1.25 + (double)1e-4f);
        assert_close_double("m", m[i], mean, 1e-6, 1e-7);
        assert_close_double("v", v[i], square, 1e-6, 0);
        assert_close_double("w", got[i], moved, 1e-6, 1e-7);
        assert_true(g[i] == 0);
    }
}

static void test_adam(void **state) {
    (void)state;
    fill(x, 11, 1);
    fill(y, 12, 0.1);
    fill(w, 13, 0.3);
    fill(b, 14, 0.1);
    each(adam_case);
}

static void test_simple(void **state) {
    (void)state;
    fill(x, 9, 1);
    fill(y, 10, 1);
    each(simple_case);
}

/* The mask is Philox with the documented counters. */
static void dropout_case(const RowKernels *row, size_t n) {
    const uint32_t key[2] = {0x12345678u, 0x9abcdef0u};
    DropoutRow place = dropout_row(key, 0x1122334455667788u, 19, 7);
    uint32_t threshold = dropout_threshold(0.3f);
    row->dropout(got, x, &place, threshold, 2, n);
    for (size_t c = 0; c < n; c++) {
        uint32_t counter[4] = {7u << 16 | (uint32_t)(c / 32 * 8 + c % 8), 19, 0x55667788u,
                               0x11223344u};
        uint32_t out[4];
        random_philox(counter, key, out);
        want[c] = out[c % 32 / 8] >= threshold ? 2 * x[c] : 0;
    }
    assert_close(row->name, got, want, n, 0, 0);
    memcpy(more, x, sizeof x);
    row->dropout(more, more, &place, threshold, 2, n);
    assert_close(row->name, more, want, n, 0, 0);
}

static void test_dropout(void **state) {
    (void)state;
    fill(x, 11, 1);
    each(dropout_case);
    assert_int_equal(dropout_threshold(0), 0);
    assert_close_double("scale", dropout_scale(0.2f), 1.25, 1e-6, 0);
}

/* Over many sites the kept share is 1 - rate, and the mean of what comes out is what went in. */
static void test_dropout_expectation(void **state) {
    (void)state;
    const uint32_t key[2] = {1, 2};
    const float rate = 0.25f;
    double sum = 0, kept = 0, pairs = 0, count = 0;
    for (size_t i = 0; i < LONGEST; i++) {
        x[i] = 1;
    }
    for (uint32_t position = 0; position < 1000; position++) {
        DropoutRow place = dropout_row(key, 99, position, 3);
        row_kernels()->dropout(got, x, &place, dropout_threshold(rate), dropout_scale(rate),
                               LONGEST);
        for (size_t i = 0; i < LONGEST; i++) {
            sum += got[i];
            kept += got[i] != 0;
            pairs += got[i] != 0 && got[(i + 1) % LONGEST] != 0;
            count++;
        }
    }
    assert_close_double("mean", sum / count, 1, 0, 3e-3);
    assert_close_double("kept", kept / count, 0.75, 0, 2e-3);
    assert_close_double("neighbors", pairs / count, 0.75 * 0.75, 0, 3e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_norm_backward),
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_rms),
        cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_dropout_expectation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
