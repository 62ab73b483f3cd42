/* SPDX-License-Identifier: MIT
 *
 * T36, T37: PPO goes where theory says. Five tokens, completions of three: all 125 answers are
 * enumerated, pi* = pi_ref exp(r / beta) / Z is known, and PPO must reach it.
 */
#include <math.h>
#include <string.h>

#include "tests/ppo/world.h"

enum { V = 5, T = 3, ANSWERS = V * V * V };

/* An arbitrary reward of an answer, different for each prompt. */
static double reward_of(int32_t first_prompt_id, const int32_t *y) {
    static const double bonus[V] = {0.1, 0.8, -0.5, 0.4, -0.9};
    double r = 0.6 * bonus[(y[0] + first_prompt_id) % V] + 0.5 * bonus[y[1]];
    r += y[2] == y[0] ? 0.7 : 0;
    r += y[1] == (y[2] + 1) % V ? 0.5 : -0.1;
    return r;
}

static double reward(void *context, const RewardItem *item) {
    (void)context;
    return reward_of(item->prompt[0], item->completion);
}

/* log p of all answers to a prompt. */
static void enumerate(const Model *model, const RolloutPrompt *prompt, double *logp) {
    for (int a = 0; a < ANSWERS; a++) {
        int32_t y[T] = {a / 25, a / 5 % 5, a % 5}, id[16], target[16];
        float row[16];
        size_t n = prompt->count;
        memcpy(id, prompt->id, n * sizeof *id);
        memcpy(id + n, y, sizeof y);
        for (size_t t = 0; t + 1 < n + T; t++) {
            target[t] = id[t + 1];
        }
        world_logprobs(model, id, target, n + T - 1, row);
        logp[a] = 0;
        for (size_t t = n - 1; t < n + T - 1; t++) {
            logp[a] += row[t];
        }
    }
}

static double divergence(const double *logp, const double *logq) {
    double kl = 0;
    for (int a = 0; a < ANSWERS; a++) {
        kl += exp(logp[a]) * (logp[a] - logq[a]);
    }
    return kl;
}

static void optimum(const double *reference, int32_t first, double beta, double *logp) {
    double sum = 0;
    for (int a = 0; a < ANSWERS; a++) {
        int32_t y[T] = {a / 25, a / 5 % 5, a % 5};
        logp[a] = reference[a] + reward_of(first, y) / beta;
        sum += exp(logp[a]);
    }
    for (int a = 0; a < ANSWERS; a++) {
        logp[a] -= log(sum);
    }
}

static void test_optimum(void **state) {
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        bool shared = variant == 1, recompute = variant == 2;
        WorldOptions options = {.vocabulary = V,
                                .width = 24,
                                .layers = 2,
                                .context = 8,
                                .eos = -1,
                                .prompts = 2,
                                .prompt_length = 2,
                                .shared = shared,
                                .reward = reward};
        World world;
        Metrics metrics = {0};
        const double beta = 0.4;
        world_init(&world, &options,
                   (const char *const[]){"generation.max_tokens=3", "generation.samples=96",
                                         "train.batch=2", "train.steps=250", "ppo.kl_coef=0.4",
                                         "ppo.missing_eos=ignore", "ppo.whiten_advantages=false",
                                         "ppo.value_clip=0", "train.learning_rate=3e-3",
                                         "train.micro_tokens=1024", "ppo.epochs=2",
                                         "ppo.value_coef=0.5",
                                         recompute ? "ppo.old_logprobs=recompute" : NULL, NULL});
        double start = 0, end = 0, best = 0;
        for (size_t p = 0; p < 2; p++) {
            double reference[ANSWERS], want[ANSWERS];
            enumerate(&world.reference, &world.prompt[p], reference);
            optimum(reference, world.prompt[p].id[0], beta, want);
            start = fmax(start, divergence(reference, want));
            best += divergence(want, reference) / 2;
        }
        assert_true(start > 0.5);
        for (int64_t i = 0; i < 250; i++) {
            world_step(&world, i, &metrics);
        }
        for (size_t p = 0; p < 2; p++) {
            double reference[ANSWERS], want[ANSWERS], got[ANSWERS];
            enumerate(&world.reference, &world.prompt[p], reference);
            enumerate(&world.policy, &world.prompt[p], got);
            optimum(reference, world.prompt[p].id[0], beta, want);
            end = fmax(end, divergence(got, want));
        }
        print_message(
            "%s critic, old log-probs %s: KL to the optimum from %.3f to %.5f nats; KL to the "
            "reference %.3f, of the optimum %.3f\n",
            shared ? "shared" : "own", recompute ? "recomputed" : "of the sampler", start, end,
            metric(&metrics, "objective/kl"), best);
        assert_true(end <= 0.02);
        world_done(&world);
    }
}

static double count_ones(void *context, const RewardItem *item) {
    (void)context;
    double n = 0;
    for (size_t i = 0; i < item->completion_count; i++) {
        n += item->completion[i] == 1;
    }
    return n;
}

/* Mean score of the last five of `steps` iterations, and of the first five. */
static void run_bandit(const char *const *set, int64_t steps, double *first, double *last,
                       double *kl) {
    WorldOptions options = {.vocabulary = 12,
                            .width = 16,
                            .layers = 1,
                            .context = 12,
                            .eos = 0,
                            .prompts = 4,
                            .reward = count_ones};
    World world;
    Metrics metrics = {0};
    world_init(&world, &options, set);
    *first = *last = *kl = 0;
    for (int64_t i = 0; i < steps; i++) {
        world_step(&world, i, &metrics);
        *first += i < 5 ? metric(&metrics, "objective/raw_scores") / 5 : 0;
        *last += i >= steps - 5 ? metric(&metrics, "objective/raw_scores") / 5 : 0;
        *kl += i >= steps - 5 ? metric(&metrics, "objective/kl") / 5 : 0;
    }
    world_done(&world);
}

/* T36: without a penalty the count of a token goes to the limit; with a huge one the policy
 * stays; an adaptive coefficient holds the KL near its target. */
static void test_bandit(void **state) {
    (void)state;
    double first, last, kl;
    static const char *const common[] = {"generation.max_tokens=6", "generation.samples=16",
                                         "train.batch=4",           "train.steps=60",
                                         "ppo.missing_eos=ignore",  "train.schedule=constant"};
#define COMMON common[0], common[1], common[2], common[3], common[4], common[5]
    run_bandit((const char *const[]){COMMON, "ppo.kl_coef=0", "train.learning_rate=3e-3", NULL}, 60,
               &first, &last, &kl);
    print_message("no penalty: score %.2f to %.2f, KL %.2f\n", first, last, kl);
    assert_true(first < 2.5 && last > 5.5);
    double free_kl = kl;
    run_bandit((const char *const[]){COMMON, "ppo.kl_coef=1000", "train.learning_rate=1e-3", NULL},
               60, &first, &last, &kl);
    print_message("huge penalty: score %.2f to %.2f, KL %.4f\n", first, last, kl);
    assert_true(fabs(last - first) < 0.5 && kl < 0.1);
    run_bandit((const char *const[]){COMMON, "ppo.kl_coef=0.2", "ppo.kl_target=1.5",
                                     "ppo.kl_horizon=200", "train.learning_rate=3e-3", NULL},
               60, &first, &last, &kl);
    print_message("target 1.5: score %.2f to %.2f, KL %.2f\n", first, last, kl);
    assert_true(last > first + 0.5 && kl > 0.7 && kl < 2.5 && kl < free_kl);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_bandit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
