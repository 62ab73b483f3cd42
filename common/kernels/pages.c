/* SPDX-License-Identifier: MIT
 *
 * Compiled several times; PAGES names the pair of tables (FP32, BF16) that this compilation defines.
 */
#include "common/kernels/pages.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX512F__
enum { VECTOR = 16 };
#elif defined __AVX2__
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif

typedef float Vector __attribute__((vector_size(4 * VECTOR)));
typedef float Loose __attribute__((vector_size(4 * VECTOR), aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(4 * VECTOR)));
typedef uint16_t Half __attribute__((vector_size(2 * VECTOR), aligned(2)));

#define INLINE static inline __attribute__((always_inline))

INLINE Vector load(const void *x, size_t i, bool half) {
    if (half) {
        const Half *from = (const Half *)((const uint16_t *)x + i);
        return (Vector)(__builtin_convertvector(*from, Bits) << 16);
    }
    return *(const Loose *)((const float *)x + i);
}

INLINE float load_one(const void *x, size_t i, bool half) {
    if (half) {
        uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    return ((const float *)x)[i];
}

/* To the nearest BF16, ties to even; NaN stays NaN. */
INLINE uint16_t to_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded) >> 16);
}

INLINE void store_one(void *x, size_t i, float value, bool half) {
    if (half) {
        ((uint16_t *)x)[i] = to_half(value);
    } else {
        ((float *)x)[i] = value;
    }
}

INLINE void store_of(void *keys, void *values, size_t at, const float *key, const float *value,
                     size_t head_size, bool half) {
    for (size_t i = 0; i < head_size; i++) {
        store_one(keys, i * PAGE_TOKENS + at, key[i], half);
    }
    for (size_t i = 0; i < head_size; i++) {
        store_one(values, at * head_size + i, value[i], half);
    }
}

/* Eight sums side by side hide the latency of an addition. */
enum { PARTS = PAGE_TOKENS / VECTOR, CHAINS = 8 / PARTS };

INLINE void scores_of(float *scores, const float *q, const void *keys, size_t head_size,
                      bool half) {
    Vector sum[CHAINS][PARTS] = {0};
    size_t i = 0;
    for (; i + CHAINS <= head_size; i += CHAINS) {
#pragma GCC unroll 8
        for (size_t c = 0; c < CHAINS; c++) {
#pragma GCC unroll 4
            for (size_t p = 0; p < PARTS; p++) {
                sum[c][p] += q[i + c] * load(keys, (i + c) * PAGE_TOKENS + p * VECTOR, half);
            }
        }
    }
    for (; i < head_size; i++) {
#pragma GCC unroll 4
        for (size_t p = 0; p < PARTS; p++) {
            sum[0][p] += q[i] * load(keys, i * PAGE_TOKENS + p * VECTOR, half);
        }
    }
#pragma GCC unroll 4
    for (size_t p = 0; p < PARTS; p++) {
        Vector all = sum[0][p];
#pragma GCC unroll 8
        for (size_t c = 1; c < CHAINS; c++) {
            all += sum[c][p];
        }
        *(Loose *)(scores + p * VECTOR) = all;
    }
}

/* `count` vectors of out, from element `first` on. */
INLINE void weigh_vectors(float *out, const float *weight, const void *values, size_t n,
                          size_t head_size, size_t first, size_t count, bool half) {
    Vector sum[8];
#pragma GCC unroll 8
    for (size_t v = 0; v < count; v++) {
        sum[v] = *(const Loose *)(out + first + v * VECTOR);
    }
    for (size_t j = 0; j < n; j++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < count; v++) {
            sum[v] += weight[j] * load(values, j * head_size + first + v * VECTOR, half);
        }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < count; v++) {
        *(Loose *)(out + first + v * VECTOR) = sum[v];
    }
}

INLINE void weigh_of(float *out, const float *weight, const void *values, size_t n,
                     size_t head_size, bool half) {
    size_t i = 0;
    for (; i + 8 * VECTOR <= head_size; i += 8 * VECTOR) {
        weigh_vectors(out, weight, values, n, head_size, i, 8, half);
    }
    for (; i + 4 * VECTOR <= head_size; i += 4 * VECTOR) {
        weigh_vectors(out, weight, values, n, head_size, i, 4, half);
    }
    for (; i + VECTOR <= head_size; i += VECTOR) {
        weigh_vectors(out, weight, values, n, head_size, i, 1, half);
    }
    for (; i < head_size; i++) {
        for (size_t j = 0; j < n; j++) {
            out[i] += weight[j] * load_one(values, j * head_size + i, half);
        }
    }
}

#define FUNCTIONS(suffix, half)                                                                    \
    static void store_##suffix(void *keys, void *values, size_t at, const float *key,              \
                               const float *value, size_t head_size) {                             \
        store_of(keys, values, at, key, value, head_size, half);                                   \
    }                                                                                              \
    static void scores_##suffix(float *scores, const float *q, const void *keys,                   \
                                size_t head_size) {                                                \
        scores_of(scores, q, keys, head_size, half);                                               \
    }                                                                                              \
    static void weigh_##suffix(float *out, const float *weight, const void *values, size_t n,      \
                               size_t head_size) {                                                 \
        weigh_of(out, weight, values, n, head_size, half);                                         \
    }
FUNCTIONS(float, false)
FUNCTIONS(half, true)

extern const PageKernels PAGES[2];
const PageKernels PAGES[2] = {
    [GEMM_FP32] = {NAME, store_float, scores_float, weigh_float},
    [GEMM_BF16] = {NAME, store_half,  scores_half,  weigh_half },
};
