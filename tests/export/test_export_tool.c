/* SPDX-License-Identifier: MIT
 *
 * rlhf-export to GGUF and for Ollama: models of every family, each type, read back; each tensor against
 * the one of the model folder, by tables of names and orders of rows that are written down here again.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/export/export.h"
#include "common/export/gguf.h"
#include "common/export/weights.h"
#include "common/model/safetensors.h"
#include "common/text/layout.h"
#include "tests/export/models.h"
#include "tests/support/support.h"

static const char *const types[] = {"f32", "f16", "bf16", "q8_0"};
static const GgmlType ggml[] = {GGML_F32, GGML_F16, GGML_BF16, GGML_Q8_0};

typedef struct Name {
    const char *gguf, *ours; /* both with ".weight" or ".bias" behind; '#' is a block's number */
    char order; /* 't'ransposed, 'q' or 'k': neighbors, 'h'eads apart, '1' added, or as it is */
} Name;

static const Name gpt2_names[] = {
    {"token_embd",        "transformer.wte",             0  },
    {"position_embd",     "transformer.wpe",             0  },
    {"blk.#.attn_norm",   "transformer.h.#.ln_1",        0  },
    {"blk.#.attn_qkv",    "transformer.h.#.attn.c_attn", 't'},
    {"blk.#.attn_output", "transformer.h.#.attn.c_proj", 't'},
    {"blk.#.ffn_norm",    "transformer.h.#.ln_2",        0  },
    {"blk.#.ffn_up",      "transformer.h.#.mlp.c_fc",    't'},
    {"blk.#.ffn_down",    "transformer.h.#.mlp.c_proj",  't'},
    {"output_norm",       "transformer.ln_f",            0  },
    {NULL,                NULL,                          0  },
};

static const Name llama_names[] = {
    {"token_embd",        "model.embed_tokens",                      0  },
    {"blk.#.attn_norm",   "model.layers.#.input_layernorm",          0  },
    {"blk.#.attn_q",      "model.layers.#.self_attn.q_proj",         'q'},
    {"blk.#.attn_k",      "model.layers.#.self_attn.k_proj",         'k'},
    {"blk.#.attn_v",      "model.layers.#.self_attn.v_proj",         0  },
    {"blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm",         0  },
    {"blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm",         0  },
    {"blk.#.attn_output", "model.layers.#.self_attn.o_proj",         0  },
    {"blk.#.ffn_norm",    "model.layers.#.post_attention_layernorm", 0  },
    {"blk.#.ffn_gate",    "model.layers.#.mlp.gate_proj",            0  },
    {"blk.#.ffn_up",      "model.layers.#.mlp.up_proj",              0  },
    {"blk.#.ffn_down",    "model.layers.#.mlp.down_proj",            0  },
    {"output_norm",       "model.norm",                              0  },
    {"output",            "lm_head",                                 0  },
    {NULL,                NULL,                                      0  },
};

static const Name gemma_names[] = {
    {"token_embd",                "model.embed_tokens",                        0  },
    {"blk.#.attn_norm",           "model.layers.#.input_layernorm",            '1'},
    {"blk.#.attn_q",              "model.layers.#.self_attn.q_proj",           0  },
    {"blk.#.attn_k",              "model.layers.#.self_attn.k_proj",           0  },
    {"blk.#.attn_v",              "model.layers.#.self_attn.v_proj",           0  },
    {"blk.#.attn_q_norm",         "model.layers.#.self_attn.q_norm",           '1'},
    {"blk.#.attn_k_norm",         "model.layers.#.self_attn.k_norm",           '1'},
    {"blk.#.attn_output",         "model.layers.#.self_attn.o_proj",           0  },
    {"blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm",   '1'},
    {"blk.#.ffn_norm",            "model.layers.#.pre_feedforward_layernorm",  '1'},
    {"blk.#.ffn_gate",            "model.layers.#.mlp.gate_proj",              0  },
    {"blk.#.ffn_up",              "model.layers.#.mlp.up_proj",                0  },
    {"blk.#.ffn_down",            "model.layers.#.mlp.down_proj",              0  },
    {"blk.#.post_ffw_norm",       "model.layers.#.post_feedforward_layernorm", '1'},
    {"output_norm",               "model.norm",                                '1'},
    {"output",                    "lm_head",                                   0  },
    {NULL,                        NULL,                                        0  },
};

