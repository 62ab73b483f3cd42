/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/str.h"
#include "common/model/adapter_io.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"
#include "common/model/model.h"
#include "common/model/model_files.h"
#include "common/model/model_reader.h"
#include "common/model/storage.h"

const char model_score_file[] = "score.safetensors";

static const char single_file[] = "model.safetensors",
                  index_file[] = "model.safetensors.index.json";

static bool finite_check(const Model *model, const Parameter *parameter, Error *err) {
    const float *data = parameter_data(model, parameter);
    for (size_t i = 0; i < parameter->count; i++) {
        if (!isfinite(data[i])) {
            return error_set(err, ERROR_DIVERGED,
                             "'%s' is not finite at element %zu of %zu; such a model is not saved",
                             parameter->name, i, parameter->count);
        }
    }
    return true;
}

/* Parameter i as the file has it; for the writer. */
static bool make_tensor(const void *context, size_t i, unsigned char *out, TensorType type,
                        Error *err) {
    const ModelReader *reader = context;
    const Model *model = model_reader_model(reader);
    const Parameter *parameter = &model->parameter[i];
    int layer;
    const TensorRow *row = family_row(&model->config, i, &layer);
    bool read = model_reader_buffer(reader) > 0, moved = row->storage != STORED_AS_IS;
    if (read && !moved && type == TENSOR_F32) {
        return model_reader_values(reader, i, (float *)(void *)out, err) != NULL;
    }
    float *buffer = read ? mem_alloc_aligned(parameter->count, sizeof(float), err) : NULL;
    float *stored = moved ? mem_alloc_aligned(parameter->count, sizeof(float), err) : NULL;
    bool ok = (!read || buffer != NULL) && (!moved || stored != NULL);
    const float *values = ok ? model_reader_values(reader, i, buffer, err) : NULL;
    ok = values != NULL;
    if (ok && moved) {
        storage_to_file(&model->config, row, stored, values, parameter->count);
        values = stored;
    }
    ok = ok && tensor_put_floats(type, out, values, parameter->count, parameter->name, err);
    free(stored);
    free(buffer);
    return ok;
}

static bool tensor_add(SafeTensorsWriter *writer, const ModelReader *reader, size_t i,
                       TensorType type, Error *err) {
    const Model *model = model_reader_model(reader);
    const Parameter *parameter = &model->parameter[i];
    int layer;
    bool here = model_reader_buffer(reader) == 0;
    bool as_is = here && type == TENSOR_F32 &&
                 family_row(&model->config, i, &layer)->storage == STORED_AS_IS;
    return (!here || finite_check(model, parameter, err)) &&
           (as_is ? safetensors_writer_add(writer, parameter->name, type, parameter->shape,
                                           parameter->rank, parameter_data(model, parameter), err)
                  : safetensors_writer_add_made(writer, parameter->name, type, parameter->shape,
                                                parameter->rank, make_tensor, reader, i, err));
}

/* Writes the parameters [begin, end) into one file. */
static bool weights_save(const ModelReader *reader, size_t begin, size_t end, TensorType type,
                         const char *folder, const char *name, Error *err) {
    SafeTensorsWriter *writer = safetensors_writer_create(err);
    char *path = writer != NULL ? file_join(folder, name, err) : NULL;
    bool ok = path != NULL;
    for (size_t i = begin; i < end && ok; i++) {
        ok = tensor_add(writer, reader, i, type, err);
    }
    ok = ok && safetensors_writer_commit(writer, path, NULL, err);
    free(path);
    safetensors_writer_free(writer);
    return ok;
}

static size_t tensor_bytes(const Model *model, size_t i, TensorType type) {
    return mem_mul(model->parameter[i].count, tensor_type_bytes(type));
}

/* The end of the shard that begins at parameter `begin`: as many as fit, at least one. */
static size_t shard_end(const Model *model, size_t begin, size_t parameters, TensorType type,
                        size_t limit) {
    size_t end = begin, bytes = 0;
    while (end < parameters &&
           (end == begin || mem_add(bytes, tensor_bytes(model, end, type)) <= limit)) {
        bytes = mem_add(bytes, tensor_bytes(model, end++, type));
    }
    return end;
}

typedef struct Shards {
    size_t count;
    cJSON *map; /* tensor: file */
    size_t bytes;
} Shards;

