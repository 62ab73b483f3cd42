/* SPDX-License-Identifier: MIT */
#include "common/kernels/activation.h"

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Work {
    const RowKernels *row;
    ActivationKind kind;
    float *y;       /* or dy */
    const float *x; /* read only */
    float *up;      /* changed in place */
    size_t inner;
} Work;

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    w->row->activation(w->kind, w->y + begin, w->x + begin, NULL, end - begin);
}

void activation_forward(ActivationKind kind, float *y, const float *x, size_t n) {
    Work w = {.row = row_kernels(), .kind = kind, .y = y, .x = x};
    parallel_for(n, PIECE_FLOATS, forward, &w);
}

static void backward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    w->row->activation_both(w->kind, w->y + begin, NULL, w->x + begin, end - begin);
}

void activation_backward(ActivationKind kind, float *dx, const float *x, size_t n) {
    Work w = {.row = row_kernels(), .kind = kind, .y = dx, .x = x};
    parallel_for(n, PIECE_FLOATS, backward, &w);
}

static void gate(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        const float *row = w->x + t * 2 * w->inner;
        w->row->gated(w->kind, w->y + t * w->inner, row, row + w->inner, w->inner);
    }
}

void gated_forward(ActivationKind kind, float *y, const float *up, size_t rows, size_t inner) {
    Work w = {.row = row_kernels(), .kind = kind, .y = y, .x = up, .inner = inner};
    parallel_for(rows, row_grain(inner), gate, &w);
}

static void gate_backward(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *row = w->up + t * 2 * w->inner;
        w->row->gated_backward(w->kind, row, row + w->inner, w->y + t * w->inner, w->inner);
    }
}

void gated_backward(ActivationKind kind, float *up, float *dy, size_t rows, size_t inner) {
    Work w = {.row = row_kernels(), .kind = kind, .y = dy, .up = up, .inner = inner};
    parallel_for(rows, row_grain(inner), gate_backward, &w);
}
