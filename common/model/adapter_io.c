/* SPDX-License-Identifier: MIT */
#include "common/model/adapter_io.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/str.h"
#include "common/model/adapter.h"
#include "common/model/adapter_config.h"
#include "common/model/config_keys.h"
#include "common/model/safetensors.h"
#include "common/model/storage.h"

static const char weights_name[] = "adapter_model.safetensors", base_name[] = "base.json",
                  prefix[] = "base_model.model.";

static bool has_file(const char *folder, const char *name) {
    char *path = file_join(folder, name, NULL);
    bool found = path != NULL && file_exists(path);
    free(path);
    return found;
}

bool adapter_is_folder(const char *folder) {
    return has_file(folder, "adapter_config.json");
}

/* The path, absolute, if it is a model's; else NULL. */
static char *model_folder(const char *path) {
    bool file = file_exists(path) && !file_is_folder(path);
    return file || has_file(path, "config.json") ? realpath(path, NULL) : NULL;
}

static char *base_folder(const cJSON *json, const char *folder, Error *err) {
    const char *named = adapter_json_base(json);
    char *inside = named != NULL ? file_join(folder, named, NULL) : NULL;
    char *found = named == NULL ? NULL : named[0] == '/' ? NULL : model_folder(inside);
    if (found == NULL && named != NULL) {
        found = model_folder(named);
    }
    free(inside);
    if (found == NULL) {
        error_at(err, ERROR_NO_INPUT, folder, 0, 0,
                 "the adapter's base model is '%.300s', which is no model folder here; name the "
                 "folder of the base, and the adapter by model.adapter, or correct "
                 "base_model_name_or_path in adapter_config.json",
                 named == NULL ? "(not named)" : named);
    }
    return found;
}

char *adapter_base_folder(const char *folder, Error *err) {
    cJSON *json = adapter_json_read(folder, err);
    char *found = json == NULL ? NULL : base_folder(json, folder, err);
    cJSON_Delete(json);
    return found;
}

/* Of the weights under the adapter, but for the heads. */
static bool fingerprint(const Model *model, char out[HASH_TEXT], Error *err) {
    Str digests = {0};
    for (size_t i = 0; i < family_parameters(&model->config); i++) {
        int layer;
        TensorScope scope = family_row(&model->config, i, &layer)->scope;
        if (scope != SCOPE_LM_HEAD && scope != SCOPE_SCORE_HEAD) {
            storage_digest(model, i, out);
            str_append(&digests, out);
        }
    }
    bool ok = str_ok(&digests, err);
    if (ok) {
        hash_hex(digests.data, digests.size, out);
    }
    str_done(&digests);
    return ok;
}

static bool base_write(const Model *model, const char *folder, Error *err) {
    char hash[HASH_TEXT];
    Str text = {0};
    char *path = file_join(folder, base_name, err);
    bool ok = path != NULL && fingerprint(model, hash, err);
    if (ok) {
        str_append(&text, "{\n  \"path\": ");
        if (model->base == NULL) {
            str_append(&text, "null");
        } else {
            json_put_string(&text, model->base, strlen(model->base));
        }
        str_appendf(&text, ",\n  \"weights_xxh3_128\": \"%s\"", hash);
        if (model->held != COMPACT_NONE) {
            str_appendf(&text, ",\n  \"held\": \"%s\"", compact_type_name[model->held]);
        }
        str_append(&text, "\n}\n");
        ok = str_ok(&text, err) && file_write(path, text.data, text.size, err);
    }
    str_done(&text);
    free(path);
    return ok;
}

/* Where the folder says what base it was trained on, it must be this one. */
static bool base_check(const Model *model, const char *folder, const char *base, Error *err) {
    if (!has_file(folder, base_name)) {
        return true;
    }
    char *path = file_join(folder, base_name, err);
    cJSON *json = path == NULL ? NULL : json_read_file(path, &json_limits_config, err);
    const char *expected = json_string(json_member(json, "weights_xxh3_128"));
    char hash[HASH_TEXT];
    bool ok = json != NULL && fingerprint(model, hash, err);
    if (ok && (expected == NULL || strcmp(expected, hash) != 0)) {
        ok = error_at(err, ERROR_DATA, path, 0, 0,
                      "the adapter was trained on other weights than those of %s (fingerprint "
                      "%.40s, expected %.40s); name the right base",
                      base, hash, expected == NULL ? "(none)" : expected);
    }
    cJSON_Delete(json);
    free(path);
    return ok;
}

