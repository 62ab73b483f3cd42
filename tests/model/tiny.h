/* SPDX-License-Identifier: MIT
 *
 * Small random models and batches for the tests of the pass.
 */
#ifndef RLHF_TESTS_MODEL_TINY_H
#define RLHF_TESTS_MODEL_TINY_H

#include "common/model/model.h"
#include "tests/support/support.h"

/* A GPT-2, with weights large enough for every part to matter: matrices and biases N(0, 0.25), norms near
 * 1; vocabulary 61, context 32, width 32, 4 heads. */
ModelConfig tiny_config(size_t layers, HeadKind head, bool tied);
void tiny_model(Model *model, const ModelConfig *config, uint64_t seed);

/* The same of every kind of block: tiny_family(i), i < TINY_FAMILIES, the GPT-2 above being 0. */
typedef enum TinyFamily {
    TINY_GPT2,
    TINY_GPT1,    /* norms behind */
    TINY_OPT,     /* positions count from 2; with ReLU a difference would step over its corners */
    TINY_GPT_NEO, /* every other layer sees a window; scores are not scaled */
    TINY_NEOX,    /* parallel, part of a head turns */
    TINY_NEOX_SEQUENTIAL, /* the same one after the other */
    TINY_LLAMA,           /* RMSNorm, grouped queries, gated units, no biases */
    TINY_LLAMA_BIASED,    /* all biases, scaled rotation, heads wider than the stream */
    TINY_MISTRAL,         /* every layer sees a window */
    TINY_QWEN3,           /* queries and keys are normed */
    TINY_GEMMA3,          /* norms end the branches; local layers turn faster */
    TINY_DECODERS,
    TINY_BERT = TINY_DECODERS, /* an encoder of pairs */
    TINY_DISTILBERT,
    TINY_ROBERTA, /* positions count from 2 */
    TINY_FAMILIES,
} TinyFamily;
ModelConfig tiny_family(TinyFamily family, size_t layers, HeadKind head);

/* One test for each family, or for each decoder: "name: family", *state pointing to the TinyFamily. Fills
 * the place for them and returns the next one. At most 16 calls a program. */
struct CMUnitTest *tiny_each_family(struct CMUnitTest *test, const char *name,
                                    CMUnitTestFunction check);
struct CMUnitTest *tiny_each_decoder(struct CMUnitTest *test, const char *name,
                                     CMUnitTestFunction check);
TinyFamily tiny_family_of(void *const *state);
bool tiny_is_decoder(TinyFamily family);

/* Ids of sequence `record`: a function of the record alone. */
void tiny_ids(int32_t *id, size_t n, uint64_t record);

/* Appends a sequence of `n` ids with targets id[t + 1] on rows [from, n - 1), and key `record`. */
void tiny_add(Batch *batch, const int32_t *id, size_t n, size_t from, int32_t prefix,
              uint64_t record);

/* The model in use: forward, then backward with gradients that are functions of each row's id, target and
 * position in the sequence (so of nothing that packing changes). */
typedef struct TinyPass {
    float *logprob, *entropy, *score, *correct; /* [tokens] */
    float *gradient;                            /* [count] */
    size_t tokens, count;
} TinyPass;

typedef struct TinySettings {
    float temperature; /* of a decoder; 0: 1 */
    bool dropout;
    uint64_t seed, step;
    bool trained; /* by model_train instead of model_forward and model_backward */
    GemmType type;
    unsigned packed;
    int64_t recompute;
} TinySettings;

/* Runs a pass over the batch, whose sequences are pairs where the model knows segments; adds to pass->gradient when it is there already. */
void tiny_run(TinyPass *pass, Model *model, const Batch *batch, const TinySettings *settings);
void tiny_pass_done(TinyPass *pass);

/* The coefficient of a number in the loss that tiny_run differentiates; kind 0 logprob, 1 entropy, 2
 * score. 0 for rows without a target. */
float tiny_coefficient(int32_t id, int32_t target, size_t position, int kind);

#endif
