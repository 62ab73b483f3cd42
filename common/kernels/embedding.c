/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"

#include <string.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Embedding {
    const RowKernels *row;
    const EmbeddingRows *rows;
    float *y, *dtoken, *dplace, *dsegment;
    const float *dy, *token, *place, *segment;
} Embedding;

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Embedding *e = context;
    const EmbeddingRows *r = e->rows;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        float *y = e->y + t * r->width;
        size_t id = (size_t)r->id[t];
        if (r->compact.type != COMPACT_NONE) {
            compact_read(&r->compact, id, 1, 0, r->width, y, r->width);
        } else {
            memcpy(y, e->token + id * r->width, r->width * sizeof *y);
        }
        if (r->scale != 0) {
            e->row->scale(y, r->scale, r->width);
        }
        if (e->place != NULL) {
            e->row->axpy(y, 1, e->place + r->position[t] * r->width, r->width);
        }
        if (e->segment != NULL) {
            e->row->axpy(y, 1, e->segment + r->segment[t] * r->width, r->width);
        }
    }
}

void embedding_forward(float *y, const EmbeddingRows *rows, const float *token, const float *place,
                       const float *segment) {
    Embedding e = {.row = row_kernels(),
                   .rows = rows,
                   .y = y,
                   .token = token,
                   .place = place,
                   .segment = segment};
    parallel_for(rows->rows, row_grain(rows->width), forward, &e);
}

/* Each thread owns some columns of the tables, so that no row is written by two. */
static void backward(void *context, size_t begin, size_t end, int thread) {
    const Embedding *e = context;
    const EmbeddingRows *r = e->rows;
    size_t m = end - begin;
    float scale = r->scale != 0 ? r->scale : 1;
    (void)thread;
    for (size_t t = 0; t < r->rows; t++) {
        const float *dy = e->dy + t * r->width + begin;
        if (e->dtoken != NULL) {
            e->row->axpy(e->dtoken + (size_t)r->id[t] * r->width + begin, scale, dy, m);
        }
        if (e->dplace != NULL) {
            e->row->axpy(e->dplace + r->position[t] * r->width + begin, 1, dy, m);
        }
        if (e->dsegment != NULL) {
            e->row->axpy(e->dsegment + r->segment[t] * r->width + begin, 1, dy, m);
        }
    }
}

void embedding_backward(const EmbeddingRows *rows, float *dtoken, float *dplace, float *dsegment,
                        const float *dy) {
    Embedding e = {.row = row_kernels(),
                   .rows = rows,
                   .dtoken = dtoken,
                   .dplace = dplace,
                   .dsegment = dsegment,
                   .dy = dy};
    parallel_for(rows->width, column_grain(rows->rows), backward, &e);
}
