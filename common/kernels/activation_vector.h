/* SPDX-License-Identifier: MIT
 *
 * Activations of a vector of floats, for the sources that are compiled once for each instruction set.
 * Most are x times a gate, which their slope needs too.
 */
#ifndef RLHF_KERNELS_ACTIVATION_VECTOR_H
#define RLHF_KERNELS_ACTIVATION_VECTOR_H

#include "common/kernels/activation.h"
#include "common/kernels/vector.h"

/* What an activation and its slope have in common. */
typedef struct Activated {
    Vector gate; /* y / x; of tanh y */
    Vector
        more; /* of ACTIVATION_GELU the density of the normal distribution, of ACTIVATION_SILU 1 - gate */
} Activated;

static const float gelu_outer = 1.5957691216057308f; /* 2 sqrt(2 / pi) */
static const float gelu_cubic = 0.044715f;

/* sigmoid(2 sqrt(2/pi) (v + 0.044715 v^3)) */
static inline Vector gelu_new_gate(Vector v) {
    Vector z = v * (v * v * (-gelu_outer * gelu_cubic) - gelu_outer);
    return 1.0f / (1.0f + vector_exp(vector_min(splat(88.0f), z)));
}

/* The difference from 1 has all its digits, however near to 1 the gate is. */
static inline Activated silu_gate(Vector v) {
    Vector e = vector_exp(vector_min(splat(88.0f), -v));
    Vector gate = 1.0f / (1.0f + e);
    return (Activated){gate, e * gate};
}

/* The normal distribution's Phi(v), of polynomials with the least largest error: 1/2 + v P(v^2) up to 1
 * (error 7e-9); beyond, Phi(-a) = exp(-a^2/2) R(1 / (1 + 0.26 a)) (2e-8 of it). */
static inline Activated gelu_gate(Vector v) {
    Vector square = v * v, a = vector_max(v, -v);
    Vector p = square * 9.246838121765646e-05f - 0.0011653507606855414f;
    p = p * square + 0.009964166815723617f;
    p = p * square - 0.06648872999625562f;
    p = p * square + 0.3989421989826303f;
    Vector t = 1.0f / (a * 0.26f + 1.0f), e = vector_exp(square * -0.5f);
    Vector r = t * 0.030896089300641617f - 0.15474021755785286f;
    r = r * t + 0.25546663182004276f;
    r = r * t - 0.15553593165540183f;
    r = r * t + 0.164152481741401f;
    r = r * t + 0.04964246846962931f;
    r = r * t + 0.10339134505858247f;
    r = r * t + 0.10296493173819704f;
    r = r * t + 0.10376219091112254f;
    Vector tail = e * (r * t), far = where(v < 0, tail, 1.0f - tail);
    return (Activated){where(a < splat(1), v * p + 0.5f, far), e * 0.3989422804014327f};
}

/* Near 0 x + x^3 P(x^2), P with the least largest relative error (4e-9); elsewhere from the exponential. */
static inline Vector vector_tanh(Vector v) {
    Vector z = v * v;
    Vector p = z * -0.005704986770269668f + 0.02063908700399633f;
    p = p * z - 0.053739714995567504f;
    p = p * z + 0.1333144219682255f;
    p = p * z - 0.3333328194194701f;
    Vector a = vector_max(v, -v);
    Vector far = 1.0f - 2.0f / (1.0f + vector_exp(vector_min(splat(88.0f), a + a)));
    return where(a < splat(0.625f), v + v * z * p, where(v < 0, -far, far));
}

/* `kind` is a constant wherever this is called: no code tells kinds apart element by element. */
static inline __attribute__((always_inline)) Activated activated(ActivationKind kind, Vector v) {
    switch (kind) {
    case ACTIVATION_GELU_NEW:
        return (Activated){.gate = gelu_new_gate(v)};
    case ACTIVATION_GELU:
        return gelu_gate(v);
    case ACTIVATION_SILU:
        return silu_gate(v);
    case ACTIVATION_RELU:
        return (Activated){.gate = where(v <= 0, splat(0), splat(1))};
    case ACTIVATION_TANH:
        return (Activated){.gate = vector_tanh(v)};
    }
    __builtin_unreachable();
}

static inline __attribute__((always_inline)) Vector activation_value(ActivationKind kind, Vector v,
                                                                     Activated a) {
    if (kind == ACTIVATION_RELU) {
        return where(v <= 0, splat(0), v); /* a NaN stays */
    }
    return kind == ACTIVATION_TANH ? a.gate : v * a.gate;
}

static inline __attribute__((always_inline)) Vector activation_slope(ActivationKind kind, Vector v,
                                                                     Activated a) {
    Vector gate = a.gate;
    switch (kind) {
    case ACTIVATION_GELU_NEW: {
        Vector slope = v * v * (3.0f * gelu_cubic * gelu_outer) + gelu_outer;
        return gate + v * gate * (1.0f - gate) * slope;
    }
    case ACTIVATION_GELU:
        return gate + v * a.more;
    case ACTIVATION_SILU:
        return gate + v * gate * a.more;
    case ACTIVATION_RELU:
        return gate;
    case ACTIVATION_TANH:
        return 1.0f - gate * gate;
    }
    __builtin_unreachable();
}

#endif