static bool weights_open(SafeTensors *file, const char *folder, Error *err) {
    if (!has_file(folder, weights_name) && has_file(folder, "adapter_model.bin")) {
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "the adapter is only there as adapter_model.bin, a pickle, which is a "
                        "program and is never read here; load it with PEFT and save it again");
    }
    char *path = file_join(folder, weights_name, err);
    bool ok = path != NULL && safetensors_open(file, path, err);
    free(path);
    return ok;
}

/* Index of the own parameter that a tensor of the file fills; parameters: none. */
static size_t own_parameter(const Model *model, const char *name) {
    size_t i = 0, base = family_parameters(&model->config), n = sizeof prefix - 1;
    for (; i < model->parameters; i++) {
        const char *ours = model->parameter[i].name;
        if (model->parameter[i].own &&
            (i >= base ? strcmp(ours, name) == 0
                       : strncmp(name, prefix, n) == 0 && strcmp(ours, name + n) == 0)) {
            break;
        }
    }
    return i;
}

/* The rows of B lie in files as those of the layer's matrix. */
static const TensorRow *reordered(const Model *model, size_t i) {
    bool second = false;
    const TensorRow *row =
        i < family_parameters(&model->config) ? NULL : adapter_row(&model->config, i, &second);
    return second && row->storage != STORED_AS_IS ? row : NULL;
}

static bool tensor_read(Model *model, const SafeTensors *file, const Tensor *tensor, size_t i,
                        Error *err) {
    const Parameter *parameter = &model->parameter[i];
    float *values = parameter_data(model, parameter);
    const TensorRow *row = reordered(model, i);
    if (row == NULL) {
        return safetensors_read_floats(file, tensor, values, parameter->count, false, err);
    }
    float *stored = mem_alloc_aligned(parameter->count, sizeof(float), err);
    bool ok = stored != NULL &&
              safetensors_read_floats(file, tensor, stored, parameter->count, false, err);
    if (ok) {
        storage_to_memory(&model->config, row, values, stored, parameter->count);
    }
    free(stored);
    return ok;
}

/* All that is the model's own; a score head may be missing where *fresh_scores says that it is fresh. */
static bool own_read(Model *model, const SafeTensors *file, bool *fresh_scores, Error *err) {
    bool *found = mem_alloc(model->parameters, sizeof *found, err);
    bool ok = found != NULL;
    for (size_t t = 0; ok && t < file->tensors; t++) {
        const Tensor *tensor = &file->tensor[t];
        size_t i = own_parameter(model, tensor->name);
        if (i == model->parameters) {
            ok = error_at(err, ERROR_DATA, file->path, 0, 0,
                          "tensor '%s' is none of this adapter on a '%s' model", tensor->name,
                          model->config.family->name);
        } else {
            found[i] = true;
            const Parameter *parameter = &model->parameter[i];
            ok = safetensors_check_shape(file, tensor, parameter->shape, parameter->rank,
                                         "the base and adapter_config.json call", err) &&
                 tensor_read(model, file, tensor, i, err);
        }
    }
    bool scores = true;
    for (size_t i = 0; ok && i < model->parameters; i++) {
        if (model->parameter[i].own && !found[i]) {
            bool head = i < family_parameters(&model->config);
            scores = scores && !head;
            ok = (head && *fresh_scores) ||
                 error_at(err, ERROR_DATA, file->path, 0, 0, "tensor '%s%s' is missing",
                          head ? prefix : "", model->parameter[i].name);
        }
    }
    *fresh_scores = *fresh_scores && !scores;
    free(found);
    return ok;
}

