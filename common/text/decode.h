/* SPDX-License-Identifier: MIT
 *
 * The state of decoding, and the steps of it.
 */
#ifndef RLHF_TEXT_DECODE_H
#define RLHF_TEXT_DECODE_H

#include "common/text/internal.h"

/* What SentencePiece's decoder has seen: a text's start, and a space that was taken from it. */
enum { PIECES_TEXT = 1, PIECES_SPACE = 2 };

typedef struct Step {
    size_t tokens; /* handed to this step so far; or PIECES_* */
    Str held;      /* what it cannot decide yet */
    Str made;      /* scratch */
} Step;

struct TokenStream {
    const Tokenizer *tokenizer;
    bool skip_special, replace;
    bool middle; /* the tokens are from the middle of a text: neither first nor last */
    int32_t id;  /* of the token that goes through */
    Step step[STEPS_MAX];
    Str *out;
};

/* Hands a token, or behind a step that makes one of all tokens a part of it, to step i; behind the
 * last step it goes to `out`. */
bool decode_put(TokenStream *stream, size_t i, const char *text, size_t n, Error *err);
/* One whole token through step i. */
bool decode_token(TokenStream *stream, size_t i, const char *text, size_t n, Error *err);
/* A part of the one token that all tokens have become: through Strip, and Replace of a literal. */
bool decode_strip_part(TokenStream *stream, size_t i, const char *text, size_t n, Error *err);
bool decode_replace_part(TokenStream *stream, size_t i, const char *text, size_t n, Error *err);
/* The end of the tokens for step i. fused: they came as parts of one. */
bool decode_finish(TokenStream *stream, size_t i, bool fused, Error *err);

#endif
