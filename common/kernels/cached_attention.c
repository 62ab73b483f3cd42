/* SPDX-License-Identifier: MIT */
#include "common/kernels/cached_attention.h"

#include <math.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/rows.h"

enum {
    STORE_GRAIN = 16,
    ATTEND_GRAIN =
        1 << 15, /* products of a head: below this a second thread costs more than it gives */
    LINE = 64,
};

static size_t element(GemmType type) {
    return type == GEMM_BF16 ? sizeof(uint16_t) : sizeof(float);
}

size_t page_bytes(GemmType type, size_t heads, size_t head_size) {
    return 2 * heads * head_size * PAGE_TOKENS * element(type);
}

/* Scores of a head; a page's are written as a whole. */
static size_t scores_of(size_t longest) {
    return longest + PAGE_TOKENS;
}

size_t cached_attention_scratch(size_t heads, size_t longest) {
    return mem_mul(heads, scores_of(longest));
}

typedef struct Work {
    const CachedPages *pages;
    const PageKernels *kernels;
    const CachedRow *row;
    const float *qkv;
    size_t n, width;
    size_t block; /* bytes of the keys, or of the values, of one head in a page */
    float *out, *scratch;
    size_t longest;
    size_t work, pieces; /* positions that all rows see, and the pieces they are cut into */
} Work;

static Work work_of(const CachedPages *pages, const CachedRow *row, const float *qkv, size_t n) {
    return (Work){.pages = pages,
                  .kernels = page_kernels(pages->type),
                  .row = row,
                  .qkv = qkv,
                  .n = n,
                  .width = pages->heads * pages->head_size,
                  .block = pages->head_size * PAGE_TOKENS * element(pages->type)};
}

/* The keys of head 0 in the page of a position; the other heads' follow, then the values. */
static char *page_at(const Work *w, const CachedRow *row, size_t position) {
    bool shared = position < row->shared_tokens;
    size_t at = shared ? position : position - row->shared_tokens;
    size_t page = shared ? row->shared[at / PAGE_TOKENS] : row->own[at / PAGE_TOKENS];
    return (char *)w->pages->data + page * 2 * w->pages->heads * w->block;
}

static void store_rows(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    size_t size = w->pages->head_size, heads = w->pages->heads;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const CachedRow *row = &w->row[i];
        const float *key = w->qkv + i * 3 * w->width + w->width; /* the value follows */
        size_t position = row->position;
        size_t at = position < row->shared_tokens ? position : position - row->shared_tokens;
        char *page = page_at(w, row, position);
        for (size_t h = 0; h < 2 * heads; h++) {
            w->kernels->store(page + h * w->block, at % PAGE_TOKENS, key + h * size, size);
        }
    }
}

void cached_attention_store(const CachedPages *pages, const CachedRow *row, const float *qkv,
                            size_t n) {
    Work work = work_of(pages, row, qkv, n);
    parallel_for(n, STORE_GRAIN, store_rows, &work);
}

/* Positions in the page that begins at `position` of a row which sees `seen` positions. A page of
 * the prompt ends with the prompt. */
static size_t page_extent(const CachedRow *row, size_t position, size_t seen) {
    size_t end =
        position < row->shared_tokens && row->shared_tokens < seen ? row->shared_tokens : seen;
    return end - position < PAGE_TOKENS ? end - position : PAGE_TOKENS;
}

/* Memory is read ahead of its use: the processor's own foresight ends with each 4 KiB. */
static void fetch(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(from + i);
    }
}

/* Heads [begin, end) of a row: they lie side by side in a page. */
static void attend(const Work *w, size_t i, size_t begin, size_t end, float *scratch) {
    const RowKernels *kernels = row_kernels();
    const CachedRow *row = &w->row[i];
    size_t size = w->pages->head_size, seen = row->position + 1, step = scores_of(w->longest), n;
    const float *q = w->qkv + i * 3 * w->width;
    float *out = w->out + i * w->width, scale = 1.0f / sqrtf((float)size);
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        const char *keys = page_at(w, row, p);
        const char *next = p + n < seen ? page_at(w, row, p + n) : keys + begin * w->block;
        for (size_t h = begin; h < end; h++) {
            fetch(h + 1 < end ? keys + (h + 1) * w->block : next + begin * w->block, w->block);
            w->kernels->scores(scratch + h * step + p, scale, q + h * size, keys + h * w->block, n,
                               size);
        }
    }
    for (size_t h = begin; h < end; h++) {
        float *scores = scratch + h * step;
        float sum = kernels->exp(scores, scores, kernels->max(scores, seen), seen);
        kernels->scale(scores, 1.0f / sum, seen);
    }
    memset(out + begin * size, 0, (end - begin) * size * sizeof(float));
    for (size_t p = 0; p < seen; p += n) {
        n = page_extent(row, p, seen);
        const char *values = page_at(w, row, p) + w->pages->heads * w->block;
        const char *next =
            p + n < seen ? page_at(w, row, p + n) + w->pages->heads * w->block : values;
        for (size_t h = begin; h < end; h++) {
            fetch(h + 1 < end ? values + (h + 1) * w->block : next + begin * w->block, w->block);
            w->kernels->weigh(out + h * size, scratch + h * step + p, values + h * w->block, n,
                              size);
        }
    }
}

/* The first head, counted over all rows, whose work lies at or behind share `piece` of the whole. */
static void piece_begin(const Work *w, size_t piece, size_t *row, size_t *head) {
    size_t heads = w->pages->heads, target = w->work * heads / w->pieces * piece, before = 0;
    for (*row = 0; *row < w->n; (*row)++) {
        size_t seen = w->row[*row].position + 1;
        if (before + seen * heads > target) {
            *head = (target - before) / seen;
            return;
        }
        before += seen * heads;
    }
    *head = 0;
}

static void attend_piece(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    size_t row, head, last_row = w->n, last_head = 0;
    float *scratch =
        w->scratch + (size_t)thread * cached_attention_scratch(w->pages->heads, w->longest);
    piece_begin(w, begin, &row, &head);
    if (end < w->pieces) {
        piece_begin(w, end, &last_row, &last_head);
    }
    for (; row < last_row; row++, head = 0) {
        attend(w, row, head, w->pages->heads, scratch);
    }
    if (row < w->n && head < last_head) {
        attend(w, row, head, last_head, scratch);
    }
}

void cached_attention(float *out, const CachedPages *pages, const CachedRow *row, const float *qkv,
                      size_t n, float *scratch, size_t longest) {
    Work work = work_of(pages, row, qkv, n);
    work.out = out;
    work.scratch = scratch;
    work.longest = longest;
    for (size_t i = 0; i < n; i++) {
        work.work += row[i].position + 1;
    }
    size_t most = 1 + work.work * work.width / ATTEND_GRAIN;
    work.pieces = (size_t)parallel_threads() < most ? (size_t)parallel_threads() : most;
    parallel_for(work.pieces, 1, attend_piece, &work);
}
