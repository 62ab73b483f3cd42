/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/str.h"
#include "common/model/adapter.h"
#include "common/model/adapter_io.h"
#include "common/model/family.h"
#include "common/model/llama2c.h"
#include "common/model/model_files.h"
#include "common/model/model_reader.h"
#include "common/model/parameters.h"
#include "common/model/storage.h"
#include "common/model/tensor_names.h"
#include "common/model/weight_files.h"

/* A tensor of the folder that fills a parameter. */
typedef struct Source {
    const SafeTensors *file;
    const Tensor *tensor;
} Source;

/* What the folder holds, seen from the model that is wanted. */
typedef struct Match {
    Model *model;
    Source *source;      /* [parameters]; tensor NULL: not found */
    Source duplicate[2]; /* of what is there under another name: a tied head, a head's bias */
    size_t original[2];  /* the parameters that they are equal to */
    size_t duplicates;
    Source bias;              /* of a score head whose family has none */
    WeightFiles files, apart; /* apart: a score head */
    HeadKind had;             /* the folder's head; tensors of one that the model lacks are left */
    bool fresh;               /* the score head may be absent */
} Match;

static void shape_append(Str *out, const size_t *shape, int rank) {
    str_append_char(out, '[');
    for (int d = 0; d < rank; d++) {
        str_appendf(out, "%s%zu", d > 0 ? ", " : "", shape[d]);
    }
    str_append_char(out, ']');
}

