/* SPDX-License-Identifier: MIT
 *
 * Compiled several times; ROWS names the table that this compilation defines.
 */
#include "common/kernels/rows.h"

#include <math.h>
#include <string.h>

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

static const float gelu_outer = 1.5957691216057308f; /* 2 sqrt(2 / pi) */
static const float gelu_cubic = 0.044715f;

/* sigmoid(2 sqrt(2/pi) (v + 0.044715 v^3)): gelu(v) = v times it. */
static inline Vector gelu_gate(Vector v) {
    Vector z = v * (v * v * (-gelu_outer * gelu_cubic) - gelu_outer);
    return 1.0f / (1.0f + vector_exp(vector_min(splat(88.0f), z)));
}

/* gelu'(v), from its gate */
static inline Vector gelu_slope(Vector v, Vector gate) {
    Vector slope = v * v * (3.0f * gelu_cubic * gelu_outer) + gelu_outer;
    return gate + v * gate * (1.0f - gate) * slope;
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

static void bias_gelu(float *restrict x, float *restrict y, const float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i) + load_some(b + i, n - i);
        store_some(x + i, v, n - i);
        store_some(y + i, v * gelu_gate(v), n - i);
    }
}

static void bias_gelu_only(float *restrict x, const float *restrict b, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i) + load_some(b + i, n - i);
        store_some(x + i, v * gelu_gate(v), n - i);
    }
}

static void gelu_both(float *restrict d, float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += VECTOR) {
        Vector v = load_some(x + i, n - i), gate = gelu_gate(v);
        store_some(d + i, load_some(d + i, n - i) * gelu_slope(v, gate), n - i);
        store_some(y + i, v * gate, n - i);
    }
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
    for (size_t i = 0; i < n; i++) {
        y[i] = (x[i] - m) * r * w[i] + b[i];
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

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
extern const RowKernels ROWS;
const RowKernels ROWS = {
    .name = TEXT(ROWS),
    .add = add,
    .bias_residual = bias_residual,
    .axpy = axpy,
    .scale = scale_row,
    .bias_gelu = bias_gelu,
    .bias_gelu_only = bias_gelu_only,
    .gelu_both = gelu_both,
    .norm = norm,
    .norm_backward = norm_backward,
    .norm_parameters = norm_parameters,
    .sum_rows = sum_rows,
    .max = row_max,
    .exp = row_exp,
    .exp_sum = exp_sum,
    .logits_backward = logits_backward,
    .sum_of_squares = sum_of_squares,
    .adam = adam,
    .dropout = dropout,
};
