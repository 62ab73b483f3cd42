/* SPDX-License-Identifier: MIT
 *
 * What reading and writing config.json share: the value of a family's key in a ModelConfig.
 */
#ifndef RLHF_MODEL_CONFIG_KEYS_H
#define RLHF_MODEL_CONFIG_KEYS_H

#include "common/base/str.h"
#include "common/model/config.h"
#include "common/model/family.h"

/* The file's text beside its tree, so that an error can say where. */
typedef struct ConfigSource {
    const char *path;
    Str text;
    cJSON *json;
} ConfigSource;

/* The member that the key fills. */
double config_get(const ModelConfig *config, const ConfigKey *key);

/* What a value of the key stands for; different values may mean the same. */
double config_meaning(const ModelConfig *config, const ConfigKey *key, double value);

/* The value of a key in the file; its default when it is absent. */
bool config_key_value(const ConfigSource *source, const ConfigKey *key, double *value, Error *err);

#endif
