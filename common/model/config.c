/* SPDX-License-Identifier: MIT */
#include "common/model/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"

enum { CONFIG_BYTES = 16 << 20 };

bool config_refuse(const ConfigSource *source, const char *key, const char *expected, Error *err) {
    long line = 0, column = 0;
    char what[80];
    const cJSON *item = json_member(source->json, key);
    json_locate(source->text.data, source->text.size, key, false, &line, &column);
    if (item == NULL) {
        return error_at(err, ERROR_DATA, source->path, 0, 0, "'%s' is missing, %s was expected",
                        key, expected);
    }
    return error_at(err, ERROR_DATA, source->path, line, column, "'%s' is %s, %s was expected", key,
                    json_describe(item, what, sizeof what), expected);
}

bool config_not_computed(const ConfigSource *source, const char *key, const char *expected,
                         Error *err) {
    config_refuse(source, key, expected, err);
    return error_wrap(err, "this program does not compute what the model asks for");
}

static void set(ModelConfig *config, const ConfigKey *key, double value) {
    char *at = (char *)config + key->offset;
    if (key->offset == offsetof(ModelConfig, context)) {
        double first = config->family->positions_behind_pad ? (double)config->first_position : 0;
        config->context = value > first ? (size_t)(value - first) : 0;
        return;
    }
    switch (key->kind) {
    case CONFIG_SIZE:
        *(size_t *)(void *)at = (size_t)value;
        break;
    case CONFIG_FLOAT:
    case CONFIG_OPTIONAL:
        *(float *)(void *)at = (float)value;
        break;
    case CONFIG_BOOL:
        *(bool *)(void *)at = value != 0.0;
        break;
    case CONFIG_ID:
        *(int32_t *)(void *)at = (int32_t)value;
        break;
    case CONFIG_ACTIVATION:
        *(ActivationKind *)(void *)at = (ActivationKind)value;
        break;
    }
}

const ActivationName *config_activations(const ModelFamily *family) {
    static const ActivationName names[] = {
        {"gelu_new",          ACTIVATION_GELU_NEW},
        {"gelu_pytorch_tanh", ACTIVATION_GELU_NEW},
        {"gelu_fast",         ACTIVATION_GELU_NEW},
        {"gelu_accurate",     ACTIVATION_GELU_NEW},
        {"gelu",              ACTIVATION_GELU    },
        {"gelu_python",       ACTIVATION_GELU    },
        {"silu",              ACTIVATION_SILU    },
        {"swish",             ACTIVATION_SILU    },
        {"relu",              ACTIVATION_RELU    },
        {NULL,                0                  },
    };
    return family->activation != NULL ? family->activation : names;
}

static bool activation_of(const ModelFamily *family, const cJSON *item, double *value) {
    const char *name = json_string(item);
    for (const ActivationName *a = config_activations(family); name != NULL && a->name != NULL;
         a++) {
        if (strcmp(a->name, name) == 0) {
            *value = (double)a->kind;
            return true;
        }
    }
    return false;
}

/* The number that a JSON value gives a key; false if it is of the wrong kind. */
static bool value_of(const ModelFamily *family, ConfigKind kind, const cJSON *item, double *value) {
    int64_t whole = 0;
    switch (kind) {
    case CONFIG_SIZE:
        if (cJSON_IsNull(item)) {
            *value = 0.0;
            return true;
        }
        if (!json_integer(item, 0, INT32_MAX, &whole)) {
            return false;
        }
        *value = (double)whole;
        return true;
    case CONFIG_OPTIONAL:
        if (cJSON_IsNull(item)) {
            *value = -1.0;
            return true;
        } /* fall through */
    case CONFIG_FLOAT:
        *value = cJSON_IsNumber(item) ? (double)(float)item->valuedouble : -1.0;
        return *value >= 0.0 && isfinite(*value);
    case CONFIG_BOOL:
        *value = cJSON_IsTrue(item) ? 1.0 : 0.0;
        return cJSON_IsBool(item);
    case CONFIG_ID:
        *value = -1.0;
        if (cJSON_IsNull(item)) {
            return true;
        }
        if (cJSON_IsArray(item)) {
            for (const cJSON *id = item->child; id != NULL; id = id->next) {
                if (!json_integer(id, 0, INT32_MAX, &whole)) {
                    return false;
                }
            }
            item = item->child;
        }
        if (item == NULL || !json_integer(item, -1, INT32_MAX, &whole)) {
            return false;
        }
        *value = (double)whole;
        return true;
    case CONFIG_ACTIVATION:
        return activation_of(family, item, value);
    }
    return false;
}

