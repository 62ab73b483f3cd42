/* SPDX-License-Identifier: MIT
 *
 * The figures of an evaluation, worked out by hand on scores that are given.
 */
#include <math.h>
#include <string.h>

#include "common/loss/loss.h"
#include "reward/reward.h"
#include "tests/support/support.h"

/* Completions are runs of one id, as long as the digit says: length is all that is looked at. */
typedef struct Maker {
    Record record[8];
    Example example[8];
    ExampleSet set;
    Tokens completion[8][4];
    int32_t id[8][4][16];
    int32_t prompt;
} Maker;

static void add(Maker *maker, uint64_t prompt, size_t K, const int *length, double *rank) {
    size_t n = maker->set.examples++;
    maker->record[n] = (Record){.kind = RECORD_RANKING, .completions = K, .rank = rank};
    static Message message = {ROLE_PLAIN, (char *)(uintptr_t) "x"};
    maker->record[n].message = &message;
    maker->record[n].messages = 1;
    for (size_t k = 0; k < K; k++) {
        for (int i = 0; i < length[k]; i++) {
            maker->id[n][k][i] = length[k];
        }
        maker->completion[n][k] = (Tokens){maker->id[n][k], (size_t)length[k], 16};
    }
    maker->example[n] = (Example){
        .prompt = {&maker->prompt, 1, 1},
        .completion = maker->completion[n],
        .completions = K,
        .record = &maker->record[n],
        .group = prompt,
        .key = n,
    };
    maker->set.example = maker->example;
}

static float *score_of(RewardSet *set, uint64_t prompt, int length) {
    for (size_t i = 0; i < set->groups; i++) {
        for (size_t k = 0; k < set->group[i].texts; k++) {
            if (set->group[i].key == prompt &&
                set->group[i].text[k].completion->count == (size_t)length) {
                return &set->score[set->group[i].score + k];
            }
        }
    }
    fail_msg("no such text");
    return NULL;
}

static void test_agreement(void **state) {
    (void)state;
    static Maker maker;
    const int three[3] = {1, 2, 3}, turned[3] = {3, 1, 2}, two[2] = {4, 5};
    /* Prompt 7: raters of texts 1, 2, 3 as (rank of 1, of 2, of 3). */
    double first[3] = {1, 2, 3};
    double second[3] = {3, 1, 1}; /* in the turned order: text 3 has 3, 1 has 1, 2 has 1 */
    double third[3] = {1, 3, 2};
    double tied[3] = {2, 2, 2};
    double single[2] = {2, 1}; /* prompt 9: 5 above 4 */
    add(&maker, 7, 3, three, first);
    add(&maker, 9, 2, two, single);
    add(&maker, 7, 3, turned, second);
    add(&maker, 7, 3, three, third);
    RewardSetOptions options = {.by_prompt = true, .keep_tied = true, .rows = 100, .labels = 1};
    RewardSet set;
    Error err = {0};
    assert_ok(reward_set_build(&set, &maker.set, &options, "test", &err), &err);
    assert_int_equal(set.items, 2);
    assert_int_equal(set.texts, 5);
    *score_of(&set, 7, 1) = 2;
    *score_of(&set, 7, 2) = 1;
    *score_of(&set, 7, 3) = 1;
    *score_of(&set, 9, 4) = 1;
    *score_of(&set, 9, 5) = 0;

    RewardLoss loss = {.objective = REWARD_RANKING};
    RewardEvaluation e;
    assert_ok(reward_evaluate(&e, &set, &loss, 1, &err), &err);
    /* pairs: first 1>2 1>3 2>3(score tie); second 1>3 2>3(tie); third 1>2 1>3 3>2(tie); single 5>4 */
    assert_true(e.pairs.pairs == 9 && e.pairs.correct == 5 + 3 * 0.5);
    assert_int_equal(e.ties, 3);
    /* majority: 1>2 by 2:0, 1>3 by 3:0, 2>3 by 2:1, and 5>4 of one rater */
    assert_true(e.majority.pairs == 4 && e.majority.correct == 1 + 1 + 0.5);
    assert_true(e.unanimous.pairs == 1 && e.unanimous.correct == 1);
    assert_true(e.split.pairs == 2 && e.split.correct == 1.5);
    assert_true(e.single.pairs == 1 && e.single.correct == 0);
    /* the longer one: 3>2 of third, 5>4 */
    assert_true(e.longer.pairs == 9 && e.longer.correct == 2);
    assert_true(e.longer_majority.pairs == 4 && e.longer_majority.correct == 1);
    /* one against the others: first 1>2 (others +1) yes, 1>3 (+2) yes, 2>3 (0) no say;
     * second 1>3 yes, 2>3 (others 0) no say; third 1>2 (+1) yes, 1>3 yes, 3>2 (others -2) no */
    assert_true(e.rater.pairs == 6 && e.rater.correct == 5);
    /* calibration: five right and one wrong at margin 1, three ties */
    double sure = loss_sigmoid(1);
    assert_close_double("error", e.calibration_error,
                        (fabs(5 - 6 * sure) + fabs(1.5 - 3 * 0.5)) / 9, 1e-12, 0);
    assert_close_double("margin", e.margin, (5 - 1) / 9.0, 1e-12, 0);
    /* loss: prompt 7 is the mean of its records, a record of its pairs; both prompts weigh the same */
    double right = loss_softplus(-1), wrong = loss_softplus(1), even = log(2);
    double p7 = ((2 * right + even) / 3 + (right + even) / 2 + (2 * right + even) / 3) / 3;
    assert_close_double("loss", e.loss, (p7 + wrong) / 2, 1e-9, 0);
    /* within prompts: scores (2/3, -1/3, -1/3) with lengths (-1, 0, 1); (1/2, -1/2) with (-1/2, 1/2) */
    double xx = 4.0 / 9 + 1.0 / 9 + 1.0 / 9 + 0.5, yy = 2 + 0.5, xy = -2.0 / 3 - 1.0 / 3 - 0.5;
    assert_close_double("length", e.length_correlation, xy / sqrt(xx * yy), 1e-9, 0);
    assert_close_double("mean", e.score_mean, 1, 1e-12, 0);
    reward_evaluation_done(&e);
    reward_set_done(&set);

    /* A fourth rater without a preference: 1>3 is not unanimous any more. */
    add(&maker, 7, 3, three, tied);
    assert_ok(reward_set_build(&set, &maker.set, &options, "test", &err), &err);
    assert_ok(reward_evaluate(&e, &set, &loss, 1, &err), &err);
    assert_true(e.unanimous.pairs == 0 && e.majority.pairs == 4);
    assert_close_double("loss at equal scores", e.loss, log(2), 1e-9, 0);
    reward_evaluation_done(&e);
    reward_set_done(&set);
}

