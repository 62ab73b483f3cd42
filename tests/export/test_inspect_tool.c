/* SPDX-License-Identifier: MIT
 *
 * rlhf-inspect: what it says of everything that it knows, as text and as JSON, and input that is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/model/adapter.h"
#include "tests/export/models.h"
#include "tests/support/support.h"

/* The report (JSON) on `path`; what is refused, by the code and by one sentence on stderr. */
static cJSON *inspect(const char *path, int status, const char *part) {
    Error err = {0};
    TestRun run;
    const char *const argv[] = {"rlhf-inspect", path, "--json", NULL};
    test_run(&run, argv);
    const char *said = str_text(&run.err);
    if (run.status != status || strstr(said, part) == NULL) {
        fail_msg("%s: exit %d, %s", path, run.status, said);
    }
    if (status == 0) {
        assert_int_equal(run.err.size, 0);
    } else {
        assert_true(str_starts_with(said, "rlhf-inspect: "));
        assert_ptr_equal(strchr(said, '\n'), said + run.err.size - 1);
    }
    cJSON *report = NULL;
    if (run.out.size > 0) {
        report = json_parse(run.out.data, run.out.size, "report", 1, &json_limits_document, &err);
        assert_ok(report != NULL, &err);
        const cJSON *refused = json_member(report, "refused");
        assert_int_equal(refused != NULL, status != 0);
    }
    test_run_done(&run);
    return report;
}

static void refuse(const char *path, int status, const char *part) {
    cJSON_Delete(inspect(path, status, part));
}

/* Text holds each of the parts. */
static void assert_says(const char *path, const char *option, const char *const part[]) {
    TestRun run;
    const char *const argv[] = {"rlhf-inspect", path, option, NULL};
    test_run(&run, argv);
    assert_int_equal(run.status, 0);
    for (; *part != NULL; part++) {
        if (strstr(str_text(&run.out), *part) == NULL) {
            fail_msg("'%s' is missing in\n%s", *part, str_text(&run.out));
        }
    }
    test_run_done(&run);
}

static void assert_number(const cJSON *object, const char *key, double want) {
    const cJSON *item = json_member(object, key);
    if (item == NULL || item->valuedouble != want) {
        fail_msg("'%s' is %g, %g was expected", key, item != NULL ? item->valuedouble : -1, want);
    }
}

static void assert_string(const cJSON *object, const char *key, const char *want) {
    assert_non_null(json_member(object, key));
    assert_string_equal(json_string(json_member(object, key)), want);
}

static const char *shape_of(const cJSON *list, const char *name, double count) {
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (strcmp(json_string(json_member(item, "name")), name) == 0) {
            assert_number(item, "count", count);
            return json_string(json_member(item, "shape"));
        }
    }
    fail_msg("no tensor '%s'", name);
    return NULL;
}

