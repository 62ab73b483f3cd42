/* SPDX-License-Identifier: MIT
 *
 * The pass against numbers that others computed: a small GPT-2 by transformers (tests/fixtures/gpt2),
 * and the stored activations of a trained one.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/safetensors.h"
#include "tests/model/tiny.h"

enum { TOKENS = 71, SEQUENCES = 5 };

static void open_fixture(SafeTensors *file, const char *name) {
    Error err = {0};
    Str path = {0};
    str_appendf(&path, "%s/gpt2/%s", test_fixtures(), name);
    assert_ok(safetensors_open(file, str_text(&path), &err), &err);
    str_done(&path);
}

static void read_tensor(const SafeTensors *file, const char *name, float *out, size_t count) {
    Error err = {0};
    const Tensor *tensor = safetensors_find(file, name);
    assert_non_null(tensor);
    assert_ok(safetensors_read_floats(file, tensor, out, count, false, &err), &err);
}

typedef struct Fixture {
    Model model;
    Batch batch;
    float temperature[1];
    float logprob[TOKENS], entropy[TOKENS], score[TOKENS];
    float dlogprob[TOKENS], dentropy[TOKENS], dscore[TOKENS];
} Fixture;

static void fixture_init(Fixture *f) {
    Error err = {0};
    SafeTensors file;
    ModelConfig config = tiny_config(2, HEAD_BOTH, true);
    assert_ok(model_create(&f->model, &config, &err), &err);
    open_fixture(&file, "model.safetensors");
    for (size_t i = 0; i < f->model.parameters; i++) {
        const Parameter *p = &f->model.parameter[i];
        read_tensor(&file, p->name, f->model.data + p->offset, p->count);
    }
    safetensors_close(&file);
    open_fixture(&file, "tokens.safetensors");
    float ids[TOKENS], targets[TOKENS], starts[SEQUENCES + 1];
    read_tensor(&file, "ids", ids, TOKENS);
    read_tensor(&file, "targets", targets, TOKENS);
    read_tensor(&file, "starts", starts, SEQUENCES + 1);
    read_tensor(&file, "temperature", f->temperature, 1);
    read_tensor(&file, "logprob", f->logprob, TOKENS);
    read_tensor(&file, "entropy", f->entropy, TOKENS);
    read_tensor(&file, "score", f->score, TOKENS);
    read_tensor(&file, "dlogprob", f->dlogprob, TOKENS);
    read_tensor(&file, "dentropy", f->dentropy, TOKENS);
    read_tensor(&file, "dscore", f->dscore, TOKENS);
    safetensors_close(&file);
    assert_ok(batch_init(&f->batch, TOKENS, SEQUENCES, &err), &err);
    int32_t id[TOKENS], target[TOKENS];
    for (size_t t = 0; t < TOKENS; t++) {
        id[t] = (int32_t)ids[t];
        target[t] = (int32_t)targets[t];
    }
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t begin = (size_t)starts[s], end = (size_t)starts[s + 1];
        assert_ok(batch_add(&f->batch, id + begin, target + begin, end - begin, BATCH_NO_PREFIX, s,
                            NULL, &err),
                  &err);
    }
}

/* Largest differences allowed: of values, and of a tensor's gradient relative to its largest element. */
static void compare(GemmType type, double values, double slopes) {
    static Fixture f;
    static float logprob[TOKENS], entropy[TOKENS], score[TOKENS];
    Error err = {0};
    fixture_init(&f);
    WorkspacePlan plan = {.tokens = TOKENS, .sequences = SEQUENCES, .training = true, .type = type};
    Workspace *workspace = workspace_create(&f.model.config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    workspace_set_temperature(workspace, f.temperature[0]);
    Gradients gradients = {0};
    assert_ok(gradients_init(&gradients, &f.model, &err), &err);
    PerToken out = {.logprob = logprob, .entropy = entropy, .score = score};
    model_forward(&f.model, workspace, &f.batch, &out);
    assert_close("logprob", logprob, f.logprob, TOKENS, 0, values);
    assert_close("entropy", entropy, f.entropy, TOKENS, 0, values);
    assert_close("score", score, f.score, TOKENS, 0, values);
    PerToken d = {.logprob = f.dlogprob, .entropy = f.dentropy, .score = f.dscore};
    model_backward(&f.model, &gradients, workspace, &f.batch, &d);
    SafeTensors file;
    open_fixture(&file, "gradients.safetensors");
    static float want[8192];
    for (size_t i = 0; i < f.model.parameters; i++) {
        const Parameter *p = &f.model.parameter[i];
        assert_true(p->count <= sizeof want / sizeof *want);
        read_tensor(&file, p->name, want, p->count);
        assert_close(p->name, gradients.data + p->gradient, want, p->count, slopes, 0);
    }
    safetensors_close(&file);
    gradients_done(&gradients);
    workspace_free(workspace);
    batch_done(&f.batch);
    model_done(&f.model);
}

static void test_transformers(void **state) {
    (void)state;
    compare(GEMM_FP32, 2e-5, 1e-4);
}

/* Inputs of products are off by 2^-9 of their size at most. */
static void test_transformers_bf16(void **state) {
    (void)state;
    compare(GEMM_BF16, 0.06, 0.06);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_transformers_bf16),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