static void test_classes_and_numbers(void **state) {
    (void)state;
    /* Four records, three classes; class 2 never occurs and is never guessed. */
    static Record record = {.kind = RECORD_LABELED};
    static int32_t id[2] = {1, 2};
    Example example[4];
    for (size_t i = 0; i < 4; i++) {
        example[i] = (Example){
            .prompt = {id, 2, 2},
              .record = &record, .group = i, .key = i
        };
    }
    ExampleSet examples = {.example = example, .examples = 4};
    RewardSetOptions options = {.rows = 100, .labels = 3};
    RewardSet set;
    Error err = {0};
    assert_ok(reward_set_build(&set, &examples, &options, "test", &err), &err);
    const size_t label[4] = {0, 0, 1, 1};
    const float score[12] = {3, 1, 0, 0, 2, 1, 0, 2, 1, 0, 2, 0};
    memcpy(set.score, score, sizeof score);
    for (size_t i = 0; i < 4; i++) {
        set.group[i].judgment[0].label = label[i];
    }
    RewardLoss loss = {.objective = REWARD_CLASSIFICATION};
    RewardEvaluation e;
    assert_ok(reward_evaluate(&e, &set, &loss, 3, &err), &err);
    const size_t confusion[9] = {1, 1, 0, 0, 2, 0, 0, 0, 0};
    assert_memory_equal(e.confusion, confusion, sizeof confusion);
    assert_close_double("accuracy", e.accuracy, 0.75, 1e-12, 0);
    assert_close_double("F1", e.macro_f1, (2.0 / 3 + 0.8) / 2, 1e-12, 0);
    reward_evaluation_done(&e);
    reward_set_done(&set);

    options.labels = 1;
    assert_ok(reward_set_build(&set, &examples, &options, "test", &err), &err);
    const float value[4] = {1, 2, 3, 5};
    const double target[4] = {1, 2, 3, 3};
    memcpy(set.score, value, sizeof value);
    for (size_t i = 0; i < 4; i++) {
        set.group[i].judgment[0].target = target[i];
    }
    loss.objective = REWARD_REGRESSION;
    assert_ok(reward_evaluate(&e, &set, &loss, 1, &err), &err);
    assert_close_double("squared error", e.squared_error, 1, 1e-9, 0);
    assert_close_double("loss", e.loss, 1, 1e-9, 0);
    /* deviations (-1.75, -.75, .25, 2.25) and (-1.25, -.25, .75, .75) */
    assert_close_double("correlation", e.correlation, 4.25 / sqrt(8.75 * 2.75), 1e-9, 0);
    reward_evaluation_done(&e);
    reward_set_done(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_classes_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
