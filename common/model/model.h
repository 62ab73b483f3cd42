/* SPDX-License-Identifier: MIT
 *
 * Model: a transformer's weights, and the pass over a batch.
 *
 * Three things are kept apart, because PPO holds policy, reference, reward model and critic at once:
 *   Model      weights; shareable between threads and passes, may be a read-only mapping of a file;
 *   Gradients  one slab beside the trainable weights;
 *   Workspace  what a pass needs, planned once for a largest batch; no allocation per step.
 * (What decoding needs is the KvCache of generate.h.)
 *
 * A forward pass hands out per-token numbers, never logits: the log-probability of the row's target,
 * the entropy of the row's distribution, and the score head's outputs. A backward pass takes the
 * gradients of exactly these. The V-wide logits exist only in row chunks inside one kernel.
 * A loss that is pointwise in a row can instead be handed in as a function: then the head goes forward
 * and backward over each chunk in one pass (model_train). A test holds both ways equal.
 */
#ifndef RLHF_MODEL_MODEL_H
#define RLHF_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/batch.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/kernels/compact.h"
#include "common/kernels/gemm.h"
#include "common/model/config.h"
#include "common/model/safetensors.h"

/* One tensor of a model. Matrices of linear layers lie as the family's file format has them. */
typedef struct Parameter {
    char name[96]; /* the Hugging Face name we write */
    size_t shape[4];
    int rank;
    size_t count;     /* product of shape */
    size_t offset;    /* floats from Model.data, or with `own` from Model.own; held compact: bytes
                        from Model.compact */
    size_t gradient;  /* floats from Gradients.data; SIZE_MAX when frozen */
    bool own;         /* lies in Model.own; see parameter_data */
    CompactType held; /* NONE: as floats; see parameter_compact */
    bool down;        /* blocks of an INT8 matrix run down its columns */
    char digest[HASH_TEXT]; /* of the floats that a compact matrix was made of */
    bool trainable;
    bool decay; /* weight decay applies (matrices and embeddings; not biases and norms) */
    int layer;  /* block number; -1: embeddings; layers: final norm and heads */
} Parameter;

typedef struct Model {
    ModelConfig config;
    Parameter *parameter; /* owned */
    size_t parameters;
    float *data; /* the slab, `count` floats; with an adapter it is frozen: the base */
    size_t count;
    CompactType held; /* what the base's large matrices are held as: those of the blocks' linear
                         layers, the token embedding, the LM head; other than NONE: in `compact` */
    unsigned char *compact;
    size_t compact_bytes, compact_count; /* of `compact`; the weights in it */
    bool mapped;   /* data is a read-only mapping: no training but of what is own */
    bool borrowed; /* data and compact are those of another model, which lives longer */
    FileMap map;
    float *own; /* with an adapter, or borrowed data: the adapter and the score head; owned */
    size_t own_count;
    char *base;            /* with an adapter: folder of the base, or NULL; owned */
    uint64_t version;      /* of the weights, see model_touch */
    uint64_t base_version; /* of those in data and compact */
} Model;

/* The values of a parameter that is held as floats. */
static inline float *parameter_data(const Model *model, const Parameter *parameter) {
    CHECK(parameter->held == COMPACT_NONE);
    return (parameter->own ? model->own : model->data) + parameter->offset;
}
/* A parameter that is held compact. */
static inline CompactMatrix parameter_compact(const Model *model, const Parameter *parameter) {
    CHECK(parameter->held != COMPACT_NONE);
    return (CompactMatrix){parameter->held, parameter->down, parameter->shape[0],
                           parameter->shape[1], model->compact + parameter->offset};
}
/* Values of any parameter, out [count]. */
void parameter_read(const Model *model, const Parameter *parameter, float *out);

/* Bytes that a model takes beside what it borrows; and floats that a copy of it or a folder takes: all but
 * the base under an adapter. */