static bool value_refuse(const ModelFamily *family, const ConfigSource *source,
                         const ConfigKey *key, Error *err) {
    static const char *const kind_text[] = {
        [CONFIG_SIZE] = "a whole number",
        [CONFIG_FLOAT] = "a number from 0",
        [CONFIG_OPTIONAL] = "a number from 0, or null",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_ID] = "a token id, a list of them, or null",
    };
    if (key->kind != CONFIG_ACTIVATION) {
        return config_refuse(source, key->key, kind_text[key->kind], err);
    }
    Str names = {0};
    for (const ActivationName *a = config_activations(family); a->name != NULL; a++) {
        str_appendf(&names, "%s\"%s\"", a == config_activations(family) ? "" : " or ", a->name);
    }
    config_not_computed(source, key->key, str_text(&names), err);
    str_done(&names);
    return false;
}

/* The value of a key as the file gives it, its default applied. */
bool config_key_value(const ModelFamily *family, const ConfigSource *source, const ConfigKey *key,
                      double *value, Error *err) {
    const cJSON *item = key->key != NULL ? json_member(source->json, key->key) : NULL;
    bool absent =
        item == NULL || (cJSON_IsNull(item) && (key->kind == CONFIG_FLOAT || key->initial == NULL));
    if (!absent) {
        return value_of(family, key->kind, item, value) || value_refuse(family, source, key, err);
    }
    if (key->initial == NULL) {
        return value_refuse(family, source, key, err);
    }
    cJSON *initial = cJSON_Parse(key->initial);
    bool ok = initial != NULL && value_of(family, key->kind, initial, value);
    cJSON_Delete(initial);
    return ok || error_set(err, ERROR_OS, "out of memory");
}

static bool fixed_read(const ConfigSource *source, const ConfigFixed *fixed, Error *err) {
    const cJSON *item = json_member(source->json, fixed->key);
    bool allowed = item == NULL;
    Str expected = {0};
    for (size_t k = 0; k < 4 && fixed->allowed[k] != NULL; k++) {
        cJSON *value = cJSON_Parse(fixed->allowed[k]);
        allowed = allowed || cJSON_Compare(item, value, true);
        cJSON_Delete(value);
        str_appendf(&expected, "%s%s", k > 0 ? " or " : "", fixed->allowed[k]);
    }
    if (!allowed) {
        config_not_computed(source, fixed->key, str_text(&expected), err);
    }
    str_done(&expected);
    return allowed;
}

/* Keys that change what is computed, in any family that does not read them. */
static const ConfigFixed refused[] = {
    {"quantization_config",         {"null"}         },
    {"is_encoder_decoder",          {"false", "null"}},
    {"is_decoder",                  {"false", "null"}},
    {"add_cross_attention",         {"false", "null"}},
    {"cross_attention_hidden_size", {"null"}         },
    {"pruned_heads",                {"{}", "null"}   },
    {"num_experts",                 {"0", "null"}    },
    {"num_local_experts",           {"0", "null"}    },
    {"n_routed_experts",            {"0", "null"}    },
    {"num_experts_per_tok",         {"0", "null"}    },
    {"attn_logit_softcapping",      {"null"}         },
    {"final_logit_softcapping",     {"null"}         },
    {"attention_multiplier",        {"null"}         },
    {"residual_multiplier",         {"1", "null"}    },
    {"embedding_multiplier",        {"1", "null"}    },
    {"logits_scaling",              {"1", "null"}    },
    {"logit_scale",                 {"1", "null"}    },
    {"query_pre_attn_scalar",       {"null"}         },
    {"clip_qkv",                    {"null"}         },
    {"alibi",                       {"false", "null"}},
    {"no_rope_layers",              {"null"}         },
    {"num_kv_shared_layers",        {"0", "null"}    },
};

