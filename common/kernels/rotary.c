/* SPDX-License-Identifier: MIT */
#include "common/kernels/rotary.h"

#include <math.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Fill {
    float *table;
    const float *frequency;
    size_t pairs;
    float scale;
} Fill;

static void fill(void *context, size_t begin, size_t end, int thread) {
    const Fill *f = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *cosine = f->table + t * 2 * f->pairs, *sine = cosine + f->pairs;
        for (size_t i = 0; i < f->pairs; i++) {
            float angle = (float)t * f->frequency[i];
            cosine[i] = (float)cos((double)angle) * f->scale;
            sine[i] = (float)sin((double)angle) * f->scale;
        }
    }
}

void rotary_fill(float *table, const float *frequency, size_t pairs, size_t positions,
                 float scale) {
    Fill f = {table, frequency, pairs, scale};
    parallel_for(positions, row_grain(2 * pairs), fill, &f);
}

typedef struct Work {
    const RowKernels *row;
    float *x;
    size_t stride, heads, head_size;
    const uint32_t *position;
    const float *table;
    size_t pairs;
    float direction;
} Work;

static void apply(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        const float *cosine = w->table + (size_t)w->position[t] * 2 * w->pairs;
        for (size_t h = 0; h < w->heads; h++) {
            float *head = w->x + t * w->stride + h * w->head_size;
            w->row->rotate(head, head + w->pairs, cosine, cosine + w->pairs, w->direction,
                           w->pairs);
        }
    }
}

void rotary_apply(float *x, size_t stride, size_t rows, size_t heads, size_t head_size,
                  const uint32_t *position, const float *table, size_t pairs, bool back) {
    Work w = {.row = row_kernels(),
              .x = x,
              .stride = stride,
              .heads = heads,
              .head_size = head_size,
              .position = position,
              .table = table,
              .pairs = pairs,
              .direction = back ? -1 : 1};
    parallel_for(rows, row_grain(2 * heads * pairs), apply, &w);
}
