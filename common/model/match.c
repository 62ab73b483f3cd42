/* SPDX-License-Identifier: MIT */
#include "common/model/match.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/model/family.h"
#include "common/model/model_files.h"
#include "common/model/storage.h"
#include "common/model/tensor_names.h"

static bool shape_check(const SafeTensors *file, const Tensor *tensor, const size_t *shape,
                        int rank, Error *err) {
    return safetensors_check_shape(file, tensor, shape, rank, "config.json calls", err);
}

/* The score head's tensors; in a family's order they come last. */
static bool in_score_head(const Model *model, size_t i) {
    int layer;
    const TensorRow *row = family_row(&model->config, i, &layer);
    return row != NULL && row->scope == SCOPE_SCORE_HEAD;
}

static bool parameter_match(Match *match, const SafeTensors *file, const Tensor *tensor, size_t i,
                            Error *err) {
    const Parameter *parameter = &match->model->parameter[i];
    if (match->source[i].tensor != NULL) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s' is there twice, also as '%s' in %s", tensor->name,
                        match->source[i].tensor->name, match->source[i].file->path);
    }
    match->source[i] = (Source){file, tensor};
    return shape_check(file, tensor, parameter->shape, parameter->rank, err);
}

static bool duplicate_match(Match *match, const SafeTensors *file, const Tensor *tensor, size_t i,
                            Error *err) {
    const Parameter *parameter = &match->model->parameter[i];
    if (match->duplicates == sizeof match->duplicate / sizeof *match->duplicate) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s' is there again under several names", tensor->name);
    }
    match->duplicate[match->duplicates] = (Source){file, tensor};
    match->original[match->duplicates++] = i;
    return shape_check(file, tensor, parameter->shape, parameter->rank, err);
}

/* What is there under another name only is no duplicate. */
static void duplicates_settle(Match *match) {
    size_t kept = 0;
    for (size_t k = 0; k < match->duplicates; k++) {
        Source *source = &match->source[match->original[k]];
        if (source->tensor == NULL) {
            *source = match->duplicate[k];
        } else {
            match->duplicate[kept] = match->duplicate[k];
            match->original[kept++] = match->original[k];
        }
    }
    match->duplicates = kept;
}

static bool tensor_match(Match *match, const SafeTensors *file, const Tensor *tensor, Error *err) {
    const ModelConfig *config = &match->model->config;
    size_t i;
    switch (tensor_name_find(match->model, tensor->name, &i)) {
    case NAME_PARAMETER:
        return parameter_match(match, file, tensor, i, err);
    case NAME_DUPLICATE:
        return duplicate_match(match, file, tensor, i, err);
    case NAME_BUFFER:
        return true;
    case NAME_LM_HEAD:
        if (match->had != HEAD_SCORES || config->tied) {
            return true;
        }
        break;
    case NAME_SCORE_HEAD:
        if (config->head == HEAD_LM || match->had == HEAD_BOTH) {
            return true;
        }
        break;
    case NAME_SCORE_BIAS:
        if (config->head == HEAD_LM) {
            return true;
        }
        match->bias = (Source){file, tensor};
        return shape_check(file, tensor, &config->labels, 1, err);
    case NAME_QUANTIZED:
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s' belongs to a quantized weight, which is not read; take the "
                        "model in F32, F16 or BF16",
                        tensor->name);
    case NAME_UNKNOWN:
        break;
    }
    return error_at(err, ERROR_DATA, file->path, 0, 0,
                    "tensor '%s' is none of a '%s' with this configuration", tensor->name,
                    config->family->name);
}

static bool files_match(Match *match, const WeightFiles *files, Error *err) {
    for (size_t f = 0; f < files->files; f++) {
        for (size_t t = 0; t < files->file[f].tensors; t++) {
            if (!tensor_match(match, &files->file[f], &files->file[f].tensor[t], err)) {
                return false;
            }
        }
    }
    return true;
}

/* Every parameter but a fresh score head must have been found. */
static bool complete_check(const Match *match, const char *folder, Error *err) {
    const Model *model = match->model;
    size_t missing = 0, first = 0;
    for (size_t i = model->parameters; i-- > 0;) {
        if (match->source[i].tensor == NULL && !(match->fresh && in_score_head(model, i))) {
            missing++;
            first = i;
        }
    }
    return missing == 0 ||
           error_at(
               err, ERROR_DATA, folder, 0, 0,
               "%zu of %zu tensors are missing, the first is '%s' (also looked for without '%s')",
               missing, model->parameters, model->parameter[first].name,
               model->config.family->trunk);
}

