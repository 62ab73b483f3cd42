/* SPDX-License-Identifier: MIT
 *
 * A block of queries meets a block of keys at a time, after Dao ("FlashAttention-2", 2023): forward keeps
 * the largest score and the sum of exponentials so far, backward has the log of the sum.
 *
 * Scores are kept transposed, a row per key and a column per query. So a vector holds one key's scores of
 * several queries: the sums over keys need no sum across lanes, and scores are operands of every product
 * as they lie. Only queries (and their dout) are transposed, once for each block of them.
 *
 * Query c of a block sees key j of a block when c + low < j <= c + high. Tiles that nobody sees are
 * skipped, rows of products begin and end at the first and last element that any row of their tile sees;
 * what a tile holds beyond is made zero.
 *
 * Keys are cut into blocks from the first key of the prefix on, so that a row's bits do not depend on
 * whether its sequence shares a prefix. Blocks outside the windows of all queries are left out; one outside
 * of some query's window changes nothing of it.
 *
 * Compiled several times; ATTENTION names the table that this compilation defines.
 */
#include "common/kernels/attention_span.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "common/kernels/matrix.h"

#if defined __AVX512F__
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

enum { AHEAD = 8 /* rows */ };

/* C[TILE_ROWS, TILE_COLUMNS] = (add: C +) A[TILE_ROWS, k] B[k, TILE_COLUMNS]; element (r, p) of A is
 * a[r row_step + p depth_step]. */
static inline __attribute__((always_inline)) void
multiply(size_t k, const float *restrict a, size_t row_step, size_t depth_step,
         const float *restrict b, size_t b_step, float *restrict c, size_t ldc, bool add) {
#define DECLARE(r) Vector x##r = {0}, y##r = {0};
    EACH_ROW(DECLARE)
    for (size_t p = 0; p < k; p++) {
        Vector b0 = load(b), b1 = load(b + VECTOR);
#define STEP(r)                                                                                    \
    x##r += a[r * row_step] * b0;                                                                  \
    y##r += a[r * row_step] * b1;
        EACH_ROW(STEP)
        a += depth_step;
        b += b_step;
    }
    if (add) {
#define ADD(r)                                                                                     \
    x##r += load(c + r * ldc);                                                                     \
    y##r += load(c + r * ldc + VECTOR);
        EACH_ROW(ADD)
    }
#define STORE(r)                                                                                   \
    store(c + r * ldc, x##r);                                                                      \
    store(c + r * ldc + VECTOR, y##r);
    EACH_ROW(STORE)
}

/* Buffers of a thread. Rows of D floats are `ld` apart; columns beyond D hold anything. */
typedef struct Buffers {
    size_t ld;
    float *q,
        *dout; /* [QUERIES, ld] the block's queries times the scale, and the gradient of its output */
    float *qt, *doutt;   /* [D, QUERIES] the same transposed */
    float *y;            /* [QUERIES, ld] output or gradient of the queries */
    float *k, *v;        /* [KEYS, ld] */
    float *d;            /* [KEYS, ld] gradient of keys or of values */
    float *p, *s, *mask; /* [KEYS, QUERIES] probabilities, gradient of scores, dropout */
    float *row;          /* [4, QUERIES] numbers of each query */
    float *ones, *kept;  /* [KEYS] of a row of dropout */
} Buffers;

static size_t line(size_t head_size) {
    return (head_size + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
}

static size_t scratch_floats(size_t head_size) {
    size_t ld = line(head_size);
    return QUERIES * (5 * ld + 4) + KEYS * (3 * ld + 3 * QUERIES + 2);
}

static float *take(float **scratch, size_t n) {
    float *taken = *scratch;
    *scratch += n;
    return taken;
}

static Buffers lay_out(float *scratch, size_t head_size) {
    size_t ld = line(head_size);
    Buffers w = {.ld = ld};
    w.q = take(&scratch, QUERIES * ld);
    w.dout = take(&scratch, QUERIES * ld);
    w.qt = take(&scratch, QUERIES * ld);
    w.doutt = take(&scratch, QUERIES * ld);
    w.y = take(&scratch, QUERIES * ld);
    w.k = take(&scratch, KEYS * ld);
    w.v = take(&scratch, KEYS * ld);
    w.d = take(&scratch, KEYS * ld);
    w.p = take(&scratch, KEYS * QUERIES);
    w.s = take(&scratch, KEYS * QUERIES);
    w.mask = take(&scratch, KEYS * QUERIES);
    w.row = take(&scratch, 4 * QUERIES);
    w.ones = take(&scratch, KEYS);
    w.kept = take(&scratch, KEYS);
    return w;
}

/* to = a x, rows of n floats */
static inline void times(float *restrict to, const float *restrict x, float a, size_t n) {
    size_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        store(to + i, a * load(x + i));
    }
    for (; i < n; i++) {
        to[i] = a * x[i];
    }
}

static inline void copy(float *restrict to, const float *restrict x, size_t n) {
    size_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        store(to + i, load(x + i));
    }
    for (; i < n; i++) {
        to[i] = x[i];
    }
}

static inline void add_to(float *restrict y, const float *restrict x, size_t n) {
    size_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        store(y + i, load(y + i) + load(x + i));
    }
    for (; i < n; i++) {
        y[i] += x[i];
    }
}

