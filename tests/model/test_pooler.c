/* SPDX-License-Identifier: MIT
 *
 * Dropout around the pooler of an encoder's classifier. With a score head that hands the pooled row out,
 * every score shows what became of one element; with a dense layer that is the identity it shows both
 * masks of a family that drops twice.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/model/family.h"
#include "tests/model/tiny.h"
#include "tests/support/support.h"

enum { WIDTH = 32, SEQUENCES = 9, MOST = 400 };
static const size_t lengths[SEQUENCES] = {7, 1, 30, 16, 25, 32, 11, 3, 32};
static const float RATE = 0.25f;
static float off[MOST * WIDTH], on[MOST * WIDTH], again[MOST * WIDTH];

static float *weights(Model *model, Part part) {
    const Parameter *p = &model->parameter[family_index(&model->config, part, 0)];
    return model->data + p->offset;
}

static void identity(Model *model, Part matrix, Part bias) {
    float *x = weights(model, matrix);
    for (size_t i = 0; i < WIDTH * WIDTH; i++) {
        x[i] = i % (WIDTH + 1) == 0 ? 1.0f : 0.0f;
    }
    memset(weights(model, bias), 0, WIDTH * sizeof(float));
}

static void model_of(Model *model, TinyFamily family, HeadKind head, float rate) {
    ModelConfig config = tiny_family(family, 2, head);
    config.labels = WIDTH;
    config.dropout_head = rate;
    tiny_model(model, &config, 31);
    identity(model, PART_SCORE, PART_SCORE_BIAS);
    if (config.family->block.drops_twice) {
        identity(model, PART_POOLER_WEIGHT, PART_POOLER_BIAS);
    }
    model_touch(model);
}

static void add(Batch *batch, size_t s) {
    int32_t id[WIDTH];
    tiny_ids(id, lengths[s], s);
    tiny_add(batch, id, lengths[s], 0, BATCH_NO_PREFIX, s);
}

static void batch_of(Batch *batch) {
    Error err = {0};
    assert_ok(batch_init(batch, MOST, SEQUENCES, &err), &err);
    for (size_t s = 0; s < SEQUENCES; s++) {
        add(batch, s);
    }
}

/* All scores of a pass of a training step; step 0: without dropout. */
static void scores(const Model *model, const Batch *batch, uint64_t step, float *out) {
    Error err = {0};
    WorkspacePlan plan = {.tokens = MOST, .sequences = SEQUENCES, .training = true};
    Workspace *w = workspace_create(&model->config, &plan, &err);
    assert_ok(w != NULL, &err);
    workspace_set_dropout(w, step > 0, 5, step);
    model_forward(model, w, batch, &(PerToken){.score = out});
    workspace_free(w);
}

/* Of n elements each is dropped, in one way or two, or kept and scaled; returns the share of the kept. */
static double kept_share(size_t n, bool twice) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        double keep = 1 - (double)RATE, x = off[i];
        double want = (twice ? tanh(atanh(x) / keep) : x) / keep;
        if (on[i] != 0) {
            assert_close_double("kept", on[i], want, 1e-4, 1e-5);
        }
        kept += on[i] != 0;
    }
    return (double)kept / (double)n;
}

static void check_masks(TinyFamily family) {
    Model model;
    Batch batch;
    model_of(&model, family, HEAD_SCORES, RATE);
    batch_of(&batch);
    size_t n = batch.tokens * WIDTH, some = 0;
    bool twice = family == TINY_ROBERTA;
    scores(&model, &batch, 0, off);
    scores(&model, &batch, 1, on);
    for (size_t i = 0; i < n; i++) {
        some += off[i] != 0; /* DistilBERT's pooler gives zeros too */
    }
    double share = kept_share(n, twice) * (double)n / (double)some;
    assert_close_double("share", share, twice ? 0.75 * 0.75 : 0.75, 0, 0.03);
    scores(&model, &batch, 1, again);
    assert_memory_equal(again, on, n * sizeof *on);
    scores(&model, &batch, 2, again);
    assert_memory_not_equal(again, on, n * sizeof *on);
    /* A sequence alone loses the same. */
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t begin = batch.start[s] * WIDTH;
        Batch one;
        Error err = {0};
        assert_ok(batch_init(&one, MOST, 1, &err), &err);
        add(&one, s);
        scores(&model, &one, 1, again);
        assert_close("alone", again, on + begin, lengths[s] * WIDTH, 0, 1e-5);
        for (size_t i = 0; i < lengths[s] * WIDTH; i++) {
            assert_true((again[i] == 0) == (on[begin + i] == 0));
        }
        batch_done(&one);
    }
    batch_done(&batch);
    model_done(&model);
}

static void test_masks(void **state) {
    (void)state;
    check_masks(TINY_BERT);
    check_masks(TINY_DISTILBERT);
    check_masks(TINY_ROBERTA);
}

