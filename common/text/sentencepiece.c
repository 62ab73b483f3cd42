/* SPDX-License-Identifier: MIT
 *
 * Reading a SentencePiece model. Its BPE merges neighbors whose text is a piece, the piece with the
 * best score first: so every way to cut a piece in two pieces is a merge, and the ranks follow the
 * scores. Its Unigram adds in single precision.
 */
#include "common/text/sentencepiece.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/protobuf.h"

typedef struct Piece {
    const char *text; /* in the token */
    size_t n;
    float score;
    PieceType type;
} Piece;

typedef struct Reader {
    Tokenizer *tokenizer;
    Piece *piece; /* owned */
    size_t pieces, capacity;
    int64_t kind;
    bool fallback, suffix, dummy_prefix, squeeze, escape;
    const char *map; /* in the file's bytes */
    size_t map_n;
    char *surface; /* of the unknown token; owned */
    PieceRoles *roles;
} Reader;

static bool fault(const Reader *r, Error *err, const char *what) {
    return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0,
                    "%s; expected a SentencePiece model", what);
}

static bool piece_fault(const Reader *r, Error *err, const char *what) {
    return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0, "piece %zu: %s", r->pieces, what);
}

static bool read_piece(Reader *r, const char *bytes, size_t n, Error *err) {
    Piece piece = {.type = PIECE_NORMAL};
    Field field;
    for (size_t at = 0; at < n;) {
        if (!field_read(bytes, n, &at, &field)) {
            return piece_fault(r, err, "its bytes are damaged");
        }
        if (field.number == PIECE_TEXT && field.type == WIRE_BYTES) {
            piece.text = field.bytes;
            piece.n = field.n;
        } else if (field.number == PIECE_SCORE && field.type == WIRE_32) {
            piece.score = field_float(&field);
        } else if (field.number == PIECE_TYPE) {
            int64_t type = field_number(&field, 0);
            if (type < PIECE_NORMAL || type > PIECE_BYTE) {
                return piece_fault(r, err, "an unknown type");
            }
            piece.type = (PieceType)type;
        }
    }
    if (piece.n == 0 || memchr(piece.text, '\0', piece.n) != NULL ||
        utf8_invalid_at(piece.text, piece.n) < piece.n || !isfinite(piece.score)) {
        return piece_fault(r, err, "expected a text in UTF-8 without NUL, and a score");
    }
    char *text = mem_strndup(piece.text, piece.n, err);
    int64_t id = (int64_t)r->pieces;
    bool ok = text != NULL && tokenizer_put_token(r->tokenizer, text, id, err) &&
              mem_reserve(&r->piece, &r->capacity, r->pieces + 1, sizeof piece, err);
    free(text);
    if (ok) {
        piece.text = r->tokenizer->token[id].text;
        r->piece[r->pieces++] = piece;
    }
    return ok;
}

static bool read_trainer(Reader *r, const char *bytes, size_t n, Error *err) {
    Field field;
    for (size_t at = 0; at < n;) {
        if (!field_read(bytes, n, &at, &field)) {
            return fault(r, err, "its trainer_spec is damaged");
        }
        switch (field.number) {
        case TRAINER_KIND:
            r->kind = field_number(&field, 0);
            break;
        case TRAINER_SUFFIX:
            r->suffix = field_number(&field, 0) != 0;
            break;
        case TRAINER_BYTE_FALLBACK:
            r->fallback = field_number(&field, 0) != 0;
            break;
        case TRAINER_BOS:
            r->roles->bos = (int32_t)field_number(&field, -1);
            break;
        case TRAINER_EOS:
            r->roles->eos = (int32_t)field_number(&field, -1);
            break;
        case TRAINER_PAD:
            r->roles->pad = (int32_t)field_number(&field, -1);
            break;
        case TRAINER_UNKNOWN_SURFACE:
            if (field.type == WIRE_BYTES && utf8_invalid_at(field.bytes, field.n) == field.n) {
                free(r->surface);
                r->surface = mem_strndup(field.bytes, field.n, err);
                if (r->surface == NULL) {
                    return false;
                }
            }
            break;
        default:
            break;
        }
    }
    return true;
}

static bool read_normalizer(Reader *r, const char *bytes, size_t n, Error *err) {
    Field field;
    for (size_t at = 0; at < n;) {
        if (!field_read(bytes, n, &at, &field)) {
            return fault(r, err, "its normalizer_spec is damaged");
        }
        if (field.number == NORMALIZER_MAP && field.type == WIRE_BYTES) {
            r->map = field.bytes;
            r->map_n = field.n;
        } else if (field.number == NORMALIZER_DUMMY_PREFIX) {
            r->dummy_prefix = field_number(&field, 1) != 0;
        } else if (field.number == NORMALIZER_SQUEEZE) {
            r->squeeze = field_number(&field, 1) != 0;
        } else if (field.number == NORMALIZER_ESCAPE) {
            r->escape = field_number(&field, 1) != 0;
        }
    }
    return true;
}

