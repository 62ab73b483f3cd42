/* SPDX-License-Identifier: MIT
 *
 * Batch: N tokens in a row and where each of S sequences begins. There is no padding anywhere.
 *
 * Linear layers, norms and activations see an N x C matrix; only attention, positions and sampling
 * look at sequences. Row t of a sequence may name a target: the id whose log-probability, given the
 * ids up to and including row t, is wanted there. Usually target[t] = id[t + 1]; a row without a
 * target costs no work in the vocabulary head.
 *
 * Where only_targets is set, scores too are read at rows with a target alone.
 *
 * A sequence may name another one as its prefix: it sees the prefix's rows as if they stood before
 * its own, and its positions go on from the prefix's end. One level only: a prefix has no prefix.
 * K completions of one prompt hold the prompt once: the prefix is the prompt without its last token,
 * each completion's sequence begins with that last token (so its row 0 speaks of the first token of
 * the completion). A prefix stands before its children; a group (a prefix and its children, all
 * adjacent) is never split over micro-batches.
 */
#ifndef RLHF_BASE_BATCH_H
#define RLHF_BASE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { BATCH_NO_TARGET = -1, BATCH_NO_PREFIX = -1 };

typedef struct Batch {
    size_t tokens;    /* N */
    size_t sequences; /* S */
    int32_t *id;      /* [N] token ids */
    int32_t *target;  /* [N] id whose log-prob row t gives, or BATCH_NO_TARGET */
    uint8_t *segment; /* [N] token type, for encoders of pairs of texts; 0 where nobody says */
    size_t *start;    /* [S + 1] first row of each sequence; start[S] = N */
    int32_t *prefix;  /* [S] index of the sequence before this one, or BATCH_NO_PREFIX */
    uint64_t *key;    /* [S] identity for random numbers (dropout): a function of record and sample,
                         never of the place in the batch */
    bool only_targets; /* nothing is read at other rows, of a score head neither */
    size_t token_capacity, sequence_capacity;
} Batch;

/* Room for this many tokens and sequences, so that adding within it allocates nothing. */
bool batch_init(Batch *batch, size_t tokens, size_t sequences, Error *err);
void batch_done(Batch *batch);
void batch_clear(Batch *batch); /* empties, keeps the memory */

/* Appends n >= 1 rows as a new sequence; grows when the capacity is exceeded. `target` may be NULL:
 * no targets. Gives the sequence's index through *index (may be NULL). */
bool batch_add(Batch *batch, const int32_t *id, const int32_t *target, size_t n, int32_t prefix,
               uint64_t key, size_t *index, Error *err);

/* The same without ids: the rows, id 0 and no target, are the caller's to fill. */
bool batch_append(Batch *batch, size_t n, int32_t prefix, uint64_t key, size_t *index, Error *err);

/* Token types of the rows of sequence s: its first `first` rows have type 0, the others 1. */
void batch_set_segments(Batch *batch, size_t s, size_t first);

/* Length of sequence s, and the position of its first row (0, or its prefix's length). */
size_t batch_length(const Batch *batch, size_t s);
size_t batch_first_position(const Batch *batch, size_t s);

/* Checks the rules above and id, target < vocabulary, positions < context; a broken batch is a
 * programmer's fault, so this is for CHECK. */
bool batch_is_valid(const Batch *batch, size_t vocabulary, size_t context);

#endif
