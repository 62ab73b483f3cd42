/* SPDX-License-Identifier: MIT */
#include "bench/step.h"

#include <stdlib.h>

#include "bench/cost.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/str.h"
#include "common/model/family.h"

/* Prompt and completion of every 119th of the 7,592 E2E demonstrations by length, in tokens of their own
 * vocabulary of 800, shuffled. */
static const struct {
    unsigned char prompt, completion;
} e2e[] = {
    {23, 25},
    {39, 29},
    {29, 24},
    {35, 31},
    {40, 39},
    {28, 29},
    {17, 20},
    {35, 36},
    {21, 25},
    {32, 26},
    {31, 30},
    {12, 14},
    {39, 17},
    {35, 19},
    {32, 28},
    {28, 22},
    {28, 26},
    {29, 27},
    {33, 44},
    {26, 43},
    {39, 22},
    {27, 22},
    {40, 43},
    {22, 23},
    {33, 35},
    {29, 26},
    {18, 23},
    {21, 23},
    {22, 25},
    {32, 42},
    {34, 36},
    {33, 30},
    {33, 24},
    {32, 32},
    {26, 47},
    {35, 27},
    {41, 44},
    {35, 34},
    {35, 52},
    {39, 42},
    {19, 32},
    {32, 33},
    {17, 18},
    {32, 43},
    {29, 29},
    {17, 16},
    {23, 20},
    {29, 22},
    {34, 42},
    {17, 46},
    {40, 40},
    {35, 30},
    {39, 34},
    {26, 26},
    {37, 35},
    {29, 33},
    {31, 35},
    {34, 33},
    {28, 31},
    {17, 22},
    {15, 15},
    {32, 27},
    {39, 53},
    {33, 70},
};
enum { E2E_TEXTS = sizeof e2e / sizeof *e2e };

static size_t rows_of(const StepShape *shape, size_t text) {
    return shape->length > 0 ? shape->length : (size_t)e2e[text].prompt + e2e[text].completion - 1;
}

static size_t targets_of(const StepShape *shape, size_t text) {
    return shape->length > 0 ? shape->length : (size_t)e2e[text].completion;
}

static size_t texts_of(const StepShape *shape) {
    return shape->length > 0 ? shape->texts : E2E_TEXTS;
}

static bool fill_batch(Batch *batch, const StepShape *shape, size_t longest, Error *err) {
    int32_t *id = mem_alloc(2 * longest, sizeof *id, err);
    bool ok = id != NULL;
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (size_t s = 0; s < texts_of(shape) && ok; s++) {
        size_t rows = rows_of(shape, s), targets = targets_of(shape, s);
        int32_t *target = id + longest;
        for (size_t t = 0; t < rows; t++) {
            uint64_t place = (s * longest + t) * 2;
            id[t] = (int32_t)random_below(&random, place, shape->vocabulary);
            int32_t next = (int32_t)random_below(&random, place + 1, shape->vocabulary);
            target[t] = t + targets >= rows ? next : BATCH_NO_TARGET;
        }
        ok = batch_add(batch, id, target, rows, BATCH_NO_PREFIX, s, NULL, err);
    }
    free(id);
    return ok;
}

static char *describe(const StepShape *shape, const ModelConfig *config, Error *err) {
    Str text = {0};
    str_appendf(&text,
                "{\"kind\":\"sft\",\"layers\":%zu,\"width\":%zu,\"heads\":%zu,\"vocabulary\":%zu,"
                "\"context\":%zu,\"bf16\":%s,\"texts\":[",
                config->layers, config->width, config->heads, config->vocabulary, config->context,
                shape->bf16 ? "true" : "false");
    for (size_t s = 0; s < texts_of(shape); s++) {
        str_appendf(&text, "%s[%zu,%zu]", s == 0 ? "" : ",", rows_of(shape, s),
                    targets_of(shape, s));
    }
    str_append(&text, "]}");
    return str_take(&text, err);
}

void step_create(Step *step, const StepShape *shape) {
    *step = (Step){0};
    ModelConfig config = {.family = &family_gpt2,
                          .layers = shape->layers,
                          .heads = shape->heads,
                          .width = shape->width,
                          .inner = 4 * shape->width,
                          .vocabulary = shape->vocabulary,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    size_t tokens = 0, longest = 0;
    for (size_t s = 0; s < texts_of(shape); s++) {
        size_t rows = rows_of(shape, s);
        tokens += rows;
        longest = rows > longest ? rows : longest;
    }
    config.context = longest > 1024 || shape->length == 0 ? longest : 1024;
    OptimizerOptions options = {0.9, 0.999, 1e-8, 0.1, ADAM_EPSILON_TORCH, 1};
    WorkspacePlan plan = {.tokens = tokens, .sequences = texts_of(shape), .training = true};
    plan.type = shape->bf16 ? GEMM_BF16 : GEMM_FP32;
    plan.recompute = shape->recompute ? RECOMPUTE_ALL : 0;
    Error err = {0};
    bool ok = batch_init(&step->batch, tokens, plan.sequences, &err) &&
              fill_batch(&step->batch, shape, longest, &err) &&
              model_create(&step->model, &config, &err) &&
              (step->workspace = workspace_create(&config, &plan, &err)) != NULL &&
              gradients_init(&step->gradients, &step->model, &err) &&
              optimizer_init(&step->optimizer, &options, &step->gradients, &err) &&
              (step->peer = describe(shape, &config, &err)) != NULL;
    if (!ok) {
        bench_fail(&err);
    }
    model_initialize(&step->model, 1);
}

void step_done(Step *step) {
    free(step->peer);
    optimizer_done(&step->optimizer);
    gradients_done(&step->gradients);
    workspace_free(step->workspace);
    model_done(&step->model);
    batch_done(&step->batch);
}

static void minus_logprob(void *context, size_t n, const size_t *row, const PerToken *value,
                          PerToken *gradient) {
    const Step *step = context;
    (void)row;
    (void)value;
    for (size_t i = 0; i < n; i++) {
        gradient->logprob[i] = -1.0f / (float)step->batch.tokens;
    }
}

void step_train(void *context) {
    Step *s = context;
    model_train(&s->model, &s->gradients, s->workspace, &s->batch, WANT_LOGPROB, minus_logprob, s,
                &(PerToken){0});
    double norm = optimizer_norm(&s->gradients);
    optimizer_step(&s->optimizer, &s->model, &s->gradients, norm, 1e-5);
}

void step_measure(const StepShape *shape) {
    Step step;
    step_create(&step, shape);
    bench_measure(&(BenchRow){.name = shape->name,
                              .unit = "tokens",
                              .work = (double)step.batch.tokens,
                              .flops = 3 * cost_forward(&step.model.config, &step.batch),
                              .bytes = cost_adamw_bytes(step.model.count),
                              .memory = cost_training_bytes(&step.model.config, step.model.count,
                                                            step.batch.tokens, shape->recompute),
                              .bf16 = shape->bf16,
                              .peer = step.peer},
                  step_train, &step);
    step_done(&step);
}