/* The configurations of models.c, counted by hand. */
static void test_models_told(void **state) {
    (void)state;
    static const struct {
        const char *name, *family, *architecture, *tensor, *shape;
        double parameters, kv_heads, head_size;
    } want[] = {
        {"gpt2",          "gpt2",        "gpt2",    "transformer.h.N.attn.c_attn.weight",                 "[64, 192]",
         403 * 64 + 96 * 64 + 2 * (12 * 64 * 64 + 13 * 64) + 128,                                                                                                                                            4, 16},
        {"llama-grouped", "llama",       "llama",   "model.layers.N.self_attn.k_proj.weight",             "[32, 64]",
         676 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96 + 2 * 64 + 64 + 32 + 32 + 64) + 64,
         2,                                                                                                                                                                                                     16},
        {"mistral",       "mistral",     "llama",   "model.layers.N.mlp.down_proj.weight",                "[64, 96]",
         2 * 676 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96 + 2 * 64) + 64,                                                                                                                         2, 16},
        {"qwen2",         "qwen2",       "qwen2",   "model.layers.N.self_attn.q_proj.bias",               "[64]",
         401 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96 + 2 * 64 + 64 + 32 + 32) + 64,                                                                                                              2,
         16                                                                                                                                                                                                       },
        {"qwen3",         "qwen3",       "qwen3",   "model.layers.N.self_attn.q_proj.weight",             "[128, 64]",
         2 * 401 * 64 + 2 * (2 * 64 * 128 + 2 * 64 * 64 + 3 * 64 * 96 + 2 * 64 + 2 * 32) + 64,                                                                                                               2,
         32                                                                                                                                                                                                       },
        {"gemma3",        "gemma3_text", "gemma3",  "model.layers.N.post_feedforward_layernorm.weight",
         "[64]",                                                                                                       2 * 680 * 64 + 2 * (2 * 64 * 128 + 2 * 64 * 64 + 3 * 64 * 96 + 4 * 64 + 2 * 32) + 64, 2,
         32                                                                                                                                                                                                       },
        {"gpt-neox",      "gpt_neox",    "gptneox", "gpt_neox.layers.N.attention.query_key_value.weight",
         "[192, 64]",                                                                                                  2 * 416 * 64 + 2 * (4 * 64 * 64 + 2 * 64 * 96 + 9 * 64 + 96) + 128,                   4, 16},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const TestModel *row = test_models;
        for (; strcmp(row->name, want[i].name) != 0; row++) {
        }
        Model model;
        Tokenizer *tokenizer;
        const char *folder;
        test_model_open(row, &model, &tokenizer, &folder);
        cJSON *report = inspect(folder, 0, "");
        const cJSON *told = json_member(report, "model");
        assert_string(report, "kind", "model folder");
        assert_string(report, "gguf_architecture", want[i].architecture);
        assert_string(told, "family", want[i].family);
        assert_string(told, "head", "language model");
        assert_number(told, "parameters", want[i].parameters);
        assert_number(told, "layers", 2);
        assert_number(told, "width", 64);
        assert_number(told, "key_value_heads", want[i].kv_heads);
        assert_number(told, "head_size", want[i].head_size);
        assert_number(told, "context", 96);
        const cJSON *file = json_member(json_member(report, "safetensors"), "model.safetensors");
        assert_number(file, "weights", want[i].parameters);
        assert_number(file, "data_bytes", 4 * want[i].parameters);
        assert_string_equal(shape_of(json_member(file, "list"), want[i].tensor, 2), want[i].shape);
        assert_number(json_member(report, "tokenizer"), "vocabulary",
                      (double)tokenizer_vocabulary(tokenizer));
        assert_true(json_member(json_member(report, "memory"), "ppo_bytes")->valuedouble >
                    4 * 4 * want[i].parameters);
        cJSON_Delete(report);
        const char *const parts[] = {"kind ", "model folder\n", want[i].shape, NULL};
        assert_says(folder, "--quick", parts);
        tokenizer_free(tokenizer);
        model_done(&model);
    }
}

/* Weights in shards: every file by its name. */
static void test_shards(void **state) {
    (void)state;
    const char *folder = test_path(test_fixtures(), "families/llama-sharded");
    cJSON *report = inspect(folder, 66, "holds no tokenizer");
    const cJSON *files = json_member(report, "safetensors");
    double weights = 0;
    for (int i = 1; i <= 5; i++) {
        char name[60];
        snprintf(name, sizeof name, "model-%05d-of-00005.safetensors", i);
        const cJSON *file = json_member(files, name);
        assert_non_null(file);
        weights += json_member(file, "weights")->valuedouble;
    }
    assert_number(json_member(report, "model"), "parameters", weights);
    cJSON_Delete(report);
}

/* Weights of GPT-2's matrices that lora.base speaks of, all of them rows or columns of whole blocks, and of
 * the rest. */
enum { LARGE = 403 * 64 + 2 * 12 * 64 * 64, SMALL_ONES = 96 * 64 + 2 * 13 * 64 + 128 };

static void assert_bases(const cJSON *memory) {
    enum { MATRICES = 1 + 2 * 4, LINE = 64 }; /* a matrix begins at a line of 64 bytes */
    const cJSON *bytes = json_member(memory, "lora_base_int8_bytes");
    double least = 4.0 * SMALL_ONES + LARGE / 32.0 * 34;
    assert_number(memory, "lora_base_bf16_bytes", 4.0 * SMALL_ONES + 2.0 * LARGE);
    assert_non_null(bytes);
    assert_true(bytes->valuedouble >= least && bytes->valuedouble < least + MATRICES * LINE);
}