static inline float dot(const float *x, const float *y, size_t n) {
    Vector sum = {0};
    size_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        sum += load(x + i) * load(y + i);
    }
    float rest = 0;
    for (; i < n; i++) {
        rest += x[i] * y[i];
    }
    return sum_of_lanes(sum) + rest;
}

/* Rows of a head lie apart, where no hardware looks ahead. Beyond the last one it does no harm. */
static inline void expect_read(const float *row, size_t d) {
    for (size_t p = 0; p < d; p += 16) {
        __builtin_prefetch(row + p);
    }
}

static inline void expect_write(const float *row, size_t d) {
    for (size_t p = 0; p < d; p += 16) {
        __builtin_prefetch(row + p, 1);
    }
}

/* What a block sees of the rows of keys (kind 1) or values (2), copied. */
static void gather(float *to, const Buffers *w, const Block *b, const Span *span, size_t kind) {
    for (size_t j = 0; j < span->keys; j++) {
        const float *from = b->pass->qkv + key_at(b, span->first + j, kind);
        expect_read(from + AHEAD * b->stride, b->d);
        copy(to + j * w->ld, from, b->d);
    }
}

typedef float Quad __attribute__((vector_size(16)));
typedef float LooseQuad __attribute__((vector_size(16), aligned(4), may_alias));

/* to[p][l] = from[l][p] for 4 x 4 elements. */
static inline void transpose_quad(float *to, const float *from, size_t ld) {
    Quad a = *(const LooseQuad *)from, b = *(const LooseQuad *)(from + ld);
    Quad c = *(const LooseQuad *)(from + 2 * ld), d = *(const LooseQuad *)(from + 3 * ld);
    Quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
         ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    Quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5),
         cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(LooseQuad *)to = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    *(LooseQuad *)(to + QUERIES) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    *(LooseQuad *)(to + 2 * QUERIES) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
    *(LooseQuad *)(to + 3 * QUERIES) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

/* to [d, QUERIES] = x^T, x [n, d] with rows ld apart and room for a multiple of four of them. */
static void transpose(float *to, const float *x, size_t ld, size_t n, size_t d) {
    for (size_t i = 0; i < n; i += 4) {
        size_t p = 0;
        for (; p + 4 <= d; p += 4) {
            transpose_quad(to + p * QUERIES + i, x + i * ld + p, ld);
        }
        for (; p < d; p++) {
            for (size_t l = 0; l < 4; l++) {
                to[p * QUERIES + i + l] = x[(i + l) * ld + p];
            }
        }
    }
}

