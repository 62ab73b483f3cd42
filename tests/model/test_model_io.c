/* SPDX-License-Identifier: MIT
 *
 * Model folders: what transformers saved is read and comes out byte for byte, heads, shards,
 * spellings, and every fault by its name.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/family.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "tests/support/support.h"

static char fixture[512]; /* tests/fixtures/generate: saved by transformers */

static void read_whole(const char *path, Str *out) {
    Error err = {0};
    str_clear(out);
    assert_ok(file_read(path, 1 << 24, out, &err), &err);
}

static void copy_file(const char *from, const char *to, const char *name) {
    Str text = {0};
    read_whole(test_path(from, name), &text);
    test_file(to, name, text.data, text.size);
    str_done(&text);
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    Str x = {0}, y = {0};
    read_whole(test_path(a, name), &x);
    read_whole(test_path(b, name), &y);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    str_done(&x);
    str_done(&y);
}

static void load_fixture(Model *model) {
    Error err = {0};
    assert_ok(model_load(model, fixture, HEAD_LM, 0, NULL, &err), &err);
}

static void test_round_trip(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    load_fixture(&model);
    assert_int_equal(model.parameters, 28);
    assert_int_equal(model.config.context, 40);
    assert_int_equal(model.config.inner, 96);
    assert_int_equal(model.config.eos, 12);
    assert_int_equal(model.config.pad, -1);
    assert_true(model.config.tied);
    assert_string_equal(model.parameter[0].name, "transformer.wte.weight");
    const char *folder = test_folder();
    assert_ok(model_save(&model, folder, &err), &err);
    assert_same_file(fixture, folder, "model.safetensors");
    model_done(&model);
    /* And our own files once more. */
    const char *again = test_folder();
    assert_ok(model_load(&model, folder, -1, 0, NULL, &err), &err);
    assert_ok(model_save(&model, again, &err), &err);
    assert_same_file(folder, again, "model.safetensors");
    assert_same_file(folder, again, "config.json");
    assert_same_file(folder, again, "generation_config.json");
    model_done(&model);
}

static const cJSON *item_of(cJSON **tree, const char *folder, const char *key) {
    Error err = {0};
    cJSON_Delete(*tree);
    *tree = json_read_file(test_path(folder, "config.json"), &json_limits_config, &err);
    assert_ok(*tree != NULL, &err);
    return json_member(*tree, key);
}

static void test_unknown_keys(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder(), *out = test_folder();
    Str text = {0}, changed = {0};
    read_whole(test_path(fixture, "config.json"), &text);
    str_append(&changed,
               "{\"our_note\": {\"x\": [1, 1e-05, null, \"\\u00e9\"]}, \"reward_bias\": 3,");
    str_append(&changed, text.data + 1);
    test_file(folder, "config.json", changed.data, changed.size);
    const char generation[] = "{\"temperature\": 0.25, \"eos_token_id\": [12, 3]}";
    test_file(folder, "generation_config.json", generation, sizeof generation - 1);
    copy_file(fixture, folder, "model.safetensors");
    str_done(&changed);
    str_done(&text);
    Model model;
    assert_ok(model_load(&model, folder, HEAD_LM, 0, NULL, &err), &err);
    assert_ok(model_save(&model, out, &err), &err);
    model_done(&model);
    cJSON *old = NULL, *new = NULL;
    const cJSON *note = item_of(&old, folder, "our_note");
    assert_true(cJSON_Compare(note, item_of(&new, out, "our_note"), true));
    for (const cJSON *item = old->child; item != NULL; item = item->next) {
        if (strcmp(item->string, "reward_bias") != 0) {
            assert_true(cJSON_Compare(item, json_member(new, item->string), true));
        }
    }
    assert_null(json_member(new, "reward_bias"));
    assert_int_equal(json_member(new, "n_ctx")->valueint, 40);
    assert_string_equal(json_string(json_member(new, "dtype")), "float32");
    assert_string_equal(json_string(json_member(new, "torch_dtype")), "float32");
    cJSON_Delete(old);
    cJSON_Delete(new);
    Str kept = {0};
    read_whole(test_path(out, "generation_config.json"), &kept);
    assert_non_null(strstr(kept.data, "\"temperature\": 0.25"));
    cJSON *tree = cJSON_Parse(kept.data);
    assert_int_equal(cJSON_GetArraySize(json_member(tree, "eos_token_id")), 2);
    cJSON_Delete(tree);
    str_done(&kept);
}

