/* SPDX-License-Identifier: MIT
 *
 * SentencePiece's model file, tokenizer.model: its numbers, and how a tokenizer is made of it.
 */
#ifndef RLHF_TEXT_SENTENCEPIECE_H
#define RLHF_TEXT_SENTENCEPIECE_H

#include "common/text/internal.h"

/* Fields of its messages (sentencepiece_model.proto). */
enum {
    MODEL_PIECES = 1,
    MODEL_TRAINER = 2,
    MODEL_NORMALIZER = 3,
    MODEL_DENORMALIZER = 5,
    PIECE_TEXT = 1,
    PIECE_SCORE = 2,
    PIECE_TYPE = 3,
    TRAINER_KIND = 3,
    TRAINER_SUFFIX = 24,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_BOS = 41,
    TRAINER_EOS = 42,
    TRAINER_PAD = 43,
    TRAINER_UNKNOWN_SURFACE = 44,
    NORMALIZER_NAME = 1,
    NORMALIZER_MAP = 2,
    NORMALIZER_DUMMY_PREFIX = 3,
    NORMALIZER_SQUEEZE = 4,
    NORMALIZER_ESCAPE = 5,
};
typedef enum PieceType {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE,
} PieceType;
typedef enum PieceModel { PIECE_MODEL_UNIGRAM = 1, PIECE_MODEL_BPE = 2 } PieceModel;

/* Fills a new tokenizer from the bytes of a tokenizer.model; what the file says of EOS, BOS and pad
 * goes through *roles. */
typedef struct PieceRoles {
    int64_t eos, bos, pad; /* -1: none */
} PieceRoles;
bool sentencepiece_read(Tokenizer *tokenizer, const char *bytes, size_t n, PieceRoles *roles,
                        Error *err);

/* The bytes of a tokenizer.model that means what a llama2.c tokenizer.bin does: how many bytes its
 * longest token has, then score, size and bytes of each. */
bool llama2c_convert(const char *bytes, size_t n, const char *file, Str *out, Error *err);

/* SentencePiece's own normalizer: replacements by the longest key, white space, U+2581. */
void sentencepiece_normalize(const Tokenizer *tokenizer, const Normalizer *step, const char *text,
                             size_t n, Str *out);

#endif
