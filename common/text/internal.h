/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder share: the tokenizer's tables and the steps of an encoding.
 */
#ifndef RLHF_TEXT_INTERNAL_H
#define RLHF_TEXT_INTERNAL_H

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/str.h"
#include "common/text/pipeline.h"
#include "common/text/tokenizer.h"
#include "common/text/trie.h"

enum {
    VOCABULARY_MAX = 4 << 20, /* largest id + 1 of any file */
    PIECE_BYTES_MAX = 1024,   /* of a token that a model looks up by its prefix */
};

/* Bytes to a number; keys are borrowed and must outlive the map. Initialize with {0}. */
typedef struct NameMap {
    struct NameSlot {
        const char *key; /* NULL: free */
        size_t n;
        int32_t value;
    } * slot; /* [capacity], a power of two */
    size_t count, capacity;
} NameMap;
void name_map_done(NameMap *map);
/* Adds the key unless it is there; *value is then what it had, else `fresh` becomes its value. */
bool name_map_add(NameMap *map, const char *key, size_t n, int32_t fresh, int32_t *value,
                  Error *err);
int32_t name_map_find(const NameMap *map, const char *key, size_t n); /* -1: absent */

/* (a, b) to two numbers: merges. Initialize with {0}. */
typedef struct PairSlot {
    int32_t a, b; /* a < 0: free */
    int32_t rank, result;
} PairSlot;
typedef struct PairMap {
    PairSlot *slot; /* [capacity], a power of two */
    size_t count, capacity;
} PairMap;
void pair_map_done(PairMap *map);
/* Adds the pair unless it is there (*added tells); *slot is valid until the next addition. */
bool pair_map_add(PairMap *map, int32_t a, int32_t b, PairSlot **slot, bool *added, Error *err);
const PairSlot *pair_map_find(const PairMap *map, int32_t a, int32_t b); /* NULL: absent */

typedef struct AddedToken {
    char *content; /* owned */
    size_t n;
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
} AddedToken;

typedef struct Token {
    char *text;    /* as the files have it, owned; NULL: a hole */
    char *bytes;   /* what it decodes to in the middle of a text, owned */
    size_t size;   /* of bytes */
    uint8_t flags; /* TOKEN_* */
} Token;

enum {
    TOKEN_MODEL = 1,      /* in the model's vocabulary */
    TOKEN_ADDED = 2,      /* found in text before the model sees it */
    TOKEN_SPECIAL = 4,    /* only if the caller wants it found */
    TOKEN_REACHED = 8,    /* BPE: a first symbol, or what a merge makes */
    TOKEN_UNSPELLED = 16, /* the model does not find it by its text */
};

typedef enum ModelKind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE } ModelKind;

typedef struct KeptFile {
    Str content;
    bool present;
} KeptFile;

struct Tokenizer {
    Token *token;                /* [vocabulary] owned */
    size_t vocabulary, capacity; /* largest id + 1 */
    NameMap model;               /* texts of the model's vocabulary */
    NameMap contents;            /* contents of added tokens */

    ModelKind kind;
    int32_t unknown;       /* the model's token for what it does not know, -1: none */
    bool byte_fallback;    /* what it does not know becomes tokens of bytes, if all are there */
    int32_t fallback[256]; /* id of <0xHH>, -1: none */

    /* BPE */
    int32_t (*merge)[2]; /* [merges] by rank, owned */
    size_t merges, merge_capacity;
    PairMap pair;           /* (left id, right id) to rank and merged id */
    bool ignore_merges;     /* a piece that is a word of the vocabulary is not merged */
    bool fuse_unknown;      /* neighbors that are unknown become one token */
    char *prefix, *suffix;  /* of symbols behind the first, and of the last; owned, may be NULL */
    bool bytes_are_symbols; /* pieces are bytes, and byte_id knows them all */
    int32_t byte_id[256];   /* -1: the vocabulary lacks the byte */
    bool words_begin;       /* no merge goes on behind a character with U+2581 */

    /* Unigram and WordPiece */
    Trie pieces;
    double *score; /* [scores] of the first tokens: log-probabilities, ranks of merges; owned */
    size_t scores;
    double unknown_score;
    bool single_precision;     /* sums of scores are rounded to float */
    Trie whole;                /* SentencePiece: symbols that are taken as they are */
    size_t characters_max;     /* WordPiece: a longer piece is unknown */
    int32_t continuation_node; /* of `pieces`, behind the prefix; -1: no such pieces */

    AddedToken *added; /* owned */
    size_t added_count, added_capacity;
    Trie tree[2];           /* raw, then normalized: indices of added tokens, modulo their count */
    uint8_t begins[2][256]; /* bytes that an added token begins with */

    Normalizer normalizer[STEPS_MAX];
    size_t normalizers;
    Stage stage[STEPS_MAX];
    size_t stages;
    bool asks_first; /* a stage asks whether a text is the first */
    Decoder decoder[STEPS_MAX];
    size_t decoders;
    Template single, pair_template;

    int32_t eos, bos, pad, mask; /* -1: none */
    uint64_t fingerprint;

    char *source;     /* the file that was read, for messages */
    bool is_pieces;   /* the first kept file is a tokenizer.model, no tokenizer.json */
    KeptFile kept[4]; /* files written back as they were read, by KEPT_* */
};
enum { KEPT_TOKENIZER, KEPT_CONFIG, KEPT_SPECIAL_MAP, KEPT_TEMPLATE };