/* A causal LM becomes a reward model, a classifier, a policy with its critic. */
static void test_heads(void **state) {
    (void)state;
    Error err = {0};
    Model model, lm;
    bool fresh = false;
    cJSON *tree = NULL;
    load_fixture(&lm);
    assert_ok(model_load(&model, fixture, HEAD_SCORES, 1, &fresh, &err), &err);
    assert_true(fresh);
    const Parameter *score = model_find(&model, "score.weight");
    assert_non_null(score);
    assert_int_equal(score->count, 24);
    for (size_t i = 0; i < 24; i++) {
        assert_true(model.data[score->offset + i] == 0.0f);
    }
    model_initialize_scores(&model, 4, false);
    model.config.reward_bias = 0.1f;
    const char *folder = test_folder();
    assert_ok(model_save(&model, folder, &err), &err);
    assert_false(file_exists(test_path(folder, "generation_config.json")));
    assert_string_equal(json_string(item_of(&tree, folder, "architectures")->child),
                        "GPT2ForSequenceClassification");
    assert_int_equal(json_member(tree, "num_labels")->valueint, 1);
    assert_int_equal(cJSON_GetArraySize(json_member(tree, "id2label")), 1);
    assert_int_equal(json_member(tree, "pad_token_id")->valueint, 0);
    assert_true(json_member(tree, "reward_bias")->valuedouble == 0.1);

    Model again;
    assert_ok(model_load(&again, folder, HEAD_SCORES, 0, &fresh, &err), &err);
    assert_false(fresh);
    assert_true(again.config.reward_bias == 0.1f);
    assert_int_equal(again.config.labels, 1);
    assert_int_equal(again.count, model.count);
    assert_memory_equal(again.data, model.data, model.count * sizeof(float));
    model_done(&again);
    assert_error(model_load(&again, folder, HEAD_LM, 0, NULL, &err), &err, ERROR_DATA,
                 "holds a GPT2ForSequenceClassification, a GPT2LMHeadModel was expected");
    assert_error(model_load(&again, folder, HEAD_SCORES, 2, NULL, &err), &err, ERROR_DATA,
                 "gives 1 numbers a text, 2 were expected");
    model_done(&model);

    assert_ok(model_load(&model, fixture, HEAD_BOTH, 1, &fresh, &err), &err);
    assert_true(fresh);
    model_initialize_scores(&model, 5, false);
    folder = test_folder();
    assert_ok(model_save(&model, folder, &err), &err);
    assert_same_file(fixture, folder, "model.safetensors");
    assert_string_equal(json_string(item_of(&tree, folder, "architectures")->child),
                        "GPT2LMHeadModel");
    assert_null(json_member(tree, "num_labels"));
    assert_ok(model_load(&again, folder, HEAD_BOTH, 1, &fresh, &err), &err);
    assert_false(fresh);
    assert_memory_equal(again.data, model.data, model.count * sizeof(float));
    model_done(&again);
    assert_ok(model_load(&again, folder, -1, 0, &fresh, &err), &err);
    assert_int_equal(again.config.head, HEAD_LM);
    assert_memory_equal(again.data, lm.data, lm.count * sizeof(float));
    model_done(&again);
    model_done(&model);
    model_done(&lm);
    cJSON_Delete(tree);
}

static void test_classifier(void **state) {
    (void)state;
    Error err = {0};
    Model model, again;
    cJSON *tree = NULL;
    assert_ok(model_load(&model, fixture, HEAD_SCORES, 3, NULL, &err), &err);
    model.config.label_name = calloc(3, sizeof(char *));
    for (size_t i = 0; i < 3; i++) {
        model.config.label_name[i] = strdup((const char *[]){"no", "yes", "\"maybe\""}[i]);
    }
    model.config.pad = 7;
    const char *folder = test_folder();
    assert_ok(model_save(&model, folder, &err), &err);
    assert_string_equal(json_string(item_of(&tree, folder, "problem_type")),
                        "single_label_classification");
    assert_int_equal(json_member(tree, "pad_token_id")->valueint, 7);
    assert_null(json_member(tree, "reward_bias"));
    assert_int_equal(json_member(json_member(tree, "label2id"), "\"maybe\"")->valueint, 2);
    assert_ok(model_load(&again, folder, -1, 0, NULL, &err), &err);
    assert_int_equal(again.config.labels, 3);
    assert_string_equal(again.config.label_name[2], "\"maybe\"");
    model_done(&again);
    model_done(&model);
    cJSON_Delete(tree);
}