/* to = rows of x times a, and its transpose. */
static void load_queries(float *to, float *transposed, const float *x, size_t stride, float a,
                         const Buffers *w, const Block *b) {
    for (size_t i = 0; i < b->queries; i++) {
        expect_read(x + (i + AHEAD) * stride, b->d);
        times(to + i * w->ld, x + i * stride, a, b->d);
    }
    transpose(transposed, to, w->ld, b->queries, b->d);
}

/* s[key, query] = x[key] . query: x [KEYS, ld], yt [D, QUERIES]. */
static void scores(float *s, const float *x, const float *yt, const Buffers *w, const Block *b,
                   const Span *span) {
    for (size_t j = 0; j < span->keys; j += TILE_ROWS) {
        size_t c = (size_t)clamp((ptrdiff_t)j - span->high, 0, QUERIES);
        size_t end =
            (size_t)clamp((ptrdiff_t)j + TILE_ROWS - 1 - span->low, 0, (ptrdiff_t)b->queries);
        for (c -= c % TILE_COLUMNS; c < end; c += TILE_COLUMNS) {
            multiply(b->d, x + j * w->ld, w->ld, 1, yt + c, QUERIES, s + j * QUERIES + c, QUERIES,
                     false);
        }
    }
}

/* y[query] = (in a later block: y[query] +) sum over keys of s[key, query] x[key]. */
static void weigh(float *y, const float *s, const float *x, const Buffers *w, const Block *b,
                  const Span *span) {
    for (size_t i = 0; i < b->queries; i += TILE_ROWS) {
        ptrdiff_t keys = (ptrdiff_t)span->keys, at = (ptrdiff_t)i;
        size_t end = (size_t)clamp(at + TILE_ROWS + span->high, 0, keys);
        size_t j = (size_t)clamp(at + 1 + span->low, 0, (ptrdiff_t)end);
        for (size_t p = 0; p < b->d && (j < end || !span->later); p += TILE_COLUMNS) {
            multiply(end - j, s + j * QUERIES + i, 1, QUERIES, x + j * w->ld + p, w->ld,
                     y + i * w->ld + p, w->ld, span->later);
        }
    }
}

/* Gradient of keys (kind 1) or values (2) += sum over queries of s[key, query] x[query]. */
static void collect(const float *s, const float *x, const Buffers *w, const Block *b,
                    const Span *span, size_t kind) {
    for (size_t j = 0; j < span->keys; j += TILE_ROWS) {
        ptrdiff_t queries = (ptrdiff_t)b->queries, at = (ptrdiff_t)j;
        size_t end = (size_t)clamp(at + TILE_ROWS - 1 - span->low, 0, queries);
        size_t i = (size_t)clamp(at - span->high, 0, (ptrdiff_t)end);
        for (size_t p = 0; p < b->d; p += TILE_COLUMNS) {
            multiply(end - i, s + j * QUERIES + i, QUERIES, 1, x + i * w->ld + p, w->ld,
                     w->d + j * w->ld + p, w->ld, false);
        }
    }
    for (size_t j = 0; j < span->keys; j++) {
        size_t key = span->first + j;
        float *to = b->pass->dqkv + key_at(b, key, kind);
        expect_write(to + AHEAD * b->stride, b->d);
        if (key >= b->fresh) {
            copy(to, w->d + j * w->ld, b->d);
        } else {
            add_to(to, w->d + j * w->ld, b->d);
        }
    }
}

/* mask[key, query]: what dropout multiplies a probability by. Each query's row is cut into blocks of 32
 * random numbers, and so are the blocks of keys. */
static void draw_mask(const Buffers *w, const Block *b, const Span *span) {
    const Attention *a = b->pass->attention;
    memset(w->mask, 0, sizeof *w->mask * KEYS * QUERIES);
    for (size_t i = 0; i < b->queries; i++) {
        size_t n = (size_t)clamp((ptrdiff_t)i + 1 + span->high, 0, (ptrdiff_t)span->keys);
        DropoutRow row = dropout_row(a->key, b->s->stream, (uint32_t)(b->position + i),
                                     a->site + (uint32_t)b->head);
        row.word[0] += (uint32_t)(span->first / 4);
        row_kernels()->dropout(w->kept, w->ones, &row, dropout_threshold(a->dropout),
                               dropout_scale(a->dropout), n);
        for (size_t j = 0; j < n; j++) {
            w->mask[j * QUERIES + i] = w->kept[j];
        }
    }
}

