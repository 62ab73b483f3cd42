/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"

#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Embedding {
    const RowKernels *row;
    float *y, *dtoken, *dplace;
    const float *dy, *token, *place;
    const int32_t *id;
    const uint32_t *position;
    size_t rows, width;
} Embedding;

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Embedding *e = context;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *y = e->y + t * e->width;
        const float *token = e->token + (size_t)e->id[t] * e->width;
        if (e->place == NULL) {
            memcpy(y, token, e->width * sizeof *y);
        } else {
            e->row->add(y, token, e->place + e->position[t] * e->width, e->width);
        }
    }
}

void embedding_forward(float *y, const int32_t *id, const uint32_t *position, const float *token,
                       const float *place, size_t rows, size_t width) {
    Embedding e = {.row = row_kernels(),
                   .y = y,
                   .token = token,
                   .place = place,
                   .id = id,
                   .position = position,
                   .width = width};
    parallel_for(rows, row_grain(width), forward, &e);
}

/* Each thread owns some columns of the tables, so that no row is written by two. */
static void backward(void *context, size_t begin, size_t end, int thread) {
    const Embedding *e = context;
    size_t m = end - begin;
    (void)thread;
    for (size_t t = 0; t < e->rows; t++) {
        const float *dy = e->dy + t * e->width + begin;
        if (e->dtoken != NULL) {
            e->row->axpy(e->dtoken + (size_t)e->id[t] * e->width + begin, 1, dy, m);
        }
        if (e->dplace != NULL) {
            e->row->axpy(e->dplace + e->position[t] * e->width + begin, 1, dy, m);
        }
    }
}

void embedding_backward(float *dtoken, float *dplace, const int32_t *id, const uint32_t *position,
                        const float *dy, size_t rows, size_t width) {
    Embedding e = {.row = row_kernels(),
                   .dtoken = dtoken,
                   .dplace = dplace,
                   .dy = dy,
                   .id = id,
                   .position = position,
                   .rows = rows,
                   .width = width};
    parallel_for(width, column_grain(rows), backward, &e);
}
