/* SPDX-License-Identifier: MIT
 *
 * What must not change a token's numbers or a gradient: neighbors, order, packing, micro-batches, a
 * shared prefix, threads, which way the head goes, what is frozen.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/model/pass.h"
#include "tests/model/tiny.h"

static const TinySettings plain = {0};

/* Rounding the inputs of products is a function of each element: in BF16 the same must hold, but where a
 * sum in another order comes before it, to the rounding of BF16. */
static const struct Arithmetic {
    TinySettings settings;
    double tolerance; /* behind sums in another order */
} arithmetics[] = {
    {{.type = GEMM_FP32}, 2e-5},
    {{.type = GEMM_BF16}, 1e-2},
};
enum { ARITHMETICS = sizeof arithmetics / sizeof *arithmetics };

static void add_record(Batch *batch, size_t n, size_t from, uint64_t record) {
    int32_t id[64];
    tiny_ids(id, n, record);
    tiny_add(batch, id, n, from, BATCH_NO_PREFIX, record);
}

static const size_t lengths[] = {7, 1, 13, 32, 2, 31, 20};
enum { RECORDS = 7 };

static void packed(Batch *batch) {
    Error err = {0};
    assert_ok(batch_init(batch, 200, 16, &err), &err);
    for (size_t r = 0; r < RECORDS; r++) {
        add_record(batch, lengths[r], r % 3, r);
    }
}

static void close_passes(const char *what, const TinyPass *got, const TinyPass *want, double rtol) {
    assert_close(what, got->gradient, want->gradient, want->count, rtol, 0);
}

static void test_packed_is_one_by_one(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    tiny_model(&model, &config, 1);
    Batch batch, one;
    Error err = {0};
    packed(&batch);
    assert_ok(batch_init(&one, 64, 1, &err), &err);
    for (size_t i = 0; i < ARITHMETICS; i++) {
        TinyPass together = {0}, apart = {0};
        tiny_run(&together, &model, &batch, &arithmetics[i].settings);
        for (size_t r = 0; r < RECORDS; r++) {
            batch_clear(&one);
            add_record(&one, lengths[r], r % 3, r);
            tiny_run(&apart, &model, &one, &arithmetics[i].settings);
            size_t start = batch.start[r];
            assert_close("logprob", together.logprob + start, apart.logprob, lengths[r], 0, 1e-5);
            assert_close("entropy", together.entropy + start, apart.entropy, lengths[r], 0, 1e-5);
            assert_close("score", together.score + start, apart.score, lengths[r], 0, 1e-5);
        }
        close_passes("gradient", &together, &apart, 1e-5);
        tiny_pass_done(&together);
        tiny_pass_done(&apart);
    }
    batch_done(&batch);
    batch_done(&one);
    model_done(&model);
}

/* Rows that nobody reads leave the last block early: what is read stays the same to the bit. */
static void test_targets_only(void **state) {
    static const HeadKind heads[] = {HEAD_LM, HEAD_SCORES, HEAD_BOTH};
    for (size_t i = 0; i < 3 * 2 * 3; i++) {
        Model model;
        ModelConfig config = tiny_family(tiny_family_of(state), 2, heads[i % 3]);
        TinySettings settings = {.trained = i / 3 % 2 == 1, .recompute = (int64_t)(i / 6)};
        TinyPass all = {0}, few = {0};
        Batch batch;
        Error err = {0};
        tiny_model(&model, &config, 1);
        assert_ok(batch_init(&batch, 200, 16, &err), &err);
        for (size_t r = 0; r < RECORDS; r++) {
            add_record(&batch, lengths[r], lengths[r] / 2, r);
        }
        tiny_run(&all, &model, &batch, &settings);
        batch.only_targets = true;
        tiny_run(&few, &model, &batch, &settings);
        for (size_t t = 0; t < batch.tokens; t++) {
            bool read = batch.target[t] != BATCH_NO_TARGET;
            if (config.head != HEAD_SCORES) {
                assert_true(few.logprob[t] == all.logprob[t]);
                assert_true(few.entropy[t] == all.entropy[t]);
            }
            if (config.head != HEAD_LM) {
                assert_true(few.score[t] == (read ? all.score[t] : 0));
            }
        }
        close_passes("gradient", &few, &all, 2e-5);
        tiny_pass_done(&all);
        tiny_pass_done(&few);
        batch_done(&batch);
        model_done(&model);
    }
}

