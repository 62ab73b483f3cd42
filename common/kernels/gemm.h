/* SPDX-License-Identifier: MIT
 *
 * Matrix products, all row-major: C[M, N] = alpha op(A)[M, K] op(B)[K, N] + beta C.
 *
 * op(X) is X or its transpose; lda, ldb, ldc are the distances of rows as stored. With beta = 0 the old
 * C is not read. The work is cut over threads by rows or columns of C in a way that depends on the sizes
 * and the number of threads alone, so results repeat bit for bit.
 */
#ifndef RLHF_KERNELS_GEMM_H
#define RLHF_KERNELS_GEMM_H

#include <stddef.h>

typedef enum Transpose { PLAIN, TRANSPOSED } Transpose;

void gemm(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha, const float *a,
          size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* Which engine gemm uses. Our own kernels (AVX-512, AVX2 or portable, by the CPU) by default: their
 * results do not depend on the number of threads or on neighboring rows. OpenBLAS runs whole products on
 * the calling thread: Debian's serial build gives wrong products when two threads call it at once. Set
 * it before the first product. */
typedef enum GemmEngine { GEMM_OWN, GEMM_OPENBLAS } GemmEngine;
void gemm_select(GemmEngine engine);

/* The same on the calling thread alone: for use inside a parallel region. */
void gemm_serial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc);

/* The same in plain loops with sums in double: what the others are tested against. */
void gemm_reference(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc);

#endif
