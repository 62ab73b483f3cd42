/* SPDX-License-Identifier: MIT */
#include "tests/model/oracle.h"

#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 5 };

const char *case_folder(const Case *c) {
    static char path[500];
    snprintf(path, sizeof path, "%s/families/%s", test_fixtures(), c->folder);
    return path;
}

void oracle_open(Oracle *oracle, const Case *c) {
    Error err = {0};
    *oracle = (Oracle){0};
    assert_ok(
        safetensors_open(&oracle->file, test_path(case_folder(c), "oracle.safetensors"), &err),
        &err);
}

void oracle_close(Oracle *oracle) {
    for (size_t i = 0; i < oracle->count; i++) {
        free(oracle->owned[i]);
    }
    safetensors_close(&oracle->file);
}

float *oracle_floats(Oracle *oracle, const char *name, size_t *count) {
    Error err = {0};
    const Tensor *tensor = safetensors_find(&oracle->file, name);
    size_t n = tensor != NULL ? tensor->count : 0;
    if (count != NULL) {
        *count = n;
    }
    if (tensor == NULL) {
        return NULL;
    }
    float *values = calloc(n + 1, sizeof *values);
    assert_non_null(values);
    assert_true(oracle->count < sizeof oracle->owned / sizeof *oracle->owned);
    oracle->owned[oracle->count++] = values;
    assert_ok(safetensors_read_floats(&oracle->file, tensor, values, n, false, &err), &err);
    return values;
}

int32_t *oracle_ids(Oracle *oracle, const char *name, size_t *count) {
    float *values = oracle_floats(oracle, name, count);
    if (values == NULL) {
        return NULL;
    }
    /* In place: an int32_t has the size of a float. */
    for (size_t i = 0; i < *count; i++) {
        int32_t id = (int32_t)values[i];
        memcpy(&values[i], &id, sizeof id);
    }
    return (int32_t *)(void *)values;
}

void case_load(Model *model, const Case *c, const char *folder) {
    Error err = {0};
    bool fresh = false;
    assert_ok(model_load(model, folder, c->head, c->labels, &fresh, &err), &err);
    assert_false(fresh);
}

void case_batch(Batch *batch, Oracle *oracle) {
    Error err = {0};
    size_t n, targets, types, starts;
    const int32_t *id = oracle_ids(oracle, "ids", &n);
    const int32_t *target = oracle_ids(oracle, "targets", &targets);
    const int32_t *type = oracle_ids(oracle, "types", &types);
    const int32_t *start = oracle_ids(oracle, "starts", &starts);
    assert_int_equal(starts, SEQUENCES + 1);
    assert_true(targets == 0 || targets == n);
    assert_ok(batch_init(batch, n, SEQUENCES, &err), &err);
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t from = (size_t)start[s], length = (size_t)start[s + 1] - from;
        assert_ok(batch_add(batch, id + from, target != NULL ? target + from : NULL, length,
                            BATCH_NO_PREFIX, s, NULL, &err),
                  &err);
        size_t first = 0; /* rows of the first of two texts */
        while (first < length && (type == NULL || type[from + first] == 0)) {
            first++;
        }
        batch_set_segments(batch, s, first);
    }
    assert_int_equal(batch->tokens, n);
}

void values_init(Values *values, const Model *model, size_t tokens) {
    size_t labels = model->config.head != HEAD_LM ? model->config.labels : 0;
    *values = (Values){.tokens = tokens, .labels = labels};
    values->logprob = calloc(2 * tokens, sizeof *values->logprob);
    values->score = calloc(tokens * labels + 1, sizeof *values->score);
    assert_true(values->logprob != NULL && values->score != NULL);
    values->entropy = values->logprob + tokens;
}

void values_done(Values *values) {
    free(values->logprob);
    free(values->score);
}

PerToken values_per_token(const Values *values, const Model *model) {
    bool lm = model->config.head != HEAD_SCORES;
    return (PerToken){.logprob = lm ? values->logprob : NULL,
                      .entropy = lm ? values->entropy : NULL,
                      .score = values->labels > 0 ? values->score : NULL};
}

Workspace *case_workspace(const Model *model, const Batch *batch, bool training) {
    Error err = {0};
    WorkspacePlan plan = {
        .tokens = batch->tokens, .sequences = batch->sequences, .training = training};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    return workspace;
}

void values_keep_scores(Values *values, const Case *c, const Model *model, const Batch *batch) {
    values->scores = values->tokens * values->labels;
    if ((c->flags & SENTENCES) != 0) {
        for (size_t s = 0; s < batch->sequences; s++) {
            memmove(values->score + s * values->labels,
                    values->score + batch->start[s] * values->labels,
                    values->labels * sizeof(float));
        }
        values->scores = batch->sequences * values->labels;
    }
    for (size_t i = 0; i < values->scores; i++) {
        values->score[i] += model->config.reward_bias;
    }
}

void values_compare(Oracle *oracle, const Model *model, const Values *values) {
    bool lm = model->config.head != HEAD_SCORES;
    const struct {
        const char *name;
        const float *got;
        size_t n;
        bool said;
    } row[] = {
        {"logprob", values->logprob, values->tokens, lm                },
        {"entropy", values->entropy, values->tokens, lm                },
        {"score",   values->score,   values->scores, values->scores > 0},
    };
    size_t compared = 0, n;
    for (size_t i = 0; i < 3; i++) {
        const float *want = oracle_floats(oracle, row[i].name, &n);
        if (want != NULL && row[i].said) {
            assert_int_equal(n, row[i].n);
            assert_close(row[i].name, row[i].got, want, n, 2e-5, 0);
            compared++;
        }
    }
    assert_true(compared > 0);
}
