/* SPDX-License-Identifier: MIT
 *
 * What training a tokenizer keeps: the different pieces of the text and how often each was fed.
 */
#ifndef RLHF_TEXT_TRAINER_H
#define RLHF_TEXT_TRAINER_H

#include "common/text/internal.h"

typedef struct Word {
    char *text;      /* owned */
    size_t bytes;    /* of text */
    int64_t count;   /* how often it was fed */
    int32_t *symbol; /* owned; ids while merging */
    size_t n;        /* symbols */
} Word;

struct TokenizerTrainer {
    Tokenizer *splitter; /* only its stages are used */
    Word *word;
    size_t words, capacity;
    NameMap index; /* text to word */
};

/* Adds merges, and the tokens they make, to a tokenizer that holds special tokens and the
 * alphabet. */
bool trainer_learn(TokenizerTrainer *trainer, Tokenizer *tokenizer, size_t vocabulary,
                   int64_t minimum_count, Error *err);

#endif
