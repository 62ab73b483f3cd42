/* SPDX-License-Identifier: MIT
 *
 * GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023): both halves of a block read the same
 * input, a part of each head turns with the position, files hold Q | K | V head by head.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           "2048"    },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"num_hidden_layers",       CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"num_attention_heads",     CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             NULL      },
    {"layer_norm_eps",          CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-5"    },
    {"hidden_act",              CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"gelu\""},
    {"use_parallel_residual",   CONFIG_BOOL,       offsetof(ModelConfig, parallel),          "true"    },
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, qkv_bias),          "true"    },
    {"attention_bias",          CONFIG_BOOL,       offsetof(ModelConfig, out_bias),          "true"    },
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "false"   },
    {"hidden_dropout",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_embedding), "0"       },
    {"hidden_dropout",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0"       },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"       },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "0"       },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "2"       },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"      },
};

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "embed_in.weight", EXTENT_VOCABULARY,
           EXTENT_WIDTH, ALWAYS),
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, "layers.%zu.input_layernorm.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, "layers.%zu.input_layernorm.bias", EXTENT_WIDTH, ALWAYS),
    {PART_QKV_WEIGHT,
                                                                                             SCOPE_BLOCK,
                                                                                             "layers.%zu.attention.query_key_value.weight",
                                                                                             {EXTENT_QKV, EXTENT_WIDTH},
                                                                                             INIT_NORMAL,
                                                                                             true,  ALWAYS,
                                                                                             STORED_BY_HEAD},
    {PART_QKV_BIAS,
                                                                                             SCOPE_BLOCK,
                                                                                             "layers.%zu.attention.query_key_value.bias",
                                                                                             {EXTENT_QKV, EXTENT_NONE},
                                                                                             INIT_ZEROS,
                                                                                             false, IF_QKV_BIAS,
                                                                                             STORED_BY_HEAD},
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.attention.dense.weight",
           EXTENT_WIDTH, EXTENT_QUERY, ALWAYS),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "layers.%zu.attention.dense.bias", EXTENT_WIDTH,
         IF_OUT_BIAS),
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "layers.%zu.post_attention_layernorm.weight", EXTENT_WIDTH,
         ALWAYS),
    BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, "layers.%zu.post_attention_layernorm.bias", EXTENT_WIDTH,
         ALWAYS),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.dense_h_to_4h.weight", EXTENT_INNER,
           EXTENT_WIDTH, ALWAYS),
    BIAS(PART_UP_BIAS, SCOPE_BLOCK, "layers.%zu.mlp.dense_h_to_4h.bias", EXTENT_INNER, ALWAYS),
    WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.dense_4h_to_h.weight", EXTENT_WIDTH,
           EXTENT_INNER, ALWAYS),
    BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "layers.%zu.mlp.dense_4h_to_h.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "final_layer_norm.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_FINAL_NORM_BIAS, SCOPE_FINAL, "final_layer_norm.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "embed_out.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

static const char *const ignored[] = {
    "layers.%zu.attention.bias", "layers.%zu.attention.masked_bias",
    "layers.%zu.attention.rotary_emb.inv_freq", "rotary_emb.inv_freq", NULL};

const ModelFamily family_gpt_neox = {
    .name = "gpt_neox",
    .lm_architecture = "GPTNeoXForCausalLM",
    .score_architecture = "GPTNeoXForSequenceClassification",
    .trunk_architecture = "GPTNeoXModel",
    .trunk = "gpt_neox.",
    .block = {.norm = NORM_LAYER, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .rope.theta = "rotary_emb_base",
    .rope.share = "rotary_pct",
    .rope.initial_share = 0.25,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
