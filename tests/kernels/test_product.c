/* SPDX-License-Identifier: MIT
 *
 * Products of every engine this CPU runs, in every form (types, transposes, packed or not, one to three
 * threads, with and without a finish), against plain loops in double within the bound of floating-point
 * summation, on shapes with edges in all directions; and the bits that may not depend on the form.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/gemm.h"
#include "common/kernels/gemm_block.h"
#include "tests/support/support.h"

enum { ROOM = 700 * 820, GUARD = 64 };
static float a[ROOM], b[ROOM], c[ROOM], old[ROOM], want[ROOM], scale[ROOM];
static float rounded_a[ROOM], rounded_b[ROOM], absolute_a[ROOM], absolute_b[ROOM];
static unsigned char seen[ROOM];
static unsigned char packed[ROOM * 4 + GUARD] __attribute__((aligned(64)));

static void fill(float *x, size_t n, uint64_t stream) {
    Random random = random_stream(1, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, x, n, 1);
}

static size_t pick(uint64_t trial, uint64_t what, size_t n) {
    Random random = random_stream(2, RANDOM_TEST, trial, 0);
    return random_below(&random, what, n);
}

static float extra(size_t row, size_t column) {
    return (float)(row % 7) - (float)(column % 5);
}

/* Adds to every element what depends on its place, and counts. */
static void finish(const void *context, size_t row, size_t rows, size_t column, size_t columns,
                   float *x, size_t ldx) {
    size_t n = *(const size_t *)context;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            x[i * ldx + j] += extra(row + i, column + j);
            seen[(row + i) * n + column + j]++;
        }
    }
}

/* A random case; rows of A and B are NaN behind their ends, so that reading there shows. */
static Product draw(uint64_t trial) {
    static const size_t sizes[] = {0,  1,  1,  2,  3,  4,  5,  6,  7,  8,   9,   11,  12,
                                   13, 16, 17, 23, 31, 32, 33, 47, 64, 100, 131, 260, 400};
    static const float factors[] = {0, 1, -0.5f, 1.3f};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    Product p = {
        .type = (GemmType)pick(trial, 0, 2),
        .ta = (Transpose)pick(trial, 1, 2),
        .tb = (Transpose)pick(trial, 2, 2),
        .m = sizes[pick(trial, 3, SIZES)],
        .n = sizes[pick(trial, 4, SIZES)],
        .k = sizes[pick(trial, 5, SIZES)],
        .alpha = factors[1 + pick(trial, 6, 3)],
        .beta = factors[pick(trial, 7, 4)],
        .a = a,
        .b = b,
        .c = c,
    };
    if (pick(trial, 11, 16) == 0) { /* more than one slab */
        p.n = 600 + pick(trial, 12, 60);
        p.k = p.k > 40 ? 790 : p.k;
    }
    p.lda = (p.ta == PLAIN ? p.k : p.m) + pick(trial, 8, 4);
    p.ldb = (p.tb == PLAIN ? p.n : p.k) + pick(trial, 9, 4);
    p.ldc = p.n + pick(trial, 10, 4);
    return p;
}

static void spoil_gaps(float *x, size_t rows, size_t columns, size_t ld) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = columns; j < ld; j++) {
            x[i * ld + j] = NAN;
        }
    }
}

/* want = the product of the inputs as the type rounds them, plus what finish adds; scale = the same of
 * absolute values, which bounds the rounding of any order of summation: (k + 3) 2^-24 scale. */
static void expect(const Product *p, size_t most) {
    bool narrow = p->type == GEMM_BF16;
    for (size_t i = 0; i < most; i++) {
        rounded_a[i] = narrow ? round_bf16(a[i]) : a[i];
        rounded_b[i] = narrow ? round_bf16(b[i]) : b[i];
        absolute_a[i] = fabsf(rounded_a[i]);
        absolute_b[i] = fabsf(rounded_b[i]);
    }
    for (size_t i = 0; i < p->m * p->ldc; i++) {
        scale[i] = fabsf(old[i]);
    }
    memcpy(want, old, p->m * p->ldc * sizeof *want);
    gemm_reference(p->ta, p->tb, p->m, p->n, p->k, p->alpha, rounded_a, p->lda, rounded_b, p->ldb,
                   p->beta, want, p->ldc);
    gemm_reference(p->ta, p->tb, p->m, p->n, p->k, fabsf(p->alpha), absolute_a, p->lda, absolute_b,
                   p->ldb, fabsf(p->beta), scale, p->ldc);
}

static void compare(const char *name, const Product *p) {
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->ldc; j++) {
            size_t at = i * p->ldc + j;
            bool inside = j < p->n;
            float more = inside && p->finish != NULL ? extra(i, j) : 0;
            double bound = inside ? ((double)p->k + 3) * 0x1p-24 * scale[at] + 1e-6 * fabsf(more)
                                  : 0; /* beyond the row */
            if (!(fabs((double)c[at] - ((double)want[at] + more)) <= bound)) {
                fail_msg("%s: %s%s%s %zux%zux%zu alpha %g beta %g%s%s at (%zu, %zu): %g, not %g",
                         name, p->type == GEMM_FP32 ? "FP32 " : "BF16 ", p->ta == PLAIN ? "N" : "T",
                         p->tb == PLAIN ? "N" : "T", p->m, p->n, p->k, (double)p->alpha,
                         (double)p->beta, p->packed != NULL ? " packed" : "",
                         p->finish != NULL ? " finish" : "", i, j, (double)c[at],
                         (double)want[at] + (double)more);
            }
            if (inside) {
                assert_int_equal(seen[i * p->n + j], p->finish != NULL ? 1 : 0);
            }
        }
    }
    for (size_t i = p->m * p->ldc; i < p->m * p->ldc + GUARD; i++) {
        assert_true(c[i] == old[i]);
    }
}