/* A whole model, and an adapter on it, whose base is the same one. */
static void test_bases(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    const char *folder;
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    assert_int_equal(model_weights(&model), LARGE + SMALL_ONES);
    cJSON *report = inspect(folder, 0, "");
    const cJSON *memory = json_member(report, "memory");
    assert_number(memory, "weights_bytes", 4.0 * (LARGE + SMALL_ONES));
    assert_bases(memory);
    cJSON_Delete(report);
    const char *const parts[] = {"lora base bf16 ", "lora base int8 ", NULL};
    assert_says(folder, "--quick", parts);

    const char *adapted = test_path(test_folder(), "adapter"), *const target = "all-linear";
    AdapterConfig adapter = {.rank = 4, .alpha = 4};
    assert_ok(adapter_targets(&model.config, &target, 1, &adapter.targets, &err), &err);
    assert_ok(model_adapt(&model, &adapter, 1, &err), &err);
    model.base = mem_strdup(folder, &err);
    assert_non_null(model.base);
    assert_ok(file_make_folders(adapted, &err) && model_save(&model, adapted, &err), &err);
    assert_ok(tokenizer_save(tokenizer, adapted, &err), &err);
    report = inspect(adapted, 0, "");
    memory = json_member(report, "memory");
    assert_string(report, "kind", "adapter folder");
    assert_number(memory, "weights_bytes", 4.0 * (LARGE + SMALL_ONES + model.own_count));
    assert_bases(memory);
    cJSON_Delete(report);
    tokenizer_free(tokenizer);
    model_done(&model);
}

/* An encoder learns masked words and scores texts; it is no policy. */
static void test_encoder_memory(void **state) {
    (void)state;
    const char *folder = test_path(test_fixtures(), "families/bert-masked");
    cJSON *report = inspect(folder, 66, "holds no tokenizer");
    const cJSON *memory = json_member(report, "memory");
    assert_non_null(json_member(memory, "sft_bytes"));
    assert_non_null(json_member(memory, "reward_bytes"));
    assert_non_null(json_member(memory, "score_bytes"));
    assert_null(json_member(memory, "ppo_bytes"));
    assert_null(json_member(memory, "generate_bytes"));
    cJSON_Delete(report);
}

/* A trunk without a head for words is told to be one, and what can be made of it. */
static void test_bare_trunk(void **state) {
    (void)state;
    Error err = {0};
    SafeTensors from;
    Str config = {0};
    const char *source = test_path(test_fixtures(), "families/bert-masked");
    const char *folder = test_folder();
    assert_ok(safetensors_open(&from, test_path(source, "model.safetensors"), &err), &err);
    SafeTensorsWriter *writer = safetensors_writer_create(&err);
    assert_ok(writer != NULL, &err);
    for (size_t i = 0; i < from.tensors; i++) {
        const Tensor *t = &from.tensor[i];
        if (strncmp(t->name, "cls.", 4) != 0) {
            assert_ok(
                safetensors_writer_add(writer, t->name, t->type, t->shape, t->rank, t->data, &err),
                &err);
        }
    }
    assert_ok(safetensors_writer_commit(writer, test_path(folder, "model.safetensors"), NULL, &err),
              &err);
    safetensors_writer_free(writer);
    safetensors_close(&from);
    assert_ok(file_read(test_path(source, "config.json"), 1 << 20, &config, &err), &err);
    test_file(folder, "config.json", config.data, config.size);
    str_done(&config);
    cJSON *report = inspect(folder, 65, "tensors are missing, the first is 'cls.");
    const cJSON *model = json_member(report, "model");
    assert_string(model, "head", "none; rlhf-reward puts a score head on it");
    assert_non_null(json_member(json_member(report, "memory"), "reward_bytes"));
    cJSON_Delete(report);
}

