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

#define HIDDEN                                                                                     \
    "\"vocab_size\":50,\"hidden_size\":32,\"intermediate_size\":40,\"num_attention_heads\":4"
#define LLAMA "{\"model_type\":\"llama\",\"num_hidden_layers\":2," HIDDEN
#define QWEN2 "{\"model_type\":\"qwen2\",\"num_hidden_layers\":3,\"num_key_value_heads\":2," HIDDEN
#define NEOX "{\"model_type\":\"gpt_neox\",\"num_hidden_layers\":2," HIDDEN
#define BERT                                                                                       \
    "{\"model_type\":\"bert\",\"num_hidden_layers\":2,\"max_position_embeddings\":16," HIDDEN
#define NEO                                                                                        \
    "{\"model_type\":\"gpt_neo\",\"vocab_size\":50,\"max_position_embeddings\":16,"                \
    "\"hidden_size\":32,\"num_layers\":3,\"num_heads\":4"

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
    /* Other families. */
    {LLAMA ",\"hidden_act\":\"quick_gelu\"}", "'hidden_act' is the string \"quick_gelu\""},
    {LLAMA ",\"num_key_value_heads\":3}", "4 heads are not a multiple of 3 heads of keys"},
    {LLAMA ",\"head_dim\":7}", "7 dimensions of a head of size 7 turn"},
    {LLAMA ",\"head_dim\":65536}", "wider than the"},
    {LLAMA ",\"pretraining_tp\":2}", "'pretraining_tp' is the number 2"},
    {LLAMA ",\"quantization_config\":{\"bits\":4}}", "'quantization_config' is"},
    {LLAMA ",\"num_local_experts\":8}", "'num_local_experts' is the number 8"},
    {LLAMA ",\"final_logit_softcapping\":30.0}", "'final_logit_softcapping' is"},
    {LLAMA ",\"residual_multiplier\":0.5}", "'residual_multiplier' is"},
    {LLAMA ",\"rope_theta\":0}", "'rope_theta' is the number 0"},
    {LLAMA ",\"rope_theta\":\"1e4\"}", "'rope_theta' is"},
    {LLAMA ",\"rope_scaling\":3}", "'rope_scaling' is the number 3"},
    {LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0}}", "is 'yarn'"},
    {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}", "is 'dynamic'"},
    {LLAMA ",\"rope_scaling\":{\"rope_type\":\"longrope\"}}", "is 'longrope'"},
    {LLAMA ",\"rope_scaling\":{\"rope_type\":\"default\",\"mrope_section\":[1]}}",
     "'rope_scaling' has the entry 'mrope_section'"},
    {LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", "'factor' of 'rope_scaling' is missing"},
    {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", "rotary factor is 0.5"},
    {LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
           "\"high_freq_factor\":1}}",
     "frequency factors are 4 and 1"},
    {LLAMA ",\"rope_theta\":5,\"rope_parameters\":{\"rope_theta\":6}}", "'rope_theta' is 5, but"},
    {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
           "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":3}}",
     "say different things"},
    {LLAMA ",\"partial_rotary_factor\":0.5}", "the part of a head that turns is 0.5"},
    {NEOX ",\"rotary_pct\":1.5}", "the part of a head that turns is 1.5"},
    {NEOX ",\"rotary_pct\":0.4}", "3 dimensions of a head of size 8 turn"},
    {NEOX ",\"rotary_pct\":0.1}", "less than one of them"},
    {QWEN2 ",\"use_sliding_window\":1}", "'use_sliding_window' is the number 1"},
    {QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":0}", "'sliding_window' is the number 0"},
    {QWEN2 ",\"layer_types\":[\"full_attention\"]}", "'layer_types' is a list"},
    {QWEN2 ",\"layer_types\":[\"full_attention\",\"chunked\",\"full_attention\"]}", "'chunked' at"},
    {QWEN2 ",\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\"]}",
     "give them no window"},
    {NEO "}", "'attention_types' is missing"},
    {NEO ",\"attention_types\":[[[\"global\",\"local\"],1]]}", "a kind for each layer"},
    {NEO ",\"attention_types\":[[[\"global\",\"local\"],2]]}", "'local' at layer 3 of 3"},
    {NEO ",\"attention_types\":[[[],1000000000]]}", "patterns with their numbers"},
    {NEO ",\"attention_layers\":[\"global\",\"strided\",\"local\"]}", "'strided' at layer 1"},
    {BERT ",\"is_decoder\":true}", "'is_decoder' is true"},
    {BERT ",\"classifier_dropout\":\"x\"}", "a number from 0, or null was expected"},
    {BERT ",\"classifier_dropout\":-1}", "'classifier_dropout' is the number -1"},
    {BERT ",\"classifier_dropout\":1}", "dropout of the classifier is 1"},
    {BERT ",\"position_embedding_type\":\"relative_key\"}", "'position_embedding_type' is"},
    {BERT ",\"architectures\":[\"BertForTokenClassification\"]}", "BertForTokenClassification"},
    {"{\"model_type\":\"roberta\",\"num_hidden_layers\":2,\"max_position_embeddings\":2," HIDDEN "}",
     "context is 0"},
    {"{\"model_type\":\"roberta\",\"num_hidden_layers\":2,\"max_position_embeddings\":9,"
     "\"pad_token_id\":null," HIDDEN "}",
     "'pad_token_id' is null"},
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

