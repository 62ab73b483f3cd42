/* SPDX-License-Identifier: MIT
 *
 * Adapters on a base that is held in fewer bytes: the model is that of the rounded weights, bit for bit,
 * in passes, gradients and samples; what is rounded is what an independent rounding says; folders, shares
 * and merging.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/model/adapter.h"
#include "common/model/adapter_io.h"
#include "common/model/generate.h"
#include "common/model/packed.h"
#include "common/model/parameters.h"
#include "common/model/storage.h"
#include "tests/model/tiny.h"

enum { RANK = 3, LAYERS = 2 };

/* The least BF16 number that is not below x > 0. */
static float bf16_above(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0xffff) == 0 ? bits : (bits | 0xffff) + 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* n weights that lie `stride` apart, as the header of compact matrices says, in its words. */
static void round_block(float *x, size_t stride, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)x[i * stride]));
    }
    float scale = bf16_above((float)largest / 127);
    for (size_t i = 0; i < n && scale > 0; i++) {
        long code = lrint((double)x[i * stride] / (double)scale);
        x[i * stride] = (float)code * scale;
    }
}

static void round_matrix(float *x, CompactType type, bool down, size_t rows, size_t columns) {
    for (size_t i = 0; type == COMPACT_BF16 && i < rows * columns; i++) {
        x[i] = round_bf16(x[i]);
    }
    size_t lines = down ? columns : rows, length = down ? rows : columns;
    for (size_t line = 0; type == COMPACT_INT8 && line < lines; line++) {
        for (size_t at = 0; at < length; at += 32) {
            size_t n = length - at < 32 ? length - at : 32;
            round_block(x + (down ? at * columns + line : line * columns + at), down ? columns : 1,
                        n);
        }
    }
}

/* The matrices of the blocks, the token embedding and the LM head. */
static bool expected_large(const Model *model, size_t i) {
    const Parameter *p = &model->parameter[i];
    bool block = p->layer >= 0 && (size_t)p->layer < model->config.layers;
    return i < family_parameters(&model->config) &&
           ((block && p->rank == 2) || i == family_index(&model->config, PART_TOKEN_EMBEDDING, 0) ||
            i == family_index(&model->config, PART_LM_HEAD, 0));
}

static void adapt(Model *model) {
    Error err = {0};
    AdapterConfig adapter = {.rank = RANK, .alpha = 4, .dropout = 0.2f};
    const char *name[] = {"all-linear"};
    assert_ok(adapter_targets(&model->config, name, 1, &adapter.targets, &err), &err);
    assert_ok(model_adapt(model, &adapter, 7, &err), &err);
    for (size_t i = family_parameters(&model->config); i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        Random random = random_stream(32, RANDOM_TEST, i, 0);
        random_fill_normal(&random, parameter_data(model, p), p->count, 0.2);
    }
    model_touch(model);
}

/* A tiny model held as `type`, and the model that it must be: its floats rounded. */
static void make_both(TinyFamily family, HeadKind head, CompactType type, Model *held,
                      Model *rounded) {
    Error err = {0};
    ModelConfig config = tiny_family(family, LAYERS, head);
    tiny_model(rounded, &config, 31);
    assert_ok(parameters_layout(held, &config, type, &err), &err);
    assert_ok(parameters_allocate(held, &err), &err);
    bool in_out = config.family->block.linear == LINEAR_IN_OUT;
    for (size_t i = 0; i < held->parameters; i++) {
        const Parameter *p = &held->parameter[i];
        float *values = parameter_data(rounded, &rounded->parameter[i]);
        assert_ok(storage_hold(held, i, values, &err), &err);
        assert_int_equal(p->held, expected_large(held, i) ? type : COMPACT_NONE);
        if (p->held != COMPACT_NONE) {
            bool block = p->layer >= 0 && (size_t)p->layer < config.layers;
            round_matrix(values, type, block && in_out, p->shape[0], p->shape[1]);
        }
    }
    adapt(held);
    adapt(rounded);
}

