/* SPDX-License-Identifier: MIT
 *
 * Rows of tables, picked by number, and their gradient.
 */
#ifndef RLHF_KERNELS_EMBEDDING_H
#define RLHF_KERNELS_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

/* y[t] = token[id[t]] + place[position[t]]; y [N, C], tables of rows of C; place may be NULL: none. */
void embedding_forward(float *y, const int32_t *id, const uint32_t *position, const float *token,
                       const float *place, size_t rows, size_t width);

/* dtoken[id[t]] += dy[t], dplace[position[t]] += dy[t]; a table may be NULL. Rows are added in their
 * order whatever the number of threads. */
void embedding_backward(float *dtoken, float *dplace, const int32_t *id, const uint32_t *position,
                        const float *dy, size_t rows, size_t width);

#endif
