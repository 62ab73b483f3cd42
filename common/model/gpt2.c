/* SPDX-License-Identifier: MIT
 *
 * GPT-2 (Radford et al. 2019) as Hugging Face names and stores it: LayerNorm before each half of a
 * block, learned positions, fused Q|K|V, linear weights [in, out], GELU in its tanh form.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",          CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL          },
    {"n_positions",         CONFIG_SIZE,       offsetof(ModelConfig, context),           NULL          },
    {"n_embd",              CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL          },
    {"n_layer",             CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL          },
    {"n_head",              CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL          },
    {"n_inner",             CONFIG_SIZE,       offsetof(ModelConfig, inner),             "0"           },
    {"layer_norm_epsilon",  CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-5"        },
    {"activation_function", CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"gelu_new\""},
    {"tie_word_embeddings", CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"        },
    {"embd_pdrop",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_embedding), "0.1"         },
    {"resid_pdrop",         CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0.1"         },
    {"attn_pdrop",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0.1"         },
    {"bos_token_id",        CONFIG_ID,         offsetof(ModelConfig, bos),               "-1"          },
    {"eos_token_id",        CONFIG_ID,         offsetof(ModelConfig, eos),               "-1"          },
    {"pad_token_id",        CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"          },
};

static const ConfigFixed fixed[] = {
    {"scale_attn_weights",              {"true"} },
    {"scale_attn_by_inverse_layer_idx", {"false"}},
    {"reorder_and_upcast_attn",         {"false"}},
    {"add_cross_attention",             {"false"}},
};

/* The matrix at the end of a half of a block. */
#define RESIDUAL(part, name, rows, columns)                                                        \
    { part, SCOPE_BLOCK, name, {rows, columns}, INIT_RESIDUAL, true, ALWAYS, STORED_AS_IS }

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "wte.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           ALWAYS),
    WEIGHT(PART_POSITION_EMBEDDING, SCOPE_EMBEDDING, "wpe.weight", EXTENT_CONTEXT, EXTENT_WIDTH,
           ALWAYS),
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_1.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, "h.%zu.ln_1.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.c_attn.weight", EXTENT_WIDTH, EXTENT_QKV,
           ALWAYS),
    BIAS(PART_QKV_BIAS, SCOPE_BLOCK, "h.%zu.attn.c_attn.bias", EXTENT_QKV, ALWAYS),
    RESIDUAL(PART_ATTENTION_OUT_WEIGHT, "h.%zu.attn.c_proj.weight", EXTENT_WIDTH, EXTENT_WIDTH),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "h.%zu.attn.c_proj.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_2.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, "h.%zu.ln_2.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "h.%zu.mlp.c_fc.weight", EXTENT_WIDTH, EXTENT_INNER,
           ALWAYS),
    BIAS(PART_UP_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_fc.bias", EXTENT_INNER, ALWAYS),
    RESIDUAL(PART_DOWN_WEIGHT, "h.%zu.mlp.c_proj.weight", EXTENT_INNER, EXTENT_WIDTH),
    BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_proj.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "ln_f.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_FINAL_NORM_BIAS, SCOPE_FINAL, "ln_f.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

static const char *const ignored[] = {"h.%zu.attn.bias", "h.%zu.attn.masked_bias", NULL};

const ModelFamily family_gpt2 = {
    .name = "gpt2",
    .lm_architecture = "GPT2LMHeadModel",
    .score_architecture = "GPT2ForSequenceClassification",
    .trunk_architecture = "GPT2Model",
    .trunk = "transformer.",
    .block = {.norm = NORM_LAYER, .place = NORM_BEFORE, .linear = LINEAR_IN_OUT},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .old_context = "n_ctx",
    .inner_factor = 4,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
