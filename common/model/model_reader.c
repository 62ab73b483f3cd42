/* SPDX-License-Identifier: MIT */
#include "common/model/model_reader.h"

#include <stdlib.h>

#include "common/base/json.h"
#include "common/model/adapter.h"
#include "common/model/adapter_io.h"
#include "common/model/llama2c.h"
#include "common/model/match.h"
#include "common/model/parameters.h"

struct ModelReader {
    Model own;          /* of a folder; without values where they stay in files */
    const Model *model; /* own, or another's */
    Match match;        /* of values in files */
    size_t buffer;      /* the largest parameter of these; 0: the values are in memory */
};

static bool reader_open_files(ModelReader *reader, const ModelConfig *config, const char *folder,
                              Error *err) {
    if (!parameters_layout(&reader->own, config, COMPACT_NONE, err)) {
        return false;
    }
    for (size_t i = 0; i < reader->own.parameters; i++) {
        size_t count = reader->own.parameter[i].count;
        reader->buffer = count > reader->buffer ? count : reader->buffer;
    }
    reader->match = (Match){.model = &reader->own, .had = config->head};
    return match_open(&reader->match, folder, err) && match_rest(&reader->match, false, err);
}

static bool reader_open_memory(ModelReader *reader, const char *folder, Error *err) {
    if (!model_load(&reader->own, folder, -1, 0, NULL, err)) {
        return false;
    }
    if (reader->own.config.adapter.rank > 0) {
        model_merge_adapter(&reader->own);
    }
    return true;
}

ModelReader *model_reader_open(const char *folder, Error *err) {
    ModelReader *reader = mem_alloc(1, sizeof *reader, err);
    ModelConfig config;
    if (reader == NULL) {
        return NULL;
    }
    reader->model = &reader->own;
    bool ok;
    if (!model_path_check(folder, err)) {
        ok = false;
    } else if (adapter_is_folder(folder) || llama2c_is_file(folder)) {
        ok = reader_open_memory(reader, folder, err);
    } else if ((ok = model_config_read(&config, folder, err))) {
        ok = cJSON_IsTrue(json_member(config.json, "normalize_reward"))
                 ? reader_open_memory(reader, folder, err)
                 : reader_open_files(reader, &config, folder, err);
        model_config_done(&config);
    }
    if (!ok) {
        model_reader_close(reader);
        return NULL;
    }
    return reader;
}

ModelReader *model_reader_of(const Model *model, Error *err) {
    ModelReader *reader = mem_alloc(1, sizeof *reader, err);
    if (reader != NULL) {
        reader->model = model;
    }
    return reader;
}

void model_reader_close(ModelReader *reader) {
    if (reader != NULL) {
        if (reader->buffer > 0) {
            match_close(&reader->match);
        }
        model_done(&reader->own);
        free(reader);
    }
}

const Model *model_reader_model(const ModelReader *reader) {
    return reader->model;
}

size_t model_reader_buffer(const ModelReader *reader) {
    return reader->buffer;
}

const float *model_reader_values(const ModelReader *reader, size_t i, float *buffer, Error *err) {
    if (reader->buffer == 0) {
        return parameter_data(reader->model, &reader->model->parameter[i]);
    }
    return match_read(&reader->match, i, buffer, err) ? buffer : NULL;
}
