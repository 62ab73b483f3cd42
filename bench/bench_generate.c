/* SPDX-License-Identifier: MIT
 *
 * Sampling with a KV cache: `batch` different prompts of 32 tokens, 64 new tokens each, nothing stops them.
 * The floor of a token: all matrices are read once for the whole batch, and multiplied for each text.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/model/family.h"
#include "common/model/generate.h"

enum { PROMPT = 32, TOKENS = 64, MOST_BATCH = 32 };

typedef struct World {
    Model model;
    Generator *generator;
    size_t batch;
    int32_t id[MOST_BATCH * PROMPT];
    Prompt prompt[MOST_BATCH];
} World;

static void world_init(World *world, const ModelConfig *config, size_t batch, bool bf16) {
    Error err = {0};
    *world = (World){.batch = batch};
    GeneratorPlan plan = {.rows = batch,
                          .context = PROMPT + TOKENS,
                          .completions = batch,
                          .tokens = TOKENS,
                          .type = bf16 ? GEMM_BF16 : GEMM_FP32,
                          .cache = bf16 ? GEMM_BF16 : GEMM_FP32,
                          .packed = true};
    if (!model_create(&world->model, config, &err)) {
        bench_fail(&err);
    }
    model_initialize(&world->model, 1);
    world->generator = generator_create(config, &plan, &err);
    if (world->generator == NULL) {
        bench_fail(&err);
    }
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < batch * PROMPT; i++) {
        world->id[i] = (int32_t)random_below(&random, i, config->vocabulary);
    }
    for (size_t i = 0; i < batch; i++) {
        world->prompt[i] = (Prompt){.id = world->id + i * PROMPT, .count = PROMPT, .record = i};
    }
}

static void world_done(World *world) {
    generator_free(world->generator);
    model_done(&world->model);
}

static void sample(void *context) {
    World *world = context;
    Sampling sampling = {.temperature = 1,
                         .top_p = 1,
                         .repetition_penalty = 1,
                         .max_tokens = TOKENS,
                         .seed = 1,
                         .purpose = RANDOM_SAMPLE};
    Error err = {0};
    if (generate(world->generator, &world->model, world->prompt, world->batch, 1, &sampling, NULL,
                 &err) == NULL) {
        bench_fail(&err);
    }
}

static void measure(const ModelConfig *c, const char *name, size_t batch, bool bf16) {
    World world;
    world_init(&world, c, batch, bf16);
    char peer[256];
    snprintf(peer, sizeof peer,
             "{\"kind\": \"generate\", \"layers\": %zu, \"width\": %zu, \"heads\": %zu, "
             "\"vocabulary\": %zu, \"context\": %zu, \"bf16\": %s, \"batch\": %zu, \"prompt\": %d, "
             "\"tokens\": %d}",
             c->layers, c->width, c->heads, c->vocabulary, c->context, bf16 ? "true" : "false",
             batch, PROMPT, TOKENS);
    double C = (double)c->width, L = (double)c->layers, B = (double)batch;
    double block = L * (4 * C * C + 2 * C * (double)c->inner), head = C * (double)c->vocabulary;
    double length = PROMPT + TOKENS - 1;
    double keys = L * C * length * (length + 1) / 2; /* of one text, all its positions */
    BenchRow row = {.name = name,
                    .unit = "tokens",
                    .work = B * TOKENS,
                    .flops = B * (2 * block * length + 4 * keys + 2 * head * TOKENS),
                    .bytes = (bf16 ? 2 : 4) * (TOKENS * (block + head) + 2 * B * keys),
                    .bf16 = bf16,
                    .overlapped = true,
                    .peer = peer};
    bench_measure(&row, sample, &world);
    world_done(&world);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_generate");
    ModelConfig config = {.family = &family_gpt2,
                          .layers = 12,
                          .width = 768,
                          .heads = 12,
                          .inner = 3072,
                          .vocabulary = 50257,
                          .context = 1024,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    static const size_t batches[] = {1, 8, 32};
    for (size_t i = 0; i < 2 * (sizeof batches / sizeof *batches); i++) {
        size_t batch = batches[i / 2];
        bool bf16 = i % 2 == 1;
        char name[64];
        snprintf(name, sizeof name, "generate 124M batch %zu %s", batch, bf16 ? "bf16" : "fp32");
        if (bench_wants(name, batch > 1)) {
            measure(&config, name, batch, bf16);
        }
    }
    return bench_end();
}
