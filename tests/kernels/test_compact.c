/* SPDX-License-Identifier: MIT
 *
 * Compact matrices: bytes and values by the header's own words, bounds of the error on ordinary, lopsided,
 * tiny and empty blocks; any piece that is read; and products, which must have the bits of the product
 * with the floats, on every engine, in every form, on shapes with edges in all directions.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/embedding.h"
#include "common/kernels/gemm.h"
#include "common/kernels/gemm_block.h"
#include "tests/support/support.h"

enum { ROOM = 840 * 720, GUARD = 64 };
static float x[ROOM], y[ROOM], a[ROOM], c[ROOM], old[ROOM], want[ROOM];
static unsigned char data[4 * ROOM + GUARD],
    packed[2][4 * ROOM + GUARD] __attribute__((aligned(64)));

static size_t pick(uint64_t trial, uint64_t what, size_t n) {
    Random random = random_stream(3, RANDOM_TEST, trial, 0);
    return random_below(&random, what, n);
}

static void fill(float *to, size_t n, uint64_t stream) {
    Random random = random_stream(4, RANDOM_TEST, stream, 0);
    random_fill_normal(&random, to, n, 0.05);
}

/* Numbers of all sizes: most of them ordinary; some blocks are zero, have one weight that dwarfs the
 * others, or lie in the denormal numbers. */
static void fill_strange(float *to, size_t n, uint64_t stream) {
    fill(to, n, stream);
    for (size_t i = 0; i < n; i++) {
        switch (i / 8 % 23) {
        case 3:
            to[i] = 0;
            break;
        case 5:
            to[i] *= 1e-38f;
            break;
        case 7:
            to[i] *= 0x1p-140f;
            break;
        case 9:
            to[i] *= 0x1p-147f;
            break;
        case 11:
            to[i] *= i % 32 == 17 ? 1e35f : 1;
            break;
        case 13:
            to[i] = (float)(i % 9) - 4;
            break;
        }
    }
}

static double upper_half(const unsigned char *at) {
    uint32_t bits = (uint32_t)(at[0] | at[1] << 8) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* Scale and code of an element, as the header lays them out. */
static void int8_at(const CompactMatrix *m, size_t row, size_t column, double *scale, int *code) {
    const unsigned char *bytes = m->data;
    if (m->down) {
        const unsigned char *band = bytes + row / 32 * m->columns * (2 + 32);
        *scale = upper_half(band + 2 * column);
        *code = (signed char)band[2 * m->columns + row % 32 * m->columns + column];
    } else {
        const unsigned char *block =
            bytes + (row * ((m->columns + 31) / 32) + column / 32) * (2 + 32);
        *scale = upper_half(block);
        *code = (signed char)block[2 + column % 32];
    }
}

static double largest_of_block(const CompactMatrix *m, size_t row, size_t column) {
    size_t along = m->down ? row : column, end = m->down ? m->rows : m->columns;
    double largest = 0;
    for (size_t i = along / 32 * 32; i < end && i < along / 32 * 32 + 32; i++) {
        size_t at = m->down ? i * m->columns + column : row * m->columns + i;
        largest = fmax(largest, fabs((double)x[at]));
    }
    return largest;
}

static void check_int8(const CompactMatrix *m, size_t row, size_t column) {
    double scale, exact = (double)x[row * m->columns + column],
                  value = (double)y[row * m->columns + column];
    int code;
    int8_at(m, row, column, &scale, &code);
    assert_true(value == scale * code);
    assert_true(fabs(exact - value) <= scale / 2);
    double largest = largest_of_block(m, row, column);
    assert_true((scale == 0) == (largest == 0));
    if (largest > 127 * (double)FLT_MIN * 2) { /* what the header says of normal numbers */
        assert_true(scale * 127 >= largest * (1 - 0x1p-24));
        assert_true(fabs(exact - value) <= largest * (1 + 0x1p-7) / 254 * (1 + 0x1p-23));
    }
    assert_in_range(code + 127, 0, 254);
}

/* Nearest: neither neighbor among the BF16 numbers is closer; of two as near, the even one. */
static void check_bf16(float exact, float value) {
    assert_memory_equal(&value, &(float){round_bf16(exact)}, sizeof value);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    assert_int_equal(bits & 0xffff, 0);
    for (int step = -1; step <= 1; step += 2) {
        uint32_t other = bits + (uint32_t)step * 0x10000;
        float neighbor;
        memcpy(&neighbor, &other, sizeof neighbor);
        double near = fabs((double)exact - (double)value);
        double far = fabs((double)exact - (double)neighbor);
        assert_true(isnan(neighbor) || near < far || (near == far && (bits >> 16 & 1) == 0));
    }
    if (fabsf(exact) >= FLT_MIN) {
        assert_true(fabs((double)exact - (double)value) <= 0x1p-8 * fabs((double)exact));
    }
}

static CompactMatrix make(CompactType type, bool down, size_t rows, size_t columns) {
    CompactMatrix m = {type, down, rows, columns, data};
    size_t bytes = compact_bytes(type, down, rows, columns);
    assert_true(bytes + GUARD <= sizeof data);
    memset(data, 0x5a, bytes + GUARD);
    compact_write(&m, x);
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(data[bytes + i], 0x5a);
    }
    memset(y, 0xff, rows * columns * sizeof *y);
    compact_read(&m, 0, rows, 0, columns, y, columns);
    return m;
}

