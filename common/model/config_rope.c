/* SPDX-License-Identifier: MIT
 *
 * Rotary positions in config.json. Transformers up to 4 have `rope_theta` (GPT-NeoX: `rotary_emb_base`,
 * `rotary_pct`) and `rope_scaling`, an object or null; version 5 has all in `rope_parameters`. Where local
 * layers turn otherwise (Gemma 3), they have a theta of their own and no scaling in the first form, and
 * version 5 an object for each kind of layers in `rope_parameters`.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/config.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"

static const double default_theta = 10000.0;
static const char of_all[] = "full_attention", of_local[] = "sliding_attention";

typedef struct RopeSource {
    const ConfigSource *source;
    const char *name;    /* of the object */
    const cJSON *object; /* or NULL */
    const char *top;     /* the key at the top level that it is, or lies in */
} RopeSource;

static bool number(const cJSON *item, double *value) {
    *value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return *value > 0.0 && isfinite(*value);
}

static bool refuse_member(const RopeSource *rope, const char *key, const char *expected,
                          Error *err) {
    char what[80];
    const cJSON *item = json_member(rope->object, key);
    return error_at(err, ERROR_DATA, rope->source->path, 0, 0,
                    "'%s' of '%s' is %s, %s was expected", key, rope->name,
                    item == NULL ? "missing" : json_describe(item, what, sizeof what), expected);
}

/* A number above 0 of the object; `fallback` when it is absent, which 0 does not allow. */
static bool member_number(const RopeSource *rope, const char *key, double fallback, double *value,
                          Error *err) {
    const cJSON *item = json_member(rope->object, key);
    if (item == NULL && fallback > 0.0) {
        *value = fallback;
        return true;
    }
    return number(item, value) || refuse_member(rope, key, "a number above 0", err);
}

/* A number that may stand at the top level and in the object, where both must be equal. */
static bool shared_number(const RopeSource *rope, const char *top, const char *inner,
                          double fallback, double *value, Error *err) {
    const cJSON *outer = top != NULL ? json_member(rope->source->json, top) : NULL;
    const cJSON *member = json_member(rope->object, inner);
    *value = fallback;
    if (outer != NULL && !cJSON_IsNull(outer) && !number(outer, value)) {
        return config_refuse(rope->source, top, "a number above 0", err);
    }
    if (member == NULL || cJSON_IsNull(member)) {
        return true;
    }
    double other = *value;
    if (!number(member, value)) {
        return refuse_member(rope, inner, "a number above 0", err);
    }
    return outer == NULL || cJSON_IsNull(outer) || other == *value ||
           error_at(err, ERROR_DATA, rope->source->path, 0, 0,
                    "'%s' is %g, but '%s' of '%s' is %g; one of them was expected", top, other,
                    inner, rope->name, *value);
}

/* Members that change nothing here are allowed, anything else is a kind of scaling of its own. */
static bool members_check(const RopeSource *rope, Error *err) {
    static const char *const known[] = {"rope_type",        "type",
                                        "rope_theta",       "partial_rotary_factor",
                                        "factor",           "low_freq_factor",
                                        "high_freq_factor", "original_max_position_embeddings"};
    for (const cJSON *item = rope->object != NULL ? rope->object->child : NULL; item != NULL;
         item = item->next) {
        bool found = cJSON_IsNull(item);
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            found = found || strcmp(known[i], item->string) == 0;
        }
        if (!found) {
            return error_at(err, ERROR_DATA, rope->source->path, 0, 0,
                            "'%s' has the entry '%.64s', which this program does not compute",
                            rope->name, item->string);
        }
    }
    return true;
}

static bool scaling_read(Rope *rope, const RopeSource *from, size_t context, Error *err) {
    const cJSON *type = json_member(from->object, "rope_type");
    type = type != NULL ? type : json_member(from->object, "type");
    const char *name = type != NULL ? json_string(type) : "default";
    if (name != NULL && strcmp(name, "default") == 0) {
        return true;
    }
    if (name != NULL && strcmp(name, "linear") == 0) {
        rope->scaling = ROPE_LINEAR;
        return member_number(from, "factor", 0.0, &rope->factor, err);
    }
    if (name == NULL || strcmp(name, "llama3") != 0) {
        return error_at(
            err, ERROR_DATA, from->source->path, 0, 0,
            "the type of '%s' is '%.64s'; this program computes \"default\", \"linear\" "
            "and \"llama3\"",
            from->name, name != NULL ? name : "no string");
    }
    double original = 0.0;
    rope->scaling = ROPE_LLAMA3;
    if (!member_number(from, "factor", 0.0, &rope->factor, err) ||
        !member_number(from, "low_freq_factor", 0.0, &rope->low, err) ||
        !member_number(from, "high_freq_factor", 0.0, &rope->high, err) ||
        !member_number(from, "original_max_position_embeddings", (double)context, &original, err)) {
        return false;
    }
    if (original > INT32_MAX || original != floor(original)) {
        return refuse_member(from, "original_max_position_embeddings", "a whole number", err);
    }
    rope->original = (size_t)original;
    return true;
}

