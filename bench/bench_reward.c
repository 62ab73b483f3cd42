/* SPDX-License-Identifier: MIT
 *
 * Forward and backward of a reward model's step on rankings of K = 5, the prompt as long as a
 * completion: the prompt computed once for its five completions, and the same five sequences each
 * with a prompt of its own. At best sharing saves what it saves in tokens, (K P + K T) / (P + K T).
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/cost.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/model/family.h"
#include "reward/reward.h"

enum { K = 5 };

typedef struct Shape {
    const char *name;
    size_t layers, width, heads, vocabulary;
    size_t rankings, length; /* tokens of prompt and of completion */
    bool full;
} Shape;

static const Shape shapes[] = {
    {"tiny",  4,  128, 4,  800,   8, 64, false},
    {"small", 6,  384, 6,  4096,  4, 64, false},
    {"124M",  12, 768, 12, 50257, 1, 64, true },
};

/* A step over groups that share their prompt, or over groups of one text. */
typedef struct Side {
    RewardGroup *group;
    RewardSet set;
    RewardPass pass;
} Side;

typedef struct World {
    const Shape *shape;
    Model model;
    Gradients gradients;
    int32_t *id;
    Tokens *prompt, *completion; /* [rankings], [rankings * K] */
    RewardText *text;            /* [rankings * K] */
    Record record;
    Example example;
    uint32_t judged[K];
    RewardJudgment *judgment; /* [rankings] */
    RewardItem *item;         /* [rankings * K] */
    Side shared, apart;
} World;

static void *need(size_t count, size_t size) {
    Error err = {0};
    void *memory = mem_alloc(count, size, &err);
    if (memory == NULL) {
        bench_fail(&err);
    }
    return memory;
}

static void make_model(World *world) {
    const Shape *shape = world->shape;
    ModelConfig config = {.family = &family_gpt2,
                          .layers = shape->layers,
                          .heads = shape->heads,
                          .width = shape->width,
                          .inner = 4 * shape->width,
                          .vocabulary = shape->vocabulary,
                          .context = 2 * shape->length,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .head = HEAD_SCORES,
                          .labels = 1,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    Error err = {0};
    if (!model_create(&world->model, &config, &err)) {
        bench_fail(&err);
    }
    model_initialize(&world->model, 1);
    if (!gradients_init(&world->gradients, &world->model, &err)) {
        bench_fail(&err);
    }
}

static void make_texts(World *world) {
    const Shape *shape = world->shape;
    static double rank[K] = {1, 2, 3, 4, 5};
    size_t n = shape->rankings, T = shape->length;
    world->id = need(n * (1 + K) * T, sizeof *world->id);
    world->prompt = need(n, sizeof *world->prompt);
    world->completion = need(n * K, sizeof *world->completion);
    world->text = need(n * K, sizeof *world->text);
    world->judgment = need(n, sizeof *world->judgment);
    world->item = need(n * K, sizeof *world->item);
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < n * (1 + K) * T; i++) {
        world->id[i] = (int32_t)random_below(&random, i, shape->vocabulary);
    }
    world->record = (Record){.kind = RECORD_RANKING, .rank = rank, .completions = K};
    world->example = (Example){.record = &world->record};
    for (size_t i = 0; i < n; i++) {
        world->prompt[i] = (Tokens){.id = world->id + i * T, .count = T};
        world->judgment[i] = (RewardJudgment){.example = &world->example,
                                              .text = world->judged,
                                              .texts = K,
                                              .pairs = K * (K - 1) / 2,
                                              .weight = 1};
    }
    for (size_t i = 0; i < n * K; i++) {
        world->completion[i] = (Tokens){.id = world->id + (n + i) * T, .count = T};
        world->text[i] = (RewardText){.completion = &world->completion[i], .key = i};
        world->item[i] = (RewardItem){.group = i, .groups = 1};
        world->judged[i % K] = (uint32_t)(i % K);
    }
}

