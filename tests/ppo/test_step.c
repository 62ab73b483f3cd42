/* SPDX-License-Identifier: MIT
 *
 * One iteration of PPO at a time: what must be exact in the first, where scores land, what the
 * coefficient does, what stays frozen, and that a checkpoint holds everything.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "tests/ppo/world.h"
#include "tests/train/loop.h"

static double count_token(void *context, const RewardItem *item) {
    int32_t wanted = *(int32_t *)context;
    double n = 0;
    for (size_t i = 0; i < item->completion_count; i++) {
        n += item->completion[i] == wanted;
    }
    return n;
}

static int32_t two = 2;

/* With these the optimizer's first moment is the gradient of the last step. */
#define KEEP_GRADIENT "train.beta1=0", "train.clip=0"

static WorldOptions world_options(bool shared) {
    return (WorldOptions){.vocabulary = 11,
                          .width = 16,
                          .layers = 2,
                          .context = 24,
                          .eos = 0,
                          .prompts = 4,
                          .shared = shared,
                          .reward = count_token,
                          .reward_context = &two};
}

static void init(World *world, bool shared, const char *const *set) {
    WorldOptions options = world_options(shared);
    world_init(world, &options, set);
}

/* T01, T02: the first iteration's KL is exactly 0; in every first minibatch the ratios are 1: within
 * 1e-5 where the training path recomputes the old log-probs, within the drift where they are the
 * sampler's own. */
static void test_first_iteration(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool shared = variant % 2 == 1, recompute = variant >= 2;
        World world;
        Metrics metrics = {0};
        init(&world, shared,
             (const char *const[]){"generation.samples=2", "ppo.minibatches=2",
                                   "generation.temperature=0.7",
                                   recompute ? "ppo.old_logprobs=recompute" : NULL, NULL});
        const Rollout *rollout = &world.ppo.rollout;
        assert_true(world.ppo.same_start);
        world_step(&world, 0, &metrics);
        for (size_t a = 0; a < rollout->actions; a++) {
            assert_true(rollout->kl[a] == 0);
        }
        assert_true(metric(&metrics, "objective/kl") == 0);
        assert_true(metric(&metrics, "objective/non_score_reward") == 0);
        assert_true(metric(&metrics, "val/ratio_first_deviation") <= 1e-5);
        for (int64_t i = 1; i < 4; i++) {
            world_step(&world, i, &metrics);
            assert_true(metric(&metrics, "objective/kl") != 0);
            double deviation = metric(&metrics, "val/ratio_first_deviation");
            double drift = metric(&metrics, "val/sampler_drift_max");
            assert_true(deviation <= (recompute ? 1e-5 : 1.0001 * drift + 1e-7));
            assert_true(drift > 0 && drift < 1e-4);
            assert_true(metric(&metrics, "val/sampler_drift") <= drift);
            assert_true(metric(&metrics, "policy/entropy_avg") > 0);
            assert_int_equal(memcmp(rollout->old, rollout->sampled,
                                    rollout->actions * sizeof *rollout->old) == 0,
                             !recompute);
        }
        world_done(&world);
    }
}

/* Both ways of knowing the old log-probs give the same gradients, up to their drift; while the critic
 * warms up alone, no update could measure the drift, so the training path is asked. */
static void test_old_logprobs(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        World sampler, recompute;
        Metrics a = {0}, b = {0};
        static const char *const common[] = {"train.learning_rate=0", "ppo.critic_warmup=2",
                                             "generation.samples=2", "ppo.kl_loss=0.2"};
        init(&sampler, shared,
             (const char *const[]){common[0], common[1], common[2], common[3], KEEP_GRADIENT,
                                   "ppo.old_logprobs=sampler", NULL});
        init(&recompute, shared,
             (const char *const[]){common[0], common[1], common[2], common[3], KEEP_GRADIENT,
                                   "ppo.old_logprobs=recompute", NULL});
        for (int64_t i = 0; i < 4; i++) {
            world_step(&sampler, i, &a);
            world_step(&recompute, i, &b);
            assert_int_equal(a.count, b.count);
            assert_true(metric(&a, "val/sampler_drift_max") > 0);
            assert_true(metric(&a, "val/token_entropy") == metric(&b, "val/token_entropy"));
            assert_int_equal(ppo_recomputes(&sampler.ppo, i), shared ? i == 0 : i < 2);
            assert_close("policy gradient", sampler.ppo.policy_optimizer.m,
                         recompute.ppo.policy_optimizer.m, sampler.ppo.policy_optimizer.count, 1e-3,
                         1e-6);
            if (!shared) {
                assert_close("critic gradient", sampler.ppo.critic_optimizer.m,
                             recompute.ppo.critic_optimizer.m, sampler.ppo.critic_optimizer.count,
                             1e-3, 1e-6);
            }
        }
        world_done(&sampler);
        world_done(&recompute);
    }
}

