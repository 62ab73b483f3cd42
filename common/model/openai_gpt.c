/* SPDX-License-Identifier: MIT
 *
 * GPT (Radford et al. 2018): a norm behind each half of a block, learned positions, no final norm.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",          CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"n_positions",         CONFIG_SIZE,       offsetof(ModelConfig, context),           NULL      },
    {"n_embd",              CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"n_layer",             CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"n_head",              CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {NULL,                  CONFIG_SIZE,       offsetof(ModelConfig, inner),             "0"       },
    {"layer_norm_epsilon",  CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-5"    },
    {"afn",                 CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"gelu\""},
    {"tie_word_embeddings", CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"    },
    {"embd_pdrop",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_embedding), "0.1"     },
    {"resid_pdrop",         CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0.1"     },
    {"attn_pdrop",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0.1"     },
    {"bos_token_id",        CONFIG_ID,         offsetof(ModelConfig, bos),               "-1"      },
    {"eos_token_id",        CONFIG_ID,         offsetof(ModelConfig, eos),               "-1"      },
    {"pad_token_id",        CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"      },
};

/* Its "gelu" is the tanh form. */
static const ActivationName activations[] = {
    {"gelu",  ACTIVATION_GELU_NEW},
    {"silu",  ACTIVATION_SILU    },
    {"swish", ACTIVATION_SILU    },
    {"relu",  ACTIVATION_RELU    },
    {NULL,    0                  },
};

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "tokens_embed.weight", EXTENT_VOCABULARY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_POSITION_EMBEDDING, SCOPE_EMBEDDING, "positions_embed.weight", EXTENT_CONTEXT,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.c_attn.weight", EXTENT_WIDTH, EXTENT_QKV,
           ALWAYS),
    BIAS(PART_QKV_BIAS, SCOPE_BLOCK, "h.%zu.attn.c_attn.bias", EXTENT_QKV, ALWAYS),
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.c_proj.weight", EXTENT_WIDTH,
           EXTENT_WIDTH, ALWAYS),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "h.%zu.attn.c_proj.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_1.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, "h.%zu.ln_1.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "h.%zu.mlp.c_fc.weight", EXTENT_WIDTH, EXTENT_INNER,
           ALWAYS),
    BIAS(PART_UP_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_fc.bias", EXTENT_INNER, ALWAYS),
    WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "h.%zu.mlp.c_proj.weight", EXTENT_INNER, EXTENT_WIDTH,
           ALWAYS),
    BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_proj.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_2.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, "h.%zu.ln_2.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

static const char *const ignored[] = {"h.%zu.attn.bias", "position_ids", NULL};

const ModelFamily family_openai_gpt = {
    .name = "openai-gpt",
    .lm_architecture = "OpenAIGPTLMHeadModel",
    .score_architecture = "OpenAIGPTForSequenceClassification",
    .trunk_architecture = "OpenAIGPTModel",
    .trunk = "transformer.",
    .block = {.norm = NORM_LAYER, .place = NORM_BEHIND, .linear = LINEAR_IN_OUT},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .activation = activations,
    .old_context = "n_ctx",
    .inner_factor = 4,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
