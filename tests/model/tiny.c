/* SPDX-License-Identifier: MIT */
#include "tests/model/tiny.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/random.h"
#include "common/model/family.h"

ModelConfig tiny_config(size_t layers, HeadKind head, bool tied) {
    return (ModelConfig){.family = &family_gpt2,
                         .layers = layers,
                         .heads = 4,
                         .width = 32,
                         .inner = 128,
                         .vocabulary = 61,
                         .context = 32,
                         .norm_epsilon = 1e-5f,
                         .tied = tied,
                         .head = head,
                         .labels = head == HEAD_LM ? 0 : 1,
                         .eos = 0,
                         .bos = -1,
                         .pad = -1};
}

static const struct TinyOptions {
    const char *name, *family;
    ActivationKind activation;
    size_t kv_heads, head_size, inner, window, turning;
    bool biases, parallel, tied;
} options[TINY_FAMILIES] = {
    {"gpt2",            "gpt2",        ACTIVATION_GELU_NEW, 0, 0,  128, 0, 0,  true,  false, true },
    {"gpt1",            "openai-gpt",  ACTIVATION_GELU_NEW, 0, 0,  96,  0, 0,  true,  false, true },
    {"opt",             "opt",         ACTIVATION_GELU,     0, 0,  64,  0, 0,  true,  false, true },
    {"gpt-neo",         "gpt_neo",     ACTIVATION_GELU_NEW, 0, 0,  96,  5, 0,  true,  false, true },
    {"neox",            "gpt_neox",    ACTIVATION_GELU,     0, 0,  112, 0, 4,  true,  true,  false},
    {"neox-sequential", "gpt_neox",    ACTIVATION_TANH,     0, 0,  48,  0, 6,  true,  false, false},
    {"llama",           "llama",       ACTIVATION_SILU,     2, 0,  80,  0, 8,  false, false, false},
    {"llama-biased",    "llama",       ACTIVATION_SILU,     1, 14, 24,  0, 14, true,  false, true },
    {"mistral",         "mistral",     ACTIVATION_SILU,     4, 0,  60,  7, 8,  false, false, false},
    {"qwen3",           "qwen3",       ACTIVATION_SILU,     2, 12, 72,  0, 12, false, false, true },
    {"gemma3",          "gemma3_text", ACTIVATION_GELU_NEW, 2, 10, 56,  6, 10, true,  false, true },
    {"bert",            "bert",        ACTIVATION_GELU,     0, 0,  96,  0, 0,  true,  false, true },
    {"distilbert",      "distilbert",  ACTIVATION_GELU,     0, 0,  64,  0, 0,  true,  false, true },
    {"roberta",         "roberta",     ACTIVATION_GELU,     0, 0,  80,  0, 0,  true,  false, false},
};

bool tiny_is_decoder(TinyFamily family) {
    return family < TINY_DECODERS;
}

static struct CMUnitTest *each(struct CMUnitTest *test, size_t families, const char *name,
                               CMUnitTestFunction check) {
    static TinyFamily family[TINY_FAMILIES];
    static char names[16 * TINY_FAMILIES][64];
    static size_t used;
    for (size_t f = 0; f < families; f++) {
        char *full = names[used++];
        assert_true(used <= sizeof names / sizeof *names);
        snprintf(full, sizeof *names, "%s: %s", name, options[f].name);
        family[f] = (TinyFamily)f;
        test[f] = (struct CMUnitTest){full, check, NULL, NULL, &family[f]};
    }
    return test + families;
}

struct CMUnitTest *tiny_each_family(struct CMUnitTest *test, const char *name,
                                    CMUnitTestFunction check) {
    return each(test, TINY_FAMILIES, name, check);
}

struct CMUnitTest *tiny_each_decoder(struct CMUnitTest *test, const char *name,
                                     CMUnitTestFunction check) {
    return each(test, TINY_DECODERS, name, check);
}

TinyFamily tiny_family_of(void *const *state) {
    return *(const TinyFamily *)*state;
}

ModelConfig tiny_family(TinyFamily family, size_t layers, HeadKind head) {
    const struct TinyOptions *o = &options[family];
    ModelConfig config = tiny_config(layers, head, o->tied);
    config.family = family_find(o->family);
    assert_non_null(config.family);
    config.activation = o->activation;
    config.kv_heads = o->kv_heads;
    config.head_size = o->head_size;
    config.inner = o->inner;
    config.parallel = o->parallel;
    config.qkv_bias = config.out_bias = config.inner_bias = o->biases;
    config.head_norm = family == TINY_QWEN3 || family == TINY_GEMMA3;
    config.rope = (Rope){.dimensions = o->turning, .theta = 100};
    if (family == TINY_GEMMA3) {
        config.inner_bias = false;
        config.local_rope = (Rope){.dimensions = o->turning, .theta = 10};
        config.score_scalar = 7;
    }
    if (family == TINY_LLAMA_BIASED) {
        config.rope.scaling = ROPE_LLAMA3;
        config.rope.factor = 4, config.rope.low = 1, config.rope.high = 4;
        config.rope.original = 16;
    }
    config.segments = family == TINY_BERT ? 2 : family == TINY_ROBERTA ? 1 : 0;
    config.first_position = family == TINY_ROBERTA || family == TINY_OPT ? 2 : 0;
    config.window = o->window;
    for (size_t layer = 0; layer < layers && o->window != 0; layer++) {
        bool local = family == TINY_MISTRAL || layer % 2 == 1;
        config.local[layer / 64] |= (uint64_t)local << layer % 64;
    }
    return config;
}

