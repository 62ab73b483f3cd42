/* SPDX-License-Identifier: MIT
 *
 * Adapter folders: those of PEFT (tests/fixtures/adapter, whose mint.py says what its files hold) with
 * values and gradients, round trips, names of layers, and folders that are refused.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/adapter.h"
#include "common/model/adapter_io.h"
#include "common/model/family.h"
#include "common/model/safetensors.h"
#include "tests/support/support.h"

static const char *const cases[] = {"gpt2",  "gpt2-all",  "gpt2-classes",
                                    "llama", "llama-all", "gpt-neox"};
enum { CASES = sizeof cases / sizeof *cases, SEQUENCES = 3, ROWS = 64 };

static const char *case_folder(const char *name) {
    return test_path(test_path(test_fixtures(), "adapter"), name);
}

static const char *family_folder(const char *name) {
    return test_path(test_path(test_fixtures(), "families"), name);
}

static size_t numbers(const SafeTensors *file, const char *name, float *out, size_t most) {
    Error err = {0};
    const Tensor *tensor = safetensors_find(file, name);
    if (tensor == NULL) {
        return 0;
    }
    assert_true(tensor->count <= most);
    assert_ok(safetensors_read_floats(file, tensor, out, tensor->count, false, &err), &err);
    return tensor->count;
}

/* The oracle's batch. */
static void case_batch(const SafeTensors *oracle, Batch *batch) {
    Error err = {0};
    float ids[ROWS], targets[ROWS], starts[SEQUENCES + 1];
    int32_t id[ROWS], target[ROWS];
    size_t n = numbers(oracle, "ids", ids, ROWS);
    numbers(oracle, "targets", targets, ROWS);
    assert_int_equal(numbers(oracle, "starts", starts, SEQUENCES + 1), SEQUENCES + 1);
    for (size_t t = 0; t < n; t++) {
        id[t] = (int32_t)ids[t];
        target[t] = (int32_t)targets[t];
    }
    assert_ok(batch_init(batch, ROWS, SEQUENCES, &err), &err);
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t begin = (size_t)starts[s], end = (size_t)starts[s + 1];
        assert_ok(batch_add(batch, id + begin, target + begin, end - begin, BATCH_NO_PREFIX, s,
                            NULL, &err),
                  &err);
    }
}

/* Gradients of A, B and the head, by PEFT's names. */
static void compare_gradients(const SafeTensors *oracle, const Model *model,
                              const Gradients *gradients) {
    size_t compared = 0;
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        if (!p->own) {
            assert_true(p->gradient == SIZE_MAX);
            continue;
        }
        bool head = i < family_parameters(&model->config), second = false;
        char name[200];
        snprintf(name, sizeof name, "gradient.%s%s", head ? "base_model.model." : "", p->name);
        static float want[4096];
        assert_int_equal(numbers(oracle, name, want, 4096), p->count);
        const float *got = gradients->data + p->gradient;
        static float ordered[4096];
        if (!head && adapter_row(&model->config, i, &second)->storage == STORED_BY_HEAD && second) {
            size_t size = config_head_size(&model->config), width = model->config.width;
            for (size_t r = 0; r < p->shape[0]; r++) { /* the file's row has [head][Q | K | V][D] */
                size_t stored = (r % width / size * 3 + r / width) * size + r % size;
                memcpy(ordered + stored * p->shape[1], got + r * p->shape[1],
                       p->shape[1] * sizeof(float));
            }
            got = ordered;
        }
        assert_close(name, got, want, p->count, 1e-4, 1e-6);
        compared++;
    }
    assert_true(compared > 0);
}

static void test_against_peft(void **state) {
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        Error err = {0};
        Model model;
        SafeTensors oracle;
        Batch batch;
        bool fresh = true;
        assert_ok(model_load(&model, case_folder(cases[c]), -1, 0, &fresh, &err), &err);
        assert_false(fresh);
        assert_ok(
            safetensors_open(&oracle, test_path(case_folder(cases[c]), "oracle.safetensors"), &err),
            &err);
        case_batch(&oracle, &batch);
        WorkspacePlan plan = {.tokens = ROWS, .sequences = SEQUENCES, .training = true};
        Workspace *workspace = workspace_create(&model.config, &plan, &err);
        Gradients gradients;
        assert_ok(workspace != NULL && gradients_init(&gradients, &model, &err), &err);
        static float got[ROWS * 3], want[ROWS * 3], slope[ROWS * 3];
        bool scores = model.config.head == HEAD_SCORES;
        size_t n = numbers(&oracle, scores ? "score" : "logprob", want, ROWS * 3);
        assert_int_equal(numbers(&oracle, scores ? "dscore" : "dlogprob", slope, ROWS * 3), n);
        assert_int_equal(n, batch.tokens * (scores ? model.config.labels : 1));
        PerToken out = {.logprob = scores ? NULL : got, .score = scores ? got : NULL};
        PerToken d = {.logprob = scores ? NULL : slope, .score = scores ? slope : NULL};
        model_forward(&model, workspace, &batch, &out);
        assert_close(cases[c], got, want, n, 1e-5, 1e-6);
        model_backward(&model, &gradients, workspace, &batch, &d);
        compare_gradients(&oracle, &model, &gradients);
        gradients_done(&gradients);
        workspace_free(workspace);
        batch_done(&batch);
        safetensors_close(&oracle);
        model_done(&model);
    }
}