static void test_order_and_micro_batches(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    config.dropout_embedding = config.dropout_residual = config.dropout_attention = 0.2f;
    tiny_model(&model, &config, 2);
    static const size_t order[] = {4, 2, 6, 0, 5, 3, 1};
    for (size_t i = 0; i < 2 * ARITHMETICS; i++) {
        TinySettings settings = arithmetics[i / 2].settings;
        settings.dropout = i % 2 == 1, settings.seed = 3, settings.step = 9;
        Batch batch, part;
        Error err = {0};
        packed(&batch);
        TinyPass all = {0}, parts = {0};
        tiny_run(&all, &model, &batch, &settings);
        assert_ok(batch_init(&part, 200, 16, &err), &err);
        for (size_t r = 0; r < RECORDS; r += 3) {
            batch_clear(&part);
            for (size_t j = r; j < r + 3 && j < RECORDS; j++) {
                add_record(&part, lengths[order[j]], order[j] % 3, order[j]);
            }
            tiny_run(&parts, &model, &part, &settings);
        }
        close_passes("gradient", &parts, &all, 2e-5);
        tiny_pass_done(&all);
        tiny_pass_done(&parts);
        batch_done(&batch);
        batch_done(&part);
    }
    model_done(&model);
}

/* K completions behind one prompt, and the same with the prompt written out before each. */
static void groups(Batch *batch, bool shared) {
    static const size_t prompts[] =
        {
            9, 2, 17
    },
                        completions[][3] = {{5, 1, 12}, {30, 3, 7}, {4, 4, 4}};
    Error err = {0};
    assert_ok(batch_init(batch, 400, 32, &err), &err);
    for (size_t g = 0; g < 3; g++) {
        int32_t prompt[64], whole[64];
        size_t p = prompts[g];
        tiny_ids(prompt, p, 100 + g);
        size_t prefix = batch->sequences;
        if (shared) {
            tiny_add(batch, prompt, p - 1, p, BATCH_NO_PREFIX, 1000 + g);
        }
        for (size_t k = 0; k < 3; k++) {
            size_t n = completions[g][k];
            memcpy(whole, prompt, p * sizeof *prompt);
            tiny_ids(whole + p, n, 200 + 10 * g + k);
            if (shared) {
                tiny_add(batch, whole + p - 1, n + 1, 0, (int32_t)prefix, g * 10 + k);
            } else {
                tiny_add(batch, whole, p + n, p - 1, BATCH_NO_PREFIX, g * 10 + k);
            }
        }
        if (shared) { /* a sequence that is nobody's prefix between two groups */
            add_record(batch, 3, 3, 500 + g);
        }
    }
}

static void test_shared_prefix_is_repeated_prompt(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    tiny_model(&model, &config, 3);
    Batch shared, repeated;
    groups(&shared, true);
    groups(&repeated, false);
    assert_true(batch_is_valid(&shared, 61, 32) && batch_is_valid(&repeated, 61, 32));
    assert_true(shared.tokens < repeated.tokens);
    for (size_t i = 0; i < ARITHMETICS; i++) {
        TinyPass a = {0}, b = {0};
        tiny_run(&a, &model, &shared, &arithmetics[i].settings);
        tiny_run(&b, &model, &repeated, &arithmetics[i].settings);
        double sum_a = 0, sum_b = 0;
        for (size_t t = 0; t < a.tokens; t++) {
            sum_a += a.logprob[t];
        }
        for (size_t t = 0; t < b.tokens; t++) {
            sum_b += b.logprob[t];
        }
        assert_close_double("sum of log-probs", sum_a, sum_b, 1e-6, 0);
        close_passes("gradient", &a, &b, arithmetics[i].tolerance);
        tiny_pass_done(&a);
        tiny_pass_done(&b);
    }
    batch_done(&shared);
    batch_done(&repeated);
    model_done(&model);
}

