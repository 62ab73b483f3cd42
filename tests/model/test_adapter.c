/* SPDX-License-Identifier: MIT
 *
 * Passes of a model with an adapter: it begins as the base, gradients as differences, masks, what changes
 * no bit, and that merging changes nothing but the last digits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/model/adapter.h"
#include "common/model/generate.h"
#include "common/model/packed.h"
#include "tests/model/tiny.h"
#include "tests/support/allocations.h"

static AdapterConfig all_linear(const ModelConfig *config, size_t rank, float dropout) {
    Error err = {0};
    AdapterConfig adapter = {.rank = rank, .alpha = 1.5f * (float)rank, .dropout = dropout};
    const char *name[] = {"all-linear"};
    assert_ok(adapter_targets(config, name, 1, &adapter.targets, &err), &err);
    return adapter;
}

/* Of a family, with an adapter on all linear layers; filled: B is not zero. */
static void adapted(Model *model, TinyFamily family, HeadKind head, float dropout, bool filled) {
    Error err = {0};
    ModelConfig config = tiny_family(family, 2, head);
    config.dropout_residual = dropout;
    tiny_model(model, &config, 31);
    AdapterConfig adapter = all_linear(&config, 3, dropout);
    assert_ok(model_adapt(model, &adapter, 7, &err), &err);
    for (size_t i = family_parameters(&config); filled && i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        Random random = random_stream(32, RANDOM_TEST, i, 0);
        random_fill_normal(&random, parameter_data(model, p), p->count, 0.2);
    }
    model_touch(model);
}

static bool is_encoder(TinyFamily family) {
    return family >= TINY_DECODERS;
}

/* An encoder's sequences have no prefix. */
static void mixed(Batch *batch, TinyFamily family) {
    Error err = {0};
    int32_t id[32], prefix = is_encoder(family) ? BATCH_NO_PREFIX : 2;
    assert_ok(batch_init(batch, 64, 8, &err), &err);
    tiny_ids(id, 32, 1);
    tiny_add(batch, id, 9, 0, BATCH_NO_PREFIX, 1);
    tiny_ids(id, 32, 2);
    tiny_add(batch, id, 14, 5, BATCH_NO_PREFIX, 2);
    tiny_ids(id, 32, 3);
    tiny_add(batch, id, 5, 6, BATCH_NO_PREFIX, 3);
    tiny_add(batch, id + 5, 6, 0, prefix, 4);
    tiny_add(batch, id + 9, 4, 0, prefix, 5);
}

/* With B = 0 the model says what the base says, to the last bit, and so does a model that shares the base
 * and has no adapter. */
static void test_start(void **state) {
    TinyFamily family = tiny_family_of(state);
    Error err = {0};
    Model base, model, shared;
    ModelConfig config = tiny_family(family, 2, HEAD_BOTH);
    tiny_model(&base, &config, 31);
    adapted(&model, family, HEAD_BOTH, 0, false);
    assert_ok(model_share(&shared, &model, &config, &err), &err);
    assert_ptr_equal(shared.data, model.data);
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    for (GemmType type = GEMM_FP32; type <= GEMM_BF16; type++) {
        TinySettings settings = {.temperature = 1.1f, .type = type};
        TinyPass of_base = {0}, of_model = {0}, of_shared = {0};
        tiny_run(&of_base, &base, &batch, &settings);
        tiny_run(&of_model, &model, &batch, &settings);
        tiny_run(&of_shared, &shared, &batch, &settings);
        size_t bytes = batch.tokens * sizeof(float);
        assert_memory_equal(of_model.logprob, of_base.logprob, bytes);
        assert_memory_equal(of_model.entropy, of_base.entropy, bytes);
        assert_memory_equal(of_model.score, of_base.score, bytes);
        assert_memory_equal(of_shared.logprob, of_base.logprob, bytes);
        /* A gets no gradient while B is zero, and B does. */
        double a = 0, b = 0;
        for (size_t i = family_parameters(&config); i < model.parameters; i++) {
            const Parameter *p = &model.parameter[i];
            for (size_t k = 0; k < p->count; k++) {
                double d = fabs((double)of_model.gradient[p->gradient + k]);
                *((i - family_parameters(&config)) % 2 == 0 ? &a : &b) += d;
            }
        }
        assert_true(a == 0 && b > 0);
        tiny_pass_done(&of_base);
        tiny_pass_done(&of_model);
        tiny_pass_done(&of_shared);
    }
    batch_done(&batch);
    model_done(&shared);
    model_done(&model);
    model_done(&base);
}

static double loss_of(const TinyPass *pass, const Batch *batch) {
    double sum = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            size_t position = batch_first_position(batch, s) + t - batch->start[s];
            int32_t id = batch->id[t], target = batch->target[t];
            sum += (double)tiny_coefficient(id, target, position, 0) * pass->logprob[t] +
                   (double)tiny_coefficient(id, target, position, 1) * pass->entropy[t] +
                   (double)tiny_coefficient(id, target, position, 2) * pass->score[t];
        }
    }
    return sum;
}

