/* SPDX-License-Identifier: MIT
 *
 * Norms over matrices and over the heads of rows against sums in double and differences of these, the same
 * bits on any number of threads.
 */
#include <math.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/norm.h"
#include "tests/support/support.h"

enum { ROWS = 301, WIDTH = 75 };
static float x[ROWS * WIDTH], dy[ROWS * WIDTH], y[ROWS * WIDTH], dx[ROWS * WIDTH];
static float mean[ROWS], rstd[ROWS], weight[WIDTH], bias[WIDTH], dweight[WIDTH], dbias[WIDTH];

static void fill(float *to, size_t n, uint64_t stream) {
    Random random = random_stream(6, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, n, 1);
}

/* One row's norm in double. */
static void reference(const Norm *norm, double *to, const double *in, size_t n, double *center,
                      double *scale) {
    *center = 0;
    double square = 0;
    for (size_t i = 0; i < n && norm->kind == NORM_LAYER; i++) {
        *center += in[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        square += (in[i] - *center) * (in[i] - *center) / (double)n;
    }
    *scale = 1 / sqrt(square + (double)norm->epsilon);
    bool biased = norm->kind == NORM_LAYER && norm->bias != NULL;
    for (size_t i = 0; i < n; i++) {
        to[i] = (in[i] - *center) * *scale * ((double)norm_base(norm) + norm->weight[i]) +
                (biased ? (double)norm->bias[i] : 0);
    }
}

static double loss(const Norm *norm, const double *in, const float *slope, size_t n) {
    double to[WIDTH], center, scale, sum = 0;
    reference(norm, to, in, n, &center, &scale);
    for (size_t i = 0; i < n; i++) {
        sum += to[i] * slope[i];
    }
    return sum;
}

static void slopes(const Norm *norm, double *to, const float *at, const float *slope, size_t n) {
    double in[WIDTH];
    for (size_t i = 0; i < n; i++) {
        in[i] = at[i];
    }
    for (size_t i = 0; i < n; i++) {
        const double step = 1e-5;
        in[i] = at[i] + step;
        double above = loss(norm, in, slope, n);
        in[i] = at[i] - step;
        to[i] = (above - loss(norm, in, slope, n)) / (2 * step);
        in[i] = at[i];
    }
}

static void check_rows(const Norm *norm) {
    for (size_t t = 0; t < ROWS; t++) {
        double in[WIDTH], want[WIDTH], center, scale;
        for (size_t c = 0; c < WIDTH; c++) {
            in[c] = x[t * WIDTH + c];
        }
        reference(norm, want, in, WIDTH, &center, &scale);
        assert_close_double("rstd", rstd[t], scale, 1e-6, 0);
        if (norm->kind == NORM_LAYER) {
            assert_close_double("mean", mean[t], center, 0, 1e-6);
        } else {
            assert_true(mean[t] == -7);
        }
        for (size_t c = 0; c < WIDTH; c++) {
            assert_close_double("y", y[t * WIDTH + c], want[c], 1e-6, 2e-6);
        }
        slopes(norm, want, x + t * WIDTH, dy + t * WIDTH, WIDTH);
        for (size_t c = 0; c < WIDTH; c++) {
            assert_close_double("dx", dx[t * WIDTH + c], 1 + want[c], 1e-5, 1e-5);
        }
    }
    for (size_t c = 0; c < WIDTH; c++) {
        double dw = 1, db = 1;
        for (size_t t = 0; t < ROWS; t++) {
            double center = norm->kind == NORM_LAYER ? (double)mean[t] : 0;
            dw += dy[t * WIDTH + c] * ((double)x[t * WIDTH + c] - center) * rstd[t];
            db += dy[t * WIDTH + c];
        }
        assert_close_double("dweight", dweight[c], dw, 0, 3e-5);
        assert_close_double("dbias", dbias[c], db, 0, 3e-5);
    }
}

static void check(const Norm *norm) {
    float before[2][WIDTH];
    static float before_y[ROWS * WIDTH], before_dx[ROWS * WIDTH];
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            dx[i] = 1; /* what was there stays */
        }
        for (size_t t = 0; t < ROWS; t++) {
            mean[t] = -7;
        }
        for (size_t c = 0; c < WIDTH; c++) {
            dweight[c] = dbias[c] = 1;
        }
        norm_forward(norm, y, mean, rstd, x, ROWS, WIDTH);
        norm_backward(norm, dx, dy, x, mean, rstd, ROWS, WIDTH);
        norm_backward_parameters(norm, dweight, dbias, dy, x, mean, rstd, ROWS, WIDTH);
        if (threads > 1) {
            assert_memory_equal(y, before_y, sizeof y);
            assert_memory_equal(dx, before_dx, sizeof dx);
            assert_memory_equal(dweight, before[0], sizeof dweight);
            assert_memory_equal(dbias, before[1], sizeof dbias);
        }
        memcpy(before_y, y, sizeof y);
        memcpy(before_dx, dx, sizeof dx);
        memcpy(before[0], dweight, sizeof dweight);
        memcpy(before[1], dbias, sizeof dbias);
    }
    check_rows(norm);
    float only[WIDTH] = {0};
    norm_backward_parameters(norm, NULL, only, dy, x, mean, rstd, ROWS, WIDTH);
    for (size_t c = 0; c < WIDTH; c++) {
        assert_close_double("dbias alone", only[c], (double)dbias[c] - 1, 0, 1e-5);
    }
    memset(only, 0, sizeof only);
    norm_backward_parameters(norm, only, NULL, dy, x, mean, rstd, ROWS, WIDTH);
    for (size_t c = 0; c < WIDTH; c++) {
        assert_close_double("dweight alone", only[c], (double)dweight[c] - 1, 0, 1e-5);
    }
}