static const struct Form {
    CompactType type;
    bool down;
} forms[] = {
    {COMPACT_BF16, false},
    {COMPACT_INT8, false},
    {COMPACT_INT8, true }
};

static void test_values(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 31, 32, 33, 64, 95, 200};
    for (uint64_t trial = 0; trial < 120; trial++) {
        const struct Form *form = &forms[trial % 3];
        size_t rows = sizes[pick(trial, 0, 9)], columns = sizes[pick(trial, 1, 9)];
        (trial % 2 == 0 ? fill : fill_strange)(x, rows * columns, trial);
        CompactMatrix m = make(form->type, form->down, rows, columns);
        for (size_t i = 0; i < rows * columns; i++) {
            if (form->type == COMPACT_BF16) {
                check_bf16(x[i], y[i]);
            } else {
                check_int8(&m, i / columns, i % columns);
            }
        }
    }
}

/* What was BF16 already comes back bit for bit. */
static void test_again(void **state) {
    (void)state;
    fill_strange(x, 70 * 90, 5);
    make(COMPACT_BF16, false, 70, 90);
    memcpy(x, y, 70 * 90 * sizeof *x);
    make(COMPACT_BF16, false, 70, 90);
    assert_memory_equal(x, y, 70 * 90 * sizeof *x);
}

static void test_bytes(void **state) {
    (void)state;
    assert_int_equal(compact_bytes(COMPACT_BF16, false, 3, 5), 30);
    assert_int_equal(compact_bytes(COMPACT_INT8, false, 3, 32), 3 * 34);
    assert_int_equal(compact_bytes(COMPACT_INT8, false, 3, 33), 3 * 68);
    assert_int_equal(compact_bytes(COMPACT_INT8, true, 33, 7), 33 * 7 + 2 * 2 * 7);
    assert_true(compact_bytes(COMPACT_INT8, true, SIZE_MAX / 2, 3) == SIZE_MAX);
    assert_true(compact_bytes(COMPACT_BF16, false, SIZE_MAX / 2, 3) == SIZE_MAX);
    const float huge[] = {1, -FLT_MAX, 0};
    assert_int_equal(compact_refused(COMPACT_BF16, huge, 3), 1);
    assert_int_equal(compact_refused(COMPACT_INT8, huge, 3), 3);
    x[0] = FLT_MAX, x[1] = -FLT_MAX, x[2] = 1;
    make(COMPACT_INT8, false, 1, 3);
    assert_true(isfinite(y[0]) && y[0] > 0.98f * FLT_MAX && y[1] == -y[0] && y[2] == 0);
}

/* The same whatever the number of threads, the instruction set, and the piece that is read. */
static void test_pieces(void **state) {
    (void)state;
    enum { ROWS = 100, COLUMNS = 150 };
    static unsigned char first[sizeof data];
    static float all[ROWS * COLUMNS], piece[ROWS * (COLUMNS + 3)];
    fill_strange(x, ROWS * COLUMNS, 6);
    for (uint64_t trial = 0; trial < 300; trial++) {
        const struct Form *form = &forms[trial % 3];
        size_t bytes = compact_bytes(form->type, form->down, ROWS, COLUMNS);
        parallel_init(1);
        CompactMatrix m = make(form->type, form->down, ROWS, COLUMNS);
        memcpy(first, data, bytes);
        memcpy(all, y, sizeof all);
        parallel_init(3);
        make(form->type, form->down, ROWS, COLUMNS);
        assert_memory_equal(first, data, bytes);
        size_t row = pick(trial, 0, ROWS), rows = 1 + pick(trial, 1, ROWS - row);
        size_t column = pick(trial, 2, COLUMNS), columns = 1 + pick(trial, 3, COLUMNS - column);
        size_t ld = columns + pick(trial, 4, 4);
        memset(piece, 0xff, sizeof piece);
        compact_read(&m, row, rows, column, columns, piece, ld);
        for (size_t i = 0; i < rows; i++) {
            assert_memory_equal(piece + i * ld, all + (row + i) * COLUMNS + column,
                                columns * sizeof *all);
            for (size_t j = columns; j < ld; j++) {
                assert_true(isnan(piece[i * ld + j]));
            }
        }
    }
    parallel_init(2);
}

static void run(Product p, bool serial, float *to) {
    memcpy(c, old, (p.m * p.ldc + GUARD) * sizeof *c);
    (serial ? product_serial : product_run)(&p);
    memcpy(to, c, (p.m * p.ldc + GUARD) * sizeof *c);
}

