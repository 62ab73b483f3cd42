/* SPDX-License-Identifier: MIT
 *
 * config.json: what is read, what is refused and by which name.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/config.h"
#include "common/model/family.h"
#include "tests/support/support.h"

#define SIZES "\"vocab_size\":50,\"n_positions\":16,\"n_embd\":12,\"n_layer\":2,\"n_head\":3"
#define GPT2 "{\"model_type\":\"gpt2\"," SIZES
#define SCORES GPT2 ",\"architectures\":[\"GPT2ForSequenceClassification\"]"

typedef struct Case {
    const char *text;
    const char *part; /* of the message */
} Case;

/* clang-format off */
static const Case refused[] = {
    {"", ""},
    {"[]", "an object was expected"},
    {"{}", "'model_type' is missing, \"gpt2\" or \"openai-gpt\" or"},
    {"{\"model_type\":7}", "'model_type' is the number 7"},
    {"{\"model_type\":\"falcon\"}", "the model is a 'falcon'; this program computes \"gpt2\" or"},
    {"{\"model_type\":\"GPT2\"}", "the model is a 'GPT2'"},
    {"{\"model_type\":\"gpt2\"}", "'vocab_size' is missing, a whole number"},
    {GPT2 ",\"n_head\":3}", "n_head"},
    {GPT2 ",\"n_inner\":-1}", "'n_inner' is the number -1"},
    {GPT2 ",\"n_inner\":1.5}", "'n_inner' is the number 1.5"},
    {GPT2 ",\"n_inner\":\"48\"}", "'n_inner' is"},
    {GPT2 ",\"n_inner\":99999999}", "inner width"},
    {GPT2 ",\"layer_norm_epsilon\":-1e-5}", "'layer_norm_epsilon' is"},
    {GPT2 ",\"layer_norm_epsilon\":0}", "epsilon of the norms is 0"},
    {GPT2 ",\"layer_norm_epsilon\":1e300}", "'layer_norm_epsilon' is"},
    {GPT2 ",\"tie_word_embeddings\":1}", "'tie_word_embeddings' is the number 1"},
    {GPT2 ",\"tie_word_embeddings\":null}", "'tie_word_embeddings' is null"},
    {GPT2 ",\"attn_pdrop\":1}", "dropout of attention is 1"},
    {GPT2 ",\"resid_pdrop\":-0.1}", "'resid_pdrop' is"},
    {GPT2 ",\"embd_pdrop\":\"x\"}", "'embd_pdrop' is"},
    {GPT2 ",\"eos_token_id\":[]}", "'eos_token_id' is a list"},
    {GPT2 ",\"eos_token_id\":[1,\"2\"]}", "'eos_token_id' is a list"},
    {GPT2 ",\"eos_token_id\":-2}", "'eos_token_id' is the number -2"},
    {GPT2 ",\"eos_token_id\":1.5}", "'eos_token_id' is"},
    /* Mathematics that is not computed. */
    {GPT2 ",\"activation_function\":\"quick_gelu\"}", "'activation_function' is"},
    {GPT2 ",\"activation_function\":\"gelu_10\"}",
     "\"gelu_new\" or \"gelu_pytorch_tanh\" or"},
    {GPT2 ",\"activation_function\":null}", "does not compute"},
    {GPT2 ",\"scale_attn_weights\":false}", "'scale_attn_weights' is false"},
    {GPT2 ",\"scale_attn_by_inverse_layer_idx\":true}",
     "'scale_attn_by_inverse_layer_idx' is true"},
    {GPT2 ",\"reorder_and_upcast_attn\":true}", "'reorder_and_upcast_attn' is true"},
    {GPT2 ",\"add_cross_attention\":true}", "'add_cross_attention' is true"},
    /* Heads and labels. */
    {GPT2 ",\"architectures\":[\"GPT2DoubleHeadsModel\"]}", "GPT2DoubleHeadsModel"},
    {GPT2 ",\"architectures\":[]}", "no name"},
    {GPT2 ",\"architectures\":\"GPT2LMHeadModel\"}", "no name"},
    {GPT2 ",\"architectures\":[3]}", "no name"},
    {SCORES ",\"num_labels\":0}", "'num_labels' is the number 0"},
    {SCORES ",\"num_labels\":1e9}", "'num_labels' is"},
    {SCORES ",\"num_labels\":1,\"id2label\":{\"0\":\"a\",\"1\":\"b\"}}",
     "'num_labels' is 1, but 'id2label' names 2"},
    {SCORES ",\"id2label\":[]}", "'id2label' is a list"},
    {SCORES ",\"id2label\":{}}", "names 0 labels"},
    {SCORES ",\"id2label\":{\"0\":\"a\",\"2\":\"b\"}}", "has the entry '2'"},
    {SCORES ",\"id2label\":{\"0\":\"a\",\"x\":\"b\"}}", "has the entry 'x'"},
    {SCORES ",\"id2label\":{\"0\":\"a\",\"00\":\"b\"}}", "has the entry '00'"},
    {SCORES ",\"id2label\":{\"0\":\"a\",\"1\":2}}", "has the entry '1'"},
    {SCORES ",\"problem_type\":\"multi_label_classification\"}", "'problem_type' is"},
    {SCORES ",\"num_labels\":1,\"reward_bias\":\"1\"}", "'reward_bias' is"},
    {SCORES ",\"num_labels\":1,\"reward_bias\":1e39}", "'reward_bias' is"},
};
/* clang-format on */