static const Name neox_names[] = {
    {"token_embd",        "gpt_neox.embed_in",                           0  },
    {"blk.#.attn_norm",   "gpt_neox.layers.#.input_layernorm",           0  },
    {"blk.#.attn_qkv",    "gpt_neox.layers.#.attention.query_key_value", 'h'},
    {"blk.#.attn_output", "gpt_neox.layers.#.attention.dense",           0  },
    {"blk.#.ffn_norm",    "gpt_neox.layers.#.post_attention_layernorm",  0  },
    {"blk.#.ffn_up",      "gpt_neox.layers.#.mlp.dense_h_to_4h",         0  },
    {"blk.#.ffn_down",    "gpt_neox.layers.#.mlp.dense_4h_to_h",         0  },
    {"output_norm",       "gpt_neox.final_layer_norm",                   0  },
    {"output",            "embed_out",                                   0  },
    {NULL,                NULL,                                          0  },
};

/* Exit code of rlhf-export; what it says on stderr holds `part`. */
static void export_model(const char *folder, const char *to, const char *type, const char *output,
                         int status, const char *part) {
    TestRun run;
    const char *const argv[] = {"rlhf-export", folder,     "--to", to,  "--type",
                                type,          "--output", output, NULL};
    test_run(&run, argv);
    if (run.status != status || strstr(str_text(&run.err), part) == NULL) {
        fail_msg("%s to %s %s: exit %d, %s", folder, to, type, run.status, str_text(&run.err));
    }
    assert_int_equal(run.out.size, 0);
    test_run_done(&run);
}

/* The name on the other side; the order of its rows. */
static const char *translate(const Name *names, const char *name, char *order) {
    static char out[200];
    const char *end = strrchr(name, '.');
    char stem[200] = "", number[20] = "";
    snprintf(stem, sizeof stem, "%.*s", (int)(end - name), name);
    if (strncmp(stem, "blk.", 4) == 0) {
        size_t digits = strspn(stem + 4, "0123456789");
        snprintf(number, sizeof number, "%.*s", (int)digits, stem + 4);
        memmove(stem + 5, stem + 4 + digits, strlen(stem + 4 + digits) + 1);
        stem[4] = '#';
    }
    for (; names->gguf != NULL && strcmp(names->gguf, stem) != 0; names++) {
    }
    if (names->gguf == NULL) {
        return NULL;
    }
    *order = names->order;
    const char *mark = strchr(names->ours, '#');
    size_t before = mark != NULL ? (size_t)(mark - names->ours) : strlen(names->ours);
    snprintf(out, sizeof out, "%.*s%s%s%s", (int)before, names->ours, number,
             mark != NULL ? mark + 1 : "", end);
    return out;
}

/* Where entry (row, column) of the written matrix stands in the source. */
static size_t source_of(char order, const ModelConfig *c, size_t rows, size_t columns, size_t row,
                        size_t column) {
    size_t size = c->head_size != 0 ? c->head_size : c->width / c->heads, half = size / 2;
    if (order == 't') {
        return column * rows + row;
    }
    if (order == 'q' || order == 'k') { /* [head][2][half] to [head][half][2] */
        row = row / size * size + row % 2 * half + row % size / 2;
    } else if (order == 'h') { /* [head][3][size] to [3][head][size] */
        size_t part = row / (c->heads * size), head = row / size % c->heads;
        row = (head * 3 + part) * size + row % size;
    }
    return row * columns + column;
}