static inline size_t model_bytes(const Model *model) {
    size_t base = model->count * sizeof(float) + model->compact_bytes;
    return (model->borrowed ? 0 : base) + model->own_count * sizeof(float);
}
static inline size_t model_changing(const Model *model) {
    return model->own != NULL ? model->own_count : model->count;
}
/* Weights of the base, or of a model without an adapter. */
static inline size_t model_weights(const Model *model) {
    return model->count + model->compact_count;
}

/* Gives the model a version that no other weights of this process have or had. Whoever changes weights
 * calls it: what is derived from them (packed copies) compares versions. */
void model_touch(Model *model);

/* Lays out the parameters of a configuration; weights are zero. */
bool model_create(Model *model, const ModelConfig *config, Error *err);
/* Fresh weights as GPT-2's: N(0, 0.02), residual projections N(0, 0.02/sqrt(2 L)), norms 1, biases 0;
 * score head N(0, 1/sqrt(C + 1)). Functions of the seed and the parameter's name alone. */
void model_initialize(Model *model, uint64_t seed);
/* Fresh score head only (a reward model made from a language model); zero: its matrix is zero. A pooler
 * before it that is all zeros, because the folder had none, gets fresh weights too. */
void model_initialize_scores(Model *model, uint64_t seed, bool zero);

/* Whether there is anything at the path of a model; ERROR_NO_INPUT with what to do when there is not: a
 * name of the Hub is not a path, and nothing here fetches one. */
bool model_path_check(const char *path, Error *err);

/* Reads a Hugging Face folder: config.json and model.safetensors or its shards; or llama2.c's .bin file
 * (version 0), a causal LM. `head` and `labels` say
 * what the caller needs: a causal LM read as HEAD_SCORES gets a score head of zeros and
 * *fresh_head = true; a reward model's score head is read; HEAD_BOTH the same beside the LM head.
 * Missing, extra, misshapen or non-finite tensors are ERROR_DATA naming the tensor.
 * head = -1: what config.json says. fresh_head may be NULL. An adapter's folder (adapter_io.h) is read on
 * top of the base that it names. */
bool model_load(Model *model, const char *folder, int head, size_t labels, bool *fresh_head,
                Error *err);
/* The same with the base's large matrices held as `held`: of what an adapter is put on, for such a model
 * computes with the values that it holds and they do not train. Beside the model no more than a tensor or
 * two is held as floats on the way. A number that the type cannot hold is ERROR_DATA naming the tensor. */
bool model_load_compact(Model *model, const char *folder, CompactType held, int head, size_t labels,
                        bool *fresh_head, Error *err);
/* Makes floats of what is held compact, in memory of the model's own: the same values. */
bool model_widen(Model *model, Error *err);
/* Reads a folder's weights into a model of the same layout, which keeps its memory and everything else.
 * On failure the weights are undefined. */
bool model_reload(Model *model, const char *folder, Error *err);
/* Writes config.json and model.safetensors (F32) into an existing folder. Tensors that training did not
 * touch come out byte for byte. Of a model with an adapter (not HEAD_BOTH) the adapter's folder is
 * written: what is the model's own, without the base. */
bool model_save(const Model *model, const char *folder, Error *err);
/* A whole model (an adapter must have been merged, see adapter.h) with weights of type F32, F16 or BF16 (a
 * number that the type cannot hold is ERROR_DATA naming the tensor), and if they are more than
 * max_shard_bytes (0: no limit) in shards with an index. */
bool model_save_as(const Model *model, const char *folder, TensorType type, size_t max_shard_bytes,
                   Error *err);
void model_done(Model *model);
/* A deep copy; but the base under an adapter, which nothing changes, is borrowed. */
bool model_copy(Model *to, const Model *from, Error *err);
/* A model of `config` (of the same family and sizes; any head, an adapter or none) on the weights of
 * `from`, borrowed: from must have all of them that config calls for but a score head, and live longer.
 * What is its own is zero. */
bool model_share(Model *to, const Model *from, const ModelConfig *config, Error *err);
const Parameter *model_find(const Model *model, const char *name);

