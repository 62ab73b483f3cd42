/* SPDX-License-Identifier: MIT */
#include "common/kernels/matrix.h"

#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"

enum { ROW_BLOCK = 64, COLUMN_BLOCK = 512 };

typedef struct Work {
    const RowKernels *row;
    float *y;
    const float *a, *b;
    const size_t *index;
    const Dropout *dropout;
    uint32_t site;
    size_t rows, width, stride;
} Work;

static void add(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    w->row->add(w->y + begin, w->a + begin, w->b + begin, end - begin);
}

static void accumulate(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    w->row->axpy(w->y + begin, 1, w->a + begin, end - begin);
}

void matrix_accumulate(float *x, const float *y, size_t count) {
    Work w = {.row = row_kernels(), .y = x, .a = y};
    parallel_for(count, PIECE_FLOATS, accumulate, &w);
}

void matrix_add(float *y, const float *a, const float *b, size_t count) {
    Work w = {.row = row_kernels(), .y = y, .a = a, .b = b};
    parallel_for(count, PIECE_FLOATS, add, &w);
}

/* Rows are summed in blocks, so that rounding grows with the number of blocks, not of rows. */
static void column_sum(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t c = begin; c < end; c += COLUMN_BLOCK) {
        size_t m = end - c < COLUMN_BLOCK ? end - c : COLUMN_BLOCK;
        for (size_t t0 = 0; t0 < w->rows; t0 += ROW_BLOCK) {
            size_t t1 = t0 + ROW_BLOCK < w->rows ? t0 + ROW_BLOCK : w->rows;
            float sum[COLUMN_BLOCK] = {0};
            w->row->sum_rows(sum, w->a + t0 * w->width + c, w->width, t1 - t0, m);
            w->row->axpy(w->y + c, 1, sum, m);
        }
    }
}

void matrix_column_sum(float *sum, const float *x, size_t rows, size_t width) {
    Work w = {.row = row_kernels(), .y = sum, .a = x, .rows = rows, .width = width};
    parallel_for(width, column_grain(rows), column_sum, &w);
}

static void gather(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        memcpy(w->y + i * w->width, w->a + w->index[i] * w->width, w->width * sizeof *w->y);
    }
}

void matrix_gather(float *y, const float *x, const size_t *row, size_t n, size_t width) {
    Work w = {.y = y, .a = x, .index = row, .width = width};
    parallel_for(n, row_grain(width), gather, &w);
}

static void scatter_add(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        w->row->axpy(w->y + w->index[i] * w->width, 1, w->a + i * w->width, w->width);
    }
}

void matrix_scatter_add(float *x, const float *y, const size_t *row, size_t n, size_t width) {
    Work w = {.row = row_kernels(), .y = x, .a = y, .index = row, .width = width};
    parallel_for(n, row_grain(width), scatter_add, &w);
}

static void copy_columns(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        memcpy(w->y + t * w->width, w->a + t * w->stride, w->width * sizeof *w->y);
    }
}

void matrix_copy_columns(float *y, const float *x, size_t stride, size_t rows, size_t width) {
    Work w = {.y = y, .a = x, .stride = stride, .width = width};
    parallel_for(rows, row_grain(width), copy_columns, &w);
}

void matrix_move_row(float *x, size_t to, size_t from, size_t width) {
    if (to != from) {
        memcpy(x + to * width, x + from * width, width * sizeof *x);
    }
}

uint32_t dropout_threshold(float rate) {
    return (uint32_t)((double)rate * 4294967296.0);
}

float dropout_scale(float rate) {
    return (float)(1.0 / (1.0 - (double)rate));
}

DropoutRow dropout_row(const uint32_t key[2], uint64_t stream, uint32_t position, uint32_t site) {
    return (DropoutRow){
        {key[0],            key[1]                  },
        { site << 16, position, (uint32_t)stream, (uint32_t)(stream >> 32)}
    };
}

static void apply(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    const Dropout *d = w->dropout;
    uint32_t threshold = dropout_threshold(d->rate);
    float scale = dropout_scale(d->rate);
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        DropoutRow row = dropout_row(d->key, d->stream[t], d->position[t], w->site);
        w->row->dropout(w->y + t * w->width, w->a + t * w->width, &row, threshold, scale, w->width);
    }
}

void dropout_apply(float *y, const float *x, const Dropout *dropout, uint32_t site, size_t rows,
                   size_t width) {
    Work w = {
        .row = row_kernels(), .y = y, .a = x, .dropout = dropout, .site = site, .width = width};
    parallel_for(rows, row_grain(width), apply, &w);
}
