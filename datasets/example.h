/* SPDX-License-Identifier: MIT
 *
 * Example: a record in token ids, ready to become sequences of a Batch; and the order and grouping of
 * examples into steps and micro-batches. Knows tokenizers and layouts, not models.
 */
#ifndef RLHF_DATASETS_EXAMPLE_H
#define RLHF_DATASETS_EXAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/batch.h"
#include "common/base/error.h"
#include "common/text/layout.h"
#include "common/text/tokenizer.h"
#include "datasets/dataset.h"

typedef struct Example {
    Tokens prompt;      /* ids of the prompt; of a conversation or text: all ids */
    Tokens *completion; /* [completions] ids, EOS included where complete */
    size_t completions;
    uint8_t *trained;     /* [prompt.count] of a conversation or text: 1 = the id is trained */
    const Record *record; /* borrowed; several examples of one text share it */
    uint64_t key;         /* identity for random numbers: hash of content and line in the file */
    uint64_t group;       /* hash of the prompt: records of one prompt have the same */
} Example;

typedef enum OverLength {
    OVER_LENGTH_DROP,
    OVER_LENGTH_TRUNCATE,
    OVER_LENGTH_TERMINATE
} OverLength;

typedef struct EncodeOptions {
    size_t max_tokens;      /* of prompt + completion together; of a prompt alone: of the prompt */
    OverLength over_length; /* drop the record | cut the completion, no EOS | cut and end in EOS */
    bool append_eos;        /* completions end in EOS */
    bool loss_on_all;       /* trained = 1 for prompts of demonstrations and all turns too */
} EncodeOptions;

typedef struct EncodeCounts {
    size_t records, used, dropped_long, truncated, terminated,
        dropped_empty; /* empty: nothing to train */
    size_t tokens, trained_tokens, longest;
} EncodeCounts;

typedef struct ExampleSet {
    Example *example; /* owned */
    size_t examples, capacity;
    EncodeCounts counts;
} ExampleSet;

/* Encodes every record. RECORD_TEXT is cut into windows of max_tokens, each document ending in EOS;
 * of a framed layout each window stands in the frame, prefix and EOS, and all of it counts as trained but
 * the first id.
 * A labeled text is one sequence, prompt alone, that ends in EOS, where its score is read.
 * A set that ends up empty is ERROR_DATA with the counts. A prompt too long for any completion drops the
 * record whatever the policy is. */
bool examples_encode(ExampleSet *set, const DataSet *data, const Tokenizer *tokenizer,
                     const Layout *layout, const EncodeOptions *options, Error *err);
void examples_done(ExampleSet *set);
/* Keeps the examples that pass the test, in their order. */
typedef bool ExampleTest(const void *context, const Example *example);
void examples_filter(ExampleSet *set, ExampleTest *test, const void *context);
/* "7,592 records: 7,590 used, 2 too long (dropped); 498,210 tokens, 201,300 trained" */
void examples_describe(const EncodeCounts *counts, Str *out);

/* Rows an example adds to a batch. shared: completions behind one prefix. */
size_t example_rows(const Example *example, bool shared);

/* Appends an example's sequences: one per completion (or one for a conversation or text). Targets are
 * set where the log-prob is trained (completion ids; with loss_on_all every id). The first sequence's
 * index goes to *first; with `shared` and several completions it is the prefix, completions follow. */
/* Every id gets a row, the last one of a completion (EOS) too, where a score is read; a row's target is
 * the next id of its sequence, the last row has none. A prompt of one id has no prefix. */
bool example_add(const Example *example, bool shared, bool loss_on_all, Batch *batch, size_t *first,
                 Error *err);

/* The i-th example of an epoch: a function of (seed, epoch) alone. */
size_t example_order(uint64_t seed, uint64_t epoch, size_t examples, size_t i);

#endif