/* Groups of `texts` texts, in micro-batches that hold them all or, at most, 4,096 rows. */
static void make_side(World *world, Side *side, size_t texts) {
    const Shape *shape = world->shape;
    size_t groups = shape->rankings * K / texts, T = shape->length;
    size_t rows = texts == 1 ? 2 * T : T - 1 + texts * (T + 1);
    side->group = need(groups, sizeof *side->group);
    for (size_t g = 0; g < groups; g++) {
        side->group[g] = (RewardGroup){.prompt = &world->prompt[g * texts / K],
                                       .key = g,
                                       .text = world->text + g * texts,
                                       .texts = texts,
                                       .judgment = world->judgment,
                                       .judgments = texts == K ? 1 : 0,
                                       .rows = rows};
    }
    side->set =
        (RewardSet){.group = side->group, .groups = groups, .item = world->item, .items = groups};
    size_t most = groups * rows < 4096 ? groups * rows : 4096;
    WorkspacePlan plan = {.tokens = most, .sequences = most, .training = true};
    Error err = {0};
    if (!reward_pass_init(&side->pass, &world->model.config, &plan, K, &err)) {
        bench_fail(&err);
    }
    workspace_set_dropout(side->pass.workspace, false, 0, 0);
}

static void world_init(World *world, const Shape *shape) {
    *world = (World){.shape = shape};
    make_model(world);
    make_texts(world);
    make_side(world, &world->shared, K);
    make_side(world, &world->apart, 1);
}

static void side_done(Side *side) {
    reward_pass_done(&side->pass);
    free(side->group);
}

static void world_done(World *world) {
    side_done(&world->shared);
    side_done(&world->apart);
    gradients_done(&world->gradients);
    model_done(&world->model);
    free(world->id);
    free(world->prompt);
    free(world->completion);
    free(world->text);
    free(world->judgment);
    free(world->item);
}

static size_t in_turn(const void *context, size_t i) {
    (void)context;
    return i;
}

static void train(World *world, Side *side) {
    RewardLoss loss = {.objective = REWARD_RANKING};
    RewardSums sums = {0};
    Error err = {0};
    gradients_zero(&world->gradients);
    model_touch(&world->model); /* as after an optimizer's step: what is packed is packed anew */
    if (!reward_accumulate(&side->pass, &world->model, &world->gradients, &side->set, &loss,
                           in_turn, NULL, side->set.items, 1, &sums, &err)) {
        bench_fail(&err);
    }
}

static void train_shared(void *context) {
    World *world = context;
    train(world, &world->shared);
}

static void train_apart(void *context) {
    World *world = context;
    train(world, &world->apart);
}

/* Rows whose attention is that of a ranking: a prompt, and K completions behind it. */
static double floor_flops(const World *world, bool shared) {
    const ModelConfig *c = &world->model.config;
    double P = (double)world->shape->length, T = P, C = (double)c->width;
    double prompts = shared ? 1 : K, rows = prompts * P + K * T;
    double keys = prompts * P * (P + 1) / 2 + K * (T * P + T * (T + 1) / 2);
    double linear = rows * 2 * (4 * C * C + 2 * C * (double)c->inner);
    return 3 * (double)world->shape->rankings * (double)c->layers * (linear + 4 * C * keys);
}

static void measure(World *world, const char *name, bool shared) {
    size_t T = world->shape->length;
    BenchRow row = {.name = name,
                    .unit = "tokens",
                    .work = (double)(world->shape->rankings * K * 2 * T),
                    .flops = floor_flops(world, shared)};
    bench_measure(&row, shared ? train_shared : train_apart, world);
}

/* Both in turns, so that the ratio does not depend on the minute. */
static void compare(World *world) {
    enum { ROUNDS = 9 };
    double gain[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double shared = bench_time(train_shared, world, 1, 0);
        gain[r] = bench_time(train_apart, world, 1, 0) / shared;
    }
    for (int i = 1; i < ROUNDS; i++) {
        for (int j = i; j > 0 && gain[j] < gain[j - 1]; j--) {
            double other = gain[j];
            gain[j] = gain[j - 1];
            gain[j - 1] = other;
        }
    }
    double P = (double)world->shape->length, ideal = (K * P + K * P) / (P + K * P);
    printf("  sharing is %.3f times as fast [%.3f..%.3f], at best %.3f: %.0f %% of it\n",
           gain[ROUNDS / 2], gain[0], gain[ROUNDS - 1], ideal, 100 * gain[ROUNDS / 2] / ideal);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_reward");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char shared[64], apart[64];
        snprintf(shared, sizeof shared, "reward step %s K=5 shared", shapes[i].name);
        snprintf(apart, sizeof apart, "reward step %s K=5 apart", shapes[i].name);
        bool both = bench_wants(shared, shapes[i].full), other = bench_wants(apart, shapes[i].full);
        if (!both && !other) {
            continue;
        }
        World world;
        world_init(&world, &shapes[i]);
        if (both) {
            measure(&world, shared, true);
        }
        if (other) {
            measure(&world, apart, false);
        }
        if (both && other) {
            compare(&world);
        }
        world_done(&world);
    }
    return bench_end();
}
