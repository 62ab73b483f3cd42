/* SPDX-License-Identifier: MIT
 *
 * Weights in the types that files hold them in, and back. Rounding is to nearest, ties to even (IEEE
 * 754), where a type is floating-point.
 *
 * Q8_0 (ggml): blocks of 32 weights, an F16 scale d = max |x| / 127 and 32 signed bytes
 * q = round(x / d), halves away from zero, x / d being x times the float reciprocal of the d that is
 * not yet rounded to F16. A weight comes back within d / 2 + 127 |d - F16(d)|, that is within
 * max |x| (1 / 254 + 2^-11) of what it was, where d is a normal F16 number.
 */
#ifndef RLHF_EXPORT_WEIGHTS_H
#define RLHF_EXPORT_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/export/gguf.h"

enum { Q8_0_BLOCK = 32, Q8_0_BYTES = 34 };

/* The nearest F16 value's bits; infinity where it is beyond 65504. And its value. */
uint16_t half_from_float(float x);
float half_to_float(uint16_t bits);

/* n weights (a multiple of the type's block) to `out`. A weight, or a block's scale, that F16 cannot
 * hold is ERROR_DATA with `name`; the weights are finite. */
bool weights_encode(GgmlType type, const float *in, size_t n, void *out, const char *name,
                    Error *err);
/* The other way. */
void weights_decode(GgmlType type, const void *in, size_t n, float *out);

#endif
