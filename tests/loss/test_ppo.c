/* SPDX-License-Identifier: MIT
 *
 * PPO's arithmetic against vectors worked out by hand and against its identities.
 */
#include <math.h>

#include "common/loss/ppo.h"
#include "tests/loss/gradient.h"

typedef struct Case {
    double old, other, clip, weight;
    KlEstimator estimator;
} Case;

static double policy(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return ppo_policy_loss((double)x[0], c->old, c->other, c->clip, c->weight, gradient, NULL);
}

static double value(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    return ppo_value_loss((double)x[0], c->old, c->other, c->clip, c->weight, gradient, NULL);
}

static double divergence(const void *context, const float *x, float *gradient) {
    const Case *c = context;
    double slope, loss = ppo_kl_loss(c->estimator, (double)x[0], c->old, &slope);
    *gradient += (float)slope;
    return loss;
}

static void test_differences(void **state) {
    (void)state;
    const float logp[] = {-1.5f, -1.0f, -0.5f, -0.25f};
    for (size_t i = 0; i < 4; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            Case c = {-0.9, 1.25 * sign, 0.2, 0.6, KL_K1};
            check_gradient("policy", policy, &c, &logp[i], 1);
            check_gradient("value", value, &c, &logp[i], 1);
            c.clip = 0;
            check_gradient("value without clip", value, &c, &logp[i], 1);
        }
        for (KlEstimator k = KL_K1; k <= KL_K3; k++) {
            Case c = {-0.9, 0, 0, 1, k};
            check_gradient("divergence", divergence, &c, &logp[i], 1);
        }
    }
}

