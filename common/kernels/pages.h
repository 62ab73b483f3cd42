/* SPDX-License-Identifier: MIT
 *
 * PageKernels: what cached_attention.c does with one head's part of one page. pages.c is compiled once
 * for every instruction set that pays; page_kernels() gives the best one this CPU runs.
 *
 * Keys lie [head_size][PAGE_TOKENS], so that the scores of all positions come from whole vectors, values
 * lie [PAGE_TOKENS][head_size]; both are floats or, in `half` tables of kernels, BF16.
 */
#ifndef RLHF_KERNELS_PAGES_H
#define RLHF_KERNELS_PAGES_H

#include <stddef.h>

#include "common/kernels/gemm.h"

enum { PAGE_TOKENS = 16 };

typedef struct PageKernels {
    const char *name;
    /* Puts key and value [head_size] of a token at position `at` of the page. */
    void (*store)(void *keys, void *values, size_t at, const float *key, const float *value,
                  size_t head_size);
    /* scores[PAGE_TOKENS] = q . keys */
    void (*scores)(float *scores, const float *q, const void *keys, size_t head_size);
    /* out[head_size] += sum over the first n positions of weight[j] value[j] */
    void (*weigh)(float *out, const float *weight, const void *values, size_t n, size_t head_size);
} PageKernels;

const PageKernels *page_kernels(GemmType type);

/* Every table this CPU can run, the portable one first; NULL past the end. For tests. */
const PageKernels *page_kernels_at(GemmType type, size_t i);

#endif
