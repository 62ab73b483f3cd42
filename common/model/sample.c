/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "common/kernels/rows.h"
#include "common/model/generate.h"

static void swap_ids(uint32_t *a, uint32_t *b) {
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

/* Whether id a stands before id b: larger logit, then lower id. */
static bool before(const float *logits, uint32_t a, uint32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* Puts a middling id of [lo, hi) in its place, those before it to its left; returns its place. */
static size_t partition(const float *logits, uint32_t *order, size_t lo, size_t hi) {
    size_t middle = lo + (hi - lo) / 2, last = hi - 1, place = lo;
    if (before(logits, order[middle], order[lo])) {
        swap_ids(&order[middle], &order[lo]);
    }
    if (before(logits, order[last], order[lo])) {
        swap_ids(&order[last], &order[lo]);
    }
    if (before(logits, order[middle], order[last])) {
        swap_ids(&order[middle], &order[last]);
    }
    for (size_t i = lo; i < last; i++) {
        if (before(logits, order[i], order[last])) {
            swap_ids(&order[i], &order[place++]);
        }
    }
    swap_ids(&order[place], &order[last]);
    return place;
}

static void penalize(const Sampling *sampling, const int32_t *id, size_t count, float *logits,
                     uint32_t *seen) {
    for (size_t i = 0; i < count; i++) {
        size_t k = (size_t)id[i];
        if ((seen[k / 32] >> k % 32 & 1) == 0) {
            seen[k / 32] |= (uint32_t)1 << k % 32;
            logits[k] = logits[k] < 0.0f ? logits[k] * sampling->repetition_penalty
                                         : logits[k] / sampling->repetition_penalty;
        }
    }
}

/* The k-th largest of n > 0 numbers, k in 1 .. n, by Hoare's selection; puts them into another order. */
static float kth_largest(float *x, size_t n, size_t k) {
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        float pivot = x[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;
        for (;;) {
            while (x[i] > pivot) {
                i++;
            }
            while (x[j] < pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            float t = x[i];
            x[i++] = x[j];
            x[j--] = t;
        }
        /* What lies before i is at least the pivot, what lies behind j at most. */
        if (k - 1 <= j) {
            hi = j;
        } else {
            lo = j + 1;
        }
    }
    return x[lo];
}

static void drop_below(float least, float *logits, size_t vocabulary) {
    for (size_t i = 0; i < vocabulary; i++) {
        logits[i] = logits[i] < least ? -INFINITY : logits[i];
    }
}

/* Few ids of a large vocabulary reach the k-th largest of the maxima of small blocks, and k do. */
static void keep_top_k(size_t k, float *logits, size_t vocabulary, float *scratch) {
    enum { PART = 32, FEW = 4 };
    size_t parts = vocabulary / PART, n = 0;
    float bound = -INFINITY;
    if (k >= vocabulary) {
        return;
    }
    if (k <= parts / FEW) {
        for (size_t i = 0; i < parts; i++) {
            scratch[i] = row_kernels()->max(logits + i * PART, PART);
        }
        bound = kth_largest(scratch, parts, k);
    }
    for (size_t i = 0; i < vocabulary; i++) {
        if (logits[i] >= bound) {
            scratch[n++] = logits[i];
        }
    }
    drop_below(kth_largest(scratch, n, k), logits, vocabulary);
}

enum { BLOCK = 512 }; /* exponentials that are added up in floats */

static size_t block_size(size_t first, size_t vocabulary) {
    return vocabulary - first < BLOCK ? vocabulary - first : BLOCK;
}

/* weight = exp(logits - max), returns the sum. Minus infinity gives 1e-38 instead of nothing. */
static double exponentials(float *weight, const float *logits, float max, size_t vocabulary) {
    double total = 0;
    for (size_t first = 0; first < vocabulary; first += BLOCK) {
        total += (double)row_kernels()->exp(weight + first, logits + first, max,
                                            block_size(first, vocabulary));
    }
    return total;
}

/* Steps of a quarter of a binary order below the largest probability; the last one holds the rest. */
enum { STEPS = 256 };

static size_t step_of(float below_max) {
    float steps = below_max * (4 * 1.44269504f);
    return steps < (float)(STEPS - 1) ? (size_t)steps : STEPS - 1;
}

/* The step in which the mass of the larger ids, *above, reaches `wanted`; STEPS: nowhere. */
static size_t edge_step(const float *logits, const float *weight, float max, size_t vocabulary,
                        double wanted, double *above) {
    double mass[STEPS][2] = {0}; /* two sums, so that neighbors seldom wait for one another */
    for (size_t i = 0; i < vocabulary; i++) {
        if (logits[i] > -INFINITY) {
            mass[step_of(max - logits[i])][i % 2] += (double)weight[i];
        }
    }
    size_t step = 0;
    for (*above = 0; step < STEPS; step++) {
        double more = *above + mass[step][0] + mass[step][1];
        if (more >= wanted) {
            break;
        }
        *above = more;
    }
    return step;
}

/* An id stays while the mass of those before it is below top_p. Those of larger steps than the edge's
 * stay; the edge's own are put in order as far as it takes. */
static void keep_top_p(double top_p, float *logits, size_t vocabulary,
                       const SamplingScratch *scratch) {
    float *weight = scratch->weight, max = row_kernels()->max(logits, vocabulary);
    uint32_t *order = scratch->order;
    double total = exponentials(weight, logits, max, vocabulary), above;
    size_t edge = edge_step(logits, weight, max, vocabulary, top_p * total, &above), n = 0;
    for (size_t i = 0; i < vocabulary; i++) {
        size_t step = step_of(max - logits[i]);
        if (step == edge) {
            order[n++] = (uint32_t)i;
        } else if (step > edge) {
            logits[i] = -INFINITY;
        }
    }
    size_t lo = 0, hi = n, kept = n;
    while (lo < hi) {
        size_t place = partition(logits, order, lo, hi);
        double better = above;
        for (size_t i = lo; i < place; i++) {
            better += (double)weight[order[i]];
        }
        if (better >= top_p * total) {
            kept = hi = place;
        } else {
            above = better + (double)weight[order[place]];
            lo = place + 1;
        }
    }
    for (size_t i = kept > 0 ? kept : 1; i < n; i++) {
        logits[order[i]] = -INFINITY;
    }
}

/* How many ids that end are not to be sampled yet: all or none. */
static size_t masked_ends(const Sampling *sampling, const SamplingHistory *history) {
    return history != NULL && history->count < sampling->min_tokens ? history->ends : 0;
}

/* Repetition penalty, masked ends, top-k, top-p and min-p on logits at their temperature: what is not to be
 * sampled becomes minus infinity. */
static void filter(const Sampling *sampling, const SamplingHistory *history, float *logits,
                   size_t vocabulary, const SamplingScratch *scratch) {
    if (history != NULL && sampling->repetition_penalty != 1.0f) {
        memset(scratch->order, 0, (vocabulary + 31) / 32 * sizeof(uint32_t));
        penalize(sampling, history->prompt, history->prompt_count, logits, scratch->order);
        penalize(sampling, history->completion, history->count, logits, scratch->order);
    }
    for (size_t i = 0; i < masked_ends(sampling, history); i++) {
        logits[history->end[i]] = -INFINITY;
    }
    if (sampling->greedy) {
        return;
    }
    if (sampling->top_k > 0) {
        keep_top_k((size_t)sampling->top_k, logits, vocabulary, scratch->weight);
    }
    if (sampling->top_p < 1.0f) {
        keep_top_p((double)sampling->top_p, logits, vocabulary, scratch);
    }
    if (sampling->min_p > 0.0f) {
        drop_below(row_kernels()->max(logits, vocabulary) + logf(sampling->min_p), logits,
                   vocabulary);
    }
}

static void temper(const Sampling *sampling, float *logits, size_t vocabulary) {
    if (sampling->temperature != 1.0f) {
        row_kernels()->scale(logits, 1.0f / sampling->temperature, vocabulary);
    }
}

/* The lowest id of the largest logit. */
static size_t largest(const float *logits, size_t vocabulary) {
    float max = row_kernels()->max(logits, vocabulary);
    size_t i = 0;
    while (i + 1 < vocabulary && logits[i] != max) {
        i++;
    }
    return i;
}

void sampling_distribution(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, const SamplingScratch *scratch) {
    temper(sampling, logits, vocabulary);
    filter(sampling, history, logits, vocabulary, scratch);
    if (sampling->greedy) {
        size_t best = largest(logits, vocabulary);
        memset(logits, 0, vocabulary * sizeof(float));
        logits[best] = 1.0f;
        return;
    }
    float max = row_kernels()->max(logits, vocabulary);
    double total = exponentials(scratch->weight, logits, max, vocabulary);
    for (size_t i = 0; i < vocabulary; i++) {
        logits[i] = logits[i] > -INFINITY ? (float)((double)scratch->weight[i] / total) : 0.0f;
    }
}

size_t sampling_pick(const float *mass, size_t n, double target, double *before) {
    size_t last = 0;
    double sum = *before;
    for (size_t i = 0; i < n; i++) {
        if (mass[i] > 0.0f) {
            *before = sum;
            sum += (double)mass[i];
            last = i;
            if (sum > target) {
                break;
            }
        }
    }
    return last;
}

/* A softmax without its elements. */
typedef struct Mass {
    float max;
    double total, weighted; /* sums of e = exp(x - max), and of e (x - max) */
} Mass;

/* block[b] becomes the sum of the exponentials of logits [b BLOCK, (b + 1) BLOCK). */
static Mass measure(const float *logits, size_t vocabulary, float *block) {
    Mass mass = {.max = row_kernels()->max(logits, vocabulary)};
    for (size_t first = 0; first < vocabulary; first += BLOCK) {
        float weighted;
        block[first / BLOCK] = row_kernels()->exp_sum(logits + first, mass.max,
                                                      block_size(first, vocabulary), &weighted);
        mass.total += (double)block[first / BLOCK];
        mass.weighted += (double)weighted;
    }
    return mass;
}

/* Masses that no number of 53 bits can hit, those of minus infinity among them, become nothing. */
static void drop_dust(float *mass, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mass[i] = mass[i] < 1e-30f ? 0.0f : mass[i];
    }
}

/* The id at u of a softmax: first its block, then its place there. */
static size_t pick_measured(const float *logits, size_t vocabulary, const Mass *mass, double u,
                            float *block) {
    float exponential[BLOCK];
    double before = 0, target = u * mass->total;
    size_t blocks = (vocabulary + BLOCK - 1) / BLOCK;
    drop_dust(block, blocks);
    size_t first = BLOCK * sampling_pick(block, blocks, target, &before);
    size_t n = block_size(first, vocabulary);
    row_kernels()->exp(exponential, logits + first, mass->max, n);
    drop_dust(exponential, n);
    return first + sampling_pick(exponential, n, target, &before);
}

static bool has_filters(const Sampling *sampling, const SamplingHistory *history) {
    return sampling->top_k > 0 || sampling->top_p < 1.0f || sampling->min_p > 0.0f ||
           sampling->repetition_penalty != 1.0f || masked_ends(sampling, history) > 0;
}

SamplingDraw sampling_draw(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, double u, const SamplingScratch *scratch) {
    temper(sampling, logits, vocabulary);
    Mass mass = measure(logits, vocabulary, scratch->weight);
    if (!isfinite(mass.total)) {
        return (SamplingDraw){0, NAN, NAN};
    }
    double log_sum = (double)mass.max + log(mass.total);
    float entropy = (float)(log(mass.total) - mass.weighted / mass.total);
    const float *plain = logits;
    if (has_filters(sampling, history)) {
        if (sampling->repetition_penalty != 1.0f) {
            plain = memcpy(scratch->plain, logits, vocabulary * sizeof(float));
        }
        filter(sampling, history, logits, vocabulary, scratch);
        mass = sampling->greedy ? mass : measure(logits, vocabulary, scratch->weight);
    }
    size_t id = sampling->greedy ? largest(logits, vocabulary)
                                 : pick_measured(logits, vocabulary, &mass, u, scratch->weight);
    return (SamplingDraw){(int32_t)id, (float)((double)plain[id] - log_sum), entropy};
}
