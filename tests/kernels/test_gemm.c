/* SPDX-License-Identifier: MIT
 *
 * Products of every compiled kernel against plain loops, on shapes with edges in all directions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/gemm.h"
#include "common/kernels/gemm_block.h"
#include "tests/support/support.h"

enum { LIMIT = 320 * 330 };
static float a[LIMIT], b[LIMIT], c[LIMIT], want[LIMIT], old[LIMIT];

static void fill(float *x, size_t n, uint64_t stream) {
    Random random = random_stream(1, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, x, n, 1);
}

static size_t pick(uint64_t trial, uint64_t what, size_t n) {
    Random random = random_stream(2, RANDOM_TEST, trial, 0);
    return random_below(&random, what, n);
}

/* A random case: sizes, transposes, row distances, factors. */
typedef struct Case {
    Transpose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
} Case;

static Case draw(uint64_t trial) {
    static const size_t sizes[] = {1, 2, 3, 5, 6, 7, 13, 16, 17, 31, 32, 48, 61, 97, 113, 300};
    static const float factors[] = {0, 1, -0.5f, 2};
    Case x = {.ta = (Transpose)pick(trial, 0, 2), .tb = (Transpose)pick(trial, 1, 2)};
    x.m = sizes[pick(trial, 2, 16)];
    x.n = sizes[pick(trial, 3, 16)];
    x.k = sizes[pick(trial, 4, 16)];
    x.lda = (x.ta == PLAIN ? x.k : x.m) + pick(trial, 5, 4);
    x.ldb = (x.tb == PLAIN ? x.n : x.k) + pick(trial, 6, 4);
    x.ldc = x.n + pick(trial, 7, 4);
    x.alpha = factors[1 + pick(trial, 8, 3)];
    x.beta = factors[pick(trial, 9, 4)];
    return x;
}

typedef void Gemm(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                  const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                  size_t ldc);

static void check(const char *name, Gemm *product, const Case *x) {
    memcpy(c, old, x->m * x->ldc * sizeof *c + 8 * sizeof *c);
    if (x->beta == 0) { /* what is not read may be anything */
        for (size_t i = 0; i < x->m; i++) {
            for (size_t j = 0; j < x->n; j++) {
                c[i * x->ldc + j] = NAN;
            }
        }
    }
    product(x->ta, x->tb, x->m, x->n, x->k, x->alpha, a, x->lda, b, x->ldb, x->beta, c, x->ldc);
    assert_close(name, c, want, x->m * x->ldc + 8, 0, 1e-5 * sqrt((double)x->k) + 1e-6);
}

static void test_against_reference(void **state) {
    (void)state;
    fill(a, LIMIT, 1);
    fill(b, LIMIT, 2);
    fill(old, LIMIT, 3);
    for (uint64_t trial = 0; trial < 400; trial++) {
        Case x = draw(trial);
        memcpy(want, old, x.m * x.ldc * sizeof *want + 8 * sizeof *want);
        gemm_reference(x.ta, x.tb, x.m, x.n, x.k, x.alpha, a, x.lda, b, x.ldb, x.beta, want, x.ldc);
        for (size_t i = 0; gemm_kernels_at(i) != NULL; i++) {
            assert_true(gemm_use(gemm_kernels_at(i)->name));
            check(gemm_kernels_at(i)->name, gemm_serial, &x);
        }
        check("gemm", gemm, &x);
        gemm_select(GEMM_OPENBLAS);
        check("gemm by OpenBLAS", gemm, &x);
        gemm_select(GEMM_OWN);
        check("gemm_serial", gemm_serial, &x);
    }
}

static void test_empty_depth(void **state) {
    (void)state;
    float x[4] = {1, 2, 3, 4};
    gemm(PLAIN, PLAIN, 2, 2, 0, 1, a, 1, b, 2, 0.5f, x, 2);
    assert_true(x[0] == 0.5f && x[3] == 2);
    x[1] = NAN;
    gemm(PLAIN, PLAIN, 2, 2, 0, 1, a, 1, b, 2, 0, x, 2);
    assert_true(x[0] == 0 && x[1] == 0);
    gemm(PLAIN, PLAIN, 0, 2, 3, 1, a, 3, b, 2, 0, x, 2);
}

/* One thread or several, alone or among other rows: the same bits. */
static void test_bits_do_not_depend_on_the_cut(void **state) {
    (void)state;
    enum { M = 203, N = 101, K = 500 };
    static float one[M * N], many[M * N], row[N];
    fill(a, M * K, 4);
    fill(b, N * K, 5);
    for (int tb = 0; tb < 2; tb++) {
        size_t ldb = tb ? K : N;
        parallel_init(1);
        gemm(PLAIN, (Transpose)tb, M, N, K, 1, a, K, b, ldb, 0, one, N);
        static const int threads[] = {2, 3, 5, 48};
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            parallel_init(threads[i]);
            gemm(PLAIN, (Transpose)tb, M, N, K, 1, a, K, b, ldb, 0, many, N);
            assert_memory_equal(one, many, sizeof one);
        }
        parallel_init(2);
        for (size_t i = 0; i < M; i += 41) {
            gemm(PLAIN, (Transpose)tb, 1, N, K, 1, a + i * K, K, b, ldb, 0, row, N);
            assert_memory_equal(row, one + i * N, sizeof row);
        }
    }
}

typedef struct Products {
    float out[16][64 * 64];
} Products;

static void one_product(void *context, size_t begin, size_t end, int thread) {
    Products *p = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        for (int repeat = 0; repeat < 50; repeat++) {
            gemm_serial(PLAIN, PLAIN, 64, 64, 64, 1, a + i, 64, b + i, 64, 0, p->out[i], 64);
        }
    }
}

/* Products on several threads at once do not disturb each other. */
static void test_concurrent_products(void **state) {
    (void)state;
    static Products at_once, in_turn;
    fill(a, LIMIT, 6);
    fill(b, LIMIT, 7);
    parallel_init(1);
    parallel_each(16, one_product, &in_turn);
    parallel_init(2);
    parallel_each(16, one_product, &at_once);
    assert_memory_equal(&at_once, &in_turn, sizeof at_once);
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_empty_depth),
        cmocka_unit_test(test_bits_do_not_depend_on_the_cut),
        cmocka_unit_test(test_concurrent_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
