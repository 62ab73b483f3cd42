/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/str.h"
#include "common/model/family.h"
#include "common/model/parameters.h"
#include "common/model/safetensors.h"

/* The score head of a HEAD_BOTH model lies apart, so that the folder is a plain causal LM. */
static const char score_file[] = "score.safetensors";

/* The weight files of a folder: one, or several shards. */
typedef struct WeightFiles {
    char *index_path; /* owned; NULL for a single file */
    char **name;      /* owned; of each shard within the folder */
    SafeTensors *file;
    size_t files, names_capacity, files_capacity;
} WeightFiles;

/* A tensor of the folder that fills a parameter. */
typedef struct Source {
    const SafeTensors *file;
    const Tensor *tensor;
} Source;

static void files_close(WeightFiles *files) {
    for (size_t i = 0; i < files->files; i++) {
        safetensors_close(&files->file[i]);
        free(files->name[i]);
    }
    free(files->file);
    free(files->name);
    free(files->index_path);
    *files = (WeightFiles){0};
}

static bool files_open(WeightFiles *files, const char *folder, const char *name, Error *err) {
    if (!mem_reserve(&files->name, &files->names_capacity, files->files + 1, sizeof(char *), err) ||
        !mem_reserve(&files->file, &files->files_capacity, files->files + 1, sizeof(SafeTensors),
                     err)) {
        return false;
    }
    char *path = file_join(folder, name, err);
    char *copy = path != NULL ? mem_strdup(name, err) : NULL;
    if (copy == NULL || !safetensors_open(&files->file[files->files], path, err)) {
        free(path);
        free(copy);
        return false;
    }
    files->name[files->files++] = copy;
    free(path);
    return true;
}

static bool is_shard_name(const char *name) {
    return name != NULL && name[0] != '.' && strchr(name, '/') == NULL &&
           strchr(name, '\\') == NULL && str_ends_with(name, ".safetensors");
}

/* Opens the shard of one entry of the index unless it is open, and looks for the tensor there. */
static bool index_entry(WeightFiles *files, const char *folder, const cJSON *item, Error *err) {
    const char *shard = json_string(item);
    if (!is_shard_name(shard)) {
        return error_at(
            err, ERROR_DATA, files->index_path, 0, 0,
            "tensor '%.200s' is said to be in '%.200s'; the plain name of a .safetensors "
            "file in the same folder was expected",
            item->string, shard != NULL ? shard : "(no string)");
    }
    size_t i = 0;
    while (i < files->files && strcmp(files->name[i], shard) != 0) {
        i++;
    }
    if (i == files->files && !files_open(files, folder, shard, err)) {
        return false;
    }
    return safetensors_find(&files->file[i], item->string) != NULL ||
           error_at(err, ERROR_DATA, files->index_path, 0, 0,
                    "tensor '%.200s' is said to be in %.200s, but is not there", item->string,
                    shard);
}

static bool index_read(WeightFiles *files, const char *folder, Error *err) {
    cJSON *json = json_read_file(files->index_path, &json_limits_document, err);
    if (json == NULL) {
        return false;
    }
    const cJSON *map = json_member(json, "weight_map");
    bool ok = cJSON_IsObject(map) && map->child != NULL;
    if (!ok) {
        error_at(err, ERROR_DATA, files->index_path, 0, 0,
                 "no 'weight_map' that says which file holds which tensor");
    }
    for (const cJSON *item = ok ? map->child : NULL; item != NULL && ok; item = item->next) {
        ok = index_entry(files, folder, item, err);
    }
    cJSON_Delete(json);
    return ok;
}

static bool has_file(const char *folder, const char *name) {
    char *path = file_join(folder, name, NULL);
    bool found = path != NULL && file_exists(path);
    free(path);
    return found;
}

static bool files_find(WeightFiles *files, const char *folder, Error *err) {
    *files = (WeightFiles){0};
    bool ok;
    if (has_file(folder, "model.safetensors")) {
        ok = files_open(files, folder, "model.safetensors", err);
    } else if (has_file(folder, "model.safetensors.index.json")) {
        files->index_path = file_join(folder, "model.safetensors.index.json", err);
        ok = files->index_path != NULL && index_read(files, folder, err);
    } else if (has_file(folder, "pytorch_model.bin") ||
               has_file(folder, "pytorch_model.bin.index.json")) {
        ok = error_at(
            err, ERROR_DATA, folder, 0, 0,
            "the weights are only there as pytorch_model.bin, a pickle, which is a program "
            "and is never read here; load the folder with transformers and call "
            "save_pretrained(folder, safe_serialization=True)");
    } else {
        ok = error_at(err, ERROR_NO_INPUT, folder, 0, 0,
                      "neither model.safetensors nor model.safetensors.index.json is there");
    }
    if (!ok) {
        files_close(files);
    }
    return ok;
}