/* What one encoding needs beside the tokenizer. */
typedef struct Encoder {
    const Tokenizer *tokenizer;
    bool special; /* special tokens may be found */
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL until a pattern needs more than the machine's */
    pcre2_match_data *match;
    Str staged[STEPS_MAX]; /* texts that stages changed */
    Str normal[2];         /* a text between two normalizers */
    CodeBuffer codes;
    struct Symbol *symbol; /* of the piece being merged */
    struct Candidate *heap;
    struct Arrival *arrival; /* Unigram: the best way to each byte */
    size_t symbol_capacity, heap_capacity, arrival_capacity;
    Str text; /* scratch */
    Tokens *out;
} Encoder;
bool encoder_init(Encoder *encoder, const Tokenizer *tokenizer, Tokens *out, Error *err);
void encoder_done(Encoder *encoder);

/* The next match of a matcher at or behind `at`; *begin = *end = n if there is none. */
bool encoder_find(Encoder *encoder, const Matcher *matcher, const char *text, size_t n, size_t at,
                  size_t *begin, size_t *end, Error *err);
/* Runs all normalizers; *out is valid until the next call. */
bool encoder_normalize(Encoder *encoder, Span text, Span *out, Error *err);
/* Hands the pieces of n > 0 bytes to `piece`, one after another. */
typedef bool PieceFunction(void *context, const char *piece, size_t n, Error *err);
bool encoder_pieces(Encoder *encoder, Span text, PieceFunction *piece, void *context, Error *err);
/* The model: appends the ids of one piece. */
bool encoder_merge(Encoder *encoder, const char *piece, size_t n, Error *err);
bool encoder_unigram(Encoder *encoder, const char *piece, size_t n, Error *err);
bool encoder_wordpiece(Encoder *encoder, const char *piece, size_t n, Error *err);
/* Ids of <0xHH> for every byte; *done = false and nothing appended if one is lacking. */
bool encoder_fallback(Encoder *encoder, const char *text, size_t n, bool *done, Error *err);
/* Encodes text; added tokens are found first, raw ones in all of it, then normalized ones in the
 * rest. */
bool encoder_added(Encoder *encoder, const char *text, size_t n, Error *err);

/* Building. A tokenizer is filled with tokens, merges, added tokens and steps, then sealed. */
Tokenizer *tokenizer_new(const char *source, Error *err);
bool tokenizer_put_token(Tokenizer *tokenizer, const char *text, int64_t id, Error *err);
bool tokenizer_put_merge(Tokenizer *tokenizer, const char *left, size_t left_n, const char *right,
                         size_t right_n, Error *err);
bool tokenizer_put_added(Tokenizer *tokenizer, const AddedToken *token, Error *err);
/* New steps, to be filled in. */
bool tokenizer_put_normalizer(Tokenizer *tokenizer, NormalizerKind kind, Normalizer **out,
                              Error *err);
bool tokenizer_put_stage(Tokenizer *tokenizer, Stage **out, Error *err);
bool tokenizer_put_decoder(Tokenizer *tokenizer, DecoderKind kind, Decoder **out, Error *err);
/* GPT-2's: perhaps a space in front, its pattern, the byte-level alphabet and its decoder. */
bool tokenizer_put_gpt2(Tokenizer *tokenizer, bool prefix_space, Error *err);
/* Derives what encoding needs and checks that text cannot become a special token. */
bool tokenizer_seal(Tokenizer *tokenizer, Error *err);
bool decoder_seal(Tokenizer *tokenizer, Error *err);
/* Without a post-processor: a text as it is, a pair one behind the other. */
bool template_seal(Tokenizer *tokenizer, Error *err);

/* Parts of tokenizer_load. */
bool tokenizer_read_model(Tokenizer *tokenizer, const cJSON *model, Error *err);
bool tokenizer_read_vocabulary(Tokenizer *tokenizer, const cJSON *vocab, const char *dotted,
                               Error *err);
/* "a b": two words, one space. */
bool tokenizer_read_merge(Tokenizer *tokenizer, const char *text, size_t n, Error *err);
bool tokenizer_read_normalizer(Tokenizer *tokenizer, const cJSON *item, Error *err);
bool tokenizer_read_pre_tokenizer(Tokenizer *tokenizer, const cJSON *item, Error *err);
bool tokenizer_read_post_processor(Tokenizer *tokenizer, const cJSON *item, Error *err);
bool tokenizer_read_decoder(Tokenizer *tokenizer, const cJSON *item, Error *err);
bool tokenizer_read_roles(Tokenizer *tokenizer, const char *folder, Error *err);
/* One added token from its JSON object; the id is the caller's. */
bool tokenizer_read_added(Tokenizer *tokenizer, const cJSON *object, const char *dotted, int64_t id,
                          Error *err);

/* A fault at a dotted path of the tokenizer.json being read, with line and column. */
bool tokenizer_fault(const Tokenizer *tokenizer, const char *dotted, Error *err, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
/* "type "X" is not supported, only <known>" at a dotted path. */
bool tokenizer_unsupported(const Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                           const char *known, Error *err);
/* The "type" of a step, "" if it has none. */
const char *tokenizer_type(const cJSON *item);
/* An optional boolean member. */
bool tokenizer_read_flag(const Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                         const char *name, bool *out, Error *err);
/* A member that has to be a string; borrowed. */
bool tokenizer_read_string(const Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                           const char *name, const char **out, Error *err);
/* A copy of a text that a step puts in, if it is short enough. */
bool tokenizer_copy_content(const Tokenizer *tokenizer, const char *dotted, const char *content,
                            char **out, Error *err);
/* The member "pattern": {"String": …} or {"Regex": …}. */
bool tokenizer_read_pattern(Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                            Matcher *out, Error *err);
/* Calls `read` for the step itself, or for each one of a Sequence, however deep. list: the name of
 * a Sequence's member. */
typedef bool StepReader(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Error *err);
bool tokenizer_read_steps(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                          const char *list, StepReader *read, Error *err);

#endif
