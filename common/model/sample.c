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

/* The ids whose logit is not minus infinity; returns their number. */
static size_t candidates(const float *logits, size_t vocabulary, uint32_t *order) {
    size_t n = 0;
    for (size_t i = 0; i < vocabulary; i++) {
        if (logits[i] > -INFINITY) {
            order[n++] = (uint32_t)i;
        }
    }
    return n;
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

static void keep_top_k(size_t k, float *logits, size_t vocabulary, uint32_t *order) {
    size_t n = candidates(logits, vocabulary, order), lo = 0, hi = n;
    if (k >= n) {
        return;
    }
    while (hi - lo > 1) {
        size_t place = partition(logits, order, lo, hi);
        if (place == k - 1) {
            lo = place;
            break;
        }
        if (place < k - 1) {
            lo = place + 1;
        } else {
            hi = place;
        }
    }
    float least = logits[order[lo]];
    for (size_t i = 0; i < vocabulary; i++) {
        if (logits[i] < least) {
            logits[i] = -INFINITY;
        }
    }
}

/* An id stays while the mass of those before it is below top_p. */
static void keep_top_p(double top_p, float *logits, size_t vocabulary,
                       const SamplingScratch *scratch) {
    const RowKernels *kernels = row_kernels();
    const float *weight = scratch->weight;
    uint32_t *order = scratch->order;
    size_t n = candidates(logits, vocabulary, order), lo = 0, hi = n, kept = n;
    kernels->exp(scratch->weight, logits, kernels->max(logits, vocabulary), vocabulary);
    double total = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        total += (double)weight[order[i]];
    }
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

static void keep_min_p(float min_p, float *logits, size_t vocabulary) {
    float least = row_kernels()->max(logits, vocabulary) + logf(min_p);
    for (size_t i = 0; i < vocabulary; i++) {
        if (logits[i] < least) {
            logits[i] = -INFINITY;
        }
    }
}

static void all_on_largest(float *logits, size_t vocabulary) {
    size_t best = 0;
    for (size_t i = 1; i < vocabulary; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    memset(logits, 0, vocabulary * sizeof(float));
    logits[best] = 1.0f;
}

static void softmax(float *logits, size_t vocabulary, float *weight) {
    const RowKernels *kernels = row_kernels();
    kernels->exp(weight, logits, kernels->max(logits, vocabulary), vocabulary);
    double total = 0;
    for (size_t i = 0; i < vocabulary; i++) {
        weight[i] = logits[i] > -INFINITY ? weight[i] : 0.0f;
        total += (double)weight[i];
    }
    for (size_t i = 0; i < vocabulary; i++) {
        logits[i] = (float)((double)weight[i] / total);
    }
}

void sampling_distribution(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, const SamplingScratch *scratch) {
    if (history != NULL && sampling->repetition_penalty != 1.0f) {
        memset(scratch->order, 0, (vocabulary + 31) / 32 * sizeof(uint32_t));
        penalize(sampling, history->prompt, history->prompt_count, logits, scratch->order);
        penalize(sampling, history->completion, history->count, logits, scratch->order);
    }
    if (history != NULL && history->eos >= 0 && history->count < sampling->min_tokens) {
        logits[history->eos] = -INFINITY;
    }
    if (sampling->greedy) {
        all_on_largest(logits, vocabulary);
        return;
    }
    for (size_t i = 0; i < vocabulary && sampling->temperature != 1.0f; i++) {
        logits[i] /= sampling->temperature;
    }
    if (sampling->top_k > 0) {
        keep_top_k((size_t)sampling->top_k, logits, vocabulary, scratch->order);
    }
    if (sampling->top_p < 1.0f) {
        keep_top_p((double)sampling->top_p, logits, vocabulary, scratch);
    }
    if (sampling->min_p > 0.0f) {
        keep_min_p(sampling->min_p, logits, vocabulary);
    }
    softmax(logits, vocabulary, scratch->weight);
}

/* The first index whose cumulated sum, begun at *before, exceeds `target`; *before then is what lies
 * in front of it. The last index with a mass when rounding leaves none. */
static size_t first_above(const float *mass, size_t n, double target, double *before) {
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

int32_t sampling_pick(const float *probability, size_t vocabulary, double u) {
    double total = 0, before = 0;
    for (size_t i = 0; i < vocabulary; i++) {
        total += (double)probability[i];
    }
    return (int32_t)first_above(probability, vocabulary, u * total, &before);
}

enum { BLOCK = 512 }; /* logits whose exponentials are summed in floats */

/* A softmax without its elements. */
typedef struct Mass {
    float max;
    double total, weighted; /* sums of e = exp(x - max), and of e (x - max) */
} Mass;

/* block[b] becomes the sum of the exponentials of logits [b BLOCK, (b + 1) BLOCK). */
static Mass measure(const float *logits, size_t vocabulary, float *block) {
    const RowKernels *kernels = row_kernels();
    Mass mass = {.max = kernels->max(logits, vocabulary)};
    for (size_t first = 0; first < vocabulary; first += BLOCK) {
        size_t n = vocabulary - first < BLOCK ? vocabulary - first : BLOCK;
        float weighted;
        block[first / BLOCK] = kernels->exp_sum(logits + first, mass.max, n, &weighted);
        mass.total += (double)block[first / BLOCK];
        mass.weighted += (double)weighted;
    }
    return mass;
}

/* The id at u of the softmax: first its block, then its place there. */
static int32_t pick_measured(const float *logits, size_t vocabulary, const Mass *mass, double u,
                             const float *block, float *exponential) {
    double before = 0, target = u * mass->total;
    size_t first = BLOCK * first_above(block, (vocabulary + BLOCK - 1) / BLOCK, target, &before);
    size_t n = vocabulary - first < BLOCK ? vocabulary - first : BLOCK;
    row_kernels()->exp(exponential, logits + first, mass->max, n);
    return (int32_t)(first + first_above(exponential, n, target, &before));
}

static bool filters(const Sampling *sampling, const SamplingHistory *history) {
    return sampling->greedy || sampling->top_k > 0 || sampling->top_p < 1.0f ||
           sampling->min_p > 0.0f || sampling->repetition_penalty != 1.0f ||
           (history->eos >= 0 && history->count < sampling->min_tokens);
}

SamplingDraw sampling_draw(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, double u, const SamplingScratch *scratch) {
    SamplingDraw draw;
    bool filtered = filters(sampling, history);
    if (filtered) {
        memcpy(scratch->probability, logits, vocabulary * sizeof(float));
    }
    if (sampling->temperature != 1.0f) {
        row_kernels()->scale(logits, 1.0f / sampling->temperature, vocabulary);
    }
    Mass mass = measure(logits, vocabulary, scratch->weight);
    double log_total = log(mass.total);
    draw.entropy = (float)(log_total - mass.weighted / mass.total);
    if (filtered) {
        sampling_distribution(sampling, history, scratch->probability, vocabulary, scratch);
        draw.id = sampling_pick(scratch->probability, vocabulary, u);
    } else {
        draw.id =
            pick_measured(logits, vocabulary, &mass, u, scratch->weight, scratch->probability);
    }
    draw.logprob = (float)((double)logits[draw.id] - (double)mass.max - log_total);
    return draw;
}