/* Freezes the embeddings and the first `layers` blocks (0: nothing), or everything but the heads
 * (layers = SIZE_MAX). Call before gradients_init. */
void model_freeze(Model *model, size_t layers);

typedef struct Gradients {
    float *data; /* [count], owned; zero at the start of each optimizer step */
    size_t count;
} Gradients;
bool gradients_init(Gradients *gradients, Model *model,
                    Error *err); /* also sets Parameter.gradient */
void gradients_zero(Gradients *gradients);
void gradients_done(Gradients *gradients);

/* What a pass should hand out. Of an encoder, whose rows see all of their sequence, target[t] is the id
 * wanted at row t itself (a masked one), and a text's score is read at its first row. Arrays of length N (scores: N x labels). */
enum { WANT_LOGPROB = 1, WANT_ENTROPY = 2, WANT_SCORE = 4 };

/* Every array is the caller's or NULL; rows without a target get 0 in logprob and entropy. */
typedef struct PerToken {
    float *logprob; /* [N] log p(target | ids up to the row) at the workspace's temperature */
    float *entropy; /* [N] of the row's distribution, nats */
    float *score;   /* [N * labels] without the reward bias; 0 at rows without a target where the
                       batch is read at targets only */
    float *correct; /* [N] 1 where the target is the most probable id (the lowest of a tie), else 0;
                       of model_forward only, it has no gradient */
} PerToken;

typedef struct Workspace Workspace;

enum { RECOMPUTE_ALL = -1 };

typedef struct WorkspacePlan {
    size_t tokens, sequences; /* the largest batch */
    bool training;            /* keep what backward needs */
    GemmType type;            /* of the products of linear layers and LM head */
    unsigned packed;          /* PACK_* of packed.h: weights that are laid out once per version */
    bool trunk;               /* the blocks alone, for a Generator: no pass over a batch */
    int64_t recompute; /* training: so many blocks from the bottom keep only their input, the rest
                                 is computed again in backward, to the same bits */
} WorkspacePlan;

/* Bytes that workspace_create will allocate. */
size_t workspace_bytes(const ModelConfig *config, const WorkspacePlan *plan);
Workspace *workspace_create(const ModelConfig *config, const WorkspacePlan *plan, Error *err);
void workspace_free(Workspace *workspace);

/* Settings of the next passes. temperature divides the logits (1 by default). */
void workspace_set_temperature(Workspace *workspace, float temperature);
/* Dropout for training passes: on = masks are functions of (seed, step, sequence key, position, site). */
void workspace_set_dropout(Workspace *workspace, bool on, uint64_t seed, uint64_t step);

/* Forward over the batch (B <= plan). With a training workspace, backward may follow. Arrays of `out`
 * that are not NULL are filled. */
void model_forward(const Model *model, Workspace *workspace, const Batch *batch,
                   const PerToken *out);

/* Adds the gradients of sum_t (d->logprob[t] * logprob[t] + d->entropy[t] * entropy[t] +
 * sum_j d->score[t][j] * score[t][j]) to the gradient slab. Follows model_forward on the same batch,
 * model, workspace, once: it writes over what forward kept. NULL arrays are zero gradients. */
void model_backward(const Model *model, Gradients *gradients, Workspace *workspace,
                    const Batch *batch, const PerToken *d);

/* A loss that is pointwise in a row: fills the gradients of rows [0, n) of this chunk from the values.
 * row[i] is the batch row of entry i. Arrays not produced (entropy when not wanted, scores without a
 * score head) are NULL. Called from one thread, chunks in ascending order. */
typedef void RowLoss(void *context, size_t n, const size_t *row, const PerToken *value,
                     PerToken *gradient);

/* Forward, loss and backward with the head in one pass over row chunks. `out` as in model_forward (its
 * arrays may be NULL). want: WANT_* that the row function reads. */
void model_train(const Model *model, Gradients *gradients, Workspace *workspace, const Batch *batch,
                 unsigned want, RowLoss *loss, void *context, const PerToken *out);

#endif
