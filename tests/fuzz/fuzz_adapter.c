/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of adapter folders on a small base. The first byte picks the base's family; adapter_config.json,
 * config.json (none if empty) and the header of adapter_model.safetensors follow, each with a byte
 * 0xff behind it; then come its data. Whatever loads has finite values, is written, read again and the same.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/adapter_io.h"
#include "common/model/family.h"
#include "tests/fuzz/fuzz.h"

static const struct ModelFamily *const families[] = {&family_gpt2, &family_llama, &family_bert};
enum { BASES = sizeof families / sizeof *families };

/* The base is never read: a model on the same folder lends it. */
static Model *base_of(size_t family) {
    static Model bases[BASES];
    Model *base = &bases[family];
    if (base->data == NULL) {
        ModelConfig config = {.family = families[family],
                              .layers = 1,
                              .heads = 2,
                              .width = 4,
                              .inner = 4,
                              .vocabulary = 8,
                              .context = 4};
        demand(model_config_complete(&config, NULL) && model_create(base, &config, NULL));
        model_initialize(base, 1);
        base->base = strdup("memory:/base");
        model_config_done(&config);
    }
    return base;
}

static void put_weights(FuzzPart header, FuzzPart data) {
    uint64_t n = header.size;
    uint8_t *content = malloc(sizeof n + header.size + data.size + 1);
    demand(content != NULL);
    memcpy(content, &n, sizeof n);
    memcpy(content + sizeof n, header.data, header.size);
    memcpy(content + sizeof n + header.size, data.data, data.size);
    memory_file_put("memory:/adapter_model.safetensors", content,
                    sizeof n + header.size + data.size);
    free(content);
}

/* Every tensor has the shape that the configuration says. */
static void check_shapes(const Model *model) {
    for (size_t i = 0; i < family_parameters(&model->config); i++) {
        int layer;
        const TensorRow *row = family_row(&model->config, i, &layer);
        for (int d = 0; d < model->parameter[i].rank; d++) {
            demand(model->parameter[i].shape[d] == family_extent(&model->config, row->shape[d]));
        }
    }
}

static void compare(const Model *a, const Model *b) {
    demand(a->parameters == b->parameters && a->config.adapter.rank == b->config.adapter.rank &&
           a->config.adapter.targets == b->config.adapter.targets &&
           a->config.adapter.alpha == b->config.adapter.alpha);
    for (size_t i = 0; i < a->parameters; i++) {
        const Parameter *parameter = &a->parameter[i];
        const float *x = parameter_data(a, parameter), *y = parameter_data(b, &b->parameter[i]);
        for (size_t k = 0; parameter->own && k < parameter->count; k++) {
            demand(isfinite(x[k]) && x[k] == y[k]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    const Model *base = base_of(data[0] % BASES);
    FuzzPart rest = {data + 1, size - 1}, adapter = fuzz_cut(&rest, 0xff),
             config = fuzz_cut(&rest, 0xff), header = fuzz_cut(&rest, 0xff);
    memory_file_put("memory:/adapter_config.json", adapter.data, adapter.size);
    if (config.size > 0) {
        memory_file_put("memory:/config.json", config.data, config.size);
    }
    memory_file_put("memory:/base/config.json", NULL, 0);
    put_weights(header, rest);
    Error err = {0};
    Model model, again;
    if (model_load_beside(&model, base, "memory:", -1, 0, NULL, &err)) {
        check_shapes(&model);
        demand(model_save(&model, "memory:/saved", &err) &&
               model_load_beside(&again, base, "memory:/saved", -1, 0, NULL, &err));
        compare(&model, &again);
        model_done(&again);
        model_done(&model);
    } else {
        demand(err.text[0] != '\0');
    }
    memory_files_clear();
    return 0;
}
