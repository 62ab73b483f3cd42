/* SPDX-License-Identifier: MIT
 *
 * What reading and writing config.json share: the value of a family's key in a ModelConfig.
 */
#ifndef RLHF_MODEL_CONFIG_KEYS_H
#define RLHF_MODEL_CONFIG_KEYS_H

#include "common/base/str.h"
#include "common/model/config.h"
#include "common/model/family.h"

enum { LABELS_LIMIT = 1 << 16 };

/* The file's text beside its tree, so that an error can say where. */
typedef struct ConfigSource {
    const char *path;
    Str text;
    cJSON *json; /* NULL: nothing is said */
} ConfigSource;

/* The member that the key fills. */
double config_get(const ModelConfig *config, const ConfigKey *key);

/* What a value of the key stands for; different values may mean the same. */
double config_meaning(const ModelConfig *config, const ConfigKey *key, double value);

/* The value of a key in the file; its default when it is absent. */
bool config_key_value(const ModelFamily *family, const ConfigSource *source, const ConfigKey *key,
                      double *value, Error *err);

/* Whether both heads of a HEAD_BOTH model are in one file, as the family's both_architecture has it. */
bool config_heads_together(const ModelConfig *config);

/* The names of the family's activations, NULL-terminated. */
const ActivationName *config_activations(const ModelFamily *family);

/* Rotary positions; the configuration's sizes are known. Writing adds what older and newer programs
 * read, and leaves a file that says the same as it is. */
bool config_rope_read(ModelConfig *config, const ConfigSource *source, Error *err);
bool config_rope_write(const ModelConfig *config, cJSON *json, Error *err);
/* Whether heads turn the same way. */
bool config_rope_same(const Rope *a, const Rope *b);

/* The ids that end a completion. generation->json may be NULL; writing puts them into the tree of
 * generation_config.json unless it says the same. */
bool config_ends_read(ModelConfig *config, const ConfigSource *source,
                      const ConfigSource *generation, Error *err);
bool config_ends_write(const ModelConfig *config, cJSON *generation, Error *err);

/* Sets the error of a key whose value is not what was expected, or that is missing; false. */
bool config_refuse(const ConfigSource *source, const char *key, const char *expected, Error *err);
/* The same, for mathematics that is not computed. */
bool config_not_computed(const ConfigSource *source, const char *key, const char *expected,
                         Error *err);

/* model_config_write, with the type of the weights as `dtype` has it ("bfloat16"). */
bool config_write_as(const ModelConfig *config, const char *folder, const char *dtype, Error *err);

/* Puts a value under a key, replacing what was there; takes `item` (NULL: out of memory) over. */
bool config_put(cJSON *object, const char *key, cJSON *item, Error *err);

#endif
