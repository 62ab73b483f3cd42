/* SPDX-License-Identifier: MIT */
#include "common/export/architecture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

#define EMBEDDING                                                                                  \
    { PART_TOKEN_EMBEDDING, "token_embd.weight" }
#define FINAL_NORM                                                                                 \
    { PART_FINAL_NORM_WEIGHT, "output_norm.weight" }
#define HEAD                                                                                       \
    { PART_LM_HEAD, "output.weight" }

/* LayerNorm with biases, one matrix of Q | K | V, two matrices of a feed-forward layer. */
static const TensorName fused[] = {
    EMBEDDING,
    {PART_POSITION_EMBEDDING,   "position_embd.weight"      },
    {PART_NORM1_WEIGHT,         "blk.%zu.attn_norm.weight"  },
    {PART_NORM1_BIAS,           "blk.%zu.attn_norm.bias"    },
    {PART_QKV_WEIGHT,           "blk.%zu.attn_qkv.weight"   },
    {PART_QKV_BIAS,             "blk.%zu.attn_qkv.bias"     },
    {PART_ATTENTION_OUT_WEIGHT, "blk.%zu.attn_output.weight"},
    {PART_ATTENTION_OUT_BIAS,   "blk.%zu.attn_output.bias"  },
    {PART_NORM2_WEIGHT,         "blk.%zu.ffn_norm.weight"   },
    {PART_NORM2_BIAS,           "blk.%zu.ffn_norm.bias"     },
    {PART_UP_WEIGHT,            "blk.%zu.ffn_up.weight"     },
    {PART_UP_BIAS,              "blk.%zu.ffn_up.bias"       },
    {PART_DOWN_WEIGHT,          "blk.%zu.ffn_down.weight"   },
    {PART_DOWN_BIAS,            "blk.%zu.ffn_down.bias"     },
    FINAL_NORM,
    {PART_FINAL_NORM_BIAS,      "output_norm.bias"          },
    HEAD,
};

/* RMSNorm, Q, K and V apart, a gated feed-forward layer. */
static const TensorName gated[] = {
    EMBEDDING,
    {PART_NORM1_WEIGHT,         "blk.%zu.attn_norm.weight"          },
    {PART_QKV_WEIGHT,           "blk.%zu.attn_q.weight"             },
    {PART_K_WEIGHT,             "blk.%zu.attn_k.weight"             },
    {PART_V_WEIGHT,             "blk.%zu.attn_v.weight"             },
    {PART_QKV_BIAS,             "blk.%zu.attn_q.bias"               },
    {PART_K_BIAS,               "blk.%zu.attn_k.bias"               },
    {PART_V_BIAS,               "blk.%zu.attn_v.bias"               },
    {PART_Q_NORM,               "blk.%zu.attn_q_norm.weight"        },
    {PART_K_NORM,               "blk.%zu.attn_k_norm.weight"        },
    {PART_ATTENTION_OUT_WEIGHT, "blk.%zu.attn_output.weight"        },
    {PART_ATTENTION_OUT_BIAS,   "blk.%zu.attn_output.bias"          },
    {PART_NORM1_OUT_WEIGHT,     "blk.%zu.post_attention_norm.weight"},
    {PART_NORM2_WEIGHT,         "blk.%zu.ffn_norm.weight"           },
    {PART_UP_WEIGHT,            "blk.%zu.ffn_gate.weight"           },
    {PART_GATED_WEIGHT,         "blk.%zu.ffn_up.weight"             },
    {PART_UP_BIAS,              "blk.%zu.ffn_gate.bias"             },
    {PART_GATED_BIAS,           "blk.%zu.ffn_up.bias"               },
    {PART_DOWN_WEIGHT,          "blk.%zu.ffn_down.weight"           },
    {PART_DOWN_BIAS,            "blk.%zu.ffn_down.bias"             },
    {PART_NORM2_OUT_WEIGHT,     "blk.%zu.post_ffw_norm.weight"      },
    FINAL_NORM,
    HEAD,
};