/* What one of the objects says, with the keys at the top level, of which `theta` is one. */
static bool rope_of(const ModelConfig *config, const RopeSource *from, const char *theta,
                    double initial_theta, Rope *out, Error *err) {
    const RopeKeys *keys = &config->family->rope;
    double share = 1.0;
    *out = (Rope){0};
    if (from->object != NULL && !cJSON_IsObject(from->object)) {
        return config_refuse(from->source, from->top, "an object or null", err);
    }
    if (!members_check(from, err) ||
        !shared_number(from, theta, "rope_theta", initial_theta, &out->theta, err) ||
        !shared_number(from, keys->share != NULL ? keys->share : "partial_rotary_factor",
                       "partial_rotary_factor", keys->initial_share, &share, err)) {
        return false;
    }
    if (share > 1.0 || (keys->share == NULL && share != 1.0)) {
        return error_at(err, ERROR_DATA, from->source->path, 0, 0,
                        "the part of a head that turns is %g; %s was expected", share,
                        keys->share == NULL ? "1" : "a number up to 1");
    }
    out->share = share;
    out->dimensions = (size_t)((double)config_head_size(config) * share);
    if (out->dimensions == 0 && config_head_size(config) > 0) {
        return error_at(err, ERROR_DATA, from->source->path, 0, 0,
                        "the part of a head that turns is %g of %zu dimensions, less than one of "
                        "them; a larger part was expected",
                        share, config_head_size(config));
    }
    return scaling_read(out, from, config->context, err);
}

bool config_rope_same(const Rope *a, const Rope *b) {
    return a->dimensions == b->dimensions && a->theta == b->theta && a->scaling == b->scaling &&
           a->factor == b->factor && a->low == b->low && a->high == b->high &&
           a->original == b->original;
}

static bool is_object(const cJSON *json, const char *name) {
    return cJSON_IsObject(json_member(json, name));
}

static const cJSON *member_unless_null(const cJSON *json, const char *name) {
    const cJSON *item = json_member(json, name);
    return cJSON_IsNull(item) ? NULL : item;
}

/* `rope_parameters` by kinds of layers. */
static bool kinds_read(ModelConfig *config, const ConfigSource *source, double initial,
                       Error *err) {
    const RopeKeys *keys = &config->family->rope;
    const cJSON *kinds = member_unless_null(source->json, "rope_parameters");
    for (const cJSON *item = kinds != NULL ? kinds->child : NULL; item != NULL; item = item->next) {
        if (item->string == NULL ||
            (strcmp(item->string, of_all) != 0 && strcmp(item->string, of_local) != 0)) {
            return error_at(err, ERROR_DATA, source->path, 0, 0,
                            "'rope_parameters' has the entry '%.64s'; \"%s\" and \"%s\" were "
                            "expected",
                            item->string != NULL ? item->string : "", of_all, of_local);
        }
    }
    const RopeSource all = {source, of_all, member_unless_null(kinds, of_all), "rope_parameters"};
    const RopeSource local = {source, of_local, member_unless_null(kinds, of_local),
                              "rope_parameters"};
    return rope_of(config, &all, keys->theta, initial, &config->rope, err) &&
           rope_of(config, &local, keys->local, default_theta, &config->local_rope, err);
}

bool config_rope_read(ModelConfig *config, const ConfigSource *source, Error *err) {
    const RopeKeys *keys = &config->family->rope;
    if (keys->theta == NULL) {
        return true;
    }
    double initial = keys->initial_theta > 0.0 ? keys->initial_theta : default_theta;
    const RopeSource old = {source, "rope_scaling",
                            member_unless_null(source->json, "rope_scaling"), "rope_scaling"};
    const RopeSource new = {source, "rope_parameters",
                            member_unless_null(source->json, "rope_parameters"), "rope_parameters"};
    Rope other = {0};
    bool ok = keys->local != NULL ? kinds_read(config, source, initial, err)
                                  : rope_of(config, &new, keys->theta, initial, &config->rope, err);
    if (!ok || !rope_of(config, &old, keys->theta, initial, &other, err)) {
        return false;
    }
    if (old.object != NULL && new.object != NULL && !config_rope_same(&config->rope, &other)) {
        return error_at(
            err, ERROR_DATA, source->path, 0, 0,
            "'rope_scaling' and 'rope_parameters' say different things; one of them was "
            "expected");
    }
    if (old.object != NULL) {
        config->rope = other;
    }
    return true;
}

