/* SPDX-License-Identifier: MIT
 *
 * Tokenizer: text to ids and back, exactly as Hugging Face's tokenizers.
 *
 * Encoding: split on added tokens (leftmost, longest) unless told not to; normalize what lies
 * between them; split it into pieces; a model, BPE, Unigram or WordPiece, makes ids of each piece.
 * Decoding: the tokens go through decoders. All steps are those of tokenizer.json; what the code
 * does not compute is refused by name.
 * Message content is always encoded with special tokens off: text never becomes a special id, not
 * even where a model's vocabulary holds the special token's text as a piece (Hugging Face's would
 * find it there).
 * Read from a folder's tokenizer.json, tokenizer.model (SentencePiece, whose results are then
 * exactly its own), vocab.json + merges.txt, or tokenizer.bin (llama2.c). Written as tokenizer.json,
 * tokenizer_config.json and, of byte-level BPE, vocab.json and merges.txt; what came from SentencePiece
 * or llama2.c as tokenizer.model and tokenizer_config.json. A file's "truncation" and "padding" are
 * kept and not applied.
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

/* Reads the first of path's files in the order above; path may also name a file itself, .json,
 * .model or .bin (NAMEvocab.json is read with NAMEmerges.txt beside it). EOS, BOS and pad are named by
 * tokenizer_config.json, else special_tokens_map.json; EOS and BOS else numbered by config.json of the
 * same folder; where no file says anything, <|endoftext|> is EOS and BOS if it is an added token, as in
 * GPT-2. */
Tokenizer *tokenizer_load(const char *path, Error *err);
void tokenizer_free(Tokenizer *tokenizer);

/* Writes the files named above into an existing folder. A tokenizer that was read keeps its unknown
 * keys: tokenizer.json, tokenizer.model, tokenizer_config.json, special_tokens_map.json and chat_template.jinja
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

/* One text, or a pair, in the special tokens that the file's post-processor puts around it, as an
 * encoder (BERT, RoBERTa) reads it. type (may be NULL) gets the segment of each id. texts: 1 or 2. */
typedef struct TextPart {
    const char *text;
    size_t n;
} TextPart;
bool tokenizer_encode_framed(const Tokenizer *tokenizer, const TextPart *text, size_t texts,
                             bool special, Tokens *out, Tokens *types, Error *err);

/* Decoding id by id: put appends what no later id can change, end the rest, and all of it is what
 * tokenizer_decode gives for the same ids. After end the stream is as new. */
typedef struct TokenStream TokenStream;
TokenStream *token_stream_create(const Tokenizer *tokenizer, bool skip_special, bool replace,
                                 Error *err);
bool token_stream_put(TokenStream *stream, int32_t id, Str *out, Error *err);
bool token_stream_end(TokenStream *stream, Str *out, Error *err);
void token_stream_free(TokenStream *stream);

/* The raw bytes of one token where it is neither the first nor the last (for stop strings);
 * borrowed. */
const char *tokenizer_bytes(const Tokenizer *tokenizer, int32_t id, size_t *n);
/* The token as the vocabulary spells it; borrowed, NULL for an unknown id. */
const char *tokenizer_text(const Tokenizer *tokenizer, int32_t id);

size_t tokenizer_vocabulary(const Tokenizer *tokenizer); /* largest id + 1 */
int32_t tokenizer_eos(const Tokenizer *tokenizer);       /* -1: none */
int32_t tokenizer_bos(const Tokenizer *tokenizer);       /* -1: none */
int32_t tokenizer_pad(const Tokenizer *tokenizer);       /* -1: none */
/* What stands for a hidden token: mask_token of tokenizer_config.json or special_tokens_map.json, else
 * [MASK] or <mask> if the vocabulary has it; -1: none. */
int32_t tokenizer_mask(const Tokenizer *tokenizer);
int32_t tokenizer_unknown(const Tokenizer *tokenizer);   /* the model's own; -1: none */
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