/* Rows that nobody asks for leave the masks of the others where they are. */
static void test_targets_alone(void **state) {
    (void)state;
    for (TinyFamily family = TINY_BERT; family <= TINY_ROBERTA; family++) {
        Model model;
        Batch batch;
        model_of(&model, family, HEAD_SCORES, RATE);
        batch_of(&batch);
        scores(&model, &batch, 1, on);
        for (size_t t = 0; t < batch.tokens; t++) {
            batch.target[t] = BATCH_NO_TARGET;
        }
        batch.only_targets = true;
        for (size_t s = 0; s < SEQUENCES; s++) {
            batch.target[batch.start[s]] = 0;
        }
        scores(&model, &batch, 1, again);
        for (size_t s = 0; s < SEQUENCES; s++) {
            size_t at = batch.start[s] * WIDTH;
            assert_close("first row", again + at, on + at, WIDTH, 0, 1e-6);
        }
        batch_done(&batch);
        model_done(&model);
    }
}

/* The rate of residuals stands for one that is not given; next sentences are told without. */
static void test_rates(void **state) {
    (void)state;
    Model model;
    Batch batch;
    batch_of(&batch);
    size_t bytes = batch.tokens * WIDTH * sizeof(float);
    for (int both = 0; both < 2; both++) {
        model_of(&model, TINY_BERT, both == 1 ? HEAD_BOTH : HEAD_SCORES, RATE);
        scores(&model, &batch, 0, off);
        scores(&model, &batch, 1, on);
        assert_int_equal(memcmp(on, off, bytes) == 0, both);
        model.config.dropout_head = -1;
        scores(&model, &batch, 1, on);
        assert_memory_equal(on, off, bytes);
        model_done(&model);
    }
    model_of(&model, TINY_BERT, HEAD_SCORES, -1);
    model.config.dropout_residual = RATE;
    scores(&model, &batch, 1, on);
    model.config.dropout_head = RATE;
    scores(&model, &batch, 1, again);
    assert_memory_equal(again, on, bytes);
    model.config.dropout_head = 0;
    scores(&model, &batch, 1, again);
    assert_memory_not_equal(again, on, bytes);
    model_done(&model);
    batch_done(&batch);
}

static double loss_of(const TinyPass *pass, const Batch *batch) {
    double sum = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            size_t position = t - batch->start[s];
            sum += (double)tiny_coefficient(batch->id[t], batch->target[t], position, 2) *
                   pass->score[t];
        }
    }
    return sum;
}

/* Along a random direction the loss changes as the gradient says, all masks being there. */
static void check_slope(Model *model, const Batch *batch, bool trained, uint64_t direction) {
    TinySettings settings = {.dropout = true, .seed = 8, .step = 2, .trained = trained};
    float *start = malloc(model->count * sizeof(float)),
          *way = malloc(model->count * sizeof(float));
    assert_true(start != NULL && way != NULL);
    memcpy(start, model->data, model->count * sizeof(float));
    Random random = random_stream(24, RANDOM_TEST, direction, 0);
    random_fill_normal(&random, way, model->count, 1);
    TinyPass pass = {0};
    tiny_run(&pass, model, batch, &settings);
    double want = 0, got[2];
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        for (size_t j = 0; j < p->count; j++) {
            want += (double)way[p->offset + j] * pass.gradient[p->gradient + j];
        }
    }
    const double step = 5e-5;
    for (int side = 0; side < 2; side++) {
        for (size_t j = 0; j < model->count; j++) {
            model->data[j] = start[j] + (float)((side == 0 ? step : -step) * way[j]);
        }
        model_touch(model);
        TinyPass moved = {0};
        tiny_run(&moved, model, batch, &settings);
        got[side] = loss_of(&moved, batch);
        tiny_pass_done(&moved);
    }
    memcpy(model->data, start, model->count * sizeof(float));
    model_touch(model);
    assert_close_double("slope", (got[0] - got[1]) / (2 * step), want, 5e-3, 0.5);
    tiny_pass_done(&pass);
    free(start);
    free(way);
}

static void test_gradient(void **state) {
    (void)state;
    for (TinyFamily family = TINY_BERT; family <= TINY_ROBERTA; family++) {
        Model model;
        Batch batch;
        ModelConfig config = tiny_family(family, 2, HEAD_SCORES);
        config.dropout_embedding = 0.1f, config.dropout_residual = 0.2f;
        config.dropout_attention = 0.3f, config.dropout_head = 0.4f;
        tiny_model(&model, &config, 23);
        for (size_t i = 0; family == TINY_DISTILBERT && i < WIDTH; i++) {
            weights(&model, PART_POOLER_BIAS)[i] += 8; /* no difference across the kink of a ReLU */
        }
        batch_of(&batch);
        for (uint64_t direction = 0; direction < 4; direction++) {
            check_slope(&model, &batch, direction % 2 == 1, direction);
        }
        batch_done(&batch);
        model_done(&model);
    }
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_targets_alone),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