static void test_two_ways_of_the_head(void **state) {
    for (int i = 0; i < 3 * ARITHMETICS; i++) {
        HeadKind head = (HeadKind)(i % 3);
        Model model;
        ModelConfig config = tiny_family(tiny_family_of(state), 1, head);
        tiny_model(&model, &config, 4);
        Batch batch;
        packed(&batch);
        TinyPass two = {0}, one = {0};
        TinySettings settings = arithmetics[i / 3].settings;
        settings.temperature = 1.7f;
        tiny_run(&two, &model, &batch, &settings);
        settings.trained = true;
        tiny_run(&one, &model, &batch, &settings);
        assert_memory_equal(one.logprob, two.logprob, one.tokens * sizeof(float));
        assert_memory_equal(one.entropy, two.entropy, one.tokens * sizeof(float));
        assert_memory_equal(one.score, two.score, one.tokens * sizeof(float));
        close_passes("gradient", &one, &two, 1e-6);
        tiny_pass_done(&one);
        tiny_pass_done(&two);
        batch_done(&batch);
        model_done(&model);
    }
}

static void test_threads(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    config.dropout_residual = 0.1f;
    tiny_model(&model, &config, 5);
    Batch batch;
    packed(&batch);
    for (size_t i = 0; i < ARITHMETICS; i++) {
        TinySettings settings = arithmetics[i].settings;
        settings.dropout = true, settings.seed = 1, settings.step = 1;
        TinyPass one = {0}, two = {0}, again = {0};
        parallel_init(1);
        tiny_run(&one, &model, &batch, &settings);
        parallel_init(2);
        tiny_run(&two, &model, &batch, &settings);
        tiny_run(&again, &model, &batch, &settings);
        assert_memory_equal(two.gradient, again.gradient, two.count * sizeof(float));
        assert_memory_equal(two.logprob, again.logprob, two.tokens * sizeof(float));
        close_passes("gradient", &one, &two, 1e-6);
        tiny_pass_done(&one);
        tiny_pass_done(&two);
        tiny_pass_done(&again);
    }
    batch_done(&batch);
    model_done(&model);
}

static void test_frozen(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 3, HEAD_BOTH);
    tiny_model(&model, &config, 6);
    Batch batch;
    packed(&batch);
    TinyPass all = {0};
    tiny_run(&all, &model, &batch, &plain);
    static size_t offset[128];
    for (size_t i = 0; i < model.parameters; i++) {
        offset[i] = model.parameter[i].gradient;
    }
    static const size_t frozen[] = {1, 2, 3, SIZE_MAX};
    for (size_t f = 0; f < 4; f++) {
        Model copy;
        Error err = {0};
        assert_ok(model_copy(&copy, &model, &err), &err);
        model_freeze(&copy, frozen[f]);
        TinyPass some = {0};
        tiny_run(&some, &copy, &batch, &plain);
        size_t trained = 0;
        for (size_t i = 0; i < copy.parameters; i++) {
            const Parameter *p = &copy.parameter[i];
            if (p->gradient != SIZE_MAX) {
                trained++;
                assert_close(p->name, some.gradient + p->gradient, all.gradient + offset[i],
                             p->count, 1e-6, 0);
            }
        }
        assert_in_range(trained, 1, copy.parameters - 1);
        assert_memory_equal(copy.data, model.data, model.count * sizeof(float));
        tiny_pass_done(&some);
        model_done(&copy);
    }
    tiny_pass_done(&all);
    batch_done(&batch);
    model_done(&model);
}

