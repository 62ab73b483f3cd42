/* SPDX-License-Identifier: MIT
 *
 * Compiled several times; ROWS names the table that this compilation defines.
 */
#include "common/kernels/rows.h"

#include <math.h>
#include <string.h>

#include "common/kernels/activation_vector.h"
#include "common/kernels/vector.h"

static void add(float *restrict y, const float *restrict x, const float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] + b[i];
    }
}

static void bias_residual(float *restrict y, const float *restrict b, const float *restrict x,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i] + b[i];
    }
}

static void axpy(float *restrict y, float a, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

static void scale_row(float *restrict y, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] *= a;
    }
}

/* VECTOR elements at a time, the rest with zeros behind: an element's bits do not depend on its place. */
static inline Vector load_some(const float *x, size_t n) {
    return n >= VECTOR ? load(x) : load_part(x, n);
}

static inline void store_some(float *y, Vector v, size_t n) {
    if (n >= VECTOR) {
        store(y, v);
    } else {
        store_part(y, v, n);
    }
}

/* Calls f with each kind as a constant. */
#define EACH_KIND(kind, f, ...)                                                                    \
    switch (kind) {                                                                                \
    case ACTIVATION_GELU_NEW:                                                                      \
        f(ACTIVATION_GELU_NEW, __VA_ARGS__);                                                       \
        break;                                                                                     \
    case ACTIVATION_GELU:                                                                          \
        f(ACTIVATION_GELU, __VA_ARGS__);                                                           \
        break;                                                                                     \
    case ACTIVATION_SILU:                                                                          \
        f(ACTIVATION_SILU, __VA_ARGS__);                                                           \
        break;                                                                                     \
    case ACTIVATION_RELU:                                                                          \
        f(ACTIVATION_RELU, __VA_ARGS__);                                                           \
        break;                                                                                     \
    case ACTIVATION_TANH:                                                                          \
        f(ACTIVATION_TANH, __VA_ARGS__);                                                           \
        break;                                                                                     \
    }

#define INLINE static inline __attribute__((always_inline))

INLINE void bias_activation_of(ActivationKind kind, float *restrict x, float *restrict y,
                               const float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i) + load_some(b + i, n - i);
        store_some(x + i, v, n - i);
        store_some(y + i, activation_value(kind, v, activated(kind, v)), n - i);
    }
}

INLINE void activation_of(ActivationKind kind, float *y, const float *x, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i);
        if (b != NULL) {
            v += load_some(b + i, n - i);
        }
        store_some(y + i, activation_value(kind, v, activated(kind, v)), n - i);
    }
}

INLINE void activation_both_of(ActivationKind kind, float *restrict d, float *y, const float *x,
                               size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i);
        Activated a = activated(kind, v);
        store_some(d + i, load_some(d + i, n - i) * activation_slope(kind, v, a), n - i);
        if (y != NULL) {
            store_some(y + i, activation_value(kind, v, a), n - i);
        }
    }
}

INLINE void gated_of(ActivationKind kind, float *restrict y, const float *restrict g,
                     const float *restrict u, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(g + i, n - i);
        Vector value = activation_value(kind, v, activated(kind, v));
        store_some(y + i, value * load_some(u + i, n - i), n - i);
    }
}

INLINE void gated_backward_of(ActivationKind kind, float *restrict g, float *restrict u,
                              float *restrict d, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(g + i, n - i), other = load_some(u + i, n - i);
        Vector dy = load_some(d + i, n - i);
        Activated a = activated(kind, v);
        Vector value = activation_value(kind, v, a);
        store_some(g + i, dy * other * activation_slope(kind, v, a), n - i);
        store_some(u + i, dy * value, n - i);
        store_some(d + i, value * other, n - i);
    }
}

static void activation(ActivationKind kind, float *y, const float *x, const float *b, size_t n) {
    EACH_KIND(kind, activation_of, y, x, b, n)
}

static void bias_activation(ActivationKind kind, float *x, float *y, const float *b, size_t n) {
    if (b == NULL) {
        activation(kind, y, x, NULL, n);
        return;
    }
    EACH_KIND(kind, bias_activation_of, x, y, b, n)
}

static void activation_both(ActivationKind kind, float *d, float *y, const float *x, size_t n) {
    EACH_KIND(kind, activation_both_of, d, y, x, n)
}

static void row_gated(ActivationKind kind, float *y, const float *g, const float *u, size_t n) {
    EACH_KIND(kind, gated_of, y, g, u, n)
}

static void row_gated_backward(ActivationKind kind, float *g, float *u, float *d, size_t n) {
    EACH_KIND(kind, gated_backward_of, g, u, d, n)
}