static void read_file(const char *folder, const char *name, Str *out) {
    Error err = {0};
    str_done(out);
    assert_ok(file_read(test_path(folder, name), 1 << 24, out, &err), &err);
}

/* What PEFT saved comes out with the same values; what we saved, with the same bytes. */
static void test_round_trip(void **state) {
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        Error err = {0};
        Model model, again;
        const char *once = test_folder(), *twice = test_folder();
        assert_ok(model_load(&model, case_folder(cases[c]), -1, 0, NULL, &err), &err);
        assert_ok(model_save(&model, once, &err), &err);
        assert_ok(model_load(&again, once, -1, 0, NULL, &err), &err);
        assert_memory_equal(again.own, model.own, model.own_count * sizeof(float));
        assert_true(again.config.adapter.targets == model.config.adapter.targets);
        assert_true(again.config.head == model.config.head &&
                    again.config.labels == model.config.labels);
        assert_string_equal(again.base, model.base);
        assert_ok(model_save(&again, twice, &err), &err);
        Str a = {0}, b = {0};
        const char *const files[] = {"adapter_model.safetensors", "adapter_config.json",
                                     "base.json", "config.json"};
        for (size_t i = 0; i < 4; i++) {
            read_file(once, files[i], &a);
            read_file(twice, files[i], &b);
            assert_int_equal(a.size, b.size);
            assert_memory_equal(a.data, b.data, a.size);
        }
        SafeTensors theirs, ours;
        assert_ok(safetensors_open(
                      &theirs, test_path(case_folder(cases[c]), "adapter_model.safetensors"), &err),
                  &err);
        assert_ok(safetensors_open(&ours, test_path(once, "adapter_model.safetensors"), &err),
                  &err);
        assert_int_equal(ours.tensors, theirs.tensors);
        for (size_t i = 0; i < theirs.tensors; i++) {
            const Tensor *tensor = safetensors_find(&ours, theirs.tensor[i].name);
            assert_non_null(tensor);
            assert_int_equal(tensor->bytes, theirs.tensor[i].bytes);
            assert_memory_equal(tensor->data, theirs.tensor[i].data, tensor->bytes);
        }
        safetensors_close(&theirs);
        safetensors_close(&ours);
        memset(again.own, 0, again.own_count * sizeof(float));
        assert_ok(model_reload(&again, once, &err), &err);
        assert_memory_equal(again.own, model.own, model.own_count * sizeof(float));
        str_done(&a);
        str_done(&b);
        model_done(&again);
        model_done(&model);
    }
}

/* An adapter on a base that is there already borrows it; on another one it does not. */
static void test_beside(void **state) {
    (void)state;
    Error err = {0};
    Model policy, critic, other;
    bool fresh = true;
    assert_ok(model_load(&policy, case_folder("gpt2"), HEAD_LM, 0, NULL, &err), &err);
    assert_ok(model_load_beside(&critic, &policy, case_folder("gpt2-classes"), HEAD_SCORES, 3,
                                &fresh, &err),
              &err);
    assert_true(critic.borrowed && critic.data == policy.data && !fresh);
    assert_ok(model_load_beside(&other, &policy, case_folder("llama"), HEAD_LM, 0, NULL, &err),
              &err);
    assert_true(!other.borrowed && other.data != policy.data);
    Model alone;
    assert_ok(model_load(&alone, case_folder("gpt2-classes"), -1, 0, NULL, &err), &err);
    assert_int_equal(alone.own_count, critic.own_count);
    assert_memory_equal(alone.own, critic.own, critic.own_count * sizeof(float));
    model_done(&alone);
    model_done(&other);
    model_done(&critic);
    model_done(&policy);
}

