/* SPDX-License-Identifier: MIT
 *
 * Work on whole matrices: log-probs and their gradients, tables, sums over rows; results that do
 * not depend on the number of threads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/embedding.h"
#include "common/kernels/logprob.h"
#include "common/kernels/matrix.h"
#include "tests/support/support.h"

static void fill(float *to, size_t n, uint64_t stream) {
    Random random = random_stream(6, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, n, 1);
}

/* a log p_y + b H of one row, in double. */
static double row_value(const double *z, size_t n, size_t y, double a, double b) {
    double sum = 0, entropy = 0;
    for (size_t j = 0; j < n; j++) {
        sum += exp(z[j]);
    }
    for (size_t j = 0; j < n; j++) {
        entropy -= exp(z[j]) / sum * (z[j] - log(sum));
    }
    return a * (z[y] - log(sum)) + b * entropy;
}

static void test_logprob(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 17, 61, 200};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t v = sizes[k];
        enum { N = 7 };
        static float logits[N * 200], z[N * 200];
        float logprob[N], entropy[N], correct[N], lse[N], da[N], db[N];
        int32_t target[N];
        fill(logits, N * v, 100 + k);
        fill(da, N, 200 + k);
        fill(db, N, 300 + k);
        for (size_t i = 0; i < N; i++) {
            target[i] = (int32_t)((i * 31 + 5) % v);
        }
        memcpy(z, logits, N * v * sizeof *z);
        logprob_forward(logprob, entropy, correct, lse, logits, target, N, v);
        logprob_backward(z, lse, entropy, da, db, target, N, v);
        for (size_t i = 0; i < N; i++) {
            double in[200];
            size_t best = 0;
            for (size_t j = 0; j < v; j++) {
                in[j] = logits[i * v + j];
                best = in[j] > in[best] ? j : best;
            }
            size_t y = (size_t)target[i];
            assert_close_double("logprob", logprob[i], row_value(in, v, y, 1, 0), 1e-6, 1e-6);
            assert_close_double("entropy", entropy[i], row_value(in, v, y, 0, 1), 1e-6, 1e-6);
            assert_true(correct[i] == (best == y ? 1 : 0));
            for (size_t j = 0; j < v; j++) {
                const double step = 1e-5;
                in[j] += step;
                double above = row_value(in, v, y, da[i], db[i]);
                in[j] -= 2 * step;
                double slope = (above - row_value(in, v, y, da[i], db[i])) / (2 * step);
                in[j] += step;
                assert_close_double("d logits", z[i * v + j], slope, 0, 3e-6);
            }
        }
    }
}

static void test_ties(void **state) {
    (void)state;
    float logits[] = {1, 2, 2, 0, 1, 2, 2, 0}, logprob[2], lse[2], correct[2];
    const int32_t target[] = {1, 2};
    logprob_forward(logprob, NULL, correct, lse, logits, target, 2, 4);
    assert_true(correct[0] == 1 && correct[1] == 0);
}

enum { ROWS = 301, WIDTH = 75 };
static float x[ROWS * WIDTH], dy[ROWS * WIDTH], y[ROWS * WIDTH], dx[ROWS * WIDTH];

static void test_sums_and_rows(void **state) {
    (void)state;
    fill(x, ROWS * WIDTH, 1);
    fill(dy, ROWS * WIDTH, 2);
    float sums[3][WIDTH] = {0};
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        matrix_column_sum(sums[threads - 1], x, ROWS, WIDTH);
        assert_memory_equal(sums[threads - 1], sums[0], sizeof sums[0]);
    }
    parallel_init(2);
    for (size_t c = 0; c < WIDTH; c++) {
        double sum = 0;
        for (size_t t = 0; t < ROWS; t++) {
            sum += x[t * WIDTH + c];
        }
        assert_close_double("column", sums[0][c], sum, 0, 3e-5);
    }
    fill(y, ROWS * WIDTH, 5);
    matrix_add(dx, x, y, ROWS * WIDTH);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        assert_true(dx[i] == x[i] + y[i]);
    }
    size_t rows[] = {300, 0, 7, 150};
    float some[4 * WIDTH];
    matrix_gather(some, x, rows, 4, WIDTH);
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal(some + i * WIDTH, x + rows[i] * WIDTH, WIDTH * sizeof(float));
    }
    memcpy(y, x, sizeof y);
    matrix_scatter_add(y, some, rows, 4, WIDTH);
    for (size_t c = 0; c < WIDTH; c++) {
        assert_true(y[7 * WIDTH + c] == 2 * x[7 * WIDTH + c] && y[WIDTH + c] == x[WIDTH + c]);
    }
}

