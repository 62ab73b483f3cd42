/* SPDX-License-Identifier: MIT */
#include "common/model/storage.h"

#include <string.h>

/* Row r of a fused Q | K | V in memory is this row of a file that holds it head by head. */
static size_t row_by_head(const ModelConfig *config, size_t r) {
    size_t size = config_head_size(config), width = config->heads * size;
    size_t part = r / width, head = r % width / size;
    return (head * 3 + part) * size + r % size;
}

static size_t stored_row(const ModelConfig *config, const TensorRow *row, size_t r) {
    return row->storage == STORED_BY_HEAD ? row_by_head(config, r) : r;
}

void storage_to_memory(const ModelConfig *config, const TensorRow *row, float *memory,
                       const float *stored, size_t count) {
    size_t rows = family_extent(config, row->shape[0]), width = count / rows;
    for (size_t r = 0; r < rows; r++) {
        memcpy(memory + r * width, stored + stored_row(config, row, r) * width,
               width * sizeof(float));
    }
}

void storage_to_file(const ModelConfig *config, const TensorRow *row, float *stored,
                     const float *memory, size_t count) {
    size_t rows = family_extent(config, row->shape[0]), width = count / rows;
    for (size_t r = 0; r < rows; r++) {
        memcpy(stored + stored_row(config, row, r) * width, memory + r * width,
               width * sizeof(float));
    }
}
