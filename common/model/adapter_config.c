/* SPDX-License-Identifier: MIT */
#include "common/model/adapter_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/adapter.h"

static const char file_name[] = "adapter_config.json";

/* Keys that say what we read, or nothing about what is computed. */
static const char *const known_keys[] = {"auto_mapping",
                                         "base_model_name_or_path",
                                         "bias",
                                         "fan_in_fan_out",
                                         "inference_mode",
                                         "init_lora_weights",
                                         "lora_alpha",
                                         "lora_dropout",
                                         "megatron_core",
                                         "modules_to_save",
                                         "peft_type",
                                         "peft_version",
                                         "qalora_group_size",
                                         "r",
                                         "revision",
                                         "runtime_config",
                                         "target_modules",
                                         "task_type",
                                         "use_rslora",
                                         NULL};

cJSON *adapter_json_read(const char *folder, Error *err) {
    char *path = file_join(folder, file_name, err);
    cJSON *json = path == NULL ? NULL : json_read_file(path, &json_limits_config, err);
    if (json != NULL && !cJSON_IsObject(json)) {
        error_at(err, ERROR_DATA, path, 0, 0, "a JSON object was expected");
        cJSON_Delete(json);
        json = NULL;
    }
    free(path);
    return json;
}

bool adapter_json_scores(const cJSON *json) {
    const char *task = json_string(json_member(json, "task_type"));
    return task != NULL && strcmp(task, "SEQ_CLS") == 0;
}

const char *adapter_json_base(const cJSON *json) {
    return json_string(json_member(json, "base_model_name_or_path"));
}

static bool refuse(const char *folder, const char *key, const cJSON *value, const char *expected,
                   Error *err) {
    char buffer[64];
    return error_at(err, ERROR_DATA, folder, 0, 0, "%s: '%s' is %s; %s", file_name, key,
                    value == NULL ? "absent" : json_describe(value, buffer, sizeof buffer),
                    expected);
}

