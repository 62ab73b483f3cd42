/* SPDX-License-Identifier: MIT
 *
 * GPT-Neo (Black et al. 2021; TinyStories' models): GPT-2's blocks with linear weights [out, in], scores
 * that are not scaled, and layers that see all positions or a window in turn (Child et al. 2019).
 */
#include <string.h>

#include "common/model/config_keys.h"
#include "common/model/family_rows.h"

static const ConfigKey keys[] = {
    {"vocab_size",              CONFIG_SIZE,       offsetof(ModelConfig, vocabulary),        NULL          },
    {"max_position_embeddings", CONFIG_SIZE,       offsetof(ModelConfig, context),           NULL          },
    {"hidden_size",             CONFIG_SIZE,       offsetof(ModelConfig, width),             NULL          },
    {"num_layers",              CONFIG_SIZE,       offsetof(ModelConfig, layers),            NULL          },
    {"num_heads",               CONFIG_SIZE,       offsetof(ModelConfig, heads),             NULL          },
    {"intermediate_size",       CONFIG_SIZE,       offsetof(ModelConfig, inner),             "0"           },
    {"layer_norm_epsilon",      CONFIG_FLOAT,      offsetof(ModelConfig, norm_epsilon),      "1e-5"        },
    {"activation_function",     CONFIG_ACTIVATION, offsetof(ModelConfig, activation),        "\"gelu_new\""},
    {"tie_word_embeddings",     CONFIG_BOOL,       offsetof(ModelConfig, tied),              "true"        },
    {"embed_dropout",           CONFIG_FLOAT,      offsetof(ModelConfig, dropout_embedding), "0"           },
    {"resid_dropout",           CONFIG_FLOAT,      offsetof(ModelConfig, dropout_residual),  "0"           },
    {"attention_dropout",       CONFIG_FLOAT,      offsetof(ModelConfig, dropout_attention), "0"           },
    {"bos_token_id",            CONFIG_ID,         offsetof(ModelConfig, bos),               "50256"       },
    {"eos_token_id",            CONFIG_ID,         offsetof(ModelConfig, eos),               "50256"       },
    {"pad_token_id",            CONFIG_ID,         offsetof(ModelConfig, pad),               "-1"          },
};

static const TensorRow tensors[] = {
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "wte.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           ALWAYS),
    WEIGHT(PART_POSITION_EMBEDDING, SCOPE_EMBEDDING, "wpe.weight", EXTENT_CONTEXT, EXTENT_WIDTH,
           ALWAYS),
    GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_1.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, "h.%zu.ln_1.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.attention.q_proj.weight", EXTENT_QUERY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_K_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.attention.k_proj.weight", EXTENT_KEY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_V_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.attention.v_proj.weight", EXTENT_KEY,
           EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, "h.%zu.attn.attention.out_proj.weight",
           EXTENT_WIDTH, EXTENT_QUERY, ALWAYS),
    BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "h.%zu.attn.attention.out_proj.bias", EXTENT_WIDTH,
         ALWAYS),
    GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "h.%zu.ln_2.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, "h.%zu.ln_2.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "h.%zu.mlp.c_fc.weight", EXTENT_INNER, EXTENT_WIDTH,
           ALWAYS),
    BIAS(PART_UP_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_fc.bias", EXTENT_INNER, ALWAYS),
    WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "h.%zu.mlp.c_proj.weight", EXTENT_WIDTH, EXTENT_INNER,
           ALWAYS),
    BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "h.%zu.mlp.c_proj.bias", EXTENT_WIDTH, ALWAYS),
    GAIN(PART_FINAL_NORM_WEIGHT, SCOPE_FINAL, "ln_f.weight", EXTENT_WIDTH, ALWAYS),
    BIAS(PART_FINAL_NORM_BIAS, SCOPE_FINAL, "ln_f.bias", EXTENT_WIDTH, ALWAYS),
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,
           IF_UNTIED),
    SCORE("score.weight", ALWAYS),
};

static const char *const ignored[] = {"h.%zu.attn.attention.bias",
                                      "h.%zu.attn.attention.masked_bias", NULL};

/* Appends one layer's kind. */
static bool layer_add(ModelConfig *config, const ConfigSource *source, const char *key,
                      const cJSON *kind, size_t *layer, Error *err) {
    const char *name = json_string(kind);
    bool local = name != NULL && strcmp(name, "local") == 0;
    if (*layer >= config->layers || (!local && (name == NULL || strcmp(name, "global") != 0))) {
        return error_at(
            err, ERROR_DATA, source->path, 0, 0,
            "'%s' has '%.64s' at layer %zu of %zu; \"global\" or \"local\" was expected", key,
            name != NULL ? name : "no string", *layer, config->layers);
    }
    if (local) {
        config->local[*layer / 64] |= UINT64_C(1) << *layer % 64;
    }
    ++*layer;
    return true;
}

