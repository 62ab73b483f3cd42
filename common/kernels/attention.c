/* SPDX-License-Identifier: MIT */
#include "common/kernels/attention.h"

#include <math.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "common/kernels/rows.h"

enum { QUERY_ROWS = 42 }; /* a multiple of what products take at once: 6, or 14 with AVX-512 */

size_t attention_scratch(size_t longest) {
    return 3 * (size_t)QUERY_ROWS * ((longest + 15) / 16 * 16);
}

typedef struct Pass {
    const Attention *a;
    const RowKernels *row;
    const float *qkv, *dout;
    float *out, *lse; /* read only in backward */
    float *dqkv;
} Pass;

/* Query rows [first, first + n) of a sequence, one head. Its keys are the prefix's rows and the own rows
 * up to the last query row. */
typedef struct Block {
    const AttentionSequence *s;
    size_t head, first, n;
    size_t prefix, own;   /* keys of each kind */
    size_t width, stride; /* of a row of out and of qkv */
    float scale;
} Block;

static size_t keys_of_row(const Block *b, size_t i) {
    return b->prefix + b->first + i + 1 - b->s->begin;
}

static const float *at(const float *qkv, const Block *b, size_t row, size_t kind,
                       size_t head_size) {
    return qkv + row * b->stride + kind * b->width + b->head * head_size;
}

/* s [n, keys] = x [n, D] times the rows of `kind` (1 keys, 2 values), prefix first. */
static void times_rows(float *s, size_t keys, const float *x, size_t ldx, size_t kind,
                       const float *qkv, const Block *b, float alpha, size_t d) {
    if (b->prefix > 0) {
        gemm_serial(PLAIN, TRANSPOSED, b->n, b->prefix, d, alpha, x, ldx,
                    at(qkv, b, b->s->prefix_begin, kind, d), b->stride, 0, s, keys);
    }
    gemm_serial(PLAIN, TRANSPOSED, b->n, b->own, d, alpha, x, ldx, at(qkv, b, b->s->begin, kind, d),
                b->stride, 0, s + b->prefix, keys);
}

/* y [n, D] = s [n, keys] times the rows of `kind`. */
static void weigh_rows(float *y, size_t ldy, const float *s, size_t keys, size_t kind,
                       const float *qkv, const Block *b, size_t d) {
    if (b->prefix > 0) {
        gemm_serial(PLAIN, PLAIN, b->n, d, b->prefix, 1, s, keys,
                    at(qkv, b, b->s->prefix_begin, kind, d), b->stride, 0, y, ldy);
    }
    gemm_serial(PLAIN, PLAIN, b->n, d, b->own, 1, s + b->prefix, keys,
                at(qkv, b, b->s->begin, kind, d), b->stride, b->prefix > 0, y, ldy);
}

/* d rows of `kind` += s^T [keys, n] x [n, D]. */
static void add_to_rows(float *dqkv, const float *s, size_t keys, const float *x, size_t ldx,
                        size_t kind, const Block *b, size_t d) {
    size_t column = kind * b->width + b->head * d;
    if (b->prefix > 0) {
        gemm_serial(TRANSPOSED, PLAIN, b->prefix, d, b->n, 1, s, keys, x, ldx, 1,
                    dqkv + b->s->prefix_begin * b->stride + column, b->stride);
    }
    gemm_serial(TRANSPOSED, PLAIN, b->own, d, b->n, 1, s + b->prefix, keys, x, ldx, 1,
                dqkv + b->s->begin * b->stride + column, b->stride);
}

static DropoutRow mask_row(const Attention *a, const Block *b, size_t i) {
    return dropout_row(a->key, b->s->stream, (uint32_t)(keys_of_row(b, i) - 1),
                       a->site + (uint32_t)b->head);
}

static void forward_block(const Pass *pass, const Block *b, float *scratch) {
    const Attention *a = pass->a;
    size_t d = a->head_size, keys = b->prefix + b->own;
    float *s = scratch;
    times_rows(s, keys, at(pass->qkv, b, b->first, 0, d), b->stride, 1, pass->qkv, b, b->scale, d);
    for (size_t i = 0; i < b->n; i++) {
        float *p = s + i * keys;
        size_t n = keys_of_row(b, i);
        float largest = pass->row->max(p, n);
        float sum = pass->row->exp(p, p, largest, n);
        pass->row->scale(p, 1 / sum, n);
        memset(p + n, 0, (keys - n) * sizeof *p);
        pass->lse[(b->first + i) * a->heads + b->head] = largest + logf(sum);
        if (a->dropout > 0) {
            DropoutRow mask = mask_row(a, b, i);
            pass->row->dropout(p, p, &mask, dropout_threshold(a->dropout),
                               dropout_scale(a->dropout), n);
        }
    }
    weigh_rows(pass->out + b->first * b->width + b->head * d, b->width, s, keys, 2, pass->qkv, b,
               d);
}