/* The two steps of softmax for a key that not all queries see. */
static inline Vector largest_seen(Vector largest, const float *p, size_t key, size_t column,
                                  const Span *span) {
    return vector_max(largest, where(sees(key, column, span), load(p + key * QUERIES), largest));
}

static inline Vector exp_seen(Vector largest, float *p, size_t key, size_t column,
                              const Span *span) {
    Vector e = only(sees(key, column, span), vector_exp(load(p + key * QUERIES) - largest));
    store(p + key * QUERIES, e);
    return e;
}

/* The probabilities of a vector of queries, from their scores, but for the division by their sum; the
 * largest score and the sum go on from the blocks of keys before. What these gave is to be multiplied by
 * the factor. */
static void softmax_lanes(const Buffers *w, const Span *span, size_t column) {
    Lanes l = lanes_at(column, span);
    float *p = w->p + column, *top = w->row + column, *total = top + QUERIES;
    Vector before = load(top), largest = before;
    for (size_t j = l.begin; j < l.whole_begin; j++) {
        largest = largest_seen(largest, p, j, column, span);
    }
    for (size_t j = l.whole_begin; j < l.whole_end; j++) {
        largest = vector_max(largest, load(p + j * QUERIES));
    }
    for (size_t j = l.whole_end; j < l.end; j++) {
        largest = largest_seen(largest, p, j, column, span);
    }
    Vector factor = vector_exp(before - largest), sum = load(total) * factor;
    for (size_t j = l.begin; j < l.whole_begin; j++) {
        sum += exp_seen(largest, p, j, column, span);
    }
    for (size_t j = l.whole_begin; j < l.whole_end; j++) {
        Vector e = vector_exp(load(p + j * QUERIES) - largest);
        store(p + j * QUERIES, e);
        sum += e;
    }
    for (size_t j = l.whole_end; j < l.end; j++) {
        sum += exp_seen(largest, p, j, column, span);
    }
    store(top, largest);
    store(total, sum);
    store(total + QUERIES, factor);
}

static void apply_mask(const Buffers *w, const Block *b, const Span *span) {
    for (size_t c = 0; c < b->queries; c += VECTOR) {
        Lanes l = lanes_at(c, span);
        for (size_t j = l.begin; j < l.end; j++) {
            float *p = w->p + j * QUERIES + c;
            store(p, load(p) * load(w->mask + j * QUERIES + c));
        }
    }
}

static void forward_span(const Buffers *w, const Block *b, const Span *span) {
    gather(w->k, w, b, span, 1);
    gather(w->v, w, b, span, 2);
    scores(w->p, w->k, w->qt, w, b, span);
    for (size_t c = 0; c < b->queries; c += VECTOR) {
        softmax_lanes(w, span, c);
    }
    if (b->pass->attention->dropout > 0) {
        draw_mask(w, b, span);
        apply_mask(w, b, span);
    }
    if (span->later) {
        for (size_t i = 0; i < b->queries; i++) {
            float *y = w->y + i * w->ld;
            for (size_t p = 0; p < b->d; p++) {
                y[p] *= w->row[2 * QUERIES + i];
            }
        }
    }
    weigh(w->y, w->p, w->v, w, b, span);
}

/* Calls f with the blocks of keys that a block of queries sees. */
static void each_span(const Buffers *w, const Block *b,
                      void (*f)(const Buffers *, const Block *, const Span *)) {
    size_t window = b->pass->attention->window, end = reach(b, b->position + b->queries);
    size_t begin = window != 0 && b->position >= window ? b->position + 1 - window : 0;
    begin -= begin % KEYS;
    for (size_t first = begin; first < end; first += KEYS) {
        Span span = span_at(b, first, end, first > begin);
        f(w, b, &span);
    }
}

