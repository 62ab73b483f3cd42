/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/model/adapter_io.h"
#include "common/model/family.h"
#include "common/model/llama2c.h"
#include "common/model/match.h"
#include "common/model/parameters.h"
#include "common/model/storage.h"

static bool tensor_read(const Match *match, size_t i, Error *err) {
    Model *model = match->model;
    const Parameter *parameter = &model->parameter[i];
    if (parameter->held == COMPACT_NONE) {
        return match_read(match, i, parameter_data(model, parameter), err);
    }
    float *values = mem_alloc_aligned(parameter->count, sizeof(float), err);
    bool ok =
        values != NULL && match_read(match, i, values, err) && storage_hold(model, i, values, err);
    free(values);
    return ok;
}

static bool values_read(const Match *match, Error *err) {
    for (size_t i = 0; i < match->model->parameters; i++) {
        if (match->source[i].tensor != NULL && !tensor_read(match, i, err)) {
            return false;
        }
    }
    return match_rest(match, true, err);
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
    for (; i < model->parameters; i++) { /* the last ones: the score and its own bias */
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

static bool weights_load(Model *model, const Model *memory, const char *folder, HeadKind had,
                         bool *fresh, Error *err) {
    Match match = {.model = model, .had = had, .fresh = *fresh};
    bool ok = match_open(&match, folder, err) && memory_take(model, memory, folder, err) &&
              values_read(&match, err) && normalization_read(model, folder, err);
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
