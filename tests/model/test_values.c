/* SPDX-License-Identifier: MIT
 *
 * What the numbers of a pass mean: temperature, entropy, targets, dropout, gradients as differences; and
 * that a pass allocates nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "tests/model/tiny.h"
#include "tests/support/allocations.h"

enum { VOCABULARY = 61, LENGTH = 12 };

static Workspace *workspace(const Model *model, size_t tokens, size_t sequences) {
    Error err = {0};
    WorkspacePlan plan = {tokens, sequences, true};
    Workspace *w = workspace_create(&model->config, &plan, &err);
    assert_ok(w != NULL, &err);
    return w;
}

/* A batch with one sequence of LENGTH ids, all rows asking for one target. */
static void ask(Batch *batch, int32_t target) {
    Error err = {0};
    int32_t id[LENGTH], targets[LENGTH];
    tiny_ids(id, LENGTH, 5);
    for (size_t t = 0; t < LENGTH; t++) {
        targets[t] = target;
    }
    batch_clear(batch);
    assert_ok(batch_add(batch, id, targets, LENGTH, BATCH_NO_PREFIX, 5, NULL, &err), &err);
}

/* All log-probs are had by asking for each id; from them follow entropy, the most probable id, and the
 * distribution at any temperature. */
static void test_distribution(void **state) {
    (void)state;
    Model model;
    ModelConfig config = tiny_config(1, HEAD_LM, true);
    tiny_model(&model, &config, 20);
    Workspace *w = workspace(&model, LENGTH, 1);
    Batch batch;
    Error err = {0};
    assert_ok(batch_init(&batch, LENGTH, 1, &err), &err);
    static float logprob[2][VOCABULARY][LENGTH], entropy[2][VOCABULARY][LENGTH];
    static float correct[VOCABULARY][LENGTH];
    const float temperature[] = {1, 2.5f};
    for (int i = 0; i < 2; i++) {
        workspace_set_temperature(w, temperature[i]);
        for (int32_t j = 0; j < VOCABULARY; j++) {
            ask(&batch, j);
            PerToken out = {
                .logprob = logprob[i][j], .entropy = entropy[i][j], .correct = correct[j]};
            model_forward(&model, w, &batch, &out);
        }
        for (size_t t = 0; t < LENGTH; t++) {
            double sum = 0, want = 0, best = -INFINITY, hot = 0;
            size_t at = 0;
            for (size_t j = 0; j < VOCABULARY; j++) {
                double logp = logprob[i][j][t];
                sum += exp(logp);
                want -= exp(logp) * logp;
                hot += exp(logprob[0][j][t] / temperature[i]);
                if (logp > best) {
                    best = logp;
                    at = j;
                }
            }
            assert_close_double("sum of probabilities", sum, 1, 1e-5, 0);
            for (size_t j = 0; j < VOCABULARY; j++) {
                assert_close_double("entropy", entropy[i][j][t], want, 0, 1e-5);
                assert_true(entropy[i][j][t] >= 0);
                assert_true(correct[j][t] == (j == at ? 1 : 0));
                assert_close_double("at temperature", logprob[i][j][t],
                                    logprob[0][j][t] / temperature[i] - log(hot), 0, 1e-5);
            }
        }
    }
    batch_done(&batch);
    workspace_free(w);
    model_done(&model);
}

/* A certain distribution: its entropy is not negative by rounding. */
static void test_entropy_of_certainty(void **state) {
    (void)state;
    Model model;
    ModelConfig config = tiny_config(1, HEAD_LM, true);
    tiny_model(&model, &config, 21);
    Workspace *w = workspace(&model, LENGTH, 1);
    workspace_set_temperature(w, 1e-3f);
    Batch batch;
    Error err = {0};
    assert_ok(batch_init(&batch, LENGTH, 1, &err), &err);
    ask(&batch, 3);
    float logprob[LENGTH], entropy[LENGTH];
    PerToken out = {.logprob = logprob, .entropy = entropy};
    model_forward(&model, w, &batch, &out);
    for (size_t t = 0; t < LENGTH; t++) {
        assert_true(entropy[t] >= 0 && isfinite(entropy[t]));
        assert_true(logprob[t] <= 0 && isfinite(logprob[t]));
    }
    batch_done(&batch);
    workspace_free(w);
    model_done(&model);
}

