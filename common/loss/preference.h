/* SPDX-License-Identifier: MIT
 *
 * Losses of reward models on rankings (InstructGPT, Ouyang et al. 2022, eq. 1; Bradley & Terry 1952).
 */
#ifndef RLHF_LOSS_PREFERENCE_H
#define RLHF_LOSS_PREFERENCE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct PreferenceOptions {
    double label_smoothing; /* e: (1-e) softplus(-d) + e softplus(d), d = r_w - r_l - margin */
    double centering;       /* c: + c mean over strict pairs of (r_w + r_l)^2 (arXiv 2312.09244 eq. 2) */
} PreferenceOptions;

/* Strict pairs of a ranking: #{(i, j): rank[i] < rank[j]}. */
size_t preference_pairs(const double *rank, size_t K);

/* Ranking of K completions, all strict pairs (i above j), ties skipped:
 *   L = weight / pairs * sum_{i above j} [(1-e) softplus(-(r_i - r_j - margin)) + e softplus(r_i - r_j - margin)]
 * plus the centering term. dscore[K] += dL/dr. Returns L; 0 without a strict pair. K = 2 is
 * Bradley-Terry. */
double preference_loss(const float *score, const double *rank, size_t K, double margin,
                       const PreferenceOptions *options, double weight, float *dscore);

/* Best of K (Ziegler et al. 2019, eq. 1): L = -weight log softmax(score)[best]. */
double preference_best_loss(const float *score, size_t best, size_t K, double weight, float *dscore);

/* Strict pairs in the right order, ties of the score counting one half, over all strict pairs. */
double preference_correct(const float *score, const double *rank, size_t K);

#endif
