/* SPDX-License-Identifier: MIT
 *
 * OPT (Zhang et al. 2022): GPT-2's blocks with ReLU, Q, K and V apart; two rows of the position table lie
 * before that of the first token.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        "50272"   },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "2048"    },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             "768"     },
    {"word_embed_proj_dim",     CONFIG_SIZE,       offsetof(ModelConfig, embedding_width),   "0"       },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            "12"      },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             "12"      },
    {"ffn_dim",                 CONFIG_SIZE,       offsetof(ModelConfig, inner),             "3072"    },
    {NULL,                      CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-5"    },
    {"activation_function",     CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"relu\""},
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"    },
    {"dropout",                 CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0.1"     },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"       },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "2"       },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "2"       },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "1"       },
};

static const ConfigFixed fixed[] = {
    {"do_layer_norm_before",          {"true"} },
    {"_remove_final_layer_norm",      {"false"}},
    {"enable_bias",                   {"true"} },
    {"layer_norm_elementwise_affine", {"true"} },
    {"layerdrop",                     {"0.0"}  },
};

#define LAYER "decoder.layers.%zu."

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "decoder.embed_tokens.weight", EXTENT_VOCABULARY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_POSITION_EMBEDDING, SCOPE_EMBEDDING, "decoder.embed_positions.weight",
           EXTENT_CONTEXT, EXTENT_WIDTH, ALWAYS),
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, LAYER "self_attn_layer_norm.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, LAYER "self_attn_layer_norm.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, LAYER "self_attn.q_proj.weight", EXTENT_QUERY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_K_WEIGHT, SCOPE_BLOCK, LAYER "self_attn.k_proj.weight", EXTENT_KEY, EXTENT_WIDTH,
           ALWAYS),
    WEIGHT(PART_V_WEIGHT, SCOPE_BLOCK, LAYER "self_attn.v_proj.weight", EXTENT_KEY, EXTENT_WIDTH,
           ALWAYS),
    BIAS(PART_QKV_BIAS, SCOPE_BLOCK, LAYER "self_attn.q_proj.bias", EXTENT_QUERY, ALWAYS),
    BIAS(PART_K_BIAS, SCOPE_BLOCK, LAYER "self_attn.k_proj.bias", EXTENT_KEY, ALWAYS),
    BIAS(PART_V_BIAS, SCOPE_BLOCK, LAYER "self_attn.v_proj.bias", EXTENT_KEY, ALWAYS),
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, LAYER "self_attn.out_proj.weight", EXTENT_WIDTH,
           EXTENT_QUERY, ALWAYS),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, LAYER "self_attn.out_proj.bias", EXTENT_WIDTH,
         ALWAYS),
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, LAYER "final_layer_norm.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, LAYER "final_layer_norm.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, LAYER "fc1.weight", EXTENT_INNER, EXTENT_WIDTH, ALWAYS),
    BIAS(PART_UP_BIAS, SCOPE_BLOCK, LAYER "fc1.bias", EXTENT_INNER, ALWAYS),
    WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, LAYER "fc2.weight", EXTENT_WIDTH, EXTENT_INNER, ALWAYS),
    BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, LAYER "fc2.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "decoder.final_layer_norm.weight", EXTENT_WIDTH,
         ALWAYS),
    BIAS(PART_FINAL_NORM_BIAS, SCOPE_FINAL, "decoder.final_layer_norm.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

const ModelFamily family_opt = {
    .name = "opt",
    .lm_architecture = "OPTForCausalLM",
    .score_architecture = "OPTForSequenceClassification",
    .trunk_architecture = "OPTModel",
    .trunk = "model.",
    .block = {.norm = NORM_LAYER, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .first_position = 2,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
};
