/* SPDX-License-Identifier: MIT */
#include "bench/cost.h"

double cost_forward(const ModelConfig *config, const Batch *batch) {
    double width = (double)config->width, keys = 0, targets = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        double n = (double)batch_length(batch, s), before = (double)batch_first_position(batch, s);
        keys += n * (n + 1) / 2 + n * before;
    }
    for (size_t t = 0; t < batch->tokens; t++) {
        targets += batch->target[t] != BATCH_NO_TARGET;
    }
    double linear = 2 * (4 * width * width + 2 * width * (double)config->inner);
    return (double)config->layers * ((double)batch->tokens * linear + 4 * width * keys) +
           2 * targets * width * (double)config->vocabulary;
}

double cost_adamw_bytes(size_t weights) {
    return 28 * (double)weights;
}
