/* SPDX-License-Identifier: MIT */
#include "common/export/weights.h"

#include <math.h>
#include <string.h>

enum { F16_INFINITY = 0x7c00 };

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

uint16_t half_from_float(float x) {
    uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) {
        return sign | 0x7e00;
    }
    if (magnitude >= 0x477ff000) { /* 65520, half way from the largest to the next one */
        return sign | F16_INFINITY;
    }
    if (magnitude < 0x38800000) { /* 2^-14: subnormal, a multiple of 2^-24 */
        return sign | (uint16_t)lrintf(float_of(magnitude) * 0x1p24f);
    }
    uint32_t odd = magnitude >> 13 & 1;
    return sign | (uint16_t)((magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             mantissa = half & 0x3ff;
    if (exponent == 0) {
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    }
    return float_of(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13);
}

static uint16_t bfloat_from_float(float x) {
    uint32_t bits = bits_of(x);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static bool encode_halves(const float *in, size_t n, unsigned char *out, const char *name,
                          Error *err) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half = half_from_float(in[i]);
        if ((half & 0x7fff) >= F16_INFINITY) {
            return error_set(err, ERROR_DATA,
                             "'%s' holds %g, beyond F16's largest number 65504; choose bf16 or f32",
                             name, (double)in[i]);
        }
        memcpy(out + 2 * i, &half, sizeof half);
    }
    return true;
}

static bool encode_bfloats(const float *in, size_t n, unsigned char *out, const char *name,
                           Error *err) {
    for (size_t i = 0; i < n; i++) {
        uint16_t value = bfloat_from_float(in[i]);
        if ((value & 0x7fff) >= 0x7f80) {
            return error_set(err, ERROR_DATA,
                             "'%s' holds %g, beyond BF16's largest number; choose f32", name,
                             (double)in[i]);
        }
        memcpy(out + 2 * i, &value, sizeof value);
    }
    return true;
}

static bool encode_blocks(const float *in, size_t n, unsigned char *out, const char *name,
                          Error *err) {
    CHECK(n % Q8_0_BLOCK == 0);
    for (size_t b = 0; b < n; b += Q8_0_BLOCK, out += Q8_0_BYTES) {
        float largest = 0.0f;
        for (size_t i = 0; i < Q8_0_BLOCK; i++) {
            float magnitude = fabsf(in[b + i]);
            largest = magnitude > largest ? magnitude : largest;
        }
        float scale = largest / 127.0f, inverse = 1.0f / scale;
        inverse = isfinite(inverse) ? inverse : 0.0f; /* a scale of 0, or next to it */
        uint16_t half = half_from_float(scale);
        if (half >= F16_INFINITY) {
            return error_set(err, ERROR_DATA,
                             "'%s' holds a block of weights up to %g, whose scale F16 cannot hold; "
                             "choose bf16 or f32",
                             name, (double)largest);
        }
        memcpy(out, &half, sizeof half);
        for (size_t i = 0; i < Q8_0_BLOCK; i++) {
            out[sizeof half + i] = (unsigned char)(int8_t)roundf(in[b + i] * inverse);
        }
    }
    return true;
}

bool weights_encode(GgmlType type, const float *in, size_t n, void *out, const char *name,
                    Error *err) {
    switch (type) {
    case GGML_F32:
        memcpy(out, in, n * sizeof *in);
        return true;
    case GGML_F16:
        return encode_halves(in, n, out, name, err);
    case GGML_BF16:
        return encode_bfloats(in, n, out, name, err);
    case GGML_Q8_0:
        return encode_blocks(in, n, out, name, err);
    }
    return false;
}

static void decode_blocks(const unsigned char *in, size_t n, float *out) {
    for (size_t b = 0; b < n; b += Q8_0_BLOCK, in += Q8_0_BYTES) {
        uint16_t half;
        memcpy(&half, in, sizeof half);
        float scale = half_to_float(half);
        for (size_t i = 0; i < Q8_0_BLOCK; i++) {
            out[b + i] = scale * (float)(int8_t)in[sizeof half + i];
        }
    }
}

void weights_decode(GgmlType type, const void *in, size_t n, float *out) {
    const unsigned char *bytes = in;
    if (type == GGML_F32) {
        memcpy(out, in, n * sizeof *out);
    } else if (type == GGML_Q8_0) {
        decode_blocks(bytes, n, out);
    } else {
        for (size_t i = 0; i < n; i++) {
            uint16_t value;
            memcpy(&value, bytes + 2 * i, sizeof value);
            out[i] = type == GGML_F16 ? half_to_float(value) : float_of((uint32_t)value << 16);
        }
    }
}
