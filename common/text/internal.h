/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder share: the tokenizer's tables and the steps of an encoding.
 */
#ifndef RLHF_TEXT_INTERNAL_H
#define RLHF_TEXT_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/str.h"
#include "common/text/tokenizer.h"

enum {
    VOCABULARY_MAX = 4 << 20, /* largest id + 1 of any file */
    STAGES_MAX = 16,          /* pre-tokenizer steps */
    PATTERN_MAX = 16 << 10,   /* bytes of a pattern */
    NODE_END = 256,           /* the edge of a tree of added tokens that leads to its token */
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

/* (a, b) to two numbers: merges, and edges of the tree of added tokens. Initialize with {0}. */
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

/* Byte-level alphabet (GPT-2): a printable code point for every byte. */
uint32_t byte_level_code(unsigned char byte);
int byte_level_byte(uint32_t code); /* -1: no byte */
void byte_level_write(const char *bytes, size_t n, Str *out);
/* Reverses it; text with a code point outside of the alphabet is appended as it is. */
void byte_level_read(const char *text, size_t n, Str *out);
/* Appends bytes with every maximal ill-formed part replaced by U+FFFD (Unicode 3.9, as Rust
 * does). */
void utf8_replace(const char *bytes, size_t n, Str *out);
/* Bytes of the white space (White_Space property) at the start or the end of valid UTF-8. */
size_t white_space_before(const char *text, size_t n);
size_t white_space_after(const char *text, size_t n);

/* One step of the pre-tokenizer: perhaps a space in front, then a split by a pattern. */
typedef struct Stage {
    bool prefix_space;            /* a piece that does not begin with a space gets one */
    char *pattern;                /* as the file has it, owned; NULL: no split */
    pcre2_code *code;             /* owned */
    bool drop_matches, drop_rest; /* parts that are removed; both false: every part is a piece */
} Stage;

extern const char gpt2_pattern[];
/* Compiles a pattern in Oniguruma's syntax, as tokenizer.json has them; what would mean something
 * else in PCRE2 is refused by name. file: for messages. */
bool stage_compile(Stage *stage, const char *pattern, const char *file, Error *err);
void stage_done(Stage *stage);
pcre2_code *word_compile(Error *err); /* one word character as Rust's \w has it */

typedef struct AddedToken {
    char *content; /* owned */
    size_t n;
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
} AddedToken;

typedef struct Token {
    char *text;    /* as the files have it, owned; NULL: a hole */
    char *bytes;   /* what it decodes to, owned */
    size_t size;   /* of bytes */
    uint8_t flags; /* TOKEN_* */
} Token;

enum {
    TOKEN_MODEL = 1,   /* in the model's vocabulary: its text is in the byte-level alphabet */
    TOKEN_ADDED = 2,   /* found in text before any merging */
    TOKEN_SPECIAL = 4, /* only if the caller wants it found */
    TOKEN_REACHED = 8, /* a byte, or what a merge makes */
};

typedef struct KeptFile {
    Str content;
    bool present;
} KeptFile;

struct Tokenizer {
    Token *token;                /* [vocabulary] owned */
    size_t vocabulary, capacity; /* largest id + 1 */
    NameMap model;               /* texts of the model's vocabulary */
    NameMap contents;            /* contents of added tokens */

    int32_t (*merge)[2]; /* [merges] by rank, owned */
    size_t merges, merge_capacity;
    PairMap pair;         /* (left id, right id) to rank and merged id */
    int32_t byte_id[256]; /* -1: the vocabulary lacks the byte */
    bool ignore_merges;   /* a piece that is a word of the vocabulary is not merged */

    AddedToken *added; /* owned */
    size_t added_count, added_capacity;
    PairMap tree[2]; /* raw, then normalized: (node, byte) to node; (node, 256) to added index */
    uint8_t begins[2][256]; /* bytes that an added token begins with */
    pcre2_code *word;       /* one word character, for AddedToken.single_word */

    Stage stage[STAGES_MAX];
    size_t stages;

    int32_t eos, bos, pad; /* -1: none */
    uint64_t fingerprint;

    char *source;     /* the file that was read, for messages */
    KeptFile kept[4]; /* files written back as they were read, by KEPT_* */
};
enum { KEPT_TOKENIZER, KEPT_CONFIG, KEPT_SPECIAL_MAP, KEPT_TEMPLATE };

/* What one encoding needs beside the tokenizer. */
typedef struct Encoder {
    const Tokenizer *tokenizer;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL until a pattern needs more than the machine's */
    pcre2_match_data *match[STAGES_MAX + 1];
    struct Symbol *symbol; /* of the piece being merged */
    struct Candidate *heap;
    size_t symbol_capacity, heap_capacity;
    Str text; /* a piece in the byte-level alphabet */
    Tokens *out;
} Encoder;
bool encoder_init(Encoder *encoder, const Tokenizer *tokenizer, Tokens *out, Error *err);
void encoder_done(Encoder *encoder);

/* pcre2_match on valid UTF-8, with a bigger stack where one is needed. */
int encoder_match(Encoder *encoder, const pcre2_code *code, const char *text, size_t n,
                  size_t start, pcre2_match_data *match);
/* Hands the pieces of n > 0 bytes to `piece`, one after another. */
typedef bool PieceFunction(void *context, const char *piece, size_t n, Error *err);
bool encoder_pieces(Encoder *encoder, const char *text, size_t n, PieceFunction *piece,
                    void *context, Error *err);
/* Merges the bytes of one piece and appends the ids. */
bool encoder_merge(Encoder *encoder, const char *piece, size_t n, Error *err);
/* Encodes text; added tokens are found first, raw ones in all of it, then normalized ones in the
 * rest. */
bool encoder_added(Encoder *encoder, const char *text, size_t n, bool special, Error *err);

/* Building. A tokenizer is filled with tokens, merges, added tokens and stages, then sealed. */
Tokenizer *tokenizer_new(const char *source, Error *err);
bool tokenizer_put_token(Tokenizer *tokenizer, const char *text, int64_t id, Error *err);
bool tokenizer_put_merge(Tokenizer *tokenizer, const char *left, size_t left_n, const char *right,
                         size_t right_n, Error *err);
bool tokenizer_put_added(Tokenizer *tokenizer, const AddedToken *token, Error *err);
bool tokenizer_put_stage(Tokenizer *tokenizer, const char *pattern, bool prefix_space,
                         Stage **stage, Error *err);
/* Derives what encoding needs and checks that text cannot become a special token. */
bool tokenizer_seal(Tokenizer *tokenizer, Error *err);
/* Parts of tokenizer_load. */
bool tokenizer_read_pipeline(Tokenizer *tokenizer, const cJSON *tree, Error *err);
bool tokenizer_read_roles(Tokenizer *tokenizer, const char *folder, Error *err);
/* A fault at a dotted path of the tokenizer.json being read, with line and column. */
bool tokenizer_fault(const Tokenizer *tokenizer, const char *dotted, Error *err, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
/* An optional boolean member. */
bool tokenizer_read_flag(const Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                         const char *name, bool *out, Error *err);
/* One added token from its JSON object; the id is the caller's. */
bool tokenizer_read_added(Tokenizer *tokenizer, const cJSON *object, const char *dotted, int64_t id,
                          Error *err);

#endif
