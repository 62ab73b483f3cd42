/* SPDX-License-Identifier: MIT
 *
 * Losses of rankings: differences, K-wise against sums of pairs, ties, permutations, extremes.
 */
#include "common/loss/loss.h"
#include "common/loss/preference.h"
#include "tests/loss/gradient.h"

typedef struct Case {
    const double *rank;
    size_t K, best;
    double margin, weight;
    PreferenceOptions options;
} Case;

static double ranking(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return preference_loss(x, c->rank, c->K, c->margin, &c->options, c->weight, gradient);
}

static double best(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return preference_best_loss(x, c->best, c->K, c->weight, gradient);
}

static const float scores[5] = {0.5f, -1.25f, 2.0f, 0.75f, -0.125f};
static const double ranks[5] = {2, 3, 1, 2, 5};

static void test_differences(void **state) {
    (void)state;
    const PreferenceOptions options[] = {
        {0,   0   },
        {0.1, 0   },
        {0,   0.01},
        {0.2, 0.05}
    };
    for (size_t i = 0; i < 4; i++) {
        Case c = {ranks, 5, 2, 0, 0.7, options[i]};
        check_gradient("ranking", ranking, &c, scores, 5);
        Case pair = {ranks, 2, 1, 0.5, 1.5, options[i]};
        check_gradient("pair with a margin", ranking, &pair, scores, 2);
        check_gradient("best of K", best, &c, scores, 5);
    }
}

/* Bradley-Terry by its definition, in double. */
static void bradley_terry(double winner, double loser, double *loss, double *dwinner) {
    *loss = -log(1 / (1 + exp(-(winner - loser))));
    *dwinner = -1 / (1 + exp(winner - loser));
}

static void test_pairs(void **state) {
    (void)state;
    PreferenceOptions options = {0, 0};
    const double two[2] = {1, 2};
    float got[5] = {0};
    double loss, gradient;
    bradley_terry(0.5, -1.25, &loss, &gradient);
    assert_close_double("K = 2", preference_loss(scores, two, 2, 0, &options, 1, got), loss, 1e-12,
                        0);
    assert_close_double("winner", (double)got[0], gradient, 1e-6, 0);
    assert_close_double("loser", (double)got[1], -gradient, 1e-6, 0);

    float want[5] = {0}, kwise[5] = {0};
    double sum = 0, whole = preference_loss(scores, ranks, 5, 0, &options, 3, kwise);
    assert_int_equal(preference_pairs(ranks, 5), 9); /* ten pairs, one tie */
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            if (ranks[i] < ranks[j]) {
                bradley_terry((double)scores[i], (double)scores[j], &loss, &gradient);
                sum += loss * 3 / 9;
                want[i] += (float)(gradient * 3 / 9);
                want[j] -= (float)(gradient * 3 / 9);
            }
        }
    }
    assert_close_double("sum of pairs", whole, sum, 1e-12, 0);
    assert_close("gradient of pairs", kwise, want, 5, 1e-6, 0);
}

static void test_permutation_and_ties(void **state) {
    (void)state;
    PreferenceOptions options = {0.1, 0.01};
    const size_t order[5] = {3, 0, 4, 1, 2};
    float shuffled[5], plain[5] = {0}, moved[5] = {0}, back[5];
    double rank[5];
    for (size_t i = 0; i < 5; i++) {
        shuffled[i] = scores[order[i]];
        rank[i] = ranks[order[i]];
    }
    double a = preference_loss(scores, ranks, 5, 0, &options, 1, plain);
    double b = preference_loss(shuffled, rank, 5, 0, &options, 1, moved);
    for (size_t i = 0; i < 5; i++) {
        back[order[i]] = moved[i];
    }
    assert_close_double("permuted", b, a, 1e-13, 0);
    assert_close("permuted gradient", back, plain, 5, 1e-7, 0);

    const double equal[3] = {2, 2, 2};
    float zero[3] = {0};
    assert_true(preference_loss(scores, equal, 3, 0, &options, 1, zero) == 0);
    assert_int_equal(preference_pairs(equal, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(zero[i] == 0);
    }
}

static void test_stable(void **state) {
    (void)state;
    PreferenceOptions options = {0, 0};
    const double two[2] = {1, 2};
    for (int sign = -1; sign <= 1; sign += 2) {
        float score[2] = {1e4f * (float)sign, 0}, gradient[2] = {0};
        double loss = preference_loss(score, two, 2, 0, &options, 1, gradient);
        assert_true(loss == (sign > 0 ? 0 : 1e4));
        assert_true(gradient[0] == (sign > 0 ? 0.0f : -1.0f));
        assert_true(gradient[1] == -gradient[0]);
    }
    float same[2] = {0.25f, 0.25f}, gradient[2] = {0};
    assert_close_double("equal scores", preference_loss(same, two, 2, 0, &options, 1, gradient),
                        log(2), 1e-15, 0);
    /* A margin asks for more distance: at equal scores the loss grows with it. */
    assert_close_double("margin", preference_loss(same, two, 2, 1, &options, 1, gradient),
                        log(1 + exp(1)), 1e-15, 0);
    /* Smoothing leaves a minimum at a finite distance: d = log((1 - e) / e). */
    options.label_smoothing = 0.2;
    float at[2] = {(float)log(4), 0}, smooth[2] = {0};
    preference_loss(at, two, 2, 0, &options, 1, smooth);
    assert_close_double("minimum", (double)smooth[0], 0, 0, 1e-7);
}

static void test_best(void **state) {
    (void)state;
    float two[2] = {0.5f, -1.25f}, got[2] = {0}, huge[3] = {1e30f, 0, -1e30f}, gradient[3] = {0};
    double loss, dwinner;
    bradley_terry(-1.25, 0.5, &loss, &dwinner);
    assert_close_double("best of 2", preference_best_loss(two, 1, 2, 1, got), loss, 1e-12, 0);
    assert_close_double("gradient", (double)got[1], dwinner, 1e-6, 0);
    assert_true(preference_best_loss(huge, 0, 3, 1, gradient) == 0);
    float equal[4] = {3, 3, 3, 3}, even[4] = {0};
    const float want[4] = {-0.75f, 0.25f, 0.25f, 0.25f};
    assert_close_double("even", preference_best_loss(equal, 0, 4, 1, even), log(4), 1e-15, 0);
    assert_close("even gradient", even, want, 4, 1e-7, 0);
}

static void test_correct(void **state) {
    (void)state;
    const double rank[4] = {1, 1, 2, 3};
    const float score[4] = {1, 0, 0, 2};
    /* strict pairs: 0>2 right, 0>3 wrong, 1>2 a tie of the score, 1>3 wrong, 2>3 wrong */
    assert_true(preference_correct(score, rank, 4) == 1.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_permutation_and_ties),
        cmocka_unit_test(test_stable),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_correct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