static bool reads_key(const ModelFamily *family, const char *name) {
    for (size_t i = 0; i < family->keys; i++) {
        if (family->key[i].key != NULL && strcmp(family->key[i].key, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool all_fixed_read(const ConfigSource *source, const ModelFamily *family, Error *err) {
    bool ok = true;
    for (size_t i = 0; i < sizeof refused / sizeof *refused && ok; i++) {
        ok = reads_key(family, refused[i].key) || fixed_read(source, &refused[i], err);
    }
    for (size_t i = 0; i < family->fixed_keys && ok; i++) {
        ok = fixed_read(source, &family->fixed[i], err);
    }
    return ok;
}

static bool family_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const char *type = json_string(json_member(source->json, "model_type"));
    Str known = {0};
    for (size_t i = 0; family_at(i) != NULL; i++) {
        str_appendf(&known, "%s\"%s\"", i > 0 ? " or " : "", family_at(i)->name);
    }
    config->family = type != NULL ? family_find(type) : NULL;
    if (config->family == NULL) {
        if (type != NULL) {
            error_at(err, ERROR_DATA, source->path, 0, 0,
                     "the model is a '%.64s'; this program computes %s", type, str_text(&known));
        } else {
            config_refuse(source, "model_type", str_text(&known), err);
        }
    }
    str_done(&known);
    return config->family != NULL;
}

static bool name_is(const char *name, const char *expected) {
    return name != NULL && strcmp(name, expected) == 0;
}

/* What OpenRLHF writes: a head of one score on any trunk. */
static bool is_reward_architecture(const char *name) {
    return name_is(name, "RewardModel") || name_is(name, "CriticModel");
}

static bool head_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const ModelFamily *family = config->family;
    const cJSON *list = json_member(source->json, "architectures");
    if (list == NULL || cJSON_IsNull(list)) {
        config->head = HEAD_LM;
        return true;
    }
    const char *name = cJSON_IsArray(list) ? json_string(list->child) : NULL;
    if (name_is(name, family->lm_architecture) || name_is(name, family->trunk_architecture) ||
        name_is(name, "AutoModelForCausalLMWithValueHead")) {
        config->head = HEAD_LM;
    } else if (family->both_architecture != NULL && name_is(name, family->both_architecture)) {
        model_config_set_head(config, HEAD_BOTH, 2);
    } else if (name_is(name, family->score_architecture) || is_reward_architecture(name)) {
        config->head = HEAD_SCORES;
    } else {
        return error_at(err, ERROR_DATA, source->path, 0, 0,
                        "'architectures' begins with %.64s; %s or %s was expected",
                        name != NULL ? name : "no name", family->lm_architecture,
                        family->score_architecture);
    }
    return true;
}

static bool label_names_read(ModelConfig *config, const ConfigSource *source, const cJSON *names,
                             Error *err) {
    config->label_name = mem_alloc(config->labels, sizeof(char *), err);
    if (config->label_name == NULL) {
        return false;
    }
    for (const cJSON *item = names->child; item != NULL; item = item->next) {
        char *end = NULL;
        unsigned long index = strtoul(item->string, &end, 10);
        const char *text = json_string(item);
        if (end == item->string || *end != '\0' || index >= config->labels || text == NULL ||
            config->label_name[index] != NULL) {
            return error_at(err, ERROR_DATA, source->path, 0, 0,
                            "'id2label' has the entry '%.64s'; numbers from 0 to %zu, each with a "
                            "name, were expected",
                            item->string, config->labels - 1);
        }
        config->label_name[index] = mem_strdup(text, err);
        if (config->label_name[index] == NULL) {
            return false;
        }
    }
    return true;
}

static bool labels_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const cJSON *number = json_member(source->json, "num_labels");
    const cJSON *names = json_member(source->json, "id2label");
    const cJSON *list = json_member(source->json, "architectures");
    bool reward = cJSON_IsArray(list) && is_reward_architecture(json_string(list->child));
    int64_t labels = reward ? 1 : 2; /* 2 is transformers' default */
    if (number != NULL && !json_integer(number, 1, LABELS_LIMIT, &labels)) {
        return config_refuse(source, "num_labels", "a number from 1", err);
    }
    if (names != NULL && !cJSON_IsNull(names)) {
        if (!cJSON_IsObject(names)) {
            return config_refuse(source, "id2label", "an object", err);
        }
        int64_t named = cJSON_GetArraySize(names);
        if (number != NULL && named != labels) {
            return error_at(err, ERROR_DATA, source->path, 0, 0,
                            "'num_labels' is %lld, but 'id2label' names %lld", (long long)labels,
                            (long long)named);
        }
        labels = named;
    }
    if (labels < 1 || labels > LABELS_LIMIT) {
        return error_at(err, ERROR_DATA, source->path, 0, 0,
                        "'id2label' names %lld labels, 1 to %d were expected", (long long)labels,
                        LABELS_LIMIT);
    }
    config->labels = (size_t)labels;
    if (labels > 1 && cJSON_IsObject(names) && !label_names_read(config, source, names, err)) {
        return false;
    }
    const cJSON *problem = json_member(source->json, "problem_type");
    const char *kind = json_string(problem);
    config->regression = kind != NULL && strcmp(kind, "regression") == 0;
    if (problem != NULL && !cJSON_IsNull(problem) && !config->regression &&
        (kind == NULL || strcmp(kind, "single_label_classification") != 0)) {
        return config_refuse(source, "problem_type", "regression or single_label_classification",
                             err);
    }
    const cJSON *bias = json_member(source->json, "reward_bias");
    if (bias != NULL && (!cJSON_IsNumber(bias) || !isfinite((float)bias->valuedouble))) {
        return config_refuse(source, "reward_bias", "a number", err);
    }
    config->reward_bias = bias != NULL ? (float)bias->valuedouble : 0.0f;
    return true;
}

/* A file counts the rows of the position table, which has some before the first token's. */
static bool positions_read(ModelConfig *config, const ConfigSource *source, bool fresh,
                           Error *err) {
    if (config->pad < 0 || (size_t)config->pad >= config->vocabulary) {
        return config_refuse(source, "pad_token_id", "an id of the vocabulary", err);
    }
    size_t first = (size_t)config->pad + 1;
    if (!fresh) {
        config->context = config->context > first ? config->context - first : 0;
    }
    config->first_position = first;
    return true;
}

static bool keys_read(ModelConfig *config, const ConfigSource *source, bool fresh, Error *err) {
    const ModelFamily *family = config->family;
    config->first_position = family->first_position;
    for (size_t i = 0; i < family->keys; i++) {
        double value;
        bool given = family->key[i].kind == CONFIG_SIZE &&
                     family->key[i].offset != offsetof(ModelConfig, segments);
        if (fresh && given) {
            continue;
        }
        if (!config_key_value(family, source, &family->key[i], &value, err)) {
            return false;
        }
        set(config, &family->key[i], value);
    }
    if (family->positions_behind_pad && !positions_read(config, source, fresh, err)) {
        return false;
    }
    for (size_t i = 0; i < family->keys; i++) {
        set(config, &family->key[i],
            config_meaning(config, &family->key[i], config_get(config, &family->key[i])));
    }
    return true;
}

/* What depends on the sizes. */
static bool mathematics_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    return config_rope_read(config, source, err) &&
           (config->family->windows == NULL || config->family->windows->read(config, source, err));
}