static bool refuse_denormalizer(const Reader *r, const char *bytes, size_t n, Error *err) {
    Field field;
    for (size_t at = 0; at < n;) {
        if (!field_read(bytes, n, &at, &field)) {
            return fault(r, err, "its denormalizer_spec is damaged");
        }
        if (field.number == NORMALIZER_MAP && field.n > 0) {
            return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0,
                            "denormalizer_spec: a table of replacements is not supported");
        }
    }
    return true;
}

static bool read_model(Reader *r, const char *bytes, size_t n, Error *err) {
    Field field;
    for (size_t at = 0; at < n;) {
        if (!field_read(bytes, n, &at, &field)) {
            return fault(r, err, "damaged or truncated");
        }
        bool ok = true;
        if (field.type != WIRE_BYTES) {
            continue;
        }
        if (field.number == MODEL_PIECES) {
            ok = r->pieces < VOCABULARY_MAX || fault(r, err, "too many pieces");
            ok = ok && read_piece(r, field.bytes, field.n, err);
        } else if (field.number == MODEL_TRAINER) {
            ok = read_trainer(r, field.bytes, field.n, err);
        } else if (field.number == MODEL_NORMALIZER) {
            ok = read_normalizer(r, field.bytes, field.n, err);
        } else if (field.number == MODEL_DENORMALIZER) {
            ok = refuse_denormalizer(r, field.bytes, field.n, err);
        }
        if (!ok) {
            return false;
        }
    }
    if (r->pieces == 0) {
        return fault(r, err, "no pieces");
    }
    if (r->kind != PIECE_MODEL_UNIGRAM && r->kind != PIECE_MODEL_BPE) {
        return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0,
                        "model_type %lld is not supported, only UNIGRAM and BPE are",
                        (long long)r->kind);
    }
    return true;
}

/* Controls are special tokens; the unknown piece is what it is. */
static bool put_types(Reader *r, Error *err) {
    Tokenizer *tokenizer = r->tokenizer;
    TrieKey *key = mem_alloc(r->pieces, sizeof *key, err);
    size_t keys = 0;
    bool ok = key != NULL;
    for (size_t i = 0; ok && i < r->pieces; i++) {
        const Piece *piece = &r->piece[i];
        if (piece->type == PIECE_UNKNOWN) {
            ok = tokenizer->unknown < 0 || fault(r, err, "two unknown pieces");
            tokenizer->unknown = (int32_t)i;
        } else if (piece->type == PIECE_CONTROL) {
            char *content = mem_strdup(piece->text, err);
            AddedToken added = {content, piece->n, (int32_t)i, .special = true};
            ok = content != NULL && tokenizer_put_added(tokenizer, &added, err);
            free(content);
        } else if (piece->type == PIECE_USER_DEFINED) {
            key[keys++] = (TrieKey){piece->text, piece->n, (int32_t)i};
        } else if (piece->type == PIECE_UNUSED && r->kind == PIECE_MODEL_BPE) {
            ok = error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                          "piece %zu is unused, which is not supported in BPE", i);
        }
        bool lookup = piece->type == PIECE_NORMAL || piece->type == PIECE_USER_DEFINED;
        tokenizer->token[i].flags |= lookup ? 0 : TOKEN_UNSPELLED;
    }
    ok = ok && (tokenizer->unknown >= 0 || fault(r, err, "no unknown piece")) &&
         trie_build(&tokenizer->whole, key, keys, err);
    free(key);
    return ok;
}

static bool put_scores(Reader *r, Error *err) {
    Tokenizer *tokenizer = r->tokenizer;
    tokenizer->score = mem_alloc(r->pieces, sizeof(double), err);
    if (tokenizer->score == NULL) {
        return false;
    }
    tokenizer->scores = r->pieces;
    float least = FLT_MAX, most = FLT_MIN;
    for (size_t i = 0; i < r->pieces; i++) {
        if (r->piece[i].type == PIECE_NORMAL) {
            least = r->piece[i].score < least ? r->piece[i].score : least;
            most = r->piece[i].score > most ? r->piece[i].score : most;
        }
    }
    for (size_t i = 0; i < r->pieces; i++) {
        /* A user's symbol is to win always. */
        tokenizer->score[i] = r->piece[i].type == PIECE_USER_DEFINED
                                  ? (double)((float)r->piece[i].n * most) - 0.1
                                  : (double)r->piece[i].score;
    }
    tokenizer->unknown_score = (double)(least - 10.0f);
    tokenizer->single_precision = true;
    return true;
}

typedef struct Cut {
    int32_t left, right, result;
    float score;
} Cut;

/* Best score first; then in the order of pieces, so that the file's order does not matter. */
static int by_score(const void *a, const void *b) {
    const Cut *x = a, *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? 1 : -1;
    }
    if (x->result != y->result) {
        return x->result < y->result ? -1 : 1;
    }
    return (x->left > y->left) - (x->left < y->left);
}

