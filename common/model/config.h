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
#include "common/kernels/activation.h"

struct ModelFamily;

enum { LAYERS_LIMIT = 1024, EOS_LIMIT = 64 };

/* Rotary positions (Su et al. 2021): which dimensions of a head turn, and how fast. Dimension i of the
 * first half turns with dimension i of the second half. */
typedef enum RopeScaling {
    ROPE_PLAIN,
    ROPE_LINEAR, /* positions divided by `factor` (Chen et al. 2023) */
    ROPE_LLAMA3, /* long wave lengths divided by `factor`, short ones not, between them a blend */
} RopeScaling;

typedef struct Rope {
    size_t dimensions; /* of a head, even; 0: positions are not rotated in */
    double share; /* what part of a head they are, as the file says; 0: dimensions / head size */
    double theta;
    RopeScaling scaling;
    double factor, low, high; /* low, high: ROPE_LLAMA3's frequency factors */
    size_t original;          /* context before scaling */
} Rope;

typedef enum HeadKind {
    HEAD_LM,     /* next-token log-probs: a causal LM */
    HEAD_SCORES, /* `labels` numbers a token: reward model, critic, classifier */
    HEAD_BOTH,   /* LM and scores on one trunk: a policy that carries its critic */
} HeadKind;

/* Low-rank adapters (LoRA, Hu et al. 2021) of linear layers; see adapter.h. */
typedef struct AdapterConfig {
    size_t rank;      /* 0: none */
    float alpha;      /* an adapter counts alpha / rank times */
    float dropout;    /* of what it reads, in training */
    bool rslora;      /* alpha / sqrt(rank) instead (Kalajdzievski 2023) */
    uint64_t targets; /* bit p: Part p of every block has one */
} AdapterConfig;

typedef struct ModelConfig {
    const struct ModelFamily *family;
    size_t layers, heads, width, inner, vocabulary, context;
    size_t kv_heads;        /* divides heads; 0: heads. Read through config_kv_heads */
    size_t head_size;       /* 0: width / heads. Read through config_head_size */
    size_t segments;        /* token types of an encoder; 0: none */
    size_t first_position;  /* row of the position table of a sequence's first token (RoBERTa: 2) */
    size_t embedding_width; /* columns of the token embedding: width, or 0 for it */
    float norm_epsilon;
    ActivationKind activation; /* of the feed-forward layers */
    Rope rope, local_rope; /* local_rope: of local layers; without dimensions they turn as all do */
    float score_scalar;    /* scores are divided by its root; 0: by that of the head size */
    size_t window;         /* of local attention: a row sees this many positions, its own among
                                            them; 0: no layer is local */
    uint64_t local[LAYERS_LIMIT / 64]; /* bit l: layer l is local */
    bool parallel;                     /* x += attention(norm1(x)) + feed_forward(norm2(x)) */
    bool qkv_bias, out_bias,
        inner_bias; /* of Q, K, V; of attention's output; of the feed-forward layers */
    bool head_norm; /* queries and keys are normed head by head before they turn */
    bool tied;      /* the head shares the token embedding */
    HeadKind head;
    size_t labels; /* outputs of the score head; 1 for a reward model; 0 with HEAD_LM */
    float dropout_embedding, dropout_residual, dropout_attention;
    float dropout_head; /* of an encoder's classifier, around its pooler; -1: that of residuals */
    int32_t eos, bos, pad;  /* ids, -1: none */
    int32_t end[EOS_LIMIT]; /* [ends] ids that end a completion; read through config_ends */
    size_t ends;            /* 0: eos alone does */
    AdapterConfig adapter;
    float reward_bias; /* added to the score of a reward model (HEAD_SCORES, 1 label) */
    char **label_name; /* [labels] of a classifier, or NULL; owned */
    bool regression;   /* problem_type is regression */
    cJSON *json;       /* the tree of the file that was read, or NULL; owned */
    cJSON *generation; /* the tree of generation_config.json, or NULL; owned */
} ModelConfig;

static inline size_t config_kv_heads(const ModelConfig *config) {
    return config->kv_heads != 0 ? config->kv_heads : config->heads;
}
static inline size_t config_head_size(const ModelConfig *config) {
    return config->head_size != 0 ? config->head_size : config->width / config->heads;
}
/* Columns of all queries; of all keys (or values); of a row Q | K | V. */
static inline size_t config_query_width(const ModelConfig *config) {
    return config->heads * config_head_size(config);
}
static inline size_t config_key_width(const ModelConfig *config) {
    return config_kv_heads(config) * config_head_size(config);
}
static inline size_t config_qkv_width(const ModelConfig *config) {
    return config_query_width(config) + 2 * config_key_width(config);
}
/* The window of a layer; 0: it sees all positions. */
static inline size_t config_window(const ModelConfig *config, size_t layer) {
    return (config->local[layer / 64] >> layer % 64 & 1) != 0 ? config->window : 0;
}

/* The ids that end a completion, as transformers' generate() takes them from a folder: those of
 * generation_config.json, else of config.json. */
static inline const int32_t *config_ends(const ModelConfig *config, size_t *count) {
    *count = config->ends > 0 ? config->ends : config->eos >= 0;
    return config->ends > 0 ? config->end : &config->eos;
}

/* How the heads of a layer turn. */
static inline const Rope *config_rope(const ModelConfig *config, size_t layer) {
    bool own = config_window(config, layer) != 0 && config->local_rope.dimensions != 0;
    return own ? &config->local_rope : &config->rope;
}

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
/* A new model's configuration from its family and sizes (layers, heads, width, vocabulary, context;
 * inner, kv_heads, head_size: 0 is the family's own): everything else becomes what transformers gives a
 * model of the family. */
bool model_config_complete(ModelConfig *config, Error *err);
/* Sets the dropouts that the family's config.json has keys for. */
void model_config_set_dropout(ModelConfig *config, float rate);
/* Checks ranges and divisibility; ERROR_CONFIG or ERROR_DATA naming the key. */
bool model_config_check(const ModelConfig *config, Error *err);

#endif