static bool is_known(const char *key) {
    for (size_t i = 0; known_keys[i] != NULL; i++) {
        if (strcmp(known_keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* null, false, {} and [] turn off whatever a key stands for. */
static bool is_off(const cJSON *value) {
    return cJSON_IsNull(value) || cJSON_IsFalse(value) ||
           ((cJSON_IsObject(value) || cJSON_IsArray(value)) && value->child == NULL);
}

static bool says(const cJSON *value, const char *text) {
    const char *string = json_string(value);
    return string != NULL && strcmp(string, text) == 0;
}

/* PEFT puts the first two there for every classifier, whatever its head is called. */
static bool is_score_module(const ModelConfig *config, const char *name) {
    if (strcmp(name, "classifier") == 0 || strcmp(name, "score") == 0) {
        return true;
    }
    size_t n = strlen(name);
    for (size_t i = 0; i < config->family->tensors; i++) {
        const TensorRow *row = &config->family->tensor[i];
        if (row->scope == SCOPE_SCORE_HEAD && strncmp(row->name, name, n) == 0 &&
            row->name[n] == '.') {
            return true;
        }
    }
    return false;
}

static bool modules_check(const cJSON *json, const char *folder, const ModelConfig *config,
                          Error *err) {
    const cJSON *modules = json_member(json, "modules_to_save");
    if (modules == NULL || is_off(modules)) {
        return true;
    }
    const cJSON *item = cJSON_IsArray(modules) ? modules->child : modules;
    for (; item != NULL; item = cJSON_IsArray(modules) ? item->next : NULL) {
        const char *name = json_string(item);
        if (name == NULL || !is_score_module(config, name)) {
            return refuse(folder, "modules_to_save", item,
                          "whole layers beside the adapter can only be the score head", err);
        }
    }
    return true;
}

static bool keys_check(const cJSON *json, const char *folder, const ModelConfig *config,
                       Error *err) {
    for (const cJSON *item = json->child; item != NULL; item = item->next) {
        if (!is_known(item->string) && !is_off(item)) {
            return refuse(folder, item->string, item, "adapters with it are not computed", err);
        }
    }
    const cJSON *type = json_member(json, "peft_type"), *bias = json_member(json, "bias");
    const cJSON *init = json_member(json, "init_lora_weights");
    if (!says(type, "LORA")) {
        return refuse(folder, "peft_type", type, "\"LORA\" was expected", err);
    }
    if (bias != NULL && !says(bias, "none")) {
        return refuse(folder, "bias", bias, "only \"none\" is computed: biases stay the base's",
                      err);
    }
    if (init != NULL && !cJSON_IsBool(init) && !says(init, "gaussian") && !says(init, "eva")) {
        return refuse(folder, "init_lora_weights", init,
                      "it changes the base's weights too; save the adapter with PEFT's "
                      "path_initial_model_for_weight_conversion",
                      err);
    }
    return modules_check(json, folder, config, err);
}

static bool number(const cJSON *json, const char *folder, const char *key, float initial,
                   float *value, Error *err) {
    const cJSON *item = json_member(json, key);
    if (item == NULL) {
        *value = initial;
        return true;
    }
    *value = (float)item->valuedouble;
    return (cJSON_IsNumber(item) && isfinite(*value)) ||
           refuse(folder, key, item, "a number was expected", err);
}

static bool targets_parse(const cJSON *json, const char *folder, const ModelConfig *config,
                          uint64_t *targets, Error *err) {
    const cJSON *list = json_member(json, "target_modules");
    bool one = says(list, "all-linear");
    if (!one && (!cJSON_IsArray(list) || list->child == NULL)) {
        return refuse(folder, "target_modules", list,
                      "a list of names was expected (patterns are not computed)", err);
    }
    size_t n = one ? 1 : (size_t)cJSON_GetArraySize(list), i = 0;
    const char **name = mem_alloc(n, sizeof *name, err);
    bool ok = name != NULL;
    for (const cJSON *item = one ? list : list->child; ok && i < n; item = item->next) {
        name[i] = json_string(item);
        ok =
            name[i++] != NULL || refuse(folder, "target_modules", item, "a name was expected", err);
    }
    ok = ok && (adapter_targets(config, name, n, targets, err) ||
                error_wrap(err, "%s/%s", folder, file_name));
    free(name);
    return ok;
}

bool adapter_json_parse(const cJSON *json, const char *folder, const ModelConfig *config,
                        AdapterConfig *adapter, Error *err) {
    *adapter = (AdapterConfig){0};
    int64_t rank;
    const cJSON *r = json_member(json, "r"), *rslora = json_member(json, "use_rslora");
    if (!keys_check(json, folder, config, err)) {
        return false;
    }
    if (!json_integer(r, 1, ADAPTER_RANK_LIMIT, &rank)) {
        return refuse(folder, "r", r, "a rank from 1 to 4096 was expected", err);
    }
    if (rslora != NULL && !cJSON_IsBool(rslora) && !cJSON_IsNull(rslora)) {
        return refuse(folder, "use_rslora", rslora, "true or false was expected", err);
    }
    adapter->rank = (size_t)rank;
    adapter->rslora = cJSON_IsTrue(rslora);
    ModelConfig adapted = *config;
    if (!number(json, folder, "lora_alpha", 8, &adapter->alpha, err) ||
        !number(json, folder, "lora_dropout", 0, &adapter->dropout, err) ||
        !targets_parse(json, folder, config, &adapter->targets, err)) {
        return false;
    }
    adapted.adapter = *adapter;
    return adapter_check(&adapted, err) || error_wrap(err, "%s/%s", folder, file_name);
}

/* Target names, one a part, or one a block where the block's number tells. */
static bool targets_put(const ModelConfig *config, cJSON *list) {
    bool ok = true;
    for (Part part = 0; part < PARTS && ok; part++) {
        if ((config->adapter.targets >> part & 1) == 0) {
            continue;
        }
        size_t length;
        const char *name = adapter_target_name(config, part, &length);
        bool numbered = strncmp(name, "%zu", 3) == 0;
        for (size_t layer = 0; layer < (numbered ? config->layers : 1) && ok; layer++) {
            Str text = {0};
            if (numbered) {
                str_appendf(&text, "%zu", layer);
            }
            str_append_bytes(&text, name + (numbered ? 3 : 0), length - (numbered ? 3 : 0));
            cJSON *item = cJSON_CreateString(str_text(&text));
            ok = item != NULL && cJSON_AddItemToArray(list, item);
            str_done(&text);
        }
    }
    return ok;
}

static bool score_modules_put(const ModelConfig *config, cJSON *json) {
    cJSON *list = cJSON_AddArrayToObject(json, "modules_to_save");
    bool ok = list != NULL;
    for (size_t i = 0; i < config->family->tensors && ok; i++) {
        const TensorRow *row = &config->family->tensor[i];
        const char *dot = strrchr(row->name, '.');
        if (row->scope == SCOPE_SCORE_HEAD && strcmp(dot, ".weight") == 0 &&
            family_has_row(config, row)) {
            Str name = {0};
            str_append_bytes(&name, row->name, (size_t)(dot - row->name));
            cJSON *item = cJSON_CreateString(str_text(&name));
            ok = item != NULL && cJSON_AddItemToArray(list, item);
            str_done(&name);
        }
    }
    return ok;
}

static bool fill(const Model *model, cJSON *json) {
    const ModelConfig *config = &model->config;
    const AdapterConfig *a = &config->adapter;
    bool scores = config->head == HEAD_SCORES;
    cJSON *base = model->base == NULL ? cJSON_CreateNull() : cJSON_CreateString(model->base);
    bool ok = base != NULL && cJSON_AddItemToObject(json, "base_model_name_or_path", base) &&
              cJSON_AddStringToObject(json, "bias", "none") != NULL &&
              cJSON_AddBoolToObject(json, "fan_in_fan_out",
                                    config->family->block.linear == LINEAR_IN_OUT) != NULL &&
              cJSON_AddBoolToObject(json, "inference_mode", true) != NULL &&
              cJSON_AddBoolToObject(json, "init_lora_weights", true) != NULL &&
              cJSON_AddNumberToObject(json, "lora_alpha", (double)a->alpha) != NULL &&
              cJSON_AddNumberToObject(json, "lora_dropout", (double)a->dropout) != NULL;
    ok = ok &&
         (scores ? score_modules_put(config, json)
                 : cJSON_AddNullToObject(json, "modules_to_save") != NULL) &&
         cJSON_AddStringToObject(json, "peft_type", "LORA") != NULL &&
         cJSON_AddNumberToObject(json, "r", (double)a->rank) != NULL;
    cJSON *targets = ok ? cJSON_AddArrayToObject(json, "target_modules") : NULL;
    return targets != NULL && targets_put(config, targets) &&
           cJSON_AddStringToObject(json, "task_type", scores ? "SEQ_CLS" : "CAUSAL_LM") != NULL &&
           cJSON_AddBoolToObject(json, "use_rslora", a->rslora) != NULL;
}

bool adapter_json_write(const Model *model, const char *folder, Error *err) {
    cJSON *json = cJSON_CreateObject();
    bool ok = (json != NULL && fill(model, json)) ||
              error_set(err, ERROR_OS, "out of memory writing %s", file_name);
    Str text = {0};
    char *path = NULL;
    if (ok) {
        json_put_tree(&text, json, true);
        str_append_char(&text, '\n');
        path = file_join(folder, file_name, err);
        ok =
            path != NULL && str_ok(&text, err) && file_write(path, str_text(&text), text.size, err);
    }
    cJSON_Delete(json);
    str_done(&text);
    free(path);
    return ok;
}
