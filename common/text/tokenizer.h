/* SPDX-License-Identifier: MIT
 *
 * Tokenizer: byte-level BPE, text to ids and back, exactly as Hugging Face's.
 *
 * Encoding: split on added tokens (leftmost, longest) unless told not to; pre-tokenize by the
 * pattern (PCRE2); bytes of a piece to their printable code points; merge by rank. Message content
 * is always encoded with special tokens off: text never becomes a special id.
 * Read from tokenizer.json or vocab.json + merges.txt of a folder; written as tokenizer.json,
 * tokenizer_config.json, vocab.json and merges.txt. What the code does not compute (normalizers,
 * other models) is refused by name.
 * Immutable after loading: threads may share it.
 */
#ifndef RLHF_TEXT_TOKENIZER_H
#define RLHF_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/str.h"

typedef struct Tokenizer Tokenizer;

/* A growing array of ids; initialize with {0}. */
typedef struct Tokens {
    int32_t *id; /* owned */
    size_t count, capacity;
} Tokens;
void tokens_done(Tokens *tokens);
bool tokens_push(Tokens *tokens, int32_t id, Error *err);
bool tokens_append(Tokens *tokens, const int32_t *id, size_t n, Error *err);

/* Reads path/tokenizer.json, or path/vocab.json + merges.txt; path may also name the .json file
 * itself (NAMEvocab.json is read with NAMEmerges.txt beside it). EOS, BOS and pad are named by
 * tokenizer_config.json, else special_tokens_map.json, else numbered by config.json of the same
 * folder; where no file says anything, <|endoftext|> is EOS and BOS if it is an added token, as in
 * GPT-2. */
Tokenizer *tokenizer_load(const char *path, Error *err);
void tokenizer_free(Tokenizer *tokenizer);

/* Writes the files named above into an existing folder. A tokenizer that was read keeps its unknown
 * keys: tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja
 * come out byte for byte as they went in. */
bool tokenizer_save(const Tokenizer *tokenizer, const char *folder, Error *err);

/* Appends the ids of n bytes of text. special: special tokens in the text become their ids; without
 * it their letters are text like any other, while added tokens that are not special (a user's
 * words) stay words. Invalid UTF-8 is ERROR_DATA with the offset. */
bool tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t n, bool special,
                      Tokens *out, Error *err);

/* Appends the bytes of the ids (invalid UTF-8 is replaced by U+FFFD as Hugging Face does when
 * `replace`, else left raw). skip_special leaves out special tokens. Unknown ids are ERROR_DATA. */
bool tokenizer_decode(const Tokenizer *tokenizer, const int32_t *id, size_t n, bool skip_special,
                      bool replace, Str *out, Error *err);

/* The raw bytes of one token (for streaming and stop strings); borrowed. */
const char *tokenizer_bytes(const Tokenizer *tokenizer, int32_t id, size_t *n);
/* The token as the vocabulary spells it, in the byte-level alphabet; borrowed, NULL for an unknown
 * id. */
const char *tokenizer_text(const Tokenizer *tokenizer, int32_t id);

size_t tokenizer_vocabulary(const Tokenizer *tokenizer); /* largest id + 1 */
int32_t tokenizer_eos(const Tokenizer *tokenizer);       /* -1: none */
int32_t tokenizer_bos(const Tokenizer *tokenizer);       /* -1: none */
int32_t tokenizer_pad(const Tokenizer *tokenizer);       /* -1: none */
bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id);
/* Id of an added or vocabulary token by its exact content, -1 if absent. */
int32_t tokenizer_find(const Tokenizer *tokenizer, const char *content);
uint64_t tokenizer_fingerprint(const Tokenizer *tokenizer); /* equal iff ids mean the same */

/* Training (Sennrich et al. 2016, byte level; ties as Hugging Face's BpeTrainer breaks them: same
 * text, same merges). */
typedef struct TokenizerTraining {
    size_t vocabulary;          /* wanted size, special tokens and the 256 bytes included */
    size_t minimum_count;       /* pairs rarer than this are not merged; default 2 */
    const char *const *special; /* come first, ids 0.. */
    size_t specials;
    const char *eos, *bos, *pad; /* contents among `special`, or NULL */
} TokenizerTraining;

typedef struct TokenizerTrainer TokenizerTrainer;
TokenizerTrainer *tokenizer_trainer_create(Error *err);
void tokenizer_trainer_free(TokenizerTrainer *trainer);
/* Counts the pieces of one text (valid UTF-8). */
bool tokenizer_trainer_feed(TokenizerTrainer *trainer, const char *text, size_t n, Error *err);
Tokenizer *tokenizer_trainer_finish(TokenizerTrainer *trainer, const TokenizerTraining *options,
                                    Error *err);

#endif
