/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "tests/support/support.h"

/* Known answers of Random123 (kat_vectors, philox4x32-10). */
static void philox_matches_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } vector[] = {
        {{0},                                              {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}                                                       },
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}                                                       },
    };
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        uint32_t got[4];
        random_philox(vector[i].counter, vector[i].key, got);
        assert_memory_equal(got, vector[i].want, sizeof got);
    }
}

static void permutation_is_a_bijection(void **state) {
    (void)state;
    static unsigned char seen[70000];
    for (uint64_t n = 1; n <= 300; n++) {
        Random random = random_stream(n, RANDOM_SHUFFLE, 3, 0);
        memset(seen, 0, n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = random_permute(&random, n, i);
            assert_true(at < n);
            assert_int_equal(seen[at], 0);
            seen[at] = 1;
        }
    }
    static const uint64_t large[] = {4096, 65535, 65536, 65537};
    for (size_t k = 0; k < sizeof large / sizeof *large; k++) {
        Random random = random_stream(7, RANDOM_SHUFFLE, k, 0);
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < large[k]; i++) {
            uint64_t at = random_permute(&random, large[k], i);
            assert_true(at < large[k]);
            assert_int_equal(seen[at]++, 0);
        }
    }
    Random random = random_stream(1, RANDOM_SHUFFLE, 0, 0);
    for (uint64_t i = 0; i < 1000; i++) { /* beyond 2^62: only the range can be checked */
        assert_true(random_permute(&random, ((uint64_t)1 << 62) + 5, i) < ((uint64_t)1 << 62) + 5);
    }
}

/* Every element is equally likely at every place, also in tiny sets. */
static void permutation_is_uniform(void **state) {
    (void)state;
    enum { RUNS = 20000 };
    for (uint64_t n = 2; n <= 9; n++) {
        int count[9][9] = {{0}};
        for (uint64_t run = 0; run < RUNS; run++) {
            Random random = random_stream(run, RANDOM_SHUFFLE, 0, 0);
            for (uint64_t i = 0; i < n; i++) {
                count[i][random_permute(&random, n, i)]++;
            }
        }
        double expected = (double)RUNS / (double)n;
        double spread = sqrt(expected * (1 - 1 / (double)n));
        for (uint64_t i = 0; i < n; i++) {
            for (uint64_t j = 0; j < n; j++) {
                assert_true(fabs(count[i][j] - expected) < 5 * spread);
            }
        }
    }
}

static void numbers_depend_on_every_argument(void **state) {
    (void)state;
    Random base = random_stream(1, RANDOM_SAMPLE, 2, 3);
    Random other[] = {
        random_stream(2, RANDOM_SAMPLE, 2, 3), random_stream(1, RANDOM_DROPOUT, 2, 3),
        random_stream(1, RANDOM_SAMPLE, 3, 2), random_stream(1, RANDOM_SAMPLE, 2, 4),
        random_stream(1, RANDOM_SAMPLE, 3, 3),
    };
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        int equal = 0;
        for (uint64_t i = 0; i < 1000; i++) {
            equal += random_u32(&base, i) == random_u32(&other[k], i);
        }
        assert_int_equal(equal, 0);
    }
    Random again = random_stream(1, RANDOM_SAMPLE, 2, 3);
    for (uint64_t i = 100; i-- > 0;) { /* the order of asking does not matter */
        assert_int_equal(random_u32(&again, i), random_u32(&base, i));
    }
    assert_true(random_mix(1, 2) != random_mix(2, 1));
    assert_true(random_mix(0, 0) != 0);
}

static void moments_are_right(void **state) {
    (void)state;
    enum { N = 200000 };
    Random random = random_stream(42, RANDOM_TEST, 0, 0);
    double uniform[3] = {0}, normal[5] = {0}, lag = 0, before = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = random_uniform(&random, i), z = random_normal(&random, i);
        assert_true(u >= 0 && u < 1);
        for (int k = 1; k <= 2; k++) {
            uniform[k] += pow(u, k) / N;
        }
        for (int k = 1; k <= 4; k++) {
            normal[k] += pow(z, k) / N;
        }
        lag += z * before / N;
        before = z;
    }
    double e = 5 / sqrt(N); /* five standard errors of a unit variance */
    assert_close_double("mean of uniform", uniform[1], 0.5, 0, e * 0.289);
    assert_close_double("second moment of uniform", uniform[2], 1.0 / 3, 0, e * 0.298);
    assert_close_double("mean of normal", normal[1], 0, 0, e);
    assert_close_double("variance of normal", normal[2], 1, 0, e * 1.42);
    assert_close_double("third moment of normal", normal[3], 0, 0, e * 3.88);
    assert_close_double("fourth moment of normal", normal[4], 3, 0, e * 9.8);
    assert_close_double("neighbors are uncorrelated", lag, 0, 0, e);
}

static void filling_equals_single_numbers(void **state) {
    (void)state;
    float out[7];
    Random random = random_stream(5, RANDOM_INIT, 1, 2);
    random_fill_normal(&random, out, 7, 0.02);
    for (uint64_t i = 0; i < 7; i++) {
        assert_true(out[i] == (float)(0.02 * random_normal(&random, i)));
    }
}

static void below_is_uniform(void **state) {
    (void)state;
    enum { RUNS = 60000 };
    Random random = random_stream(9, RANDOM_TEST, 1, 0);
    int count[6] = {0};
    for (uint64_t i = 0; i < RUNS; i++) {
        uint64_t x = random_below(&random, i, 6);
        assert_true(x < 6);
        count[x]++;
    }
    double chi = 0;
    for (int k = 0; k < 6; k++) {
        chi += pow(count[k] - RUNS / 6.0, 2) / (RUNS / 6.0);
    }
    assert_true(chi < 20.5); /* 99.9 % point of chi-square with 5 degrees of freedom */
    assert_int_equal(random_below(&random, 0, 1), 0);
    int upper = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        upper += random_below(&random, i, UINT64_MAX) >= UINT64_MAX / 2;
    }
    assert_true(upper > 400 && upper < 600);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_known_answers),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(permutation_is_uniform),
        cmocka_unit_test(numbers_depend_on_every_argument),
        cmocka_unit_test(moments_are_right),
        cmocka_unit_test(filling_equals_single_numbers),
        cmocka_unit_test(below_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
