/* SPDX-License-Identifier: MIT
 *
 * Activations between linear layers.
 */
#ifndef RLHF_KERNELS_ACTIVATION_H
#define RLHF_KERNELS_ACTIVATION_H

typedef enum ActivationKind {
    ACTIVATION_GELU_NEW, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    ACTIVATION_GELU,     /* x/2 (1 + erf(x / sqrt(2))) (Hendrycks & Gimpel 2016) */
    ACTIVATION_SILU,     /* x sigmoid(x) */
    ACTIVATION_RELU,
    ACTIVATION_TANH,
} ActivationKind;

#endif
