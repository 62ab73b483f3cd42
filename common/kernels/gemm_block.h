/* SPDX-License-Identifier: MIT
 *
 * GemmKernels: the product of one thread, compiled once for every instruction set (gemm_block.c).
 */
#ifndef RLHF_KERNELS_GEMM_BLOCK_H
#define RLHF_KERNELS_GEMM_BLOCK_H

#include "common/kernels/gemm.h"

typedef void GemmSerial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                        const float *a, size_t lda, const float *b, size_t ldb, float beta,
                        float *c, size_t ldc);

typedef struct GemmKernels {
    const char *name;
    GemmSerial *serial;
} GemmKernels;

/* The best one for this CPU, and all that it can run (NULL past the end; for tests). */
const GemmKernels *gemm_kernels(void);
const GemmKernels *gemm_kernels_at(size_t i);

#endif
