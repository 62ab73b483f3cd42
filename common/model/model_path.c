/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/base/file.h"
#include "common/model/model.h"

/* "owner/name" or "name". */
static bool is_hub_name(const char *path) {
    const char *slash = strchr(path, '/');
    return path[0] != '/' && path[0] != '.' && path[0] != '~' && path[0] != '\0' &&
           (slash == NULL || (slash[1] != '\0' && strchr(slash + 1, '/') == NULL));
}

bool model_path_check(const char *path, Error *err) {
    if (file_exists(path)) {
        return true;
    }
    if (!is_hub_name(path)) {
        return error_at(err, ERROR_NO_INPUT, path, 0, 0, "there is no such model folder");
    }
    return error_at(err, ERROR_NO_INPUT, path, 0, 0,
                    "there is no such model folder here; if it is a name on the Hugging Face Hub, "
                    "download it first (hf download %.200s --local-dir DIR) and name DIR: these "
                    "programs never use the network",
                    path);
}
