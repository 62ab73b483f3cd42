/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/config.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"

double config_get(const ModelConfig *config, const ConfigKey *key) {
    const char *at = (const char *)config + key->offset;
    if (key->offset == offsetof(ModelConfig, context)) {
        size_t counted = config->family->positions_behind_pad ? config->first_position : 0;
        return (double)mem_add(config->context, counted);
    }
    switch (key->kind) {
    case CONFIG_SIZE:
        return (double)*(const size_t *)(const void *)at;
    case CONFIG_FLOAT:
    case CONFIG_OPTIONAL:
        return (double)*(const float *)(const void *)at;
    case CONFIG_BOOL:
        return *(const bool *)(const void *)at ? 1.0 : 0.0;
    case CONFIG_ID:
        return (double)*(const int32_t *)(const void *)at;
    case CONFIG_ACTIVATION:
        return (double)*(const ActivationKind *)(const void *)at;
    }
    return 0.0;
}

double config_meaning(const ModelConfig *config, const ConfigKey *key, double value) {
    if (key->kind == CONFIG_ID && value >= (double)config->vocabulary) {
        return -1.0;
    }
    if (key->kind != CONFIG_SIZE || value != 0.0) {
        return value;
    }
    switch (key->offset) {
    case offsetof(ModelConfig, inner):
        return (double)mem_mul(config->family->inner_factor, config->width);
    case offsetof(ModelConfig, kv_heads):
        return (double)config->heads;
    case offsetof(ModelConfig, embedding_width):
        return (double)config->width;
    case offsetof(ModelConfig, head_size):
        return config->heads > 0 && config->width % config->heads == 0
                   ? (double)(config->width / config->heads)
                   : 0.0;
    default:
        return value;
    }
}

bool config_put(cJSON *object, const char *key, cJSON *item, Error *err) {
    bool ok = item != NULL && (json_member(object, key) != NULL
                                   ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, item)
                                   : cJSON_AddItemToObject(object, key, item));
    if (!ok) {
        cJSON_Delete(item);
        return error_set(err, ERROR_OS, "out of memory writing a model's configuration");
    }
    return true;
}

/* The double with the shortest decimal form that reads back to this float. */
static double decimal(float value) {
    Str text = {0};
    json_put_float(&text, value);
    double number = strtod(str_text(&text), NULL);
    str_done(&text);
    return number;
}

static cJSON *id_item(int32_t id) {
    return id < 0 ? cJSON_CreateNull() : cJSON_CreateNumber((double)id);
}

static cJSON *activation_item(const ModelFamily *family, ActivationKind kind) {
    const ActivationName *name = config_activations(family);
    while (name->name != NULL && name->kind != kind) {
        name++;
    }
    CHECK(name->name != NULL);
    return cJSON_CreateString(name->name);
}

static cJSON *key_item(const ModelConfig *config, const ConfigKey *key) {
    double value = config_meaning(config, key, config_get(config, key));
    switch (key->kind) {
    case CONFIG_SIZE:
        if (key->offset == offsetof(ModelConfig, inner) &&
            value == config_meaning(config, key, 0.0)) {
            return cJSON_CreateNull();
        }
        return cJSON_CreateNumber(value);
    case CONFIG_OPTIONAL:
        return value < 0.0 ? cJSON_CreateNull() : cJSON_CreateNumber(decimal((float)value));
    case CONFIG_FLOAT:
        return cJSON_CreateNumber(decimal((float)value));
    case CONFIG_BOOL:
        return cJSON_CreateBool(value != 0.0);
    case CONFIG_ID:
        return id_item((int32_t)value);
    case CONFIG_ACTIVATION:
        return activation_item(config->family, (ActivationKind)value);
    }
    return NULL;
}

static bool key_write(const ModelConfig *config, const ConfigSource *source, const ConfigKey *key,
                      Error *err) {
    double said;
    bool same =
        config->json != NULL && config_key_value(config->family, source, key, &said, NULL) &&
        config_meaning(config, key, said) == config_meaning(config, key, config_get(config, key));
    const char *old = config->family->old_context;
    return (same || config_put(source->json, key->key, key_item(config, key), err)) &&
           (old == NULL || key->offset != offsetof(ModelConfig, context) ||
            config_put(source->json, old, key_item(config, key), err));
}

