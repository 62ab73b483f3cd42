/* SPDX-License-Identifier: MIT
 *
 * Which layers see a window of positions only, as Mistral's, Qwen's and Gemma's config.json say it.
 */
#include <string.h>

#include "common/model/config.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"

static const char sliding[] = "sliding_attention", full[] = "full_attention";

static bool is_local(const ModelConfig *config, size_t layer) {
    return (config->local[layer / 64] >> layer % 64 & 1) != 0;
}

static void set_local(ModelConfig *config, size_t first) {
    for (size_t layer = first; layer < config->layers; layer++) {
        config->local[layer / 64] |= UINT64_C(1) << layer % 64;
    }
}

static bool same_windows(const ModelConfig *a, const ModelConfig *b) {
    for (size_t layer = 0; layer < a->layers; layer++) {
        if (config_window(a, layer) != config_window(b, layer)) {
            return false;
        }
    }
    return true;
}

static bool has_window(const ModelConfig *config) {
    for (size_t layer = 0; layer < config->layers; layer++) {
        if (is_local(config, layer)) {
            return true;
        }
    }
    return false;
}

/* A whole number from 1; `fallback` when the key is absent, 0 when it is null. */
static bool size_read(const ConfigSource *source, const char *key, int64_t least, size_t fallback,
                      size_t *out, Error *err) {
    const cJSON *item = json_member(source->json, key);
    int64_t value = 0;
    if (item == NULL || cJSON_IsNull(item)) {
        *out = item == NULL ? fallback : 0;
        return true;
    }
    if (!json_integer(item, least, INT32_MAX, &value)) {
        return config_refuse(source, key,
                             least == 1 ? "a number from 1 or null" : "a number from 0", err);
    }
    *out = (size_t)value;
    return true;
}

/* What the tree says now, apart; false if it cannot be read. */
static bool says_the_same(const ModelConfig *config, const ConfigHook *hook, cJSON *json) {
    ModelConfig said = *config;
    ConfigSource source = {.path = "config.json", .json = json};
    return config->json != NULL && hook->read(&said, &source, NULL) && same_windows(&said, config);
}

static bool window_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    memset(config->local, 0, sizeof config->local);
    if (!size_read(source, "sliding_window", 1, 4096, &config->window, err)) {
        return false;
    }
    if (config->window > 0) {
        set_local(config, 0);
    }
    return true;
}

static cJSON *window_item(const ModelConfig *config) {
    return has_window(config) ? cJSON_CreateNumber((double)config->window) : cJSON_CreateNull();
}

static bool window_write(const ModelConfig *config, cJSON *json, Error *err) {
    return says_the_same(config, &config_window_hook, json) ||
           config_put(json, "sliding_window", window_item(config), err);
}

static bool layer_types_list(ModelConfig *config, const ConfigSource *source, const cJSON *list,
                             Error *err) {
    size_t layer = 0;
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item != NULL;
         item = item->next, layer++) {
        const char *name = json_string(item);
        bool local = name != NULL && strcmp(name, sliding) == 0;
        if (layer >= config->layers || (!local && (name == NULL || strcmp(name, full) != 0))) {
            return error_at(err, ERROR_DATA, source->path, 0, 0,
                            "'layer_types' has '%.64s' at layer %zu of %zu; \"full_attention\" or "
                            "\"sliding_attention\" was expected",
                            name != NULL ? name : "no string", layer, config->layers);
        }
        if (local) {
            config->local[layer / 64] |= UINT64_C(1) << layer % 64;
        }
    }
    return layer == config->layers ||
           config_refuse(source, "layer_types", "a kind for each layer", err);
}

static bool layer_types_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const cJSON *use = json_member(source->json, "use_sliding_window");
    const cJSON *list = json_member(source->json, "layer_types");
    size_t first = 0;
    memset(config->local, 0, sizeof config->local);
    if (use != NULL && !cJSON_IsBool(use)) {
        return config_refuse(source, "use_sliding_window", "true or false", err);
    }
    if (!size_read(source, "sliding_window", 1, 4096, &config->window, err) ||
        !size_read(source, "max_window_layers", 0, 28, &first, err)) {
        return false;
    }
    config->window = cJSON_IsTrue(use) ? config->window : 0;
    if (list != NULL && !cJSON_IsNull(list)) {
        return layer_types_list(config, source, list, err) &&
               (config->window > 0 || !has_window(config) ||
                error_at(
                    err, ERROR_DATA, source->path, 0, 0,
                    "'layer_types' has layers with sliding attention, but 'use_sliding_window' "
                    "and 'sliding_window' give them no window"));
    }
    if (config->window > 0) {
        set_local(config, first);
    }
    return true;
}

static bool layer_types_put(const ModelConfig *config, cJSON *json, Error *err) {
    const char *kind[LAYERS_LIMIT];
    for (size_t layer = 0; layer < config->layers; layer++) {
        kind[layer] = is_local(config, layer) ? sliding : full;
    }
    return config_put(json, "layer_types", cJSON_CreateStringArray(kind, (int)config->layers), err);
}

static bool layer_types_write(const ModelConfig *config, cJSON *json, Error *err) {
    if (says_the_same(config, &config_layer_types_hook, json)) {
        return true;
    }
    size_t first = config->layers;
    for (size_t layer = config->layers; layer-- > 0;) {
        first = is_local(config, layer) ? layer : first;
    }
    return config_put(json, "use_sliding_window", cJSON_CreateBool(has_window(config)), err) &&
           config_put(json, "sliding_window", window_item(config), err) &&
           config_put(json, "max_window_layers", cJSON_CreateNumber((double)first), err) &&
           layer_types_put(config, json, err);
}

static bool pattern_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const cJSON *list = json_member(source->json, "layer_types");
    size_t pattern = 0;
    memset(config->local, 0, sizeof config->local);
    if (!size_read(source, "sliding_window", 1, 4096, &config->window, err) ||
        !size_read(source, "sliding_window_pattern", 1, 6, &pattern, err)) {
        return false;
    }
    if (list != NULL && !cJSON_IsNull(list)) {
        return layer_types_list(config, source, list, err);
    }
    for (size_t layer = 0; layer < config->layers; layer++) {
        bool local = pattern == 0 || (layer + 1) % pattern != 0;
        config->local[layer / 64] |= (uint64_t)local << layer % 64;
    }
    return true;
}

static bool pattern_write(const ModelConfig *config, cJSON *json, Error *err) {
    return says_the_same(config, &config_pattern_hook, json) ||
           (config_put(json, "sliding_window", cJSON_CreateNumber((double)config->window), err) &&
            layer_types_put(config, json, err));
}

const ConfigHook config_window_hook = {window_read, window_write};
const ConfigHook config_layer_types_hook = {layer_types_read, layer_types_write};
const ConfigHook config_pattern_hook = {pattern_read, pattern_write};
