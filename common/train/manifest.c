/* SPDX-License-Identifier: MIT */
#include "common/train/manifest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/train/checkpoint.h"

enum { DEEPEST = 8 };
#define LARGEST ((int64_t)1 << 53)

static const char *const manifest_name = "manifest.json";

static bool sync_file(const char *path, Error *err) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return error_errno(err, "cannot open", path);
    }
    bool ok = fsync(descriptor) == 0 || error_errno(err, "cannot sync", path);
    close(descriptor);
    return ok;
}

static bool put_file(const char *path, const char *name, Str *out, Error *err) {
    char hash[HASH_TEXT];
    uint64_t size;
    if (!sync_file(path, err) || !hash_file(path, hash, &size, err)) {
        return false;
    }
    if (out->data[out->size - 1] == '}') {
        str_append(out, ",");
    }
    str_append(out, "\n  {\"name\":");
    json_put_string(out, name, strlen(name));
    str_appendf(out, ",\"size\":%llu,\"xxh3\":\"%s\"}", (unsigned long long)size, hash);
    return str_ok(out, err);
}

/* relative: "" for the checkpoint's own folder, else "model/" and the like. */
static bool put_folder(const char *folder, const char *relative, int depth, Str *out, Error *err) {
    char **name;
    size_t count;
    if (depth > DEEPEST) {
        return error_set(err, ERROR_INTERNAL, "%s is nested too deeply", folder);
    }
    if (!file_list(folder, &name, &count, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        char *path = ok ? file_join(folder, name[i], err) : NULL;
        ok = path != NULL;
        if (ok && (depth > 0 || strcmp(name[i], manifest_name) != 0)) {
            Str below = {0};
            bool inner = file_is_folder(path);
            str_appendf(&below, "%s%s%s", relative, name[i], inner ? "/" : "");
            ok = str_ok(&below, err) &&
                 (inner ? put_folder(path, str_text(&below), depth + 1, out, err)
                        : put_file(path, str_text(&below), out, err));
            str_done(&below);
        }
        free(path);
        free(name[i]);
    }
    free(name);
    return ok && file_sync_folder(folder, err);
}

bool manifest_write(const char *folder, int64_t step, Error *err) {
    Str text = {0};
    str_appendf(&text, "{\n\"format\":%d,\n\"step\":%lld,\n\"files\":[", CHECKPOINT_FORMAT,
                (long long)step);
    char *path = str_ok(&text, err) ? file_join(folder, manifest_name, err) : NULL;
    bool ok = path != NULL && put_folder(folder, "", 0, &text, err);
    str_append(&text, "\n]\n}\n");
    ok = ok && str_ok(&text, err) && file_write(path, text.data, text.size, err);
    free(path);
    str_done(&text);
    return ok;
}

static bool is_inside(const char *name) {
    if (name[0] == '/' || name[0] == '\0') {
        return false;
    }
    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) {
            return false;
        }
    }
    return true;
}

static bool verify_file(const char *folder, const cJSON *entry, const char *manifest, Error *err) {
    const char *name = json_string(json_member(entry, "name"));
    const char *wanted = json_string(json_member(entry, "xxh3"));
    int64_t size;
    if (name == NULL || wanted == NULL || !is_inside(name) ||
        !json_integer(json_member(entry, "size"), 0, LARGEST, &size)) {
        return error_at(err, ERROR_DATA, manifest, 0, 0,
                        "an entry of \"files\" lacks a valid name, size or hash");
    }
    char *path = file_join(folder, name, err);
    uint64_t found = 0;
    char hash[HASH_TEXT];
    bool ok = path != NULL && file_size(path, &found, err);
    if (ok && found != (uint64_t)size) {
        ok = error_at(err, ERROR_DATA, path, 0, 0, "has %llu bytes where %lld were written",
                      (unsigned long long)found, (long long)size);
    }
    ok = ok && hash_file(path, hash, &found, err);
    if (ok && strcmp(hash, wanted) != 0) {
        ok = error_at(err, ERROR_DATA, path, 0, 0,
                      "its content changed since it was written (hash %s, written %s)", hash,
                      wanted);
    }
    free(path);
    return ok;
}

static bool verify_tree(const char *folder, const cJSON *tree, int64_t step, const char *manifest,
                        Error *err) {
    int64_t format, written;
    const cJSON *files = json_member(tree, "files");
    if (!json_integer(json_member(tree, "format"), 1, INT32_MAX, &format) ||
        !json_integer(json_member(tree, "step"), 0, LARGEST, &written) || !cJSON_IsArray(files)) {
        return error_at(err, ERROR_DATA, manifest, 0, 0,
                        "is not the manifest of a checkpoint: format, step and files are expected");
    }
    if (format != CHECKPOINT_FORMAT) {
        return error_at(err, ERROR_DATA, manifest, 0, 0,
                        "has format %lld, this program knows format %d", (long long)format,
                        CHECKPOINT_FORMAT);
    }
    if (written != step) {
        return error_at(err, ERROR_DATA, manifest, 0, 0,
                        "speaks of step %lld, the folder's name of step %lld", (long long)written,
                        (long long)step);
    }
    const cJSON *entry;
    cJSON_ArrayForEach(entry, files) {
        if (!verify_file(folder, entry, manifest, err)) {
            return false;
        }
    }
    return true;
}

bool manifest_verify(const char *folder, int64_t step, Error *err) {
    char *path = file_join(folder, manifest_name, err);
    cJSON *tree = path == NULL ? NULL : json_read_file(path, &json_limits_document, err);
    bool ok = tree != NULL && verify_tree(folder, tree, step, path, err);
    cJSON_Delete(tree);
    free(path);
    return ok;
}