/* Sizes and mathematics: the base's weights are read as this configuration says. */
static bool same_model(const ModelConfig *a, const ModelConfig *b) {
    return a->family == b->family && a->layers == b->layers && a->heads == b->heads &&
           a->width == b->width && a->inner == b->inner && a->vocabulary == b->vocabulary &&
           a->context == b->context && config_kv_heads(a) == config_kv_heads(b) &&
           config_head_size(a) == config_head_size(b) && a->segments == b->segments &&
           a->first_position == b->first_position && a->norm_epsilon == b->norm_epsilon &&
           a->activation == b->activation && config_rope_same(&a->rope, &b->rope) &&
           config_rope_same(&a->local_rope, &b->local_rope) && a->score_scalar == b->score_scalar &&
           a->window == b->window && memcmp(a->local, b->local, sizeof a->local) == 0 &&
           a->parallel == b->parallel && a->qkv_bias == b->qkv_bias && a->out_bias == b->out_bias &&
           a->inner_bias == b->inner_bias && a->head_norm == b->head_norm && a->tied == b->tied &&
           a->labels == b->labels;
}

/* The configuration in our own folders says more than the base's: labels, bias, the head. */
static bool config_adopt(Model *model, const char *folder, Error *err) {
    ModelConfig config;
    if (!has_file(folder, "config.json")) {
        return true;
    }
    if (!model_config_read(&config, folder, err)) {
        return false;
    }
    const ModelConfig *base = &model->config;
    if (config.head != base->head) {
        model_config_set_head(&config, base->head, base->labels);
    }
    bool same = same_model(&config, base);
    if (!same) {
        model_config_done(&config);
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "config.json describes another model than that of the adapter's base");
    }
    model_config_done(&model->config);
    model->config = config;
    return true;
}

/* Outputs of a score head in the file: its narrowest matrix that is no adapter's. 0: none. */
static size_t labels_in(const SafeTensors *file) {
    size_t labels = 0;
    for (size_t t = 0; t < file->tensors; t++) {
        const Tensor *tensor = &file->tensor[t];
        if (strstr(tensor->name, ".lora_") == NULL && tensor->rank == 2 &&
            (labels == 0 || tensor->shape[0] < labels)) {
            labels = tensor->shape[0];
        }
    }
    return labels;
}

/* The base as the model wants it: of `near` on the same base its weights, else those of the folder. */
static bool base_take(Model *model, const Model *near, const char *base, CompactType held, int head,
                      size_t labels, bool *fresh, Error *err) {
    if (near == NULL || near->base == NULL || strcmp(near->base, base) != 0) {
        return model_load_compact(model, base, held, head, labels, fresh, err);
    }
    ModelConfig config;
    if (!model_config_copy(&config, &near->config, err)) {
        return false;
    }
    config.adapter = (AdapterConfig){0};
    model_config_set_head(&config, (HeadKind)head, head == HEAD_LM ? 0 : labels == 0 ? 1 : labels);
    *fresh = head != HEAD_LM;
    bool ok = model_share(model, near, &config, err);
    model_config_done(&config);
    return ok;
}

static bool base_load(Model *model, const Model *near, const cJSON *json, const SafeTensors *file,
                      const char *folder, const char *base, CompactType held, int head,
                      size_t labels, bool *fresh, Error *err) {
    bool scores = adapter_json_scores(json);
    if (adapter_is_folder(base)) {
        return error_at(err, ERROR_DATA, base, 0, 0,
                        "the adapter's base is an adapter itself; merge that into its base first");
    }
    if (scores && head >= 0 && head != HEAD_SCORES) {
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "the adapter is that of a sequence classifier, a language model's was "
                        "expected");
    }
    head = head >= 0 ? head : scores ? HEAD_SCORES : HEAD_LM;
    size_t here = scores ? labels_in(file) : 0;
    if (here > LABELS_LIMIT) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "the score head gives %zu numbers a text, at most %d were expected", here,
                        LABELS_LIMIT);
    }
    if (here != 0 && labels != 0 && here != labels) {
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "the model gives %zu numbers a text, %zu were expected", here, labels);
    }
    return base_take(model, near, base, held, head, here != 0 ? here : labels, fresh, err);
}

