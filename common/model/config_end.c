/* SPDX-License-Identifier: MIT
 *
 * Which ids end a completion: `eos_token_id` of generation_config.json, else of config.json.
 */
#include <string.h>

#include "common/model/config_keys.h"

static const char KEY[] = "eos_token_id";

typedef struct EndIds {
    int32_t id[EOS_LIMIT];
    size_t count;
} EndIds;

_Static_assert(EOS_LIMIT == 64, "the message below says so");

static bool add(const cJSON *item, size_t vocabulary, EndIds *ends) {
    int64_t id;
    if (!json_integer(item, -1, INT32_MAX, &id)) {
        return false;
    }
    for (size_t i = 0; i < ends->count; i++) {
        if (ends->id[i] == id) {
            return true;
        }
    }
    if (id >= 0 && (size_t)id < vocabulary) {
        if (ends->count == EOS_LIMIT) {
            return false;
        }
        ends->id[ends->count++] = (int32_t)id;
    }
    return true;
}

/* The different ids of the key that the vocabulary has; none without the key. */
static bool parse(const cJSON *json, size_t vocabulary, EndIds *ends) {
    const cJSON *item = json_member(json, KEY);
    *ends = (EndIds){.count = 0};
    if (item == NULL || cJSON_IsNull(item)) {
        return true;
    }
    if (!cJSON_IsArray(item)) {
        return add(item, vocabulary, ends);
    }
    for (item = item->child; item != NULL; item = item->next) {
        if (!add(item, vocabulary, ends)) {
            return false;
        }
    }
    return true;
}

bool config_ends_read(ModelConfig *config, const ConfigSource *source,
                      const ConfigSource *generation, Error *err) {
    EndIds ends;
    const ConfigSource *from = generation;
    bool ok = parse(from->json, config->vocabulary, &ends);
    if (ok && ends.count == 0) {
        from = source;
        ok = parse(from->json, config->vocabulary, &ends);
    }
    if (!ok) {
        return config_refuse(from, KEY, "a token id, a list of at most 64, or null", err);
    }
    bool plain = ends.count == 1 && ends.id[0] == config->eos;
    config->ends = plain ? 0 : ends.count;
    memcpy(config->end, ends.id, sizeof config->end);
    return true;
}

bool config_ends_write(const ModelConfig *config, cJSON *generation, Error *err) {
    EndIds said;
    size_t count;
    const int32_t *end = config_ends(config, &count);
    bool same = parse(generation, config->vocabulary, &said) && said.count == count &&
                memcmp(said.id, end, count * sizeof *end) == 0;
    if (same || count == 0) {
        return true;
    }
    return config_put(generation, KEY,
                      count == 1 ? cJSON_CreateNumber((double)end[0])
                                 : cJSON_CreateIntArray(end, (int)count),
                      err);
}