static void test_norms(void **state) {
    (void)state;
    fill(x, ROWS * WIDTH, 1);
    fill(dy, ROWS * WIDTH, 2);
    fill(weight, WIDTH, 3);
    fill(bias, WIDTH, 4);
    check(&(Norm){NORM_LAYER, weight, bias, 1e-5f});
    check(&(Norm){NORM_LAYER, weight, NULL, 1e-3f});
    check(&(Norm){NORM_RMS, weight, NULL, 1e-5f});
    check(&(Norm){NORM_RMS, weight, bias, 0.1f}); /* the bias is not read */
    check(&(Norm){NORM_RMS_OFFSET, weight, NULL, 1e-5f});
}

/* A norm does not see a scale (but for epsilon), LayerNorm no shift either. */
static void test_invariance(void **state) {
    (void)state;
    for (NormKind kind = NORM_LAYER; kind <= NORM_RMS_OFFSET; kind++) {
        const Norm norm = {kind, weight, bias, 1e-5f};
        norm_forward(&norm, y, mean, rstd, x, ROWS, WIDTH);
        memset(dx, 0, sizeof dx);
        norm_backward(&norm, dx, dy, x, mean, rstd, ROWS, WIDTH);
        for (size_t t = 0; t < ROWS; t++) {
            double shift = 0, scale = 0, center = kind == NORM_LAYER ? (double)mean[t] : 0;
            for (size_t c = 0; c < WIDTH; c++) {
                shift += dx[t * WIDTH + c];
                scale += (double)dx[t * WIDTH + c] * ((double)x[t * WIDTH + c] - center);
            }
            assert_close_double("shift", kind == NORM_LAYER ? shift : 0, 0, 0, 1e-4);
            assert_close_double("scale", scale, 0, 0, 2e-3);
        }
    }
}

/* RMSNorm needs no room for means. */
static void test_no_mean(void **state) {
    (void)state;
    const Norm norm = {NORM_RMS, weight, NULL, 1e-5f};
    norm_forward(&norm, y, NULL, rstd, x, ROWS, WIDTH);
    norm_backward(&norm, dx, dy, x, NULL, rstd, ROWS, WIDTH);
    norm_backward_parameters(&norm, dweight, NULL, dy, x, NULL, rstd, ROWS, WIDTH);
}

