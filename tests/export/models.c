/* SPDX-License-Identifier: MIT */
#include "tests/export/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/support/support.h"

#define SIZES                                                                                      \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"                         \
    "\"num_attention_heads\":4,\"max_position_embeddings\":96,"
#define GROUPED SIZES "\"num_key_value_heads\":2,"
#define NEOX                                                                                       \
    "\"architectures\":[\"GPTNeoXForCausalLM\"],\"model_type\":\"gpt_neox\"," SIZES                \
    "\"vocab_size\":416,\"hidden_act\":\"gelu\","
#define LLAMA                                                                                      \
    "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","

/* clang-format off */
const TestModel test_models[] = {
    {"gpt2",
     "\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,"
     "\"n_head\":4,\"n_positions\":96,\"n_ctx\":96,\"vocab_size\":403",
     "gpt2.json", NULL, "<|endoftext|>"},
    {"llama", LLAMA SIZES "\"vocab_size\":680,\"tie_word_embeddings\":false", "bpe-bytes.bin", "<s>", "</s>"},
    {"llama-grouped", LLAMA GROUPED "\"vocab_size\":676,\"rms_norm_eps\":1e-5,\"rope_theta\":500.0,"
     "\"tie_word_embeddings\":true,\"attention_bias\":true", "bpe-bytes.bin", "<s>", "</s>"},
    {"llama3", LLAMA GROUPED "\"vocab_size\":400,\"rope_theta\":500.0,\"tie_word_embeddings\":true,"
     "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}",
     "llama3.json", "<|begin_of_text|>", "<|eot_id|>"},
    {"llama-linear", LLAMA SIZES "\"vocab_size\":400,\"head_dim\":24,"
     "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}", "smollm.json", NULL, "<|endoftext|>"},
    {"mistral", "\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\"," GROUPED
     "\"vocab_size\":676,\"sliding_window\":80,\"hidden_act\":\"silu\"", "bpe-bytes.bin", "<s>", "</s>"},
    {"qwen2", "\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\"," GROUPED
     "\"vocab_size\":401,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true",
     "qwen2.json", NULL, "<|im_end|>"},
    {"qwen3", "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\"," GROUPED
     "\"vocab_size\":401,\"head_dim\":32,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false",
     "qwen2.json", NULL, "<|im_end|>"},
    {"gemma3", "\"architectures\":[\"Gemma3ForCausalLM\"],\"model_type\":\"gemma3_text\"," GROUPED
     "\"vocab_size\":680,\"head_dim\":32,\"query_pre_attn_scalar\":32,\"sliding_window\":7,"
     "\"layer_types\":[\"sliding_attention\",\"full_attention\"],\"rope_theta\":500.0,"
     "\"rope_local_base_freq\":50.0,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5},"
     "\"tie_word_embeddings\":false", "bpe-bytes.bin", "<s>", "</s>"},
    {"gpt-neox", NEOX "\"rotary_pct\":0.5,\"use_parallel_residual\":true", "neox.json", NULL, "<|endoftext|>"},
    {"gpt-neox-sequential", NEOX "\"use_parallel_residual\":false,\"tie_word_embeddings\":true",
     "neox.json", NULL, "<|endoftext|>"},
    {0},
};
/* clang-format on */

static void write_text(const char *folder, const char *name, const Str *text) {
    test_file(folder, name, text->data, text->size);
}

Tokenizer *test_tokenizer(const char *name, const char *bos, const char *eos, const char *folder) {
    Error err = {0};
    Str text = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/text/%s", test_fixtures(), name);
    assert_ok(file_read(path, 64 << 20, &text, &err), &err);
    write_text(folder, strstr(name, ".bin") != NULL ? "tokenizer.bin" : "tokenizer.json", &text);
    str_clear(&text);
    str_append_char(&text, '{');
    if (bos != NULL) {
        str_appendf(&text, "\"bos_token\":\"%s\",", bos);
    }
    str_appendf(&text, "\"eos_token\":\"%s\"}", eos);
    write_text(folder, "tokenizer_config.json", &text);
    str_done(&text);
    Tokenizer *tokenizer = tokenizer_load(folder, &err);
    assert_ok(tokenizer != NULL, &err);
    return tokenizer;
}

static void fill(Model *model) {
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        Random random = random_stream(3, RANDOM_TEST, i, 0);
        bool norm = strstr(p->name, "norm") != NULL || strstr(p->name, "ln_") != NULL;
        float middle = norm && strstr(p->name, "bias") == NULL ? 1.0f : 0.0f;
        for (size_t j = 0; j < p->count; j++) {
            model->data[p->offset + j] = middle + 0.2f * (float)random_normal(&random, j);
        }
        if (middle == 0) {
            model->data[p->offset] = -0.0f; /* whose sign is kept */
        }
    }
}

void test_model_open(const TestModel *row, Model *model, Tokenizer **tokenizer,
                     const char **folder) {
    Error err = {0};
    ModelConfig config;
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", test_folder(), row->name);
    assert_ok(file_make_folders(path, &err), &err);
    Str text = {0};
    str_appendf(&text, "{%s}", row->config);
    write_text(path, "config.json", &text);
    str_done(&text);
    *tokenizer = test_tokenizer(row->tokenizer, row->bos, row->eos, path);
    assert_ok(model_config_read(&config, path, &err), &err);
    assert_ok(model_create(model, &config, &err), &err);
    model_config_done(&config);
    fill(model);
    model_touch(model);
    if (folder != NULL) {
        assert_ok(model_save(model, path, &err), &err);
        *folder = path;
    }
}
