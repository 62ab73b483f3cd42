/* SPDX-License-Identifier: MIT
 *
 * Rollouts and micro-batches: rows, targets and prefixes; log-probs and values are those of each
 * completion alone, whatever shares a micro-batch.
 */
#include <math.h>
#include <string.h>

#include "tests/ppo/world.h"

static double count_token(void *context, const RewardItem *item) {
    int32_t wanted = *(int32_t *)context;
    double n = 0;
    for (size_t i = 0; i < item->completion_count; i++) {
        n += item->completion[i] == wanted;
    }
    return n;
}

static int32_t two = 2;

static const WorldOptions options = {.vocabulary = 11,
                                     .width = 16,
                                     .layers = 2,
                                     .context = 24,
                                     .eos = 0,
                                     .prompts = 4,
                                     .reward = count_token,
                                     .reward_context = &two};

/* Rows of a completion, made by hand, against what the pack holds. */
static void test_rows(void **state) {
    (void)state;
    Error err = {0};
    int32_t ids[] = {7, 8, 9};
    RolloutPrompt prompt[2] = {
        {.id = ids, .count = 3, .key = 1},
        {.id = ids, .count = 1, .key = 2}
    };
    Rollout rollout;
    assert_ok(rollout_init(&rollout, 2, 2, 3, &err), &err);
    rollout.groups = rollout.per_group = 2;
    rollout.samples = 4;
    rollout.prompt[0] = &prompt[0];
    rollout.prompt[1] = &prompt[1];
    int32_t action[] = {1, 2, 0, 3, 4, 0, 5, 6};
    size_t start[] = {0, 3, 4, 6, 8};
    memcpy(rollout.action, action, sizeof action);
    memcpy(rollout.start, start, sizeof start);
    rollout.actions = 8;
    Pack pack;
    size_t order[] = {2, 3, 1, 0}, next = 0;
    assert_ok(pack_init(&pack, 32, &err), &err);
    assert_ok(pack_fill(&pack, &rollout, order, 4, &next, &err), &err);
    assert_int_equal(next, 4);
    /* The prompt of one id has no prefix; the other's first two ids are the prefix of both. */
    const int32_t id[] = {7, 4, 7, 5, 7, 8, 9, 9, 1, 2};
    const int32_t target[] = {4, 0, 5, 6, -1, -1, 3, 1, 2, 0};
    const int32_t prefix[] = {-1, -1, -1, 2, 2};
    const size_t begin[] = {0, 2, 4, 6, 7, 10};
    const size_t entry[] = {4, 5, 6, 7, PACK_NO_ACTION, PACK_NO_ACTION, 3, 0, 1, 2};
    assert_int_equal(pack.batch.tokens, 10);
    assert_int_equal(pack.batch.sequences, 5);
    assert_memory_equal(pack.batch.id, id, sizeof id);
    assert_memory_equal(pack.batch.target, target, sizeof target);
    assert_memory_equal(pack.batch.prefix, prefix, sizeof prefix);
    assert_memory_equal(pack.batch.start, begin, sizeof begin);
    assert_memory_equal(pack.action, entry, sizeof entry);
    assert_true(batch_is_valid(&pack.batch, 11, 24));
    /* A smaller budget cuts the group and repeats the prefix. */
    pack.rows = 5;
    next = 2;
    assert_ok(pack_fill(&pack, &rollout, order, 4, &next, &err), &err);
    assert_int_equal(next, 3);
    assert_int_equal(pack.batch.tokens, 3);
    assert_ok(pack_fill(&pack, &rollout, order, 4, &next, &err), &err);
    assert_int_equal(next, 4);
    assert_int_equal(pack.batch.tokens, 5);
    assert_int_equal(pack.batch.sequences, 2);
    pack_done(&pack);
    rollout_done(&rollout);
}

/* Every log-prob of the rollout, recomputed for each completion alone in a plain sequence. */
static void check_logprobs(const World *world, double temperature) {
    const Rollout *rollout = &world->ppo.rollout;
    double all[64];
    for (size_t s = 0; s < rollout->samples; s++) {
        const RolloutPrompt *prompt = rollout->prompt[s / rollout->per_group];
        int32_t ids[64];
        size_t n = prompt->count;
        memcpy(ids, prompt->id, n * sizeof *ids);
        for (size_t a = rollout->start[s]; a < rollout->start[s + 1]; a++) {
            world_distribution(&world->reference, ids, n, all);
            double sum = 0, entropy = 0;
            for (size_t v = 0; v < 11; v++) {
                sum += exp(all[v] / temperature);
            }
            for (size_t v = 0; v < 11; v++) {
                double log_p = all[v] / temperature - log(sum);
                entropy -= exp(log_p) * log_p;
            }
            double want = all[rollout->action[a]] / temperature - log(sum);
            assert_close_double("old", rollout->old[a], want, 0, 2e-5);
            assert_close_double("reference", rollout->reference[a], want, 0, 2e-5);
            assert_close_double("sampled", rollout->sampled[a], want, 0, 2e-5);
            assert_close_double("entropy", rollout->entropy[a], entropy, 0, 5e-5);
            ids[n++] = rollout->action[a];
        }
        assert_int_equal(rollout->finished[s], ids[n - 1] == 0);
    }
}

/* T04: at any temperature all log-probs are those of the tempered distribution. */
static void test_logprobs(void **state) {
    (void)state;
    static const char *const temperature[] = {
        "generation.temperature=1", "generation.temperature=0.7", "generation.temperature=1.4"};
    static const double value[] = {1, 0.7, 1.4};
    static const char *const samples[] = {"generation.samples=1", "generation.samples=3"};
    for (size_t i = 0; i < 6; i++) {
        World world;
        Metrics metrics = {0};
        world_init(&world, &options,
                   (const char *const[]){temperature[i % 3], samples[i / 3],
                                         "train.learning_rate=0", "ppo.minibatches=2", NULL});
        world_step(&world, 0, &metrics);
        check_logprobs(&world, value[i % 3]);
        assert_true(metric(&metrics, "val/ratio_first_deviation") <= 1e-5);
        world_done(&world);
    }
}

/* The random numbers belong to the sample: other rows decoded beside it change nothing. */
static void test_sampling_is_independent(void **state) {
    (void)state;
    World one, two_rows;
    Metrics metrics = {0};
    world_init(&one, &options, (const char *const[]){"ppo.rollout_rows=1", NULL});
    world_init(&two_rows, &options, (const char *const[]){"ppo.rollout_rows=3", NULL});
    world_step(&one, 0, &metrics);
    world_step(&two_rows, 0, &metrics);
    assert_int_equal(one.ppo.rollout.actions, two_rows.ppo.rollout.actions);
    assert_memory_equal(one.ppo.rollout.action, two_rows.ppo.rollout.action,
                        one.ppo.rollout.actions * sizeof(int32_t));
    world_done(&one);
    world_done(&two_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_sampling_is_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