static const char *make_gguf(const char *folder) {
    TestRun run;
    const char *path = test_path(folder, "model.gguf");
    const char *const argv[] = {"rlhf-export", folder, "--type", "q8_0", "--output", path, NULL};
    test_run(&run, argv);
    assert_int_equal(run.status, 0);
    test_run_done(&run);
    return path;
}

static void test_files_told(void **state) {
    (void)state;
    Model model;
    Tokenizer *tokenizer;
    const char *folder;
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    cJSON *report = inspect(make_gguf(folder), 0, "");
    const cJSON *gguf = json_member(report, "gguf");
    assert_string(report, "kind", "GGUF file");
    assert_number(gguf, "weights", (double)model.count);
    assert_string(json_member(gguf, "metadata"), "general.architecture", "gpt2");
    assert_number(json_member(gguf, "metadata"), "gpt2.block_count", 2);
    assert_string_equal(shape_of(json_member(gguf, "list"), "blk.N.attn_qkv.weight", 2),
                        "[192, 64]");
    cJSON_Delete(report);
    report = inspect(test_path(folder, "model.safetensors"), 0, "");
    assert_string(report, "kind", "safetensors file");
    cJSON_Delete(report);
    report = inspect(test_path(folder, "tokenizer.json"), 0, "");
    const cJSON *told = json_member(report, "tokenizer");
    assert_string(report, "kind", "tokenizer file");
    assert_string(told, "kind", "byte-level BPE");
    assert_string(told, "llama_cpp_name", "gpt-2");
    assert_number(told, "vocabulary", (double)tokenizer_vocabulary(tokenizer));
    cJSON_Delete(report);
    const char *const every[] = {"transformer.h.0.ln_1.bias", "transformer.h.1.ln_1.bias", NULL};
    assert_says(folder, "--tensors", every);
    tokenizer_free(tokenizer);
    model_done(&model);
}

static void test_run_folder(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    const char *folder, *run = test_folder();
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    test_file(run, "run.json", "{}", 2);
    assert_ok(file_make_folders(test_path(run, "checkpoints/step-000010"), &err), &err);
    cJSON *report = inspect(run, 0, "");
    assert_string(report, "kind", "run folder");
    assert_true(cJSON_IsFalse(json_member(report, "finished")));
    assert_string_equal(json_string(json_member(report, "checkpoints")->child), "step-000010");
    cJSON_Delete(report);
    test_file(run, "report.md", "# Report\n", 9);
    assert_ok(file_rename(folder, test_path(run, "model"), &err), &err);
    report = inspect(run, 0, "");
    assert_true(cJSON_IsTrue(json_member(report, "finished")));
    assert_string(report, "model_path", test_path(run, "model"));
    assert_number(json_member(report, "model"), "parameters", (double)model.count);
    cJSON_Delete(report);
    tokenizer_free(tokenizer);
    model_done(&model);
}

static void test_llama2c(void **state) {
    (void)state;
    const char *data = test_data();
    if (data == NULL) {
        skip();
    }
    const char *path = test_path(data, "models/stories260K/stories260K.bin");
    cJSON *report = inspect(path, 0, "");
    assert_string(report, "kind", "llama2.c model");
    assert_string(json_member(report, "model"), "family", "llama");
    assert_number(json_member(report, "model"), "parameters", 260032);
    cJSON_Delete(report);
}

/* Cut short at many lengths, always refused. */
static void cut(const char *path, const char *name, size_t first, size_t lengths) {
    Error err = {0};
    Str whole = {0};
    const char *folder = test_folder();
    assert_ok(file_read(path, 1 << 24, &whole, &err), &err);
    for (size_t i = 0; i < lengths; i++) {
        size_t n = i < first ? i : first + (whole.size - first) * (i - first) / (lengths - first);
        refuse(test_file(folder, name, whole.data, n), 65, "");
    }
    str_done(&whole);
}

static void test_truncated(void **state) {
    (void)state;
    Model model;
    Tokenizer *tokenizer;
    const char *folder;
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    cut(test_path(folder, "model.safetensors"), "cut.safetensors", 12, 60);
    cut(make_gguf(folder), "cut.gguf", 30, 80);
    cut(test_path(folder, "tokenizer.json"), "tokenizer.json", 5, 40);
    tokenizer_free(tokenizer);
    model_done(&model);
}

