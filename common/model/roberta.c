/* SPDX-License-Identifier: MIT
 *
 * RoBERTa (Liu et al. 2019): BERT's blocks; positions count from behind the pad id, and a classifier has
 * its own layer on the first token.
 */
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",                   CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL      },
    {"max_position_embeddings",      CONFIG_SIZE,       offsetof(ModelConfig, context),           NULL      },
    {"hidden_size",                  CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL      },
    {"num_hidden_layers",            CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL      },
    {"num_attention_heads",          CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL      },
    {"intermediate_size",            CONFIG_SIZE,       offsetof(ModelConfig, inner),             NULL      },
    {"type_vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, segments),          "2"       },
    {"layer_norm_eps",               CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-12"   },
    {"hidden_act",                   CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"gelu\""},
    {"tie_word_embeddings",          CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"    },
    {"hidden_dropout_prob",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_embedding), "0.1"     },
    {"hidden_dropout_prob",          CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0.1"     },
    {"attention_probs_dropout_prob", CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0.1"     },
    {"classifier_dropout",           CONFIG_OPTIONAL,   offsetof(ModelConfig, dropout_head),      "null"    },
    {"bos_token_id",                 CONFIG_ID,         offsetof(ModelConfig, bos),               "0"       },
    {"eos_token_id",                 CONFIG_ID,         offsetof(ModelConfig, eos),               "2"       },
    {"pad_token_id",                 CONFIG_ID,         offsetof(ModelConfig, pad),               "1"       },
};

static const ConfigFixed fixed[] = {
    {"position_embedding_type", {"\"absolute\""}},
};

static const TensorRow tensors[] = {
    BERT_TRUNK,
    WEIGHT(PART_TRANSFORM_WEIGHT, SCOPE_LM_HEAD, "lm_head.dense.weight", EXTENT_WIDTH, EXTENT_WIDTH,
           ALWAYS),
    BIAS(PART_TRANSFORM_BIAS, SCOPE_LM_HEAD, "lm_head.dense.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_TRANSFORM_NORM_WEIGHT, SCOPE_LM_HEAD, "lm_head.layer_norm.weight", EXTENT_WIDTH,
         ALWAYS),
    BIAS(PART_TRANSFORM_NORM_BIAS, SCOPE_LM_HEAD, "lm_head.layer_norm.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.decoder.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    BIAS(PART_LM_BIAS, SCOPE_LM_HEAD, "lm_head.bias", EXTENT_VOCABULARY, ALWAYS),
    WEIGHT(PART_POOLER_WEIGHT, SCOPE_SCORE_HEAD, "classifier.dense.weight", EXTENT_WIDTH,
           EXTENT_WIDTH, ALWAYS),
    BIAS(PART_POOLER_BIAS, SCOPE_SCORE_HEAD, "classifier.dense.bias", EXTENT_WIDTH, ALWAYS),
    SCORE("classifier.out_proj.weight", ALWAYS),
    BIAS(PART_SCORE_BIAS, SCOPE_SCORE_HEAD, "classifier.out_proj.bias", EXTENT_LABELS, ALWAYS),
};

static const char *const ignored[] = {"embeddings.position_ids", "embeddings.token_type_ids",
                                      "pooler.dense.weight", "pooler.dense.bias", NULL};

const ModelFamily family_roberta = {
    .name = "roberta",
    .lm_architecture = "RobertaForMaskedLM",
    .score_architecture = "RobertaForSequenceClassification",
    .trunk_architecture = "RobertaModel",
    .trunk = "roberta.",
    .block = {.norm = NORM_LAYER,
              .place = NORM_BEHIND,
              .linear = LINEAR_OUT_IN,
              .bidirectional = true,
              .pooler = ACTIVATION_TANH,
              .drops_twice = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .positions_behind_pad = true,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