void tiny_model(Model *model, const ModelConfig *config, uint64_t seed) {
    Error err = {0};
    assert_ok(model_create(model, config, &err), &err);
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        Random random = random_stream(seed, RANDOM_TEST, i, 0);
        int layer;
        bool norm = family_row(config, i, &layer)->init == INIT_ONES;
        for (size_t j = 0; j < p->count; j++) {
            model->data[p->offset + j] = (norm ? 1 : 0) + 0.25f * (float)random_normal(&random, j);
        }
    }
}

void tiny_ids(int32_t *id, size_t n, uint64_t record) {
    Random random = random_stream(7, RANDOM_TEST, record, 1);
    for (size_t t = 0; t < n; t++) {
        id[t] = (int32_t)random_below(&random, t, 61);
    }
}

void tiny_add(Batch *batch, const int32_t *id, size_t n, size_t from, int32_t prefix,
              uint64_t record) {
    Error err = {0};
    int32_t target[64];
    for (size_t t = 0; t < n; t++) {
        target[t] = t >= from && t + 1 < n ? id[t + 1] : BATCH_NO_TARGET;
    }
    assert_ok(batch_add(batch, id, target, n, prefix, record, NULL, &err), &err);
}

float tiny_coefficient(int32_t id, int32_t target, size_t position, int kind) {
    if (target == BATCH_NO_TARGET) {
        return 0;
    }
    uint64_t key = random_mix((uint64_t)(id + 1), (uint64_t)(target + 2));
    Random random = random_stream(11, RANDOM_TEST, key, position);
    return (float)random_normal(&random, (uint64_t)kind);
}

typedef struct Rows {
    const Batch *batch;
    const size_t *position;
} Rows;

static void coefficients(const Rows *rows, size_t n, const size_t *row, PerToken *gradient) {
    for (size_t i = 0; i < n; i++) {
        size_t t = row[i];
        int32_t id = rows->batch->id[t], target = rows->batch->target[t];
        if (gradient->logprob != NULL) {
            gradient->logprob[i] = tiny_coefficient(id, target, rows->position[t], 0);
        }
        if (gradient->entropy != NULL) {
            gradient->entropy[i] = tiny_coefficient(id, target, rows->position[t], 1);
        }
        if (gradient->score != NULL) {
            gradient->score[i] = tiny_coefficient(id, target, rows->position[t], 2);
        }
    }
}

static void row_loss(void *context, size_t n, const size_t *row, const PerToken *value,
                     PerToken *gradient) {
    (void)value;
    coefficients(context, n, row, gradient);
}

void tiny_run(TinyPass *pass, Model *model, const Batch *batch, const TinySettings *settings) {
    Error err = {0};
    size_t n = batch->tokens;
    bool lm = model->config.head != HEAD_SCORES, scores = model->config.head != HEAD_LM;
    WorkspacePlan plan = {.tokens = n,
                          .sequences = batch->sequences,
                          .training = true,
                          .type = settings->type,
                          .packed = settings->packed,
                          .recompute = settings->recompute};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    bool encoder = model->config.family->block.bidirectional;
    workspace_set_temperature(workspace,
                              settings->temperature > 0 && !encoder ? settings->temperature : 1);
    workspace_set_dropout(workspace, settings->dropout, settings->seed, settings->step);
    Gradients gradients = {0};
    assert_ok(gradients_init(&gradients, model, &err), &err);
    float *buffer = calloc(6 * n, sizeof *buffer);
    size_t *position = calloc(2 * n, sizeof *position), *row = position + n;
    assert_true(buffer != NULL && position != NULL);
    for (size_t s = 0; s < batch->sequences; s++) {
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            position[t] = batch_first_position(batch, s) + t - batch->start[s];
            row[t] = t;
            batch->segment[t] =
                model->config.segments > 1 && 2 * position[t] >= batch_length(batch, s);
        }
    }
    PerToken out = {0}, d = {0};
    if (lm) {
        out.logprob = buffer, out.entropy = buffer + n, out.correct = buffer + 2 * n;
        d.logprob = buffer + 3 * n, d.entropy = buffer + 4 * n;
    }
    Rows rows = {batch, position};
    float *score = calloc(2 * n, sizeof *score);
    assert_non_null(score);
    if (scores) {
        out.score = score;
        d.score = score + n;
    }
    if (settings->trained) {
        unsigned want = (lm ? WANT_LOGPROB | WANT_ENTROPY : 0u) | (scores ? WANT_SCORE : 0u);
        model_train(model, &gradients, workspace, batch, want, row_loss, &rows, &out);
    } else {
        model_forward(model, workspace, batch, &out);
        coefficients(&rows, n, row, &d);
        model_backward(model, &gradients, workspace, batch, &d);
    }
    if (pass->gradient == NULL) {
        *pass = (TinyPass){.tokens = n, .count = gradients.count};
        pass->gradient = calloc(gradients.count + 1, sizeof(float));
        assert_non_null(pass->gradient);
    }
    assert_int_equal(pass->count, gradients.count);
    for (size_t i = 0; i < gradients.count; i++) {
        pass->gradient[i] += gradients.data[i];
    }
    free(pass->logprob);
    free(pass->score);
    pass->logprob = buffer, pass->entropy = buffer + n, pass->correct = buffer + 2 * n;
    pass->score = score;
    pass->tokens = n;
    gradients_done(&gradients);
    workspace_free(workspace);
    free(position);
}

void tiny_pass_done(TinyPass *pass) {
    free(pass->gradient);
    free(pass->logprob);
    free(pass->score);
    *pass = (TinyPass){0};
}
