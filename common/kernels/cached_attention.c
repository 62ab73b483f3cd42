/* SPDX-License-Identifier: MIT */
#include "common/kernels/cached_attention.h"

#include <math.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/rows.h"

enum { STORE_GRAIN = 16, ATTEND_GRAIN = 1 << 15 };

static size_t element(GemmType type) {
    return type == GEMM_BF16 ? sizeof(uint16_t) : sizeof(float);
}

size_t page_bytes(GemmType type, size_t heads, size_t head_size) {
    return 2 * heads * head_size * PAGE_TOKENS * element(type);
}

size_t cached_attention_scratch(size_t longest) {
    return longest + PAGE_TOKENS; /* a page's scores are written as a whole */
}

typedef struct Work {
    const CachedPages *pages;
    const PageKernels *kernels;
    const CachedRow *row;
    const float *qkv;
    size_t n, width, half; /* half: bytes of a head's keys in a page, and of its values */
    float *out, *scratch;
    size_t longest;
} Work;

static Work work_of(const CachedPages *pages, const CachedRow *row, const float *qkv, size_t n) {
    return (Work){.pages = pages,
                  .kernels = page_kernels(pages->type),
                  .row = row,
                  .qkv = qkv,
                  .n = n,
                  .width = pages->heads * pages->head_size,
                  .half = pages->head_size * PAGE_TOKENS * element(pages->type)};
}

/* The keys of a head in the page of a position; its values lie w->half behind. */
static char *keys_at(const Work *w, const CachedRow *row, size_t position, size_t head) {
    bool shared = position < row->shared_tokens;
    size_t at = shared ? position : position - row->shared_tokens;
    size_t page = shared ? row->shared[at / PAGE_TOKENS] : row->own[at / PAGE_TOKENS];
    return (char *)w->pages->data + (page * w->pages->heads + head) * 2 * w->half;
}

static void store_rows(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    size_t size = w->pages->head_size;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const CachedRow *row = &w->row[i];
        const float *key = w->qkv + i * 3 * w->width + w->width, *value = key + w->width;
        size_t position = row->position,
               at = position < row->shared_tokens ? position : position - row->shared_tokens;
        for (size_t h = 0; h < w->pages->heads; h++) {
            char *keys = keys_at(w, row, position, h);
            w->kernels->store(keys, keys + w->half, at % PAGE_TOKENS, key + h * size,
                              value + h * size, size);
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
    size_t size = w->pages->head_size, seen = row->position + 1, n;
    const float *q = w->qkv + i * 3 * w->width + head * size;
    float *out = w->out + i * w->width + head * size;
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        w->kernels->scores(scores + p, q, keys_at(w, row, p, head), size);
    }
    kernels->scale(scores, 1.0f / sqrtf((float)size), seen);
    float sum = kernels->exp(scores, scores, kernels->max(scores, seen), seen);
    memset(out, 0, size * sizeof(float));
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        w->kernels->weigh(out, scores + p, keys_at(w, row, p, head) + w->half, n, size);
    }
    kernels->scale(out, 1.0f / sum, size);
}

/* Head by head: rows that share a prompt find its keys and values in a cache. */
static void attend_range(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    for (size_t task = begin; task < end; task++) {
        attend(w, task % w->n, task / w->n, w->scratch + (size_t)thread * w->longest);
    }
}

void cached_attention_store(const CachedPages *pages, const CachedRow *row, const float *qkv,
                            size_t n) {
    Work work = work_of(pages, row, qkv, n);
    parallel_for(n, STORE_GRAIN, store_rows, &work);
}

void cached_attention(float *out, const CachedPages *pages, const CachedRow *row, const float *qkv,
                      size_t n, float *scratch, size_t longest) {
    Work work = work_of(pages, row, qkv, n);
    work.out = out;
    work.scratch = scratch;
    work.longest = cached_attention_scratch(longest);
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        last = row[i].position > last ? row[i].position : last;
    }
    /* Below some thousand products a second thread costs more than it gives. */
    parallel_for(n * pages->heads, 1 + ATTEND_GRAIN / ((last + 1) * pages->head_size), attend_range,
                 &work);
}
