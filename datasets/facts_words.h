/* SPDX-License-Identifier: MIT
 *
 * Words of a text, folded so that spellings of one word are equal: lower case, accents of Latin letters
 * dropped, hyphens and slashes as blanks, possessive 's cut off, curly apostrophes straight. A word is
 * held as a hash.
 */
#ifndef RLHF_DATASETS_FACTS_WORDS_H
#define RLHF_DATASETS_FACTS_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

/* Entries that are no words. */
enum {
    WORD_STOP = 0,   /* the end of a sentence: . ! ? ; */
    WORD_COMMA = 1,  /* a lesser mark: , : ( ) " */
    WORD_HIDDEN = 2, /* matches nothing */
};

typedef struct Words {
    uint64_t *word; /* owned */
    size_t count, capacity;
} Words;

/* Appends the words of n bytes of UTF-8. */
bool words_split(Words *words, const char *text, size_t n, Error *err);
void words_done(Words *words);

/* The hash of one word; false if the bytes are not exactly one. */
bool word_single(const char *text, size_t n, uint64_t *word);
uint64_t word_hash(const char *folded, size_t n);

typedef struct WordSet {
    uint64_t *word; /* owned */
    size_t count, capacity;
} WordSet;

bool word_set_add(WordSet *set, uint64_t word, Error *err);
bool word_set_has(const WordSet *set, uint64_t word);
void word_set_done(WordSet *set);

#endif
