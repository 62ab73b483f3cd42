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

#include "common/kernels/norm.h"
#include "common/model/config.h"

enum { PARAMETER_ALIGN = 16 }; /* floats: 64 bytes */

/* What a tensor is to the pass. A part "behind" another lies right behind it in memory, without a gap, so
 * that both are the rows of one matrix (or one vector) and one product. */
typedef enum Part {
    PART_TOKEN_EMBEDDING,       /* [V, C] */
    PART_POSITION_EMBEDDING,    /* [T, C] added to the token embedding */
    PART_SEGMENT_EMBEDDING,     /* [segments, C] added too */
    PART_EMBEDDING_NORM_WEIGHT, /* [C] of the sum */
    PART_EMBEDDING_NORM_BIAS,
    PART_NORM1_WEIGHT, /* [C] of attention */
    PART_NORM1_BIAS,
    PART_QKV_WEIGHT, /* C -> Q | K | V; in families with three tensors that of Q */
    PART_K_WEIGHT,   /* behind the Q weight */
    PART_V_WEIGHT,   /* behind the K weight */
    PART_QKV_BIAS,   /* as the weights */
    PART_K_BIAS,
    PART_V_BIAS,
    PART_Q_NORM, /* [D] RMSNorm of each head's query before rotation */
    PART_K_NORM,
    PART_ATTENTION_OUT_WEIGHT, /* H D -> C */
    PART_ATTENTION_OUT_BIAS,
    PART_NORM1_OUT_WEIGHT, /* [C] of what attention's branch adds to the stream (Gemma 3) */
    PART_NORM1_OUT_BIAS,
    PART_NORM2_WEIGHT, /* [C] of the feed-forward layer */
    PART_NORM2_BIAS,
    PART_UP_WEIGHT,    /* C -> F; of a gated unit C -> gate | up, this being the gate's tensor */
    PART_GATED_WEIGHT, /* behind the gate: what it is multiplied with */
    PART_UP_BIAS,
    PART_GATED_BIAS,
    PART_DOWN_WEIGHT, /* F -> C */
    PART_DOWN_BIAS,
    PART_NORM2_OUT_WEIGHT, /* [C] of what the feed-forward layer adds to the stream */
    PART_NORM2_OUT_BIAS,
    PART_FINAL_NORM_WEIGHT, /* [C] */
    PART_FINAL_NORM_BIAS,
    PART_TRANSFORM_WEIGHT, /* C -> C before the LM head, then activation and norm (BERT) */
    PART_TRANSFORM_BIAS,
    PART_TRANSFORM_NORM_WEIGHT,
    PART_TRANSFORM_NORM_BIAS,
    PART_LM_HEAD,       /* [V, C]; absent when tied */
    PART_LM_BIAS,       /* [V] */
    PART_POOLER_WEIGHT, /* C -> C before the score head, then the family's pooler activation */
    PART_POOLER_BIAS,
    PART_SCORE,      /* [labels, C] */
    PART_SCORE_BIAS, /* [labels] */
    PARTS,
} Part;

typedef enum TensorScope {
    SCOPE_EMBEDDING,  /* Parameter.layer = -1 */
    SCOPE_BLOCK,      /* Parameter.layer = block number; the name holds one %zu */
    SCOPE_FINAL,      /* Parameter.layer = layers */
    SCOPE_LM_HEAD,    /* the same; with HEAD_LM or HEAD_BOTH */
    SCOPE_SCORE_HEAD, /* the same; with HEAD_SCORES or HEAD_BOTH */
} TensorScope;

/* Which configurations have a tensor of a scope that they have. */
typedef enum TensorCondition {
    ALWAYS,
    IF_UNTIED, /* !tied */
    IF_QKV_BIAS,
    IF_OUT_BIAS,
    IF_INNER_BIAS,
    IF_HEAD_NORM,
    IF_SEGMENTS,      /* segments > 0 */
    IF_SCORES_ALONE,  /* HEAD_SCORES */
    IF_SCORES_BESIDE, /* HEAD_BOTH */
} TensorCondition;

/* How a file holds a tensor whose order in memory differs. */
typedef enum TensorStorage {
    STORED_AS_IS,
    STORED_BY_HEAD, /* rows [heads][Q | K | V][D] of a fused Q | K | V (GPT-NeoX) */
} TensorStorage;

typedef enum Extent {
    EXTENT_NONE, /* beyond the rank */
    EXTENT_WIDTH,
    EXTENT_QUERY, /* H D */
    EXTENT_KEY,   /* KV heads times D */
    EXTENT_QKV,   /* both, the second twice */
    EXTENT_HEAD,  /* D */
    EXTENT_INNER,
    EXTENT_VOCABULARY,
    EXTENT_CONTEXT, /* rows of the position table: context + first_position */
    EXTENT_SEGMENTS,
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
    TensorCondition condition;
    TensorStorage storage;
} TensorRow;

typedef enum NormPlace {
    NORM_BEFORE, /* x += f(norm(x)); a final norm behind the last block */
    NORM_BEHIND, /* x = norm(x + f(x)); no final norm */
} NormPlace;
typedef enum LinearOrder {
    LINEAR_IN_OUT, /* y = x W + b, W [in, out] ("Conv1D") */
    LINEAR_OUT_IN, /* y = x W^T + b, W [out, in] */
} LinearOrder;

