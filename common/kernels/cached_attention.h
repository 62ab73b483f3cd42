/* SPDX-License-Identifier: MIT
 *
 * Attention of single rows over cached keys and values, for decoding. The cache is made of pages of
 * PAGE_TOKENS positions; a sequence is a list of page numbers, so memory has no holes and a
 * prompt's pages serve all of its completions.
 *
 * A page of one layer holds the keys of each head of keys (pages.h), then their values, as floats or
 * rounded to BF16. What a row gets depends on its own query and pages alone, bit for bit.
 */
#ifndef RLHF_KERNELS_CACHED_ATTENTION_H
#define RLHF_KERNELS_CACHED_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/kernels/gemm.h"
#include "common/kernels/pages.h"

/* A row: its token's place, and the pages before and behind it. */
typedef struct CachedRow {
    const uint32_t *shared; /* pages of the first `shared_tokens` positions */
    size_t shared_tokens;
    const uint32_t *own; /* pages of the positions from shared_tokens on */
    size_t position;     /* of this row's token; it sees 0 .. position, or its window of them */
} CachedRow;

/* The pages of one layer. */
typedef struct CachedPages {
    void *data; /* aligned to 64 bytes */
    GemmType type;
    size_t heads, kv_heads, head_size; /* as in attention.h, and so are these: */
    size_t window;
    float scale;
} CachedPages;

/* Bytes of one page of one layer. */
size_t page_bytes(GemmType type, size_t kv_heads, size_t head_size);

/* Stores the keys and values of n rows at their positions. qkv [n, (heads + 2 kv_heads) head_size] as in
 * attention.h. */
void cached_attention_store(const CachedPages *pages, const CachedRow *row, const float *qkv,
                            size_t n);

/* Floats of scratch that a thread needs for rows whose positions are below `longest`. */
size_t cached_attention_scratch(size_t heads, size_t longest);

/* out [n, heads head_size]: each row attends to the positions that it sees. scratch:
 * [threads][cached_attention_scratch(heads, longest)]. The work is cut by positions; rows that share a
 * prompt find its pages in a cache when they are neighbors. */
void cached_attention(float *out, const CachedPages *pages, const CachedRow *row, const float *qkv,
                      size_t n, float *scratch, size_t longest);

#endif
