/* SPDX-License-Identifier: MIT
 *
 * PageKernels: what cached_attention.c does with one head's part of one page. pages.c is compiled once
 * for every instruction set that pays; page_kernels() gives the best one this CPU runs.
 *
 * Keys and values of a head lie [PAGE_TOKENS][head_size], as floats or BF16.
 */
#ifndef RLHF_KERNELS_PAGES_H
#define RLHF_KERNELS_PAGES_H

#include <stddef.h>

#include "common/kernels/gemm.h"

enum { PAGE_TOKENS = 16 };

typedef struct PageKernels {
    const char *name;
    /* Puts `value` [head_size], a key or a value, at place `at`. */
    void (*store)(void *to, size_t at, const float *value, size_t head_size);
    /* scores[j] = scale (q . key j) for the first n keys; up to PAGE_TOKENS scores may be written. */
    void (*scores)(float *scores, float scale, const float *q, const void *keys, size_t n,
                   size_t head_size);
    /* out[head_size] += sum over the first n places of weight[j] value[j] */
    void (*weigh)(float *out, const float *weight, const void *values, size_t n, size_t head_size);
} PageKernels;

const PageKernels *page_kernels(GemmType type);

/* Every table this CPU can run, the portable one first; NULL past the end. For tests. */
const PageKernels *page_kernels_at(GemmType type, size_t i);

#endif