static void norm(float *restrict y, float *mean, float *rstd, const float *restrict x,
                 const float *restrict w, const float *restrict b, float epsilon, size_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    float m = sum / (float)n;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - m) * (x[i] - m);
    }
    float r = 1.0f / sqrtf(squares / (float)n + epsilon);
    if (b == NULL) {
        for (size_t i = 0; i < n; i++) {
            y[i] = (x[i] - m) * r * w[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            y[i] = (x[i] - m) * r * w[i] + b[i];
        }
    }
    *mean = m;
    *rstd = r;
}

static void norm_backward(float *restrict dx, const float *restrict dy, const float *restrict x,
                          float mean, float rstd, const float *restrict w, size_t n) {
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (size_t i = 0; i < n; i++) {
        float g = dy[i] * w[i];
        sum += g;
        product += g * (x[i] - mean);
    }
    float a = sum / (float)n;
    float b = product * rstd * rstd / (float)n;
    for (size_t i = 0; i < n; i++) {
        dx[i] += (dy[i] * w[i] - a - (x[i] - mean) * b) * rstd;
    }
}

static void norm_parameters(float *restrict dw, float *restrict db, const float *restrict dy,
                            const float *restrict x, float mean, float rstd, size_t n) {
    for (size_t i = 0; i < n; i++) {
        dw[i] += dy[i] * (x[i] - mean) * rstd;
        db[i] += dy[i];
    }
}

static float rms(const float *x, float epsilon, size_t n) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (size_t i = 0; i < n; i++) {
        squares += x[i] * x[i];
    }
    return 1.0f / sqrtf(squares / (float)n + epsilon);
}

static float rms_norm(float *y, const float *x, float base, const float *restrict w, float epsilon,
                      size_t n) {
    float r = rms(x, epsilon, n);
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * r * (base + w[i]);
    }
    return r;
}

/* How much of x goes into its own gradient: sum(dy (base + w) x) rstd^2 / n. */
static inline float rms_share(const float *restrict dy, const float *restrict x, float rstd,
                              float base, const float *restrict w, size_t n) {
    float product = 0;
#pragma omp simd reduction(+ : product)
    for (size_t i = 0; i < n; i++) {
        product += dy[i] * (base + w[i]) * x[i];
    }
    return product * rstd * rstd / (float)n;
}

static void rms_backward(float *restrict dx, const float *restrict dy, const float *restrict x,
                         float rstd, float base, const float *restrict w, size_t n) {
    float share = rms_share(dy, x, rstd, base, w, n);
    for (size_t i = 0; i < n; i++) {
        dx[i] += (dy[i] * (base + w[i]) - x[i] * share) * rstd;
    }
}

static void rms_backward_in_place(float *restrict d, const float *restrict x, float rstd,
                                  float base, const float *restrict w, size_t n) {
    float share = rms_share(d, x, rstd, base, w, n);
    for (size_t i = 0; i < n; i++) {
        d[i] = (d[i] * (base + w[i]) - x[i] * share) * rstd;
    }
}

static void rotate(float *restrict a, float *restrict b, const float *restrict cosine,
                   const float *restrict sine, float direction, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float x = a[i], y = b[i], s = sine[i] * direction;
        a[i] = x * cosine[i] - y * s;
        b[i] = y * cosine[i] + x * s;
    }
}

static void sum_rows(float *restrict sum, const float *restrict x, size_t stride, size_t rows,
                     size_t n) {
    size_t t = 0;
    for (; t + 4 <= rows; t += 4) {
        const float *a = x + t * stride, *b = a + stride, *c = b + stride, *d = c + stride;
        for (size_t i = 0; i < n; i++) {
            sum[i] += (a[i] + b[i]) + (c[i] + d[i]);
        }
    }
    for (; t < rows; t++) {
        for (size_t i = 0; i < n; i++) {
            sum[i] += x[t * stride + i];
        }
    }
}

static float row_max(const float *x, size_t n) {
    enum { LANES = 16 };
    float lane[LANES], largest = -INFINITY;
    size_t i = 0;
    if (n >= LANES) {
        memcpy(lane, x, sizeof lane);
        for (i = LANES; i + LANES <= n; i += LANES) {
            for (size_t l = 0; l < LANES; l++) {
                lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
            }
        }
        for (size_t l = 0; l < LANES; l++) {
            largest = lane[l] > largest ? lane[l] : largest;
        }
    }
    for (; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    return largest;
}

static float row_exp(float *y, const float *x, float shift, size_t n) {
    Vector sum = {0};
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector e = vector_exp(load_some(x + i, n - i) - shift);
        store_some(y + i, e, n - i);
        sum += n - i >= VECTOR ? e : only(lanes() < (int32_t)(n - i), e);
    }
    return sum_of_lanes(sum);
}

static float exp_sum(const float *x, float shift, size_t n, float *weighted) {
    Vector sum = {0}, product = {0};
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector z = load_some(x + i, n - i) - shift;
        Vector e = vector_exp(z);
        e = n - i >= VECTOR ? e : only(lanes() < (int32_t)(n - i), e);
        sum += e;
        product += e * z;
    }
    *weighted = sum_of_lanes(product);
    return sum_of_lanes(sum);
}