static bool targets(const Model *model, const char *name, uint64_t *found, Error *err) {
    return adapter_targets(&model->config, &name, 1, found, err);
}

static void test_names(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    uint64_t found;
    size_t length;
    assert_ok(model_load(&model, family_folder("gpt2"), -1, 0, NULL, &err), &err);
    assert_ok(targets(&model, "c_proj", &found, &err), &err);
    assert_true(found ==
                ((uint64_t)1 << PART_ATTENTION_OUT_WEIGHT | (uint64_t)1 << PART_DOWN_WEIGHT));
    assert_ok(targets(&model, "attn.c_proj", &found, &err), &err);
    assert_true(found == (uint64_t)1 << PART_ATTENTION_OUT_WEIGHT);
    const char *name = adapter_target_name(&model.config, PART_DOWN_WEIGHT, &length);
    assert_true(length == 10 && memcmp(name, "mlp.c_proj", 10) == 0);
    name = adapter_target_name(&model.config, PART_QKV_WEIGHT, &length);
    assert_true(length == 6 && memcmp(name, "c_attn", 6) == 0);
    const char *both[] = {"transformer.h.0.attn.c_attn", "h.1.attn.c_attn"};
    assert_ok(adapter_targets(&model.config, both, 2, &found, &err), &err);
    assert_true(found == (uint64_t)1 << PART_QKV_WEIGHT);
    assert_error(adapter_targets(&model.config, both, 1, &found, &err), &err, ERROR_CONFIG,
                 "a layer in some blocks and not in others");
    assert_error(
        targets(&model, "q_proj", &found, &err), &err, ERROR_CONFIG,
        "'q_proj': no layer has such a name; adapters of a 'gpt2' model can target c_attn, "
        "attn.c_proj, c_fc, mlp.c_proj");
    assert_error(targets(&model, "roj", &found, &err), &err, ERROR_CONFIG, "no layer has");
    assert_error(targets(&model, "wte", &found, &err), &err, ERROR_CONFIG, "is not computed");
    assert_error(targets(&model, "h.2.attn.c_attn", &found, &err), &err, ERROR_CONFIG, "no layer");
    assert_error(targets(&model, "h.01.attn.c_attn", &found, &err), &err, ERROR_CONFIG, "no layer");
    assert_error(targets(&model, "", &found, &err), &err, ERROR_CONFIG, "no layer");
    model_done(&model);
}

static const char good_config[] =
    "{\"peft_type\": \"LORA\", \"task_type\": \"CAUSAL_LM\", \"r\": 3, \"lora_alpha\": 5,"
    " \"target_modules\": [\"c_attn\", \"mlp.c_proj\"], \"base_model_name_or_path\": \"%s\"%s}";

/* A folder with the tensors of the case "gpt2" and this configuration. */
static const char *adapter_with(const char *base, const char *more) {
    Error err = {0};
    const char *folder = test_folder();
    char text[2000];
    int n = snprintf(text, sizeof text, good_config, base, more);
    test_file(folder, "adapter_config.json", text, (size_t)n);
    Str bytes = {0};
    assert_ok(file_read(test_path(case_folder("gpt2"), "adapter_model.safetensors"), 1 << 24,
                        &bytes, &err),
              &err);
    test_file(folder, "adapter_model.safetensors", bytes.data, bytes.size);
    str_done(&bytes);
    return folder;
}

static void assert_refused(const char *folder, int head, ErrorCode code, const char *part) {
    Error err = {0};
    Model model;
    assert_error(model_load(&model, folder, head, 0, NULL, &err), &err, code, part);
    assert_null(model.data);
}

static void test_refused_keys(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    const char *base = family_folder("gpt2");
    assert_ok(model_load(&model, adapter_with(base, ", \"future\": null, \"rank_pattern\": {}"), -1,
                         0, NULL, &err),
              &err);
    model_done(&model);
    const struct {
        const char *more, *part;
    } bad[] = {
        {", \"use_dora\": true",                 "'use_dora' is"                            },
        {", \"rank_pattern\": {\"c_attn\": 4}",  "'rank_pattern' is"                        },
        {", \"alpha_pattern\": {\"c_attn\": 4}", "'alpha_pattern' is"                       },
        {", \"layers_to_transform\": [0]",       "'layers_to_transform' is"                 },
        {", \"bias\": \"all\"",                  "'bias' is the string \"all\""             },
        {", \"lora_bias\": true",                "'lora_bias' is"                           },
        {", \"init_lora_weights\": \"pissa\"",   "it changes the base's weights too"        },
        {", \"modules_to_save\": [\"wte\"]",     "can only be the score head"               },
        {", \"trainable_token_indices\": [1]",   "'trainable_token_indices' is"             },
        {", \"something_new\": 3",               "'something_new' is the number 3; adapters"},
        {", \"use_rslora\": 2",                  "'use_rslora' is"                          },
        {", \"exclude_modules\": \"c_fc\"",      "'exclude_modules' is"                     },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(adapter_with(base, bad[i].more), -1, ERROR_DATA, bad[i].part);
    }
    assert_refused(adapter_with(base, ", \"lora_dropout\": 1"), -1, ERROR_CONFIG,
                   "dropout of the adapter is 1");
}