static void backward_block(const Pass *pass, const Block *b, float *scratch) {
    const Attention *a = pass->a;
    size_t d = a->head_size, keys = b->prefix + b->own, size = attention_scratch(a->longest) / 3;
    float *p = scratch, *dp = scratch + size, *dropped = a->dropout > 0 ? scratch + 2 * size : p;
    const float *q = at(pass->qkv, b, b->first, 0, d);
    const float *dout = pass->dout + b->first * b->width + b->head * d;
    const float *out = pass->out + b->first * b->width + b->head * d;
    times_rows(p, keys, q, b->stride, 1, pass->qkv, b, b->scale, d);
    times_rows(dp, keys, dout, b->width, 2, pass->qkv, b, 1, d);
    for (size_t i = 0; i < b->n; i++) {
        size_t n = keys_of_row(b, i), row = i * keys;
        pass->row->exp(p + row, p + row, pass->lse[(b->first + i) * a->heads + b->head], n);
        memset(p + row + n, 0, (keys - n) * sizeof *p);
        if (a->dropout > 0) {
            uint32_t threshold = dropout_threshold(a->dropout);
            DropoutRow mask = mask_row(a, b, i);
            pass->row->dropout(dropped + row, p + row, &mask, threshold, dropout_scale(a->dropout),
                               n);
            memset(dropped + row + n, 0, (keys - n) * sizeof *p);
            pass->row->dropout(dp + row, dp + row, &mask, threshold, dropout_scale(a->dropout), n);
        }
    }
    add_to_rows(pass->dqkv, dropped, keys, dout, b->width, 2, b, d);
    for (size_t i = 0; i < b->n; i++) {
        /* sum_j p_j dp_j = dout . out, with dropout too */
        float delta = pass->row->dot(dout + i * b->width, out + i * b->width, d);
        pass->row->softmax_backward(dp + i * keys, p + i * keys, dp + i * keys, delta, b->scale,
                                    keys);
    }
    weigh_rows(pass->dqkv + b->first * b->stride + b->head * d, b->stride, dp, keys, 1, pass->qkv,
               b, d);
    add_to_rows(pass->dqkv, dp, keys, q, b->stride, 1, b, d);
}

static void clear_gradient(const Pass *pass, const AttentionSequence *s, size_t head) {
    size_t d = pass->a->head_size, width = pass->a->heads * d;
    for (size_t t = s->begin; t < s->end; t++) {
        float *row = pass->dqkv + t * 3 * width + head * d;
        memset(row + width, 0, d * sizeof *row);
        memset(row + 2 * width, 0, d * sizeof *row);
    }
}

static void task(const Pass *pass, size_t i, int thread,
                 void (*block)(const Pass *, const Block *, float *)) {
    const Attention *a = pass->a;
    size_t group = i / a->heads, head = i % a->heads;
    size_t width = a->heads * a->head_size;
    float *scratch = a->scratch + (size_t)thread * attention_scratch(a->longest);
    for (size_t n = a->group[group]; n < a->group[group + 1]; n++) {
        const AttentionSequence *s = &a->sequence[n];
        if (pass->dqkv != NULL) {
            clear_gradient(pass, s, head);
        }
        for (size_t first = s->begin; first < s->end; first += QUERY_ROWS) {
            size_t rows = s->end - first < QUERY_ROWS ? s->end - first : QUERY_ROWS;
            Block b = {s,
                       head,
                       first,
                       rows,
                       s->prefix_end - s->prefix_begin,
                       first + rows - s->begin,
                       width,
                       3 * width,
                       1 / sqrtf((float)a->head_size)};
            block(pass, &b, scratch);
        }
    }
}

static void forward_task(void *context, size_t begin, size_t end, int thread) {
    for (size_t i = begin; i < end; i++) {
        task(context, i, thread, forward_block);
    }
}

void attention_forward(float *out, float *lse, const float *qkv, const Attention *attention) {
    Pass pass = {.a = attention, .row = row_kernels(), .qkv = qkv, .out = out, .lse = lse};
    parallel_each(attention->groups * attention->heads, forward_task, &pass);
}

static void backward_task(void *context, size_t begin, size_t end, int thread) {
    for (size_t i = begin; i < end; i++) {
        task(context, i, thread, backward_block);
    }
}

void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse,
                        const float *qkv, const Attention *attention) {
    Pass pass = {.a = attention,
                 .row = row_kernels(),
                 .qkv = qkv,
                 .dout = dout,
                 .dqkv = dqkv,
                 .out = (float *)(uintptr_t)out,
                 .lse = (float *)(uintptr_t)lse};
    parallel_each(attention->groups * attention->heads, backward_task, &pass);
}