static double far_off(void *context, const RewardItem *item) {
    (void)item;
    Ppo *ppo = context;
    ppo->rollout.sampled[0] += 2e-3f;
    return 0;
}

/* A sampler that disagrees with the training path ends the run, in either mode. */
static void test_drift(void **state) {
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        World world;
        Metrics metrics = {0}, timing = {0};
        Error err = {0};
        bool finished = false;
        init(&world, false,
             (const char *const[]){"train.batch=1", recompute ? "ppo.old_logprobs=recompute" : NULL,
                                   NULL});
        world_step(&world, 0, &metrics);
        RewardSource *source = reward_function_source(far_off, &world.ppo, &err);
        assert_non_null(source);
        world.ppo.part.source = source;
        assert_error(ppo_step(&world.ppo, 1, &metrics, &timing, &finished, &err), &err,
                     ERROR_INTERNAL, "expected at most 0.001");
        reward_source_free(source);
        world_done(&world);
    }
}

/* With no update the first minibatch is all there is: nothing is clipped, the policy does not
 * move. */
static void test_no_learning(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false, (const char *const[]){"train.learning_rate=0", NULL});
    world_step(&world, 0, &metrics);
    assert_true(metric(&metrics, "policy/approxkl_avg") < 1e-10);
    assert_true(metric(&metrics, "policy/clipfrac_avg") == 0);
    assert_close_double("ratio", metric(&metrics, "val/ratio"), 1, 1e-5, 0);
    assert_true(metric(&metrics, "val/ratio_var") < 1e-9);
    assert_true(fabs(metric(&metrics, "loss/policy_avg")) < 1e-5);
    assert_memory_equal(world.policy.data, world.reference.data,
                        world.reference.count * sizeof(float));
    world_done(&world);
}

/* T19, T20: rewards of a completion are its score minus beta times its KL, whether it ended or
 * was cut; the rules of a missing EOS. */
static void test_scores(void **state) {
    (void)state;
    static const char *const rule[] = {"ppo.missing_eos=ignore", "ppo.missing_eos=replace",
                                       "ppo.missing_eos=subtract"};
    for (size_t r = 0; r < 3; r++) {
        World world;
        Metrics metrics = {0};
        init(&world, false,
             (const char *const[]){rule[r], "ppo.missing_eos_value=3.5", "train.batch=8",
                                   "generation.samples=4", "generation.max_tokens=5",
                                   "ppo.kl_coef=0.3", NULL});
        size_t finished = 0, cut = 0, short_ones = 0;
        for (int64_t i = 0; i < 3; i++) {
            world_step(&world, i, &metrics);
            const Rollout *rollout = &world.ppo.rollout;
            for (size_t s = 0; s < rollout->samples; s++) {
                size_t from = rollout->start[s], to = rollout->start[s + 1];
                double raw = 0, rewards = 0, kl = 0;
                for (size_t a = from; a < to; a++) {
                    raw += rollout->action[a] == two;
                    rewards += rollout->reward[a];
                    kl += rollout->kl[a];
                }
                bool ended = rollout->action[to - 1] == 0;
                double want = ended || r == 0 ? raw : r == 1 ? 3.5 : raw - 3.5;
                assert_int_equal(rollout->finished[s], ended);
                assert_close_double("raw score", rollout->raw_score[s], raw, 0, 0);
                assert_close_double("score", rollout->score[s], want, 0, 1e-12);
                assert_close_double("rewards", rewards + 0.3 * kl, want, 0, 1e-5);
                finished += ended;
                cut += !ended;
                short_ones += to - from == 1;
            }
        }
        assert_true(finished > 0 && cut > 0 && short_ones > 0);
        world_done(&world);
    }
}

/* T18, T23: with k3, each token's KL and the reported one are k3's, never negative; whitened
 * rewards keep their mean. */