#define FUSED fused, sizeof fused / sizeof *fused
#define GATED gated, sizeof gated / sizeof *gated

static const char encoder[] =
    "an encoder; llama.cpp turns texts into embeddings with it, which is not what it learned here";

/* clang-format off */
static const Architecture architectures[] = {
    {"gpt2", "gpt2", NULL, ACTIVATION_GELU_NEW, FUSED, .neighbors = false},
    {"gpt_neox", "gptneox", NULL, ACTIVATION_GELU, FUSED, .own_head = true},
    {"llama", "llama", NULL, ACTIVATION_SILU, GATED, .neighbors = true, .rope_table = true},
    {"mistral", "llama", NULL, ACTIVATION_SILU, GATED, .neighbors = true, .rope_table = true},
    {"qwen2", "qwen2", NULL, ACTIVATION_SILU, GATED, .neighbors = false},
    {"qwen3", "qwen3", NULL, ACTIVATION_SILU, GATED, .neighbors = false},
    {"gemma3_text", "gemma3", NULL, ACTIVATION_GELU_NEW, GATED, .windows = true},
    {"gpt_neo", .reason = "attention that is not scaled and local in every other layer"},
    {"opt", .reason = "positions that are learned and begin at 2"},
    {"openai-gpt", .reason = "norms behind the halves of a block"},
    {"bert", .reason = encoder},
    {"distilbert", .reason = encoder},
    {"roberta", .reason = encoder},
};
/* clang-format on */

static bool check(const Architecture *architecture, const ModelConfig *config, Error *err) {
    const char *family = config->family->name;
    if (architecture->name == NULL) {
        return error_set(err, ERROR_DATA, "a %s model cannot be written as GGUF: %s", family,
                         architecture->reason);
    }
    if (config->head != HEAD_LM) {
        return error_set(err, ERROR_DATA,
                         "the model gives scores (%s); llama.cpp runs language models",
                         config->family->score_architecture);
    }
    if (config->activation != architecture->activation) {
        return error_set(err, ERROR_DATA,
                         "llama.cpp's %s has another activation than this model's; it cannot be "
                         "written as GGUF",
                         architecture->name);
    }
    if (config->rope.scaling == ROPE_LLAMA3 && !architecture->rope_table) {
        return error_set(err, ERROR_DATA,
                         "llama.cpp's %s does not read rotary positions scaled as Llama 3's",
                         architecture->name);
    }
    if (architecture->windows && (config->qkv_bias || config->out_bias)) {
        return error_set(err, ERROR_DATA, "llama.cpp's %s has no biases of attention",
                         architecture->name);
    }
    if (config->score_scalar > 0 && config->score_scalar != (float)config_head_size(config)) {
        return error_set(err, ERROR_DATA,
                         "llama.cpp's %s divides attention's scores by the root of a head's size, "
                         "%zu; this model by that of %g",
                         architecture->name, config_head_size(config),
                         (double)config->score_scalar);
    }
    if (architecture->neighbors && config->rope.dimensions != config_head_size(config)) {
        return error_set(err, ERROR_DATA,
                         "llama.cpp's %s turns all %zu dimensions of a head, this model %zu",
                         architecture->name, config_head_size(config), config->rope.dimensions);
    }
    return true;
}

const Architecture *architecture_find(const ModelConfig *config, Error *err) {
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strcmp(architectures[i].family, config->family->name) == 0) {
            return check(&architectures[i], config, err) ? &architectures[i] : NULL;
        }
    }
    error_set(err, ERROR_DATA, "no architecture of llama.cpp is known for %s models",
              config->family->name);
    return NULL;
}

/* The longest context whose rows see all before them: what llama.cpp computes. */
static size_t full_context(const Architecture *architecture, const ModelConfig *config) {
    size_t context = config->context;
    for (size_t layer = 0; layer < config->layers && !architecture->windows; layer++) {
        size_t window = config_window(config, layer);
        context = window != 0 && window < context ? window : context;
    }
    return context;
}

