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

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/kernels/compact.h"

typedef enum Transpose { PLAIN, TRANSPOSED } Transpose;

/* What the elements of A and B are rounded to before they are multiplied; sums are FP32. BF16 is rounded
 * to nearest, ties to even. */
typedef enum GemmType { GEMM_FP32, GEMM_BF16 } GemmType;

/* op(B) [K, N] laid out as the kernels of this CPU read it, for products that meet it more than once. */
typedef struct PackedMatrix {
    GemmType type;
    size_t k, n;
    const void *data; /* borrowed */
} PackedMatrix;

/* Bytes of a packed matrix, and packing into `memory` of that size, aligned to 64 bytes. Spread over
 * threads. */
size_t packed_matrix_bytes(GemmType type, size_t k, size_t n);
PackedMatrix packed_matrix(GemmType type, Transpose tb, size_t k, size_t n, const float *b,
                           size_t ldb, void *memory);
PackedMatrix packed_compact(GemmType type, Transpose tb, const CompactMatrix *b, void *memory);

/* Called for every block of C once its sums are final and while it is in a cache: rows [row, row + rows),
 * columns [column, column + columns); c is its first element. Blocks do not overlap and cover C; several
 * threads call it. What it does to an element may depend on its place alone. */
typedef void GemmFinish(const void *context, size_t row, size_t rows, size_t column, size_t columns,
                        float *c, size_t ldc);

typedef struct Product {
    GemmType type;
    Transpose ta, tb;
    size_t m, n, k;
    float alpha, beta;
    const float *a;
    size_t lda;
    const float *b; /* or NULL: op(B) is `packed`, of the same type; tb and ldb are not read then */
    size_t ldb;
    const PackedMatrix *packed;
    float *c;
    size_t ldc;
    GemmFinish *finish; /* or NULL */
    const void *context;
    CompactMatrix compact; /* with a type: B, unless it is packed; b and ldb are not read then */
} Product;

void product_run(const Product *product);
/* On the calling thread alone: for use inside a parallel region. */
void product_serial(const Product *product);

/* FP32 products without more ado. */
void gemm(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha, const float *a,
          size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
void gemm_serial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc);

/* Which engine runs. Our own kernels (AVX-512 with or without BF16, AVX2 or portable, by the CPU) by
 * default: their results do not depend on the number of threads or on neighboring rows. OpenBLAS runs
 * whole FP32 products of float matrices, unpacked, on the calling thread: Debian's serial build gives wrong
 * products when two threads call it at once. Set it before the first product. */
typedef enum GemmEngine { GEMM_OWN, GEMM_OPENBLAS } GemmEngine;
void gemm_select(GemmEngine engine);

/* Which of our own kernels run: "portable", "avx2", "avx512", "avx512bf16"; the best the CPU has by
 * default. False, and nothing changes, when the CPU lacks it. Matrices packed before cannot be read
 * after. */
bool gemm_use(const char *name);

/* One line of what multiplies: instruction set, whose kernels, what becomes of the inputs. */
const char *gemm_describe(GemmType type);

/* Computes some ragged products in every form (types, transposes, packed, few rows, finished, serial) and
 * compares them with gemm_reference: some milliseconds. False with a sentence (ERROR_UNAVAILABLE) when
 * what would run computes wrong. Call it after gemm_select and gemm_use, outside of parallel regions. */
bool gemm_self_check(Error *err);

/* The same in plain loops with sums in double: what the others are tested against. */
void gemm_reference(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc);

/* The nearest BF16 value of x (ties to even; NaN stays NaN). */
float round_bf16(float x);

#endif
