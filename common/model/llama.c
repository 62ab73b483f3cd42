/* SPDX-License-Identifier: MIT
 *
 * Llama (Touvron et al. 2023, Grattafiori et al. 2024) and what is built like it (SmolLM, TinyLlama):
 * RMSNorm before each half of a block, rotary positions, grouped queries, SwiGLU.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "2048"    },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {"num_key_value_heads",     CONFIG_SIZE,       offsetof(ModelConfig, kv_heads),          "0"       },
    {"head_dim",                CONFIG_SIZE,       offsetof(ModelConfig, head_size),         "0"       },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             NULL      },
    {"rms_norm_eps",            CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-6"    },
    {"hidden_act",              CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"silu\""},
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, qkv_bias),          "false"   },
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, out_bias),          "false"   },
    {"mlp_bias",                CONFIG_BOOL,       offsetof(ModelConfig, inner_bias),        "false"   },
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "false"   },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"       },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "1"       },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "2"       },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"      },
};

/* Slices of the linear layers, added up in another order. */
static const ConfigFixed fixed[] = {
    {"pretraining_tp", {"1", "null"}},
};

const TensorRow llama_tensors[LLAMA_TENSORS] = {
    LLAMA_EMBEDDING,
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, "layers.%zu.input_layernorm.weight", EXTENT_WIDTH, ALWAYS),
    LLAMA_QKV,
    GAIN(PART_Q_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.q_norm.weight", EXTENT_HEAD, IF_HEAD_NORM),
    GAIN(PART_K_NORM, SCOPE_BLOCK, "layers.%zu.self_attn.k_norm.weight", EXTENT_HEAD, IF_HEAD_NORM),
    LLAMA_ATTENTION_OUT,
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_attention_layernorm.weight", EXTENT_WIDTH,
         ALWAYS),
    LLAMA_FEED_FORWARD,
    GAIN(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "norm.weight", EXTENT_WIDTH, ALWAYS),
    LLAMA_HEADS,
};

const char *const llama_ignored[] = {"layers.%zu.self_attn.rotary_emb.inv_freq",
                                     "rotary_emb.inv_freq", NULL};

const ModelFamily family_llama = {
    .name = "llama",
    .lm_architecture = "LlamaForCausalLM",
    .score_architecture = "LlamaForSequenceClassification",
    .trunk_architecture = "LlamaModel",
    .trunk = "model.",
    .block = {.norm = NORM_RMS, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN, .gated = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .rope.theta = "rope_theta",
    .rope.initial_share = 1.0,
    .tensor = llama_tensors,
    .tensors = LLAMA_TENSORS,
    .ignored = llama_ignored,
};
