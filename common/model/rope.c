/* SPDX-License-Identifier: MIT */
#include "common/model/rope.h"

#include <math.h>

static float blended(const Rope *rope, float frequency) {
    const double turn = 6.283185307179586;
    float length = (float)turn / frequency;
    if (length < (float)((double)rope->original / rope->high)) {
        return frequency;
    }
    if (length > (float)((double)rope->original / rope->low)) {
        return frequency / (float)rope->factor;
    }
    float share =
        ((float)rope->original / length - (float)rope->low) / (float)(rope->high - rope->low);
    return (1 - share) * frequency / (float)rope->factor + share * frequency;
}

void rope_frequencies(const Rope *rope, float *frequency) {
    for (size_t i = 0; i < rope->dimensions / 2; i++) {
        float power = (float)(2 * i) / (float)rope->dimensions;
        frequency[i] = 1 / (float)pow((float)rope->theta, power);
        if (rope->scaling == ROPE_LINEAR) {
            frequency[i] /= (float)rope->factor;
        } else if (rope->scaling == ROPE_LLAMA3) {
            frequency[i] = blended(rope, frequency[i]);
        }
    }
}