/* The slope along random directions in A, B and the score head, with and without masks. */
static void test_directional_derivative(void **state) {
    Model model;
    adapted(&model, tiny_family_of(state), HEAD_BOTH, 0.3f, true);
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    size_t n = model.own_count;
    float *start = malloc(n * sizeof(float)), *way = malloc(n * sizeof(float));
    assert_true(start != NULL && way != NULL);
    memcpy(start, model.own, n * sizeof(float));
    for (int dropped = 0; dropped < 2; dropped++) {
        TinySettings settings = {.dropout = dropped == 1, .seed = 8, .step = 2};
        TinyPass pass = {0};
        tiny_run(&pass, &model, &batch, &settings);
        for (uint64_t direction = 0; direction < 3; direction++) {
            Random random = random_stream(33, RANDOM_TEST, direction, 0);
            random_fill_normal(&random, way, n, 1);
            double want = 0, got[2];
            for (size_t i = 0; i < model.parameters; i++) {
                const Parameter *p = &model.parameter[i];
                assert_true(p->own == p->trainable && (p->gradient != SIZE_MAX) == p->own);
                for (size_t j = 0; p->own && j < p->count; j++) {
                    want += (double)way[p->offset + j] * pass.gradient[p->gradient + j];
                }
            }
            const double step = 5e-5; /* ReLU has kinks */
            for (int side = 0; side < 2; side++) {
                for (size_t j = 0; j < n; j++) {
                    model.own[j] = start[j] + (float)((side == 0 ? step : -step) * way[j]);
                }
                model_touch(&model);
                TinyPass moved = {0};
                tiny_run(&moved, &model, &batch, &settings);
                got[side] = loss_of(&moved, &batch);
                tiny_pass_done(&moved);
            }
            memcpy(model.own, start, n * sizeof(float));
            model_touch(&model);
            assert_close_double("slope", (got[0] - got[1]) / (2 * step), want, 5e-3, 0.1);
        }
        tiny_pass_done(&pass);
    }
    free(start);
    free(way);
    batch_done(&batch);
    model_done(&model);
}

static void assert_same(const TinyPass *a, const TinyPass *b) {
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->logprob, b->logprob, a->tokens * sizeof(float));
    assert_memory_equal(a->score, b->score, a->tokens * sizeof(float));
    assert_memory_equal(a->gradient, b->gradient, a->count * sizeof(float));
}

/* Threads, recomputed blocks, packed weights and the loss in one pass change no bit; sequences one by one
 * only the order of sums. Masks are other ones in another step. */
static void test_invariance(void **state) {
    Model model;
    Error err = {0};
    adapted(&model, tiny_family_of(state), HEAD_BOTH, 0.3f, true);
    Batch batch, one;
    mixed(&batch, tiny_family_of(state));
    TinySettings settings = {.dropout = true, .seed = 3, .step = 4}, other = settings;
    TinyPass pass = {0};
    tiny_run(&pass, &model, &batch, &settings);
    for (int i = 0; i < 4; i++) {
        TinyPass again = {0};
        other = settings;
        other.recompute = i == 0 ? RECOMPUTE_ALL : 0;
        other.packed = i == 1 ? PACK_FORWARD | PACK_BACKWARD | PACK_HEAD_FORWARD : 0;
        other.trained = i == 2;
        if (i == 3) {
            parallel_init(1);
        }
        tiny_run(&again, &model, &batch, &other);
        parallel_init(3);
        assert_same(&again, &pass);
        tiny_pass_done(&again);
    }
    TinyPass moved = {0}, parts = {0};
    other = settings;
    other.step = 5;
    tiny_run(&moved, &model, &batch, &other);
    assert_memory_not_equal(moved.logprob, pass.logprob, pass.tokens * sizeof(float));
    assert_ok(batch_init(&one, 64, 8, &err), &err);
    for (size_t s = 0; s < 3; s++) {
        size_t last = s < 2 ? s + 1 : batch.sequences;
        batch_clear(&one);
        for (size_t q = s; q < last; q++) {
            size_t begin = batch.start[q];
            assert_ok(batch_add(&one, batch.id + begin, batch.target + begin,
                                batch.start[q + 1] - begin,
                                batch.prefix[q] == BATCH_NO_PREFIX ? BATCH_NO_PREFIX : 0,
                                batch.key[q], NULL, &err),
                      &err);
        }
        tiny_run(&parts, &model, &one, &settings);
    }
    assert_close("gradient", parts.gradient, pass.gradient, pass.count, 1e-5, 0);
    tiny_pass_done(&parts);
    tiny_pass_done(&moved);
    tiny_pass_done(&pass);
    batch_done(&one);
    batch_done(&batch);
    model_done(&model);
}

enum { ROWS = 3, TOKENS = 12 };