static void config_of(const char *folder, const char *format, const char *base) {
    char text[1000];
    int n = snprintf(text, sizeof text, format, base);
    test_file(folder, "adapter_config.json", text, (size_t)n);
}

static void test_refused_folders(void **state) {
    (void)state;
    const char *base = family_folder("gpt2"), *llama = family_folder("llama");
    assert_refused(adapter_with("/nowhere", ""), -1, ERROR_NO_INPUT,
                   "'/nowhere', which is no model folder here");
    assert_refused(adapter_with(case_folder("gpt2"), ""), -1, ERROR_NO_INPUT, "no model folder");
    assert_refused(adapter_with(llama, ""), -1, ERROR_CONFIG,
                   "'c_attn': no layer has such a name; adapters of a 'llama'");
    const char *folder = adapter_with(base, "");
    config_of(folder, "{\"peft_type\": \"IA3\", \"base_model_name_or_path\": \"%s\"}", base);
    assert_refused(folder, -1, ERROR_DATA, "'peft_type' is the string \"IA3\"");
    config_of(folder, "{\"peft_type\": \"LORA\", \"base_model_name_or_path\": \"%s\"}", base);
    assert_refused(folder, -1, ERROR_DATA, "'r' is absent");
    config_of(folder,
              "{\"peft_type\": \"LORA\", \"r\": 9999999, \"base_model_name_or_path\": \"%s\"}",
              base);
    assert_refused(folder, -1, ERROR_DATA, "a rank from 1 to 4096");
    config_of(folder,
              "{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": \".*attn\","
              " \"base_model_name_or_path\": \"%s\"}",
              base);
    assert_refused(folder, -1, ERROR_DATA, "patterns are not computed");
    config_of(folder,
              "{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": [\"c_attn\", \"c_proj\"],"
              " \"base_model_name_or_path\": \"%s\"}",
              base);
    assert_refused(folder, -1, ERROR_DATA,
                   "'base_model.model.transformer.h.0.attn.c_proj.lora_A.weight' is missing");
    config_of(folder,
              "{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": [\"c_attn\"],"
              " \"base_model_name_or_path\": \"%s\"}",
              base);
    assert_refused(folder, -1, ERROR_DATA, "is none of this adapter on a 'gpt2' model");
    config_of(
        folder,
        "{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [\"c_attn\", \"mlp.c_proj\"],"
        " \"base_model_name_or_path\": \"%s\"}",
        base);
    assert_refused(folder, -1, ERROR_DATA, "call for [");
    config_of(folder, "[\"%s\"]", base);
    assert_refused(folder, -1, ERROR_DATA, "a JSON object was expected");
    test_file(folder, "adapter_config.json", "{", 1);
    assert_refused(folder, -1, ERROR_DATA, "the text ends");
    folder = adapter_with(base, "");
    remove(test_path(folder, "adapter_model.safetensors"));
    assert_refused(folder, -1, ERROR_NO_INPUT, "adapter_model.safetensors");
    test_file(folder, "adapter_model.bin", "x", 1);
    assert_refused(folder, -1, ERROR_DATA, "a pickle");
    assert_refused(case_folder("gpt2-classes"), HEAD_LM, ERROR_DATA, "a language model's");
    assert_refused(adapter_with(folder, ""), -1, ERROR_NO_INPUT, "no model folder");
}

/* A tensor without elements may have any shape; none makes a head that fills the memory. */
static void test_labels(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder();
    size_t shape[] = {(size_t)1 << 40, 0};
    config_of(folder,
              "{\"peft_type\": \"LORA\", \"task_type\": \"SEQ_CLS\", \"r\": 2, \"target_modules\": "
              "[\"c_attn\"], \"base_model_name_or_path\": \"%s\"}",
              family_folder("gpt2"));
    SafeTensorsWriter *writer = safetensors_writer_create(&err);
    assert_ok(writer != NULL, &err);
    assert_ok(safetensors_writer_add(writer, "base_model.model.score.weight", TENSOR_F32, shape, 2,
                                     "", &err),
              &err);
    assert_ok(safetensors_writer_commit(writer, test_path(folder, "adapter_model.safetensors"),
                                        NULL, &err),
              &err);
    safetensors_writer_free(writer);
    assert_refused(folder, -1, ERROR_DATA, "gives 1099511627776 numbers a text, at most 65536");
}

/* A file that ends early, at each of many places. */
static void test_truncated(void **state) {
    (void)state;
    Str bytes = {0};
    Error err = {0};
    const char *folder = adapter_with(family_folder("gpt2"), "");
    read_file(folder, "adapter_model.safetensors", &bytes);
    for (size_t n = 0; n < bytes.size; n += 1 + n / 7) {
        Model model;
        test_file(folder, "adapter_model.safetensors", bytes.data, n);
        assert_false(model_load(&model, folder, -1, 0, NULL, &err));
        err = (Error){0};
    }
    str_done(&bytes);
}

/* The base must have the weights that the adapter was trained on. */
static void test_wrong_base(void **state) {
    (void)state;
    Error err = {0};
    Model model, base;
    const char *folder = test_folder(), *moved = test_folder();
    assert_ok(model_load(&model, case_folder("gpt2"), -1, 0, NULL, &err), &err);
    assert_ok(model_save(&model, folder, &err), &err);
    assert_ok(model_load(&base, family_folder("gpt2"), -1, 0, NULL, &err), &err);
    assert_ok(model_save(&base, moved, &err), &err);
    Model again;
    assert_ok(adapter_load(&again, folder, moved, NULL, COMPACT_NONE, -1, 0, NULL, &err), &err);
    model_done(&again);
    base.data[base.parameter[3].offset] += 1e-3f;
    assert_ok(model_save(&base, moved, &err), &err);
    assert_error(adapter_load(&again, folder, moved, NULL, COMPACT_NONE, -1, 0, NULL, &err), &err,
                 ERROR_DATA, "the adapter was trained on other weights than those of");
    assert_null(again.data);
    model_done(&base);
    model_done(&model);
}

/* Copies a file with the one place that says `old` changed. */
static void copy_changed(const char *from, const char *to, const char *name, const char *old,
                         const char *changed) {
    Str text = {0}, out = {0};
    read_file(from, name, &text);
    const char *at = strstr(str_text(&text), old);
    assert_non_null(at);
    str_append_bytes(&out, text.data, (size_t)(at - text.data));
    str_append(&out, changed);
    str_append(&out, at + strlen(old));
    test_file(to, name, out.data, out.size);
    str_done(&out);
    str_done(&text);
}

/* config.json beside an adapter may not make another model of the base, whose weights would be read
 * behind their ends. */
static void test_config_of_another(void **state) {
    (void)state;
    static const struct {
        const char *adapter, *base, *old, *changed;
    } rows[] = {
        {"gpt2",  "gpt2",          "\"n_positions\": 80",           "\"n_positions\": 81"          },
        {"gpt2",  "gpt2",          "\"layer_norm_epsilon\": 1e-05", "\"layer_norm_epsilon\": 1e-06"},
        {"gpt2",  "gpt2",          "gelu_new",                      "relu"                         },
        {"llama", "llama-grouped", "\"rope_theta\": 10000.0",       "\"rope_theta\": 10001.0"      },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *folder = test_folder(), *from = case_folder(rows[i].adapter);
        const char *base = family_folder(rows[i].base);
        Str weights = {0};
        read_file(from, "adapter_model.safetensors", &weights);
        test_file(folder, "adapter_model.safetensors", weights.data, weights.size);
        str_done(&weights);
        copy_changed(from, folder, "adapter_config.json", "../../families",
                     test_path(test_fixtures(), "families"));
        copy_changed(base, folder, "config.json", rows[i].old, rows[i].old);
        Error err = {0};
        Model model;
        assert_ok(model_load(&model, folder, -1, 0, NULL, &err), &err);
        model_done(&model);
        copy_changed(base, folder, "config.json", rows[i].old, rows[i].changed);
        assert_refused(folder, -1, ERROR_DATA, "config.json describes another model");
    }
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_peft), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_beside),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused_keys), cmocka_unit_test(test_refused_folders),
        cmocka_unit_test(test_labels),       cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_wrong_base),   cmocka_unit_test(test_config_of_another),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