static bool shape_check(const SafeTensors *file, const Tensor *tensor, const size_t *shape,
                        int rank, Error *err) {
    bool same = tensor->rank == rank;
    for (int d = 0; d < rank && same; d++) {
        same = tensor->shape[d] == shape[d];
    }
    if (!same) {
        Str found = {0}, expected = {0};
        shape_append(&found, tensor->shape, tensor->rank);
        shape_append(&expected, shape, rank);
        error_at(err, ERROR_DATA, file->path, 0, 0,
                 "tensor '%s' has the shape %s, but config.json calls for %s", tensor->name,
                 str_text(&found), str_text(&expected));
        str_done(&found);
        str_done(&expected);
    }
    return same;
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
    for (size_t k = 0; k < match->duplicates; k++) {
        Source *source = &match->source[match->original[k]];
        if (source->tensor == NULL) {
            *source = match->duplicate[k];
        }
    }
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

static bool duplicate_refuse(const Match *match, size_t k, Error *err) {
    const Source *copy = &match->duplicate[k];
    return error_at(err, ERROR_DATA, copy->file->path, 0, 0,
                    "tensor '%s' differs from '%s', but config.json ties the two; set "
                    "tie_word_embeddings to false if the file is right",
                    copy->tensor->name, match->model->parameter[match->original[k]].name);
}

/* A tied LM head that is stored beside the embedding, and the like, must be equal to the original. */
static bool duplicate_check(const Match *match, size_t k, Error *err) {
    const Source *copy = &match->duplicate[k];
    const Parameter *original = &match->model->parameter[match->original[k]];
    float *values = mem_alloc_aligned(original->count, sizeof(float), err);
    bool ok = values != NULL && safetensors_read_floats(copy->file, copy->tensor, values,
                                                        original->count, false, err);
    char ours[HASH_TEXT], theirs[HASH_TEXT];
    if (ok) {
        hash_hex(values, original->count * sizeof(float), theirs);
        storage_digest(match->model, match->original[k], ours);
    }
    if (ok && strcmp(ours, theirs) != 0) {
        ok = duplicate_refuse(match, k, err);
    }
    free(values);
    return ok;
}

/* The values of parameter i, in the order of memory. */
static bool source_read(const Match *match, size_t i, float *out, Error *err) {
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

static bool tensor_read(const Match *match, size_t i, Error *err) {
    Model *model = match->model;
    const Parameter *parameter = &model->parameter[i];
    if (parameter->held == COMPACT_NONE) {
        return source_read(match, i, parameter_data(model, parameter), err);
    }
    float *values = mem_alloc_aligned(parameter->count, sizeof(float), err);
    bool ok =
        values != NULL && source_read(match, i, values, err) && storage_hold(model, i, values, err);
    free(values);
    return ok;
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

static bool values_read(const Match *match, Error *err) {
    for (size_t i = 0; i < match->model->parameters; i++) {
        if (match->source[i].tensor != NULL && !tensor_read(match, i, err)) {
            return false;
        }
    }
    for (size_t k = 0; k < match->duplicates; k++) {
        if (!duplicate_check(match, k, err)) {
            return false;
        }
    }
    return bias_read(match, err);
}

/* OpenRLHF's models give (score - mean) / std: the gain goes into the head, the rest into the bias. */
static bool normalization_read(Model *model, const char *folder, Error *err) {
    ModelConfig *config = &model->config;
    size_t i = family_index(config, PART_SCORE, 0);
    double mean = 0.0, std = 1.0;
    if (i == SIZE_MAX || !cJSON_IsTrue(json_member(config->json, "normalize_reward"))) {
        return true;
    }
    const cJSON *mean_item = json_member(config->json, "mean");
    const cJSON *std_item = json_member(config->json, "std");
    mean = mean_item == NULL ? mean : cJSON_IsNumber(mean_item) ? mean_item->valuedouble : NAN;
    std = std_item == NULL ? std : cJSON_IsNumber(std_item) ? std_item->valuedouble : NAN;
    if (!isfinite((float)mean) || !(std > 0.0) || !isfinite((float)(1.0 / std))) {
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "config.json has 'normalize_reward', but 'mean' or 'std' is not a number "
                        "that scores can be normalized with");
    }
    if (config->labels != 1 || config->head != HEAD_SCORES) {
        return error_at(
            err, ERROR_DATA, folder, 0, 0,
            "config.json has 'normalize_reward', which is read for a model of one score");
    }
    for (; i < model->parameters && in_score_head(model, i); i++) { /* its own bias is behind it */
        float *weight = parameter_data(model, &model->parameter[i]);
        for (size_t k = 0; k < model->parameter[i].count; k++) {
            weight[k] = (float)(weight[k] / std);
        }
    }
    config->reward_bias = (float)((config->reward_bias - mean) / std);
    static const char *const keys[] = {"normalize_reward", "mean", "std"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        cJSON_DeleteItemFromObjectCaseSensitive(config->json, keys[k]);
    }
    return true;
}

/* Says what head the caller gets from what the folder has; *fresh when it may lack the score head. */
static bool head_choose(ModelConfig *config, const char *folder, int head, size_t labels,
                        bool *fresh, Error *err) {
    HeadKind had = config->head;
    *fresh = false;
    if (head < 0) {
        return true;
    }
    if (had == HEAD_SCORES && head != HEAD_SCORES) {
        return error_at(err, ERROR_DATA, folder, 0, 0, "the folder holds a %s, a %s was expected",
                        config->family->score_architecture, config->family->lm_architecture);
    }
    if (had == (HeadKind)head && head != HEAD_LM) {
        return labels == 0 || labels == config->labels ||
               error_at(err, ERROR_DATA, folder, 0, 0,
                        "the model gives %zu numbers a text, %zu were expected", config->labels,
                        labels);
    }
    if (head == HEAD_LM) {
        model_config_set_head(config, HEAD_LM, 0);
    } else {
        *fresh = true;
        model_config_set_head(config, (HeadKind)head, labels == 0 ? 1 : labels);
    }
    return true;
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

static void match_close(Match *match) {
    weight_files_close(&match->files);
    weight_files_close(&match->apart);
    free(match->source);
}

/* Finds all that the model wants in the folder's files, which stay open. On failure match_close too. */
static bool match_open(Match *match, const char *folder, Error *err) {
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

/* Whether the layouts are the same, so that one's weights can be read into the other's memory. */
static bool layout_check(const Model *model, const Model *other, const char *folder, Error *err) {
    for (size_t i = 0; i < model->parameters && i < other->parameters; i++) {
        const Parameter *a = &model->parameter[i], *b = &other->parameter[i];
        if (strcmp(a->name, b->name) != 0 || a->count != b->count || a->offset != b->offset) {
            return error_at(err, ERROR_DATA, folder, 0, 0,
                            "'%s' has %zu weights, the run has %zu in '%s'", b->name, b->count,
                            a->count, a->name);
        }
    }
    return model->count == other->count ||
           error_at(err, ERROR_DATA, folder, 0, 0, "the folder holds %zu weights, the run has %zu",
                    other->count, model->count);
}

/* The memory that the weights go to: that of a model with the same layout, or when `memory` is NULL its
 * own. */
static bool memory_take(Model *model, const Model *memory, const char *folder, Error *err) {
    if (memory == NULL) {
        return parameters_allocate(model, err);
    }
    if (!layout_check(memory, model, folder, err)) {
        return false;
    }
    model->data = memory->data;
    return true;
}

/* From here on the head has the family's name. */
static void head_renamed(ModelConfig *config) {
    cJSON_DeleteItemFromObjectCaseSensitive(config->json, "value_head_prefix");
}

static bool weights_load(Model *model, const Model *memory, const char *folder, HeadKind had,
                         bool *fresh, Error *err) {
    Match match = {.model = model, .had = had, .fresh = *fresh};
    bool ok = match_open(&match, folder, err) && memory_take(model, memory, folder, err) &&
              values_read(&match, err) && normalization_read(model, folder, err);
    head_renamed(&model->config);
    *fresh = match.fresh;
    match_close(&match);
    return ok;
}

/* model_load_compact, or with `memory` the first half of model_load: a model that borrows the memory. */
static bool load(Model *model, const Model *memory, const char *path, CompactType held, int head,
                 size_t labels, bool *fresh, Error *err) {
    *model = (Model){0};
    ModelConfig config;
    bool legacy = llama2c_is_file(path);
    if (!(legacy ? llama2c_config_read(&config, path, err)
                 : model_config_read(&config, path, err))) {
        return false;
    }
    HeadKind had = config.head;
    bool ok = head_choose(&config, path, head, labels, fresh, err) &&
              parameters_layout(model, &config, held, err);
    if (ok && legacy) {
        ok = memory_take(model, memory, path, err) && llama2c_weights_read(model, path, err);
    } else if (ok) {
        ok = weights_load(model, memory, path, had, fresh, err);
    }
    model_config_done(&config);
    return ok;
}

bool model_load(Model *model, const char *folder, int head, size_t labels, bool *fresh_head,
                Error *err) {
    return model_load_compact(model, folder, COMPACT_NONE, head, labels, fresh_head, err);
}

bool model_load_compact(Model *model, const char *folder, CompactType held, int head, size_t labels,
                        bool *fresh_head, Error *err) {
    bool fresh;
    *model = (Model){0};
    if (!model_path_check(folder, err)) {
        return false;
    }
    if (adapter_is_folder(folder)) {
        return adapter_load(model, folder, NULL, NULL, held, head, labels, fresh_head, err);
    }
    if (!load(model, NULL, folder, held, head, labels, &fresh, err)) {
        model_done(model);
        return false;
    }
    model_touch(model);
    if (fresh_head != NULL) {
        *fresh_head = fresh;
    }
    return true;
}

bool model_reload(Model *model, const char *folder, Error *err) {
    if (model->config.adapter.rank > 0) {
        return adapter_reload(model, folder, err);
    }
    Model loaded;
    bool fresh;
    bool ok = load(&loaded, model, folder, COMPACT_NONE, (int)model->config.head,
                   model->config.labels, &fresh, err) &&
              (!fresh || error_at(err, ERROR_DATA, folder, 0, 0,
                                  "the folder has no score head, the run's model has one"));
    loaded.data = NULL; /* the model's own */
    model_done(&loaded);
    model_touch(model);
    return ok;
}

struct ModelReader {
    Model own;          /* of a folder; without values where they stay in files */
    const Model *model; /* own, or another's */
    Match match;        /* of values in files */
    bool files;
};

/* A copy of a parameter must be equal; file by file, in one buffer. */
static bool copies_check(const Match *match, Error *err) {
    char hash[2][HASH_TEXT];
    for (size_t k = 0; k < match->duplicates; k++) {
        const Source *source[2] = {&match->source[match->original[k]], &match->duplicate[k]};
        size_t count = source[0]->tensor->count;
        float *values = mem_alloc_aligned(count, sizeof(float), err);
        bool ok = values != NULL;
        for (size_t s = 0; ok && s < 2; s++) {
            ok = safetensors_read_floats(source[s]->file, source[s]->tensor, values, count, false,
                                         err);
            if (ok) {
                hash_hex(values, count * sizeof(float), hash[s]);
            }
        }
        free(values);
        if (!ok || strcmp(hash[0], hash[1]) != 0) {
            return ok && duplicate_refuse(match, k, err);
        }
    }
    return true;
}

static bool reader_open_files(ModelReader *reader, const ModelConfig *config, const char *folder,
                              Error *err) {
    if (!parameters_layout(&reader->own, config, COMPACT_NONE, err)) {
        return false;
    }
    reader->files = true;
    reader->match = (Match){.model = &reader->own, .had = config->head};
    bool ok = match_open(&reader->match, folder, err) && copies_check(&reader->match, err) &&
              bias_read(&reader->match, err);
    head_renamed(&reader->own.config);
    return ok;
}

static bool reader_open_memory(ModelReader *reader, const char *folder, Error *err) {
    if (!model_load(&reader->own, folder, -1, 0, NULL, err)) {
        return false;
    }
    if (reader->own.config.adapter.rank > 0) {
        model_merge_adapter(&reader->own);
    }
    return true;
}

ModelReader *model_reader_open(const char *folder, Error *err) {
    ModelReader *reader = mem_alloc(1, sizeof *reader, err);
    ModelConfig config;
    if (reader == NULL) {
        return NULL;
    }
    reader->model = &reader->own;
    bool ok;
    if (!model_path_check(folder, err)) {
        ok = false;
    } else if (adapter_is_folder(folder) || llama2c_is_file(folder)) {
        ok = reader_open_memory(reader, folder, err);
    } else if ((ok = model_config_read(&config, folder, err))) {
        ok = cJSON_IsTrue(json_member(config.json, "normalize_reward"))
                 ? reader_open_memory(reader, folder, err)
                 : reader_open_files(reader, &config, folder, err);
        model_config_done(&config);
    }
    if (!ok) {
        model_reader_close(reader);
        return NULL;
    }
    return reader;
}

ModelReader *model_reader_of(const Model *model, Error *err) {
    ModelReader *reader = mem_alloc(1, sizeof *reader, err);
    if (reader != NULL) {
        reader->model = model;
    }
    return reader;
}

void model_reader_close(ModelReader *reader) {
    if (reader != NULL) {
        if (reader->files) {
            match_close(&reader->match);
        }
        model_done(&reader->own);
        free(reader);
    }
}

const Model *model_reader_model(const ModelReader *reader) {
    return reader->model;
}

size_t model_reader_buffer(const ModelReader *reader) {
    size_t count = 0;
    for (size_t i = 0; reader->files && i < reader->model->parameters; i++) {
        size_t n = reader->model->parameter[i].count;
        count = n > count ? n : count;
    }
    return count;
}

const float *model_reader_values(const ModelReader *reader, size_t i, float *buffer, Error *err) {
    if (!reader->files) {
        return parameter_data(reader->model, &reader->model->parameter[i]);
    }
    return source_read(&reader->match, i, buffer, err) ? buffer : NULL;
}
