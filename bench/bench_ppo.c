/* SPDX-License-Identifier: MIT
 *
 * One iteration of PPO in memory: random weights, random prompts, and an end that is drawn about as
 * often as in real text, so that completions are of many lengths. The learning rate is 0: every call
 * does the same work.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/machine.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/str.h"
#include "common/model/family.h"
#include "ppo/ppo.h"

typedef struct Shape {
    const char *name;
    size_t layers, width, heads, vocabulary;
    size_t prompts, prompt, longest; /* mean tokens of a prompt; most of a completion */
    double length;                   /* about the mean of a completion, if nothing were cut */
    size_t epochs, minibatches;
    bool full;
} Shape;

static const Shape shapes[] = {
    {"tiny", 4,  128, 4,  800,   128, 36, 64, 42, 4, 2, false},
    {"124M", 12, 768, 12, 50257, 8,   36, 64, 42, 4, 2, true },
};

enum { EOS = 0 };

typedef enum Piece { SAMPLING, SCORING, KNOWING, UPDATING, PIECES } Piece;
static const char *const piece_name[PIECES] = {"sampling", "scoring", "log-probs", "update"};
static const char *const piece_metric[PIECES] = {"rollout_seconds", "score_seconds",
                                                 "logprob_seconds", "update_seconds"};

typedef struct World {
    const Shape *shape;
    PpoConfig config;
    OptionOrigins *origins;
    Model policy, reference, critic;
    RewardSource *source;
    int32_t *id;
    RolloutPrompt *prompt;
    PpoParts parts;
    Ppo ppo;
    double seconds[PIECES];
    int calls;
} World;

/* The end's logit gets the mean log(p V / (1 - p)): the final norm's bias points its way. */
static void make_ends(Model *model, double length) {
    float *bias = model->data + model_find(model, "transformer.ln_f.bias")->offset;
    float *row = model->data + model_find(model, "transformer.wte.weight")->offset +
                 EOS * model->config.width;
    bias[0] = 8;
    row[0] = (float)(log((double)model->config.vocabulary / (length - 1)) / 8);
    model->version++;
}

static void make_model(World *world, Model *model, HeadKind head, uint64_t seed) {
    const Shape *shape = world->shape;
    ModelConfig config = {.family = &family_gpt2,
                          .layers = shape->layers,
                          .heads = shape->heads,
                          .width = shape->width,
                          .inner = 4 * shape->width,
                          .vocabulary = shape->vocabulary,
                          .context = 2 * shape->prompt + shape->longest + 1,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .head = head,
                          .labels = head == HEAD_LM ? 0 : 1,
                          .eos = EOS,
                          .bos = -1,
                          .pad = -1};
    Error err = {0};
    if (!model_create(model, &config, &err)) {
        bench_fail(&err);
    }
    model_initialize(model, seed);
    make_ends(model, shape->length);
}

static void make_prompts(World *world) {
    const Shape *shape = world->shape;
    Error err = {0};
    world->id = mem_alloc(shape->prompts * 2 * shape->prompt, sizeof *world->id, &err);
    world->prompt = mem_alloc(shape->prompts, sizeof *world->prompt, &err);
    if (world->id == NULL || world->prompt == NULL) {
        bench_fail(&err);
    }
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (size_t p = 0; p < shape->prompts; p++) {
        int32_t *id = world->id + p * 2 * shape->prompt;
        size_t n = shape->prompt / 2 + 1 + random_below(&random, p, shape->prompt);
        for (size_t t = 0; t < n; t++) {
            id[t] = 1 + (int32_t)random_below(&random, (p + 1) << 20 | t, shape->vocabulary - 1);
        }
        world->prompt[p] = (RolloutPrompt){.id = id, .count = n, .key = p};
    }
}

static void make_config(World *world) {
    const Shape *shape = world->shape;
    char text[5][64];
    snprintf(text[0], sizeof text[0], "train.batch=%zu", shape->prompts);
    snprintf(text[1], sizeof text[1], "generation.max_tokens=%zu", shape->longest);
    snprintf(text[2], sizeof text[2], "ppo.epochs=%zu", shape->epochs);
    snprintf(text[3], sizeof text[3], "ppo.minibatches=%zu", shape->minibatches);
    snprintf(text[4], sizeof text[4], "train.learning_rate=0");
    char *argv[16] = {(char *)(uintptr_t) "bench_ppo"};
    int argc = 1;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        argv[argc++] = (char *)(uintptr_t) "--set";
        argv[argc++] = text[i];
    }
    Error err = {0};
    OptionAction action;
    if (!options_parse(&ppo_program, argc, argv, &world->config, &world->origins, NULL, NULL,
                       &action, &err)) {
        bench_fail(&err);
    }
}

static void world_init(World *world, const Shape *shape) {
    *world = (World){.shape = shape};
    Error err = {0};
    Model judge;
    make_config(world);
    const Settings *settings = &world->config.settings;
    make_prompts(world);
    make_model(world, &world->policy, HEAD_LM, 1);
    make_model(world, &world->reference, HEAD_LM, 1);
    make_model(world, &world->critic, HEAD_SCORES, 2);
    make_model(world, &judge, HEAD_SCORES, 3);
    RewardContext context = {.eos = EOS,
                             .pass =
                                 stage_reading_plan(settings, (size_t)settings->train.micro_tokens),
                             .most_tokens = judge.config.context};
    world->source = reward_memory_source(&judge, &context, &err);
    world->parts = (PpoParts){.config = &world->config,
                              .policy = &world->policy,
                              .reference = &world->reference,
                              .critic = &world->critic,
                              .source = world->source,
                              .eos = EOS,
                              .prompt = world->prompt,
                              .prompts = shape->prompts};
    if (world->source == NULL || !ppo_init(&world->ppo, &world->parts, &err)) {
        bench_fail(&err);
    }
}