/* One folder for all. */
static const char *here(void) {
    static const char *folder;
    folder = folder == NULL ? test_folder() : folder;
    return folder;
}

static bool read_text(ModelConfig *config, const char *text, Error *err) {
    test_file(here(), "config.json", text, strlen(text));
    return model_config_read(config, here(), err);
}

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        ModelConfig config;
        Error err = {0};
        bool ok = read_text(&config, refused[i].text, &err);
        if (ok) {
            fail_msg("accepted: %s", refused[i].text);
        }
        assert_error(ok, &err, ERROR_DATA, refused[i].part);
        assert_non_null(strstr(err.file, "config.json"));
    }
}

/* One size after another out of range. */
static void test_sizes(void **state) {
    (void)state;
    static const char *const keys[] = {"vocab_size", "n_positions", "n_embd", "n_layer", "n_head"};
    static const char *const values[] = {
        "0", "-1", "1.5", "\"8\"", "null", "1e10", "2147483647", "9007199254740993", "true"};
    for (size_t k = 0; k < 5; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            Str text = {0};
            str_append(&text, "{\"model_type\":\"gpt2\"");
            for (size_t i = 0; i < 5; i++) {
                str_appendf(&text, ",\"%s\":%s", keys[i], i == k ? values[v] : "12");
            }
            str_append(&text, "}");
            ModelConfig config;
            Error err = {0};
            assert_error(read_text(&config, str_text(&text), &err), &err, ERROR_DATA, "");
            str_done(&text);
        }
    }
    ModelConfig config;
    Error err = {0};
    assert_error(read_text(&config,
                           "{\"model_type\":\"gpt2\",\"vocab_size\":50,\"n_positions\":16,"
                           "\"n_embd\":10,\"n_layer\":2,\"n_head\":3}",
                           &err),
                 &err, ERROR_DATA, "a width of 10 is not a multiple of 3 heads");
}

static void test_place(void **state) {
    (void)state;
    ModelConfig config;
    Error err = {0};
    assert_false(
        read_text(&config, "{\n \"model_type\": \"gpt2\",\n  \"vocab_size\": \"x\"}", &err));
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 17);
}

