/* SPDX-License-Identifier: MIT */
#include "common/kernels/logprob.h"

#include <math.h>

#include "common/base/parallel.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

typedef struct Rows {
    const RowKernels *row;
    float *logprob, *entropy, *correct, *lse, *logits;
    const float *logits_in, *lse_in, *entropy_in, *dlogprob, *dentropy;
    const int32_t *target;
    size_t vocabulary;
} Rows;

static float is_first_largest(const float *z, size_t target, float largest) {
    if (z[target] < largest) {
        return 0;
    }
    for (size_t j = 0; j < target; j++) {
        if (z[j] == largest) {
            return 0;
        }
    }
    return 1;
}

static void forward(void *context, size_t begin, size_t end, int thread) {
    const Rows *r = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *z = r->logits_in + i * r->vocabulary;
        float largest = r->row->max(z, r->vocabulary), weighted;
        float sum = r->row->exp_sum(z, largest, r->vocabulary, &weighted);
        float log_sum = logf(sum);
        r->lse[i] = largest + log_sum;
        r->logprob[i] = z[r->target[i]] - largest - log_sum;
        if (r->entropy != NULL) {
            float entropy = log_sum - weighted / sum;
            r->entropy[i] = entropy < 0 ? 0 : entropy; /* rounding of a certain distribution */
        }
        if (r->correct != NULL) {
            r->correct[i] = is_first_largest(z, (size_t)r->target[i], largest);
        }
    }
}

void logprob_forward(float *logprob, float *entropy, float *correct, float *lse,
                     const float *logits, const int32_t *target, size_t n, size_t vocabulary) {
    Rows r = {.row = row_kernels(),
              .logprob = logprob,
              .entropy = entropy,
              .correct = correct,
              .lse = lse,
              .logits_in = logits,
              .target = target,
              .vocabulary = vocabulary};
    parallel_for(n, row_grain(vocabulary), forward, &r);
}

static void backward(void *context, size_t begin, size_t end, int thread) {
    const Rows *r = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *z = r->logits + i * r->vocabulary;
        float a = r->dlogprob[i], b = 0;
        if (r->dentropy != NULL) {
            b = r->dentropy[i];
            a += b * r->entropy_in[i];
        }
        r->row->logits_backward(z, r->lse_in[i], a, b, r->vocabulary);
        z[r->target[i]] += r->dlogprob[i];
    }
}

void logprob_backward(float *logits, const float *lse, const float *entropy, const float *dlogprob,
                      const float *dentropy, const int32_t *target, size_t n, size_t vocabulary) {
    Rows r = {.row = row_kernels(),
              .logits = logits,
              .lse_in = lse,
              .entropy_in = entropy,
              .dlogprob = dlogprob,
              .dentropy = dentropy,
              .target = target,
              .vocabulary = vocabulary};
    parallel_for(n, row_grain(vocabulary), backward, &r);
}