static void world_done(World *world) {
    ppo_done(&world->ppo);
    reward_source_free(world->source);
    model_done(&world->policy);
    model_done(&world->reference);
    model_done(&world->critic);
    free(world->id);
    free(world->prompt);
    options_done(&ppo_program, &world->config, world->origins);
}

/* Iteration 1 over and over: the first one checks more than all others. */
static void iterate(void *context) {
    World *world = context;
    Metrics metrics = {0}, timing = {0};
    Error err = {0};
    bool finished = false;
    if (!ppo_step(&world->ppo, 1, &metrics, &timing, &finished, &err)) {
        bench_fail(&err);
    }
    for (Piece i = 0; i < PIECES; i++) {
        double seconds = 0;
        metrics_get(&timing, piece_metric[i], &seconds);
        world->seconds[i] += world->calls > 0 ? seconds : 0; /* but for the call that warms up */
    }
    world->calls++;
}

/* Multiplications and additions of one forward pass of the trunk over all prompts and completions.
 * tail: 1 where the last token of a completion is read too (by a reward model), else 0. */
static double trunk_flops(const World *world, size_t tail) {
    const ModelConfig *c = &world->policy.config;
    const Rollout *rollout = &world->ppo.rollout;
    double rows = 0, keys = 0, width = (double)c->width;
    for (size_t s = 0; s < rollout->samples; s++) {
        double n = (double)(rollout->prompt[s / rollout->per_group]->count + rollout->start[s + 1] -
                            rollout->start[s] - 1 + tail);
        rows += n;
        keys += n * (n + 1) / 2;
    }
    double linear = rows * (4 * width * width + 2 * width * (double)c->inner);
    return (double)c->layers * (2 * linear + 4 * width * keys);
}

/* What an iteration cannot do without. The sampler's log-probs are those of the old policy, so the
 * policy is not asked for them again; Adam reads and writes 28 bytes a parameter. */
static void floors(const World *world, double flops[PIECES], double *bytes) {
    const Shape *shape = world->shape;
    const ModelConfig *c = &world->policy.config;
    double head = 2 * (double)world->ppo.rollout.actions * (double)c->width * (double)c->vocabulary;
    double trunk = trunk_flops(world, 0), epochs = (double)shape->epochs;
    flops[SAMPLING] = trunk + head;
    flops[SCORING] = trunk_flops(world, 1);
    flops[KNOWING] = trunk + head + trunk;
    flops[UPDATING] = 3 * epochs * (trunk + head + trunk);
    *bytes = 28 * epochs * (double)shape->minibatches *
             (double)(world->policy.count + world->critic.count);
}

static void print_pieces(const World *world, const double flops[PIECES], double bytes) {
    double peak = machine_fp32_flops(), bandwidth = machine_triad_bandwidth();
    const Rollout *rollout = &world->ppo.rollout;
    printf("  %zu completions of %.1f tokens\n", rollout->samples,
           (double)rollout->actions / (double)rollout->samples);
    for (Piece i = 0; i < PIECES; i++) {
        double seconds = world->seconds[i] / (world->calls - 1);
        double least = flops[i] / peak + (i == UPDATING ? bytes / bandwidth : 0);
        printf("  %-10s %8.4f s   floor %8.4f s   %3.0f %%\n", piece_name[i], seconds, least,
               100 * least / seconds);
    }
}

/* For the peers: the lengths of every prompt and completion are part of the work. */
static char *describe(const World *world) {
    const Shape *shape = world->shape;
    const Rollout *rollout = &world->ppo.rollout;
    Str text = {0};
    Error err = {0};
    str_appendf(&text,
                "{\"kind\":\"ppo\",\"layers\":%zu,\"width\":%zu,\"heads\":%zu,\"vocabulary\":%zu,"
                "\"context\":%zu,\"bf16\":false,\"epochs\":%zu,\"minibatches\":%zu,\"rollouts\":[",
                shape->layers, shape->width, shape->heads, shape->vocabulary,
                world->policy.config.context, shape->epochs, shape->minibatches);
    for (size_t s = 0; s < rollout->samples; s++) {
        str_appendf(&text, "%s[%zu,%zu]", s == 0 ? "" : ",",
                    rollout->prompt[s / rollout->per_group]->count,
                    rollout->start[s + 1] - rollout->start[s]);
    }
    str_append(&text, "]}");
    char *peer = str_take(&text, &err);
    if (peer == NULL) {
        bench_fail(&err);
    }
    return peer;
}

static void measure(const Shape *shape) {
    char name[64];
    snprintf(name, sizeof name, "ppo iteration %s fp32", shape->name);
    if (!bench_wants(name, shape->full)) {
        return;
    }
    static World world;
    world_init(&world, shape);
    iterate(&world);
    double flops[PIECES], bytes, sum = 0;
    floors(&world, flops, &bytes);
    for (Piece i = 0; i < PIECES; i++) {
        sum += flops[i];
    }
    char *peer = describe(&world);
    BenchRow row = {.name = name,
                    .unit = "tokens",
                    .work = (double)world.ppo.rollout.actions,
                    .flops = sum,
                    .bytes = bytes,
                    .peer = peer};
    bench_measure(&row, iterate, &world);
    print_pieces(&world, flops, bytes);
    free(peer);
    world_done(&world);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_ppo");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure(&shapes[i]);
    }
    return bench_end();
}
