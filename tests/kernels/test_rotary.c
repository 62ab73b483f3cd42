/* SPDX-License-Identifier: MIT
 *
 * Rotary positions: angles and turns against plain formulas, what they are for (products of queries and
 * keys depend on distance alone), and the way back.
 */
#include <math.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/rotary.h"
#include "tests/support/support.h"

enum { POSITIONS = 300, MOST_PAIRS = 64, TOKENS = 90, HEADS = 3, MOST_SIZE = 130, ASIDE = 5 };
enum { MOST_STRIDE = HEADS * MOST_SIZE + ASIDE };
static float frequency[MOST_PAIRS], table[POSITIONS * 2 * MOST_PAIRS];
static float start[TOKENS * MOST_STRIDE], x[TOKENS * MOST_STRIDE], other[TOKENS * MOST_STRIDE];
static uint32_t position[TOKENS];

static void set_frequencies(size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        frequency[i] = (float)pow(10000, -(double)i / (double)pairs);
    }
}

static void test_table(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        set_frequencies(24);
        rotary_fill(table, frequency, 24, POSITIONS, 1.25f);
        for (size_t t = 0; t < POSITIONS; t++) {
            for (size_t i = 0; i < 24; i++) {
                double angle = (double)((float)t * frequency[i]); /* rounded once */
                assert_close_double("cos", table[t * 48 + i], 1.25 * cos(angle), 0, 1.2e-7);
                assert_close_double("sin", table[t * 48 + 24 + i], 1.25 * sin(angle), 0, 1.2e-7);
            }
        }
    }
}

static void check_turn(size_t size, size_t pairs) {
    size_t stride = HEADS * size + ASIDE;
    set_frequencies(pairs);
    rotary_fill(table, frequency, pairs, POSITIONS, 1);
    memcpy(x, start, sizeof x);
    rotary_apply(x, stride, TOKENS, HEADS, size, position, table, pairs, false);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t c = 0; c < stride; c++) {
            size_t at = t * stride + c, i = c % size;
            if (c >= HEADS * size || i >= 2 * pairs) { /* the others stay */
                assert_true(x[at] == start[at]);
                continue;
            }
            double angle = (double)((float)position[t] * frequency[i % pairs]);
            double partner = i < pairs ? -start[at + pairs] : start[at - pairs];
            assert_close_double("turned", x[at], start[at] * cos(angle) + partner * sin(angle), 0,
                                1e-6);
        }
    }
    memcpy(other, x, sizeof x);
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        memcpy(x, start, sizeof x);
        rotary_apply(x, stride, TOKENS, HEADS, size, position, table, pairs, false);
        assert_memory_equal(x, other, sizeof x);
    }
    rotary_apply(x, stride, TOKENS, HEADS, size, position, table, pairs, true);
    assert_close("and back", x, start, TOKENS * stride, 0, 1e-6);
}

static void test_turn(void **state) {
    (void)state;
    Random random = random_stream(2, RANDOM_TEST, 0, 0);
    random_fill_normal(&random, start, TOKENS * MOST_STRIDE, 1);
    for (size_t t = 0; t < TOKENS; t++) {
        position[t] = (uint32_t)(t * 7 % POSITIONS);
    }
    check_turn(16, 8);
    check_turn(64, 32);
    check_turn(80, 10); /* a part of the head */
    check_turn(24, 12);
    check_turn(130, 64);
    check_turn(2, 1);
}

/* The backward pass is the transposed matrix: (turn x) . y = x . (back y). */
static void test_transposed(void **state) {
    (void)state;
    enum { SIZE = 20, PAIRS = 7 };
    set_frequencies(PAIRS);
    rotary_fill(table, frequency, PAIRS, POSITIONS, 1.5f);
    for (size_t t = 0; t < TOKENS; t++) {
        float a[SIZE], b[SIZE];
        memcpy(a, start + t * SIZE, sizeof a);
        memcpy(b, start + (TOKENS + t) * SIZE, sizeof b);
        rotary_apply(a, SIZE, 1, 1, SIZE, &position[t], table, PAIRS, false);
        rotary_apply(b, SIZE, 1, 1, SIZE, &position[t], table, PAIRS, true);
        double turned = 0, back = 0;
        for (size_t i = 0; i < SIZE; i++) {
            turned += (double)a[i] * start[(TOKENS + t) * SIZE + i];
            back += (double)b[i] * start[t * SIZE + i];
        }
        assert_close_double("transposed", turned, back, 0, 2e-5);
    }
}

static void test_distance(void **state) {
    (void)state;
    enum { SIZE = 32 };
    set_frequencies(SIZE / 2);
    rotary_fill(table, frequency, SIZE / 2, POSITIONS, 1);
    double first = 0;
    for (uint32_t shift = 0; shift < 250; shift += 10) {
        float q[SIZE], k[SIZE];
        uint32_t later = shift + 30;
        memcpy(q, start, sizeof q);
        memcpy(k, start + SIZE, sizeof k);
        rotary_apply(q, SIZE, 1, 1, SIZE, &later, table, SIZE / 2, false);
        rotary_apply(k, SIZE, 1, 1, SIZE, &shift, table, SIZE / 2, false);
        double product = 0;
        for (size_t i = 0; i < SIZE; i++) {
            product += (double)q[i] * k[i];
        }
        first = shift == 0 ? product : first;
        assert_close_double("product", product, first, 0, 1e-4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
