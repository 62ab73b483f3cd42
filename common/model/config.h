/* SPDX-License-Identifier: MIT
 *
 * ModelConfig: the numbers that fix a transformer's shape and mathematics, read from and written to
 * config.json. Unknown keys survive a round trip. What the code does not compute is refused by
 * name.
 *
 * Letters used for sizes everywhere below: N tokens of a batch, S sequences, C width, L layers,
 * H heads, D head size, F feed-forward width, V vocabulary, T context length.
 */
#ifndef RLHF_MODEL_CONFIG_H
#define RLHF_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct ModelFamily;

typedef enum HeadKind {
    HEAD_LM,     /* next-token log-probs: a causal LM */
    HEAD_SCORES, /* `labels` numbers a token: reward model, critic, classifier */
    HEAD_BOTH,   /* LM and scores on one trunk: a policy that carries its critic */
} HeadKind;

typedef struct ModelConfig {
    const struct ModelFamily *family;
    size_t layers, heads, width, inner, vocabulary, context;
    float norm_epsilon;
    bool tied; /* the head shares the token embedding */
    HeadKind head;
    size_t labels; /* outputs of the score head; 1 for a reward model; 0 with HEAD_LM */
    float dropout_embedding, dropout_residual, dropout_attention;
    int32_t eos, bos, pad; /* ids, -1: none */
    float reward_bias;     /* added to the score of a reward model (HEAD_SCORES, 1 label) */
    char **label_name;     /* [labels] of a classifier, or NULL; owned */
    bool regression;       /* problem_type is regression */
    cJSON *json;           /* the tree of the file that was read, or NULL; owned */
    cJSON *generation;     /* the tree of generation_config.json, or NULL; owned */
} ModelConfig;

/* Reads config.json (and generation_config.json where there is one). An id that is not below the
 * vocabulary reads as -1: the model cannot say it. What `architectures` says becomes `head`. */
bool model_config_read(ModelConfig *config, const char *folder, Error *err);
/* Writes config.json (and generation_config.json for an LM), keeping unknown keys of config->json.
 * Values that mean what the file said keep their spelling. With HEAD_SCORES pad_token_id is written
 * as an id other than EOS (pad, else 0, else 1): transformers skips trailing pads and must see the
 * EOS. */
bool model_config_write(const ModelConfig *config, const char *folder, Error *err);
void model_config_done(ModelConfig *config);
/* Gives the configuration another head, without label names, bias or regression. labels: 0 for
 * HEAD_LM. */
void model_config_set_head(ModelConfig *config, HeadKind head, size_t labels);
bool model_config_copy(ModelConfig *to, const ModelConfig *from, Error *err);
/* Checks ranges and divisibility; ERROR_CONFIG or ERROR_DATA naming the key. */
bool model_config_check(const ModelConfig *config, Error *err);

#endif