static void test_estimator_and_whitening(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false,
         (const char *const[]){"ppo.kl_estimator=k3", "ppo.whiten_rewards=true", "train.batch=8",
                               "ppo.missing_eos=ignore", "ppo.kl_coef=0.3",
                               "train.learning_rate=0.01", NULL});
    for (int64_t i = 0; i < 3; i++) {
        world_step(&world, i, &metrics);
        const Rollout *rollout = &world.ppo.rollout;
        double n = (double)rollout->actions, kl = 0, plain = 0, mean = 0, squares = 0;
        for (size_t a = 0; a < rollout->actions; a++) {
            double d = (double)rollout->reference[a] - (double)rollout->old[a];
            assert_close_double("k3", rollout->kl[a], expm1(d) - d, 1e-4, 1e-6);
            assert_true(rollout->kl[a] >= 0);
            kl += rollout->kl[a];
            mean += rollout->reward[a] / n;
        }
        for (size_t s = 0; s < rollout->samples; s++) {
            plain += rollout->score[s] / n;
        }
        plain -= 0.3 * kl / n;
        for (size_t a = 0; a < rollout->actions; a++) {
            squares += pow(rollout->reward[a] - mean, 2) / n;
        }
        assert_close_double("objective/kl", metric(&metrics, "objective/kl"),
                            kl / (double)rollout->samples, 1e-6, 1e-9);
        assert_close_double("mean", mean, plain, 1e-4, 1e-5);
        assert_close_double("variance", squares, 1, 1e-3, 0);
    }
    assert_true(metric(&metrics, "objective/kl") > 0);
    world_done(&world);
}

static void test_normalization(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false,
         (const char *const[]){"ppo.score_normalization=running", "train.batch=8",
                               "ppo.missing_eos=ignore", "ppo.score_clip=0.5", NULL});
    double sum = 0, squares = 0, n = 0;
    for (int64_t i = 0; i < 3; i++) {
        world_step(&world, i, &metrics);
        const Rollout *rollout = &world.ppo.rollout;
        for (size_t s = 0; s < rollout->samples; s++) {
            sum += rollout->raw_score[s];
            squares += rollout->raw_score[s] * rollout->raw_score[s];
            n++;
        }
        double mean = sum / n, deviation = sqrt(squares / n - mean * mean);
        for (size_t s = 0; s < rollout->samples; s++) {
            double want = fmin(fmax((rollout->raw_score[s] - mean) / deviation, -0.5), 0.5);
            assert_close_double("normalized", rollout->score[s], want, 1e-9, 1e-9);
        }
    }
    world_done(&world);
}

/* T24: e = clip(KL / target - 1, -0.2, 0.2); beta *= 1 + e n / horizon. */
static void test_adaptive_coefficient(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false,
         (const char *const[]){"ppo.kl_target=0.01", "ppo.kl_horizon=40", "ppo.kl_coef=0.5", NULL});
    double beta = 0.5;
    for (int64_t i = 0; i < 6; i++) {
        assert_close_double("beta", world.ppo.beta, beta, 1e-12, 0);
        world_step(&world, i, &metrics);
        double e = fmin(fmax(metric(&metrics, "objective/kl") / 0.01 - 1, -0.2), 0.2);
        assert_close_double("beta", metric(&metrics, "objective/beta"), beta, 1e-12, 0);
        beta *= 1 + e * 4 / 40;
    }
    assert_true(beta != 0.5);
    world_done(&world);
}

/* T33: the schedule moves once an iteration and would be exactly 0 after the last. */
static void test_schedule(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false,
         (const char *const[]){"train.steps=4", "train.learning_rate=0.01",
                               "ppo.critic_learning_rate=0.02", NULL});
    for (int64_t i = 0; i < 4; i++) {
        world_step(&world, i, &metrics);
        assert_close_double("lr", metric(&metrics, "lr"), 0.01 * (double)(4 - i) / 4, 1e-12, 0);
        assert_close_double("critic/lr", metric(&metrics, "critic/lr"), 0.02 * (double)(4 - i) / 4,
                            1e-12, 0);
    }
    assert_true(schedule_factor(SCHEDULE_LINEAR, 4, 4, 0, 0) == 0);
    world_done(&world);
}

