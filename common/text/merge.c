/* SPDX-License-Identifier: MIT
 *
 * Merging: of all neighbors in a piece the pair with the lowest rank, the leftmost of equals,
 * becomes one symbol, until no pair has a rank. Short pieces by looking at all pairs each time,
 * long ones with a heap.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

enum { SHORT_PIECE = 48, PIECE_MAX = 1 << 30 };

typedef struct Symbol {
    int32_t id, rank, merged; /* rank and merged: with the next symbol; rank -1: no merge */
    int32_t previous, next;   /* -1: none; only in long pieces */
} Symbol;

typedef struct Candidate {
    int32_t rank, position, left, right; /* ids when it was made: it is stale if they changed */
} Candidate;

static void rate(const Tokenizer *tokenizer, Symbol *symbol, int32_t next) {
    const PairSlot *slot = pair_map_find(&tokenizer->pair, symbol->id, next);
    symbol->rank = slot == NULL ? -1 : slot->rank;
    symbol->merged = slot == NULL ? -1 : slot->result;
}

static bool merge_short(Encoder *encoder, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    Symbol *symbol = encoder->symbol;
    for (size_t i = 0; i + 1 < n; i++) {
        rate(tokenizer, &symbol[i], symbol[i + 1].id);
    }
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++) {
            if (symbol[i].rank >= 0 && (best == n || symbol[i].rank < symbol[best].rank)) {
                best = i;
            }
        }
        if (best == n) {
            break;
        }
        symbol[best].id = symbol[best].merged;
        memmove(&symbol[best + 1], &symbol[best + 2], (n - best - 2) * sizeof *symbol);
        n--;
        if (best + 1 < n) {
            rate(tokenizer, &symbol[best], symbol[best + 1].id);
        }
        if (best > 0) {
            rate(tokenizer, &symbol[best - 1], symbol[best].id);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!tokens_push(encoder->out, symbol[i].id, err)) {
            return false;
        }
    }
    return true;
}

