/* SPDX-License-Identifier: MIT
 *
 * Unigram and WordPiece: pieces found in a tree of the vocabulary.
 *
 * Unigram takes the segmentation with the greatest sum of log-probabilities (Viterbi; Kudo 2018): the
 * best way to each byte is the best over the pieces that end there. Of ways that are equal the first
 * one found counts, which begins furthest to the left. WordPiece takes the longest piece at the
 * start, then the longest continuations; a word that does not come out even is unknown.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

typedef struct Arrival {
    double score;
    int32_t piece;        /* 1 + id of the piece that ends here, 0: none yet */
    uint32_t begin, next; /* where it begins; where the next piece of the best way ends */
} Arrival;

/* rounds: SentencePiece adds in single precision. */
static inline void arrive(Arrival *at, double score, bool rounds, int32_t id, size_t begin) {
    score = rounds ? (double)(float)score : score;
    if (at->piece == 0 || score > at->score) {
        *at = (Arrival){.score = score, .piece = id + 1, .begin = (uint32_t)begin};
    }
}

static bool is_hidden(const Encoder *encoder, int32_t id) {
    return !encoder->special && (encoder->tokenizer->token[id].flags & TOKEN_SPECIAL) != 0;
}

static bool forward(Encoder *encoder, const char *text, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    const Trie *pieces = &tokenizer->pieces;
    Arrival *arrival = encoder->arrival;
    bool rounds = tokenizer->single_precision;
    size_t size = 0;
    memset(arrival, 0, (n + 1) * sizeof *arrival);
    for (size_t i = 0; i < n; i += size) {
        double here = arrival[i].score;
        bool single = false;
        int32_t node = pieces->count > 0 ? TRIE_ROOT : -1;
        size = (unsigned char)text[i] < 0x80 ? 1 : utf8_decode(text + i, n - i, NULL);
        for (size_t end = i; node >= 0 && end < n;) {
            node = trie_step(pieces, node, (unsigned char)text[end++]);
            int32_t id = node < 0 ? -1 : trie_value(pieces, node);
            if (id >= 0 && !is_hidden(encoder, id)) {
                single = single || end - i == size;
                arrive(&arrival[end], tokenizer->score[id] + here, rounds, id, i);
            }
        }
        if (!single) {
            if (tokenizer->unknown < 0) {
                return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                                "the vocabulary has no piece for \"%.*s\" and no unknown token",
                                (int)size, text + i);
            }
            double score = tokenizer->unknown_score + here;
            arrive(&arrival[i + size], score, rounds, tokenizer->unknown, i);
        }
    }
    return true;
}

/* What is unknown: a token of that name after all, its bytes, or the unknown token. */
static bool put_unknown(Encoder *encoder, const char *text, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    int32_t id = name_map_find(&tokenizer->model, text, n);
    bool done = false;
    bool spelled = id >= 0 && (tokenizer->token[id].flags & TOKEN_UNSPELLED) == 0;
    if (spelled && !is_hidden(encoder, id)) {
        return tokens_push(encoder->out, id, err);
    }
    if (tokenizer->byte_fallback && !encoder_fallback(encoder, text, n, &done, err)) {
        return false;
    }
    return done || tokens_push(encoder->out, tokenizer->unknown, err);
}

bool encoder_unigram(Encoder *encoder, const char *piece, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    if (n >= UINT32_MAX) {
        return error_set(err, ERROR_DATA, "a text of %zu bytes, fewer than 4 GiB are encoded", n);
    }
    if (!mem_reserve(&encoder->arrival, &encoder->arrival_capacity, n + 1, sizeof(Arrival), err) ||
        !forward(encoder, piece, n, err)) {
        return false;
    }
    Arrival *arrival = encoder->arrival;
    for (size_t end = n; end > 0; end = arrival[end].begin) {
        arrival[arrival[end].begin].next = (uint32_t)end;
    }
    size_t unknown = n; /* where neighbors that are unknown begin */
    for (size_t i = 0; i < n; i = arrival[i].next) {
        int32_t id = arrival[arrival[i].next].piece - 1;
        if (id == tokenizer->unknown) {
            unknown = unknown < i ? unknown : i;
            continue;
        }
        if (unknown < i && !put_unknown(encoder, piece + unknown, i - unknown, err)) {
            return false;
        }
        unknown = n;
        if (!tokens_push(encoder->out, id, err)) {
            return false;
        }
    }
    return unknown == n || put_unknown(encoder, piece + unknown, n - unknown, err);
}

/* The longest piece at the start of a text that may be found, -1: none. */
static int32_t longest_piece(const Encoder *encoder, int32_t node, const char *text, size_t n,
                             size_t *length) {
    const Trie *pieces = &encoder->tokenizer->pieces;
    int32_t found = -1;
    for (size_t i = 0; i < n && node >= 0;) {
        node = trie_step(pieces, node, (unsigned char)text[i++]);
        int32_t id = node < 0 ? -1 : trie_value(pieces, node);
        if (id >= 0 && !is_hidden(encoder, id)) {
            found = id;
            *length = i;
        }
    }
    return found;
}

bool encoder_wordpiece(Encoder *encoder, const char *piece, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    size_t characters = 0, before = encoder->out->count, length = 0;
    for (size_t i = 0; i < n && characters <= tokenizer->characters_max; i++) {
        characters += !utf8_continues(piece[i]);
    }
    bool known = characters <= tokenizer->characters_max;
    for (size_t i = 0; known && i < n; i += length) {
        int32_t node = i == 0 ? TRIE_ROOT : tokenizer->continuation_node;
        int32_t id = longest_piece(encoder, node, piece + i, n - i, &length);
        known = id >= 0;
        if (known && !tokens_push(encoder->out, id, err)) {
            return false;
        }
    }
    if (!known) {
        encoder->out->count = before;
        return tokens_push(encoder->out, tokenizer->unknown, err);
    }
    return true;
}
