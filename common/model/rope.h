/* SPDX-License-Identifier: MIT
 *
 * How fast the dimensions of a head turn: the frequencies of rotary positions (Su et al., "RoFormer", 2021)
 * and their scalings for long contexts, in FP32 as transformers computes them.
 */
#ifndef RLHF_MODEL_ROPE_H
#define RLHF_MODEL_ROPE_H

#include "common/model/config.h"

/* frequency [dimensions / 2], radians a position: f_i = theta^(-2 i / dimensions), and
 *   ROPE_LINEAR  f_i / factor;
 *   ROPE_LLAMA3  with the wave length l = 2 pi / f_i: f_i / factor where l > original / low, f_i where
 *                l < original / high, else (1 - s) f_i / factor + s f_i, s = (original / l - low) / (high - low)
 *                (Llama 3.1). */
void rope_frequencies(const Rope *rope, float *frequency);

#endif
