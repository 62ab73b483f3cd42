/* SPDX-License-Identifier: MIT
 *
 * What a workspace's plan may change: memory and speed, no bit of a result. And products of BF16 numbers:
 * how far they may lead away from FP32.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/model/packed.h"
#include "tests/model/tiny.h"

enum { LAYERS = 3 };

static const unsigned pack_all =
    PACK_FORWARD | PACK_BACKWARD | PACK_HEAD_FORWARD | PACK_HEAD_BACKWARD;

/* Sequences alone, and three behind a prefix; behind none for an encoder. */
static void mixed(Batch *batch, TinyFamily family) {
    Error err = {0};
    int32_t prefix = tiny_is_decoder(family) ? 1 : BATCH_NO_PREFIX;
    int32_t id[32];
    assert_ok(batch_init(batch, 128, 8, &err), &err);
    tiny_ids(id, 29, 40);
    tiny_add(batch, id, 29, 2, BATCH_NO_PREFIX, 1);
    tiny_ids(id, 17, 41);
    tiny_add(batch, id, 17, 1, BATCH_NO_PREFIX, 2);
    for (uint64_t k = 0; k < 3; k++) {
        tiny_ids(id, 5 + k, 42 + k);
        tiny_add(batch, id, 5 + k, 0, prefix, 3 + k);
    }
}

static void model_of(Model *model, TinyFamily family, float dropout) {
    ModelConfig config = tiny_family(family, LAYERS, HEAD_BOTH);
    config.dropout_embedding = config.dropout_residual = config.dropout_attention = dropout;
    tiny_model(model, &config, 50);
}

static void assert_same_bits(const TinyPass *a, const TinyPass *b) {
    size_t bytes = a->tokens * sizeof(float);
    assert_memory_equal(a->logprob, b->logprob, bytes);
    assert_memory_equal(a->entropy, b->entropy, bytes);
    assert_memory_equal(a->score, b->score, bytes);
    assert_memory_equal(a->correct, b->correct, bytes);
    assert_memory_equal(a->gradient, b->gradient, a->count * sizeof(float));
}

/* Runs with `settings` and with what `change` sets; both ways of the head, with dropout and without. */
static void check_same(TinyFamily family, const TinySettings *change) {
    Batch batch;
    mixed(&batch, family);
    for (int i = 0; i < 4; i++) {
        Model model;
        model_of(&model, family, i & 1 ? 0.2f : 0);
        TinySettings plain = {.temperature = 1.3f,
                              .dropout = (i & 1) != 0,
                              .seed = 8,
                              .step = 2,
                              .trained = (i & 2) != 0,
                              .type = change->type};
        TinySettings changed = plain;
        changed.packed = change->packed;
        changed.recompute = change->recompute;
        TinyPass want = {0}, got = {0};
        tiny_run(&want, &model, &batch, &plain);
        tiny_run(&got, &model, &batch, &changed);
        assert_same_bits(&got, &want);
        tiny_pass_done(&want);
        tiny_pass_done(&got);
        model_done(&model);
    }
    batch_done(&batch);
}

static void test_recompute(void **state) {
    for (int64_t blocks = RECOMPUTE_ALL; blocks <= LAYERS + 1; blocks++) {
        check_same(tiny_family_of(state), &(TinySettings){.recompute = blocks});
    }
}

static void test_packed(void **state) {
    for (unsigned which = 1; which <= pack_all; which++) {
        check_same(tiny_family_of(state), &(TinySettings){.packed = which});
        check_same(tiny_family_of(state), &(TinySettings){.packed = which, .type = GEMM_BF16});
    }
}

