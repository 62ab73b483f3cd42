/* SPDX-License-Identifier: MIT
 *
 * Rows of tables, picked by number, and their gradient.
 */
#ifndef RLHF_KERNELS_EMBEDDING_H
#define RLHF_KERNELS_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

#include "common/kernels/compact.h"

/* The rows of the tables that make up a row: N of them, C wide. */
typedef struct EmbeddingRows {
    const int32_t *id;        /* [N] */
    const uint32_t *position; /* [N] */
    const uint8_t *segment;   /* [N]; read with a table of segments alone */
    size_t rows, width;
    CompactMatrix compact; /* with a type: the table of tokens in embedding_forward */
    float scale;           /* what the rows of the table of tokens are multiplied by; 0: 1 */
} EmbeddingRows;

/* y[t] = scale token[id[t]] + place[position[t]] + segment[segment[t]]; y [N, C], tables of rows of C; place
 * and segment may be NULL: none. */
void embedding_forward(float *y, const EmbeddingRows *rows, const float *token, const float *place,
                       const float *segment);

/* dtoken[id[t]] += scale dy[t], and so on; a table may be NULL. Rows are added in their order whatever the
 * number of threads. */
void embedding_backward(const EmbeddingRows *rows, float *dtoken, float *dplace, float *dsegment,
                        const float *dy);

#endif