static void forward_block(const Buffers *w, const Block *b) {
    const AttentionPass *pass = b->pass;
    load_queries(w->q, w->qt, pass->qkv + query_at(b, b->first), b->stride, b->scale, w, b);
    /* A first block of keys may lie outside of a query's window: then the difference to the largest score
     * so far must be a number. */
    float least = pass->attention->window != 0 ? -FLT_MAX : -INFINITY;
    for (size_t i = 0; i < QUERIES; i++) {
        w->row[i] = least;
        w->row[QUERIES + i] = 0;
    }
    each_span(w, b, forward_span);
    for (size_t i = 0; i < b->queries; i++) {
        float *out = pass->out + (b->first + i) * b->width + b->head * b->d;
        float sum = w->row[QUERIES + i];
        expect_write(out + AHEAD * b->width, b->d);
        times(out, w->y + i * w->ld, 1 / sum, b->d);
        pass->lse[(b->first + i) * pass->attention->heads + b->head] = w->row[i] + logf(sum);
    }
}

/* From scores (p) and gradients of probabilities (s) of a vector of queries for keys [begin, end): what
 * values get (p) and the gradient of scores (s). sum_j p_j dp_j is dout . out, with dropout too. */
static inline __attribute__((always_inline)) void
softmax_backward_keys(const Buffers *w, const Span *span, size_t column, size_t begin, size_t end,
                      bool drops, bool whole) {
    Vector lse = load(w->row + column), delta = load(w->row + QUERIES + column);
    for (size_t j = begin; j < end; j++) {
        size_t at = j * QUERIES + column;
        Vector p = vector_exp(load(w->p + at) - lse), dp = load(w->s + at), kept = p;
        if (drops) {
            Vector mask = load(w->mask + at);
            dp *= mask;
            kept *= mask;
        }
        Vector s = p * (dp - delta);
        if (!whole) {
            IntVector see = sees(j, column, span);
            s = only(see, s);
            kept = only(see, kept);
        }
        store(w->p + at, kept);
        store(w->s + at, s);
    }
}

static inline __attribute__((always_inline)) void softmax_backward(const Buffers *w, const Block *b,
                                                                   const Span *span, bool drops) {
    for (size_t c = 0; c < b->queries; c += VECTOR) {
        Lanes l = lanes_at(c, span);
        softmax_backward_keys(w, span, c, l.begin, l.whole_begin, drops, false);
        softmax_backward_keys(w, span, c, l.whole_begin, l.whole_end, drops, true);
        softmax_backward_keys(w, span, c, l.whole_end, l.end, drops, false);
    }
}

/* delta = sum_j p_j dp_j of queries whose keys are all here. dout . out is the same number rounded apart
 * from dp; where an encoder's row looks at all keys evenly dp is much the same for all of them, and that
 * rounding would be in every gradient of a score. So what is added up are distances from the first, over
 * the sum of p: it is 1 but for rounding too. */
static void sum_delta(const Buffers *w, const Block *b, const Span *span) {
    bool drops = b->pass->attention->dropout > 0;
    for (size_t c = 0; c < b->queries; c += VECTOR) {
        Vector lse = load(w->row + c), first = load(w->s + c), sum = {0}, distance = {0};
        first = drops ? first * load(w->mask + c) : first;
        for (size_t j = 0; j < span->keys; j++) {
            size_t at = j * QUERIES + c;
            Vector p = vector_exp(load(w->p + at) - lse), dp = load(w->s + at);
            distance += p * ((drops ? dp * load(w->mask + at) : dp) - first);
            sum += p;
        }
        store(w->row + QUERIES + c, first + distance / sum);
    }
}