/* Defaults, and what the keys of other families mean. */
static void test_families(void **state) {
    (void)state;
    ModelConfig c;
    Error err = {0};
    assert_ok(read_text(&c, LLAMA ",\"eos_token_id\":[7,9],\"attention_bias\":true}", &err), &err);
    assert_int_equal(c.context, 2048);
    assert_int_equal(config_kv_heads(&c), 4);
    assert_int_equal(config_head_size(&c), 8);
    assert_int_equal(c.eos, 7);
    assert_int_equal(c.bos, 1);
    assert_true(!c.tied && c.qkv_bias && c.out_bias && !c.inner_bias && !c.head_norm);
    assert_true(c.rope.dimensions == 8 && c.rope.theta == 10000.0 && c.rope.scaling == ROPE_PLAIN);
    assert_int_equal(c.activation, ACTIVATION_SILU);
    model_config_done(&c);
    assert_ok(read_text(&c,
                        LLAMA ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\","
                              "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}}",
                        &err),
              &err);
    assert_true(c.rope.scaling == ROPE_LLAMA3 && c.rope.original == 2048 && c.rope.high == 4.0 &&
                c.rope.theta == 500000.0);
    model_config_done(&c);
    assert_ok(read_text(&c,
                        QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":5,"
                              "\"max_window_layers\":2}",
                        &err),
              &err);
    assert_true(config_window(&c, 1) == 0 && config_window(&c, 2) == 5 && c.qkv_bias);
    model_config_done(&c);
    assert_ok(read_text(&c, NEOX "}", &err), &err);
    assert_true(c.rope.dimensions == 2 && c.parallel && c.activation == ACTIVATION_GELU);
    model_config_done(&c);
    assert_ok(
        read_text(&c,
                  NEO ",\"window_size\":3,\"attention_types\":[[[\"global\"],1],[[\"local\"],2]]}",
                  &err),
        &err);
    assert_true(config_window(&c, 0) == 0 && config_window(&c, 1) == 3 &&
                config_window(&c, 2) == 3);
    assert_int_equal(c.inner, 128);
    model_config_done(&c);
    assert_ok(read_text(&c,
                        "{\"model_type\":\"roberta\",\"num_hidden_layers\":2,"
                        "\"max_position_embeddings\":18," HIDDEN "}",
                        &err),
              &err);
    assert_true(c.context == 16 && c.first_position == 2 && c.segments == 2 && c.pad == 1);
    model_config_done(&c);
}