static void mixed(Batch *batch, TinyFamily family) {
    Error err = {0};
    int32_t id[32], prefix = tiny_is_decoder(family) ? 1 : BATCH_NO_PREFIX;
    assert_ok(batch_init(batch, 64, 8, &err), &err);
    tiny_ids(id, 32, 1);
    tiny_add(batch, id, 14, 5, BATCH_NO_PREFIX, 1);
    tiny_add(batch, id + 3, 9, 0, BATCH_NO_PREFIX, 2);
    tiny_add(batch, id + 5, 6, 0, prefix, 4);
    tiny_add(batch, id + 9, 4, 0, prefix, 5);
}

static void assert_same(const TinyPass *a, const TinyPass *b) {
    size_t bytes = a->tokens * sizeof(float);
    assert_memory_equal(a->logprob, b->logprob, bytes);
    assert_memory_equal(a->entropy, b->entropy, bytes);
    assert_memory_equal(a->score, b->score, bytes);
    assert_memory_equal(a->correct, b->correct, bytes);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->gradient, b->gradient, a->count * sizeof(float));
}

static const CompactType types[] = {COMPACT_BF16, COMPACT_INT8};
enum { TYPES = sizeof types / sizeof *types };

static void test_passes(void **state) {
    TinyFamily family = tiny_family_of(state);
    Batch batch;
    mixed(&batch, family);
    for (size_t t = 0; t < TYPES; t++) {
        Model held, rounded;
        make_both(family, HEAD_BOTH, types[t], &held, &rounded);
        for (int i = 0; i < 4; i++) {
            TinySettings settings = {.temperature = 1.2f,
                                     .dropout = i % 2 == 1,
                                     .seed = 8,
                                     .step = 2,
                                     .trained = i == 1 || i == 2,
                                     .type = (GemmType)(i / 2)};
            TinyPass want = {0}, got = {0}, again = {0};
            tiny_run(&want, &rounded, &batch, &settings);
            tiny_run(&got, &held, &batch, &settings);
            assert_same(&got, &want);
            settings.packed = PACK_FORWARD | PACK_BACKWARD | PACK_HEAD_FORWARD;
            settings.recompute = RECOMPUTE_ALL;
            parallel_init(1);
            tiny_run(&again, &held, &batch, &settings);
            parallel_init(2);
            assert_same(&again, &want);
            tiny_pass_done(&want);
            tiny_pass_done(&got);
            tiny_pass_done(&again);
        }
        model_done(&held);
        model_done(&rounded);
    }
    batch_done(&batch);
}

enum { ROWS = 3, TOKENS = 12 };

static void assert_same_samples(const Model *a, const Model *b, GemmType type, bool packed) {
    Error err = {0};
    const Model *model[2] = {a, b};
    Generator *generator[2];
    const Completion *done[2];
    Sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = TOKENS, .seed = 5};
    GeneratorPlan plan = {.rows = ROWS,
                          .context = 32,
                          .completions = ROWS,
                          .tokens = TOKENS,
                          .packed = packed,
                          .type = type};
    int32_t id[ROWS][6];
    Prompt prompt[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        tiny_ids(id[i], 6, 40 + i);
        prompt[i] = (Prompt){id[i], 4 + i % 3, i};
    }
    for (size_t k = 0; k < 2; k++) {
        generator[k] = generator_create(&model[k]->config, &plan, &err);
        assert_ok(generator[k] != NULL, &err);
        done[k] = generate(generator[k], model[k], prompt, ROWS, 1, &sampling, NULL, &err);
        assert_ok(done[k] != NULL, &err);
    }
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(done[0][i].count, done[1][i].count);
        size_t n = done[0][i].count;
        assert_memory_equal(done[0][i].id, done[1][i].id, n * sizeof(int32_t));
        assert_memory_equal(done[0][i].logprob, done[1][i].logprob, n * sizeof(float));
    }
    generator_free(generator[0]);
    generator_free(generator[1]);
}

static void test_samples(void **state) {
    for (size_t t = 0; t < TYPES; t++) {
        Model held, rounded;
        make_both(tiny_family_of(state), HEAD_LM, types[t], &held, &rounded);
        assert_same_samples(&held, &rounded, GEMM_FP32, true);
        assert_same_samples(&held, &rounded, GEMM_BF16, false);
        model_done(&held);
        model_done(&rounded);
    }
}

