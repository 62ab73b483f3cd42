/* SPDX-License-Identifier: MIT */
#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/norm.h"
#include "common/kernels/rows.h"

typedef struct Work {
    const RowKernels *row;
    const Norm *norm;
    float *y; /* or dx */
    const float *x;
    float *dweight;
    size_t stride, x_stride;
    size_t rows, heads, head_size;
} Work;

enum { ROW_BLOCK = 64, COLUMN_BLOCK = 512 };

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        for (size_t h = 0; h < w->heads; h++) {
            float *x = w->y + t * w->stride + h * w->head_size;
            w->row->rms_norm(x, x, norm_base(w->norm), w->norm->weight, w->norm->epsilon,
                             w->head_size);
        }
    }
}

void head_norm_forward(const Norm *norm, float *x, size_t stride, size_t rows, size_t heads,
                       size_t head_size) {
    Work w = {.row = row_kernels(),
              .norm = norm,
              .y = x,
              .stride = stride,
              .heads = heads,
              .head_size = head_size};
    parallel_for(rows, row_grain(heads * head_size), forward, &w);
}

static void backward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        for (size_t h = 0; h < w->heads; h++) {
            const float *x = w->x + t * w->x_stride + h * w->head_size;
            float rstd = w->row->rms(x, w->norm->epsilon, w->head_size);
            w->row->rms_backward_in_place(w->y + t * w->stride + h * w->head_size, x, rstd,
                                          norm_base(w->norm), w->norm->weight, w->head_size);
        }
    }
}

/* Columns [begin, end) of the weight's gradient, a block of rows at a time (as in norm.c). */
static void parameters(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t c = begin; c < end; c += COLUMN_BLOCK) {
        size_t m = end - c < COLUMN_BLOCK ? end - c : COLUMN_BLOCK;
        for (size_t t0 = 0; t0 < w->rows; t0 += ROW_BLOCK) {
            size_t t1 = t0 + ROW_BLOCK < w->rows ? t0 + ROW_BLOCK : w->rows;
            float dweight[COLUMN_BLOCK] = {0}, unused[COLUMN_BLOCK] = {0};
            for (size_t i = t0 * w->heads; i < t1 * w->heads; i++) {
                size_t t = i / w->heads, at = i % w->heads * w->head_size;
                const float *x = w->x + t * w->x_stride + at;
                w->row->norm_parameters(dweight, unused, w->y + t * w->stride + at + c, x + c, 0,
                                        w->row->rms(x, w->norm->epsilon, w->head_size), m);
            }
            w->row->axpy(w->dweight + c, 1, dweight, m);
        }
    }
}

void head_norm_backward(const Norm *norm, float *dx, float *dweight, const float *x, size_t stride,
                        size_t x_stride, size_t rows, size_t heads, size_t head_size) {
    Work w = {.row = row_kernels(),
              .norm = norm,
              .y = dx,
              .x = x,
              .dweight = dweight,
              .stride = stride,
              .x_stride = x_stride,
              .rows = rows,
              .heads = heads,
              .head_size = head_size};
    if (dweight != NULL) {
        parallel_for(head_size, column_grain(rows * heads), parameters, &w);
    }
    parallel_for(rows, row_grain(heads * head_size), backward, &w);
}