/* Rows without a target give 0 and get no gradient, whatever the gradient arrays hold there. */
static void test_rows_without_target(void **state) {
    (void)state;
    Model model;
    ModelConfig config = tiny_config(1, HEAD_LM, true);
    tiny_model(&model, &config, 22);
    Error err = {0};
    Gradients gradients[2] = {{0}};
    float d[LENGTH];
    for (int masked = 0; masked < 2; masked++) {
        Workspace *w = workspace(&model, LENGTH, 1);
        Batch batch;
        assert_ok(batch_init(&batch, LENGTH, 1, &err), &err);
        ask(&batch, 7);
        for (size_t t = 0; t < LENGTH; t++) {
            d[t] = t < 5 ? 0 : 1;
            if (masked && t < 5) {
                batch.target[t] = BATCH_NO_TARGET;
                d[t] = 100;
            }
        }
        assert_ok(gradients_init(&gradients[masked], &model, &err), &err);
        float logprob[LENGTH], entropy[LENGTH];
        PerToken out = {.logprob = logprob, .entropy = entropy};
        model_forward(&model, w, &batch, &out);
        for (size_t t = 0; masked && t < 5; t++) {
            assert_true(logprob[t] == 0 && entropy[t] == 0);
        }
        PerToken gradient = {.logprob = d};
        model_backward(&model, &gradients[masked], w, &batch, &gradient);
        batch_done(&batch);
        workspace_free(w);
    }
    assert_close("gradient", gradients[1].data, gradients[0].data, gradients[0].count, 1e-6, 0);
    gradients_done(&gradients[0]);
    gradients_done(&gradients[1]);
    model_done(&model);
}

/* Sequences with and without a prefix, which an encoder has not, with targets on most rows. */
static void mixed(Batch *batch, TinyFamily family) {
    Error err = {0};
    int32_t prefix = tiny_is_decoder(family) ? 1 : BATCH_NO_PREFIX;
    int32_t id[32];
    assert_ok(batch_init(batch, 128, 8, &err), &err);
    tiny_ids(id, 9, 40);
    tiny_add(batch, id, 9, 2, BATCH_NO_PREFIX, 1);
    tiny_ids(id, 17, 41);
    tiny_add(batch, id, 17, 1, BATCH_NO_PREFIX, 2);
    for (uint64_t k = 0; k < 3; k++) {
        tiny_ids(id, 5 + k, 42 + k);
        tiny_add(batch, id, 5 + k, 0, prefix, 3 + k);
    }
}

/* The loss that tiny_run differentiates. */
static double loss_of(const TinyPass *pass, const Batch *batch) {
    double sum = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            size_t position = batch_first_position(batch, s) + t - batch->start[s];
            int32_t id = batch->id[t], target = batch->target[t];
            sum += (double)tiny_coefficient(id, target, position, 0) * pass->logprob[t];
            sum += (double)tiny_coefficient(id, target, position, 1) * pass->entropy[t];
            sum += (double)tiny_coefficient(id, target, position, 2) * pass->score[t];
        }
    }
    return sum;
}