/* Opens the score head that lies apart, if the folder has one. */
static bool score_file_open(Match *match, const char *folder, Error *err) {
    char *path = file_join(folder, model_score_file, err);
    bool ok = path != NULL;
    if (ok && match->model->config.head == HEAD_BOTH && file_exists(path)) {
        ok = weight_files_open(&match->apart, folder, model_score_file, err) &&
             files_match(match, &match->apart, err);
    }
    free(path);
    return ok;
}

void match_close(Match *match) {
    weight_files_close(&match->files);
    weight_files_close(&match->apart);
    free(match->source);
}

bool match_open(Match *match, const char *folder, Error *err) {
    size_t score = family_index(&match->model->config, PART_SCORE, 0);
    match->source = mem_alloc(match->model->parameters, sizeof(Source), err);
    if (match->source == NULL || !weight_files_find(&match->files, folder, err) ||
        !files_match(match, &match->files, err) || !score_file_open(match, folder, err)) {
        return false;
    }
    duplicates_settle(match);
    match->fresh = match->fresh && match->source[score].tensor == NULL;
    return complete_check(match, folder, err);
}

bool match_read(const Match *match, size_t i, float *out, Error *err) {
    const Source *source = &match->source[i];
    const ModelConfig *config = &match->model->config;
    size_t count = match->model->parameter[i].count;
    int layer;
    const TensorRow *row = family_row(config, i, &layer);
    if (row->storage == STORED_AS_IS) {
        return safetensors_read_floats(source->file, source->tensor, out, count, false, err);
    }
    float *stored = mem_alloc_aligned(count, sizeof(float), err);
    bool ok = stored != NULL &&
              safetensors_read_floats(source->file, source->tensor, stored, count, false, err);
    if (ok) {
        storage_to_memory(config, row, out, stored, count);
    }
    free(stored);
    return ok;
}

static bool source_hash(const Source *source, char hash[HASH_TEXT], Error *err) {
    size_t count = source->tensor->count;
    float *values = mem_alloc_aligned(count, sizeof(float), err);
    bool ok = values != NULL &&
              safetensors_read_floats(source->file, source->tensor, values, count, false, err);
    if (ok) {
        hash_hex(values, count * sizeof(float), hash);
    }
    free(values);
    return ok;
}

static bool duplicate_check(const Match *match, size_t k, bool filled, Error *err) {
    const Source *copy = &match->duplicate[k];
    size_t i = match->original[k];
    char ours[HASH_TEXT], theirs[HASH_TEXT];
    if (filled) {
        storage_digest(match->model, i, ours);
    } else if (!source_hash(&match->source[i], ours, err)) {
        return false;
    }
    return source_hash(copy, theirs, err) &&
           (strcmp(ours, theirs) == 0 ||
            error_at(err, ERROR_DATA, copy->file->path, 0, 0,
                     "tensor '%s' differs from '%s', but config.json ties the two; set "
                     "tie_word_embeddings to false if the file is right",
                     copy->tensor->name, match->model->parameter[i].name));
}

/* The bias of a head that has none in its family is the reward bias. */
static bool bias_read(const Match *match, Error *err) {
    const Source *bias = &match->bias;
    ModelConfig *config = &match->model->config;
    float value = 0.0f;
    if (bias->tensor == NULL) {
        return true;
    }
    if (config->labels != 1) {
        return error_at(
            err, ERROR_DATA, bias->file->path, 0, 0,
            "tensor '%s' is a bias of %zu labels; a '%s' has one only for a single score",
            bias->tensor->name, config->labels, config->family->name);
    }
    if (!safetensors_read_floats(bias->file, bias->tensor, &value, 1, false, err)) {
        return false;
    }
    if (config->head == HEAD_BOTH && value != 0.0f) {
        return error_at(
            err, ERROR_DATA, bias->file->path, 0, 0,
            "tensor '%s' is %g; a value head on the policy's own trunk has no bias here: "
            "read the folder as a critic of its own",
            bias->tensor->name, (double)value);
    }
    config->reward_bias = value;
    return true;
}

bool match_rest(const Match *match, bool filled, Error *err) {
    for (size_t k = 0; k < match->duplicates; k++) {
        if (!duplicate_check(match, k, filled, err)) {
            return false;
        }
    }
    cJSON_DeleteItemFromObjectCaseSensitive(match->model->config.json, "value_head_prefix");
    return bias_read(match, err);
}
