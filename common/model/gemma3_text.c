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
    LLAMA_EMBEDDING,
    OFFSET(PART_NORM1_WEIGHT, SCOPE_BLOCK, "layers.%zu.input_layernorm.weight", EXTENT_WIDTH),
    LLAMA_QKV,
    OFFSET(PART_Q_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.q_norm.weight", EXTENT_HEAD),
    OFFSET(PART_K_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.k_norm.weight", EXTENT_HEAD),
    LLAMA_ATTENTION_OUT,
    OFFSET(PART_NORM1_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_attention_layernorm.weight",
           EXTENT_WIDTH),
    OFFSET(PART_NORM2_WEIGHT, SCOPE_BLOCK, "layers.%zu.pre_feedforward_layernorm.weight",
           EXTENT_WIDTH),
    LLAMA_FEED_FORWARD,
    OFFSET(PART_NORM2_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_feedforward_layernorm.weight",
           EXTENT_WIDTH),
    OFFSET(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "norm.weight", EXTENT_WIDTH),
    LLAMA_HEADS,
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
