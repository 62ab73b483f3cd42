/* SPDX-License-Identifier: MIT
 *
 * Rankings through the model: grouping and weights, gradients, batch independence, learning.
 */
#include <math.h>

#include "common/loss/loss.h"
#include "tests/reward/fixture.h"
#include "tests/train/loop.h"

static void test_groups_and_weights(void **state) {
    (void)state;
    const char *text = "{\"prompt\":\"p\",\"completions\":[\"a\",\"b\",\"c\"],\"ranks\":[1,2,3]}\n"
                       "{\"prompt\":\"q\",\"completions\":[\"a\",\"d\"],\"ranks\":[2,1]}\n"
                       "{\"prompt\":\"p\",\"completions\":[\"c\",\"a\",\"b\"],\"ranks\":[1,1,2]}\n"
                       "{\"prompt\":\"p\",\"completions\":[\"a\",\"b\",\"c\"],\"ranks\":[2,2,2]}\n"
                       "{\"prompt\":\"p\",\"completions\":[\"a\",\"e\"],\"ranks\":[2,1]}\n";
    const char *path = test_file(test_folder(), "r.jsonl", text, strlen(text));
    World world;
    world_open(&world, path, NULL);
    const RewardSet *set = &world.reward.train;
    assert_int_equal(set->items, 2);
    assert_int_equal(set->counts.tied, 1);
    assert_int_equal(set->counts.records, 5);
    assert_int_equal(set->counts.pairs, 3 + 1 + 2 + 1);
    assert_int_equal(set->counts.texts, 4 + 2); /* a b c e, a d */
    assert_int_equal(set->counts.raters, 2);
    size_t seen = 0;
    for (size_t i = 0; i < set->groups; i++) {
        double weight = 0;
        const RewardGroup *group = &set->group[i];
        for (size_t j = 0; j < group->judgments; j++) {
            const RewardJudgment *judgment = &group->judgment[j];
            weight += judgment->weight;
            for (size_t k = 0; k < judgment->texts; k++) {
                /* the text is the record's own completion */
                const Tokens *a = group->text[judgment->text[k]].completion;
                const Tokens *b = &judgment->example->completion[k];
                assert_int_equal(a->count, b->count);
                assert_memory_equal(a->id, b->id, a->count * sizeof *a->id);
            }
            seen++;
        }
        assert_close_double("weight of a prompt", weight, 1, 1e-12, 0);
    }
    assert_int_equal(seen, 4);

    /* For an evaluation the rater without a preference is still a rater. */
    RewardSetOptions options = {.by_prompt = true, .keep_tied = true, .rows = 96, .labels = 1};
    Other other;
    other_open(&other, &world.reward, path, &options);
    assert_int_equal(other.set.counts.raters, 3);
    assert_int_equal(other.set.items, 2);
    other_close(&other);
    world_close(&world);
}

/* T12: one ranking of four with a tie, and its five strict pairs as records of their own: packed behind
 * one prefix, and each pair alone without one. */
static void test_ranking_is_its_pairs(void **state) {
    (void)state;
    const char *const completion[4] = {"Here is a red fox.", "A blue owl", "Green.", "white white"};
    const int rank[4] = {2, 1, 2, 3};
    const char *folder = test_folder();
    Str whole = {0}, pairs = {0};
    str_append(&whole, "{\"prompt\":\"color[red], animal[fox]\",\"completions\":[");
    for (int i = 0; i < 4; i++) {
        str_appendf(&whole, "%s\"%s\"", i == 0 ? "" : ",", completion[i]);
        for (int j = 0; j < 4; j++) {
            if (rank[i] < rank[j]) {
                str_appendf(&pairs,
                            "{\"prompt\":\"color[red], animal[fox]\",\"chosen\":\"%s\","
                            "\"rejected\":\"%s\"}\n",
                            completion[i], completion[j]);
            }
        }
    }
    str_append(&whole, "],\"ranks\":[2,1,2,3]}\n");
    const char *one = test_file(folder, "one.jsonl", whole.data, whole.size);
    const char *many = test_file(folder, "many.jsonl", pairs.data, pairs.size);
    str_done(&whole);
    str_done(&pairs);

    World world;
    world_open(&world, one, NULL);
    Reward *reward = &world.reward;
    RewardSetOptions together = {.by_prompt = true, .rows = 96, .labels = 1};
    RewardSetOptions apart = {.by_prompt = true, .rows = 1, .labels = 1};
    Other other[2];
    other_open(&other[0], reward, many, &together);
    other_open(&other[1], reward, many, &apart);
    assert_int_equal(other[0].set.groups, 1);
    assert_int_equal(other[1].set.groups, 5);
    const RewardSet *set[3] = {&reward->train, &other[0].set, &other[1].set};
    float *gradient[3];
    double loss[3];
    for (int i = 0; i < 3; i++) {
        Error err = {0};
        RewardSums sums = {0};
        gradients_zero(&reward->gradients);
        assert_ok(reward_accumulate(&reward->pass, &reward->model, &reward->gradients, set[i],
                                    &reward->loss, in_order, NULL, 1, 1, &sums, &err),
                  &err);
        loss[i] = sums.loss;
        assert_true(sums.pairs == 5);
        gradient[i] = malloc(reward->gradients.count * sizeof(float));
        memcpy(gradient[i], reward->gradients.data, reward->gradients.count * sizeof(float));
    }
    for (int i = 1; i < 3; i++) {
        assert_close_double("loss", loss[i], loss[0], 1e-5, 0);
        assert_close("gradient", gradient[i], gradient[0], reward->gradients.count, 1e-3, 1e-7);
        other_close(&other[i - 1]);
    }
    double norm = 0;
    for (size_t i = 0; i < reward->gradients.count; i++) {
        norm += pow((double)gradient[0][i], 2);
    }
    assert_true(norm > 0);
    for (int i = 0; i < 3; i++) {
        free(gradient[i]);
    }
    world_close(&world);
}

