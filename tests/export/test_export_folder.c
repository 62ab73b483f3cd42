/* SPDX-License-Identifier: MIT
 *
 * rlhf-export to model folders: types, shards and their index, weights that a type cannot hold, and
 * adapters merged.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/random.h"
#include "common/model/adapter.h"
#include "common/model/safetensors.h"
#include "common/text/layout.h"
#include "tests/export/models.h"
#include "tests/support/support.h"

static const struct {
    const char *name, *dtype;
    double relative, absolute;
} types[] = {
    {"f32",  "\"float32\"",  0,       0      },
    {"f16",  "\"float16\"",  0x1p-11, 0x1p-25},
    {"bf16", "\"bfloat16\"", 0x1p-8,  0      },
};

static void export_folder(const char *folder, const char *type, const char *shard,
                          const char *output, int status, const char *part) {
    TestRun run;
    const char *const argv[] = {
        "rlhf-export",      folder, "--to",     "huggingface", "--type", type,
        "--max-shard-size", shard,  "--output", output,        NULL};
    test_run(&run, argv);
    if (run.status != status || strstr(str_text(&run.err), part) == NULL) {
        fail_msg("%s to %s: exit %d, %s", folder, type, run.status, str_text(&run.err));
    }
    test_run_done(&run);
}

static void read_text(const char *folder, const char *name, Str *out) {
    Error err = {0};
    str_clear(out);
    assert_ok(file_read(test_path(folder, name), 1 << 24, out, &err), &err);
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    Str one = {0}, two = {0};
    read_text(a, name, &one);
    read_text(b, name, &two);
    assert_int_equal(one.size, two.size);
    assert_memory_equal(one.data, two.data, one.size);
    str_done(&one);
    str_done(&two);
}

static void assert_model(const char *folder, const Model *want, size_t type) {
    Error err = {0};
    Model got;
    assert_ok(model_load(&got, folder, -1, 0, NULL, &err), &err);
    assert_int_equal(got.parameters, want->parameters);
    assert_true(got.config.family == want->config.family && got.config.tied == want->config.tied &&
                got.config.window == want->config.window &&
                got.config.norm_epsilon == want->config.norm_epsilon &&
                memcmp(&got.config.rope, &want->config.rope, sizeof got.config.rope) == 0);
    for (size_t i = 0; i < want->parameters; i++) {
        const Parameter *p = &want->parameter[i], *q = &got.parameter[i];
        assert_string_equal(q->name, p->name);
        assert_int_equal(q->count, p->count);
        for (size_t j = 0; j < p->count; j++) {
            double x = parameter_data(want, p)[j], y = parameter_data(&got, q)[j];
            if (!(fabs(x - y) <= types[type].relative * fabs(x) + types[type].absolute)) {
                fail_msg("%s, %s, %zu: %g, %g was expected", types[type].name, p->name, j, y, x);
            }
        }
    }
    model_done(&got);
}

static void test_types(void **state) {
    (void)state;
    for (const TestModel *row = test_models; row->name != NULL; row++) {
        Error err = {0};
        Model model;
        Tokenizer *tokenizer;
        const char *folder;
        Str config = {0};
        test_model_open(row, &model, &tokenizer, &folder);
        for (size_t type = 0; type < 3; type++) {
            const char *out = test_path(test_folder(), "out");
            export_folder(folder, types[type].name, "0", out, 0, types[type].name);
            assert_model(out, &model, type);
            read_text(out, "config.json", &config);
            assert_non_null(strstr(str_text(&config), types[type].dtype));
            Tokenizer *again = tokenizer_load(out, &err);
            assert_ok(again != NULL, &err);
            assert_int_equal(tokenizer_vocabulary(again), tokenizer_vocabulary(tokenizer));
            assert_int_equal(tokenizer_eos(again), tokenizer_eos(tokenizer));
            tokenizer_free(again);
            export_folder(folder, types[type].name, "0", out, 73, "holds a model already");
        }
        str_done(&config);
        tokenizer_free(tokenizer);
        model_done(&model);
    }
}

/* A larger model, as the size of shards is told in MB. Each tensor is in the file that the index names. */
static void test_shards(void **state) {
    (void)state;
    static const TestModel row = {
        "large",
        "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":256,"
        "\"intermediate_size\":640,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
        "\"max_position_embeddings\":96,\"vocab_size\":680,\"hidden_act\":\"silu\"",
        "bpe-bytes.bin", "<s>", "</s>"};
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    Layout layout = {0};
    const char *folder, *out = test_path(test_folder(), "out");
    test_model_open(&row, &model, &tokenizer, &folder);
    assert_ok(layout_init(&layout, "hh", &err) && layout_save(&layout, folder, &err), &err);
    layout_done(&layout);
    export_folder(folder, "f32", "1", out, 0, "f32");
    assert_model(out, &model, 0);
    assert_same_file(folder, out, "layout.json");
    assert_false(file_exists(test_path(out, "model.safetensors")));
    cJSON *index =
        json_read_file(test_path(out, "model.safetensors.index.json"), &json_limits_document, &err);
    assert_ok(index != NULL, &err);
    const cJSON *map = json_member(index, "weight_map"), *item = map->child;
    int64_t total = 0;
    assert_true(json_integer(json_member(json_member(index, "metadata"), "total_size"), 1,
                             INT32_MAX, &total));
    assert_int_equal(total, model.count * sizeof(float));
    size_t tensors = 0;
    for (; item != NULL; item = item->next, tensors++) {
        SafeTensors file;
        uint64_t size = 0;
        const char *path = test_path(out, json_string(item));
        assert_ok(safetensors_open(&file, path, &err), &err);
        assert_non_null(safetensors_find(&file, item->string));
        assert_ok(file_size(path, &size, &err), &err);
        assert_true(size < 1002000 || file.tensors == 1);
        safetensors_close(&file);
    }
    assert_int_equal(tensors, model.parameters);
    cJSON_Delete(index);
    tokenizer_free(tokenizer);
    model_done(&model);
}

