/* SPDX-License-Identifier: MIT
 *
 * The parts that every stage's checkpoints are made of, each by folder and name.
 */
#include <stdlib.h>

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
    bool ok = path != NULL && model_reload(model, path, err);
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