/* Made floats again, and merged: the rounded weights, and those with the adapter. */
static void test_widen(void **state) {
    Error err = {0};
    for (size_t t = 0; t < TYPES; t++) {
        Model held, rounded;
        make_both(tiny_family_of(state), HEAD_LM, types[t], &held, &rounded);
        size_t own = held.own_count;
        assert_ok(model_widen(&held, &err), &err);
        assert_true(held.held == COMPACT_NONE && held.compact == NULL && held.own_count == own);
        assert_int_equal(held.count, rounded.count);
        assert_memory_equal(held.data, rounded.data, held.count * sizeof(float));
        assert_memory_equal(held.own, rounded.own, own * sizeof(float));
        model_merge_adapter(&held);
        model_merge_adapter(&rounded);
        assert_memory_equal(held.data, rounded.data, held.count * sizeof(float));
        model_done(&held);
        model_done(&rounded);
    }
}

/* Everything on one base: the policy, what it is compared with, a copy, a critic. */
static void test_share(void **state) {
    (void)state;
    Error err = {0};
    Model policy, base, copy, critic, whole;
    make_both(TINY_LLAMA, HEAD_LM, COMPACT_INT8, &policy, &whole);
    /* 34 bytes for 32 weights, whose rows are whole blocks here; all else stays as it was. */
    size_t small = (policy.count + policy.own_count) * sizeof(float);
    assert_true(model_bytes(&policy) >= small + policy.compact_count * 34 / 32);
    assert_true(model_bytes(&policy) <= small + policy.compact_count * 34 / 32 + 64 * 40);
    assert_true(policy.compact_count > 8 * policy.count);
    assert_in_range(policy.count + policy.compact_count, whole.count - 640, whole.count);
    ModelConfig config = tiny_family(TINY_LLAMA, LAYERS, HEAD_LM);
    assert_ok(model_share(&base, &policy, &config, &err), &err);
    assert_ok(model_copy(&copy, &policy, &err), &err);
    config = copy.config;
    model_config_set_head(&config, HEAD_SCORES, 1);
    assert_ok(model_share(&critic, &policy, &config, &err), &err);
    const Model *lent[] = {&base, &copy, &critic};
    for (size_t i = 0; i < 3; i++) {
        assert_true(lent[i]->borrowed && lent[i]->compact == policy.compact);
        assert_int_equal(lent[i]->held, COMPACT_INT8);
        assert_int_equal(model_bytes(lent[i]), lent[i]->own_count * sizeof(float));
    }
    model_done(&critic);
    model_done(&copy);
    model_done(&base);
    model_done(&policy);
    model_done(&whole);
}

static char *file_text(const char *folder, const char *name) {
    Error err = {0};
    Str text = {0};
    char *path = file_join(folder, name, &err);
    assert_ok(path != NULL && file_read(path, 1 << 20, &text, &err), &err);
    free(path);
    return text.data;
}

static const char *fixture(const char *name) {
    static char path[700];
    int n = snprintf(path, sizeof path, "%s/families/%s", test_fixtures(), name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    return path;
}

/* What a file holds, rounded: also where its order is not that of memory, in shards, with a second name. */
static void test_load(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2",          "gpt-neox", "llama-tied",  "llama-bf16",
                                        "llama-sharded", "gpt-neo",  "bert-masked", "qwen2"};
    Error err = {0};
    for (size_t k = 0; k < TYPES * (sizeof names / sizeof *names); k++) {
        Model held, whole;
        CompactType type = types[k % TYPES];
        const char *folder = fixture(names[k / TYPES]);
        assert_ok(model_load_compact(&held, folder, type, -1, 0, NULL, &err), &err);
        assert_ok(model_load(&whole, folder, -1, 0, NULL, &err), &err);
        bool exact = type == COMPACT_BF16 && strcmp(names[k / TYPES], "llama-bf16") == 0;
        for (size_t i = 0; i < held.parameters; i++) {
            const Parameter *p = &held.parameter[i];
            assert_int_equal(p->held, expected_large(&held, i) ? type : COMPACT_NONE);
            float *want = parameter_data(&whole, &whole.parameter[i]);
            float *got = calloc(p->count, sizeof *got);
            assert_non_null(got);
            if (p->held != COMPACT_NONE && !exact) {
                round_matrix(want, type, p->down, p->shape[0], p->shape[1]);
            }
            parameter_read(&held, p, got);
            assert_memory_equal(got, want, p->count * sizeof *got);
            free(got);
        }
        model_done(&held);
        model_done(&whole);
    }
}