static void test_refused(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    const char *folder, *parent = test_folder(), *out = test_path(parent, "out");
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    export_folder(folder, "q8_0", "0", out, 64, "f32, f16 or bf16, not q8_0");
    parameter_data(&model, &model.parameter[model.parameters - 2])[3] = -1e5f;
    assert_ok(model_save(&model, folder, &err), &err);
    export_folder(folder, "f16", "0", out, 65, model.parameter[model.parameters - 2].name);
    assert_false(file_exists(out));
    assert_false(file_exists(test_path(parent, "out.unfinished")));
    test_file(parent, "out.unfinished", "left by an exporter that died", 29);
    export_folder(folder, "bf16", "0", out, 0, "bf16");
    assert_false(file_exists(test_path(parent, "out.unfinished")));
    assert_model(out, &model, 2);
    const char *taken = test_folder();
    test_file(taken, "letter.txt", "keep", 4);
    export_folder(folder, "bf16", "0", taken, 73, "other files");
    export_folder(folder, "bf16", "0", test_path(taken, "letter.txt"), 66, "letter.txt");
    assert_true(file_exists(test_path(taken, "letter.txt")));
    export_folder(test_path(folder, "absent"), "f32", "0", out, 66, "absent");
    tokenizer_free(tokenizer);
    model_done(&model);
}

/* W + alpha / r B A of a query projection, in double. */
static void check_merged(const char *folder, const Model *base, const Model *adapted) {
    Error err = {0};
    Model merged;
    assert_ok(model_load(&merged, folder, -1, 0, NULL, &err), &err);
    assert_int_equal(merged.config.adapter.rank, 0);
    assert_int_equal(merged.parameters, base->parameters);
    for (size_t i = 0; i < base->parameters; i++) {
        const Parameter *p = &base->parameter[i], *q = &merged.parameter[i];
        const float *w = parameter_data(base, p), *got = parameter_data(&merged, q);
        bool query = strstr(p->name, "self_attn.q_proj.weight") != NULL;
        assert_string_equal(p->name, q->name);
        if (!query) {
            assert_memory_equal(got, w, p->count * sizeof *w);
            continue;
        }
        char name[200], stem[100];
        snprintf(stem, sizeof stem, "%.*s", (int)(strlen(p->name) - strlen(".weight")), p->name);
        snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", stem);
        const Parameter *a = model_find(adapted, name);
        snprintf(name, sizeof name, "base_model.model.%s.lora_B.weight", stem);
        const Parameter *b = model_find(adapted, name);
        assert_true(a != NULL && b != NULL);
        const float *A = parameter_data(adapted, a), *B = parameter_data(adapted, b);
        size_t columns = p->shape[1], rank = a->shape[0];
        for (size_t j = 0; j < p->count; j++) {
            double want = w[j];
            for (size_t r = 0; r < rank; r++) {
                want += 5.0 / 2 * (double)B[j / columns * rank + r] *
                        (double)A[r * columns + j % columns];
            }
            assert_true(fabs(want - (double)got[j]) <= 1e-6 * (1 + fabs(want)));
        }
    }
    model_done(&merged);
}

static void test_adapter(void **state) {
    (void)state;
    Error err = {0};
    Model base, adapted;
    Tokenizer *tokenizer;
    const char *folder, *own = test_folder(), *out = test_path(test_folder(), "merged");
    AdapterConfig adapter = {.rank = 2, .alpha = 5};
    const char *const names[] = {"q_proj"};
    test_model_open(&test_models[2], &base, &tokenizer, &folder);
    assert_ok(model_load(&adapted, folder, -1, 0, NULL, &err), &err);
    assert_ok(adapter_targets(&adapted.config, names, 1, &adapter.targets, &err), &err);
    assert_ok(model_adapt(&adapted, &adapter, 7, &err), &err);
    for (size_t i = 0; i < adapted.own_count; i++) {
        adapted.own[i] = (float)((double)(i % 17) - 8) / 20;
    }
    model_touch(&adapted);
    adapted.base = strdup(folder);
    assert_non_null(adapted.base);
    assert_ok(model_save(&adapted, own, &err), &err);
    assert_false(file_exists(test_path(own, "model.safetensors")));
    assert_ok(tokenizer_save(tokenizer, own, &err), &err);
    export_folder(own, "f32", "0", out, 0, "f32");
    check_merged(out, &base, &adapted);
    assert_false(file_exists(test_path(out, "adapter_config.json")));
    const char *const argv[] = {"rlhf-export", own,        "--type",
                                "f32",         "--output", test_path(out, "adapter.gguf"),
                                NULL},
                      *const whole[] = {"rlhf-export", out,        "--type",
                                        "f32",         "--output", test_path(out, "merged.gguf"),
                                        "--name",      "merged",   NULL};
    TestRun run;
    test_run(&run, whole);
    assert_int_equal(run.status, 0);
    test_run_done(&run);
    test_run(&run, argv);
    assert_int_equal(run.status, 0);
    test_run_done(&run);
    /* The same but for the name. */
    Str one = {0}, two = {0};
    read_text(out, "merged.gguf", &one);
    read_text(out, "adapter.gguf", &two);
    assert_memory_equal(one.data + one.size - base.count * 4, two.data + two.size - base.count * 4,
                        base.count * 4);
    str_done(&one);
    str_done(&two);
    tokenizer_free(tokenizer);
    model_done(&adapted);
    model_done(&base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_adapter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
