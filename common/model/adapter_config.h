/* SPDX-License-Identifier: MIT
 *
 * adapter_config.json, PEFT's LoraConfig. Private to common/model.
 */
#ifndef RLHF_MODEL_ADAPTER_CONFIG_H
#define RLHF_MODEL_ADAPTER_CONFIG_H

#include "common/model/model.h"

/* The tree of a folder's file; release with cJSON_Delete. */
cJSON *adapter_json_read(const char *folder, Error *err);
/* Whether it belongs to a sequence classifier. */
bool adapter_json_scores(const cJSON *json);
/* The path of the base as the file has it, or NULL. */
const char *adapter_json_base(const cJSON *json);
/* The adapter of a model whose configuration this is. ERROR_DATA or ERROR_CONFIG naming the key. */
bool adapter_json_parse(const cJSON *json, const char *folder, const ModelConfig *config,
                        AdapterConfig *adapter, Error *err);
bool adapter_json_write(const Model *model, const char *folder, Error *err);

#endif
