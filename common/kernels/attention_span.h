/* SPDX-License-Identifier: MIT
 *
 * What a block of queries sees of a block of keys: bounds of loops for attention_block.c, for the
 * instruction set that includes this.
 */
#ifndef RLHF_KERNELS_ATTENTION_SPAN_H
#define RLHF_KERNELS_ATTENTION_SPAN_H

#include <stdbool.h>

#include "common/kernels/attention_block.h"
#include "common/kernels/vector.h"

/* A tile of products: rows by columns. Of queries and keys a block holds so many; both are multiples of
 * TILE_ROWS and of TILE_COLUMNS. */
#if defined __AVX512F__
enum { TILE_ROWS = 12 };
#else
enum { TILE_ROWS = 6 };
#endif
enum { TILE_COLUMNS = 2 * VECTOR, QUERIES = 96, KEYS = 192 };

/* A block of queries of one head. */
typedef struct Block {
    const AttentionPass *pass;
    const AttentionSequence *s;
    size_t head, kv_head;
    size_t first, queries;   /* rows of the batch */
    size_t position;         /* of the first query, prefix included */
    size_t d, width, stride; /* floats of a head, of a row of out, and of qkv */
    size_t fresh;            /* keys from here on have no gradient yet */
    float scale;
    bool single; /* an encoder's rows that see all of one block of keys */
} Block;

/* A block of keys, as the queries of a block see it: query i sees key j when i + low < j <= i + high. */
typedef struct Span {
    size_t first, keys; /* counted from the first key of the prefix */
    ptrdiff_t low, high;
    bool later; /* not the first one */
} Span;

static inline ptrdiff_t clamp(ptrdiff_t x, ptrdiff_t low, ptrdiff_t high) {
    return x < low ? low : x > high ? high : x;
}

/* The batch's row of a key. */
static inline size_t key_row(const Block *b, size_t key) {
    size_t prefix = b->s->prefix_end - b->s->prefix_begin;
    return key < prefix ? b->s->prefix_begin + key : b->s->begin + key - prefix;
}

/* Where in qkv a row's query begins. */
static inline size_t query_at(const Block *b, size_t row) {
    return row * b->stride + b->head * b->d;
}

/* Where a key (kind 1) or value (2) begins. */
static inline size_t key_at(const Block *b, size_t key, size_t kind) {
    const Attention *a = b->pass->attention;
    size_t head = a->heads + (kind - 1) * a->kv_heads + b->kv_head;
    return key_row(b, key) * b->stride + head * b->d;
}

/* How many keys the rows before a position see. */
static inline size_t reach(const Block *b, size_t position) {
    const Attention *a = b->pass->attention;
    if (!a->bidirectional || position == 0) {
        return position;
    }
    size_t all = b->s->end - b->s->begin;
    return a->window == 0 || all - position < a->window ? all : position + a->window - 1;
}

/* The block of keys from the one in which `first` lies; bounds beyond all queries and keys say no more. */
static inline Span span_at(const Block *b, size_t first, size_t end, bool later) {
    const Attention *a = b->pass->attention;
    ptrdiff_t offset = (ptrdiff_t)b->position - (ptrdiff_t)first;
    ptrdiff_t window =
        a->window == 0 || a->window > PTRDIFF_MAX / 4 ? PTRDIFF_MAX / 4 : (ptrdiff_t)a->window;
    ptrdiff_t high = a->bidirectional ? offset + window - 1 : offset;
    return (Span){first, end - first < KEYS ? end - first : KEYS,
                  clamp(offset - window, -QUERIES, KEYS), clamp(high, -QUERIES, KEYS), later};
}

/* A vector of queries, from `column` on: products read its keys [begin, end), and all of them see
 * [whole_begin, whole_end). */
typedef struct Lanes {
    size_t begin, whole_begin, whole_end, end;
} Lanes;

static inline Lanes lanes_at(size_t column, const Span *span) {
    ptrdiff_t first = (ptrdiff_t)column + span->low, last = (ptrdiff_t)column + span->high;
    ptrdiff_t keys = (ptrdiff_t)span->keys;
    ptrdiff_t begin = clamp(first + 1 - TILE_ROWS, 0, keys), whole = clamp(first + VECTOR, 0, keys);
    return (Lanes){(size_t)begin, (size_t)whole, (size_t)clamp(last + 1, whole, keys),
                   (size_t)clamp(last + VECTOR + TILE_ROWS, whole, keys)};
}

/* All bits set where a query sees the key. */
static inline IntVector sees(size_t key, size_t column, const Span *span) {
    ptrdiff_t at = (ptrdiff_t)key - (ptrdiff_t)column;
    return (lanes() >= (int32_t)(at - span->high)) & (lanes() < (int32_t)(at - span->low));
}

#endif
