/* SPDX-License-Identifier: MIT
 *
 * What an encoder learns from text: masked words and next sentences (Devlin et al. 2019, "BERT",
 * section 3.1).
 *
 * A share of a sequence's ordinary ids (all but special tokens), at least one, are targets; of these 8
 * of 10 are replaced by the mask, 1 by a random ordinary id, and 1 is kept. Next sentence: the sequence
 * is two halves, a text cut in its middle or a prompt and its completion; in one of two sequences the
 * second half is that of another example, and the score head says which: 0 it follows, 1 it does not.
 *
 * Every choice is a function of (seed, draw, the example's key, position), draw being the step or
 * MASKED_EVALUATION; never of what stands beside a sequence in a batch.
 */
#ifndef RLHF_SFT_MASKED_H
#define RLHF_SFT_MASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/batch.h"
#include "common/text/layout.h"
#include "common/text/tokenizer.h"
#include "datasets/example.h"

#define MASKED_EVALUATION UINT64_MAX

typedef struct MaskedOptions {
    double share;       /* of the ordinary ids, [0, 1] */
    bool next_sentence; /* needs a framed layout */
    bool segments;      /* the second half has token type 1 */
    uint64_t seed;
    size_t max_tokens; /* of a sequence */
} MaskedOptions;

typedef struct Masked {
    MaskedOptions options;
    const Tokenizer *tokenizer; /* borrowed */
    int32_t mask, eos;
    int32_t *ordinary; /* ids that a random one is drawn from; owned */
    size_t ordinaries;
    Tokens separator; /* between the halves of a text */
    size_t prefix;    /* ids before a text */
} Masked;

/* ERROR_DATA if the tokenizer has no mask or no ordinary ids, ERROR_CONFIG if the layout has no frame for
 * pairs. On failure nothing is left to release. */
bool masked_init(Masked *masked, const Tokenizer *tokenizer, const Layout *layout,
                 const MaskedOptions *options, Error *err);
void masked_done(Masked *masked);

/* What windows of text may take, so that a separator still fits. */
size_t masked_window(const Masked *masked);

/* Whether an example has an id to hide, with next sentences in its first half, which no draw exchanges; an
 * ExampleTest. */
bool masked_is_usable(const void *masked, const Example *example);

/* Rows and targets of example i of a set, all of it usable, in a draw. */
size_t masked_rows(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw);
size_t masked_targets(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw);
/* At most this many rows has any example of the set in any draw. */
size_t masked_most_rows(const Masked *masked, const ExampleSet *set);

/* Appends the sequence. target[t] is the id that row t hides; with next sentences the first row, where the
 * score is read, has its own id as a target that is no masked one, and *label is the true score's
 * index. */
bool masked_add(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw, Batch *batch,
                int *label, Error *err);

#endif