static bool before(const Candidate *a, const Candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static bool heap_push(Encoder *encoder, size_t *size, Candidate candidate, Error *err) {
    if (!mem_reserve(&encoder->heap, &encoder->heap_capacity, *size + 1, sizeof candidate, err)) {
        return false;
    }
    size_t i = (*size)++;
    while (i > 0 && before(&candidate, &encoder->heap[(i - 1) / 2])) {
        encoder->heap[i] = encoder->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    encoder->heap[i] = candidate;
    return true;
}

static Candidate heap_pop(Candidate *heap, size_t *size) {
    Candidate top = heap[0], last = heap[--*size];
    size_t i = 0;
    for (size_t child = 1; child < *size; child = 2 * i + 1) {
        if (child + 1 < *size && before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!before(&heap[child], &last)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Offers the pair that begins at symbol i, if it can be merged. */
static bool offer(Encoder *encoder, size_t *size, int32_t i, Error *err) {
    const Symbol *symbol = encoder->symbol;
    int32_t next = symbol[i].next;
    if (next < 0) {
        return true;
    }
    const PairSlot *slot = pair_map_find(&encoder->tokenizer->pair, symbol[i].id, symbol[next].id);
    return slot == NULL ||
           heap_push(encoder, size, (Candidate){slot->rank, i, symbol[i].id, symbol[next].id}, err);
}

static bool merge_long(Encoder *encoder, size_t n, Error *err) {
    Symbol *symbol = encoder->symbol;
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        symbol[i].previous = (int32_t)i - 1;
        symbol[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        if (!offer(encoder, &size, (int32_t)i, err)) {
            return false;
        }
    }
    while (size > 0) {
        Candidate top = heap_pop(encoder->heap, &size);
        Symbol *left = &symbol[top.position];
        int32_t next = left->next;
        if (left->id != top.left || next < 0 || symbol[next].id != top.right) {
            continue;
        }
        left->id = pair_map_find(&encoder->tokenizer->pair, top.left, top.right)->result;
        left->next = symbol[next].next;
        symbol[next].id = -1;
        if (left->next >= 0) {
            symbol[left->next].previous = top.position;
        }
        if (!offer(encoder, &size, top.position, err) ||
            (left->previous >= 0 && !offer(encoder, &size, left->previous, err))) {
            return false;
        }
    }
    for (int32_t i = 0; i >= 0; i = symbol[i].next) {
        if (!tokens_push(encoder->out, symbol[i].id, err)) {
            return false;
        }
    }
    return true;
}

static bool merge_symbols(Encoder *encoder, size_t n, Error *err) {
    return n <= SHORT_PIECE ? merge_short(encoder, n, err) : merge_long(encoder, n, err);
}

static bool no_symbol(const Encoder *encoder, const char *text, size_t n, Error *err) {
    char shown[16] = "";
    for (size_t i = 0; i < n && i < 4; i++) {
        snprintf(shown + 3 * i, sizeof shown - 3 * i, " %02x", (unsigned char)text[i]);
    }
    return error_at(err, ERROR_DATA, encoder->tokenizer->source, 0, 0,
                    "the vocabulary has no token for byte%s%s of the text", n > 1 ? "s" : " 0x",
                    n > 1 ? shown : shown + 1);
}

/* The symbol of one character of a piece, -1 if there is none. */
static int32_t symbol_of(Encoder *encoder, const char *text, size_t n, bool first, bool last) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    bool prefixed = !first && tokenizer->prefix != NULL;
    bool suffixed = last && tokenizer->suffix != NULL;
    if (!prefixed && !suffixed) {
        if (n == 1) {
            return tokenizer->byte_id[(unsigned char)*text];
        }
        int32_t id = name_map_find(&tokenizer->model, text, n);
        return id >= 0 && (tokenizer->token[id].flags & TOKEN_UNSPELLED) == 0 ? id : -1;
    }
    str_clear(&encoder->text);
    str_append(&encoder->text, prefixed ? tokenizer->prefix : "");
    str_append_bytes(&encoder->text, text, n);
    str_append(&encoder->text, suffixed ? tokenizer->suffix : "");
    return name_map_find(&tokenizer->model, str_text(&encoder->text), encoder->text.size);
}

/* Tokens <0xHH> of a character, prefix and suffix included; 0 if one is lacking. */
static size_t fallback_symbols(Encoder *encoder, const char *text, size_t n, size_t count,
                               bool affixed) {
    const char *from = affixed ? str_text(&encoder->text) : text;
    size_t size = affixed ? encoder->text.size : n;
    for (size_t i = 0; i < size; i++) {
        encoder->symbol[count + i].id = encoder->tokenizer->fallback[(unsigned char)from[i]];
        if (encoder->symbol[count + i].id < 0) {
            return 0;
        }
    }
    return size;
}

/* Merges the characters of one piece. What is unknown becomes the unknown token as soon as a known
 * character follows, as in Hugging Face's: behind any tokens of bytes in between. */
static bool merge_characters(Encoder *encoder, const char *piece, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    size_t affix = tokenizer->prefix == NULL ? 0 : strlen(tokenizer->prefix);
    affix += tokenizer->suffix == NULL ? 0 : strlen(tokenizer->suffix);
    size_t count = 0, size = 0, most = mem_add(mem_mul(n, 1 + affix), 1);
    bool unknown = false;
    if (most > INT32_MAX) {
        return error_set(err, ERROR_DATA, "a word of %zu bytes is too long", n);
    }
    if (!mem_reserve(&encoder->symbol, &encoder->symbol_capacity, most, sizeof(Symbol), err)) {
        return false;
    }
    for (size_t i = 0; i < n; i += size) {
        size = (unsigned char)piece[i] < 0x80 ? 1 : utf8_decode(piece + i, n - i, NULL);
        bool last = i + size == n;
        size_t bytes = 0, whole = 0;
        int32_t id = trie_longest(&tokenizer->whole, TRIE_ROOT, piece + i, n - i, &whole);
        if (id >= 0) {
            size = whole;
        } else {
            id = symbol_of(encoder, piece + i, size, i == 0, last);
        }
        if (id >= 0) {
            if (unknown) {
                encoder->symbol[count++].id = tokenizer->unknown;
                unknown = false;
            }
            encoder->symbol[count++].id = id;
            continue;
        }
        if (tokenizer->byte_fallback) {
            bool affixed =
                (i > 0 && tokenizer->prefix != NULL) || (last && tokenizer->suffix != NULL);
            bytes = fallback_symbols(encoder, piece + i, size, count, affixed);
            count += bytes;
        }
        if (bytes == 0) {
            if (tokenizer->unknown < 0) {
                return no_symbol(encoder, piece + i, size, err);
            }
            if (unknown && !tokenizer->fuse_unknown) {
                encoder->symbol[count++].id = tokenizer->unknown;
            }
            unknown = true;
        }
    }
    if (unknown) {
        encoder->symbol[count++].id = tokenizer->unknown;
    }
    return merge_symbols(encoder, count, err);
}

/* Where no merge goes on behind a character with the sign of a space, words are merged apart. */
static bool merge_words(Encoder *encoder, const char *piece, size_t n, Error *err) {
    static const char sign[] = "\xe2\x96\x81";
    size_t start = 0;
    for (size_t i = 3; i + 3 <= n; i++) {
        const char *next = str_find(piece + i, n - i, sign, 3);
        if (next == NULL) {
            break;
        }
        i = (size_t)(next - piece);
        if (memcmp(piece + i - 3, sign, 3) != 0) {
            if (!merge_characters(encoder, piece + start, i - start, err)) {
                return false;
            }
            start = i;
        }
    }
    return merge_characters(encoder, piece + start, n - start, err);
}

static bool merge_bytes(Encoder *encoder, const char *piece, size_t n, Error *err) {
    if (!mem_reserve(&encoder->symbol, &encoder->symbol_capacity, n, sizeof(Symbol), err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        encoder->symbol[i].id = encoder->tokenizer->byte_id[(unsigned char)piece[i]];
    }
    return merge_symbols(encoder, n, err);
}

bool encoder_merge(Encoder *encoder, const char *piece, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    if (tokenizer->ignore_merges) {
        const char *word = piece;
        size_t size = n;
        if (tokenizer->bytes_are_symbols) {
            str_clear(&encoder->text);
            byte_level_write(piece, n, &encoder->text);
            if (!str_ok(&encoder->text, err)) {
                return false;
            }
            word = encoder->text.data;
            size = encoder->text.size;
        }
        int32_t id = name_map_find(&tokenizer->model, word, size);
        if (id >= 0 && (encoder->special || (tokenizer->token[id].flags & TOKEN_SPECIAL) == 0)) {
            return tokens_push(encoder->out, id, err);
        }
    }
    if (n > PIECE_MAX) {
        return error_set(err, ERROR_DATA, "a word of %zu bytes, at most %d are encoded", n,
                         PIECE_MAX);
    }
    if (tokenizer->bytes_are_symbols) {
        return merge_bytes(encoder, piece, n, err);
    }
    return tokenizer->words_begin ? merge_words(encoder, piece, n, err)
                                  : merge_characters(encoder, piece, n, err);
}

bool encoder_fallback(Encoder *encoder, const char *text, size_t n, bool *done, Error *err) {
    const int32_t *fallback = encoder->tokenizer->fallback;
    *done = false;
    for (size_t i = 0; i < n; i++) {
        if (fallback[(unsigned char)text[i]] < 0) {
            return true;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!tokens_push(encoder->out, fallback[(unsigned char)text[i]], err)) {
            return false;
        }
    }
    *done = true;
    return true;
}
