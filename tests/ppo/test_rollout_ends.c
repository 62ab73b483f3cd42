/* SPDX-License-Identifier: MIT
 *
 * PPO of a policy whose completions end in one of several ids: which are finished, what a missing end
 * costs, what is counted, and what a reward model reads.
 */
#include <string.h>

#include "tests/ppo/world.h"

static const WorldOptions options = {
    .vocabulary = 11, .width = 16, .layers = 2, .context = 24, .eos = 0, .prompts = 4};

/* Beside EOS, which the policy's layout ends with. */
enum { OTHER = 3, THIRD = 8 };

static void add_ends(Model *model) {
    static const int32_t end[] = {0, OTHER, THIRD};
    memcpy(model->config.end, end, sizeof end);
    model->config.ends = 3;
}

static bool ends(int32_t id) {
    return id == 0 || id == OTHER || id == THIRD;
}

/* Each completion stops at the first of the ids, and only one of them spares it the penalty. */
static void check_rollout(const Rollout *rollout, size_t most, size_t *by_other, size_t *cut) {
    for (size_t s = 0; s < rollout->samples; s++) {
        size_t from = rollout->start[s], to = rollout->start[s + 1];
        for (size_t a = from; a + 1 < to; a++) {
            assert_false(ends(rollout->action[a]));
        }
        int32_t last = rollout->action[to - 1];
        assert_int_equal(rollout->finished[s], ends(last));
        assert_true(ends(last) || to - from == most);
        double want = rollout->raw_score[s] - (ends(last) ? 0 : 3.5);
        assert_close_double("score", rollout->score[s], want, 0, 1e-12);
        *by_other += last == OTHER || last == THIRD;
        *cut += !ends(last);
    }
}

static void test_accounting(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    world_init(&world, &options,
               (const char *const[]){"ppo.missing_eos=subtract", "ppo.missing_eos_value=3.5",
                                     "generation.max_tokens=5", "generation.samples=4",
                                     "train.batch=4", NULL});
    add_ends(&world.policy);
    size_t by_other = 0, cut = 0;
    for (int64_t i = 0; i < 4; i++) {
        world_step(&world, i, &metrics);
        const Rollout *rollout = &world.ppo.rollout;
        check_rollout(rollout, 5, &by_other, &cut);
        size_t finished = 0;
        for (size_t s = 0; s < rollout->samples; s++) {
            finished += ends(rollout->action[rollout->start[s + 1] - 1]);
        }
        assert_close_double("count", metric(&metrics, "val/num_eos_tokens"), (double)finished, 0,
                            0);
        assert_close_double("rate", metric(&metrics, "val/eos_rate"), (double)finished / 16, 0,
                            1e-12);
    }
    assert_true(by_other > 4 && cut > 4);
    world_done(&world);
}

static void test_evaluation(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    Error err = {0};
    bool eligible = true;
    world_init(&world, &options, (const char *const[]){"generation.max_tokens=5", NULL});
    add_ends(&world.policy);
    assert_ok(ppo_evaluate(&world.ppo, 1, NULL, &metrics, &eligible, &err), &err);
    const Rollout *trial = &world.ppo.trial;
    size_t finished = 0, by_other = 0;
    for (size_t s = 0; s < trial->samples; s++) {
        int32_t last = trial->action[trial->start[s + 1] - 1];
        finished += ends(last);
        by_other += ends(last) && last != 0;
    }
    assert_true(by_other > 0);
    assert_close_double("rate", metric(&metrics, "eval/eos_rate"),
                        (double)finished / (double)trial->samples, 0, 1e-12);
    world_done(&world);
}

/* Ended by EOS, by another id or by the limit: the reward model reads the same ids, the last being EOS. */
static void test_reward_model(void **state) {
    (void)state;
    World world;
    Error err = {0};
    world_init(&world, &options, NULL);
    static const int32_t prompt[] = {5, 6, 7};
    static const int32_t said[4][3] = {
        {4,      2, 0},
        {4,      2,       OTHER},
        {4, 2,THIRD},
        {4,     2     }
    };
    RewardItem item[4];
    double score[4];
    for (size_t i = 0; i < 4; i++) {
        item[i] = (RewardItem){.prompt = prompt,
                               .prompt_count = 3,
                               .completion = said[i],
                               .completion_count = i < 3 ? 3 : 2,
                               .finished = i < 3,
                               .group = i};
    }
    assert_ok(reward_score(world.source, item, 4, score, &err), &err);
    for (size_t i = 1; i < 4; i++) {
        assert_memory_equal(&score[i], &score[0], sizeof *score);
    }
    item[1].finished = false; /* then the id is a word like any other */
    double other;
    assert_ok(reward_score(world.source, &item[1], 1, &other, &err), &err);
    assert_true(other != score[0]);
    world_done(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accounting),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_reward_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