/* Writes a folder of the fixture's tensors, changed by a function that may drop, rename or add. */
typedef bool Change(const Tensor *tensor, char *name);

static void write_weights(const char *folder, const char *file_name, Change *change,
                          const char *extra_name, const size_t *extra_shape, const float *extra) {
    Error err = {0};
    SafeTensors file;
    assert_ok(safetensors_open(&file, test_path(fixture, "model.safetensors"), &err), &err);
    SafeTensorsWriter *writer = safetensors_writer_create(&err);
    for (size_t i = 0; i < file.tensors; i++) {
        const Tensor *tensor = &file.tensor[i];
        char name[128];
        strcpy(name, tensor->name);
        if (change == NULL || change(tensor, name)) {
            assert_ok(safetensors_writer_add(writer, name, TENSOR_F32, tensor->shape, tensor->rank,
                                             tensor->data, &err),
                      &err);
        }
    }
    if (extra_name != NULL) {
        assert_ok(
            safetensors_writer_add(writer, extra_name, TENSOR_F32, extra_shape, 2, extra, &err),
            &err);
    }
    assert_ok(safetensors_writer_commit(writer, test_path(folder, file_name), NULL, &err), &err);
    safetensors_writer_free(writer);
    safetensors_close(&file);
}

static bool bare(const Tensor *tensor, char *name) {
    strcpy(name, tensor->name + strlen("transformer."));
    return true;
}

static bool without_norm(const Tensor *tensor, char *name) {
    (void)name;
    return strstr(tensor->name, "ln_f") == NULL;
}

static bool first_half(const Tensor *tensor, char *name) {
    (void)name;
    return strstr(tensor->name, ".h.0.") != NULL;
}

static bool second_half(const Tensor *tensor, char *name) {
    (void)name;
    return strstr(tensor->name, ".h.0.") == NULL;
}

static void assert_loads(const char *folder) {
    Error err = {0};
    Model model, lm;
    load_fixture(&lm);
    assert_ok(model_load(&model, folder, HEAD_LM, 0, NULL, &err), &err);
    assert_memory_equal(model.data, lm.data, lm.count * sizeof(float));
    model_done(&model);
    model_done(&lm);
}

static void assert_refused(const char *folder, int head, ErrorCode code, const char *part) {
    Error err = {0};
    Model model;
    assert_error(model_load(&model, folder, head, 0, NULL, &err), &err, code, part);
    assert_null(model.data);
}

static void test_spellings(void **state) {
    (void)state;
    static float mask[40 * 40], head[61 * 24];
    size_t square[] = {40, 40}, heads[] = {61, 24}, wrong[] = {61, 12};
    const char *folder = test_folder();
    copy_file(fixture, folder, "config.json");
    write_weights(folder, "model.safetensors", bare, NULL, NULL, NULL);
    assert_loads(folder);
    write_weights(folder, "model.safetensors", bare, "h.1.attn.bias", square, mask);
    assert_loads(folder);
    write_weights(folder, "model.safetensors", NULL, "transformer.h.0.attn.masked_bias", square,
                  mask);
    assert_loads(folder);
    write_weights(folder, "model.safetensors", NULL, "transformer.h.2.attn.bias", square, mask);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "'transformer.h.2.attn.bias' is none of a 'gpt2'");
    write_weights(folder, "model.safetensors", NULL, "v_head.other.weight", square, mask);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "'v_head.other.weight' is none of");
    write_weights(folder, "model.safetensors", NULL, "transformer.h.0.attn.c_attn.qweight", square,
                  mask);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "c_attn.qweight' belongs to a quantized weight");
    write_weights(folder, "model.safetensors", NULL, "wte.weight", heads, head);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "is there twice");
    write_weights(folder, "model.safetensors", without_norm, NULL, NULL, NULL);
    assert_refused(folder, HEAD_LM, ERROR_DATA,
                   "2 of 28 tensors are missing, the first is 'transformer.ln_f.weight'");
    write_weights(folder, "model.safetensors", without_norm, "ln_f.weight", wrong, head);
    assert_refused(folder, HEAD_LM, ERROR_DATA,
                   "'ln_f.weight' has the shape [61, 12], but config.json calls for [24]");
    /* The head of a tied model. */
    Model lm;
    load_fixture(&lm);
    memcpy(head, lm.data + lm.parameter[0].offset, sizeof head);
    model_done(&lm);
    write_weights(folder, "model.safetensors", NULL, "lm_head.weight", heads, head);
    assert_loads(folder);
    head[5] += 1;
    write_weights(folder, "model.safetensors", NULL, "lm_head.weight", heads, head);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "config.json ties the two");
    head[5] = NAN;
    write_weights(folder, "model.safetensors", bare, "lm_head.weight", heads, head);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "holds NaN at element 5");
}

