/* SPDX-License-Identifier: MIT
 *
 * The parts that every stage's checkpoints are made of, each by folder and name.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/stage/stage.h"

static const char *optimizer_name = "optimizer.safetensors";

bool stage_save_weights(const Model *model, const char *folder, const char *name, Error *err) {
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && file_make_folders(path, err) && model_save(model, path, err);
    free(path);
    return ok;
}

bool stage_load_weights(Model *model, const char *folder, const char *name, Error *err) {
    char *path = file_join(folder, name, err);
    Model loaded = {0};
    if (path == NULL ||
        !model_load(&loaded, path, (int)model->config.head, model->config.labels, NULL, err)) {
        free(path);
        return false;
    }
    bool ok = loaded.count == model->count;
    if (ok) {
        memcpy(model->data, loaded.data, model->count * sizeof(float));
        model_touch(model);
    } else {
        error_set(err, ERROR_DATA, "%s holds %zu weights, the run has %zu", path, loaded.count,
                  model->count);
    }
    model_done(&loaded);
    free(path);
    return ok;
}

bool stage_save_optimizer(const Optimizer *optimizer, const Model *model, const char *folder,
                          Error *err) {
    char *path = file_join(folder, optimizer_name, err);
    bool ok = path != NULL && optimizer_save(optimizer, model, path, err);
    free(path);
    return ok;
}

bool stage_load_optimizer(Optimizer *optimizer, const Model *model, const char *folder,
                          Error *err) {
    char *path = file_join(folder, optimizer_name, err);
    bool ok = path != NULL && optimizer_load(optimizer, model, path, err);
    free(path);
    return ok;
}
