/* SPDX-License-Identifier: MIT
 *
 * ModelFamily: a transformer architecture described by data. One file per family (gpt2.c) holds its
 * rows and one line of family.c lists it; config.c, the parameter layout, reading, writing and the pass
 * follow the rows and know no family by name.
 *
 * Parameters lie in the order of the tensor rows: those of SCOPE_EMBEDDING, then for block 0, 1, ...
 * those of SCOPE_BLOCK, then SCOPE_FINAL, then the heads that the configuration has. In a slab of our
 * own every tensor begins at a multiple of PARAMETER_ALIGN floats.
 */
#ifndef RLHF_MODEL_FAMILY_H
#define RLHF_MODEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/model/config.h"

enum { PARAMETER_ALIGN = 16 }; /* floats: 64 bytes */

/* What a tensor is to the pass. */
typedef enum Part {
    PART_TOKEN_EMBEDDING,    /* [V, C] */
    PART_POSITION_EMBEDDING, /* [T, C] */
    PART_NORM1_WEIGHT,       /* [C] before attention */
    PART_NORM1_BIAS,
    PART_QKV_WEIGHT, /* fused; see QkvOrder */
    PART_QKV_BIAS,
    PART_ATTENTION_OUT_WEIGHT, /* H D -> C */
    PART_ATTENTION_OUT_BIAS,
    PART_NORM2_WEIGHT, /* [C] before the feed-forward layer */
    PART_NORM2_BIAS,
    PART_UP_WEIGHT, /* C -> F */
    PART_UP_BIAS,
    PART_DOWN_WEIGHT, /* F -> C */
    PART_DOWN_BIAS,
    PART_FINAL_NORM_WEIGHT, /* [C] */
    PART_FINAL_NORM_BIAS,
    PART_LM_HEAD, /* [V, C]; absent when tied */
    PART_SCORE,   /* [labels, C], no bias */
    PARTS,
} Part;

typedef enum TensorScope {
    SCOPE_EMBEDDING,  /* Parameter.layer = -1 */
    SCOPE_BLOCK,      /* Parameter.layer = block number; the name holds one %zu */
    SCOPE_FINAL,      /* Parameter.layer = layers */
    SCOPE_LM_HEAD,    /* the same; only with HEAD_LM or HEAD_BOTH, and not tied */
    SCOPE_SCORE_HEAD, /* the same; only with HEAD_SCORES or HEAD_BOTH */
} TensorScope;

typedef enum Extent {
    EXTENT_NONE, /* beyond the rank */
    EXTENT_WIDTH,
    EXTENT_3_WIDTH,
    EXTENT_INNER,
    EXTENT_VOCABULARY,
    EXTENT_CONTEXT,
    EXTENT_LABELS,
} Extent;

/* How model_initialize fills a tensor. */
typedef enum TensorInit {
    INIT_ZEROS,
    INIT_ONES,
    INIT_NORMAL,   /* N(0, 0.02) */
    INIT_RESIDUAL, /* N(0, 0.02 / sqrt(2 L)) */
    INIT_SCORE,    /* N(0, 1 / sqrt(C + 1)) */
} TensorInit;

typedef struct TensorRow {
    Part part;
    TensorScope scope;
    const char *name; /* Hugging Face name, without the trunk's prefix for the trunk's tensors */
    Extent shape[2];
    TensorInit init;
    bool decay; /* weight decay applies */
} TensorRow;

typedef enum NormKind { NORM_LAYER } NormKind; /* LayerNorm with weight, bias, epsilon */
typedef enum PositionKind { POSITION_LEARNED } PositionKind; /* added to the token embedding */
typedef enum ActivationKind { ACTIVATION_GELU_NEW } ActivationKind; /* tanh form */
typedef enum LinearOrder {
    LINEAR_IN_OUT, /* y = x W + b, W [in, out] ("Conv1D") */
    LINEAR_OUT_IN, /* y = x W^T + b, W [out, in] */
} LinearOrder;
typedef enum QkvOrder {
    QKV_BY_KIND
} QkvOrder; /* a row's 3 C outputs are Q | K | V, heads inside */

/* The mathematics of a block: x += attention(norm1(x)); x += down(activation(up(norm2(x)))). */
typedef struct BlockOptions {
    NormKind norm;
    PositionKind position;
    ActivationKind activation;
    LinearOrder linear;
    QkvOrder qkv;
} BlockOptions;

/* A key of config.json and the member of ModelConfig that it fills. */
typedef enum ConfigKind {
    CONFIG_SIZE,  /* size_t */
    CONFIG_FLOAT, /* float, >= 0 */
    CONFIG_BOOL,  /* bool */
    CONFIG_ID,    /* int32_t; null is -1 */
} ConfigKind;

typedef struct ConfigKey {
    const char *key;
    ConfigKind kind;
    size_t offset;       /* in ModelConfig */
    const char *initial; /* JSON text when the key is absent or null; NULL: the key is required */
} ConfigKey;

/* A key that must have one of these values (JSON texts, NULL-terminated) or be absent; the first is
 * what a new model gets. Anything else is refused: the code does not compute it. */
typedef struct ConfigFixed {
    const char *key;
    const char *allowed[4];
} ConfigFixed;

typedef struct ModelFamily {
    const char *name;               /* model_type of config.json */
    const char *lm_architecture;    /* GPT2LMHeadModel */
    const char *score_architecture; /* GPT2ForSequenceClassification */
    const char *trunk;              /* prefix of the trunk's names; files of a bare trunk lack it */
    BlockOptions block;
    const ConfigKey *key;
    size_t keys;
    const ConfigFixed *fixed;
    size_t fixed_keys;
    size_t inner_factor; /* F = inner_factor * C when config.json does not say */
    const TensorRow *tensor;
    size_t tensors;
    const char *const *ignored; /* NULL-terminated buffers found in files, without trunk prefix; may
                                   hold one %zu */
} ModelFamily;

extern const ModelFamily family_gpt2;

/* NULL if no family has this model_type. family_at(i) lists them; NULL past the end. */
const ModelFamily *family_find(const char *model_type);
const ModelFamily *family_at(size_t i);

/* Whether the configuration has the scope's tensors. */
bool family_has_scope(const ModelConfig *config, TensorScope scope);

/* The size that an extent stands for; 1 for EXTENT_NONE. SIZE_MAX when it does not fit. */
size_t family_extent(const ModelConfig *config, Extent extent);

/* Number of parameters (tensors) of a configuration. */
size_t family_parameters(const ModelConfig *config);

/* The row of parameter i, and its block number through *layer (as Parameter.layer). */
const TensorRow *family_row(const ModelConfig *config, size_t i, int *layer);

/* Index of a part (of block `layer`; ignored outside blocks) in Model.parameter; SIZE_MAX if the
 * configuration has no such tensor. */
size_t family_index(const ModelConfig *config, Part part, size_t layer);

#endif