static void run(const Product *p, const char *name, bool serial) {
    memcpy(c, old, (p->m * p->ldc + GUARD) * sizeof *c);
    memset(seen, 0, p->m * p->n);
    for (size_t i = 0; p->beta == 0 && i < p->m; i++) { /* what is not read may be anything */
        for (size_t j = 0; j < p->n; j++) {
            c[i * p->ldc + j] = NAN;
        }
    }
    if (serial) {
        product_serial(p);
    } else {
        product_run(p);
    }
    compare(name, p);
}

/* Every row alone gives the bits it has among others. */
static void run_rows(Product p, const float *whole) {
    for (size_t i = 0; i < p.m; i += 1 + p.m / 3) {
        Product q = p;
        q.m = 1;
        q.a += i * (p.ta == PLAIN ? p.lda : 1);
        memcpy(c, old + i * p.ldc, p.n * sizeof *c);
        product_run(&q);
        assert_memory_equal(c, whole + i * p.ldc, p.n * sizeof *c);
    }
}

/* The same bits in all forms. */
static void run_forms(Product p, const char *name, float *first) {
    run(&p, name, true);
    size_t size = p.m * p.ldc * sizeof *c;
    memcpy(first, c, size);
    size_t bytes = packed_matrix_bytes(p.type, p.k, p.n);
    memset(packed, 0xa5, bytes + GUARD);
    PackedMatrix matrix = packed_matrix(p.type, p.tb, p.k, p.n, b, p.ldb, packed);
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(packed[bytes + i], 0xa5);
    }
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        for (int form = 0; form < 4; form++) {
            Product q = p;
            q.finish = form % 2 == 0 ? NULL : finish;
            q.context = &q.n;
            if (form >= 2) {
                q.packed = &matrix;
                q.b = NULL;
                q.ldb = 0;
            }
            run(&q, name, false);
            if (q.finish == NULL) {
                assert_memory_equal(c, first, size);
                run_rows(q, first);
            }
        }
    }
    parallel_init(2);
}

/* Kernels with fused multiply-add add in the same order: products have the same bits with all of them. */
static void test_every_form(void **state) {
    (void)state;
    for (uint64_t trial = 0; trial < 250; trial++) {
        Product p = draw(trial);
        size_t inner = p.k + 4, outer = (p.m > p.n ? p.m : p.n) + 4, most = inner * outer;
        fill(a, most, 3 * trial);
        fill(b, most, 3 * trial + 1);
        fill(old, p.m * p.ldc + GUARD, 3 * trial + 2);
        spoil_gaps(a, p.ta == PLAIN ? p.m : p.k, p.ta == PLAIN ? p.k : p.m, p.lda);
        spoil_gaps(b, p.tb == PLAIN ? p.k : p.n, p.tb == PLAIN ? p.n : p.k, p.ldb);
        expect(&p, most);
        for (size_t i = 0; gemm_kernels_at(i) != NULL; i++) {
            assert_true(gemm_use(gemm_kernels_at(i)->name));
            static float bits[2][ROOM];
            run_forms(p, gemm_kernels_at(i)->name, bits[i % 2]);
            if (i >= 2) {
                assert_memory_equal(bits[0], bits[1], p.m * p.ldc * sizeof **bits);
            }
        }
    }
}

/* What packing writes does not depend on what lay there: it writes all of it. */
static void test_packing_writes_all(void **state) {
    (void)state;
    static unsigned char again[sizeof packed] __attribute__((aligned(64)));
    fill(b, 300 * 70, 1);
    for (size_t i = 0; gemm_kernels_at(i) != NULL; i++) {
        assert_true(gemm_use(gemm_kernels_at(i)->name));
        for (int form = 0; form < 16; form++) {
            GemmType type = (GemmType)(form % 2);
            Transpose tb = (Transpose)(form / 2 % 2);
            size_t k = form / 4 % 2 == 0 ? 299 : 31, n = form / 8 == 0 ? 67 : 1;
            size_t bytes = packed_matrix_bytes(type, k, n);
            memset(packed, 0, bytes);
            memset(again, 0xff, bytes);
            packed_matrix(type, tb, k, n, b, tb == PLAIN ? n : k, packed);
            packed_matrix(type, tb, k, n, b, tb == PLAIN ? n : k, again);
            assert_memory_equal(packed, again, bytes);
            size_t halves = packed_matrix_bytes(GEMM_BF16, k, n);
            assert_true(halves <= packed_matrix_bytes(GEMM_FP32, k + 1, n) / 2);
        }
    }
}

static void test_self_check(void **state) {
    (void)state;
    for (size_t i = 0; gemm_kernels_at(i) != NULL; i++) {
        Error err = {0};
        assert_true(gemm_use(gemm_kernels_at(i)->name));
        assert_ok(gemm_self_check(&err), &err);
        assert_non_null(strstr(gemm_describe(GEMM_FP32), "FP32"));
        assert_non_null(strstr(gemm_describe(GEMM_BF16), "BF16"));
    }
    Error err = {0};
    gemm_select(GEMM_OPENBLAS);
    assert_ok(gemm_self_check(&err), &err);
    assert_non_null(strstr(gemm_describe(GEMM_FP32), "OpenBLAS"));
    gemm_select(GEMM_OWN);
    assert_false(gemm_use("abacus"));
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_packing_writes_all),
        cmocka_unit_test(test_self_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