/* T27: the reference never moves, the others do. */
static void test_frozen(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    Model before = {0};
    Error err = {0};
    init(&world, false, (const char *const[]){"ppo.critic_warmup=1", NULL});
    assert_ok(model_copy(&before, &world.reference, &err), &err);
    const int32_t id[] = {1, 2, 3, 2};
    const RewardItem item = {
        .prompt = id, .prompt_count = 2, .completion = id + 2, .completion_count = 2};
    double score[2];
    assert_ok(reward_score(world.source, &item, 1, &score[0], &err), &err);
    world_step(&world, 0, &metrics);
    size_t bytes = before.count * sizeof(float);
    assert_memory_equal(world.policy.data, before.data, bytes); /* the critic warms up alone */
    assert_true(metric(&metrics, "critic/grad_norm") > 0);
    world_step(&world, 1, &metrics);
    assert_memory_equal(world.reference.data, before.data, bytes);
    assert_memory_not_equal(world.policy.data, before.data, bytes);
    assert_ok(reward_score(world.source, &item, 1, &score[1], &err), &err);
    assert_memory_equal(&score[0], &score[1], sizeof score[0]);
    model_done(&before);
    world_done(&world);
}

/* The passes end early by ppo.target_kl; a minibatch far off is skipped. */
static void test_early_stop(void **state) {
    (void)state;
    World world;
    Metrics metrics = {0};
    init(&world, false,
         (const char *const[]){"ppo.target_kl=1e-6", "train.learning_rate=0.01", "ppo.epochs=6",
                               NULL});
    world_step(&world, 0, &metrics);
    assert_true(metric(&metrics, "policy/stopped_by_target_kl") == 1);
    assert_true(metric(&metrics, "policy/minibatches") == 1);
    world_done(&world);
    init(&world, false, (const char *const[]){"ppo.ratio_threshold=0.5", NULL});
    world_step(&world, 0, &metrics);
    assert_true(metric(&metrics, "policy/minibatches") == 0);
    assert_true(metric(&metrics, "policy/minibatches_skipped") == 4);
    assert_memory_equal(world.policy.data, world.reference.data,
                        world.reference.count * sizeof(float));
    world_done(&world);
}

/* Micro-batches of one completion or of all give the same gradient. */
static void test_micro_batches(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        World small, large;
        Metrics metrics = {0};
        static const char *const common[] = {"train.learning_rate=0", "generation.samples=3",
                                             "ppo.epochs=1", "ppo.entropy_coef=0.1",
                                             "ppo.kl_loss=0.2"};
        init(&small, shared,
             (const char *const[]){common[0], common[1], common[2], common[3], common[4],
                                   KEEP_GRADIENT, "train.micro_tokens=1", NULL});
        init(&large, shared,
             (const char *const[]){common[0], common[1], common[2], common[3], common[4],
                                   KEEP_GRADIENT, "train.micro_tokens=4096", NULL});
        world_step(&small, 0, &metrics);
        double loss = metric(&metrics, "loss/value_avg");
        world_step(&large, 0, &metrics);
        assert_close_double("value loss", metric(&metrics, "loss/value_avg"), loss, 1e-5, 0);
        assert_close("policy gradient", small.ppo.policy_optimizer.m, large.ppo.policy_optimizer.m,
                     small.ppo.policy_optimizer.count, 1e-4, 1e-8);
        if (!shared) {
            assert_close("critic gradient", small.ppo.critic_optimizer.m,
                         large.ppo.critic_optimizer.m, small.ppo.critic_optimizer.count, 1e-4,
                         1e-8);
        }
        world_done(&small);
        world_done(&large);
    }
}

enum { PTX_RECORDS = 3, PTX_TOKENS = 5 };

static void build_ptx(ExampleSet *set, Example *example, int32_t ids[PTX_RECORDS][2 * PTX_TOKENS],
                      Tokens *completion, const Record *record) {
    for (size_t i = 0; i < PTX_RECORDS; i++) {
        size_t P = 1 + i, T = PTX_TOKENS - i;
        for (size_t t = 0; t < P + T; t++) {
            ids[i][t] = (int32_t)((3 + 5 * i + 2 * t) % 11);
        }
        completion[i] = (Tokens){.id = ids[i] + P, .count = T, .capacity = T};
        example[i] = (Example){
            .prompt = {.id = ids[i], .count = P, .capacity = P},
            .completion = &completion[i],
            .completions = 1,
            .record = record,
            .key = i
        };
    }
    *set = (ExampleSet){
        .example = example, .examples = PTX_RECORDS, .counts = {.longest = 3 + PTX_TOKENS}};
}