static void logits_backward(float *restrict x, float lse, float a, float b, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector logp = load_some(x + i, n - i) - lse;
        store_some(x + i, -vector_exp(logp) * (a + b * logp), n - i);
    }
}

static double sum_of_squares(const float *x, size_t n) {
    enum { LANES = 16 };
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lane[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    double sum = 0;
    for (size_t l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

static void adam(float *restrict w, float *restrict m, float *restrict v, float *restrict g,
                 const AdamStep *step, size_t n) {
    const AdamStep s = *step;
    for (size_t i = 0; i < n; i++) {
        float slope = g[i] * s.scale;
        float mean = m[i] + (1 - s.beta1) * (slope - m[i]);
        float square = s.beta2 * v[i] + (1 - s.beta2) * slope * slope;
        m[i] = mean;
        v[i] = square;
        w[i] = s.keep * w[i] - s.rate * mean / (sqrtf(square) * s.root + s.epsilon);
        g[i] = 0;
    }
}

enum { BLOCKS = 8 }; /* of Philox, side by side */

/* Eight Philox blocks side by side; out[j][l] is word j of block first + l. */
static inline void philox_lanes(const DropoutRow *row, uint32_t first, uint32_t out[4][BLOCKS]) {
    for (uint32_t l = 0; l < BLOCKS; l++) {
        out[0][l] = row->word[0] + first + l;
        out[1][l] = row->word[1];
        out[2][l] = row->word[2];
        out[3][l] = row->word[3];
    }
    uint32_t k0 = row->key[0], k1 = row->key[1];
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < BLOCKS; l++) {
            uint64_t a = (uint64_t)out[0][l] * 0xD2511F53u;
            uint64_t b = (uint64_t)out[2][l] * 0xCD9E8D57u;
            uint32_t y0 = (uint32_t)(b >> 32) ^ out[1][l] ^ k0;
            uint32_t y2 = (uint32_t)(a >> 32) ^ out[3][l] ^ k1;
            out[1][l] = (uint32_t)b;
            out[3][l] = (uint32_t)a;
            out[0][l] = y0;
            out[2][l] = y2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void dropout(float *y, const float *x, const DropoutRow *row, uint32_t threshold,
                    float scale, size_t n) {
    uint32_t random[4][BLOCKS];
    for (size_t i = 0; i < n; i += 4 * BLOCKS) {
        philox_lanes(row, (uint32_t)(i / 4), random);
        const uint32_t *flat = &random[0][0];
        size_t m = n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS;
#pragma omp simd
        for (size_t j = 0; j < m; j++) {
            float kept = x[i + j] * scale;
            y[i + j] = flat[j] >= threshold ? kept : 0.0f;
        }
    }
}

static void widen_bf16(float *restrict y, const uint16_t *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = bf16_value(x[i]);
    }
}

static void widen_codes(float *restrict y, const int8_t *restrict code,
                        const uint16_t *restrict scale, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)code[i] * bf16_value(scale[i]);
    }
}

static inline void widen_block(float *restrict y, const int8_t *restrict code, uint16_t scale,
                               size_t n) {
    float factor = bf16_value(scale);
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)code[i] * factor;
    }
}

static void widen_blocks(float *restrict y, const CompactBlock *restrict block, size_t first,
                         size_t n) {
    size_t part = first == 0 ? 0 : n < COMPACT_BLOCK - first ? n : COMPACT_BLOCK - first;
    if (part > 0) {
        widen_block(y, block->code + first, block->scale, part);
        block++;
    }
    for (size_t i = part; i < n; i += COMPACT_BLOCK, block++) {
        if (n - i >= COMPACT_BLOCK) {
            widen_block(y + i, block->code, block->scale, COMPACT_BLOCK);
        } else {
            widen_block(y + i, block->code, block->scale, n - i);
        }
    }
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
extern const RowKernels ROWS;
const RowKernels ROWS = {
    .name = TEXT(ROWS),
    .add = add,
    .bias_residual = bias_residual,
    .axpy = axpy,
    .scale = scale_row,
    .bias_activation = bias_activation,
    .activation = activation,
    .activation_both = activation_both,
    .gated = row_gated,
    .gated_backward = row_gated_backward,
    .norm = norm,
    .norm_backward = norm_backward,
    .norm_parameters = norm_parameters,
    .rms_norm = rms_norm,
    .rms = rms,
    .rms_backward = rms_backward,
    .rms_backward_in_place = rms_backward_in_place,
    .rotate = rotate,
    .sum_rows = sum_rows,
    .max = row_max,
    .exp = row_exp,
    .exp_sum = exp_sum,
    .logits_backward = logits_backward,
    .sum_of_squares = sum_of_squares,
    .adam = adam,
    .dropout = dropout,
    .widen_bf16 = widen_bf16,
    .widen_codes = widen_codes,
    .widen_blocks = widen_blocks,
};