void architecture_put(const Architecture *architecture, const ModelConfig *config,
                      GgufWriter *writer, Str *notes) {
    const Rope *rope = &config->rope;
    size_t context = full_context(architecture, config), head = config_head_size(config);
    char key[96];
#define KEY(what) (snprintf(key, sizeof key, "%s." what, architecture->name), key)
    gguf_put_u32(writer, KEY("vocab_size"), (uint32_t)config->vocabulary);
    gguf_put_u32(writer, KEY("context_length"), (uint32_t)context);
    gguf_put_u32(writer, KEY("embedding_length"), (uint32_t)config->width);
    gguf_put_u32(writer, KEY("block_count"), (uint32_t)config->layers);
    gguf_put_u32(writer, KEY("feed_forward_length"), (uint32_t)config->inner);
    gguf_put_u32(writer, KEY("attention.head_count"), (uint32_t)config->heads);
    gguf_put_u32(writer, KEY("attention.head_count_kv"), (uint32_t)config_kv_heads(config));
    if (head * config->heads != config->width) {
        gguf_put_u32(writer, KEY("attention.key_length"), (uint32_t)head);
        gguf_put_u32(writer, KEY("attention.value_length"), (uint32_t)head);
    }
    gguf_put_f32(writer,
                 config->family->block.norm == NORM_LAYER ? KEY("attention.layer_norm_epsilon")
                                                          : KEY("attention.layer_norm_rms_epsilon"),
                 config->norm_epsilon);
    if (architecture->own_head) {
        gguf_put_bool(writer, KEY("use_parallel_residual"), config->parallel);
    }
    if (rope->dimensions != 0) {
        gguf_put_u32(writer, KEY("rope.dimension_count"), (uint32_t)rope->dimensions);
        gguf_put_f32(writer, KEY("rope.freq_base"), (float)rope->theta);
    }
    if (rope->dimensions != 0 && rope->scaling == ROPE_LINEAR) {
        gguf_put_string(writer, KEY("rope.scaling.type"), "linear", 6);
        gguf_put_f32(writer, KEY("rope.scaling.factor"), (float)rope->factor);
    }
    if (architecture->windows) {
        gguf_put_u32(writer, KEY("attention.sliding_window"), (uint32_t)config->window);
        gguf_put_array(writer, KEY("attention.sliding_window_pattern"), GGUF_I32, config->layers);
        for (size_t layer = 0; layer < config->layers; layer++) {
            gguf_item_i32(writer, config_window(config, layer) != 0);
        }
        gguf_put_f32(writer, KEY("rope.freq_base_swa"), (float)config->local_rope.theta);
    }
#undef KEY
    if (context < config->context) {
        str_appendf(notes,
                    "llama.cpp's %s knows no sliding window: the context is cut to its %zu tokens, "
                    "up to which both compute the same\n",
                    architecture->name, context);
    }
}

static const char *tensor_name(const Architecture *architecture, Part part) {
    for (size_t i = 0; i < architecture->tensors; i++) {
        if (architecture->tensor[i].part == part) {
            return architecture->tensor[i].name;
        }
    }
    return NULL;
}

static bool is_linear(Part part) {
    return part != PART_TOKEN_EMBEDDING && part != PART_POSITION_EMBEDDING && part != PART_LM_HEAD;
}

static bool is_rotated(Part part) {
    return part == PART_QKV_WEIGHT || part == PART_QKV_BIAS || part == PART_K_WEIGHT ||
           part == PART_K_BIAS;
}

static bool is_gain(Part part) {
    return part == PART_NORM1_WEIGHT || part == PART_NORM1_OUT_WEIGHT ||
           part == PART_NORM2_WEIGHT || part == PART_NORM2_OUT_WEIGHT || part == PART_Q_NORM ||
           part == PART_K_NORM || part == PART_FINAL_NORM_WEIGHT;
}

