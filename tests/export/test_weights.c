/* SPDX-License-Identifier: MIT
 *
 * Types of weights against their definitions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "common/export/weights.h"
#include "tests/support/support.h"

/* IEEE 754's binary16: 1 bit of sign, 5 of exponent, 10 of fraction. */
static double value_of(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31  ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 != 0 ? -size : size;
}

/* The nearest one, of two the even: steps of the unit in the last place. */
static uint16_t bits_of(float x) {
    int exponent;
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    frexp((double)x, &exponent);
    if (fabsf(x) >= 65520.0f) {
        return sign | 0x7c00;
    }
    int unit = (exponent - 1 < -14 || x == 0 ? -14 : exponent - 1) - 10;
    int steps = (int)nearbyint(ldexp(fabs((double)x), -unit));
    return (uint16_t)(sign | (((unit + 24) << 10) + steps));
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void test_halves(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 1u << 16; bits++) {
        uint16_t narrow = (uint16_t)bits;
        float want = (float)value_of(narrow), got = half_to_float(narrow);
        if (isnan(want)) {
            assert_true(isnan(got));
            continue;
        }
        assert_true(got == want && signbit(got) == signbit(want));
        assert_int_equal(half_from_float(got), narrow);
        /* The middle to the next one goes to the even one; what lies beside it to the nearer. */
        if ((bits & 0x7fff) < 0x7bff) {
            float middle = (float)(((double)want + (double)half_to_float(narrow + 1)) / 2);
            assert_int_equal(half_from_float(middle), narrow + (narrow & 1));
            assert_int_equal(half_from_float(nextafterf(middle, 0)), narrow);
            assert_int_equal(half_from_float(nextafterf(middle, 2 * middle)), narrow + 1);
        }
    }
    for (uint64_t i = 0; i < 2000000; i++) {
        float x = float_of((uint32_t)(i * 2654435761u));
        if (!isnan(x)) {
            assert_int_equal(half_from_float(x), bits_of(x));
        }
    }
    assert_int_equal(half_from_float(65519.996f), 0x7bff);
    assert_int_equal(half_from_float(65520.0f), 0x7c00);
    assert_int_equal(half_from_float(-INFINITY), 0xfc00);
}

static void test_bfloats(void **state) {
    (void)state;
    Error err = {0};
    const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        {0x3f800000, 0x3f80},
        {0x3f807fff, 0x3f80},
        {0x3f808000, 0x3f80},
        {0x3f808001, 0x3f81},
        {0x3f818000, 0x3f82},
        {0xbf818000, 0xbf82},
        {0x00000001, 0x0000},
        {0x00008001, 0x0001},
        {0x7f7f7fff, 0x7f7f},
        {0x80000000, 0x8000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x = float_of(cases[i].from), back;
        uint16_t got;
        assert_ok(weights_encode(GGML_BF16, &x, 1, &got, "w", &err), &err);
        assert_int_equal(got, cases[i].to);
        weights_decode(GGML_BF16, &got, 1, &back);
        assert_true(back == float_of((uint32_t)got << 16));
    }
}

static void test_beyond(void **state) {
    (void)state;
    float weight[Q8_0_BLOCK] = {0};
    uint16_t out[Q8_0_BLOCK];
    Error err = {0};
    weight[3] = 65520.0f;
    assert_error(weights_encode(GGML_F16, weight, 4, out, "h.0.w", &err), &err, ERROR_DATA,
                 "'h.0.w' holds 65520, beyond F16's largest number");
    err = (Error){0};
    assert_ok(weights_encode(GGML_Q8_0, weight, Q8_0_BLOCK, out, "w", &err), &err);
    weight[3] = -9e6f; /* 127 times 65504 is less */
    assert_error(weights_encode(GGML_Q8_0, weight, Q8_0_BLOCK, out, "h.1.w", &err), &err,
                 ERROR_DATA, "'h.1.w' holds a block of weights up to 9e+06");
    err = (Error){0};
    weight[3] = 3.4e38f;
    assert_error(weights_encode(GGML_BF16, weight, 4, out, "h.2.w", &err), &err, ERROR_DATA,
                 "'h.2.w' holds 3.4e+38, beyond BF16's");
}

/* By the definition, in double where no rounding of float is part of it. */
static void check_block(const float *x) {
    Error err = {0};
    unsigned char out[Q8_0_BYTES];
    float back[Q8_0_BLOCK], largest = 0;
    assert_ok(weights_encode(GGML_Q8_0, x, Q8_0_BLOCK, out, "w", &err), &err);
    weights_decode(GGML_Q8_0, out, Q8_0_BLOCK, back);
    for (size_t i = 0; i < Q8_0_BLOCK; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    float scale = largest / 127;
    assert_int_equal(out[0] | out[1] << 8, bits_of(scale));
    for (size_t i = 0; i < Q8_0_BLOCK; i++) {
        float inverse = scale > 0 ? 1 / scale : 0;
        assert_int_equal((int8_t)out[2 + i], (int)round((double)(x[i] * inverse)));
        /* Half a step, and what F16 rounds the scale by. */
        double bound = (double)largest * (1.0 / 254 + 0x1p-11) * (1 + 1e-6);
        assert_true(fabs((double)back[i] - (double)x[i]) <= bound);
    }
}

static void test_blocks(void **state) {
    (void)state;
    for (uint64_t k = 0; k < 20000; k++) {
        float x[Q8_0_BLOCK];
        Random random = random_stream(5, RANDOM_TEST, k, 0);
        float size = ldexpf(1.0f, (int)(k % 24) - 6); /* scales that are normal in F16 */
        for (size_t i = 0; i < Q8_0_BLOCK; i++) {
            x[i] = k % 3 == 0 ? size * roundf(4 * (float)random_normal(&random, i)) / 2
                              : size * (float)random_normal(&random, i);
        }
        check_block(x);
    }
    float halves[Q8_0_BLOCK] = {127, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -2.5f, 126.5f, -126.5f, -127};
    unsigned char out[Q8_0_BYTES];
    const int8_t want[] = {127, 1, -1, 2, -2, 3, -3, 127, -127, -127, 0};
    Error err = {0};
    assert_ok(weights_encode(GGML_Q8_0, halves, Q8_0_BLOCK, out, "w", &err), &err);
    assert_memory_equal(out + 2, want, sizeof want);
    float zeros[Q8_0_BLOCK] = {0}, tiny[Q8_0_BLOCK] = {1e-45f, -1e-40f};
    assert_ok(weights_encode(GGML_Q8_0, zeros, Q8_0_BLOCK, out, "w", &err), &err);
    for (size_t i = 0; i < Q8_0_BYTES; i++) {
        assert_int_equal(out[i], 0);
    }
    float back[Q8_0_BLOCK];
    assert_ok(weights_encode(GGML_Q8_0, tiny, Q8_0_BLOCK, out, "w", &err), &err);
    weights_decode(GGML_Q8_0, out, Q8_0_BLOCK, back);
    assert_true(back[0] == 0 && back[1] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_bfloats),
        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