static bool keys_write(const ModelConfig *config, const char *dtype, cJSON *json, Error *err) {
    const ModelFamily *family = config->family;
    ConfigSource source = {.path = "config.json", .json = json};
    for (size_t i = 0; i < family->keys; i++) {
        if (family->key[i].key != NULL && !key_write(config, &source, &family->key[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < family->fixed_keys && config->json == NULL; i++) {
        const ConfigFixed *fixed = &family->fixed[i];
        if (strcmp(fixed->allowed[0], "null") != 0 &&
            !config_put(json, fixed->key, cJSON_Parse(fixed->allowed[0]), err)) {
            return false;
        }
    }
    return config_rope_write(config, json, err) &&
           (family->windows == NULL || family->windows->write(config, json, err)) &&
           config_put(json, "dtype", cJSON_CreateString(dtype), err) &&
           config_put(json, "torch_dtype", cJSON_CreateString(dtype), err);
}

static bool label_write(const ModelConfig *config, size_t i, cJSON *names, cJSON *ids, Error *err) {
    char number[24], fallback[32];
    snprintf(number, sizeof number, "%zu", i);
    snprintf(fallback, sizeof fallback, "LABEL_%zu", i);
    const char *name = config->label_name != NULL ? config->label_name[i] : fallback;
    return config_put(names, number, cJSON_CreateString(name), err) &&
           config_put(ids, name, cJSON_CreateNumber((double)i), err);
}

/* id2label and label2id; those of a file that has as many labels and no names of its own stay. */
static bool labels_write(const ModelConfig *config, cJSON *json, Error *err) {
    const cJSON *old = json_member(json, "id2label");
    if (config->label_name == NULL && cJSON_IsObject(old) &&
        (size_t)cJSON_GetArraySize(old) == config->labels) {
        return true;
    }
    cJSON *names = cJSON_CreateObject(), *ids = cJSON_CreateObject();
    bool ok = names != NULL && ids != NULL;
    if (!ok) {
        error_set(err, ERROR_OS, "out of memory writing a model's configuration");
    }
    for (size_t i = 0; i < config->labels && ok; i++) {
        ok = label_write(config, i, names, ids, err);
    }
    if (!ok) {
        cJSON_Delete(names);
        cJSON_Delete(ids);
        return false;
    }
    ok = config_put(json, "id2label", names, err);
    return config_put(json, "label2id", ids, ok ? err : NULL) && ok;
}

static bool scores_write(const ModelConfig *config, cJSON *json, Error *err) {
    int32_t pad = config->pad >= 0 && config->pad != config->eos ? config->pad
                  : config->eos == 0                             ? 1
                                                                 : 0;
    bool ok = labels_write(config, json, err) &&
              config_put(json, "num_labels", cJSON_CreateNumber((double)config->labels), err) &&
              (config->family->positions_behind_pad ||
               config_put(json, "pad_token_id", id_item(pad), err));
    if (ok && config->regression) {
        ok = config_put(json, "problem_type", cJSON_CreateString("regression"), err);
    } else if (ok && config->labels > 1) {
        ok = config_put(json, "problem_type", cJSON_CreateString("single_label_classification"),
                        err);
    }
    return ok &&
           (config->labels > 1 ||
            config_put(json, "reward_bias", cJSON_CreateNumber(decimal(config->reward_bias)), err));
}

bool config_heads_together(const ModelConfig *config) {
    return config->head == HEAD_BOTH && config->family->both_architecture != NULL &&
           config->labels == 2;
}

static bool tree_write(const char *folder, const char *name, const cJSON *tree, Error *err) {
    Str text = {0};
    json_put_tree(&text, tree, true);
    str_append_char(&text, '\n');
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && str_ok(&text, err) && file_write(path, text.data, text.size, err);
    free(path);
    str_done(&text);
    return ok;
}

static bool generation_write(const ModelConfig *config, const char *folder, Error *err) {
    cJSON *json = config->generation != NULL ? cJSON_Duplicate(config->generation, true)
                                             : cJSON_CreateObject();
    bool ok =
        json != NULL || error_set(err, ERROR_OS, "out of memory writing a model's configuration");
    static const char *const names[] = {"bos_token_id", "pad_token_id"};
    const int32_t ids[] = {config->bos, config->pad};
    for (size_t i = 0; i < 2 && ok; i++) {
        if (ids[i] >= 0) { /* one that the model cannot say stays as it was read */
            ok = config_put(json, names[i], id_item(ids[i]), err);
        }
    }
    ok = ok && config_ends_write(config, json, err) &&
         tree_write(folder, "generation_config.json", json, err);
    cJSON_Delete(json);
    return ok;
}

bool config_write_as(const ModelConfig *config, const char *folder, const char *dtype, Error *err) {
    const ModelFamily *family = config->family;
    cJSON *json = config->json != NULL ? cJSON_Duplicate(config->json, true) : cJSON_CreateObject();
    if (json == NULL) {
        return error_set(err, ERROR_OS, "out of memory writing a model's configuration");
    }
    const char *name = config->head == HEAD_SCORES     ? family->score_architecture
                       : config_heads_together(config) ? family->both_architecture
                                                       : family->lm_architecture;
    bool ok = config_put(json, "architectures", cJSON_CreateStringArray(&name, 1), err) &&
              config_put(json, "model_type", cJSON_CreateString(family->name), err) &&
              keys_write(config, dtype, json, err);
    if (ok && config->head == HEAD_SCORES) {
        ok = scores_write(config, json, err);
    } else {
        cJSON_DeleteItemFromObjectCaseSensitive(json, "reward_bias");
    }
    ok = ok && tree_write(folder, "config.json", json, err) &&
         (config->head == HEAD_SCORES || generation_write(config, folder, err));
    cJSON_Delete(json);
    return ok;
}

bool model_config_write(const ModelConfig *config, const char *folder, Error *err) {
    return config_write_as(config, folder, "float32", err);
}
