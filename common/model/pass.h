/* SPDX-License-Identifier: MIT
 *
 * What forward, backward and head share: the Workspace and how a part of the model is found in it.
 * Private to common/model. Activations are only handed to kernels here, never read.
 */
#ifndef RLHF_MODEL_PASS_H
#define RLHF_MODEL_PASS_H

#include "common/kernels/attention.h"
#include "common/kernels/embedding.h"
#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "common/model/family.h"
#include "common/model/linear.h"
#include "common/model/model.h"
#include "common/model/packed.h"

/* Of a branch that ends in a norm: what the norm reads, [N, C], and keeps, [N]; else NULL. */
typedef struct BranchActivations {
    float *out, *mean, *rstd;
} BranchActivations;

/* A block's activations: what backward needs and cannot have from these again by a pointwise pass. Blocks
 * that keep none share one set; of those backward needs only the input, which each has of its own.
 * Without training the input is shared too, and what is dead makes room for what comes: norm and
 * attention are one buffer, qkv and up are one, middle and sum are one.
 * Widths: Q H D, K KV heads times D, U what the first feed-forward layer gives: F, or gate | up 2 F. */
typedef struct BlockActivations {
    float *input;         /* [N, C] the residual stream before the block */
    float *mean1, *rstd1; /* [N] */
    float *qkv;           /* [N, Q + 2 K], queries and keys as attention reads them */
    float *raw;           /* [N, Q + K] the same before their norm; NULL: they have none */
    float *lse;           /* [N, H] */
    float *attention;     /* [N, Q] before the output projection */
    float *middle;        /* [N, C] input and attention's branch; kept but in parallel blocks */
    float *mean2, *rstd2; /* [N] */
    float *up;            /* [N, U] before the activation; behind it once backward was there */
    float *sum;           /* [N, C] what the last norm of a NORM_BEHIND block reads; else NULL */
    BranchActivations branch[2]; /* of attention and of the feed-forward layer */
} BlockActivations;

/* A dense layer between hidden state and head, of the rows of a chunk: a transform before the LM head, a
 * pooler before the score head. All [chunk, C]; NULL where the family has no such layer. */
typedef struct HeadLayer {
    float *inner, *active; /* before and behind the activation */
    float *normed, *mean, *rstd;
    float *d;      /* in backward: the gradient of what the layer gave, then of what it read */
    float dropout; /* rate of a classifier's pooler: of what it gives, and of what it reads */
    float *masked; /* what such a pooler reads; else NULL */
} HeadLayer;

/* Where dropout strikes; blocks follow each other, see dropout_site. */
enum { SITE_EMBEDDING, SITE_BLOCKS };
enum { SITE_ATTENTION_OUT, SITE_MLP_OUT, SITE_HEADS /* and as many as there are heads */ };
enum { SITE_POOLER_INPUT = 0xFFFE, SITE_POOLED = 0xFFFF };

struct Workspace {
    ModelConfig config; /* a shallow copy: sizes and family only */
    WorkspacePlan plan;
    Arena arena;         /* while its base is NULL it only counts */
    int threads;         /* that there is scratch for */
    PackedModel *packed; /* NULL: products lay out the weights themselves */
    AdapterPass adapter; /* scratch; of a configuration with one */

    size_t first[PARTS];  /* index of a part (in block 0), SIZE_MAX: absent */
    size_t block_tensors; /* distance of the same part in two blocks */

    float temperature;
    bool dropout;
    uint64_t seed, step;

    /* of the batch in work */
    uint32_t *position;          /* [N] */
    uint64_t *stream;            /* [N] dropout stream of each row's sequence */
    AttentionSequence *sequence; /* [S] */
    size_t *group;               /* [S + 1] */
    size_t *live;                /* [N] rows whose hidden state is read, ascending */
    size_t lives; /* the last block's second half and what follows know these alone */
    Attention attention;
    Dropout masks;

    float *embedded; /* [N, C] before the embedding's norm; NULL: there is none */
    float *embedded_mean, *embedded_rstd; /* [N] */
    BlockActivations *block;              /* [L] */
    size_t kept;                          /* blocks from here on keep their activations */
    float *last;                          /* [N, C] the residual stream after the last block */
    float *mean, *rstd;                   /* [N] of the final norm */
    float *hidden;                        /* [N, C] final hidden state, of the live rows */
    float *normed; /* [N, max(C, Q)] what a norm gave: hidden, where it is not in use */
    float *inside; /* [N, F] what the activation gave, where it does not lie over `up`; or NULL */
    float *turn;   /* [positions, rotated dimensions] sines and cosines (rotary.h); or NULL */
    float *local_turn; /* the same for local layers that turn otherwise; else NULL */

    /* gradients in flight; training only */
    float *dresidual; /* [N, max(C, Q)] */
    float *dnarrow;   /* [N, max(C, Q)] */
    float *dmasked;   /* [N, C] NULL without dropout in the configuration */
    float *dbranch; /* [N, C] of a parallel block's output, or what a branch's norm read; or NULL */
    float *dwide;   /* [N, max(F, Q + 2 K, Q + C)]; in forward `inside`; the head has it over */

