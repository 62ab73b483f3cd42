/* SPDX-License-Identifier: MIT
 *
 * Other forms of weights: F16, BF16 and shards written and read again, llama2.c's files.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/model/family.h"
#include "common/model/model.h"
#include "tests/support/support.h"

static void fresh_model(Model *model, const char *family, HeadKind head) {
    Error err = {0};
    ModelConfig config = {.family = family_find(family),
                          .layers = 2,
                          .heads = 4,
                          .width = 32,
                          .inner = 128,
                          .vocabulary = 50,
                          .context = 16,
                          .head = head,
                          .labels = head == HEAD_LM ? 0 : 1};
    assert_ok(model_config_complete(&config, &err), &err);
    assert_ok(model_create(model, &config, &err), &err);
    model_initialize(model, 3);
}

static void assert_close_models(const Model *a, const Model *b, float share) {
    assert_int_equal(a->parameters, b->parameters);
    for (size_t i = 0; i < a->parameters; i++) {
        const float *x = parameter_data(a, &a->parameter[i]);
        const float *y = parameter_data(b, &b->parameter[i]);
        assert_string_equal(a->parameter[i].name, b->parameter[i].name);
        for (size_t k = 0; k < a->parameter[i].count; k++) {
            assert_true(fabsf(x[k] - y[k]) <= share * fabsf(x[k]) + 0x1p-25f);
        }
    }
}

/* Every family, type and size of shards; the bound is half a unit in the type's last place. */
static void test_types(void **state) {
    (void)state;
    static const TensorType types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};
    static const float share[] = {0.0f, 0x1p-11f, 0x1p-8f};
    static const size_t shard[] = {0, 4096};
    for (size_t f = 0; family_at(f) != NULL; f++) {
        Model model, again;
        fresh_model(&model, family_at(f)->name, HEAD_LM);
        for (size_t k = 0; k < 6; k++) {
            Error err = {0};
            const char *folder = test_folder();
            assert_ok(model_save_as(&model, folder, types[k % 3], shard[k / 3], &err), &err);
            assert_ok(model_load(&again, folder, HEAD_LM, 0, NULL, &err), &err);
            assert_close_models(&model, &again, share[k % 3]);
            model_done(&again);
        }
        model_done(&model);
    }
}

static void test_overflow(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    fresh_model(&model, "llama", HEAD_LM);
    const Parameter *norm = model_find(&model, "model.norm.weight");
    parameter_data(&model, norm)[3] = 65520.0f;
    assert_error(model_save_as(&model, test_folder(), TENSOR_F16, 0, &err), &err, ERROR_DATA,
                 "'model.norm.weight' holds 65520 at element 3, which F16 cannot hold");
    parameter_data(&model, norm)[3] = 65519.0f;
    assert_ok(model_save_as(&model, test_folder(), TENSOR_F16, 0, &err), &err);
    parameter_data(&model, norm)[3] = 3.4e38f;
    assert_error(model_save_as(&model, test_folder(), TENSOR_BF16, 0, &err), &err, ERROR_DATA,
                 "which BF16 cannot hold");
    model_done(&model);
}

/* The halves of a F16 that ties: to even. */
static void test_rounding(void **state) {
    (void)state;
    static const float x[] = {1 + 0x1p-11f, 1 + 0x3p-11f, 0x1p-25f,
                              0x3p-25f,     -0x1p-14f,    0x1.ffcp-15f};
    static const uint16_t half[] = {0x3c00, 0x3c02, 0x0000, 0x0002, 0x8400, 0x0400};
    static const float y[] = {1 + 0x1p-8f, 1 + 0x3p-8f, -2.0f};
    static const uint16_t brain[] = {0x3f80, 0x3f82, 0xc000};
    uint16_t out[6];
    assert_true(tensor_put_floats(TENSOR_F16, (unsigned char *)out, x, 6, "x", NULL));
    assert_memory_equal(out, half, sizeof half);
    assert_true(tensor_put_floats(TENSOR_BF16, (unsigned char *)out, y, 3, "y", NULL));
    assert_memory_equal(out, brain, sizeof brain);
}

/* A tiny file: its header, then numbers that count up, so that each one's place is known. */
static const char *legacy_file(int32_t words, size_t numbers, float spoiled) {
    static const int32_t sizes[] = {8, 6, 2, 2, 1, 5, 4};
    int32_t header[7];
    float *values = calloc(numbers, sizeof(float));
    unsigned char *content = malloc(sizeof header + 4 * numbers);
    memcpy(header, sizes, sizeof header);
    header[5] = words;
    for (size_t i = 0; i < numbers; i++) {
        values[i] = (float)i;
    }
    values[7] = spoiled;
    memcpy(content, header, sizeof header);
    memcpy(content + sizeof header, values, 4 * numbers);
    const char *path = test_file(test_folder(), "model.bin", content, sizeof header + 4 * numbers);
    free(values);
    free(content);
    return path;
}

/* dim 8, hidden 6, 2 layers, 2 heads, 1 of keys, 5 words, context 4. */
enum { TIED = 40 + 16 + 128 + 64 + 64 + 128 + 16 + 96 + 96 + 96 + 8 + 16, UNTIED = TIED + 40 };

static void test_legacy(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    bool fresh;
    assert_ok(model_load(&model, legacy_file(5, TIED, 7), -1, 0, &fresh, &err), &err);
    assert_true(model.config.tied && !fresh && model.config.norm_epsilon == 1e-5f);
    assert_int_equal(model.config.eos, 2);
    /* Row 1 of the queries is the third in the file: pairs 0, 1 | 2, 3 become halves 0, 2 | 1, 3. */
    const float *q =
        parameter_data(&model, model_find(&model, "model.layers.1.self_attn.q_proj.weight"));
    assert_true(q[0] == 40 + 16 + 64 && q[8] == 40 + 16 + 64 + 16 && q[16] == 40 + 16 + 64 + 8);
    const float *v =
        parameter_data(&model, model_find(&model, "model.layers.0.self_attn.v_proj.weight"));
    assert_true(v[8] == 40 + 16 + 128 + 64 + 8);
    const float *up =
        parameter_data(&model, model_find(&model, "model.layers.1.mlp.up_proj.weight"));
    assert_true(up[47] == TIED - 16 - 8 - 1);
    model_done(&model);
    assert_ok(model_load(&model, legacy_file(-5, UNTIED, 7), HEAD_SCORES, 1, &fresh, &err), &err);
    assert_true(fresh && !model.config.tied);
    model_done(&model);
    assert_error(model_load(&model, legacy_file(5, TIED - 1, 7), -1, 0, NULL, &err), &err,
                 ERROR_DATA, "but its header calls for");
    assert_error(model_load(&model, legacy_file(5, TIED, NAN), -1, 0, NULL, &err), &err, ERROR_DATA,
                 "'model.embed_tokens.weight' holds NaN at element 7");
    static const int32_t later[] = {0x616b3432, 2, 0, 0, 0, 0, 0};
    assert_error(model_load(&model, test_file(test_folder(), "v2.bin", later, sizeof later), -1, 0,
                            NULL, &err),
                 &err, ERROR_DATA, "llama2.c in version 2; version 0");
    assert_error(
        model_load(&model, test_file(test_folder(), "text", "hello", 5), -1, 0, NULL, &err), &err,
        ERROR_DATA, "a header of seven sizes");
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_legacy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
