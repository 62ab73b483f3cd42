/* SPDX-License-Identifier: MIT
 *
 * A trained GPT-2 of three layers and its stored activations (gpt-nano-sort, real data). Its linear
 * weights lie [out, in].
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/pass.h"
#include "tests/model/tiny.h"

enum { VOCABULARY = 3, CONTEXT = 11, WIDTH = 48, ROWS = 33 };

static int digit(char c) {
    const char *alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* The floats of {"data": base64} under `name`. */
static void read_floats(const cJSON *file, const char *name, float *out, size_t count) {
    const char *text = json_string(json_member(json_member(file, name), "data"));
    assert_non_null(text);
    unsigned char *bytes = (unsigned char *)out;
    size_t n = 0;
    unsigned bits = 0, held = 0;
    for (; digit(*text) >= 0; text++) {
        bits = bits << 6 | (unsigned)digit(*text);
        held += 6;
        if (held >= 8) {
            held -= 8;
            assert_true(n < count * sizeof *out);
            bytes[n++] = (unsigned char)(bits >> held);
        }
    }
    assert_int_equal(n, count * sizeof *out);
}

static cJSON *open_file(const char *folder, const char *name) {
    Error err = {0};
    Str path = {0};
    str_appendf(&path, "%s/models/gpt-nano-sort/%s", folder, name);
    cJSON *json = json_read_file(str_text(&path), &json_limits_document, &err);
    assert_ok(json != NULL, &err);
    str_done(&path);
    return json;
}

/* GPT-2 with its linear weights stored [out, in]. */
static ModelFamily turned_family(TensorRow *row) {
    ModelFamily family = family_gpt2;
    for (size_t i = 0; i < family.tensors; i++) {
        row[i] = family.tensor[i];
        if (row[i].scope == SCOPE_BLOCK && row[i].shape[1] != EXTENT_NONE) {
            row[i].shape[0] = family.tensor[i].shape[1];
            row[i].shape[1] = family.tensor[i].shape[0];
        }
    }
    family.tensor = row;
    family.block.linear = LINEAR_OUT_IN;
    return family;
}

static void test_stored_activations(void **state) {
    (void)state;
    const char *folder = test_data();
    if (folder == NULL) {
        skip();
    }
    cJSON *weights = open_file(folder, "model.json"), *stored = open_file(folder, "partials.json");
    Error err = {0};
    Model model;
    ModelConfig config = tiny_config(3, HEAD_LM, false);
    TensorRow row[PARTS];
    ModelFamily family = turned_family(row);
    config.family = &family;
    config.heads = 3, config.width = WIDTH, config.inner = 4 * WIDTH;
    config.vocabulary = VOCABULARY, config.context = CONTEXT;
    assert_ok(model_create(&model, &config, &err), &err);
    for (size_t i = 0; i < model.parameters; i++) {
        const Parameter *p = &model.parameter[i];
        read_floats(weights, p->name, model.data + p->offset, p->count);
    }
    float ids[ROWS], logits[ROWS * VOCABULARY], logprob[ROWS];
    static float want[ROWS * WIDTH];
    read_floats(stored, "idx", ids, ROWS);
    read_floats(stored, "lm_head", logits, ROWS * VOCABULARY);
    WorkspacePlan plan = {ROWS, 3, true};
    Workspace *w = workspace_create(&config, &plan, &err);
    assert_ok(w != NULL, &err);
    for (int32_t asked = 0; asked < VOCABULARY; asked++) {
        Batch batch;
        assert_ok(batch_init(&batch, ROWS, 3, &err), &err);
        for (size_t s = 0; s < 3; s++) {
            int32_t id[CONTEXT], target[CONTEXT];
            for (size_t t = 0; t < CONTEXT; t++) {
                id[t] = (int32_t)ids[s * CONTEXT + t];
                target[t] = asked;
            }
            assert_ok(batch_add(&batch, id, target, CONTEXT, BATCH_NO_PREFIX, s, NULL, &err), &err);
        }
        PerToken out = {.logprob = logprob};
        model_forward(&model, w, &batch, &out);
        for (size_t t = 0; t < ROWS; t++) {
            const float *z = logits + t * VOCABULARY;
            double sum = exp(z[0]) + exp(z[1]) + exp(z[2]);
            assert_close_double("log-prob", logprob[t], z[asked] - log(sum), 0, 1e-5);
        }
        batch_done(&batch);
    }
    read_floats(stored, "block0", want, ROWS * WIDTH);
    assert_close("block 0", w->block[1].input, want, ROWS * WIDTH, 0, 1e-5);
    read_floats(stored, "ln_f", want, ROWS * WIDTH);
    assert_close("final norm", w->hidden, want, ROWS * WIDTH, 0, 1e-5);
    workspace_free(w);
    model_done(&model);
    cJSON_Delete(weights);
    cJSON_Delete(stored);
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
