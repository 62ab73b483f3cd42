/* SPDX-License-Identifier: MIT
 *
 * Attention of single rows over cached keys and values, for decoding. The cache is made of pages of
 * PAGE_TOKENS positions; a sequence is a list of page numbers, so memory has no holes and a
 * prompt's pages serve all of its completions.
 *
 * A page of one layer holds for each head its keys [PAGE_TOKENS][head_size], then its values
 * likewise. What a row gets depends on its own query and pages alone, bit for bit.
 */
#ifndef RLHF_KERNELS_CACHED_ATTENTION_H
#define RLHF_KERNELS_CACHED_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum { PAGE_TOKENS = 16 };

/* A row: its token's place, and the pages before and behind it. */
typedef struct CachedRow {
    const uint32_t *shared; /* pages of the first `shared_tokens` positions */
    size_t shared_tokens;
    const uint32_t *own; /* pages of the positions from shared_tokens on */
    size_t position;     /* of this row's token; it sees positions 0 .. position */
} CachedRow;

/* Floats of one page of one layer. */
size_t page_floats(size_t heads, size_t head_size);

/* Stores the keys and values of n rows at their positions. qkv [n, 3 C] as in attention.h; pages is
 * the layer's array of pages. */
void cached_attention_store(float *pages, const CachedRow *row, const float *qkv, size_t n,
                            size_t heads, size_t head_size);

/* out [n, C]: each row attends to all stored positions up to its own. scores:
 * [threads][longest], longest > position of every row. */
void cached_attention(float *out, const float *pages, const CachedRow *row, const float *qkv,
                      size_t n, size_t heads, size_t head_size, float *scores, size_t longest);

#endif