/* A folder with this config.json and a tokenizer. */
static void refuse_config(const char *config, int status, const char *part) {
    const char *folder = test_folder();
    tokenizer_free(test_tokenizer("gpt2.json", NULL, "<|endoftext|>", folder));
    test_file(folder, "config.json", config, strlen(config));
    refuse(folder, status, part);
}

#define SMALL                                                                                      \
    "\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":96,"        \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"max_position_embeddings\":96,"            \
    "\"vocab_size\":403,\"hidden_act\":\"silu\""

static void test_folders_refused(void **state) {
    (void)state;
    refuse(test_path(test_folder(), "absent"), 66, "absent");
    refuse(test_folder(), 66, "holds no tokenizer");
    refuse_config("{\"model_type\":\"llama\"," SMALL "}", 66, "model.safetensors");
    refuse_config("{\"model_type\":\"mamba\"," SMALL "}", 65, "mamba");
    refuse_config("{" SMALL "}", 65, "model_type");
    refuse_config(
        "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\"}," SMALL "}",
        65, "quantiz");
    refuse_config("{\"model_type\":\"llama\"", 65, "config.json");
    refuse_config("[]", 65, "config.json");
    refuse_config("", 65, "config.json");
    refuse_config("{\"model_type\":\"llama\",\"num_key_value_heads\":4611686018427387904," SMALL
                  "}",
                  65, "num_key_value_heads");
}

static void test_files_refused(void **state) {
    (void)state;
    static const int32_t huge[7] = {1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30};
    static const char counts[] = "GGUF\3\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\1\0\0\0\0\0\0\0";
    static const char length[] = "\xff\xff\xff\xff\xff\xff\xff\x7f{}";
    const char *folder = test_folder();
    refuse(test_file(folder, "huge.bin", huge, sizeof huge), 65, "huge.bin");
    refuse(test_file(folder, "counts.gguf", counts, sizeof counts - 1), 65, "tensors");
    refuse(test_file(folder, "length.safetensors", length, sizeof length - 1), 65, "length");
    refuse(test_file(folder, "magic.gguf", "GGML\3\0\0\0", 8), 65, "does not begin with GGUF");
    refuse(test_file(folder, "model.pt", "PK\3\4....", 8), 65, "a pickle runs the code");
    refuse(test_file(folder, "empty.json", "", 0), 65, "empty.json");
    refuse(test_file(folder, "other.json", "{\"a\":1}", 7), 65, "other.json");
}

static void test_random(void **state) {
    (void)state;
    static const char *const names[] = {"a.gguf", "a.safetensors", "a.bin",     "tokenizer.bin",
                                        "a.json", "a.model",       "vocab.txt", "a"};
    const char *folder = test_folder();
    Random random = random_stream(11, RANDOM_TEST, 0, 0);
    for (uint64_t i = 0; i < 120; i++) {
        unsigned char bytes[400];
        size_t n = (size_t)random_below(&random, i * 1000, sizeof bytes);
        for (size_t j = 0; j < n; j++) {
            bytes[j] = (unsigned char)random_below(&random, i * 1000 + 1 + j, 256);
        }
        const char *path = test_file(folder, names[i % 8], bytes, n);
        TestRun run;
        const char *const argv[] = {"rlhf-inspect", path, NULL};
        test_run(&run, argv);
        if (run.status != 65) {
            fail_msg("%s, number %d: exit %d, %s", path, (int)i, run.status, str_text(&run.err));
        }
        test_run_done(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_told),     cmocka_unit_test(test_shards),
        cmocka_unit_test(test_files_told),      cmocka_unit_test(test_run_folder),
        cmocka_unit_test(test_llama2c),         cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_folders_refused), cmocka_unit_test(test_files_refused),
        cmocka_unit_test(test_random),          cmocka_unit_test(test_bases),
        cmocka_unit_test(test_encoder_memory),  cmocka_unit_test(test_bare_trunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
