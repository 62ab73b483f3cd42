/* SPDX-License-Identifier: MIT
 *
 * Vocabulary: what a tokenizer is made of, read only, for writers of other formats and for people.
 */
#ifndef RLHF_TEXT_VOCABULARY_H
#define RLHF_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/str.h"
#include "common/text/tokenizer.h"

typedef enum VocabularyKind {
    VOCABULARY_BYTES,      /* BPE on bytes, spelled in the byte-level alphabet */
    VOCABULARY_CHARACTERS, /* BPE on characters */
    VOCABULARY_UNIGRAM,
    VOCABULARY_WORDPIECE,
} VocabularyKind;
VocabularyKind vocabulary_kind(const Tokenizer *tokenizer);
const char *vocabulary_kind_name(VocabularyKind kind); /* "byte-level BPE" */

typedef enum TokenClass {
    TOKEN_CLASS_HOLE,    /* no token has the id */
    TOKEN_CLASS_NORMAL,  /* the model's own */
    TOKEN_CLASS_UNKNOWN, /* what the model does not know */
    TOKEN_CLASS_BYTE,    /* <0xHH> of a model that falls back to bytes */
    TOKEN_CLASS_CONTROL, /* special: never found in content */
    TOKEN_CLASS_USER,    /* found in text before the model sees it */
} TokenClass;
TokenClass vocabulary_class(const Tokenizer *tokenizer, int32_t id);

/* A user's or special token that takes white space beside it, or wants a word's ends. */
bool vocabulary_is_greedy(const Tokenizer *tokenizer, int32_t id);

/* Merges by rank; none where scores say which pair goes first (SentencePiece). */
size_t vocabulary_merges(const Tokenizer *tokenizer);
void vocabulary_merge(const Tokenizer *tokenizer, size_t rank, int32_t *left, int32_t *right);
/* The id that two tokens merge to, -1: none. */
int32_t vocabulary_merged(const Tokenizer *tokenizer, int32_t left, int32_t right);
bool vocabulary_ignores_merges(const Tokenizer *tokenizer); /* for pieces that are words */

/* Log-probability of a Unigram piece, or SentencePiece's score of a BPE piece; false if the file has
 * none. */
bool vocabulary_score(const Tokenizer *tokenizer, int32_t id, double *score);

/* Whether all bytes of what the model does not know become <0xHH>, one unknown for a whole run. */
bool vocabulary_falls_back(const Tokenizer *tokenizer);

/* Normalizers and stages of the pre-tokenizer as text, a line each; equal texts do the same.
 *   normalize NFC
 *   split isolated pattern …
 *   bytes                                                                                          */
bool vocabulary_steps(const Tokenizer *tokenizer, Str *out, Error *err);

/* The chat template of chat_template.jinja or tokenizer_config.json (of several the
 * one named "default"); *out stays empty if there is none. */
bool vocabulary_chat_template(const Tokenizer *tokenizer, Str *out, Error *err);

/* Whether BOS belongs before a text: the file's post-processor puts it there, just it; of a tokenizer.model,
 * unless tokenizer_config.json says no. */
bool vocabulary_adds_bos(const Tokenizer *tokenizer);

#endif