/* A part of a head that is no whole number of dimensions stays as it is spelled, in both spellings. */
static void test_rotated_part(void **state) {
    (void)state;
    Error err = {0};
    ModelConfig config, again;
    assert_ok(read_text(&config,
                        NEOX ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000,"
                             "\"partial_rotary_factor\":0.6}}",
                        &err),
              &err);
    assert_int_equal(config.rope.dimensions, 4); /* of 8, as transformers cuts 4.8 */
    assert_ok(model_config_write(&config, here(), &err), &err);
    assert_ok(model_config_read(&again, here(), &err), &err);
    assert_int_equal(again.rope.dimensions, 4);
    assert_true(again.rope.share == 0.6);
    model_config_done(&config);
    model_config_done(&again);
}

/* What drops around an encoder's pooler: read, kept as it is spelled, and set in a new model. */
static void test_classifier_dropout(void **state) {
    (void)state;
    static const struct {
        const char *text;
        float rate;
        const char *kept;
    } cases[] = {
        {BERT "}",                             -1,   NULL  },
        {BERT ",\"classifier_dropout\":null}", -1,   "null"},
        {BERT ",\"classifier_dropout\":0.3}",  0.3f, "0.3" },
        {BERT ",\"classifier_dropout\":0}",    0,    "0"   },
    };
    Str path = {0};
    str_appendf(&path, "%s/config.json", here());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {0};
        ModelConfig config;
        assert_ok(read_text(&config, cases[i].text, &err), &err);
        assert_true(config.dropout_head == cases[i].rate && config.dropout_residual == 0.1f);
        assert_ok(model_config_write(&config, here(), &err), &err);
        model_config_done(&config);
        cJSON *tree = json_read_file(str_text(&path), &json_limits_config, &err);
        assert_ok(tree != NULL, &err);
        char *kept = cJSON_PrintUnformatted(json_member(tree, "classifier_dropout"));
        assert_true(cases[i].kept == NULL ? kept == NULL : strcmp(kept, cases[i].kept) == 0);
        free(kept);
        cJSON_Delete(tree);
    }
    Error err = {0};
    ModelConfig config = {.family = family_find("distilbert"),
                          .layers = 1,
                          .heads = 2,
                          .width = 8,
                          .inner = 16,
                          .vocabulary = 50,
                          .context = 16};
    assert_ok(model_config_complete(&config, &err), &err);
    assert_true(config.dropout_head == 0.2f);
    model_config_set_dropout(&config, 0);
    assert_true(config.dropout_head == 0);
    str_done(&path);
}

/* A new model of every family reads back as what it was written from. */
static void test_every_family_new(void **state) {
    (void)state;
    for (size_t i = 0; family_at(i) != NULL; i++) {
        Error err = {0};
        ModelConfig config = {.family = family_at(i),
                              .layers = 3,
                              .heads = 4,
                              .width = 32,
                              .inner = 128,
                              .vocabulary = 50,
                              .context = 16};
        assert_ok(model_config_complete(&config, &err), &err);
        assert_ok(model_config_write(&config, here(), &err), &err);
        ModelConfig again;
        assert_ok(model_config_read(&again, here(), &err), &err);
        assert_ptr_equal(again.family, config.family);
        assert_int_equal(again.inner, 128);
        assert_int_equal(again.context, 16);
        assert_int_equal(config_qkv_width(&again), 96);
        assert_memory_equal(&again.rope, &config.rope, sizeof again.rope);
        for (size_t layer = 0; layer < 3; layer++) {
            assert_int_equal(config_window(&again, layer), config_window(&config, layer));
        }
        assert_true(again.tied == config.tied && again.activation == config.activation &&
                    again.norm_epsilon == config.norm_epsilon && again.pad == config.pad &&
                    again.first_position == config.first_position);
        model_config_done(&again);
    }
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
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_rotated_part),
        cmocka_unit_test(test_classifier_dropout),
        cmocka_unit_test(test_every_family_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