/* Both signs of the advantage, inside and outside of the clip: the larger loss always counts. */
static void test_policy_clip(void **state) {
    (void)state;
    const struct {
        double ratio, advantage, loss, slope, clipped;
    } row[] = {
        {1.0, 2,  -2,   -2,   0},
        {1.1, 2,  -2.2, -2.2, 0},
        {1.5, 2,  -2.4, 0,    1},
        {0.5, 2,  -1,   -1,   0},
        {1.0, -2, 2,    2,    0},
        {1.5, -2, 3,    3,    0},
        {0.5, -2, 1.6,  0,    1},
        {0.9, -2, 1.8,  1.8,  0},
        {1.5, 0,  0,    0,    0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        PpoStats stats = {0};
        float slope = 0;
        double loss =
            ppo_policy_loss(log(row[i].ratio) - 3, -3, row[i].advantage, 0.2, 0.5, &slope, &stats);
        assert_close_double("loss", loss, 0.5 * row[i].loss, 1e-12, 1e-12);
        assert_close_double("slope", (double)slope, 0.5 * row[i].slope, 1e-6, 1e-12);
        assert_close_double("statistic", stats.policy_loss, row[i].loss, 1e-12, 1e-12);
        assert_true(stats.clipped == row[i].clipped);
        assert_int_equal(stats.rows, 1);
        assert_close_double("ratio", stats.ratio, row[i].ratio, 1e-12, 0);
        assert_close_double("k1", stats.approx_kl, pow(log(row[i].ratio), 2) / 2, 1e-9, 1e-15);
        assert_true(stats.approx_kl_k3 >= 0);
    }
}

static void test_value_clip(void **state) {
    (void)state;
    /* old 0, clip 0.2: V = 1 is seen as 0.2, V = -1 as -0.2; the larger square counts. */
    const struct {
        double value, returns, loss, slope, clipped;
    } row[] = {
        {1,   0,  0.5,   1,    0},
        {1,   1,  0.32,  0,    1},
        {1,   2,  1.62,  0,    1},
        {-1,  0,  0.5,   -1,   0},
        {-1,  -1, 0.32,  0,    1},
        {0.1, 1,  0.405, -0.9, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        PpoStats stats = {0};
        float slope = 0;
        double loss = ppo_value_loss(row[i].value, 0, row[i].returns, 0.2, 2, &slope, &stats);
        assert_close_double("loss", loss, 2 * row[i].loss, 1e-12, 0);
        assert_close_double("slope", (double)slope, 2 * row[i].slope, 1e-6, 0);
        assert_true(stats.value_clipped == row[i].clipped);
    }
}

static void test_advantages(void **state) {
    (void)state;
    const float reward[3] = {0, 0, 1}, values[3] = {0.5f, 0.4f, 0.3f};
    const size_t start[2] = {0, 3};
    float advantage[3], returns[3];
    ppo_advantages(reward, values, start, 1, 1, 0.95, advantage, returns);
    const float want[3] = {0.43675f, 0.565f, 0.7f}, sum[3] = {0.93675f, 0.965f, 1.0f};
    assert_close("advantages", advantage, want, 3, 1e-6, 0);
    assert_close("returns", returns, sum, 3, 1e-6, 0);

    /* What follows in memory belongs to another sequence and never leaks in. */
    const float r[3] = {0, 1, 0}, v[3] = {0, 0, 100};
    const size_t two[3] = {0, 2, 3};
    ppo_advantages(r, v, two, 2, 1, 0.95, advantage, returns);
    assert_close_double("first", (double)advantage[0], 0.95, 1e-6, 0);
    assert_close_double("second", (double)advantage[1], 1, 1e-6, 0);
    assert_close_double("other sequence", (double)advantage[2], -100, 1e-6, 0);

    /* lambda = 1: A_t is the discounted sum of rewards minus V_t; lambda = 0: A_t = delta_t. */
    ppo_advantages(reward, values, start, 1, 0.9, 1, advantage, returns);
    assert_close_double("Monte Carlo", (double)advantage[0], 0.81 - 0.5, 1e-6, 0);
    ppo_advantages(reward, values, start, 1, 0.9, 0, advantage, returns);
    assert_close_double("one step", (double)advantage[0], 0.9 * 0.4 - 0.5, 1e-6, 0);
}

static void test_whiten(void **state) {
    (void)state;
    float x[5] = {1, 2, 4, 8, -5}, kept[5];
    memcpy(kept, x, sizeof x);
    ppo_whiten(x, 5, false);
    ppo_whiten(kept, 5, true);
    double sum = 0, squares = 0, shifted = 0, spread = 0;
    for (size_t i = 0; i < 5; i++) {
        sum += (double)x[i] / 5;
        squares += (double)x[i] * (double)x[i] / 5;
        shifted += (double)kept[i] / 5;
        spread += pow((double)kept[i] - 2, 2) / 5;
    }
    assert_close_double("mean", sum, 0, 0, 1e-7);
    assert_close_double("variance", squares, 1, 1e-6, 0);
    assert_close_double("kept mean", shifted, 2, 1e-6, 0);
    assert_close_double("kept variance", spread, 1, 1e-6, 0);
    float equal[2] = {3, 3};
    ppo_whiten(equal, 2, false);
    assert_true(equal[0] == 0 && equal[1] == 0);
}

/* The score lands on exactly one row of each sequence, also of one row. */
static void test_rewards(void **state) {
    (void)state;
    const float kl[6] = {0.5f, -0.25f, 0.125f, 1.0f, 0.25f, -0.5f};
    const double score[3] = {2, -1, 0.5}, beta = 0.25;
    const size_t start[4] = {0, 3, 4, 6};
    float reward[6];
    ppo_rewards(kl, score, start, 3, beta, reward);
    for (size_t s = 0; s < 3; s++) {
        double sum = 0;
        for (size_t t = start[s]; t < start[s + 1]; t++) {
            sum += (double)reward[t] + beta * (double)kl[t];
            if (t + 1 < start[s + 1]) {
                assert_close_double("penalty", (double)reward[t], -beta * (double)kl[t], 1e-7, 0);
            }
        }
        assert_close_double("score", sum, score[s], 1e-6, 0);
    }
}

static void test_divergence(void **state) {
    (void)state;
    /* Over a whole distribution, k1 and k3 have the KL as their mean; k3 is never negative. */
    const double p[3] = {0.5, 0.3, 0.2}, q[3] = {0.2, 0.2, 0.6};
    double kl = 0, k1 = 0, k3 = 0;
    for (size_t i = 0; i < 3; i++) {
        double a = log(p[i]), b = log(q[i]);
        kl += p[i] * (a - b);
        k1 += p[i] * ppo_kl(KL_K1, a, b);
        k3 += p[i] * ppo_kl(KL_K3, a, b);
        assert_true(ppo_kl(KL_K3, a, b) >= 0);
        assert_close_double("k2", ppo_kl(KL_K2, a, b), pow(a - b, 2) / 2, 1e-14, 0);
    }
    assert_close_double("k1", k1, kl, 1e-12, 0);
    assert_close_double("k3", k3, kl, 1e-12, 0);
    for (double d = -1e-7; d < 2e-7; d += 1e-7) {
        assert_true(ppo_kl(KL_K3, d, 0) >= 0); /* no cancellation near 0 */
    }
}

/* The gradient of k2 is right in expectation: its mean under the policy is the gradient of the KL. */
static void test_divergence_gradient(void **state) {
    (void)state;
    const double logit[3] = {0.3, -0.2, 0.6}, q[3] = {0.2, 0.5, 0.3};
    double total = 0, p[3];
    for (size_t i = 0; i < 3; i++) {
        total += exp(logit[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        p[i] = exp(logit[i]) / total;
    }
    for (size_t k = 0; k < 3; k++) {
        double exact = 0, estimate = 0;
        for (size_t i = 0; i < 3; i++) {
            double d = log(p[i]) - log(q[i]), dlogp = (i == k) - p[k], slope;
            exact += p[i] * dlogp * (d + 1);
            ppo_kl_loss(KL_K2, log(p[i]), log(q[i]), &slope);
            estimate += p[i] * slope * dlogp;
        }
        assert_close_double("gradient", estimate, exact, 1e-12, 1e-15);
    }
}

static void test_final_score(void **state) {
    (void)state;
    double one = ppo_final_score(3, 1, 2, 0, true, MISSING_EOS_REPLACE, -1);
    assert_close_double("normalized", one, 1, 1e-15, 0);
    assert_true(ppo_final_score(3, 1, 0.1, 5, true, MISSING_EOS_SUBTRACT, 1) == 5);
    assert_true(ppo_final_score(-3, 1, 0.1, 5, true, MISSING_EOS_SUBTRACT, 1) == -5);
    assert_true(ppo_final_score(3, 1, 0.1, 5, false, MISSING_EOS_REPLACE, -1) == -1);
    assert_true(ppo_final_score(3, 1, 0.1, 5, false, MISSING_EOS_SUBTRACT, 1) == 4);
    assert_true(ppo_final_score(3, 0, 1, 0, false, MISSING_EOS_IGNORE, 1) == 3);
}

static void test_coefficient(void **state) {
    (void)state;
    /* Ziegler et al.: at most 0.2 n / horizon either way, in proportion between. */
    double most = 0.2 * 512 / 10000;
    assert_close_double("up", ppo_adapt_beta(0.1, 60, 6, 10000, 512), 0.1 * (1 + most), 1e-14, 0);
    assert_close_double("down", ppo_adapt_beta(0.1, 0, 6, 10000, 512), 0.1 * (1 - most), 1e-14, 0);
    assert_true(ppo_adapt_beta(0.1, 6, 6, 10000, 512) == 0.1);
    assert_close_double("between", ppo_adapt_beta(0.1, 6.6, 6, 10000, 512), 0.1 * (1 + most / 2),
                        1e-12, 0);
}

static void test_best_of_n(void **state) {
    (void)state;
    const struct {
        size_t n;
        double kl;
    } known[] = {
        {1,  0    },
        {2,  0.193},
        {4,  0.636},
        {16, 1.835},
        {64, 3.175}
    };
    for (size_t i = 0; i < 5; i++) {
        assert_close_double("KL", ppo_best_of_n_kl(known[i].n), known[i].kl, 0, 1e-3);
    }
}

static void test_explained_variance(void **state) {
    (void)state;
    const float returns[4] = {1, 2, 3, 4}, shifted[4] = {11, 12, 13, 14}, flat[4] = {7, 7, 7, 7};
    const float wrong[4] = {4, 3, 2, 1};
    assert_true(ppo_explained_variance(returns, returns, 4) == 1);
    assert_close_double("shift", ppo_explained_variance(shifted, returns, 4), 1, 1e-12, 0);
    assert_close_double("constant", ppo_explained_variance(flat, returns, 4), 0, 0, 1e-12);
    assert_close_double("worse", ppo_explained_variance(wrong, returns, 4), -3, 1e-12, 0);
    assert_true(ppo_explained_variance(returns, flat, 4) == 0);
}

static void test_stats(void **state) {
    (void)state;
    PpoStats all = {0}, first = {0}, second = {0};
    float waste = 0;
    for (int i = 0; i < 6; i++) {
        double logp = -1 + 0.2 * i;
        PpoStats *part = i < 3 ? &first : &second;
        ppo_policy_loss(logp, -0.8, i - 2.5, 0.2, 1, &waste, &all);
        ppo_value_loss(logp, -0.8, 0.1 * i, 0.2, 1, &waste, &all);
        ppo_policy_loss(logp, -0.8, i - 2.5, 0.2, 1, &waste, part);
        ppo_value_loss(logp, -0.8, 0.1 * i, 0.2, 1, &waste, part);
    }
    ppo_stats_add(&first, &second);
    assert_close_double("policy", first.policy_loss, all.policy_loss, 1e-12, 0);
    assert_close_double("value", first.value_loss, all.value_loss, 1e-12, 0);
    assert_close_double("KL", first.approx_kl_k3, all.approx_kl_k3, 1e-12, 0);
    assert_true(first.clipped == all.clipped && first.value_clipped == all.value_clipped);
    assert_true(first.ratio_max == all.ratio_max && first.rows == all.rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences), cmocka_unit_test(test_policy_clip),
        cmocka_unit_test(test_value_clip),  cmocka_unit_test(test_advantages),
        cmocka_unit_test(test_whiten),      cmocka_unit_test(test_rewards),
        cmocka_unit_test(test_divergence),  cmocka_unit_test(test_divergence_gradient),
        cmocka_unit_test(test_final_score), cmocka_unit_test(test_coefficient),
        cmocka_unit_test(test_best_of_n),   cmocka_unit_test(test_explained_variance),
        cmocka_unit_test(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