static bool check_at(const ModelConfig *config, const char *path, Error *err) {
    if (!model_config_check(config, err)) {
        if (err != NULL) {
            Error inner = *err;
            error_at(err, ERROR_DATA, path, 0, 0, "%s", inner.text);
        }
        return false;
    }
    return true;
}

static bool config_parse(ModelConfig *config, const ConfigSource *source, Error *err) {
    if (!cJSON_IsObject(source->json)) {
        return error_at(err, ERROR_DATA, source->path, 1, 1, "an object was expected");
    }
    return family_read(config, source, err) && all_fixed_read(source, config->family, err) &&
           keys_read(config, source, false, err) && head_read(config, source, err) &&
           (config->head != HEAD_SCORES || labels_read(config, source, err)) &&
           check_at(config, source->path, err) && mathematics_read(config, source, err) &&
           check_at(config, source->path, err);
}

static bool has_key(const ModelFamily *family, size_t member) {
    for (size_t i = 0; i < family->keys; i++) {
        if (family->key[i].key != NULL && family->key[i].offset == member) {
            return true;
        }
    }
    return false;
}

bool model_config_complete(ModelConfig *config, Error *err) {
    const ModelFamily *family = config->family;
    ConfigSource nothing = {.path = "the new model"};
    if ((config->kv_heads != 0 && !has_key(family, offsetof(ModelConfig, kv_heads))) ||
        (config->head_size != 0 && !has_key(family, offsetof(ModelConfig, head_size)))) {
        return error_set(err, ERROR_CONFIG,
                         "a '%s' has as many heads of keys as of queries, and their size is the "
                         "width by their number",
                         family->name);
    }
    size_t inner = config->inner;
    if (!keys_read(config, &nothing, true, err) || !mathematics_read(config, &nothing, err)) {
        return false;
    }
    return inner == 0 || has_key(family, offsetof(ModelConfig, inner)) ||
           inner == mem_mul(family->inner_factor, config->width) ||
           error_set(err, ERROR_CONFIG, "the inner width of a '%s' is %zu times its width",
                     family->name, family->inner_factor);
}

