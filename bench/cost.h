/* SPDX-License-Identifier: MIT
 *
 * What a pass cannot do without, in multiplications and additions: the analytic floors of the tables.
 *
 * Linear layers take twice their weights a token, attention 4 H D for each key that a token sees, the head
 * 2 C V for each row with a target; in the last block what lies behind attention has the rows that are read.
 * Backward takes twice as much. Norms, activations and softmax are not counted.
 */
#ifndef RLHF_BENCH_COST_H
#define RLHF_BENCH_COST_H

#include "common/base/batch.h"
#include "common/model/config.h"

double cost_forward(const ModelConfig *config, const Batch *batch);

/* AdamW reads weight, gradient and both moments and writes all but the gradient: 28 bytes a weight. */
double cost_adamw_bytes(size_t weights);

/* Bytes that training holds at once: weights, gradients and both moments; and of each token the trunk's
 * output and what backward reads of every block: the inputs of its halves, queries, keys and values,
 * attention's output, what enters the activation. Of blocks that are computed again the input, and one
 * block whole. All else can be computed again from these, a piece at a time. */
double cost_training_bytes(const ModelConfig *config, size_t weights, size_t tokens,
                           bool recompute);

#endif