static void test_accepted(void **state) {
    (void)state;
    ModelConfig config;
    Error err = {0};
    assert_ok(read_text(&config, GPT2 "}", &err), &err);
    assert_ptr_equal(config.family, &family_gpt2);
    assert_int_equal(config.inner, 48);
    assert_true(config.tied && config.norm_epsilon == 1e-5f && config.dropout_residual == 0.1f);
    assert_int_equal(config.eos, -1);
    assert_int_equal(config.head, HEAD_LM);
    assert_int_equal(config.labels, 0);
    model_config_done(&config);
    assert_ok(read_text(&config,
                        GPT2 ",\"n_inner\":20,\"eos_token_id\":49,\"bos_token_id\":50,"
                             "\"activation_function\":\"gelu_pytorch_tanh\","
                             "\"architectures\":null}",
                        &err),
              &err);
    assert_int_equal(config.inner, 20);
    assert_int_equal(config.eos, 49);
    assert_int_equal(config.bos, -1); /* not below the vocabulary */
    model_config_done(&config);
    assert_ok(read_text(&config, SCORES "}", &err), &err);
    assert_int_equal(config.labels, 2); /* as transformers reads it */
    assert_null(config.label_name);
    model_config_done(&config);
    assert_ok(read_text(&config,
                        SCORES ",\"id2label\":{\"1\":\"b\",\"0\":\"a\"},"
                               "\"problem_type\":\"regression\",\"reward_bias\":-0.5}",
                        &err),
              &err);
    assert_string_equal(config.label_name[0], "a");
    assert_string_equal(config.label_name[1], "b");
    assert_true(config.regression && config.reward_bias == -0.5f);
    ModelConfig copy;
    assert_ok(model_config_copy(&copy, &config, &err), &err);
    model_config_done(&config);
    assert_string_equal(copy.label_name[1], "b");
    model_config_set_head(&copy, HEAD_SCORES, 1);
    assert_null(copy.label_name);
    assert_true(copy.reward_bias == 0.0f && !copy.regression);
    model_config_done(&copy);
}

/* What is written for a new model. */
static void test_new(void **state) {
    (void)state;
    Error err = {0};
    ModelConfig config = {.family = &family_gpt2,
                          .layers = 2,
                          .heads = 3,
                          .width = 12,
                          .inner = 48,
                          .vocabulary = 50,
                          .context = 16,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .dropout_residual = 0.3f,
                          .head = HEAD_LM,
                          .eos = 0,
                          .bos = 0,
                          .pad = -1};
    assert_ok(model_config_write(&config, here(), &err), &err);
    Str path = {0};
    str_appendf(&path, "%s/config.json", here());
    cJSON *tree = json_read_file(str_text(&path), &json_limits_config, &err);
    assert_ok(tree != NULL, &err);
    assert_true(cJSON_IsNull(json_member(tree, "n_inner")));
    assert_true(cJSON_IsNull(json_member(tree, "pad_token_id")));
    assert_int_equal(json_member(tree, "n_ctx")->valueint, 16);
    assert_true(json_member(tree, "resid_pdrop")->valuedouble == 0.3);
    assert_true(json_member(tree, "layer_norm_epsilon")->valuedouble == 1e-5);
    assert_string_equal(json_string(json_member(tree, "activation_function")), "gelu_new");
    cJSON_Delete(tree);
    ModelConfig again;
    assert_ok(model_config_read(&again, here(), &err), &err);
    assert_int_equal(again.inner, 48);
    assert_true(again.dropout_residual == 0.3f && again.norm_epsilon == 1e-5f);
    model_config_done(&again);
    /* With the EOS at 0 a reward model's pad must be another id. */
    model_config_set_head(&config, HEAD_SCORES, 1);
    assert_ok(model_config_write(&config, here(), &err), &err);
    assert_ok(model_config_read(&again, here(), &err), &err);
    assert_int_equal(again.pad, 1);
    assert_int_equal(again.labels, 1);
    model_config_done(&again);
    str_done(&path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_sizes), cmocka_unit_test(test_place),
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
