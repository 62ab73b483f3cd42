/* SPDX-License-Identifier: MIT */
#include "common/kernels/norm.h"

#include <stdbool.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Work {
    const RowKernels *row;
    const Norm *norm;
    float *y, *mean, *rstd;
    const float *dy, *x, *mean_in, *rstd_in;
    float *dx, *dweight, *dbias;
    size_t rows, width;
} Work;

enum { ROW_BLOCK = 64, COLUMN_BLOCK = 512 };

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    const Norm *norm = w->norm;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *y = w->y + t * w->width;
        const float *x = w->x + t * w->width;
        if (norm->kind == NORM_LAYER) {
            w->row->norm(y, w->mean + t, w->rstd + t, x, norm->weight, norm->bias, norm->epsilon,
                         w->width);
        } else {
            w->rstd[t] =
                w->row->rms_norm(y, x, norm_base(norm), norm->weight, norm->epsilon, w->width);
        }
    }
}

void norm_forward(const Norm *norm, float *y, float *mean, float *rstd, const float *x, size_t rows,
                  size_t width) {
    Work w = {.row = row_kernels(),
              .norm = norm,
              .y = y,
              .mean = mean,
              .rstd = rstd,
              .x = x,
              .width = width};
    parallel_for(rows, row_grain(width), forward, &w);
}

static void backward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    const float *weight = w->norm->weight;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *dx = w->dx + t * w->width;
        const float *dy = w->dy + t * w->width, *x = w->x + t * w->width;
        if (w->norm->kind == NORM_LAYER) {
            w->row->norm_backward(dx, dy, x, w->mean_in[t], w->rstd_in[t], weight, w->width);
        } else {
            w->row->rms_backward(dx, dy, x, w->rstd_in[t], norm_base(w->norm), weight, w->width);
        }
    }
}

void norm_backward(const Norm *norm, float *dx, const float *dy, const float *x, const float *mean,
                   const float *rstd, size_t rows, size_t width) {
    Work w = {.row = row_kernels(),
              .norm = norm,
              .dx = dx,
              .dy = dy,
              .x = x,
              .mean_in = mean,
              .rstd_in = rstd,
              .width = width};
    parallel_for(rows, row_grain(width), backward, &w);
}

/* Columns [begin, end), at most COLUMN_BLOCK of them at a time; rows are summed in blocks so that the
 * rounding error grows with the number of blocks, not of rows. */
static void parameters(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    bool centered = w->norm->kind == NORM_LAYER;
    (void)thread;
    for (size_t c = begin; c < end; c += COLUMN_BLOCK) {
        size_t m = end - c < COLUMN_BLOCK ? end - c : COLUMN_BLOCK;
        for (size_t t0 = 0; t0 < w->rows; t0 += ROW_BLOCK) {
            size_t t1 = t0 + ROW_BLOCK < w->rows ? t0 + ROW_BLOCK : w->rows;
            float dweight[COLUMN_BLOCK] = {0}, dbias[COLUMN_BLOCK] = {0};
            for (size_t t = t0; t < t1; t++) {
                w->row->norm_parameters(dweight, dbias, w->dy + t * w->width + c,
                                        w->x + t * w->width + c, centered ? w->mean_in[t] : 0,
                                        w->rstd_in[t], m);
            }
            if (w->dweight != NULL) {
                w->row->axpy(w->dweight + c, 1, dweight, m);
            }
            if (w->dbias != NULL) {
                w->row->axpy(w->dbias + c, 1, dbias, m);
            }
        }
    }
}

void norm_backward_parameters(const Norm *norm, float *dweight, float *dbias, const float *dy,
                              const float *x, const float *mean, const float *rstd, size_t rows,
                              size_t width) {
    Work w = {.row = row_kernels(),
              .norm = norm,
              .dweight = dweight,
              .dbias = dbias,
              .dy = dy,
              .x = x,
              .mean_in = mean,
              .rstd_in = rstd,
              .rows = rows,
              .width = width};
    parallel_for(width, column_grain(rows), parameters, &w);
}