static void check_tensor(const GgufTensor *got, const SafeTensors *source, const char *name,
                         char order, const ModelConfig *config, GgmlType type) {
    Error err = {0};
    const Tensor *tensor = safetensors_find(source, name);
    assert_non_null(tensor);
    bool single = got->rank == 1 || strstr(name, ".wpe.") != NULL;
    size_t rows = got->shape[0], columns = got->rank == 1 ? 1 : got->shape[1], n = rows * columns;
    assert_int_equal(got->type, single ? GGML_F32 : type);
    assert_int_equal(got->rank, tensor->rank);
    assert_int_equal(got->count, tensor->count);
    assert_int_equal(tensor->shape[order == 't' && got->rank == 2 ? 1 : 0], rows);
    float *want = malloc(n * sizeof *want), *have = malloc(n * sizeof *have);
    assert_true(want != NULL && have != NULL);
    assert_ok(safetensors_read_floats(source, tensor, want, n, false, &err), &err);
    weights_decode((GgmlType)got->type, got->data, n, have);
    for (size_t i = 0; i < n; i++) {
        char kind = order == 't' && got->rank == 1 ? 0 : order;
        size_t row = i / columns, block = i / 32 * 32;
        double x = want[source_of(kind, config, rows, columns, row, i % columns)], largest = 0;
        x = order == '1' ? (double)(float)(1 + x) : x;
        for (size_t j = block; got->type == GGML_Q8_0 && j < block + 32; j++) {
            size_t at = source_of(kind, config, rows, columns, row, j % columns);
            largest = fmax(largest, fabs((double)want[at]));
        }
        double bound = got->type == GGML_F32    ? 0
                       : got->type == GGML_F16  ? fabs(x) * 0x1p-11 + 0x1p-25
                       : got->type == GGML_BF16 ? fabs(x) * 0x1p-8
                                                : largest * (1.0 / 254 + 0x1p-11);
        bool sign = got->type != GGML_F32 || !signbit(have[i]) == !signbit(x);
        if (!(fabs((double)have[i] - x) <= bound) || !sign) {
            fail_msg("%s, %zu: %g, %g was expected", name, i, (double)have[i], x);
        }
    }
    free(want);
    free(have);
}

static double number(const Gguf *file, const char *architecture, const char *key) {
    char name[100];
    double value = NAN;
    snprintf(name, sizeof name, "%s%s", architecture, key);
    if (!gguf_number(gguf_find(file, name), 0, &value)) {
        fail_msg("'%s' is no number", name);
    }
    return value;
}

static void check_text(const Gguf *file, const char *key, const char *want) {
    GgufText text;
    assert_true(gguf_text(gguf_find(file, key), &text));
    assert_int_equal(text.n, strlen(want));
    assert_memory_equal(text.text, want, text.n);
}

static const char *architecture_of(const char *family) {
    return strcmp(family, "gpt_neox") == 0  ? "gptneox"
           : strcmp(family, "mistral") == 0 ? "llama"
                                            : family;
}

static void check_metadata(const Gguf *file, const TestModel *row, const Model *model,
                           const Tokenizer *tokenizer, size_t type) {
    static const int file_types[] = {0, 1, 32, 7};
    const ModelConfig *c = &model->config;
    const char *family = strstr(row->config, "gpt_neox") != NULL    ? "gpt_neox"
                         : strstr(row->config, "mistral") != NULL   ? "mistral"
                         : strstr(row->config, "\"llama\"") != NULL ? "llama"
                                                                    : row->name;
    const char *a = architecture_of(family);
    bool mistral = strcmp(family, "mistral") == 0, gpt2 = strcmp(family, "gpt2") == 0;
    GgufText text;
    size_t at = 0;
    check_text(file, "general.architecture", a);
    check_text(file, "general.name", row->name);
    assert_true(number(file, "general.file_type", "") == file_types[type]);
    assert_true(number(file, a, ".context_length") == (mistral ? 80 : 96));
    assert_true(number(file, a, ".embedding_length") == 64);
    assert_true(number(file, a, ".block_count") == 2);
    assert_true(number(file, a, ".feed_forward_length") == (gpt2 ? 256 : 96));
    assert_true(number(file, a, ".attention.head_count") == 4);
    assert_true(number(file, a, ".attention.head_count_kv") ==
                (strstr(row->config, "key_value_heads\":2") != NULL ? 2 : 4));
    assert_true(number(file, a, ".vocab_size") == (double)c->vocabulary);
    if (!gpt2) {
        assert_true(number(file, a, ".rope.freq_base") ==
                    (strstr(row->config, "rope_theta\":500.0") != NULL ? 500 : 10000));
    }
    const GgufPair *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    assert_true(tokens != NULL && tokens->count == c->vocabulary);
    int32_t eos = (int32_t)number(file, "tokenizer.ggml.eos_token_id", "");
    assert_string_equal(tokenizer_text(tokenizer, eos), row->eos);
    for (int32_t i = 0; i <= eos; i++) {
        assert_true(gguf_next_text(tokens, &at, &text));
    }
    assert_true(text.n == strlen(row->eos) && memcmp(text.text, row->eos, text.n) == 0);
    check_text(file, "tokenizer.ggml.model",
               strcmp(row->tokenizer, "bpe-bytes.bin") == 0 ? "llama" : "gpt2");
}

