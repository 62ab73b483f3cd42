/* SPDX-License-Identifier: MIT
 *
 * The steps around the model of a tokenizer, as data: normalizers, stages of splitting, decoders
 * and the template that frames a text. Names and meaning are those of Hugging Face's tokenizers.
 */
#ifndef RLHF_TEXT_PIPELINE_H
#define RLHF_TEXT_PIPELINE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "common/base/error.h"
#include "common/base/str.h"
#include "common/text/tokenizer.h"
#include "common/text/unicode.h"

enum {
    STEPS_MAX = 16,         /* normalizers, stages or decoders of one tokenizer */
    PATTERN_MAX = 16 << 10, /* bytes of a pattern */
    CONTENT_MAX = 4096,     /* bytes that a step puts in at one place */
    GROWTH_MAX = 64,        /* a normalized text has at most so many times the bytes of the text, */
    GROWTH_FREE = 1 << 20,  /* beside these */
    TOKEN_TEXT_MAX = 1 << 26, /* bytes of what a decoder makes of one token */
};

/* A text on its way through the steps. first: how many of its bytes stem from the first character
 * of the whole text, the only thing that a step may ask about the text as it was. */
typedef struct Span {
    const char *text;
    size_t n, first;
} Span;

/* What a step looks for. */
typedef enum MatcherKind {
    MATCH_NOTHING,
    MATCH_PATTERN, /* a regular expression */
    MATCH_LITERAL,
    MATCH_CLASS, /* every single code point of a class */
    MATCH_WORDS, /* runs of word characters, and runs of others but white space */
} MatcherKind;
typedef struct Matcher {
    MatcherKind kind;
    char *text; /* the pattern as the file has it, or the literal; owned */
    size_t n;
    pcre2_code *code; /* owned */
    bool (*is_member)(uint32_t code);
} Matcher;

extern const char gpt2_pattern[];
/* A pattern in Oniguruma's syntax, as tokenizer.json has them; what would mean something else in
 * PCRE2 is refused by name. file: for messages. */
bool matcher_compile(Matcher *matcher, const char *pattern, const char *file, Error *err);
bool matcher_literal(Matcher *matcher, const char *text, size_t n, Error *err);
void matcher_done(Matcher *matcher);

typedef enum NormalizerKind {
    NORMALIZER_FORM,
    NORMALIZER_LOWERCASE,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_BERT,
    NORMALIZER_NMT,
    NORMALIZER_BYTE_LEVEL,
    NORMALIZER_STRIP,
    NORMALIZER_PREPEND,
    NORMALIZER_REPLACE,
    NORMALIZER_CHARSMAP,
    NORMALIZER_SENTENCEPIECE,
} NormalizerKind;

/* SentencePiece's table of replacements: a trie of Darts (double array, as its clone stores it) and
 * the texts that its values point into. */
typedef struct Charsmap {
    uint32_t *unit; /* [units] owned */
    size_t units;
    char *text; /* owned, [n] and a NUL */
    size_t n;
} Charsmap;
/* From the bytes of "precompiled_charsmap", already decoded from base 64. ERROR_DATA if the trie is longer than
 * they are, or a text is no UTF-8 or begins inside a character. */
bool charsmap_read(Charsmap *map, const char *bytes, size_t n, const char *file, Error *err);
void charsmap_done(Charsmap *map);
/* What the shortest key at the start of n bytes is replaced by, NULL-terminated; NULL: no key. */
const char *charsmap_shortest(const Charsmap *map, const char *text, size_t n);
/* The same for the longest key that ends with a character (others would leave a part of one), whose bytes go
 * through *length. */
const char *charsmap_longest(const Charsmap *map, const char *text, size_t n, size_t *length);

typedef struct Normalizer {
    NormalizerKind kind;
    NormalForm form;
    bool clean, chinese, accents, lower; /* BERT's four parts */
    bool left, right;                    /* strip */
    Matcher matcher;                     /* replace */
    char *content;                       /* replace, prepend: owned */
    Charsmap map;
    /* SentencePiece: left, right: a space is put there; squeeze: spaces are removed at both ends and
     * next to each other; escape: a space becomes U+2581 */
    bool squeeze, escape;
} Normalizer;
void normalizer_done(Normalizer *normalizer);

typedef enum SplitBehavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} SplitBehavior;
typedef enum PrependScheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } PrependScheme;

/* One stage of the pre-tokenizer: first the text is changed, then split, then changed. */
typedef struct Stage {
    bool prefix_space;     /* a text that does not begin with a space gets one */
    char replacement[5];   /* of every space (Metaspace); empty: none */
    PrependScheme prepend; /* the replacement before a text that does not begin with it */
    Matcher matcher;
    SplitBehavior behavior;
    bool invert;     /* what does not match is the delimiter */
    bool byte_level; /* bytes become the byte-level alphabet */
} Stage;
void stage_done(Stage *stage);

typedef enum DecoderKind {
    DECODER_BYTE_LEVEL,
    DECODER_METASPACE,
    DECODER_WORDPIECE,
    DECODER_BYTE_FALLBACK,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_REPLACE,
    DECODER_SUFFIX, /* BPEDecoder */
    DECODER_SENTENCEPIECE,
    DECODER_SPACES, /* tokens joined by spaces, where a file has no decoder */
} DecoderKind;
typedef struct Decoder {
    DecoderKind kind;
    char *text; /* replacement, prefix, suffix, stripped character, or unknown token; owned */
    char *content;
    Matcher matcher;
    size_t start, stop; /* strip: at most so many */
    /* WordPiece: clean up; Metaspace: the first token loses its replacements; SentencePiece: the
     * text loses a space at its start, all of them where squeeze is set. */
    bool flag, squeeze;
} Decoder;
void decoder_done(Decoder *decoder);

/* One part of what "add special tokens" makes of a text or a pair. */
typedef struct TemplatePart {
    int sequence; /* 0 or 1: the text; -1: ids */
    int32_t type;
    int32_t *id; /* owned */
    size_t ids;
} TemplatePart;
typedef struct Template {
    TemplatePart *part; /* owned */
    size_t parts, capacity;
} Template;
/* Adds a part; the ids are copied. */
bool template_put(Template *template, int sequence, int64_t type, const int32_t *id, size_t ids,
                  Error *err);
void template_done(Template *template);

#endif
