/* SPDX-License-Identifier: MIT */
#include "common/kernels/cached_attention.h"

#include <math.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/rows.h"

enum { STORE_GRAIN = 16, ATTEND_GRAIN = 1 << 14 };

size_t page_floats(size_t heads, size_t head_size) {
    return 2 * heads * head_size * PAGE_TOKENS;
}

/* Where the key of a position and head lies; its value lies head_size * PAGE_TOKENS behind. */
static size_t key_place(const CachedRow *row, size_t position, size_t head, size_t heads,
                        size_t head_size) {
    size_t at = position < row->shared_tokens ? position : position - row->shared_tokens;
    uint32_t page =
        position < row->shared_tokens ? row->shared[at / PAGE_TOKENS] : row->own[at / PAGE_TOKENS];
    return page * page_floats(heads, head_size) +
           (2 * head * PAGE_TOKENS + at % PAGE_TOKENS) * head_size;
}

typedef struct Work {
    float *out;
    float *store;       /* pages, while they are written */
    const float *pages; /* and while they are read */
    const CachedRow *row;
    const float *qkv;
    size_t heads, head_size;
    float *scores;
    size_t longest;
} Work;

static void store_rows(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    size_t width = w->heads * w->head_size;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *key = w->qkv + i * 3 * width + width, *value = key + width;
        for (size_t h = 0; h < w->heads; h++) {
            float *to =
                w->store + key_place(&w->row[i], w->row[i].position, h, w->heads, w->head_size);
            memcpy(to, key + h * w->head_size, w->head_size * sizeof(float));
            memcpy(to + w->head_size * PAGE_TOKENS, value + h * w->head_size,
                   w->head_size * sizeof(float));
        }
    }
}

/* Positions in the page that begins at `position` of a row which sees `seen` positions. A page of
 * the prompt ends with the prompt. */
static size_t page_extent(const CachedRow *row, size_t position, size_t seen) {
    size_t end =
        position < row->shared_tokens && row->shared_tokens < seen ? row->shared_tokens : seen;
    return end - position < PAGE_TOKENS ? end - position : PAGE_TOKENS;
}

static void attend(const Work *w, size_t i, size_t head, float *scores) {
    const RowKernels *kernels = row_kernels();
    const CachedRow *row = &w->row[i];
    size_t size = w->head_size, width = w->heads * size, seen = row->position + 1, n;
    const float *q = w->qkv + i * 3 * width + head * size;
    float *out = w->out + i * width + head * size;
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        const float *keys = w->pages + key_place(row, p, head, w->heads, size);
        for (size_t j = 0; j < n; j++) {
            scores[p + j] = kernels->dot(q, keys + j * size, size);
        }
    }
    kernels->scale(scores, 1.0f / sqrtf((float)size), seen);
    float sum = kernels->exp(scores, scores, kernels->max(scores, seen), seen);
    memset(out, 0, size * sizeof(float));
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        const float *values =
            w->pages + key_place(row, p, head, w->heads, size) + size * PAGE_TOKENS;
        for (size_t j = 0; j < n; j++) {
            kernels->axpy(out, scores[p + j], values + j * size, size);
        }
    }
    kernels->scale(out, 1.0f / sum, size);
}

static void attend_range(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    for (size_t task = begin; task < end; task++) {
        attend(w, task / w->heads, task % w->heads, w->scores + (size_t)thread * w->longest);
    }
}

void cached_attention_store(float *pages, const CachedRow *row, const float *qkv, size_t n,
                            size_t heads, size_t head_size) {
    Work work = {.store = pages, .row = row, .qkv = qkv, .heads = heads, .head_size = head_size};
    parallel_for(n, STORE_GRAIN, store_rows, &work);
}

void cached_attention(float *out, const float *pages, const CachedRow *row, const float *qkv,
                      size_t n, size_t heads, size_t head_size, float *scores, size_t longest) {
    Work work = {.out = out,
                 .pages = pages,
                 .row = row,
                 .qkv = qkv,
                 .heads = heads,
                 .head_size = head_size,
                 .scores = scores,
                 .longest = longest};
    size_t longest_row = 0;
    for (size_t i = 0; i < n; i++) {
        longest_row = row[i].position > longest_row ? row[i].position : longest_row;
    }
    /* Below some thousand products a second thread costs more than it gives. */
    parallel_for(n * heads, 1 + ATTEND_GRAIN / ((longest_row + 1) * head_size), attend_range,
                 &work);
}