    /* head */
    size_t chunk;      /* rows at a time */
    size_t *row;       /* [N] the rows in work, as places among the live ones */
    size_t *batch_row; /* [chunk] a chunk's as rows of the batch */
    size_t *chosen;    /* [chunk] those with a target, among the live ones */
    size_t *place;     /* [chunk] and in the chunk */
    int32_t *target;   /* [chunk] */
    float *logits;     /* [chunk, V] */
    float *gathered;   /* [chunk, C] */
    HeadLayer transform, pooler;
    float *lse;                           /* [chunk] */
    PerToken value, gradient;             /* [chunk], of the chosen rows */
    PerToken chunk_value, chunk_gradient; /* [chunk], of all rows, for a RowLoss */
};

bool has_lm_head(const ModelConfig *config);
bool has_score_head(const ModelConfig *config);

/* The weights, and their gradient (NULL when frozen), of a part of block `layer`; NULL when there is no
 * such part. */
const float *part_weights(const Model *model, const Workspace *w, Part part, size_t layer);
float *part_gradient(const Model *model, const Gradients *gradients, const Workspace *w, Part part,
                     size_t layer);
/* The matrix of the LM head, [V, C]: its own or the token embedding. */
Part lm_head_part(const ModelConfig *config);

/* A block in work. */
typedef struct Pass {
    const Model *model;
    Gradients *gradients; /* NULL in forward */
    Workspace *w;
    LinearLayers linear;
    size_t rows, layer;
} Pass;

Pass pass_of(const Model *model, Gradients *gradients, Workspace *w, size_t rows);

/* The rows of the embedding's tables that the pass reads. */
EmbeddingRows embedding_rows(const Pass *pass, const int32_t *id, const uint8_t *segment);

/* A norm of C columns: its parts, what it reads, what forward keeps of it. */
typedef struct PassNorm {
    Part weight, bias;
    const float *x;
    float *mean, *rstd;
} PassNorm;

/* The norms of the block in work, and those around the blocks. */
PassNorm first_norm(const Pass *pass);
PassNorm second_norm(const Pass *pass);
PassNorm branch_norm(const Pass *pass, uint32_t site); /* the one that ends a branch */
PassNorm final_norm(const Workspace *w);
PassNorm embedding_norm(const Workspace *w);
Norm norm_kernel(const Pass *pass, const PassNorm *norm);
Norm head_norm(const Pass *pass, Part weight); /* PART_Q_NORM, PART_K_NORM */
void pass_norm(const Pass *pass, const PassNorm *norm, float *y);

/* The steps of a forward pass, which decoding takes too, with an attention of its own:
 *   ids to the first block's input; a block's queries, keys and values from its input; the rest of the
 *   block (of the pass's rows, which lie at the front of input and attention) to `output`; the final
 *   hidden state, normed or not. */
void pass_embed(const Pass *pass, const int32_t *id, const uint8_t *segment);
void block_project(const Pass *pass);
void block_finish(const Pass *pass, const float *input, const float *attention, float *output);
void pass_finish(const Pass *pass);
/* Where a block's output goes. */
float *block_output(const Workspace *w, size_t layer);

/* A block from its input. output NULL: its activations alone, for backward. */
void block_forward(const Pass *pass, float *output);

/* Positions, groups, live rows and dropout of a batch. */
void pass_begin(Workspace *w, const Batch *batch);
/* Whether from the middle of this block on there are the live rows only. */
bool pass_narrows(const Pass *pass);
/* The trunk: from ids to w->hidden. */
void pass_forward(const Model *model, Workspace *w, const Batch *batch);
/* The attention of a block, ready for the kernel. */
const Attention *pass_attention(Workspace *w, size_t layer);
/* Turns queries and keys of the block in work, or their gradients back. */
void pass_rotate(const Pass *pass, float *qkv, bool back);
/* What attention multiplies scores by; 0: the usual. */
float pass_scale(const ModelConfig *config);
uint32_t dropout_site(const Workspace *w, size_t layer, uint32_t site);
/* The adapter as products need it; NULL: the model has none, or it is packed in. */
const AdapterPass *pass_adapter(const Model *model, const Workspace *w);
/* Whether this pass masks at this rate; around the pooler. */
bool pass_drops(const Workspace *w, float rate);
bool pass_drops_pooled(const Workspace *w);
/* The trunk's backward: from the gradient of w->hidden, in w->dnarrow, to the slab. */
void pass_backward(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch);

/* The layer of x, of pass->rows rows of a chunk: what it gives, or x where there is none. */
const float *head_layer_forward(const Pass *pass, HeadLayer *layer, const float *x);
/* Follows it: from layer->d to layer->d, adding the gradients of the layer's parts. */
void head_layer_backward(const Pass *pass, HeadLayer *layer, const float *x);

void head_forward(const Model *model, Workspace *w, const Batch *batch, const PerToken *out);
/* Fills w->dnarrow and adds the heads' gradients. */
void head_backward(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch,
                   const PerToken *d);
void head_train(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch,
                unsigned want, RowLoss *loss, void *context, const PerToken *out);

#endif
