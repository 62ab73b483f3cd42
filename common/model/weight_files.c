/* SPDX-License-Identifier: MIT */
#include "common/model/weight_files.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/str.h"

void weight_files_close(WeightFiles *files) {
    for (size_t i = 0; i < files->files; i++) {
        safetensors_close(&files->file[i]);
        free(files->name[i]);
    }
    free(files->file);
    free(files->name);
    free(files->index_path);
    *files = (WeightFiles){0};
}

bool weight_files_open(WeightFiles *files, const char *folder, const char *name, Error *err) {
    if (!mem_reserve(&files->name, &files->names_capacity, files->files + 1, sizeof(char *), err) ||
        !mem_reserve(&files->file, &files->files_capacity, files->files + 1, sizeof(SafeTensors),
                     err)) {
        return false;
    }
    char *path = file_join(folder, name, err);
    char *copy = path != NULL ? mem_strdup(name, err) : NULL;
    if (copy == NULL || !safetensors_open(&files->file[files->files], path, err)) {
        free(path);
        free(copy);
        return false;
    }
    files->name[files->files++] = copy;
    free(path);
    return true;
}

static bool is_shard_name(const char *name) {
    return name != NULL && name[0] != '.' && strchr(name, '/') == NULL &&
           strchr(name, '\\') == NULL && str_ends_with(name, ".safetensors");
}

/* Opens the shard of one entry of the index unless it is open, and looks for the tensor there. */
static bool index_entry(WeightFiles *files, const char *folder, const cJSON *item, Error *err) {
    const char *shard = json_string(item);
    if (!is_shard_name(shard)) {
        return error_at(
            err, ERROR_DATA, files->index_path, 0, 0,
            "tensor '%.200s' is said to be in '%.200s'; the plain name of a .safetensors "
            "file in the same folder was expected",
            item->string, shard != NULL ? shard : "(no string)");
    }
    size_t i = 0;
    while (i < files->files && strcmp(files->name[i], shard) != 0) {
        i++;
    }
    if (i == files->files && !weight_files_open(files, folder, shard, err)) {
        return false;
    }
    return safetensors_find(&files->file[i], item->string) != NULL ||
           error_at(err, ERROR_DATA, files->index_path, 0, 0,
                    "tensor '%.200s' is said to be in %.200s, but is not there", item->string,
                    shard);
}

static bool index_read(WeightFiles *files, const char *folder, Error *err) {
    cJSON *json = json_read_file(files->index_path, &json_limits_document, err);
    if (json == NULL) {
        return false;
    }
    const cJSON *map = json_member(json, "weight_map");
    bool ok = cJSON_IsObject(map) && map->child != NULL;
    if (!ok) {
        error_at(err, ERROR_DATA, files->index_path, 0, 0,
                 "no 'weight_map' that says which file holds which tensor");
    }
    for (const cJSON *item = ok ? map->child : NULL; item != NULL && ok; item = item->next) {
        ok = index_entry(files, folder, item, err);
    }
    cJSON_Delete(json);
    return ok;
}

static bool has_file(const char *folder, const char *name) {
    char *path = file_join(folder, name, NULL);
    bool found = path != NULL && file_exists(path);
    free(path);
    return found;
}

bool weight_files_find(WeightFiles *files, const char *folder, Error *err) {
    *files = (WeightFiles){0};
    bool ok;
    if (has_file(folder, "model.safetensors")) {
        ok = weight_files_open(files, folder, "model.safetensors", err);
    } else if (has_file(folder, "model.safetensors.index.json")) {
        files->index_path = file_join(folder, "model.safetensors.index.json", err);
        ok = files->index_path != NULL && index_read(files, folder, err);
    } else if (has_file(folder, "pytorch_model.bin") ||
               has_file(folder, "pytorch_model.bin.index.json")) {
        ok = error_at(
            err, ERROR_DATA, folder, 0, 0,
            "the weights are only there as pytorch_model.bin, a pickle, which is a program "
            "and is never read here; load the folder with transformers and call "
            "save_pretrained(folder, safe_serialization=True)");
    } else {
        ok = error_at(err, ERROR_NO_INPUT, folder, 0, 0,
                      "neither model.safetensors nor model.safetensors.index.json is there");
    }
    if (!ok) {
        weight_files_close(files);
    }
    return ok;
}
