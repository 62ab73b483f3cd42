/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "common/loss/classification.h"
#include "tests/loss/gradient.h"

typedef struct Case {
    size_t n, label;
    double smoothing, weight;
} Case;

static double classes(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return classification_loss(x, c->n, c->label, c->smoothing, c->weight, gradient);
}

static double number(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return regression_loss(x[0], -0.75, c->weight, gradient);
}

static void test_differences(void **state) {
    (void)state;
    const float x[4] = {0.5f, -1.25f, 2.0f, 0.75f};
    for (size_t label = 0; label < 4; label++) {
        for (int smooth = 0; smooth < 2; smooth++) {
            Case c = {4, label, 0.1 * smooth, 0.3};
            check_gradient("classes", classes, &c, x, 4);
            check_gradient("number", number, &c, x + label, 1);
        }
    }
}

static void test_values(void **state) {
    (void)state;
    const float x[3] = {1, 2, 3};
    float gradient[3] = {0};
    double total = exp(1) + exp(2) + exp(3);
    assert_close_double("plain", classification_loss(x, 3, 1, 0, 1, gradient), log(total) - 2,
                        1e-14, 0);
    assert_close_double("gradient", (double)gradient[1], exp(2) / total - 1, 1e-6, 0);
    float smooth[3] = {0};
    /* 0.9 + 0.1/3 at the label, 0.1/3 elsewhere */
    double want = log(total) - (0.1 / 3 * (1 + 2 + 3) + 0.9 * 2);
    assert_close_double("smooth", classification_loss(x, 3, 1, 0.1, 1, smooth), want, 1e-14, 0);
    double sum = (double)smooth[0] + (double)smooth[1] + (double)smooth[2];
    assert_close_double("shift", sum, 0, 0, 1e-7);

    const float huge[2] = {-1e30f, 1e30f};
    float at[2] = {0};
    assert_true(classification_loss(huge, 2, 1, 0, 1, at) == 0);
    assert_true(at[0] == 0 && at[1] == 0);

    float slope = 0.5f;
    assert_close_double("square", regression_loss(3, 1, 0.25, &slope), 1, 1e-15, 0);
    assert_close_double("slope", (double)slope, 1.5, 1e-7, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