static void shard_name(size_t shard, size_t shards, char out[64]) {
    snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
}

static bool shard_write(const ModelReader *reader, size_t begin, size_t end, TensorType type,
                        const char *folder, const char *name, Shards *shards, Error *err) {
    const Model *model = model_reader_model(reader);
    for (size_t i = begin; i < end; i++) {
        shards->bytes = mem_add(shards->bytes, tensor_bytes(model, i, type));
        if (!cJSON_AddStringToObject(shards->map, model->parameter[i].name, name)) {
            return error_set(err, ERROR_OS, "out of memory writing the index of the weights");
        }
    }
    return weights_save(reader, begin, end, type, folder, name, err);
}

/* The index comes last: with it the folder is whole. */
static bool index_write(const Shards *shards, const char *folder, Error *err) {
    Str text = {0};
    str_appendf(&text, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n  \"weight_map\": ",
                shards->bytes);
    json_put_tree(&text, shards->map, false);
    str_append(&text, "\n}\n");
    char *path = file_join(folder, index_file, err);
    bool ok = path != NULL && str_ok(&text, err) && file_write(path, text.data, text.size, err);
    free(path);
    str_done(&text);
    return ok;
}

/* A single file beside an index would be read instead of it. */
static bool remove_single(const char *folder, Error *err) {
    char *path = file_join(folder, single_file, err);
    bool ok = path != NULL && file_remove_tree(path, err);
    free(path);
    return ok;
}

static bool shards_save(const ModelReader *reader, size_t parameters, TensorType type, size_t limit,
                        const char *folder, Error *err) {
    const Model *model = model_reader_model(reader);
    Shards shards = {.map = cJSON_CreateObject()};
    bool ok = shards.map != NULL ||
              error_set(err, ERROR_OS, "out of memory writing the index of the weights");
    for (size_t at = 0; at < parameters; at = shard_end(model, at, parameters, type, limit)) {
        shards.count++;
    }
    size_t begin = 0;
    ok = ok && remove_single(folder, err);
    for (size_t shard = 0; shard < shards.count && ok; shard++) {
        char name[64];
        size_t end = shard_end(model, begin, parameters, type, limit);
        shard_name(shard, shards.count, name);
        ok = shard_write(reader, begin, end, type, folder, name, &shards, err);
        begin = end;
    }
    ok = ok && index_write(&shards, folder, err);
    cJSON_Delete(shards.map);
    return ok;
}

/* Heads come last in the layout, and the score head last of all. */
static size_t score_head_begin(const Model *model) {
    size_t i = model->parameters;
    int layer;
    while (family_row(&model->config, i - 1, &layer)->scope == SCOPE_SCORE_HEAD) {
        i--;
    }
    return i;
}

bool model_reader_save(const ModelReader *reader, const char *folder, TensorType type,
                       size_t max_shard_bytes, Error *err) {
    const Model *model = model_reader_model(reader);
    CHECK(type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16);
    CHECK(model->config.adapter.rank == 0);
    size_t parameters = model->parameters;
    if (model->config.head == HEAD_BOTH && !config_heads_together(&model->config)) {
        parameters = score_head_begin(model);
        if (!weights_save(reader, parameters, model->parameters, type, folder, model_score_file,
                          err)) {
            return false;
        }
    }
    bool one = max_shard_bytes == 0 ||
               shard_end(model, 0, parameters, type, max_shard_bytes) == parameters;
    const char *dtype = type == TENSOR_F32   ? "float32"
                        : type == TENSOR_F16 ? "float16"
                                             : "bfloat16";
    return (one ? weights_save(reader, 0, parameters, type, folder, single_file, err)
                : shards_save(reader, parameters, type, max_shard_bytes, folder, err)) &&
           config_write_as(&model->config, folder, dtype, err);
}

bool model_save_as(const Model *model, const char *folder, TensorType type, size_t max_shard_bytes,
                   Error *err) {
    ModelReader *reader = model_reader_of(model, err);
    bool ok = reader != NULL && model_reader_save(reader, folder, type, max_shard_bytes, err);
    model_reader_close(reader);
    return ok;
}

bool model_save(const Model *model, const char *folder, Error *err) {
    return model->config.adapter.rank > 0 ? adapter_save(model, folder, err)
                                          : model_save_as(model, folder, TENSOR_F32, 0, err);
}