/* T32: the gradient with the mix is PPO's plus gamma times that of the mean -log p of its
 * tokens, which is at temperature 1 whatever the sampling temperature is. */
static void test_ptx(void **state) {
    (void)state;
    static const char *const common[] = {"train.learning_rate=0", "ppo.epochs=1", "ppo.ptx_batch=3",
                                         "generation.temperature=0.8"};
    World plain, mixed;
    Metrics metrics = {0};
    Error err = {0};
    ExampleSet set;
    Example example[PTX_RECORDS];
    Tokens completion[PTX_RECORDS];
    int32_t ids[PTX_RECORDS][2 * PTX_TOKENS];
    Record record = {.kind = RECORD_DEMONSTRATION, .completions = 1};
    build_ptx(&set, example, ids, completion, &record);
    init(&plain, false,
         (const char *const[]){common[0], common[1], common[2], common[3], KEEP_GRADIENT, NULL});
    init(&mixed, false,
         (const char *const[]){common[0], common[1], common[2], common[3], KEEP_GRADIENT,
                               "ppo.ptx_coef=2.5", NULL});
    mixed.ppo.part.ptx = &set;
    world_step(&plain, 0, &metrics);
    world_step(&mixed, 0, &metrics);

    Batch batch = {0};
    size_t tokens = 0;
    assert_ok(batch_init(&batch, 64, 4, &err), &err);
    for (size_t i = 0; i < PTX_RECORDS; i++) {
        size_t P = example[i].prompt.count, n = P + completion[i].count - 1;
        int32_t target[2 * PTX_TOKENS];
        for (size_t t = 0; t < n; t++) {
            target[t] = t + 1 >= P ? ids[i][t + 1] : BATCH_NO_TARGET;
            tokens += t + 1 >= P;
        }
        assert_ok(batch_add(&batch, ids[i], target, n, BATCH_NO_PREFIX, i, NULL, &err), &err);
    }
    float logprob[64], slope[64];
    double loss = 0;
    WorkspacePlan plan = {.tokens = 64, .sequences = 4, .training = true};
    Workspace *workspace = workspace_create(&plain.policy.config, &plan, &err);
    Gradients gradients = {0};
    assert_non_null(workspace);
    assert_ok(gradients_init(&gradients, &plain.policy, &err), &err);
    model_forward(&plain.policy, workspace, &batch, &(PerToken){.logprob = logprob});
    for (size_t r = 0; r < batch.tokens; r++) {
        bool trained = batch.target[r] != BATCH_NO_TARGET;
        slope[r] = trained ? -1 / (float)tokens : 0;
        loss -= trained ? logprob[r] / (double)tokens : 0;
    }
    model_backward(&plain.policy, &gradients, workspace, &batch, &(PerToken){.logprob = slope});
    assert_close_double("ptx loss", metric(&metrics, "loss/ptx_avg"), loss, 1e-5, 0);
    for (size_t i = 0; i < gradients.count; i++) {
        gradients.data[i] = plain.ppo.policy_optimizer.m[i] + 2.5f * gradients.data[i];
    }
    assert_close("gradient", mixed.ppo.policy_optimizer.m, gradients.data, gradients.count, 1e-5,
                 1e-8);
    gradients_done(&gradients);
    workspace_free(workspace);
    batch_done(&batch);
    world_done(&plain);
    world_done(&mixed);
}

static void assert_same_model(const Model *a, const Model *b) {
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->data, b->data, a->count * sizeof(float));
}

static void assert_same_optimizer(const Optimizer *a, const Optimizer *b) {
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->m, b->m, a->count * sizeof(float));
    assert_memory_equal(a->v, b->v, a->count * sizeof(float));
}