/* Along random directions the loss changes as the gradient says; with shared prefix and dropout. */
static void test_directional_derivative(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    config.dropout_embedding = 0.1f, config.dropout_residual = 0.2f,
    config.dropout_attention = 0.3f;
    tiny_model(&model, &config, 23);
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    float *start = malloc(model.count * sizeof(float)), *way = malloc(model.count * sizeof(float));
    assert_true(start != NULL && way != NULL);
    memcpy(start, model.data, model.count * sizeof(float));
    for (int dropped = 0; dropped < 2; dropped++) {
        TinySettings settings = {
            .temperature = 1.3f, .dropout = dropped == 1, .seed = 8, .step = 2};
        TinyPass pass = {0};
        tiny_run(&pass, &model, &batch, &settings);
        for (uint64_t direction = 0; direction < 4; direction++) {
            Random random = random_stream(24, RANDOM_TEST, direction, 0);
            random_fill_normal(&random, way, model.count, 1);
            double want = 0, got[2];
            for (size_t i = 0; i < model.parameters; i++) {
                const Parameter *p = &model.parameter[i];
                for (size_t j = 0; j < p->count; j++) {
                    want += (double)way[p->offset + j] * pass.gradient[p->gradient + j];
                }
            }
            const double step = 5e-5;
            for (int side = 0; side < 2; side++) {
                for (size_t j = 0; j < model.count; j++) {
                    model.data[j] = start[j] + (float)((side == 0 ? step : -step) * way[j]);
                }
                model_touch(&model);
                TinyPass moved = {0};
                tiny_run(&moved, &model, &batch, &settings);
                got[side] = loss_of(&moved, &batch);
                tiny_pass_done(&moved);
            }
            memcpy(model.data, start, model.count * sizeof(float));
            model_touch(&model);
            assert_close_double("slope", (got[0] - got[1]) / (2 * step), want, 5e-3, 0.5);
        }
        tiny_pass_done(&pass);
    }
    free(start);
    free(way);
    batch_done(&batch);
    model_done(&model);
}

static void forward_logprob(const Model *model, const Batch *batch, bool dropout, uint64_t step,
                            float *logprob) {
    Workspace *w = workspace(model, batch->tokens, batch->sequences);
    workspace_set_dropout(w, dropout, 5, step);
    PerToken out = {.logprob = logprob};
    model_forward(model, w, batch, &out);
    workspace_free(w);
}

/* Off: the same twice, and the same as a model without rates. On: a function of the step. */
static void test_dropout(void **state) {
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 1, HEAD_LM);
    config.dropout_embedding = config.dropout_residual = config.dropout_attention = 0.25f;
    tiny_model(&model, &config, 25);
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    float off[2][128], on[3][128], none[128];
    size_t bytes = batch.tokens * sizeof(float);
    forward_logprob(&model, &batch, false, 1, off[0]);
    forward_logprob(&model, &batch, false, 2, off[1]);
    assert_memory_equal(off[0], off[1], bytes);
    forward_logprob(&model, &batch, true, 1, on[0]);
    forward_logprob(&model, &batch, true, 1, on[1]);
    forward_logprob(&model, &batch, true, 2, on[2]);
    assert_memory_equal(on[0], on[1], bytes);
    assert_memory_not_equal(on[0], on[2], bytes);
    assert_memory_not_equal(on[0], off[0], bytes);
    model.config.dropout_embedding = model.config.dropout_residual = 0;
    model.config.dropout_attention = 0;
    forward_logprob(&model, &batch, true, 1, none);
    assert_memory_equal(none, off[0], bytes);
    batch_done(&batch);
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
    Model model;
    ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
    config.dropout_embedding = config.dropout_residual = config.dropout_attention = 0.25f;
    tiny_model(&model, &config, 26);
    Batch batch;
    mixed(&batch, tiny_family_of(state));
    Error err = {0};
    Gradients gradients;
    assert_ok(gradients_init(&gradients, &model, &err), &err);
    Workspace *w = workspace(&model, batch.tokens, batch.sequences);
    workspace_set_dropout(w, true, 1, 1);
    float values[4][128];
    PerToken out = {values[0], values[1], values[2], values[3]};
    size_t before = test_allocations();
    assert_true(before > 0);
    model_forward(&model, w, &batch, &out);
    model_backward(&model, &gradients, w, &batch, &out);
    model_train(&model, &gradients, w, &batch, WANT_LOGPROB, no_loss, NULL, &out);
    assert_int_equal(test_allocations(), before);
    workspace_free(w);
    gradients_done(&gradients);
    batch_done(&batch);
    model_done(&model);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    enum { ONCE = 3 };
    struct CMUnitTest tests[ONCE + 3 * TINY_FAMILIES] = {
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_entropy_of_certainty),
        cmocka_unit_test(test_rows_without_target),
    };
    struct CMUnitTest *next = tests + ONCE;
    next = tiny_each_family(next, "directional derivative", test_directional_derivative);
    next = tiny_each_family(next, "dropout", test_dropout);
    tiny_each_family(next, "no allocation", test_no_allocation);
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
