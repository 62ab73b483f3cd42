/* SPDX-License-Identifier: MIT
 *
 * Gemma 3's language model (Gemma Team 2025): Llama's tensors and two more norms, at the ends of a block's
 * branches; gains kept as differences from 1; scaled token embeddings; five local layers, whose heads turn
 * faster, to each one that sees all.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL    },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "131072"},
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             "2304"  },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            "26"    },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             "8"     },
    {"num_key_value_heads",     CONFIG_SIZE,       offsetof(ModelConfig, kv_heads),          "4"     },
    {"head_dim",                CONFIG_SIZE,       offsetof(ModelConfig, head_size),         "256"   },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             "9216"  },
    {"rms_norm_eps",            CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-6"  },
    {"query_pre_attn_scalar",   CONFIG_FLOAT,      offsetof(ModelConfig, score_scalar),      "256"   },
    {"hidden_activation",       CONFIG_ACTIVATION, offsetof(ModelConfig, activation),
     "\"gelu_pytorch_tanh\""                                                                         },
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, qkv_bias),          "false" },
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, out_bias),          "false" },
    {NULL,                      CONFIG_BOOL,       offsetof(ModelConfig, head_norm),         "true"  },
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"  },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"     },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "2"     },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "1"     },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "0"     },
};

/* The first name of a kind is the one written. */
static const ActivationName activations[] = {
    {"gelu_pytorch_tanh", ACTIVATION_GELU_NEW},
    {"gelu_new",          ACTIVATION_GELU_NEW},
    {"gelu",              ACTIVATION_GELU    },
    {"silu",              ACTIVATION_SILU    },
    {NULL,                0                  },
};

static const ConfigFixed fixed[] = {
    {"use_bidirectional_attention", {"false", "null"}},
};

/* A gain that is kept as its difference from 1. */
#define OFFSET(part, scope, name, size) BIAS(part, scope, name, size, ALWAYS)

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "embed_tokens.weight", EXTENT_VOCABULARY,
           EXTENT_WIDTH, ALWAYS),
    OFFSET(PART_NORM1_WEIGHT, SCOPE_BLOCK, "layers.%zu.input_layernorm.weight", EXTENT_WIDTH),
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.q_proj.weight", EXTENT_QUERY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_K_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.k_proj.weight", EXTENT_KEY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_V_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.v_proj.weight", EXTENT_KEY,
           EXTENT_WIDTH, ALWAYS),
    BIAS(PART_QKV_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.q_proj.bias", EXTENT_QUERY, IF_QKV_BIAS),
    BIAS(PART_K_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.k_proj.bias", EXTENT_KEY, IF_QKV_BIAS),
    BIAS(PART_V_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.v_proj.bias", EXTENT_KEY, IF_QKV_BIAS),
    OFFSET(PART_Q_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.q_norm.weight", EXTENT_HEAD),
    OFFSET(PART_K_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.k_norm.weight", EXTENT_HEAD),
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.o_proj.weight",
           EXTENT_WIDTH, EXTENT_QUERY, ALWAYS),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.o_proj.bias", EXTENT_WIDTH,
         IF_OUT_BIAS),
    OFFSET(PART_NORM1_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_attention_layernorm.weight",
           EXTENT_WIDTH),
    OFFSET(PART_NORM2_WEIGHT, SCOPE_BLOCK, "layers.%zu.pre_feedforward_layernorm.weight",
           EXTENT_WIDTH),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.gate_proj.weight", EXTENT_INNER,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_GATED_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.up_proj.weight", EXTENT_INNER,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.down_proj.weight", EXTENT_WIDTH,
           EXTENT_INNER, ALWAYS),
    OFFSET(PART_NORM2_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_feedforward_layernorm.weight",
           EXTENT_WIDTH),
    OFFSET(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "norm.weight", EXTENT_WIDTH),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

const ModelFamily family_gemma3_text = {
    .name = "gemma3_text",
    .lm_architecture = "Gemma3ForCausalLM",
    .score_architecture = "Gemma3TextForSequenceClassification",
    .trunk_architecture = "Gemma3TextModel",
    .trunk = "model.",
    .block = {.norm = NORM_RMS_OFFSET,
              .place = NORM_BEFORE,
              .linear = LINEAR_OUT_IN,
              .gated = true,
              .scaled_embedding = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .activation = activations,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .rope = {.theta = "rope_theta",
              .initial_share = 1.0,
              .initial_theta = 1e6,
              .local = "rope_local_base_freq"},
    .windows = &config_pattern_hook,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = llama_ignored,
};
