/* SPDX-License-Identifier: MIT */
#include "common/kernels/matrix.h"

enum { AHEAD = 2 /* rows */ };

/* A block's rows of another matrix lie apart, where no hardware looks ahead in time. Beyond the last one
 * it does no harm. */
static inline void expect(const float *row, size_t columns) {
    for (size_t j = 0; j < columns; j += 16) {
        __builtin_prefetch(row + j, 1);
    }
}

static const float *bias_at(const MatrixFinish *finish, size_t column) {
    return finish->bias != NULL ? finish->bias + column : NULL;
}

void finish_bias(const void *finish, size_t row, size_t rows, size_t column, size_t columns,
                 float *c, size_t ldc) {
    const MatrixFinish *f = finish;
    const RowKernels *kernel = row_kernels();
    (void)row;
    for (size_t i = 0; i < rows && f->bias != NULL; i++) {
        kernel->axpy(c + i * ldc, 1, f->bias + column, columns);
    }
}

void finish_bias_residual(const void *finish, size_t row, size_t rows, size_t column,
                          size_t columns, float *c, size_t ldc) {
    const MatrixFinish *f = finish;
    const RowKernels *kernel = row_kernels();
    for (size_t i = 0; i < rows; i++) {
        size_t at = (row + i) * f->width + column;
        expect(f->residual + at + AHEAD * f->width, columns);
        if (f->bias != NULL) {
            kernel->bias_residual(c + i * ldc, f->bias + column, f->residual + at, columns);
        } else {
            kernel->axpy(c + i * ldc, 1, f->residual + at, columns);
        }
    }
}

void finish_bias_activation(const void *finish, size_t row, size_t rows, size_t column,
                            size_t columns, float *c, size_t ldc) {
    const MatrixFinish *f = finish;
    const RowKernels *kernel = row_kernels();
    for (size_t i = 0; i < rows; i++) {
        size_t at = (row + i) * f->width + column;
        expect(f->y + at + AHEAD * f->width, columns);
        kernel->bias_activation(f->activation, c + i * ldc, f->y + at, bias_at(f, column), columns);
    }
}

void finish_bias_activation_only(const void *finish, size_t row, size_t rows, size_t column,
                                 size_t columns, float *c, size_t ldc) {
    const MatrixFinish *f = finish;
    const RowKernels *kernel = row_kernels();
    (void)row;
    for (size_t i = 0; i < rows; i++) {
        float *to = c + i * ldc;
        kernel->activation(f->activation, to, to, bias_at(f, column), columns);
    }
}

void finish_activation_both(const void *finish, size_t row, size_t rows, size_t column,
                            size_t columns, float *c, size_t ldc) {
    const MatrixFinish *f = finish;
    const RowKernels *kernel = row_kernels();
    for (size_t i = 0; i < rows; i++) {
        size_t at = (row + i) * f->width + column;
        expect(f->x + at + AHEAD * f->width, columns);
        kernel->activation_both(f->activation, c + i * ldc, f->y + at, f->x + at, columns);
    }
}
