/* SPDX-License-Identifier: MIT */
#include "common/kernels/norm.h"

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Norm {
    const RowKernels *row;
    float *y, *mean, *rstd;
    const float *dy, *x, *w, *b, *mean_in, *rstd_in;
    float *dx, *dw, *db;
    float epsilon;
    size_t rows, width;
} Norm;

enum { ROW_BLOCK = 64, COLUMN_BLOCK = 512 };

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Norm *n = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        n->row->norm(n->y + t * n->width, n->mean + t, n->rstd + t, n->x + t * n->width, n->w, n->b,
                     n->epsilon, n->width);
    }
}

void layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *w,
                       const float *b, float epsilon, size_t rows, size_t width) {
    Norm n = {.row = row_kernels(),
              .y = y,
              .mean = mean,
              .rstd = rstd,
              .x = x,
              .w = w,
              .b = b,
              .epsilon = epsilon,
              .width = width};
    parallel_for(rows, row_grain(width), forward, &n);
}

static void backward(void *context, size_t begin, size_t end, int thread) {
    const Norm *n = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        n->row->norm_backward(n->dx + t * n->width, n->dy + t * n->width, n->x + t * n->width,
                              n->mean_in[t], n->rstd_in[t], n->w, n->width);
    }
}

void layernorm_backward(float *dx, const float *dy, const float *x, const float *mean,
                        const float *rstd, const float *w, size_t rows, size_t width) {
    Norm n = {.row = row_kernels(),
              .dx = dx,
              .dy = dy,
              .x = x,
              .mean_in = mean,
              .rstd_in = rstd,
              .w = w,
              .width = width};
    parallel_for(rows, row_grain(width), backward, &n);
}

/* Columns [begin, end), at most COLUMN_BLOCK of them at a time; rows are summed in blocks so that the
 * rounding error grows with the number of blocks, not of rows. */
static void parameters(void *context, size_t begin, size_t end, int thread) {
    const Norm *n = context;
    (void)thread;
    for (size_t c = begin; c < end; c += COLUMN_BLOCK) {
        size_t m = end - c < COLUMN_BLOCK ? end - c : COLUMN_BLOCK;
        for (size_t t0 = 0; t0 < n->rows; t0 += ROW_BLOCK) {
            size_t t1 = t0 + ROW_BLOCK < n->rows ? t0 + ROW_BLOCK : n->rows;
            float dw[COLUMN_BLOCK] = {0}, db[COLUMN_BLOCK] = {0};
            for (size_t t = t0; t < t1; t++) {
                n->row->norm_parameters(dw, db, n->dy + t * n->width + c, n->x + t * n->width + c,
                                        n->mean_in[t], n->rstd_in[t], m);
            }
            if (n->dw != NULL) {
                n->row->axpy(n->dw + c, 1, dw, m);
            }
            if (n->db != NULL) {
                n->row->axpy(n->db + c, 1, db, m);
            }
        }
    }
}

void layernorm_backward_parameters(float *dw, float *db, const float *dy, const float *x,
                                   const float *mean, const float *rstd, size_t rows,
                                   size_t width) {
    Norm n = {.row = row_kernels(),
              .dw = dw,
              .db = db,
              .dy = dy,
              .x = x,
              .mean_in = mean,
              .rstd_in = rstd,
              .rows = rows,
              .width = width};
    parallel_for(width, column_grain(rows), parameters, &n);
}
