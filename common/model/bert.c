/* SPDX-License-Identifier: MIT
 *
 * BERT (Devlin et al. 2019) and models of its form (MiniLM): an encoder, a norm behind each half of a
 * block, learned positions and segments. Its two heads of pre-training are the masked LM and the next
 * sentence; a classifier has another score head on the same pooled first token.
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
    {"bos_token_id",                 CONFIG_ID,         offsetof(ModelConfig, bos),               "-1"      },
    {"eos_token_id",                 CONFIG_ID,         offsetof(ModelConfig, eos),               "-1"      },
    {"pad_token_id",                 CONFIG_ID,         offsetof(ModelConfig, pad),               "0"       },
};

static const ConfigFixed fixed[] = {
    {"position_embedding_type", {"\"absolute\""}},
};

static const TensorRow tensors[] = {
    BERT_TRUNK,
    WEIGHT(PART_TRANSFORM_WEIGHT, SCOPE_LM_HEAD, "cls.predictions.transform.dense.weight",
           EXTENT_WIDTH, EXTENT_WIDTH, ALWAYS),
    BIAS(PART_TRANSFORM_BIAS, SCOPE_LM_HEAD, "cls.predictions.transform.dense.bias", EXTENT_WIDTH,
         ALWAYS),
    GAIN(PART_TRANSFORM_NORM_WEIGHT, SCOPE_LM_HEAD, "cls.predictions.transform.LayerNorm.weight",
         EXTENT_WIDTH, ALWAYS),
    BIAS(PART_TRANSFORM_NORM_BIAS, SCOPE_LM_HEAD, "cls.predictions.transform.LayerNorm.bias",
         EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "cls.predictions.decoder.weight", EXTENT_VOCABULARY,
           EXTENT_WIDTH, IF_UNTIED),
    BIAS(PART_LM_BIAS, SCOPE_LM_HEAD, "cls.predictions.bias", EXTENT_VOCABULARY, ALWAYS),
    WEIGHT(PART_POOLER_WEIGHT, SCOPE_SCORE_HEAD, "bert.pooler.dense.weight", EXTENT_WIDTH,
           EXTENT_WIDTH, ALWAYS),
    BIAS(PART_POOLER_BIAS, SCOPE_SCORE_HEAD, "bert.pooler.dense.bias", EXTENT_WIDTH, ALWAYS),
    SCORE("classifier.weight", IF_SCORES_ALONE),
    BIAS(PART_SCORE_BIAS, SCOPE_SCORE_HEAD, "classifier.bias", EXTENT_LABELS, IF_SCORES_ALONE),
    SCORE("cls.seq_relationship.weight", IF_SCORES_BESIDE),
    BIAS(PART_SCORE_BIAS, SCOPE_SCORE_HEAD, "cls.seq_relationship.bias", EXTENT_LABELS,
         IF_SCORES_BESIDE),
};

static const char *const ignored[] = {"embeddings.position_ids", "embeddings.token_type_ids", NULL};

const ModelFamily family_bert = {
    .name = "bert",
    .lm_architecture = "BertForMaskedLM",
    .score_architecture = "BertForSequenceClassification",
    .both_architecture = "BertForPreTraining",
    .trunk_architecture = "BertModel",
    .trunk = "bert.",
    .block = {.norm = NORM_LAYER,
              .place = NORM_BEHIND,
              .linear = LINEAR_OUT_IN,
              .bidirectional = true,
              .pooler = ACTIVATION_TANH},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .fixed = fixed,
    .fixed_keys = sizeof fixed / sizeof *fixed,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