/* Heads in the middle of wider rows; what lies beside them stays. */
enum { BEFORE = 9, BEHIND = 4, TOKENS = 150, MOST = 6 * 64 };
static float heads[TOKENS * (BEFORE + MOST + BEHIND)], start[TOKENS * MOST];
static float slope[TOKENS * (BEFORE + MOST + BEHIND)], slope_start[TOKENS * MOST];

static void lay_out(float *to, const float *from, size_t stride, size_t n) {
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t i = 0; i < stride; i++) {
            bool inside = i >= BEFORE && i < BEFORE + n;
            to[t * stride + i] = inside ? from[t * n + i - BEFORE] : -3;
        }
    }
}

static void check_heads(const Norm *norm, size_t count, size_t size, int threads, float *dw) {
    size_t n = count * size, stride = BEFORE + n + BEHIND;
    parallel_init(threads);
    lay_out(heads, start, stride, n);
    lay_out(slope, slope_start, stride, n);
    head_norm_forward(norm, heads + BEFORE, stride, TOKENS, count, size);
    head_norm_backward(norm, slope + BEFORE, dw, start, stride, n, TOKENS, count, size);
    double want_dw[WIDTH] = {0}, in[WIDTH], want[WIDTH], center, scale;
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t i = 0; i < stride; i++) {
            assert_true((i >= BEFORE && i < BEFORE + n) ||
                        (heads[t * stride + i] == -3 && slope[t * stride + i] == -3));
        }
        for (size_t h = 0; h < count; h++) {
            const float *at = start + t * n + h * size, *g = slope_start + t * n + h * size;
            size_t to = t * stride + BEFORE + h * size;
            for (size_t i = 0; i < size; i++) {
                in[i] = at[i];
            }
            reference(norm, want, in, size, &center, &scale);
            for (size_t i = 0; i < size; i++) {
                assert_close_double("head", heads[to + i], want[i], 1e-6, 1e-6);
                want_dw[i] += g[i] * in[i] * scale;
            }
            slopes(norm, want, at, g, size);
            for (size_t i = 0; i < size; i++) {
                assert_close_double("d head", slope[to + i], want[i], 1e-5, 2e-5);
            }
        }
    }
    for (size_t i = 0; i < size; i++) {
        assert_close_double("dweight", dw[i], 1 + want_dw[i], 1e-5, 5e-5);
    }
}

static void test_heads(void **state) {
    (void)state;
    static const size_t counts[] = {6, 5, 1, 3}, sizes[] = {64, 16, 24, 5};
    static const NormKind kinds[] = {NORM_RMS, NORM_RMS_OFFSET, NORM_RMS, NORM_RMS_OFFSET};
    fill(start, TOKENS * MOST, 5);
    fill(slope_start, TOKENS * MOST, 6);
    for (size_t i = 0; i < 4; i++) {
        const Norm norm = {kinds[i], weight, NULL, 1e-6f};
        float dw[3][WIDTH];
        static float kept[sizeof slope / sizeof *slope];
        for (int threads = 1; threads <= 3; threads++) {
            for (size_t c = 0; c < WIDTH; c++) {
                dw[threads - 1][c] = 1;
            }
            check_heads(&norm, counts[i], sizes[i], threads, dw[threads - 1]);
            assert_memory_equal(dw[threads - 1], dw[0], sizeof dw[0]);
            if (threads > 1) {
                assert_memory_equal(kept, slope, sizeof slope);
            }
            memcpy(kept, slope, sizeof slope);
        }
        size_t n = counts[i] * sizes[i];
        memcpy(slope, slope_start, sizeof slope_start); /* without a gradient of the weight */
        head_norm_backward(&norm, slope, NULL, start, n, n, TOKENS, counts[i], sizes[i]);
        for (size_t t = 0; t < TOKENS; t++) {
            assert_memory_equal(slope + t * n, kept + t * (BEFORE + n + BEHIND) + BEFORE,
                                n * sizeof *slope);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_no_mean),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
