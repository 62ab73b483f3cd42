/* SPDX-License-Identifier: MIT
 *
 * Vectors of floats as wide as the registers that a source is compiled for, in the compiler's vector
 * arithmetic; here is what that lacks. For the sources that are compiled once for each instruction set.
 */
#ifndef RLHF_KERNELS_VECTOR_H
#define RLHF_KERNELS_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { VECTOR = 16 };
#elif defined __AVX2__
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif

typedef float Vector __attribute__((vector_size(4 * VECTOR)));
typedef int32_t IntVector __attribute__((vector_size(4 * VECTOR)));
typedef uint32_t BitVector __attribute__((vector_size(4 * VECTOR)));
typedef float Loose __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));

static inline Vector load(const float *x) {
    return *(const Loose *)x;
}

static inline void store(float *to, Vector x) {
    *(Loose *)to = x;
}

/* The first n < VECTOR elements, the others zero. */
static inline Vector load_part(const float *x, size_t n) {
    Vector v = {0};
    memcpy(&v, x, n * sizeof *x);
    return v;
}

static inline void store_part(float *to, Vector x, size_t n) {
    memcpy(to, &x, n * sizeof *to);
}

static inline Vector splat(float x) {
    return x - (Vector){0};
}

/* 0, 1, 2, ... */
static inline IntVector lanes(void) {
    IntVector v;
    for (int i = 0; i < VECTOR; i++) {
        v[i] = i;
    }
    return v;
}

/* x where all bits of the mask are set, otherwise y; and zero. */
static inline Vector where(IntVector mask, Vector x, Vector y) {
    return (Vector)((mask & (IntVector)x) | (~mask & (IntVector)y));
}

static inline Vector only(IntVector mask, Vector x) {
    return (Vector)(mask & (IntVector)x);
}

/* a > b ? a : b, so b where either is not a number. */
static inline Vector vector_max(Vector a, Vector b) {
#if defined __AVX512F__
    return (Vector)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined __AVX2__
    return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined __SSE2__
    return (Vector)_mm_max_ps((__m128)a, (__m128)b);
#else
    return where(a > b, a, b);
#endif
}

/* a < b ? a : b, so b where either is not a number. */
static inline Vector vector_min(Vector a, Vector b) {
#if defined __AVX512F__
    return (Vector)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined __AVX2__
    return (Vector)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined __SSE2__
    return (Vector)_mm_min_ps((__m128)a, (__m128)b);
#else
    return where(a < b, a, b);
#endif
}

static inline float sum_of_lanes(Vector x) {
    float sum = 0;
    for (int i = 0; i < VECTOR; i++) {
        sum += x[i];
    }
    return sum;
}

/* exp(x) for x <= 88.3 to about 1e-7 relative: 2^n times a polynomial on [-ln2/2, ln2/2] of which
 * 1 + r is fixed and the rest has the least largest error (3e-9). Below -87.3 it gives the smallest normal
 * numbers' size instead of a denormal; NaN stays NaN. */
static inline Vector vector_exp(Vector x) {
    x = vector_max(splat(-87.33f), x);
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    Vector shifted = x * 1.44269504088896341f + magic;
    Vector n = shifted - magic;
    Vector r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    Vector p = r * 1.3814539589e-3f + 8.3687451605e-3f;
    p = p * r + 4.1668390796e-2f;
    p = p * r + 1.6666520398e-1f;
    p = p * r + 4.9999993432e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* the low bits of `shifted` are n: add it to the exponent */
    return (Vector)((BitVector)p + ((BitVector)shifted << 23));
}

#endif