/* A number that is spelled with a point: transformers' checks ask for a float. */
static cJSON *real_item(double value) {
    char text[40];
    cJSON *item = cJSON_CreateNumber(value);
    if (item != NULL && value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, sizeof text, "%.1f", value);
        size_t size = strlen(text) + 1;
        item->valuestring = cJSON_malloc(size); /* as json.h has spellings */
        if (item->valuestring == NULL) {
            cJSON_Delete(item);
            return NULL;
        }
        memcpy(item->valuestring, text, size);
    }
    return item;
}

/* The members of an object: the type and what belongs to it. */
static bool scaling_write(const Rope *rope, cJSON *object, Error *err) {
    static const char *const names[] = {
        [ROPE_PLAIN] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3"};
    bool ok = config_put(object, "rope_type", cJSON_CreateString(names[rope->scaling]), err);
    if (ok && rope->scaling != ROPE_PLAIN) {
        ok = config_put(object, "factor", real_item(rope->factor), err);
    }
    if (ok && rope->scaling == ROPE_LLAMA3) {
        ok = config_put(object, "low_freq_factor", real_item(rope->low), err) &&
             config_put(object, "high_freq_factor", real_item(rope->high), err) &&
             config_put(object, "original_max_position_embeddings",
                        cJSON_CreateNumber((double)rope->original), err);
    }
    return ok;
}

/* Puts an object under the key before it is filled, so that the tree owns it. */
static cJSON *object_put(cJSON *json, const char *key, Error *err) {
    cJSON *object = cJSON_CreateObject();
    return config_put(json, key, object, err) ? object : NULL;
}

static bool old_write(const ModelConfig *config, double share, cJSON *json, Error *err) {
    const RopeKeys *keys = &config->family->rope;
    if (!config_put(json, keys->theta, real_item(config->rope.theta), err) ||
        (keys->share != NULL && !config_put(json, keys->share, real_item(share), err)) ||
        (keys->local != NULL &&
         !config_put(json, keys->local, real_item(config->local_rope.theta), err))) {
        return false;
    }
    if (config->rope.scaling == ROPE_PLAIN) {
        return config_put(json, "rope_scaling", cJSON_CreateNull(), err);
    }
    cJSON *object = object_put(json, "rope_scaling", err);
    return object != NULL && scaling_write(&config->rope, object, err);
}

static bool rope_write(const Rope *rope, cJSON *object, Error *err) {
    return object != NULL && scaling_write(rope, object, err) &&
           config_put(object, "rope_theta", real_item(rope->theta), err);
}

static bool new_write(const ModelConfig *config, double share, cJSON *json, Error *err) {
    cJSON *object = object_put(json, "rope_parameters", err);
    if (object == NULL || config->family->rope.local != NULL) {
        return object != NULL && rope_write(&config->rope, object_put(object, of_all, err), err) &&
               rope_write(&config->local_rope, object_put(object, of_local, err), err);
    }
    return rope_write(&config->rope, object, err) &&
           (config->family->rope.share == NULL ||
            config_put(object, "partial_rotary_factor", real_item(share), err));
}

/* Whether the tree has all that programs of before version 5 read. */
static bool old_complete(const ModelConfig *config, const cJSON *json) {
    const RopeKeys *keys = &config->family->rope;
    return json_member(json, keys->theta) != NULL &&
           (keys->share == NULL || json_member(json, keys->share) != NULL) &&
           (keys->local == NULL || json_member(json, keys->local) != NULL) &&
           (config->rope.scaling == ROPE_PLAIN || is_object(json, "rope_scaling"));
}

bool config_rope_write(const ModelConfig *config, cJSON *json, Error *err) {
    if (config->family->rope.theta == NULL) {
        return true;
    }
    ModelConfig said = *config;
    ConfigSource source = {.path = "config.json", .json = json};
    bool same = config->json != NULL && config_rope_read(&said, &source, NULL) &&
                config_rope_same(&said.rope, &config->rope) &&
                config_rope_same(&said.local_rope, &config->local_rope);
    if (same && (old_complete(config, json) || !is_object(json, "rope_parameters"))) {
        return true;
    }
    double share = config->rope.share > 0.0
                       ? config->rope.share
                       : (double)config->rope.dimensions / (double)config_head_size(config);
    return old_write(config, share, json, err) && (same || new_write(config, share, json, err));
}