static const Completion *sample(Generator *generator, const Model *model) {
    static int32_t id[ROWS][6];
    Error err = {0};
    Prompt prompt[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        tiny_ids(id[i], 6, 40 + i);
        prompt[i] = (Prompt){id[i], 4 + i % 3, i};
    }
    Sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = TOKENS, .seed = 5};
    const Completion *done = generate(generator, model, prompt, ROWS, 1, &sampling, NULL, &err);
    assert_ok(done != NULL, &err);
    return done;
}

/* Merged, packed into the sampler, and as two narrow products: the same model. New weights of the adapter
 * are packed anew; the base's packed copy in a workspace stays good. */
static void test_merge(void **state) {
    Error err = {0};
    Model model, whole;
    adapted(&model, tiny_family_of(state), HEAD_LM, 0, true);
    adapted(&whole, tiny_family_of(state), HEAD_LM, 0, true);
    model_merge_adapter(&whole);
    assert_int_equal(whole.config.adapter.rank, 0);
    assert_int_equal(whole.parameters, family_parameters(&whole.config));
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    TinySettings settings = {0};
    TinyPass apart = {0}, merged = {0};
    tiny_run(&apart, &model, &batch, &settings);
    tiny_run(&merged, &whole, &batch, &settings);
    assert_close("logprob", merged.logprob, apart.logprob, apart.tokens, 1e-6, 1e-6);
    for (int packed = 0; packed < 2 && !is_encoder(tiny_family_of(state)); packed++) {
        GeneratorPlan plan = {.rows = ROWS,
                              .context = 32,
                              .completions = ROWS,
                              .tokens = TOKENS,
                              .packed = packed == 1};
        Generator *generator = generator_create(&model.config, &plan, &err);
        Generator *other = generator_create(&whole.config, &plan, &err);
        assert_true(generator != NULL && other != NULL);
        for (int moved = 0; moved < 2; moved++) {
            const Completion *a = sample(generator, &model), *b = sample(other, &whole);
            for (size_t i = 0; i < ROWS; i++) {
                assert_int_equal(a[i].count, b[i].count);
                assert_memory_equal(a[i].id, b[i].id, a[i].count * sizeof(int32_t));
                assert_close("sampled", a[i].logprob, b[i].logprob, a[i].count, 2e-6, 2e-6);
            }
            if (moved == 0) { /* as one step of training would */
                Model copy;
                assert_ok(model_copy(&copy, &model, &err), &err);
                assert_true(copy.borrowed && copy.data == model.data && copy.own != model.own);
                for (size_t i = 0; i < copy.own_count; i++) {
                    copy.own[i] *= 1.5f;
                }
                model_touch(&copy);
                const Completion *c = sample(generator, &copy);
                double distance = 0;
                for (size_t i = 0; i < ROWS; i++) {
                    distance += fabs((double)c[i].logprob[0] - (double)b[i].logprob[0]);
                }
                assert_true(distance > 1e-2);
                model_done(&copy);
            }
        }
        generator_free(generator);
        generator_free(other);
    }
    tiny_pass_done(&apart);
    tiny_pass_done(&merged);
    batch_done(&batch);
    model_done(&whole);
    model_done(&model);
}

static void no_loss(void *context, size_t n, const size_t *row, const PerToken *value,
                    PerToken *gradient) {
    (void)context;
    (void)row;
    for (size_t i = 0; i < n; i++) {
        gradient->logprob[i] = value->logprob[i];
    }
}

static void test_no_allocation(void **state) {
    (void)state;
    Model model;
    Error err = {0};
    adapted(&model, TINY_LLAMA, HEAD_LM, 0.2f, true);
    Batch batch;
    mixed(&batch, TINY_LLAMA);
    Gradients gradients;
    assert_ok(gradients_init(&gradients, &model, &err), &err);
    WorkspacePlan plan = {.tokens = batch.tokens, .sequences = batch.sequences, .training = true};
    Workspace *w = workspace_create(&model.config, &plan, &err);
    assert_ok(w != NULL, &err);
    workspace_set_dropout(w, true, 1, 1);
    float logprob[64];
    PerToken out = {.logprob = logprob};
    size_t before = test_allocations();
    model_train(&model, &gradients, w, &batch, WANT_LOGPROB, no_loss, NULL, &out);
    assert_int_equal(test_allocations(), before);
    workspace_free(w);
    gradients_done(&gradients);
    batch_done(&batch);
    model_done(&model);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(3);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[1 + 4 * TINY_FAMILIES] = {
        cmocka_unit_test(test_no_allocation),
    };
    tiny_each_family(tests + 1, "start", test_start);
    tiny_each_family(tests + 1 + TINY_FAMILIES, "directional derivative",
                     test_directional_derivative);
    tiny_each_family(tests + 1 + 2 * TINY_FAMILIES, "invariance", test_invariance);
    tiny_each_family(tests + 1 + 3 * TINY_FAMILIES, "merge", test_merge);
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