bool adapter_load(Model *model, const char *folder, const char *base, const Model *near,
                  CompactType held, int head, size_t labels, bool *fresh_head, Error *err) {
    *model = (Model){0};
    SafeTensors file = {0};
    AdapterConfig adapter;
    bool fresh = false;
    cJSON *json = adapter_json_read(folder, err);
    char *at = json == NULL   ? NULL
               : base == NULL ? base_folder(json, folder, err)
                              : realpath(base, NULL);
    if (json != NULL && base != NULL && at == NULL) {
        error_errno(err, "cannot open", base);
    }
    bool opened = at != NULL && weights_open(&file, folder, err);
    bool ok = opened &&
              base_load(model, near, json, &file, folder, at, held, head, labels, &fresh, err) &&
              config_adopt(model, folder, err) && base_check(model, folder, at, err) &&
              adapter_json_parse(json, folder, &model->config, &adapter, err) &&
              model_adapt(model, &adapter, 0, err) && own_read(model, &file, &fresh, err);
    if (opened) {
        safetensors_close(&file);
    }
    cJSON_Delete(json);
    if (!ok) {
        free(at);
        model_done(model);
        return false;
    }
    free(model->base); /* of a lender */
    model->base = at;
    model_touch(model);
    if (fresh_head != NULL) {
        *fresh_head = fresh;
    }
    return true;
}

bool model_load_beside(Model *model, const Model *near, const char *folder, int head, size_t labels,
                       bool *fresh_head, Error *err) {
    return adapter_is_folder(folder)
               ? adapter_load(model, folder, NULL, near, near != NULL ? near->held : COMPACT_NONE,
                              head, labels, fresh_head, err)
               : model_load(model, folder, head, labels, fresh_head, err);
}

bool adapter_reload(Model *model, const char *folder, Error *err) {
    SafeTensors file;
    AdapterConfig adapter;
    bool fresh = false;
    cJSON *json = adapter_json_read(folder, err);
    bool ok = json != NULL && adapter_json_parse(json, folder, &model->config, &adapter, err);
    const AdapterConfig *ours = &model->config.adapter;
    if (ok && (adapter.rank != ours->rank || adapter.targets != ours->targets ||
               adapter.rslora != ours->rslora || adapter.alpha != ours->alpha)) {
        ok = error_at(err, ERROR_DATA, folder, 0, 0,
                      "the adapter's rank, alpha or targets are not those of the run");
    }
    cJSON_Delete(json);
    ok = ok && base_check(model, folder, model->base != NULL ? model->base : "the run", err) &&
         weights_open(&file, folder, err);
    if (ok) {
        ok = own_read(model, &file, &fresh, err);
        safetensors_close(&file);
        model_touch(model);
    }
    return ok;
}

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

/* An own parameter in the file's order, for the writer. */
static bool make_tensor(const void *context, size_t i, unsigned char *out, TensorType type,
                        Error *err) {
    const Model *model = context;
    const Parameter *parameter = &model->parameter[i];
    const TensorRow *row = reordered(model, i);
    float *stored = mem_alloc_aligned(parameter->count, sizeof(float), err);
    if (stored == NULL) {
        return false;
    }
    if (row == NULL) {
        memcpy(stored, parameter_data(model, parameter), parameter->count * sizeof(float));
    } else {
        storage_to_file(&model->config, row, stored, parameter_data(model, parameter),
                        parameter->count);
    }
    bool ok = tensor_put_floats(type, out, stored, parameter->count, parameter->name, err);
    free(stored);
    return ok;
}

static bool weights_write(const Model *model, const char *folder, Error *err) {
    SafeTensorsWriter *writer = safetensors_writer_create(err);
    char *path = writer != NULL ? file_join(folder, weights_name, err) : NULL;
    bool ok = path != NULL;
    for (size_t i = 0; i < model->parameters && ok; i++) {
        const Parameter *parameter = &model->parameter[i];
        if (parameter->own) {
            Str name = {0};
            str_appendf(&name, "%s%s", i < family_parameters(&model->config) ? prefix : "",
                        parameter->name);
            ok = str_ok(&name, err) && finite_check(model, parameter, err) &&
                 safetensors_writer_add_made(writer, str_text(&name), TENSOR_F32, parameter->shape,
                                             parameter->rank, make_tensor, model, i, err);
            str_done(&name);
        }
    }
    ok = ok && safetensors_writer_commit(writer, path, NULL, err);
    free(path);
    safetensors_writer_free(writer);
    return ok;
}

bool adapter_save(const Model *model, const char *folder, Error *err) {
    CHECK(model->config.adapter.rank > 0 && model->config.head != HEAD_BOTH);
    return weights_write(model, folder, err) && adapter_json_write(model, folder, err) &&
           base_write(model, folder, err) && model_config_write(&model->config, folder, err);
}
