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

bool storage_hold(Model *model, size_t i, const float *values, Error *err) {
    Parameter *parameter = &model->parameter[i];
    if (parameter->held == COMPACT_NONE) {
        memcpy(parameter_data(model, parameter), values, parameter->count * sizeof *values);
        return true;
    }
    const CompactMatrix matrix = parameter_compact(model, parameter);
    size_t refused = compact_refused(matrix.type, values, parameter->count);
    if (refused < parameter->count) {
        return error_set(
            err, ERROR_DATA,
            "'%s' holds %g, beyond BF16's largest number; hold the base as f32 or int8",
            parameter->name, (double)values[refused]);
    }
    compact_write(&matrix, values);
    hash_hex(values, parameter->count * sizeof *values, parameter->digest);
    return true;
}

void storage_digest(const Model *model, size_t i, char out[HASH_TEXT]) {
    const Parameter *parameter = &model->parameter[i];
    if (parameter->held == COMPACT_NONE) {
        hash_hex(parameter_data(model, parameter), parameter->count * sizeof(float), out);
    } else {
        memcpy(out, parameter->digest, HASH_TEXT);
    }
}

void parameter_read(const Model *model, const Parameter *parameter, float *out) {
    if (parameter->held == COMPACT_NONE) {
        memcpy(out, parameter_data(model, parameter), parameter->count * sizeof *out);
    } else {
        const CompactMatrix matrix = parameter_compact(model, parameter);
        compact_read(&matrix, 0, matrix.rows, 0, matrix.columns, out, matrix.columns);
    }
}