/* The folder names the base by the weights of its files, whatever it was held as: it is read on any form
 * of it, and only the remark differs. */
static void check_folders(const char *folder) {
    Error err = {0};
    const char *out[3];
    static const char *const remark[] = {"", "\"held\": \"bf16\"", "\"held\": \"int8\""};
    char hash[3][40];
    for (int type = 0; type < 3; type++) {
        Model model, again, beside;
        assert_ok(model_load_compact(&model, folder, (CompactType)type, -1, 0, NULL, &err), &err);
        adapt(&model);
        model.base = strdup(folder);
        out[type] = test_folder();
        assert_ok(model_save(&model, out[type], &err), &err);
        char *text = file_text(out[type], "base.json");
        assert_true(strstr(text, remark[type]) != NULL);
        assert_true(type > 0 || strstr(text, "held") == NULL);
        const char *at = strstr(text, "weights_xxh3_128");
        memcpy(hash[type], at, sizeof hash[type]);
        assert_memory_equal(hash[type], hash[0], sizeof hash[type]);
        free(text);
        assert_ok(adapter_reload(&model, out[type], &err), &err);
        assert_ok(model_load_compact(&again, out[type], (CompactType)type, -1, 0, NULL, &err),
                  &err);
        assert_int_equal(again.held, type);
        assert_memory_equal(again.own, model.own, model.own_count * sizeof(float));
        if (type > 0) {
            assert_memory_equal(again.compact, model.compact, model.compact_bytes);
        }
        assert_ok(model_load_beside(&beside, &again, out[0], -1, 0, NULL, &err), &err);
        assert_true(beside.borrowed && beside.compact == again.compact);
        model_done(&beside);
        model_done(&again);
        model_done(&model);
    }
    Model plain;
    assert_ok(model_load(&plain, out[2], -1, 0, NULL, &err), &err);
    assert_int_equal(plain.held, COMPACT_NONE);
    model_done(&plain);
}

static void test_folders(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2", "llama", "gpt-neox"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_folders(fixture(names[i]));
    }
}

/* A number that BF16 cannot hold. */
static void test_refused(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    const char *folder = test_folder();
    assert_ok(model_load(&model, fixture("llama"), -1, 0, NULL, &err), &err);
    parameter_data(&model, &model.parameter[0])[5] = FLT_MAX;
    assert_ok(model_save(&model, folder, &err), &err);
    model_done(&model);
    assert_error(model_load_compact(&model, folder, COMPACT_BF16, -1, 0, NULL, &err), &err,
                 ERROR_DATA, "'model.embed_tokens.weight' holds 3.40282e+38, beyond BF16's");
    err = (Error){0};
    assert_ok(model_load_compact(&model, folder, COMPACT_INT8, -1, 0, NULL, &err), &err);
    model_done(&model);
}

int main(void) {
    parallel_init(2);
    struct CMUnitTest tests[3 * TINY_FAMILIES + 4], *test = tests;
    test = tiny_each_family(test, "passes", test_passes);
    test = tiny_each_decoder(test, "samples", test_samples);
    test = tiny_each_family(test, "widened", test_widen);
    *test++ = (struct CMUnitTest)cmocka_unit_test(test_load);
    *test++ = (struct CMUnitTest)cmocka_unit_test(test_folders);
    *test++ = (struct CMUnitTest)cmocka_unit_test(test_share);
    *test++ = (struct CMUnitTest)cmocka_unit_test(test_refused);
    return _cmocka_run_group_tests("compact base", tests, (size_t)(test - tests), NULL, NULL);
}