void model_config_set_dropout(ModelConfig *config, float rate) {
    static const size_t members[] = {
        offsetof(ModelConfig, dropout_embedding), offsetof(ModelConfig, dropout_residual),
        offsetof(ModelConfig, dropout_attention), offsetof(ModelConfig, dropout_head)};
    for (size_t i = 0; i < config->family->keys; i++) {
        const ConfigKey *key = &config->family->key[i];
        for (size_t k = 0; k < sizeof members / sizeof *members; k++) {
            if (key->offset == members[k]) {
                set(config, key, (double)rate);
            }
        }
    }
}

static bool source_read(ConfigSource *source, const char *path, Error *err) {
    static const JsonLimits limits = {CONFIG_BYTES, 32, 1000000, false};
    *source = (ConfigSource){.path = path};
    if (!file_read(path, CONFIG_BYTES, &source->text, err)) {
        return false;
    }
    source->json = json_parse(str_text(&source->text), source->text.size, path, 1, &limits, err);
    return source->json != NULL;
}

bool model_config_read(ModelConfig *config, const char *folder, Error *err) {
    *config = (ModelConfig){.eos = -1, .bos = -1, .pad = -1};
    ConfigSource source = {0}, generation = {0};
    char *path = file_join(folder, "config.json", err);
    char *generation_path = path != NULL ? file_join(folder, "generation_config.json", err) : NULL;
    bool ok = generation_path != NULL && source_read(&source, path, err) &&
              config_parse(config, &source, err);
    if (ok && file_exists(generation_path)) {
        ok = source_read(&generation, generation_path, err);
        if (ok && !cJSON_IsObject(generation.json)) {
            ok = error_at(err, ERROR_DATA, generation_path, 1, 1, "an object was expected");
        }
    }
    ok = ok && config_ends_read(config, &source, &generation, err);
    config->json = source.json;
    config->generation = generation.json;
    str_done(&source.text);
    str_done(&generation.text);
    free(path);
    free(generation_path);
    if (!ok) {
        model_config_done(config);
    }
    return ok;
}

static void label_names_free(ModelConfig *config) {
    for (size_t i = 0; config->label_name != NULL && i < config->labels; i++) {
        free(config->label_name[i]);
    }
    free(config->label_name);
    config->label_name = NULL;
}

void model_config_done(ModelConfig *config) {
    label_names_free(config);
    cJSON_Delete(config->json);
    cJSON_Delete(config->generation);
    *config = (ModelConfig){0};
}

void model_config_set_head(ModelConfig *config, HeadKind head, size_t labels) {
    label_names_free(config);
    config->head = head;
    config->labels = labels;
    config->regression = false;
    config->reward_bias = 0.0f;
}

bool model_config_copy(ModelConfig *to, const ModelConfig *from, Error *err) {
    *to = *from;
    to->label_name = NULL;
    to->json = cJSON_Duplicate(from->json, true);
    to->generation = cJSON_Duplicate(from->generation, true);
    bool ok = (from->json == NULL || to->json != NULL) &&
              (from->generation == NULL || to->generation != NULL);
    if (!ok) {
        error_set(err, ERROR_OS, "out of memory copying a model's configuration");
    }
    if (ok && from->label_name != NULL) {
        to->label_name = mem_alloc(from->labels, sizeof(char *), err);
        ok = to->label_name != NULL;
        for (size_t i = 0; i < from->labels && ok; i++) {
            to->label_name[i] = mem_strdup(from->label_name[i], err);
            ok = to->label_name[i] != NULL;
        }
    }
    if (!ok) {
        model_config_done(to);
    }
    return ok;
}
