/* SPDX-License-Identifier: MIT
 *
 * Rotary positions (Su et al., "RoFormer", 2021) in the layout of Llama and GPT-NeoX: of each head's first
 * 2 `pairs` dimensions, dimension i turns with dimension i + pairs.
 */
#ifndef RLHF_KERNELS_ROTARY_H
#define RLHF_KERNELS_ROTARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* table [positions][2 pairs]: of each position the cosines of its angles, then their sines, times scale.
 * The angle is position times frequency[i], rounded to FP32 as transformers has it. */
void rotary_fill(float *table, const float *frequency, size_t pairs, size_t positions, float scale);

/* Turns each of the `heads` heads that lie side by side in each row of x (rows `stride` apart) by the
 * angles of position[row] in the table. back: by the negative angles, which is the backward pass. */
void rotary_apply(float *x, size_t stride, size_t rows, size_t heads, size_t head_size,
                  const uint32_t *position, const float *table, size_t pairs, bool back);

#endif
