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
typedef float Quad __attribute__((vector_size(16)));
typedef float LooseQuad __attribute__((vector_size(16), aligned(4)));

#define INLINE static inline __attribute__((always_inline))

/* The quarters or halves of a vector, added up. */
INLINE Quad fold(Vector v) {
#if defined __AVX512F__
    return (__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7)) +
           (__builtin_shufflevector(v, v, 8, 9, 10, 11) +
            __builtin_shufflevector(v, v, 12, 13, 14, 15));
#elif defined __AVX2__
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
    return v;
#endif
}

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

INLINE void store_of(void *to, size_t at, const float *value, size_t head_size, bool half) {
    if (half) {
        for (size_t i = 0; i < head_size; i++) {
            ((uint16_t *)to)[at * head_size + i] = to_half(value[i]);
        }
    } else {
        memcpy((float *)to + at * head_size, value, head_size * sizeof *value);
    }
}

/* The sum of the lanes of four vectors. */
INLINE Quad sum_lanes(const Vector v[4]) {
    Quad q[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        q[j] = fold(v[j]);
    }
    Quad ab = __builtin_shufflevector(q[0], q[1], 0, 2, 4, 6) +
              __builtin_shufflevector(q[0], q[1], 1, 3, 5, 7);
    Quad cd = __builtin_shufflevector(q[2], q[3], 0, 2, 4, 6) +
              __builtin_shufflevector(q[2], q[3], 1, 3, 5, 7);
    return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) +
           __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

enum { KEYS = 8 }; /* keys at once: as many sums side by side hide the latency of an addition */

INLINE void scores_of(float *scores, float scale, const float *q, const void *keys, size_t n,
                      size_t head_size, bool half) {
    for (size_t j = 0; j < n; j += KEYS) {
        Vector sum[KEYS] = {0};
        size_t i = 0;
        for (; i + VECTOR <= head_size; i += VECTOR) {
            Vector x = *(const Loose *)(q + i);
#pragma GCC unroll 8
            for (size_t k = 0; k < KEYS; k++) {
                sum[k] += x * load(keys, (j + k) * head_size + i, half);
            }
        }
        *(LooseQuad *)(scores + j) = sum_lanes(sum) * scale;
        *(LooseQuad *)(scores + j + 4) = sum_lanes(sum + 4) * scale;
        for (; i < head_size; i++) {
            for (size_t k = 0; k < KEYS; k++) {
                scores[j + k] += scale * q[i] * load_one(keys, (j + k) * head_size + i, half);
            }
        }
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
    static void store_##suffix(void *to, size_t at, const float *value, size_t head_size) {        \
        store_of(to, at, value, head_size, half);                                                  \
    }                                                                                              \
    static void scores_##suffix(float *scores, float scale, const float *q, const void *keys,      \
                                size_t n, size_t head_size) {                                      \
        scores_of(scores, scale, q, keys, n, head_size, half);                                     \
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
