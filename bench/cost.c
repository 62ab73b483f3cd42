/* SPDX-License-Identifier: MIT */
#include "bench/cost.h"

#include "common/model/family.h"

/* Keys that the rows of a layer see, together. */
static double keys_seen(const ModelConfig *config, const Batch *batch, size_t layer) {
    size_t window = config_window(config, layer);
    double keys = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t n = batch_length(batch, s), before = batch_first_position(batch, s);
        for (size_t t = 0; t < n; t++) {
            size_t behind = before + t + 1;
            size_t ahead = config->family->block.bidirectional ? n - t - 1 : 0;
            size_t most = window == 0 ? SIZE_MAX : window;
            keys +=
                (double)(behind < most ? behind : most) + (double)(ahead < most ? ahead : most - 1);
        }
    }
    return keys;
}

double cost_forward(const ModelConfig *config, const Batch *batch) {
    double width = (double)config->width, tokens = (double)batch->tokens, targets = 0, sum = 0;
    double query = (double)config_query_width(config), inner = (double)config->inner;
    double first = width * (double)config_qkv_width(config);
    double rest = query * width + (config->family->block.gated ? 3 : 2) * width * inner;
    for (size_t t = 0; t < batch->tokens; t++) {
        targets += batch->target[t] != BATCH_NO_TARGET;
    }
    double read = config->head == HEAD_LM || batch->only_targets ? targets : tokens;
    for (size_t layer = 0; layer < config->layers; layer++) {
        bool last = layer + 1 == config->layers;
        sum += 2 * (tokens * first + (last ? read : tokens) * rest) +
               4 * query * keys_seen(config, batch, layer);
    }
    return sum + 2 * targets * width * (double)config->vocabulary;
}

double cost_adamw_bytes(size_t weights) {
    return 28 * (double)weights;
}

double cost_training_bytes(const ModelConfig *config, size_t weights, size_t tokens,
                           bool recompute) {
    double width = (double)config->width, layers = (double)config->layers;
    double block = 2 * width + (double)config_qkv_width(config) +
                   (double)config_query_width(config) +
                   (config->family->block.gated ? 2 : 1) * (double)config->inner;
    double kept = width + (recompute ? layers * width + block : layers * block);
    return 4 * (4 * (double)weights + (double)tokens * kept);
}
