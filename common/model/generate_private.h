/* SPDX-License-Identifier: MIT
 *
 * The inside of a Generator: its memory, and the pass of single rows over the cache of pages.
 * generate.c decides which rows run, generate_pass.c computes them.
 */
#ifndef RLHF_MODEL_GENERATE_PRIVATE_H
#define RLHF_MODEL_GENERATE_PRIVATE_H

#include "common/kernels/cached_attention.h"
#include "common/model/generate.h"
#include "common/model/pass.h"

/* A prompt with completions under way or waiting. */
typedef struct LivePrompt {
    size_t prompt;  /* index */
    size_t pending; /* samples not finished; 0: the place is free */
    uint32_t *page; /* [ceil(count / PAGE_TOKENS)] */
    float *hidden;  /* [C] what the head reads behind the last token of the prompt */
} LivePrompt;

/* A completion under way. */
typedef struct Row {
    LivePrompt *live;
    Completion *completion;
    int32_t *id; /* the completion's arrays */
    float *logprob, *entropy;
    size_t limit;   /* tokens it may have */
    uint32_t *page; /* of its own tokens */
    size_t pages;
    Random random;
} Row;

/* Sizes, and where each piece lies in the one block of memory. */
struct Generator {
    size_t width, vocabulary;
    size_t rows, context;       /* of the plan */
    size_t pass_rows;           /* most rows of a pass */
    size_t head_rows;           /* rows of logits at a time */
    size_t pages;               /* of the cache */
    size_t page;                /* bytes of one in a layer */
    size_t row_pages;           /* most pages of a prompt, or of a completion */
    size_t completions, tokens; /* most of a call, and most of a completion */
    GemmType type, cache_type;
    int threads;

    Workspace *trunk; /* the blocks, without training; owned */
    Arena arena;
    Completion *completion; /* [completions] */
    int32_t *ids;           /* [completions][tokens] */
    float *logprobs, *entropies;
    char *cache; /* [L][pages][page] */
    uint32_t *free_page;
    size_t free_pages;
    uint32_t *list; /* page lists of prompts and rows */
    LivePrompt *live;
    Row *row;
    size_t active;

    /* A pass: [pass_rows] places. */
    int32_t *id;
    CachedRow *place;
    /* Of a pass over whole prompts, which the trunk lists; 0: over single rows behind what is cached. */
    size_t sequences;
    size_t *fresh; /* [rows] index into live */
    float *scores; /* scratch of cached attention */

    /* Sampling. */
    float *hidden;      /* [rows][C] */
    float *logits;      /* [head_rows][V] */
    float *plain;       /* [threads][V] */
    float *weight;      /* [threads][V] */
    uint32_t *order;    /* [threads][V] */
    SamplingDraw *draw; /* [rows] */
};

/* Computes n <= pass_rows rows (id, place, the trunk's positions) through all blocks, storing keys and
 * values on the way; the trunk's hidden [n, C] is then what the head reads. With sequences the rows are
 * whole prompts, and hidden [sequences, C] belongs to the last token of each. */
void generator_pass(Generator *generator, const Model *model, size_t n);

/* logits [n, V] of n <= head_rows rows of hidden. */
void generator_head(Generator *generator, const Model *model, const float *hidden, size_t n);

#endif