/* Recomputation takes less the more blocks it has; packing takes what packed_bytes says. */
static void test_memory(void **state) {
    ModelConfig config = tiny_family(tiny_family_of(state), LAYERS, HEAD_BOTH);
    WorkspacePlan plan = {.tokens = 8192, .sequences = 8, .training = true};
    size_t last = workspace_bytes(&config, &plan);
    for (int64_t blocks = 2; blocks <= LAYERS; blocks++) { /* one alone shares with nothing */
        plan.recompute = blocks;
        size_t bytes = workspace_bytes(&config, &plan);
        assert_true(bytes < last);
        last = bytes;
    }
    plan.recompute = RECOMPUTE_ALL;
    assert_int_equal(workspace_bytes(&config, &plan), last);
    plan.packed = pack_all;
    assert_int_equal(workspace_bytes(&config, &plan),
                     last + packed_bytes(&config, GEMM_FP32, pack_all));
}

/* Weights that change between two passes of one workspace are packed anew. */
static void test_packed_follows(void **state) {
    Error err = {0};
    Model model[2];
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    WorkspacePlan plan = {.tokens = batch.tokens, .sequences = batch.sequences};
    model_of(&model[0], tiny_family_of(state), 0);
    model_of(&model[1], tiny_family_of(state), 0);
    model_initialize(&model[1], 9);
    Workspace *bare = workspace_create(&model[0].config, &plan, &err);
    plan.packed = PACK_FORWARD | PACK_HEAD_FORWARD;
    Workspace *packed = workspace_create(&model[0].config, &plan, &err);
    assert_ok(bare != NULL && packed != NULL, &err);
    for (int i = 0; i < 4; i++) {
        float want[128], got[128];
        model_forward(&model[i % 2], bare, &batch, &(PerToken){.logprob = want});
        model_forward(&model[i % 2], packed, &batch, &(PerToken){.logprob = got});
        assert_memory_equal(got, want, batch.tokens * sizeof(float));
    }
    workspace_free(bare);
    workspace_free(packed);
    batch_done(&batch);
    model_done(&model[0]);
    model_done(&model[1]);
}

/* BF16 keeps 8 bits: products of rounded numbers are off by about 2^-8 of their terms' size, which the
 * layers carry on. The gradient keeps its direction and length. */
static void test_bf16(void **state) {
    Model model;
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    model_of(&model, tiny_family_of(state), 0);
    TinySettings settings = {0};
    TinyPass want = {0}, got = {0};
    tiny_run(&want, &model, &batch, &settings);
    settings.type = GEMM_BF16;
    tiny_run(&got, &model, &batch, &settings);
    double product = 0, squares[2] = {0}, error = 0;
    for (size_t i = 0; i < want.count; i++) {
        product += (double)want.gradient[i] * got.gradient[i];
        squares[0] += (double)want.gradient[i] * want.gradient[i];
        squares[1] += (double)got.gradient[i] * got.gradient[i];
    }
    for (size_t t = 0; t < want.tokens; t++) {
        error = fmax(error, fabs((double)want.logprob[t] - got.logprob[t]));
    }
    print_message("cosine 1 - %.1e, length %.4f, log-prob off by %.1e\n",
                  1 - product / sqrt(squares[0] * squares[1]), sqrt(squares[1] / squares[0]),
                  error);
    assert_true(product / sqrt(squares[0] * squares[1]) > 0.999);
    assert_close_double("length", sqrt(squares[1] / squares[0]), 1, 0, 0.02);
    assert_true(error > 1e-6 && error < 0.1); /* it is another arithmetic, and near */
    tiny_pass_done(&want);
    tiny_pass_done(&got);
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
    {"recompute",      test_recompute     },
    {"packed",         test_packed        },
    {"packed follows", test_packed_follows},
    {"memory",         test_memory        },
    {"bf16",           test_bf16          },
};
enum { CHECKS = sizeof checks / sizeof *checks };

int main(void) {
    struct CMUnitTest tests[CHECKS * TINY_FAMILIES];
    struct CMUnitTest *next = tests;
    for (size_t i = 0; i < CHECKS; i++) {
        next = tiny_each_family(next, checks[i].name, checks[i].check);
    }
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