/* T28 in memory: four iterations are two, a checkpoint, and two by another process. */
static void test_checkpoint(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool shared = variant % 2 == 1;
        const char *const set[] = {"ppo.kl_target=0.05",
                                   "ppo.kl_horizon=50",
                                   "ppo.score_normalization=running",
                                   variant < 2 ? "train.ema=0" : "train.ema=0.9",
                                   "train.batch=3",
                                   NULL};
        World whole, first, second;
        Metrics want, got;
        Error err = {0};
        init(&whole, shared, set);
        init(&first, shared, set);
        init(&second, shared, set);
        for (int64_t i = 0; i < 4; i++) {
            world_step(&whole, i, &want);
        }
        world_step(&first, 0, &got);
        world_step(&first, 1, &got);
        const char *folder = test_folder();
        cJSON *saved = cJSON_CreateObject();
        assert_ok(ppo_save(&first.ppo, folder, saved, &err), &err);
        Str text = {0};
        json_put_tree(&text, saved, false);
        cJSON_Delete(saved);
        saved = json_parse(text.data, text.size, "state", 1, &json_limits_document, &err);
        str_done(&text);
        assert_non_null(saved);
        assert_ok(ppo_load(&second.ppo, folder, saved, &err), &err);
        cJSON_Delete(saved);
        world_step(&second, 2, &got);
        world_step(&second, 3, &got);
        assert_same_model(&whole.policy, &second.policy);
        assert_same_optimizer(&whole.ppo.policy_optimizer, &second.ppo.policy_optimizer);
        if (!shared) {
            assert_same_model(&whole.critic, &second.critic);
            assert_same_optimizer(&whole.ppo.critic_optimizer, &second.ppo.critic_optimizer);
        }
        assert_true(whole.ppo.beta == second.ppo.beta);
        assert_memory_equal(&whole.ppo.statistics, &second.ppo.statistics,
                            sizeof whole.ppo.statistics);
        assert_int_equal(want.count, got.count);
        for (size_t i = 0; i < want.count; i++) {
            assert_string_equal(want.name[i], got.name[i]);
            assert_true(want.value[i] == got.value[i]);
        }
        world_done(&whole);
        world_done(&first);
        world_done(&second);
    }
}

/* Evaluations draw the same random numbers each time and know the policy's distance. */
static void test_evaluation(void **state) {
    (void)state;
    World world;
    Metrics first = {0}, again = {0}, metrics = {0};
    Error err = {0};
    bool eligible = true;
    init(&world, false,
         (const char *const[]){"ppo.best_of=4", "ppo.select_max_kl=1e-4",
                               "train.learning_rate=0.01", NULL});
    assert_ok(ppo_evaluate(&world.ppo, 0, NULL, &first, &eligible, &err), &err);
    assert_true(eligible);
    assert_true(metric(&first, "eval/kl") == 0);
    assert_ok(ppo_evaluate(&world.ppo, 0, NULL, &again, &eligible, &err), &err);
    assert_memory_equal(first.value, again.value, sizeof first.value);
    double one = metric(&first, "eval/best_of_1/score"),
           most = metric(&first, "eval/best_of_4/score");
    assert_true(one <= metric(&first, "eval/best_of_2/score"));
    assert_true(metric(&first, "eval/best_of_2/score") <= most && one < most);
    assert_close_double("KL of best of 4", metric(&first, "eval/best_of_4/kl"), log(4) - 0.75,
                        1e-12, 0);
    world_step(&world, 0, &metrics);
    metrics_clear(&again);
    assert_ok(ppo_evaluate(&world.ppo, 1, NULL, &again, &eligible, &err), &err);
    assert_true(fabs(metric(&again, "eval/kl")) > 1e-4);
    assert_int_equal(eligible, metric(&again, "eval/kl") <= 1e-4);
    world_done(&world);
}

/* An iteration with a reward model, with all else that it may have, allocates nothing. */
static void test_no_allocation(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        World world;
        Log log;
        WorldOptions options = world_options(shared);
        options.reward = NULL;
        world_init(&world, &options,
                   (const char *const[]){"generation.samples=3", "ppo.minibatches=2",
                                         "train.ema=0.9", "ppo.kl_loss=0.1", "ppo.kl_target=1",
                                         "ppo.score_normalization=running",
                                         "ppo.whiten_rewards=true", NULL});
        log_init(&log, LOG_QUIET);
        world.ppo.part.log = &log;
        TrainerStage stage = ppo_stage;
        stage.context = &world.ppo;
        assert_loop_allocates_nothing(&stage, &log);
        assert_true(world.ppo.rollout.raw_score[0] != 0);
        world_done(&world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_iteration),
        cmocka_unit_test(test_old_logprobs),
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_no_learning),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_estimator_and_whitening),
        cmocka_unit_test(test_normalization),
        cmocka_unit_test(test_adaptive_coefficient),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_early_stop),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_ptx),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