static void test_embedding(void **state) {
    (void)state;
    enum { N = 50, V = 9, T = 12, K = 3 };
    static float token[V * WIDTH], place[T * WIDTH], kind[K * WIDTH];
    static float dtoken[2][V * WIDTH], dplace[2][T * WIDTH], dkind[2][K * WIDTH];
    int32_t id[N];
    uint32_t position[N];
    uint8_t segment[N];
    fill(token, V * WIDTH, 10);
    fill(place, T * WIDTH, 11);
    fill(kind, K * WIDTH, 12);
    for (size_t t = 0; t < N; t++) {
        id[t] = (int32_t)(t * t % V);
        position[t] = (uint32_t)(t % T);
        segment[t] = (uint8_t)(t / 7 % K);
    }
    const EmbeddingRows rows = {id, position, segment, N, WIDTH};
    embedding_forward(y, &rows, token, NULL, NULL);
    for (size_t t = 0; t < N; t++) {
        assert_memory_equal(y + t * WIDTH, token + (size_t)id[t] * WIDTH, WIDTH * sizeof *y);
    }
    embedding_forward(y, &rows, token, place, kind);
    memset(dtoken, 0, sizeof dtoken);
    memset(dplace, 0, sizeof dplace);
    memset(dkind, 0, sizeof dkind);
    embedding_backward(&rows, dtoken[0], dplace[0], dkind[0], dy);
    embedding_backward(&rows, NULL, NULL, NULL, dy);
    for (size_t t = 0; t < N; t++) {
        for (size_t c = 0; c < WIDTH; c++) {
            float sum = token[(size_t)id[t] * WIDTH + c] + place[position[t] * WIDTH + c];
            assert_true(y[t * WIDTH + c] == sum + kind[segment[t] * WIDTH + c]);
            dkind[1][segment[t] * WIDTH + c] += dy[t * WIDTH + c];
            dtoken[1][(size_t)id[t] * WIDTH + c] += dy[t * WIDTH + c];
            dplace[1][position[t] * WIDTH + c] += dy[t * WIDTH + c];
        }
    }
    assert_memory_equal(dtoken[0], dtoken[1], sizeof dtoken[0]);
    assert_memory_equal(dplace[0], dplace[1], sizeof dplace[0]);
    assert_memory_equal(dkind[0], dkind[1], sizeof dkind[0]);
}

/* Masked rows are the row kernel's, by stream and position, not by place. */
static void test_dropout_rows(void **state) {
    (void)state;
    uint64_t stream[2] = {17, 18};
    uint32_t position[2] = {3, 4};
    Dropout dropout = {
        .rate = 0.5f, .key = {1, 2},
             .stream = stream, .position = position
    };
    dropout_apply(y, x, &dropout, 9, 2, WIDTH);
    uint64_t turned_stream[2] = {18, 17};
    uint32_t turned_position[2] = {4, 3};
    dropout.stream = turned_stream, dropout.position = turned_position;
    float turned[2 * WIDTH], result[2 * WIDTH];
    memcpy(turned, x + WIDTH, WIDTH * sizeof(float));
    memcpy(turned + WIDTH, x, WIDTH * sizeof(float));
    dropout_apply(result, turned, &dropout, 9, 2, WIDTH);
    assert_memory_equal(result, y + WIDTH, WIDTH * sizeof(float));
    assert_memory_equal(result + WIDTH, y, WIDTH * sizeof(float));
    dropout_apply(turned, turned, &dropout, 10, 2, WIDTH);
    assert_memory_not_equal(turned, result, sizeof result);
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logprob),       cmocka_unit_test(test_ties),
        cmocka_unit_test(test_sums_and_rows), cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_dropout_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