/* The tied head's gradient is the sum of the two that untied tables with the same content get. */
static void test_tied_is_sum_of_untied(void **state) {
    (void)state;
    Model tied, untied;
    ModelConfig config = tiny_config(1, HEAD_LM, true);
    tiny_model(&tied, &config, 7);
    config.tied = false;
    tiny_model(&untied, &config, 7);
    const Parameter *head = model_find(&untied, "lm_head.weight");
    assert_non_null(head);
    for (size_t i = 0; i < tied.parameters; i++) {
        const Parameter *p = &tied.parameter[i], *q = model_find(&untied, p->name);
        assert_non_null(q);
        memcpy(untied.data + q->offset, tied.data + p->offset, p->count * sizeof(float));
    }
    memcpy(untied.data + head->offset, tied.data, head->count * sizeof(float));
    Batch batch;
    packed(&batch);
    TinyPass a = {0}, b = {0};
    tiny_run(&a, &tied, &batch, &plain);
    tiny_run(&b, &untied, &batch, &plain);
    const Parameter *wte = &untied.parameter[0];
    for (size_t i = 0; i < head->count; i++) {
        b.gradient[wte->gradient + i] += b.gradient[head->gradient + i];
    }
    assert_close("wte", a.gradient + tied.parameter[0].gradient, b.gradient + wte->gradient,
                 wte->count, 1e-6, 0);
    tiny_pass_done(&a);
    tiny_pass_done(&b);
    batch_done(&batch);
    model_done(&tied);
    model_done(&untied);
}

/* Inference shares buffers between blocks; the numbers are the training pass's. */
static void test_inference_workspace(void **state) {
    Model model;
    Error err = {0};
    ModelConfig config = tiny_family(tiny_family_of(state), 3, HEAD_BOTH);
    tiny_model(&model, &config, 8);
    Batch batch;
    packed(&batch);
    size_t n = batch.tokens;
    float *value[2];
    size_t bytes[2];
    for (int training = 0; training < 2; training++) {
        WorkspacePlan plan = {n, batch.sequences, training == 1};
        bytes[training] = workspace_bytes(&config, &plan);
        Workspace *w = workspace_create(&config, &plan, &err);
        assert_ok(w != NULL, &err);
        assert_int_equal(w->arena.peak, w->arena.size);
        assert_int_equal(w->arena.size + sizeof *w, bytes[training]);
        value[training] = calloc(4 * n, sizeof(float));
        float *v = value[training];
        PerToken out = {v, v + n, v + 2 * n, v + 3 * n};
        model_forward(&model, w, &batch, &out);
        workspace_free(w);
    }
    assert_true(bytes[0] < bytes[1]);
    assert_memory_equal(value[0], value[1], 4 * n * sizeof(float));
    free(value[0]);
    free(value[1]);
    batch_done(&batch);
    model_done(&model);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

static const struct {
    const char *name;
    CMUnitTestFunction check;
} checks[] = {
    {"packed is one by one",    test_packed_is_one_by_one   },
    {"targets only",            test_targets_only           },
    {"order and micro-batches", test_order_and_micro_batches},
    {"two ways of the head",    test_two_ways_of_the_head   },
    {"threads",                 test_threads                },
    {"frozen",                  test_frozen                 },
    {"inference workspace",     test_inference_workspace    },
};
enum { CHECKS = sizeof checks / sizeof *checks };

int main(void) {
    enum { ONCE = 1 };
    struct CMUnitTest tests[ONCE + TINY_DECODERS + CHECKS * TINY_FAMILIES] = {
        cmocka_unit_test(test_tied_is_sum_of_untied),
    };
    struct CMUnitTest *next = tests + ONCE;
    next = tiny_each_decoder(next, "shared prefix", test_shared_prefix_is_repeated_prompt);
    for (size_t i = 0; i < CHECKS; i++) {
        next = tiny_each_family(next, checks[i].name, checks[i].check);
    }
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
