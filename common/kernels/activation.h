/* SPDX-License-Identifier: MIT
 *
 * Activations of feed-forward layers, plain and gated, spread over threads; as ends of products they are in
 * matrix.h.
 */
#ifndef RLHF_KERNELS_ACTIVATION_H
#define RLHF_KERNELS_ACTIVATION_H

#include <stddef.h>

typedef enum ActivationKind {
    ACTIVATION_GELU_NEW, /* x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)): the tanh form (Hendrycks, Gimpel
                            2016) */
    ACTIVATION_GELU,     /* x (1 + erf(x / sqrt(2))) / 2 (the same) */
    ACTIVATION_SILU,     /* x sigmoid(x) (Elfwing et al. 2018) */
    ACTIVATION_RELU,     /* max(x, 0), of slope 0 at 0 */
    ACTIVATION_TANH,
} ActivationKind;

/* y = f(x), all [n]; y may be x. */
void activation_forward(ActivationKind kind, float *y, const float *x, size_t n);
/* dx *= f'(x): the gradient of y becomes that of x. */
void activation_backward(ActivationKind kind, float *dx, const float *x, size_t n);

/* Gated units (Shazeer, "GLU Variants Improve Transformer", 2020). A row of up [rows, 2 inner] is
 * gate | up; y [rows, inner] = f(gate) * up. */
void gated_forward(ActivationKind kind, float *y, const float *up, size_t rows, size_t inner);
/* In: up as above, dy the gradient of y. Out: up holds the gradients of gate | up, dy holds y itself
 * (computed again, for the gradient of the layer that reads it). */
void gated_backward(ActivationKind kind, float *up, float *dy, size_t rows, size_t inner);

#endif
