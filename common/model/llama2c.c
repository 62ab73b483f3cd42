/* SPDX-License-Identifier: MIT */
#include "common/model/llama2c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/family.h"
#include "common/model/storage.h"

enum { HEADER = 7, HEADER_BYTES = 28, MAGIC = 0x616b3432 };

bool llama2c_is_file(const char *path) {
    return file_exists(path) && !file_is_folder(path);
}

/* A tensor of the file, which has that of all layers in one piece. */
typedef struct Piece {
    Part part; /* PARTS: tables that nobody reads any more */
    bool pairs;
} Piece;

static const Piece pieces[] = {
    {PART_TOKEN_EMBEDDING,      false},
    {PART_NORM1_WEIGHT,         false},
    {PART_QKV_WEIGHT,           true },
    {PART_K_WEIGHT,             true },
    {PART_V_WEIGHT,             false},
    {PART_ATTENTION_OUT_WEIGHT, false},
    {PART_NORM2_WEIGHT,         false},
    {PART_UP_WEIGHT,            false},
    {PART_DOWN_WEIGHT,          false},
    {PART_GATED_WEIGHT,         false},
    {PART_FINAL_NORM_WEIGHT,    false},
    {PARTS,                     false},
    {PART_LM_HEAD,              false},
};

static const TensorRow *row_of(Part part) {
    const TensorRow *row = family_llama.tensor;
    while (row->part != part) {
        row++;
    }
    return row;
}

/* Floats of one layer's tensor; 0 when the file has none. */
static size_t piece_floats(const ModelConfig *config, Part part) {
    if (part == PARTS) {
        return mem_mul(config->context, config_head_size(config));
    }
    const TensorRow *row = row_of(part);
    return part == PART_LM_HEAD && config->tied ? 0
                                                : mem_mul(family_extent(config, row->shape[0]),
                                                          family_extent(config, row->shape[1]));
}

static size_t piece_layers(const ModelConfig *config, Part part) {
    return part != PARTS && row_of(part)->scope == SCOPE_BLOCK ? config->layers : 1;
}

static size_t file_bytes(const ModelConfig *config) {
    size_t floats = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        floats = mem_add(floats, mem_mul(piece_floats(config, pieces[i].part),
                                         piece_layers(config, pieces[i].part)));
    }
    return mem_add(mem_mul(floats, sizeof(float)), HEADER_BYTES);
}

static bool header_refuse(const char *path, Error *err) {
    return error_at(err, ERROR_DATA, path, 0, 0,
                    "a model folder, or a checkpoint of llama2.c with a header of seven sizes, was "
                    "expected");
}

static bool header_read(ModelConfig *config, const FileMap *map, const char *path, Error *err) {
    int32_t header[HEADER];
    if (map->size < HEADER_BYTES) {
        return header_refuse(path, err);
    }
    memcpy(header, map->data, HEADER_BYTES);
    if (header[0] == MAGIC) {
        return error_at(err, ERROR_DATA, path, 0, 0,
                        "a checkpoint of llama2.c in version %d; version 0 was expected "
                        "(export.py --version 0)",
                        (int)header[1]);
    }
    for (int i = 0; i < HEADER; i++) {
        if (header[i] == INT32_MIN || (i != 5 && header[i] < 1)) {
            return header_refuse(path, err);
        }
    }
    *config = (ModelConfig){
        .family = &family_llama,
        .width = (size_t)header[0],
        .inner = (size_t)header[1],
        .layers = (size_t)header[2],
        .heads = (size_t)header[3],
        .kv_heads = (size_t)header[4],
        .vocabulary = (size_t)abs(header[5]),
        .context = (size_t)header[6],
        .head = HEAD_LM,
        .norm_epsilon = 1e-5f,
    };
    Error why = {0};
    if (config->width % config->heads != 0 || !model_config_check(config, &why)) {
        return error_at(err, ERROR_DATA, path, 0, 0, "not a checkpoint of llama2.c: %s",
                        why.text[0] != '\0' ? why.text : "the heads do not divide the width");
    }
    if (!model_config_complete(config, err)) {
        return false;
    }
    config->norm_epsilon = 1e-5f;
    config->tied = header[5] > 0;
    return model_config_check(config, err);
}

bool llama2c_config_read(ModelConfig *config, const char *path, Error *err) {
    *config = (ModelConfig){0};
    FileMap map;
    if (!file_map(&map, path, err)) {
        return false;
    }
    bool ok = header_read(config, &map, path, err);
    if (ok && map.size != file_bytes(config)) {
        ok = error_at(err, ERROR_DATA, path, 0, 0,
                      "the file has %zu bytes, but its header calls for %zu", map.size,
                      file_bytes(config));
    }
    file_unmap(&map);
    if (!ok) {
        model_config_done(config);
    }
    return ok;
}

/* Dimensions 2i and 2i + 1 of a head, which turn together, become i and i + size / 2. */
static void rows_read(float *out, const unsigned char *data, size_t rows, size_t width, size_t head,
                      bool pairs) {
    for (size_t r = 0; r < rows; r++) {
        size_t d = r % head;
        size_t from = !pairs ? d : d < head / 2 ? 2 * d : 2 * (d - head / 2) + 1;
        memcpy(out + r * width, data + (r - d + from) * width * sizeof(float),
               width * sizeof(float));
    }
}

/* A parameter of n floats. */
static bool parameter_fill(Model *model, size_t i, const Piece *piece, const unsigned char *data,
                           size_t n, const char *path, Error *err) {
    const Parameter *parameter = &model->parameter[i];
    float *values = mem_alloc_aligned(n, sizeof *values, err);
    if (values == NULL) {
        return false;
    }
    rows_read(values, data, parameter->shape[0], n / parameter->shape[0],
              piece->pairs ? config_head_size(&model->config) : 1, piece->pairs);
    size_t k = 0;
    while (k < n && isfinite(values[k])) {
        k++;
    }
    bool ok = k == n ? storage_hold(model, i, values, err)
                     : error_at(err, ERROR_DATA, path, 0, 0,
                                "'%s' holds %s at element %zu of %zu; the checkpoint is spoiled",
                                parameter->name, isnan(values[k]) ? "NaN" : "infinity", k, n);
    free(values);
    return ok;
}

static bool piece_read(Model *model, const Piece *piece, const unsigned char *data,
                       const char *path, Error *err) {
    const ModelConfig *config = &model->config;
    size_t layers = piece_layers(config, piece->part), n = piece_floats(config, piece->part);
    for (size_t layer = 0; layer < layers; layer++, data += n * sizeof(float)) {
        size_t i = family_index(config, piece->part, layer);
        if (i == SIZE_MAX) {
            return true; /* an LM head that the model wanted does not have */
        }
        if (!parameter_fill(model, i, piece, data, n, path, err)) {
            return false;
        }
    }
    return true;
}

bool llama2c_weights_read(Model *model, const char *path, Error *err) {
    const ModelConfig *config = &model->config;
    FileMap map;
    if (!file_map(&map, path, err)) {
        return false;
    }
    bool ok = map.size == file_bytes(config) ||
              error_at(err, ERROR_DATA, path, 0, 0, "the file changed while it was read");
    const unsigned char *data = map.data + HEADER_BYTES;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces && ok; i++) {
        const Piece *piece = &pieces[i];
        ok = piece->part == PARTS || piece_floats(config, piece->part) == 0 ||
             piece_read(model, piece, data, path, err);
        data +=
            sizeof(float) * piece_floats(config, piece->part) * piece_layers(config, piece->part);
    }
    file_unmap(&map);
    return ok;
}