/* All forms of one product with the compact matrix against the floats' own. */
static void check_product(Product floats, CompactMatrix m) {
    static float got[ROOM];
    Product compact = floats;
    compact.b = NULL;
    compact.ldb = 0;
    compact.compact = m;
    size_t size = (floats.m * floats.ldc + GUARD) * sizeof *c;
    run(floats, true, want);
    run(compact, true, got);
    assert_memory_equal(got, want, size);
    size_t bytes = packed_matrix_bytes(floats.type, floats.k, floats.n);
    PackedMatrix ours = packed_compact(floats.type, floats.tb, &m, packed[0]);
    packed_matrix(floats.type, floats.tb, floats.k, floats.n, floats.b, floats.ldb, packed[1]);
    assert_memory_equal(packed[0], packed[1], bytes);
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        run(compact, false, got);
        assert_memory_equal(got, want, size);
        gemm_select(GEMM_OPENBLAS); /* which leaves these to our own kernels */
        run(compact, false, got);
        gemm_select(GEMM_OWN);
        assert_memory_equal(got, want, size);
        Product both = compact;
        both.packed = &ours;
        run(both, false, got);
        assert_memory_equal(got, want, size);
    }
    parallel_init(2);
}

static void test_products(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 31, 32, 33, 47, 64, 130, 260, 390};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (uint64_t trial = 0; trial < 240; trial++) {
        const struct Form *form = &forms[trial % 3];
        Product p = {.type = (GemmType)pick(trial, 0, 2),
                     .ta = (Transpose)pick(trial, 1, 2),
                     .tb = (Transpose)pick(trial, 2, 2),
                     .m = sizes[pick(trial, 3, SIZES)],
                     .n = sizes[pick(trial, 4, SIZES)],
                     .k = sizes[pick(trial, 5, SIZES)],
                     .alpha = 0.7f,
                     .beta = (float)pick(trial, 6, 2),
                     .a = a,
                     .b = y,
                     .c = c};
        if (trial % 8 == 0) { /* more than one slab */
            p.n = 600 + pick(trial, 7, 60);
            p.k = p.k > 40 ? 790 : p.k;
        }
        p.lda = (p.ta == PLAIN ? p.k : p.m) + 1;
        p.ldb = p.tb == PLAIN ? p.n : p.k;
        p.ldc = p.n + 2;
        size_t rows = p.tb == PLAIN ? p.k : p.n;
        fill(a, (p.ta == PLAIN ? p.m : p.k) * p.lda, 2 * trial);
        fill(old, p.m * p.ldc + GUARD, 2 * trial + 1);
        fill(x, rows * p.ldb, trial);
        for (size_t i = 0; gemm_kernels_at(i) != NULL; i++) {
            assert_true(gemm_use(gemm_kernels_at(i)->name));
            CompactMatrix m = make(form->type, form->down, rows, p.ldb);
            check_product(p, m);
        }
    }
}

/* Parts behind each other are one matrix. */
static void test_behind(void **state) {
    (void)state;
    enum { UPPER = 5, LOWER = 40, COLUMNS = 70 };
    for (size_t f = 0; f < 2; f++) {
        size_t bytes = compact_bytes(forms[f].type, false, UPPER, COLUMNS);
        CompactMatrix upper = {forms[f].type, false, UPPER, COLUMNS, data};
        CompactMatrix lower = {forms[f].type, false, LOWER, COLUMNS, data + bytes};
        CompactMatrix whole = {forms[f].type, false, UPPER + LOWER, COLUMNS, data};
        fill(x, (UPPER + LOWER) * COLUMNS, 7);
        compact_write(&upper, x);
        compact_write(&lower, x + UPPER * COLUMNS);
        compact_read(&whole, 0, UPPER + LOWER, 0, COLUMNS, want, COLUMNS);
        make(forms[f].type, false, UPPER + LOWER, COLUMNS);
        assert_memory_equal(want, y, (UPPER + LOWER) * COLUMNS * sizeof *y);
    }
}

static void test_embedding(void **state) {
    (void)state;
    enum { VOCABULARY = 50, WIDTH = 45, ROWS = 7 };
    static const int32_t id[ROWS] = {49, 0, 3, 3, 17, 48, 1};
    static const uint32_t position[ROWS] = {0, 1, 2, 0, 1, 2, 3};
    for (size_t f = 0; f < 2; f++) {
        fill(x, VOCABULARY * WIDTH, 8);
        fill(a, 4 * WIDTH, 9);
        CompactMatrix m = make(forms[f].type, false, VOCABULARY, WIDTH);
        EmbeddingRows rows = {.id = id, .position = position, .rows = ROWS, .width = WIDTH};
        embedding_forward(want, &rows, y, a, NULL);
        rows.compact = m;
        embedding_forward(c, &rows, NULL, a, NULL);
        assert_memory_equal(c, want, ROWS * WIDTH * sizeof *c);
        embedding_forward(c, &rows, NULL, NULL, NULL);
        for (size_t t = 0; t < ROWS; t++) {
            assert_memory_equal(c + t * WIDTH, y + (size_t)id[t] * WIDTH, WIDTH * sizeof *c);
        }
    }
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_again),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_products),  cmocka_unit_test(test_behind),
        cmocka_unit_test(test_embedding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
