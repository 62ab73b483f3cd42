/* SPDX-License-Identifier: MIT
 *
 * From rows of logits to numbers per row, and back. With p = softmax(z), y the target:
 *   logprob = z_y - log sum_j exp z_j        entropy H = -sum_j p_j log p_j
 *   d logprob / d z_j = [j = y] - p_j        d H / d z_j = -p_j (log p_j + H)
 */
#ifndef RLHF_KERNELS_LOGPROB_H
#define RLHF_KERNELS_LOGPROB_H

#include <stddef.h>
#include <stdint.h>

/* logits [n, V], target [n] in [0, V). Outputs [n]: lse, the log of the sum of exponentials; entropy may
 * be NULL; correct may be NULL: 1 where the target has the largest logit (of a tie, the lowest id). */
void logprob_forward(float *logprob, float *entropy, float *correct, float *lse,
                     const float *logits, const int32_t *target, size_t n, size_t vocabulary);

/* Overwrites the logits by the gradient of sum_i (dlogprob[i] logprob[i] + dentropy[i] entropy[i]).
 * dentropy may be NULL (zero); entropy is only read if it is not. */
void logprob_backward(float *logits, const float *lse, const float *entropy, const float *dlogprob,
                      const float *dentropy, const int32_t *target, size_t n, size_t vocabulary);

#endif