/* T07: the neighbors in the batch, and whether a prompt is shared, change no score. */
static void test_score_is_alone(void **state) {
    (void)state;
    const char *path = write_rankings(test_folder(), 1);
    World world;
    world_open(&world, path, NULL);
    Reward *reward = &world.reward;
    Error err = {0};
    RewardSetOptions pairs = {.by_prompt = false, .rows = 1, .labels = 1};
    Other other;
    other_open(&other, reward, path, &pairs);
    assert_ok(reward_score(&reward->pass, &reward->model, &reward->train, &err), &err);
    assert_ok(reward_score(&reward->pass, &reward->model, &other.set, &err), &err);
    for (size_t i = 0; i < other.set.groups; i++) {
        const RewardGroup *group = &other.set.group[i];
        const Example *example = group->judgment[0].example;
        for (size_t k = 0; k < reward->train.groups; k++) {
            const RewardGroup *same = &reward->train.group[k];
            const Example *to = same->judgment[0].example;
            if (to->record->line != example->record->line) {
                continue;
            }
            for (size_t t = 0; t < group->judgment[0].texts; t++) {
                float a = other.set.score[group->score + group->judgment[0].text[t]];
                float b = reward->train.score[same->score + same->judgment[0].text[t]];
                assert_close("score", &a, &b, 1, 1e-5, 1e-6);
            }
        }
    }
    /* One sequence at a time, without any prefix. */
    for (size_t i = 0; i < reward->train.groups; i++) {
        const RewardGroup *group = &reward->train.group[i];
        for (size_t t = 0; t < group->texts; t++) {
            RewardText text = group->text[t];
            RewardGroup alone = {.prompt = group->prompt,
                                 .text = &text,
                                 .texts = 1,
                                 .rows = group->prompt->count + text.completion->count};
            float score = 0;
            RewardSet set = {.group = &alone, .groups = 1, .score = &score};
            assert_ok(reward_score(&reward->pass, &reward->model, &set, &err), &err);
            assert_close("alone", &score, &reward->train.score[group->score + t], 1, 1e-5, 1e-6);
        }
    }
    other_close(&other);
    world_close(&world);
}

static void test_learns(void **state) {
    (void)state;
    Error err = {0};
    World world;
    const char *zero[] = {"reward.zero_head=true", NULL};
    world_open(&world, write_rankings(test_folder(), 2), zero);
    Reward *reward = &world.reward;
    RewardEvaluation evaluation;
    assert_ok(reward_score(&reward->pass, &reward->model, &reward->train, &err), &err);
    assert_ok(reward_evaluate(&evaluation, &reward->train, &reward->loss, 1, &err), &err);
    /* T15: a head of zeros knows nothing. */
    assert_close_double("loss", evaluation.loss, log(2), 1e-6, 0);
    assert_close_double("accuracy", evaluation.accuracy, 0.5, 1e-12, 0);
    assert_true(evaluation.ties == 8 * 2 * 5);
    reward_evaluation_done(&evaluation);

    world_train(&world, 0, 40);
    assert_ok(reward_score(&reward->pass, &reward->model, &reward->train, &err), &err);
    assert_ok(reward_evaluate(&evaluation, &reward->train, &reward->loss, 1, &err), &err);
    assert_true(evaluation.accuracy == 1);
    assert_true(evaluation.pairs.pairs == 8 * 2 * 5);
    assert_true(evaluation.majority.pairs == 8 * 5);
    assert_true(evaluation.loss < 0.3);
    reward_evaluation_done(&evaluation);
    world_close(&world);
}

/* Any split into micro-batches, any order within a step: the same gradient. */
static void test_micro_batches(void **state) {
    (void)state;
    const char *path = write_rankings(test_folder(), 2);
    float *gradient[2];
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        Error err = {0};
        World world;
        const char *more[] = {i == 0 ? "train.micro_tokens=1000" : "train.micro_tokens=1",
                              "train.batch=8", NULL};
        world_open(&world, path, more);
        Reward *reward = &world.reward;
        RewardSums sums = {0};
        gradients_zero(&reward->gradients);
        assert_ok(reward_accumulate(&reward->pass, &reward->model, &reward->gradients,
                                    &reward->train, &reward->loss, in_order, NULL, 8, 0.125, &sums,
                                    &err),
                  &err);
        count = reward->gradients.count;
        gradient[i] = malloc(count * sizeof(float));
        memcpy(gradient[i], reward->gradients.data, count * sizeof(float));
        world_close(&world);
    }
    assert_close("gradient", gradient[1], gradient[0], count, 1e-3, 1e-7);
    free(gradient[0]);
    free(gradient[1]);
}

/* Rankings in several micro-batches, with dropout and an average. */
static void test_no_allocation(void **state) {
    (void)state;
    World world;
    world_open(&world, write_rankings(test_folder(), 2),
               (const char *const[]){"train.dropout=0.1", "train.ema=0.9", NULL});
    TrainerStage stage = reward_stage;
    stage.context = &world.reward;
    assert_loop_allocates_nothing(&stage, &world.log);
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_and_weights), cmocka_unit_test(test_ranking_is_its_pairs),
        cmocka_unit_test(test_score_is_alone),     cmocka_unit_test(test_learns),
        cmocka_unit_test(test_micro_batches),      cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