static int32_t normal_piece(const Reader *r, const char *text, size_t n) {
    int32_t id = name_map_find(&r->tokenizer->model, text, n);
    return id >= 0 && (size_t)id < r->pieces && r->piece[id].type == PIECE_NORMAL ? id : -1;
}

/* Every way to cut a piece into two. */
static bool put_cuts(const Reader *r, Cut **cut, size_t *cuts, Error *err) {
    size_t capacity = 0;
    for (size_t i = 0; i < r->pieces; i++) {
        const Piece *piece = &r->piece[i];
        if (piece->type != PIECE_NORMAL) {
            continue;
        }
        if (piece->n > PIECE_BYTES_MAX) {
            return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0,
                            "piece %zu has %zu bytes, a piece has at most %d", i, piece->n,
                            PIECE_BYTES_MAX);
        }
        for (size_t at = 0, size = 0; at < piece->n; at += size) {
            size = utf8_decode(piece->text + at, piece->n - at, NULL);
            if (size < piece->n && normal_piece(r, piece->text + at, size) < 0) {
                return error_at(err, ERROR_DATA, r->tokenizer->source, 0, 0,
                                "piece %zu has a character that is no piece of its own, which is "
                                "not supported",
                                i);
            }
            int32_t left = at == 0 ? -1 : normal_piece(r, piece->text, at);
            int32_t right = left < 0 ? -1 : normal_piece(r, piece->text + at, piece->n - at);
            if (right < 0) {
                continue;
            }
            if (!mem_reserve(cut, &capacity, *cuts + 1, sizeof **cut, err)) {
                return false;
            }
            (*cut)[(*cuts)++] = (Cut){left, right, (int32_t)i, piece->score};
        }
    }
    return true;
}

static bool put_merges(Reader *r, Error *err) {
    Cut *cut = NULL;
    size_t cuts = 0;
    bool ok = put_cuts(r, &cut, &cuts, err);
    if (ok && cuts > 0) {
        qsort(cut, cuts, sizeof *cut, by_score);
    }
    int32_t rank = 0;
    for (size_t i = 0; ok && i < cuts; i++) {
        PairSlot *slot = NULL;
        bool added = false;
        rank += i > 0 && cut[i].score != cut[i - 1].score;
        ok = pair_map_add(&r->tokenizer->pair, cut[i].left, cut[i].right, &slot, &added, err);
        if (ok && added) {
            slot->rank = rank; /* equal scores: the leftmost goes first */
            slot->result = cut[i].result;
            r->tokenizer->token[cut[i].result].flags |= TOKEN_REACHED;
        }
    }
    free(cut);
    return ok;
}

static bool put_steps(Reader *r, Error *err) {
    Normalizer *normalizer = NULL;
    Decoder *decoder = NULL;
    if (!tokenizer_put_normalizer(r->tokenizer, NORMALIZER_SENTENCEPIECE, &normalizer, err) ||
        !tokenizer_put_decoder(r->tokenizer, DECODER_SENTENCEPIECE, &decoder, err)) {
        return false;
    }
    normalizer->left = r->dummy_prefix && !r->suffix;
    normalizer->right = r->dummy_prefix && r->suffix;
    normalizer->squeeze = r->squeeze;
    normalizer->escape = r->escape;
    decoder->flag = r->dummy_prefix || r->squeeze;
    decoder->squeeze = r->squeeze;
    decoder->text = r->surface != NULL ? r->surface : mem_strdup(" \xe2\x81\x87 ", err);
    r->surface = NULL;
    return decoder->text != NULL &&
           (r->map_n == 0 ||
            charsmap_read(&normalizer->map, r->map, r->map_n, r->tokenizer->source, err));
}

bool sentencepiece_read(Tokenizer *tokenizer, const char *bytes, size_t n, PieceRoles *roles,
                        Error *err) {
    *roles = (PieceRoles){.eos = 2, .bos = 1, .pad = -1};
    Reader r = {.tokenizer = tokenizer,
                .kind = PIECE_MODEL_UNIGRAM,
                .dummy_prefix = true,
                .squeeze = true,
                .escape = true,
                .roles = roles};
    bool ok = read_model(&r, bytes, n, err);
    if (ok) {
        tokenizer->kind = r.kind == PIECE_MODEL_BPE ? MODEL_BPE : MODEL_UNIGRAM;
        tokenizer->byte_fallback = r.fallback;
        tokenizer->fuse_unknown = true;
        ok = put_types(&r, err) && put_steps(&r, err) && put_scores(&r, err) &&
             (r.kind != PIECE_MODEL_BPE || put_merges(&r, err));
    }
    int64_t *role[] = {&roles->eos, &roles->bos, &roles->pad};
    for (int i = 0; ok && i < 3; i++) {
        bool control =
            *role[i] >= 0 && (size_t)*role[i] < r.pieces && r.piece[*role[i]].type == PIECE_CONTROL;
        *role[i] = control ? *role[i] : -1;
    }
    free(r.piece);
    free(r.surface);
    return ok;
}