/* The mathematics of a block beside what the configuration says. */
typedef struct BlockOptions {
    NormKind norm;
    NormPlace place;
    LinearOrder linear;
    bool gated;            /* F units act(gate) * up instead of act(up) (Shazeer 2020) */
    bool bidirectional;    /* an encoder: a row sees its whole sequence */
    bool unscaled;         /* scores are not divided by sqrt(head size) */
    bool scaled_embedding; /* token embeddings times sqrt(C) */
    ActivationKind pooler; /* its activation */
    bool drops_twice;      /* a classifier's dropout strikes what its pooler reads too */
} BlockOptions;

/* A key of config.json and the member of ModelConfig that it fills; one key may fill several. */
typedef enum ConfigKind {
    CONFIG_SIZE,       /* size_t; null is 0 where the key is not required */
    CONFIG_FLOAT,      /* float, >= 0; null is as absent */
    CONFIG_OPTIONAL,   /* float, >= 0; null is -1 */
    CONFIG_BOOL,       /* bool */
    CONFIG_ID,         /* int32_t; null is -1, a list stands for its first id */
    CONFIG_ACTIVATION, /* ActivationKind, by a name that the family knows */
} ConfigKind;

typedef struct ConfigKey {
    const char *key; /* NULL: the family has no such key, its value is `initial` */
    ConfigKind kind;
    size_t offset;       /* in ModelConfig */
    const char *initial; /* JSON text when the key is absent; NULL: the key is required */
} ConfigKey;

typedef struct ActivationName {
    const char *name;
    ActivationKind kind;
} ActivationName;

/* The names of rotary positions: the keys of transformers before its version 5; what
 * `rope_parameters` holds since then; all that a file has must agree. */
typedef struct RopeKeys {
    const char *theta, *share; /* top-level keys; theta NULL: the family has no rotary positions.
                                  share: the part of a head that turns, NULL: all of it */
    double initial_share;
    double initial_theta; /* 0: 10,000 */
    const char *local;    /* key of the theta of layers that see a window, and `rope_parameters` has
                             an object for each kind of layers; NULL: all turn alike */
} RopeKeys;

/* What config.json says in more than a key and a number. json NULL: nothing is said, a new model. */
struct ConfigSource;
typedef struct ConfigHook {
    bool (*read)(ModelConfig *config, const struct ConfigSource *source, Error *err);
    bool (*write)(const ModelConfig *config, cJSON *json, Error *err);
} ConfigHook;

/* Layers that see a window: `sliding_window` for all of them (Mistral); and with `use_sliding_window`
 * for those from `max_window_layers` on, or those of `layer_types` (Qwen); those of `layer_types`, or all
 * but each `sliding_window_pattern`-th (Gemma 3). */
extern const ConfigHook config_window_hook, config_layer_types_hook, config_pattern_hook;

/* A key that must have one of these values (JSON texts, NULL-terminated) or be absent; the first is
 * what a new model gets, unless it is null. Anything else is refused: the code does not compute it. */
typedef struct ConfigFixed {
    const char *key;
    const char *allowed[4];
} ConfigFixed;

typedef struct ModelFamily {
    const char *name;               /* model_type of config.json */
    const char *lm_architecture;    /* GPT2LMHeadModel */
    const char *score_architecture; /* GPT2ForSequenceClassification */
    const char *both_architecture;  /* BertForPreTraining, of two scores; NULL: the score head of a
                                       HEAD_BOTH model lies in a file of its own */
    const char *trunk_architecture; /* GPT2Model: no head but a tied one */
    const char *trunk;              /* prefix of the trunk's names; files of a bare trunk lack it */
    BlockOptions block;
    const ConfigKey *key;
    size_t keys;
    const ConfigFixed *fixed;
    size_t fixed_keys;
    const ActivationName *activation; /* NULL-terminated; NULL: the names of most families */
    const char *old_context; /* another name of the context's key, written beside it for older
                                         programs; or NULL */
    size_t first_position;   /* so many rows of the position table, which the context's key does not
                                        count, lie before that of the first token */
    bool positions_behind_pad; /* row pad + 1 of the position table is that of the first token */
    RopeKeys rope;
    const ConfigHook *windows; /* NULL: no layer is local */
    size_t inner_factor;       /* F = inner_factor * C when config.json does not say; 0: it says */
    const TensorRow *tensor;
    size_t tensors;
    const char *const *ignored; /* NULL-terminated buffers found in files, without trunk prefix; may
                                   hold one %zu */
} ModelFamily;

extern const ModelFamily family_gpt2, family_openai_gpt, family_opt, family_gpt_neo,
    family_gpt_neox, family_llama, family_mistral, family_qwen2, family_qwen3, family_gemma3_text,
    family_bert, family_distilbert, family_roberta;

/* NULL if no family has this model_type. family_at(i) lists them; NULL past the end. */
const ModelFamily *family_find(const char *model_type);
const ModelFamily *family_at(size_t i);

/* Whether the configuration has the tensor (of each block). */
bool family_has_row(const ModelConfig *config, const TensorRow *row);

/* Whether rows see both directions of their sequence: then a sequence has no prefix, and a text's score is
 * read at its first row. */
bool family_is_encoder(const ModelConfig *config);
/* The row that the score of the text in rows [begin, end) is read at. */
size_t family_score_row(const ModelConfig *config, size_t begin, size_t end);

/* Whether a part lies right behind the one before it, as K behind Q. */
bool part_is_behind(Part part);

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
