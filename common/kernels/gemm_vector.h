/* SPDX-License-Identifier: MIT
 *
 * The vectors and tiles of the instruction set that a kernel is compiled for.
 */
#ifndef RLHF_KERNELS_GEMM_VECTOR_H
#define RLHF_KERNELS_GEMM_VECTOR_H

#include "common/kernels/gemm_block.h"

#if defined __AVX2__
#include <immintrin.h>
#elif defined __ARM_NEON
#include <arm_neon.h>
#endif

#if defined __AVX512F__
enum { VECTOR = 16, TILE_ROWS = 14, IN_PLACE = 0 };
#define SET "AVX-512"
#elif defined __AVX2__
enum { VECTOR = 8, TILE_ROWS = 6, IN_PLACE = 1 };
#define SET "AVX2"
#else
enum { VECTOR = 4, TILE_ROWS = 6, IN_PLACE = 1 };
#define SET "portable"
#endif
#ifdef __AVX512BF16__
enum { PAIRS = 1 }; /* multiplies two depths of BF16 at once */
#define BF16_TEXT "own AVX-512 kernels, BF16 multiplied by the CPU"
#else
enum { PAIRS = 0 };
#define BF16_TEXT "own " SET " kernels, inputs rounded to BF16, FP32 multiply"
#endif
#define FP32_TEXT "own " SET " kernels, FP32"
enum {
    TILE_COLUMNS = 2 * VECTOR,
    BLOCK_ROWS = 16 * TILE_ROWS,
    STEP_WORDS = PAIRS ? TILE_COLUMNS : VECTOR, /* of a BF16 panel of B */
};

#define INLINE static inline __attribute__((always_inline))

typedef float Vector __attribute__((vector_size(4 * VECTOR), may_alias));
typedef float Loose __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * VECTOR), may_alias));
typedef int32_t Signed __attribute__((vector_size(4 * VECTOR), may_alias));
typedef uint32_t LooseBits __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));

/* x y + z, rounded once where the instruction set can. Spelled out, for what a compiler contracts may
 * differ from one tile to the next. */
INLINE Vector fused(Vector x, Vector y, Vector z) {
#if defined __AVX512F__
    return _mm512_fmadd_ps(x, y, z);
#elif defined __AVX2__
    return _mm256_fmadd_ps(x, y, z);
#elif defined __ARM_FEATURE_FMA && defined __ARM_NEON
    return vfmaq_f32(z, x, y);
#else
    return x * y + z;
#endif
}

/* sum + the products of two depths of BF16. */
#ifdef __AVX512BF16__
INLINE Vector fused_pairs(Bits x, Bits y, Vector sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}
#else
INLINE Vector fused_pairs(Bits x, Bits y, Vector sum) {
    (void)x, (void)y;
    return sum;
}
#endif

#endif