static void check_file(const char *path, const TestModel *row, const Model *model,
                       const Tokenizer *tokenizer, const SafeTensors *source, size_t type) {
    Error err = {0};
    Gguf file;
    GgufText architecture;
    size_t made = 0;
    assert_ok(gguf_open(&file, path, &err), &err);
    check_metadata(&file, row, model, tokenizer, type);
    gguf_text(gguf_find(&file, "general.architecture"), &architecture);
    char first = architecture.text[0];
    bool neox = architecture.n == 7, gemma = architecture.n == 6, neighbors = first == 'l';
    const Name *names = neox           ? neox_names
                        : gemma        ? gemma_names
                        : first == 'g' ? gpt2_names
                                       : llama_names;
    for (size_t i = 0; i < file.tensors; i++) {
        const GgufTensor *tensor = &file.tensor[i];
        char name[100], order = 0;
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.n, tensor->name.text);
        if (strcmp(name, "rope_freqs.weight") == 0) {
            made++; /* test_llama.c runs with it */
            continue;
        }
        const char *ours = translate(names, name, &order);
        assert_non_null(ours);
        if (model->config.tied && strcmp(name, "output.weight") == 0) {
            assert_true(neox);
            ours = "gpt_neox.embed_in.weight";
            made++;
        }
        order = (order == 'q' || order == 'k') && !neighbors ? 0 : order;
        check_tensor(tensor, source, ours, order, &model->config, ggml[type]);
    }
    assert_int_equal(file.tensors, source->tensors + made);
    gguf_close(&file);
}

static void test_families(void **state) {
    (void)state;
    for (const TestModel *row = test_models; row->name != NULL; row++) {
        Error err = {0};
        Model model;
        Tokenizer *tokenizer;
        const char *folder, *path = test_path(test_folder(), "model.gguf");
        SafeTensors source;
        test_model_open(row, &model, &tokenizer, &folder);
        assert_ok(safetensors_open(&source, test_path(folder, "model.safetensors"), &err), &err);
        for (size_t type = 0; type < 4; type++) { /* the later ones replace the file */
            export_model(folder, "gguf", types[type], path, 0, types[type]);
            check_file(path, row, &model, tokenizer, &source, type);
        }
        safetensors_close(&source);
        tokenizer_free(tokenizer);
        model_done(&model);
    }
}

#define NEO                                                                                        \
    "\"hidden_size\":64,\"num_layers\":2,\"num_heads\":4,\"max_position_embeddings\":96,"          \
    "\"attention_types\":[[[\"global\",\"local\"],1]],\"vocab_size\":403"
#define BERT                                                                                       \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"vocab_size\":403,"      \
    "\"num_attention_heads\":4,\"max_position_embeddings\":96"
#define QWEN3 "\"model_type\":\"qwen3\"," BERT ",\"num_key_value_heads\":2,\"hidden_act\":\"silu\""

