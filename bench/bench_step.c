/* SPDX-License-Identifier: MIT
 *
 * Forward and backward of one training step, without the optimizer, as a share of the machine's rate.
 *   bench_step [threads=N] [layers=L] [width=C] [heads=H] [vocabulary=V] [texts=S] [length=T]
 * Lengths vary evenly between half and one and a half of `length`; half of the rows have a target.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/model/family.h"
#include "common/model/model.h"

typedef struct Step {
    Model model;
    Gradients gradients;
    Workspace *workspace;
    Batch batch;
} Step;

static void minus_logprob(void *context, size_t n, const size_t *row, const PerToken *value,
                          PerToken *gradient) {
    (void)context;
    (void)row;
    (void)value;
    for (size_t i = 0; i < n; i++) {
        gradient->logprob[i] = -1;
    }
}

static void train(void *context) {
    Step *s = context;
    model_train(&s->model, &s->gradients, s->workspace, &s->batch, WANT_LOGPROB, minus_logprob,
                NULL, NULL);
}

static void forward(void *context) {
    Step *s = context;
    PerToken none = {0};
    model_forward(&s->model, s->workspace, &s->batch, &none);
}

static bool fill_batch(Batch *batch, size_t texts, size_t length, size_t vocabulary, Error *err) {
    int32_t *id = calloc(4 * length + 4, sizeof *id);
    bool ok = id != NULL;
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (size_t s = 0; s < texts && ok; s++) {
        size_t n = length / 2 + 1 + s * length / texts;
        int32_t *target = id + 2 * length + 2;
        for (size_t t = 0; t < n; t++) {
            id[t] = (int32_t)random_below(&random, s * 10000 + t, vocabulary);
            target[t] = t >= n / 2 ? id[t] : BATCH_NO_TARGET;
        }
        ok = batch_add(batch, id, target, n, BATCH_NO_PREFIX, s, NULL, err);
    }
    free(id);
    return ok;
}

/* Multiplications and additions of the trunk and head, three times the forward ones. */
static double step_flops(const Step *s) {
    const ModelConfig *c = &s->model.config;
    double n = (double)s->batch.tokens, width = (double)c->width, keys = 0, targets = 0;
    for (size_t i = 0; i < s->batch.sequences; i++) {
        double t = (double)batch_length(&s->batch, i);
        keys += t * (t + 1) / 2;
    }
    for (size_t t = 0; t < s->batch.tokens; t++) {
        targets += s->batch.target[t] != BATCH_NO_TARGET;
    }
    double linear = n * (4 * width * width + 2 * width * (double)c->inner);
    double layers = (double)c->layers * (2 * linear + 4 * width * keys);
    return 3 * (layers + 2 * targets * width * (double)c->vocabulary);
}

int main(int argc, char **argv) {
    parallel_init((int)bench_argument(argc, argv, "threads", 0));
    ModelConfig config = {.family = &family_gpt2,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    config.layers = (size_t)bench_argument(argc, argv, "layers", 4);
    config.width = (size_t)bench_argument(argc, argv, "width", 128);
    config.heads = (size_t)bench_argument(argc, argv, "heads", 4);
    config.inner = 4 * config.width;
    config.vocabulary = (size_t)bench_argument(argc, argv, "vocabulary", 800);
    size_t texts = (size_t)bench_argument(argc, argv, "texts", 64);
    size_t length = (size_t)bench_argument(argc, argv, "length", 70);
    config.context = 2 * length;
    Step s = {0};
    Error err = {0};
    bool ok = model_create(&s.model, &config, &err) &&
              batch_init(&s.batch, texts * 2 * length, texts, &err) &&
              fill_batch(&s.batch, texts, length, config.vocabulary, &err);
    if (ok) {
        model_initialize(&s.model, 1);
        WorkspacePlan plan = {s.batch.tokens, s.batch.sequences, true};
        printf("workspace %.1f MB\n", 1e-6 * (double)workspace_bytes(&config, &plan));
        s.workspace = workspace_create(&config, &plan, &err);
        ok = s.workspace != NULL && gradients_init(&s.gradients, &s.model, &err);
    }
    if (!ok) {
        error_print(&err, "bench_step", stderr);
        return err.code;
    }
    double peak = bench_peak();
    double seconds = bench_time(train, &s, 15, 0.1), trunk = bench_time(forward, &s, 9, 0.1);
    double flops = step_flops(&s);
    printf("%d threads, 1024^3 at %.1f GFLOP/s\n", parallel_threads(), peak * 1e-9);
    printf(
        "%zu tokens, step %.2f ms (trunk forward %.2f ms), %.0f tokens/s, %.1f GFLOP/s, %.0f %%\n",
        s.batch.tokens, seconds * 1e3, trunk * 1e3, (double)s.batch.tokens / seconds,
        flops / seconds * 1e-9, 100 * flops / seconds / peak);
    workspace_free(s.workspace);
    gradients_done(&s.gradients);
    batch_done(&s.batch);
    model_done(&s.model);
    return 0;
}