static void test_shards(void **state) {
    (void)state;
    const char *folder = test_folder();
    copy_file(fixture, folder, "config.json");
    write_weights(folder, "a.safetensors", first_half, NULL, NULL, NULL);
    write_weights(folder, "b.safetensors", second_half, NULL, NULL, NULL);
    /* clang-format off */
    static const struct {
        const char *index, *part;
    } indices[] = {
        {"{\"weight_map\":{\"transformer.h.0.ln_1.bias\":\"a.safetensors\","
         "\"transformer.wte.weight\":\"b.safetensors\"}}", NULL},
        {"{\"weight_map\":{\"transformer.h.0.ln_1.bias\":\"a.safetensors\"}}", "are missing"},
        {"{\"weight_map\":{\"transformer.h.0.ln_1.bias\":\"b.safetensors\"}}", "but is not there"},
        {"{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{\"x\":\"/etc/a.safetensors\"}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{\"x\":\"..\\\\a.safetensors\"}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{\"x\":\"..safetensors\"}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{\"x\":\"a.bin\"}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{\"x\":3}}", "plain name of a .safetensors"},
        {"{\"weight_map\":{}}", "no 'weight_map'"},
        {"{\"weight_map\":[]}", "no 'weight_map'"},
        {"[]", "no 'weight_map'"},
        {"{", ""},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        test_file(folder, "model.safetensors.index.json", indices[i].index,
                  strlen(indices[i].index));
        if (indices[i].part == NULL) {
            assert_loads(folder);
        } else {
            assert_refused(folder, HEAD_LM, ERROR_DATA, indices[i].part);
        }
    }
    const char missing[] = "{\"weight_map\":{\"x\":\"c.safetensors\"}}";
    test_file(folder, "model.safetensors.index.json", missing, sizeof missing - 1);
    assert_refused(folder, HEAD_LM, ERROR_NO_INPUT, "c.safetensors");
}

static void test_no_weights(void **state) {
    (void)state;
    const char *folder = test_folder();
    assert_refused(folder, HEAD_LM, ERROR_NO_INPUT, "config.json");
    copy_file(fixture, folder, "config.json");
    assert_refused(folder, HEAD_LM, ERROR_NO_INPUT, "neither model.safetensors nor");
    test_file(folder, "pytorch_model.bin", "PK", 2);
    assert_refused(folder, HEAD_LM, ERROR_DATA, "safe_serialization=True");
}

/* Absurd sizes are compared with the file before memory is asked for. */
static void test_absurd(void **state) {
    (void)state;
    const char config[] = "{\"model_type\":\"gpt2\",\"vocab_size\":4000000,\"n_positions\":4000000,"
                          "\"n_embd\":131072,\"n_layer\":1024,\"n_head\":1}";
    const char *folder = test_folder();
    test_file(folder, "config.json", config, sizeof config - 1);
    copy_file(fixture, folder, "model.safetensors");
    assert_refused(folder, HEAD_LM, ERROR_DATA, "config.json calls for");
}