/* clang-format off */
static const struct {
    TestModel model;
    const char *reason;
} refused[] = {
    {{"gpt-neo", "\"architectures\":[\"GPTNeoForCausalLM\"],\"model_type\":\"gpt_neo\"," NEO,
      "gpt2.json", NULL, "<|endoftext|>"},
     "a gpt_neo model cannot be written as GGUF: attention that is not scaled"},
    {{"gpt1", "\"architectures\":[\"OpenAIGPTLMHeadModel\"],\"model_type\":\"openai-gpt\",\"n_embd\":64,"
      "\"n_layer\":2,\"n_head\":4,\"n_positions\":96,\"vocab_size\":403", "gpt2.json", NULL, "<|endoftext|>"},
     "a openai-gpt model cannot be written as GGUF: norms behind"},
    {{"bert", "\"architectures\":[\"BertForMaskedLM\"],\"model_type\":\"bert\"," BERT,
      "gpt2.json", NULL, "<|endoftext|>"},
     "a bert model cannot be written as GGUF: an encoder"},
    {{"distilbert", "\"architectures\":[\"DistilBertForMaskedLM\"],\"model_type\":\"distilbert\",\"dim\":64,"
      "\"hidden_dim\":96,\"n_heads\":4,\"n_layers\":2,\"max_position_embeddings\":96,\"vocab_size\":403",
      "gpt2.json", NULL, "<|endoftext|>"},
     "a distilbert model cannot be written as GGUF: an encoder"},
    {{"roberta", "\"architectures\":[\"RobertaForMaskedLM\"],\"model_type\":\"roberta\",\"pad_token_id\":1," BERT,
      "gpt2.json", NULL, "<|endoftext|>"},
     "a roberta model cannot be written as GGUF: an encoder"},
    {{"qwen3-score", "\"architectures\":[\"Qwen3ForSequenceClassification\"],\"pad_token_id\":0,\"num_labels\":1," QWEN3,
      "qwen2.json", NULL, "<|im_end|>"},
     "the model gives scores (Qwen3ForSequenceClassification); llama.cpp runs language models"},
    {{"neox-gelu", "\"architectures\":[\"GPTNeoXForCausalLM\"],\"model_type\":\"gpt_neox\",\"hidden_act\":\"gelu_new\"," BERT,
      "gpt2.json", NULL, "<|endoftext|>"},
     "another activation"},
    {{"qwen3-scaled", "\"architectures\":[\"Qwen3ForCausalLM\"],\"rope_scaling\":{\"rope_type\":\"llama3\","
      "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}," QWEN3,
      "qwen2.json", NULL, "<|im_end|>"},
     "does not read rotary positions scaled as Llama 3's"},
};
/* clang-format on */

static void assert_content(const char *path, const char *want) {
    Error err = {0};
    Str text = {0};
    assert_ok(file_read(path, 1 << 20, &text, &err), &err);
    assert_string_equal(str_text(&text), want);
    str_done(&text);
}

static void assert_files(const char *folder, size_t want) {
    Error err = {0};
    char **name = NULL;
    size_t names = 0;
    assert_ok(file_list(folder, &name, &names, &err), &err);
    assert_int_equal(names, want);
    for (size_t i = 0; i < names; i++) {
        free(name[i]);
    }
    free(name);
}

/* Nothing is written, and what is there stays. */
static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        Model model;
        Tokenizer *tokenizer;
        const char *folder, *out = test_folder();
        test_model_open(&refused[i].model, &model, &tokenizer, &folder);
        export_model(folder, "gguf", "f16", test_path(out, "new.gguf"), 65, refused[i].reason);
        assert_files(out, 0);
        const char *old = test_file(out, "old.gguf", "what was there", 14);
        export_model(folder, "gguf", "f16", old, 65, refused[i].reason);
        assert_content(old, "what was there");
        assert_files(out, 1);
        export_model(folder, "ollama", "f16", test_path(out, "ollama"), 65, refused[i].reason);
        assert_false(file_exists(test_path(out, "ollama")));
        assert_files(out, 1);
        tokenizer_free(tokenizer);
        model_done(&model);
    }
}

static void test_values_refused(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    const char *folder, *out = test_folder(), *old = test_file(out, "old.gguf", "keep", 4);
    test_model_open(&test_models[0], &model, &tokenizer, &folder);
    const Parameter *p = model_find(&model, "transformer.h.1.mlp.c_fc.weight");
    assert_non_null(p);
    parameter_data(&model, p)[1000] = 70000.0f;
    assert_ok(model_save(&model, folder, &err), &err);
    export_model(folder, "gguf", "f16", old, 65, "'blk.1.ffn_up.weight' holds 70000, beyond F16's");
    assert_content(old, "keep");
    assert_files(out, 1); /* the half-written file is gone */
    export_model(folder, "gguf", "bf16", old, 0, "");
    export_model(folder, "gguf", "f16", test_path(out, "absent/model.gguf"), 73, "cannot create");
    const char *const usage[] = {"rlhf-export", folder, NULL};
    TestRun run;
    test_run(&run, usage);
    assert_int_equal(run.status, 64);
    test_run_done(&run);
    tokenizer_free(tokenizer);
    model_done(&model);
    TestModel narrow = {"narrow",
                        "\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\","
                        "\"n_embd\":40,\"n_layer\":1,\"n_head\":4,\"n_positions\":96,"
                        "\"vocab_size\":403",
                        "gpt2.json", NULL, "<|endoftext|>"};
    test_model_open(&narrow, &model, &tokenizer, &folder);
    export_model(folder, "gguf", "q8_0", test_path(out, "narrow.gguf"), 78,
                 "rows of 'token_embd.weight' have 40 weights, but Q8_0 holds blocks of 32");
    assert_files(out, 1);
    tokenizer_free(tokenizer);
    model_done(&model);
}