static bool is_buffer(const ModelFamily *family, const char *name, size_t layers) {
    for (size_t i = 0; family->ignored[i] != NULL; i++) {
        bool numbered = strstr(family->ignored[i], "%zu") != NULL;
        for (size_t layer = 0; layer < (numbered ? layers : 1); layer++) {
            char buffer[sizeof(((Parameter *)0)->name)];
            snprintf(buffer, sizeof buffer, family->ignored[i], layer);
            if (strcmp(buffer, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Index of the parameter that a name of the file stands for, with or without the trunk's prefix;
 * parameters if there is none. */
static size_t parameter_of(const Model *model, const char *name) {
    const char *trunk = model->config.family->trunk;
    size_t n = strlen(trunk), i = 0;
    while (i < model->parameters) {
        const char *ours = model->parameter[i].name;
        if (strcmp(ours, name) == 0 ||
            (strncmp(ours, trunk, n) == 0 && strcmp(ours + n, name) == 0)) {
            break;
        }
        i++;
    }
    return i;
}

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

/* What the folder holds, seen from the model that is wanted. */
typedef struct Match {
    Model *model;
    Source *source; /* [parameters]; tensor NULL: not found */
    Source head;    /* an lm_head beside a tied embedding */
    bool drop_head; /* the model wanted has no LM head */
} Match;

static const char *lm_head_name(const ModelFamily *family) {
    size_t i = 0;
    while (family->tensor[i].part != PART_LM_HEAD) {
        i++;
    }
    return family->tensor[i].name;
}

static bool tensor_match(Match *match, const SafeTensors *file, const Tensor *tensor, Error *err) {
    const Model *model = match->model;
    const ModelFamily *family = model->config.family;
    size_t i = parameter_of(model, tensor->name);
    if (i < model->parameters) {
        if (match->source[i].tensor != NULL) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s' is there twice, also as '%s' in %s", tensor->name,
                            match->source[i].tensor->name, match->source[i].file->path);
        }
        match->source[i] = (Source){file, tensor};
        return shape_check(file, tensor, model->parameter[i].shape, model->parameter[i].rank, err);
    }
    size_t n = strlen(family->trunk);
    const char *bare =
        strncmp(tensor->name, family->trunk, n) == 0 ? tensor->name + n : tensor->name;
    if (is_buffer(family, bare, model->config.layers)) {
        return true;
    }
    if (strcmp(tensor->name, lm_head_name(family)) == 0 &&
        (match->drop_head || model->config.tied)) {
        match->head = (Source){file, tensor};
        return true;
    }
    return error_at(err, ERROR_DATA, file->path, 0, 0,
                    "tensor '%s' is none of a '%s' with this configuration", tensor->name,
                    family->name);
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
static bool complete_check(const Match *match, const char *folder, size_t fresh, Error *err) {
    const Model *model = match->model;
    size_t missing = 0, first = 0;
    for (size_t i = model->parameters; i-- > 0;) {
        if (match->source[i].tensor == NULL && i != fresh) {
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

/* An LM head stored beside a tied embedding must be equal to it. */
static bool head_check(const Match *match, Error *err) {
    const Model *model = match->model;
    const Source *head = &match->head;
    if (head->tensor == NULL || match->drop_head) {
        return true;
    }
    const Parameter *embedding =
        &model->parameter[family_index(&model->config, PART_TOKEN_EMBEDDING, 0)];
    if (!shape_check(head->file, head->tensor, embedding->shape, embedding->rank, err)) {
        return false;
    }
    float *values = mem_alloc_aligned(embedding->count, sizeof(float), err);
    bool ok = values != NULL && safetensors_read_floats(head->file, head->tensor, values,
                                                        embedding->count, false, err);
    if (ok &&
        memcmp(values, model->data + embedding->offset, embedding->count * sizeof(float)) != 0) {
        ok = error_at(err, ERROR_DATA, head->file->path, 0, 0,
                      "tensor '%s' differs from '%s', but config.json ties the two; set "
                      "tie_word_embeddings to false if the file is right",
                      head->tensor->name, embedding->name);
    }
    free(values);
    return ok;
}

static bool values_read(const Match *match, Error *err) {
    Model *model = match->model;
    for (size_t i = 0; i < model->parameters; i++) {
        const Source *source = &match->source[i];
        const Parameter *parameter = &model->parameter[i];
        if (source->tensor != NULL &&
            !safetensors_read_floats(source->file, source->tensor, model->data + parameter->offset,
                                     parameter->count, false, err)) {
            return false;
        }
    }
    return head_check(match, err);
}

/* Says what head the caller gets from what the folder has; *fresh when its score head is not there.
 * */
static bool head_choose(ModelConfig *config, const char *folder, int head, size_t labels,
                        bool *fresh, Error *err) {
    bool scores = config->head == HEAD_SCORES;
    *fresh = false;
    if (head < 0) {
        return true;
    }
    if (scores && head != HEAD_SCORES) {
        return error_at(err, ERROR_DATA, folder, 0, 0, "the folder holds a %s, a %s was expected",
                        config->family->score_architecture, config->family->lm_architecture);
    }
    if (scores && labels != 0 && labels != config->labels) {
        return error_at(err, ERROR_DATA, folder, 0, 0,
                        "the model gives %zu numbers a text, %zu were expected", config->labels,
                        labels);
    }
    if (!scores && head != HEAD_LM) {
        *fresh = true;
        model_config_set_head(config, (HeadKind)head, labels == 0 ? 1 : labels);
    }
    return true;
}

/* Reads the score head that lies apart, if the folder has one. */
static bool score_file_read(Match *match, const char *folder, WeightFiles *apart, bool *fresh,
                            Error *err) {
    if (match->model->config.head != HEAD_BOTH || !has_file(folder, score_file)) {
        return true;
    }
    *fresh = false;
    return files_open(apart, folder, score_file, err) && files_match(match, apart, err);
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

/* Into `memory`, that of a model with the same layout, or when it is NULL into memory of its own. */
static bool weights_load(Model *model, const Model *memory, const char *folder, bool drop_head,
                         bool *fresh, Error *err) {
    Match match = {.model = model, .drop_head = drop_head};
    WeightFiles files = {0}, apart = {0};
    match.source = mem_alloc(model->parameters, sizeof(Source), err);
    size_t score = family_index(&model->config, PART_SCORE, 0);
    bool ok = match.source != NULL && files_find(&files, folder, err) &&
              files_match(&match, &files, err) &&
              score_file_read(&match, folder, &apart, fresh, err) &&
              complete_check(&match, folder, *fresh ? score : SIZE_MAX, err) &&
              (memory == NULL ? parameters_allocate(model, err)
                              : layout_check(memory, model, folder, err));
    if (ok && memory != NULL) {
        model->data = memory->data;
    }
    ok = ok && values_read(&match, err);
    files_close(&files);
    files_close(&apart);
    free(match.source);
    return ok;
}

/* model_load, or with `memory` its first half: a model that borrows the memory. */
static bool load(Model *model, const Model *memory, const char *folder, int head, size_t labels,
                 bool *fresh, Error *err) {
    *model = (Model){0};
    ModelConfig config;
    if (!model_config_read(&config, folder, err)) {
        return false;
    }
    bool was_lm = config.head == HEAD_LM;
    bool ok = head_choose(&config, folder, head, labels, fresh, err) &&
              parameters_layout(model, &config, err) &&
              weights_load(model, memory, folder, was_lm && config.head == HEAD_SCORES, fresh, err);
    model_config_done(&config);
    return ok;
}

bool model_load(Model *model, const char *folder, int head, size_t labels, bool *fresh_head,
                Error *err) {
    bool fresh;
    if (!load(model, NULL, folder, head, labels, &fresh, err)) {
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
    Model loaded;
    bool fresh;
    bool ok =
        load(&loaded, model, folder, (int)model->config.head, model->config.labels, &fresh, err) &&
        (!fresh || error_at(err, ERROR_DATA, folder, 0, 0,
                            "the folder has no score head, the run's model has one"));
    loaded.data = NULL; /* the model's own */
    model_done(&loaded);
    model_touch(model);
    return ok;
}

static bool finite_check(const Model *model, const Parameter *parameter, Error *err) {
    const float *data = model->data + parameter->offset;
    for (size_t i = 0; i < parameter->count; i++) {
        if (!isfinite(data[i])) {
            return error_set(err, ERROR_DIVERGED,
                             "'%s' is not finite at element %zu of %zu; such a model is not saved",
                             parameter->name, i, parameter->count);
        }
    }
    return true;
}

/* Writes the parameters [begin, end) into one file. */
static bool weights_save(const Model *model, size_t begin, size_t end, const char *folder,
                         const char *name, Error *err) {
    SafeTensorsWriter *writer = safetensors_writer_create(err);
    char *path = writer != NULL ? file_join(folder, name, err) : NULL;
    bool ok = path != NULL;
    for (size_t i = begin; i < end && ok; i++) {
        const Parameter *parameter = &model->parameter[i];
        ok = finite_check(model, parameter, err) &&
             safetensors_writer_add(writer, parameter->name, TENSOR_F32, parameter->shape,
                                    parameter->rank, model->data + parameter->offset, err);
    }
    ok = ok && safetensors_writer_commit(writer, path, NULL, err);
    free(path);
    safetensors_writer_free(writer);
    return ok;
}

bool model_save(const Model *model, const char *folder, Error *err) {
    size_t main_tensors = model->parameters;
    if (model->config.head == HEAD_BOTH) {
        /* Heads come last in the layout, and the score head last of all. */
        main_tensors = family_index(&model->config, PART_SCORE, 0);
        if (!weights_save(model, main_tensors, model->parameters, folder, score_file, err)) {
            return false;
        }
    }
    return weights_save(model, 0, main_tensors, folder, "model.safetensors", err) &&
           model_config_write(&model->config, folder, err);
}
