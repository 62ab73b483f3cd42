/* SPDX-License-Identifier: MIT
 *
 * Merging: of all neighbors in a piece the pair with the lowest rank, the leftmost of equals,
 * becomes one symbol, until no pair has a rank. Short pieces by looking at all pairs each time,
 * long ones with a heap.
 */
#include <string.h>

#include "common/base/memory.h"
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

bool encoder_merge(Encoder *encoder, const char *piece, size_t n, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    if (tokenizer->ignore_merges) {
        str_clear(&encoder->text);
        byte_level_write(piece, n, &encoder->text);
        if (!str_ok(&encoder->text, err)) {
            return false;
        }
        int32_t id = name_map_find(&tokenizer->model, encoder->text.data, encoder->text.size);
        if (id >= 0 && (tokenizer->token[id].flags & TOKEN_SPECIAL) == 0) {
            return tokens_push(encoder->out, id, err);
        }
    }
    if (n > PIECE_MAX) {
        return error_set(err, ERROR_DATA, "a word of %zu bytes, at most %d are encoded", n,
                         PIECE_MAX);
    }
    if (!mem_reserve(&encoder->symbol, &encoder->symbol_capacity, n, sizeof(Symbol), err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int32_t id = tokenizer->byte_id[(unsigned char)piece[i]];
        if (id < 0) {
            return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                            "the vocabulary has no token for byte 0x%02x of the text",
                            (unsigned char)piece[i]);
        }
        encoder->symbol[i].id = id;
    }
    return n <= SHORT_PIECE ? merge_short(encoder, n, err) : merge_long(encoder, n, err);
}