static void test_ollama(void **state) {
    (void)state;
    const TestModel *row = test_models;
    for (; strcmp(row->name, "qwen2") != 0; row++) {
    }
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    SafeTensors source;
    Layout layout = {0};
    const char *folder, *out = test_path(test_folder(), "plain");
    test_model_open(row, &model, &tokenizer, &folder);
    assert_ok(safetensors_open(&source, test_path(folder, "model.safetensors"), &err), &err);
    export_model(folder, "ollama", "q8_0", out, 0, "ollama create NAME -f");
    check_file(test_path(out, "model-q8_0.gguf"), row, &model, tokenizer, &source, 3);
    assert_content(test_path(out, "Modelfile"), "FROM ./model-q8_0.gguf\n"
                                                "PARAMETER stop \"<|im_end|>\"\n"
                                                "PARAMETER num_ctx 96\n");
    assert_ok(layout_init(&layout, "chatml", &err) && layout_save(&layout, folder, &err), &err);
    out = test_path(test_folder(), "chat");
    export_model(folder, "ollama", "f16", out, 0, "ollama create NAME -f");
    check_file(test_path(out, "model-f16.gguf"), row, &model, tokenizer, &source, 1);
    assert_content(test_path(out, "Modelfile"),
                   "FROM ./model-f16.gguf\n"
                   "TEMPLATE \"\"\"{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n"
                   "{{ end }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"
                   "{{ .Response }}\"\"\"\n"
                   "PARAMETER stop \"<|im_start|>user\\n\"\n"
                   "PARAMETER stop \"<|im_end|>\"\n"
                   "PARAMETER num_ctx 96\n");
    layout_done(&layout);
    safetensors_close(&source);
    tokenizer_free(tokenizer);
    model_done(&model);
}

/* Of several ids that end a completion the file holds three, and a note tells of the others. */
static void test_ends(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    Gguf file;
    Str notes = {0}, modelfile = {0}, stop = {0};
    test_model_open(&test_models[0], &model, &tokenizer, NULL);
    const int32_t end[] = {50, tokenizer_eos(tokenizer), 51, 52};
    memcpy(model.config.end, end, sizeof end);
    model.config.ends = 4;
    ExportSource source = {&model, tokenizer, NULL, "ends"};
    const char *path = test_path(test_folder(), "ends.gguf");
    assert_ok(export_gguf(&source, GGML_F32, path, &notes, &err), &err);
    assert_ok(gguf_open(&file, path, &err), &err);
    assert_true(number(&file, "tokenizer.ggml", ".eos_token_id") == end[1]);
    assert_true(number(&file, "tokenizer.ggml", ".eot_token_id") == 50);
    assert_true(number(&file, "tokenizer.ggml", ".eom_token_id") == 51);
    gguf_close(&file);
    assert_non_null(strstr(str_text(&notes), "token 52 ends a completion too"));
    assert_ok(export_modelfile(&source, path, &modelfile, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        str_clear(&stop);
        str_appendf(&stop, "PARAMETER stop \"%s\"\n", tokenizer_text(tokenizer, end[i]));
        assert_non_null(strstr(str_text(&modelfile), str_text(&stop)));
    }
    /* One that ends says nothing of others. */
    model.config.ends = 0;
    model.config.eos = tokenizer_eos(tokenizer);
    str_clear(&notes);
    assert_ok(export_gguf(&source, GGML_F32, path, &notes, &err), &err);
    assert_ok(gguf_open(&file, path, &err), &err);
    assert_null(gguf_find(&file, "tokenizer.ggml.eot_token_id"));
    assert_null(strstr(str_text(&notes), "ends a completion"));
    gguf_close(&file);
    str_done(&notes);
    str_done(&modelfile);
    str_done(&stop);
    tokenizer_free(tokenizer);
    model_done(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_families),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_values_refused),
        cmocka_unit_test(test_ollama),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
