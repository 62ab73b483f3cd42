/* SPDX-License-Identifier: MIT
 *
 * The model families' fixtures (tests/fixtures/families, whose mint.py says what their files hold) and what
 * a model says of the sequences in them.
 */
#ifndef RLHF_TESTS_MODEL_ORACLE_H
#define RLHF_TESTS_MODEL_ORACLE_H

#include "common/base/batch.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "tests/support/support.h"

enum {
    GREEDY = 1,    /* it has greedy continuations */
    SENTENCES = 2, /* scores are of sequences, read at their first rows */
    FOREIGN = 4,   /* another program's head: its values alone are compared */
};

typedef struct Case {
    const char *folder;
    int head; /* HeadKind, or -1: what config.json says */
    size_t labels;
    unsigned flags;
} Case;

/* The tensors of oracle.safetensors as floats; all are released together. */
typedef struct Oracle {
    SafeTensors file;
    float *owned[32];
    size_t count;
} Oracle;

/* What a model says of a batch: rows, and scores where the oracle has them. */
typedef struct Values {
    size_t tokens, scores, labels;
    float *logprob, *entropy, *score; /* score: [tokens * labels] */
} Values;

/* Until the next call. */
const char *case_folder(const Case *c);
void case_load(Model *model, const Case *c, const char *folder);
/* The oracle's sequences. */
void case_batch(Batch *batch, Oracle *oracle);
Workspace *case_workspace(const Model *model, const Batch *batch, bool training);

void oracle_open(Oracle *oracle, const Case *c);
void oracle_close(Oracle *oracle);
/* NULL and 0 where the case has none. count of oracle_floats may be NULL. */
float *oracle_floats(Oracle *oracle, const char *name, size_t *count);
int32_t *oracle_ids(Oracle *oracle, const char *name, size_t *count);

void values_init(Values *values, const Model *model, size_t tokens);
void values_done(Values *values);
/* Those of the heads that the model has. */
PerToken values_per_token(const Values *values, const Model *model);
/* Scores of all rows, bias included, become those that the oracle has: all, or of first rows. */
void values_keep_scores(Values *values, const Case *c, const Model *model, const Batch *batch);
/* What the model says, as the oracle has it; that has more where a head is not read. */
void values_compare(Oracle *oracle, const Model *model, const Values *values);

#endif