static void backward_span(const Buffers *w, const Block *b, const Span *span) {
    gather(w->k, w, b, span, 1);
    gather(w->v, w, b, span, 2);
    scores(w->p, w->k, w->qt, w, b, span);
    scores(w->s, w->v, w->doutt, w, b, span);
    bool drops = b->pass->attention->dropout > 0;
    if (drops) {
        draw_mask(w, b, span);
    }
    if (b->single) {
        sum_delta(w, b, span);
    }
    if (drops) {
        softmax_backward(w, b, span, true);
    } else {
        softmax_backward(w, b, span, false);
    }
    collect(w->p, w->dout, w, b, span, 2);
    collect(w->s, w->q, w, b, span, 1);
    weigh(w->y, w->s, w->k, w, b, span);
}

static void backward_block(const Buffers *w, const Block *b) {
    const AttentionPass *pass = b->pass;
    size_t at = b->first * b->width + b->head * b->d;
    load_queries(w->q, w->qt, pass->qkv + query_at(b, b->first), b->stride, b->scale, w, b);
    load_queries(w->dout, w->doutt, pass->dout + at, b->width, 1, w, b);
    memset(w->row, 0, 2 * QUERIES * sizeof *w->row);
    for (size_t i = 0; i < b->queries; i++) {
        expect_read(pass->out + at + (i + AHEAD) * b->width, b->d);
        w->row[i] = pass->lse[(b->first + i) * pass->attention->heads + b->head];
        w->row[QUERIES + i] =
            b->single ? 0 : dot(w->dout + i * w->ld, pass->out + at + i * b->width, b->d);
    }
    each_span(w, b, backward_span);
    for (size_t i = 0; i < b->queries; i++) {
        float *dq = pass->dqkv + query_at(b, b->first + i);
        expect_write(dq + AHEAD * b->stride, b->d);
        times(dq, w->y + i * w->ld, b->scale, b->d);
    }
}

/* Calls f with the blocks of queries of a head in a group. The first head that reads a head of keys also
 * finds their gradients without a value. */
static void each_block(const AttentionPass *pass, size_t group, size_t head, float *scratch,
                       void (*f)(const Buffers *, const Block *)) {
    const Attention *a = pass->attention;
    size_t d = a->head_size, heads_per_key = a->heads / a->kv_heads;
    Buffers w = lay_out(scratch, d);
    for (size_t j = 0; j < KEYS; j++) {
        w.ones[j] = 1;
    }
    for (size_t n = a->group[group]; n < a->group[group + 1]; n++) {
        const AttentionSequence *s = &a->sequence[n];
        size_t prefix = s->prefix_end - s->prefix_begin;
        for (size_t first = s->begin; first < s->end; first += QUERIES) {
            Block b = {.pass = pass,
                       .s = s,
                       .head = head,
                       .kv_head = head / heads_per_key,
                       .first = first,
                       .queries = s->end - first < QUERIES ? s->end - first : QUERIES,
                       .position = prefix + first - s->begin,
                       .d = d,
                       .width = a->heads * d,
                       .stride = (a->heads + 2 * a->kv_heads) * d,
                       .scale = a->scale != 0 ? a->scale : 1 / sqrtf((float)d)};
            b.fresh = head % heads_per_key == 0 ? reach(&b, b.position) : SIZE_MAX;
            b.single = a->bidirectional && a->window == 0 && s->end - s->begin <= KEYS;
            f(&w, &b);
        }
    }
}

static void forward(const AttentionPass *pass, size_t group, size_t head, float *scratch) {
    each_block(pass, group, head, scratch, forward_block);
}

static void backward(const AttentionPass *pass, size_t group, size_t kv_head, float *scratch) {
    size_t heads_per_key = pass->attention->heads / pass->attention->kv_heads;
    for (size_t i = 0; i < heads_per_key; i++) {
        each_block(pass, group, kv_head * heads_per_key + i, scratch, backward_block);
    }
}

extern const AttentionKernels ATTENTION;
const AttentionKernels ATTENTION = {NAME, forward, backward, scratch_floats};