/* One entry of attention_types: [["global", "local"], 12], a pattern and how often it is there. */
static bool pattern_add(ModelConfig *config, const ConfigSource *source, const cJSON *entry,
                        size_t *layer, Error *err) {
    static const char key[] = "attention_types";
    const cJSON *pattern = cJSON_GetArrayItem(entry, 0), *times = cJSON_GetArrayItem(entry, 1);
    int64_t n = 0;
    if (cJSON_GetArraySize(entry) != 2 || !cJSON_IsArray(pattern) || pattern->child == NULL ||
        !json_integer(times, 0, LAYERS_LIMIT, &n)) {
        return config_refuse(source, key, "a list of patterns with their numbers", err);
    }
    for (int64_t i = 0; i < n; i++) {
        for (const cJSON *kind = pattern->child; kind != NULL; kind = kind->next) {
            if (!layer_add(config, source, key, kind, layer, err)) {
                return false;
            }
        }
    }
    return true;
}

/* The kinds of all layers: attention_types, which attention_layers only spells out; without it, as in a new
 * model, global and local in turn. */
static bool kinds_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const cJSON *types = json_member(source->json, "attention_types");
    const cJSON *layers = json_member(source->json, "attention_layers");
    size_t layer = 0;
    if (cJSON_IsArray(types)) {
        for (const cJSON *entry = types->child; entry != NULL; entry = entry->next) {
            if (!pattern_add(config, source, entry, &layer, err)) {
                return false;
            }
        }
    } else if (cJSON_IsArray(layers)) {
        for (const cJSON *kind = layers->child; kind != NULL; kind = kind->next) {
            if (!layer_add(config, source, "attention_layers", kind, &layer, err)) {
                return false;
            }
        }
    } else if (source->json == NULL) {
        for (layer = 0; layer < config->layers; layer++) {
            config->local[layer / 64] |= (uint64_t)(layer % 2) << layer % 64;
        }
    }
    return layer == config->layers ||
           config_refuse(source, "attention_types", "a kind for each layer", err);
}

static bool windows_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const cJSON *size = json_member(source->json, "window_size");
    int64_t window = 256;
    memset(config->local, 0, sizeof config->local);
    if (size != NULL && !json_integer(size, 1, INT32_MAX, &window)) {
        return config_refuse(source, "window_size", "a number from 1", err);
    }
    config->window = (size_t)window;
    return kinds_read(config, source, err);
}

static bool windows_write(const ModelConfig *config, cJSON *json, Error *err) {
    if (config->json != NULL) {
        return true; /* the layers are as the file said */
    }
    const char *kind[LAYERS_LIMIT];
    for (size_t layer = 0; layer < config->layers; layer++) {
        kind[layer] = config_window(config, layer) != 0 ? "local" : "global";
    }
    cJSON *types = cJSON_CreateArray(), *entry = cJSON_CreateArray();
    bool ok = cJSON_AddItemToArray(entry, cJSON_CreateStringArray(kind, (int)config->layers)) &&
              cJSON_AddItemToArray(entry, cJSON_CreateNumber(1)) &&
              cJSON_AddItemToArray(types, entry);
    if (!ok) {
        cJSON_Delete(entry);
        cJSON_Delete(types);
        return error_set(err, ERROR_OS, "out of memory writing a model's configuration");
    }
    return config_put(json, "attention_types", types, err) &&
           config_put(json, "attention_layers", cJSON_CreateStringArray(kind, (int)config->layers),
                      err) &&
           config_put(json, "window_size", cJSON_CreateNumber((double)config->window), err);
}

static const ConfigHook windows = {windows_read, windows_write};

const ModelFamily family_gpt_neo = {
    .name = "gpt_neo",
    .lm_architecture = "GPTNeoForCausalLM",
    .score_architecture = "GPTNeoForSequenceClassification",
    .trunk_architecture = "GPTNeoModel",
    .trunk = "transformer.",
    .block = {.norm = NORM_LAYER, .place = NORM_BEFORE, .linear = LINEAR_OUT_IN, .unscaled = true},
    .key = keys,
    .keys = sizeof keys / sizeof *keys,
    .windows = &windows,
    .inner_factor = 4,
    .tensor = tensors,
    .tensors = sizeof tensors / sizeof *tensors,
    .ignored = ignored,
};