static void test_initialize(void **state) {
    (void)state;
    Error err = {0};
    ModelConfig config = {.family = &family_gpt2,
                          .layers = 2,
                          .heads = 2,
                          .width = 64,
                          .inner = 256,
                          .vocabulary = 500,
                          .context = 32,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .head = HEAD_BOTH,
                          .labels = 1,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    Model a, b;
    assert_ok(model_create(&a, &config, &err), &err);
    assert_ok(model_create(&b, &config, &err), &err);
    model_initialize(&a, 1);
    parallel_init(1);
    model_initialize(&b, 1);
    parallel_init(2);
    assert_memory_equal(a.data, b.data, a.count * sizeof(float));
    for (size_t i = 0; i < a.parameters; i++) {
        const Parameter *p = &a.parameter[i];
        double sum = 0, square = 0, want = 0.02;
        for (size_t k = 0; k < p->count; k++) {
            sum += (double)a.data[p->offset + k];
            square += (double)(a.data[p->offset + k] * a.data[p->offset + k]);
        }
        double mean = sum / (double)p->count,
               deviation = sqrt(square / (double)p->count - mean * mean);
        if (strstr(p->name, "ln_") != NULL || strstr(p->name, "bias") != NULL) {
            assert_true(mean == (strstr(p->name, "bias") != NULL ? 0.0 : 1.0) && !p->decay);
            continue;
        }
        assert_true(p->decay);
        if (strstr(p->name, "c_proj") != NULL) {
            want = 0.01; /* 0.02 / sqrt(2 L) */
        } else if (strcmp(p->name, "score.weight") == 0) {
            want = 1 / sqrt(65.0);
        }
        assert_close_double(p->name, deviation, want, 0, want * 4 / sqrt((double)p->count));
    }
    /* A tensor's values depend on its name, not on what else the model has. */
    config.layers = 1;
    config.head = HEAD_LM;
    config.labels = 0;
    model_done(&b);
    assert_ok(model_create(&b, &config, &err), &err);
    model_initialize(&b, 1);
    const char *name = "transformer.h.0.mlp.c_fc.weight";
    const Parameter *p = model_find(&a, name), *q = model_find(&b, name);
    assert_memory_equal(a.data + p->offset, b.data + q->offset, p->count * sizeof(float));
    model_initialize(&b, 2);
    assert_memory_not_equal(a.data + p->offset, b.data + q->offset, p->count * sizeof(float));
    model_done(&a);
    model_done(&b);
}

static void test_freeze_and_copy(void **state) {
    (void)state;
    Error err = {0};
    Model model, copy;
    Gradients gradients;
    assert_ok(model_load(&model, fixture, HEAD_BOTH, 1, NULL, &err), &err);
    model_freeze(&model, 1);
    assert_ok(gradients_init(&gradients, &model, &err), &err);
    size_t floats = 0;
    for (size_t i = 0; i < model.parameters; i++) {
        const Parameter *p = &model.parameter[i];
        bool frozen = p->layer < 1;
        assert_int_equal(p->trainable, !frozen);
        assert_int_equal(p->gradient, frozen ? SIZE_MAX : floats);
        floats += frozen ? 0 : (p->count + 15) / 16 * 16;
    }
    assert_int_equal(gradients.count, floats);
    gradients_done(&gradients);
    assert_ok(model_copy(&copy, &model, &err), &err);
    assert_memory_equal(copy.data, model.data, model.count * sizeof(float));
    assert_false(copy.parameter[0].trainable);
    assert_ptr_not_equal(copy.config.json, model.config.json);
    model_done(&copy);
    model_freeze(&model, SIZE_MAX);
    for (size_t i = 0; i < model.parameters; i++) {
        assert_int_equal(model.parameter[i].trainable,
                         strcmp(model.parameter[i].name, "score.weight") == 0);
    }
    model.data[3] = INFINITY;
    assert_error(model_save(&model, test_folder(), &err), &err, ERROR_DIVERGED,
                 "'transformer.wte.weight' is not finite at element 3");
    model_done(&model);
}

/* Into the memory that is there: same weights, frozen parts and version of its own; another layout and a
 * missing score head are refused. */
static void test_reload(void **state) {
    (void)state;
    Error err = {0};
    Model from, model, scores;
    load_fixture(&from);
    load_fixture(&model);
    model_freeze(&model, 1);
    model_initialize(&model, 5);
    const float *memory = model.data;
    uint64_t version = model.version;
    assert_ok(model_reload(&model, fixture, &err), &err);
    assert_ptr_equal(model.data, memory);
    assert_memory_equal(model.data, from.data, from.count * sizeof(float));
    assert_true(model.version != version && !model.parameter[0].trainable);
    assert_ok(model_load(&scores, fixture, HEAD_SCORES, 1, NULL, &err), &err);
    assert_error(model_reload(&scores, fixture, &err), &err, ERROR_DATA, "no score head");
    Model narrow;
    ModelConfig config = {0};
    assert_ok(model_config_copy(&config, &from.config, &err), &err);
    config.vocabulary -= 8;
    assert_ok(model_create(&narrow, &config, &err), &err);
    err = (Error){0};
    assert_error(model_reload(&narrow, fixture, &err), &err, ERROR_DATA, "the run has");
    model_config_done(&config);
    model_done(&narrow);
    model_done(&scores);
    model_done(&model);
    model_done(&from);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    snprintf(fixture, sizeof fixture, "%s/generate", test_fixtures());
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_heads),      cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_spellings),  cmocka_unit_test(test_shards),
        cmocka_unit_test(test_no_weights), cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_initialize), cmocka_unit_test(test_freeze_and_copy),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