static void describe(const Architecture *architecture, const Model *model, size_t i, Part part,
                     ExportTensor *out) {
    const Parameter *source = &model->parameter[i];
    *out = (ExportTensor){.source = source, .vector = source->rank == 1};
    out->transposed =
        source->rank == 2 && is_linear(part) && model->config.family->block.linear == LINEAR_IN_OUT;
    out->rows = source->shape[out->transposed ? 1 : 0];
    out->columns = source->rank == 1 ? 1 : source->shape[out->transposed ? 0 : 1];
    out->single = out->vector || part == PART_POSITION_EMBEDDING;
    if (is_gain(part) && model->config.family->block.norm == NORM_RMS_OFFSET) {
        out->base = 1;
    }
    if (architecture->neighbors && is_rotated(part)) {
        out->head_size = config_head_size(&model->config);
    }
}

static bool add(const Architecture *architecture, const Model *model, size_t i, ExportTensor *out,
                Error *err) {
    int layer = 0;
    const TensorRow *row = family_row(&model->config, i, &layer);
    const char *name = tensor_name(architecture, row->part);
    if (name == NULL) {
        return error_set(err, ERROR_DATA, "llama.cpp's %s has no place for '%s'",
                         architecture->name, model->parameter[i].name);
    }
    describe(architecture, model, i, row->part, out);
    snprintf(out->name, sizeof out->name, name, (size_t)(layer < 0 ? 0 : layer));
    return true;
}

bool architecture_tensors(const Architecture *architecture, const Model *model,
                          ExportTensor **tensor, size_t *tensors, Error *err) {
    const ModelConfig *config = &model->config;
    ExportTensor *out = mem_alloc(model->parameters + 2, sizeof *out, err);
    size_t n = 0;
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < model->parameters; i++) {
        ok = add(architecture, model, i, &out[n++], err);
    }
    if (!ok) {
        free(out);
        return false;
    }
    if (architecture->own_head && config->tied) {
        describe(architecture, model, family_index(config, PART_TOKEN_EMBEDDING, 0),
                 PART_TOKEN_EMBEDDING, &out[n]);
        snprintf(out[n++].name, sizeof out->name, "output.weight");
    }
    if (config->rope.dimensions != 0 && config->rope.scaling == ROPE_LLAMA3) {
        out[n] = (ExportTensor){.rows = config->rope.dimensions / 2, .columns = 1, .vector = true};
        out[n].single = true;
        snprintf(out[n++].name, sizeof out->name, "rope_freqs.weight");
    }
    *tensor = out;
    *tensors = n;
    return true;
}

/* What Llama 3 divides the frequency of pair i by: 1 for short wave lengths, `factor` for long ones,
 * a blend between. */
static float rope_factor(const Rope *rope, size_t i) {
    double length = 2.0 * M_PI * pow(rope->theta, 2.0 * (double)i / (double)rope->dimensions);
    double turns = (double)rope->original / length;
    if (turns > rope->high) {
        return 1.0f;
    }
    if (turns < rope->low) {
        return (float)rope->factor;
    }
    double blend = (turns - rope->low) / (rope->high - rope->low);
    return (float)(1.0 / ((1.0 - blend) / rope->factor + blend));
}

/* The row of the source that is written as row `row`. */
static size_t source_row(const ExportTensor *tensor, size_t row) {
    size_t size = tensor->head_size;
    if (size == 0) {
        return row;
    }
    size_t d = row % size;
    return row - d + d / 2 + (d % 2) * (size / 2);
}

void export_rows(const ExportTensor *tensor, const Rope *rope, const float *values, size_t begin,
                 size_t n, float *out) {
    if (tensor->source == NULL) {
        for (size_t i = 0; i < n; i++) {
            out[i] = rope_factor(rope, begin + i);
        }
        return;
    }
    size_t columns = tensor->columns;
    if (tensor->transposed) {
        for (size_t c = 0; c < columns; c++) {
            for (size_t r = 0; r < n; r++) {
                out[r * columns + c] = values[c * tensor->rows + begin + r];
            }
        }
        return;
    }
    for (size_t r = 0; r < n; r++) {
        memcpy(out + r * columns, values + source_row(tensor, begin + r) * columns,
               columns * sizeof *out);
    }
    for (size_t i = 0; tensor->base != 0 && i < n * columns; i++) {
        out[i] += tensor->base;
    }
}
