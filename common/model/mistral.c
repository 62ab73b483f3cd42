/* SPDX-License-Identifier: MIT
 *
 * Mistral (Jiang et al. 2023): Llama's blocks, all of whose layers see a sliding window.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "131072"  },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {"num_key_value_heads",     CONFIG_SIZE,       offsetof(ModelConfig, kv_heads),          "8"       },
    {"head_dim",                CONFIG_SIZE,       offsetof(ModelConfig, head_size),         "0"       },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             NULL      },
    {"rms_norm_eps",            CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-6"    },
    {"hidden_act",              CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"silu\""},
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "false"   },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"       },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "1"       },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "2"       },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"      },
};

static const ConfigFixed fixed[] = {
    {"layer_types", {"null"}},
};

const ModelFamily family_mistral = {
    .name = "mistral",
    .lm_architecture = "MistralForCausalLM",
    .score_architecture = "MistralForSequenceClassification",
    .trunk_architecture = "MistralModel",
    .trunk = "model.",
    .block = {.norm = NORM_RMS, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN, .gated = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .rope.theta = "rope_theta",
    .rope.initial_share = 1.0,
    .windows = &config_window_hook,
    .tensor = llama_tensors,
    .tensors = LLAMA_TENSORS,
    .ignored = llama_ignored,
};
