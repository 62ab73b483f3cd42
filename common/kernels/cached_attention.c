/* SPDX-License-Identifier: MIT */
#include "common/kernels/cached_attention.h"

#include <math.h>
#include <stdbool.h>
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

size_t page_bytes(GemmType type, size_t kv_heads, size_t head_size) {
    return 2 * kv_heads * head_size * PAGE_TOKENS * element(type);
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
    size_t n, width, stride; /* floats of a row of out, and of qkv */
    size_t block;            /* bytes of the keys, or of the values, of one head in a page */
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
                  .stride = (pages->heads + 2 * pages->kv_heads) * pages->head_size,
                  .block = pages->head_size * PAGE_TOKENS * element(pages->type)};
}

/* The keys of head 0 in the page of a position; the other heads' follow, then the values. */
static char *page_at(const Work *w, const CachedRow *row, size_t position) {
    bool shared = position < row->shared_tokens;
    size_t at = shared ? position : position - row->shared_tokens;
    size_t page = shared ? row->shared[at / PAGE_TOKENS] : row->own[at / PAGE_TOKENS];
    return (char *)w->pages->data + page * 2 * w->pages->kv_heads * w->block;
}

static void store_rows(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    size_t size = w->pages->head_size, heads = w->pages->kv_heads;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const CachedRow *row = &w->row[i];
        const float *key = w->qkv + i * w->stride + w->width; /* the value follows */
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

/* The first position that a row sees, and how many it sees from there to its own. */
static size_t first_seen(const Work *w, const CachedRow *row) {
    size_t window = w->pages->window;
    return window != 0 && row->position >= window ? row->position + 1 - window : 0;
}

static size_t seen_by(const Work *w, const CachedRow *row) {
    return row->position + 1 - first_seen(w, row);
}

/* A row's positions in one page, from the first on; keys of head 0 and a pointer to what comes after. */
typedef struct Stretch {
    size_t position, n;
    size_t bytes; /* from the beginning of a head's block to the position's */
    const char *page, *next;
} Stretch;

/* The stretch at a position. A page of the prompt ends with the prompt. */
static Stretch stretch_at(const Work *w, const CachedRow *row, size_t position) {
    bool shared = position < row->shared_tokens;
    size_t end = row->position + 1, at = position - (shared ? 0 : row->shared_tokens);
    if (shared && row->shared_tokens < end) {
        end = row->shared_tokens;
    }
    size_t left = PAGE_TOKENS - at % PAGE_TOKENS;
    Stretch s = {.position = position, .n = end - position < left ? end - position : left};
    s.bytes = at % PAGE_TOKENS * (w->block / PAGE_TOKENS);
    s.page = page_at(w, row, position);
    s.next = position + s.n <= row->position ? page_at(w, row, position + s.n) : s.page;
    return s;
}

/* Memory is read ahead of its use: the processor's own foresight ends with each 4 KiB. */
static void fetch(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(from + i);
    }
}

/* Heads [begin, end) of a row, whose keys lie side by side in a page. */
typedef struct Share {
    const CachedRow *row;
    const float *q; /* of all heads */
    float *out;
    size_t begin, end;
    float *scores;
} Share;

/* The block of the head's keys (kind 0) or values (1) in a stretch; fetches that of the next head. */
static const char *head_block(const Work *w, const Share *share, const Stretch *s, size_t head,
                              size_t kind) {
    size_t heads_per_key = w->pages->heads / w->pages->kv_heads, offset = kind * w->pages->kv_heads;
    size_t at = offset + head / heads_per_key;
    if (head + 1 == share->end) {
        fetch(s->next + (offset + share->begin / heads_per_key) * w->block, w->block);
    } else if ((head + 1) % heads_per_key == 0) {
        fetch(s->page + (at + 1) * w->block, w->block);
    }
    return s->page + at * w->block + s->bytes;
}

static void attend(const Work *w, const Share *share) {
    const RowKernels *kernels = row_kernels();
    const CachedPages *pages = w->pages;
    size_t size = pages->head_size, step = scores_of(w->longest);
    size_t first = first_seen(w, share->row), seen = seen_by(w, share->row);
    float scale = pages->scale != 0 ? pages->scale : 1.0f / sqrtf((float)size);
    Stretch s;
    for (size_t p = 0; p < seen; p += s.n) {
        s = stretch_at(w, share->row, first + p);
        for (size_t h = share->begin; h < share->end; h++) {
            const char *keys = head_block(w, share, &s, h, 0);
            w->kernels->scores(share->scores + h * step + p, scale, share->q + h * size, keys, s.n,
                               size);
        }
    }
    for (size_t h = share->begin; h < share->end; h++) {
        float *scores = share->scores + h * step;
        float sum = kernels->exp(scores, scores, kernels->max(scores, seen), seen);
        kernels->scale(scores, 1.0f / sum, seen);
    }
    memset(share->out + share->begin * size, 0, (share->end - share->begin) * size * sizeof(float));
    for (size_t p = 0; p < seen; p += s.n) {
        s = stretch_at(w, share->row, first + p);
        for (size_t h = share->begin; h < share->end; h++) {
            const char *values = head_block(w, share, &s, h, 1);
            w->kernels->weigh(share->out + h * size, share->scores + h * step + p, values, s.n,
                              size);
        }
    }
}

static void attend_heads(const Work *w, size_t i, size_t begin, size_t end, float *scores) {
    Share share = {&w->row[i], w->qkv + i * w->stride, w->out + i * w->width, begin, end, scores};
    attend(w, &share);
}

/* The first head, counted over all rows, whose work lies at or behind share `piece` of the whole. */
static void piece_begin(const Work *w, size_t piece, size_t *row, size_t *head) {
    size_t heads = w->pages->heads, target = w->work * heads / w->pieces * piece, before = 0;
    for (*row = 0; *row < w->n; (*row)++) {
        size_t seen = seen_by(w, &w->row[*row]);
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
        attend_heads(w, row, head, w->pages->heads, scratch);
    }
    if (row < w->n && head < last_head) {
        attend_heads(w, row, head, last_head, scratch);
    }
}

void cached_attention(float *out, const CachedPages *pages, const CachedRow *row, const float *qkv,
                      size_t n, float *scratch, size_t longest) {
    Work work = work_of(pages, row, qkv, n);
    work.out = out;
    work.scratch = scratch;
    work.longest = longest;
    for (size_t i = 0; i < n; i++) {
        work.work += seen_by(&work, &row[i]);
    }
    size_t most = 1 + work.work * work.width / ATTEND_GRAIN;
    work.pieces = (size_t)parallel_threads() < most ? (size_t)parallel_threads() : most;
    parallel_for(work.pieces, 1, attend_piece, &work);
}
