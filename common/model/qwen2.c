/* SPDX-License-Identifier: MIT
 *
 * Qwen2 and Qwen2.5 (Yang et al. 2024): Llama's blocks with biases of queries, keys and values.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "32768"   },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {"num_key_value_heads",     CONFIG_SIZE,       offsetof(ModelConfig, kv_heads),          "32"      },
    {"head_dim",                CONFIG_SIZE,       offsetof(ModelConfig, head_size),         "0"       },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             NULL      },
    {"rms_norm_eps",            CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-6"    },
    {"hidden_act",              CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"silu\""},
    {NULL,                      CONFIG_BOOL,       offsetof(ModelConfig, qkv_bias),          "true"    },
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "false"   },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"       },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "-1"      },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "-1"      },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"      },
};

const ModelFamily family_qwen2 = {
    .name = "qwen2",
    .lm_architecture = "Qwen2ForCausalLM",
    .score_architecture = "Qwen2ForSequenceClassification",
    .trunk_architecture = "Qwen2Model",
    .trunk = "model.",
    .block = {.norm = NORM_RMS, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN, .gated = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .rope.theta = "rope_theta",
    .rope.initial_share = 1.0,
    .windows = &config_layer_types_hook,
    .tensor = llama_tensors,
    .tensors = LLAMA_TENSORS,
    .ignored = llama_ignored,
};
