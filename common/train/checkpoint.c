/* SPDX-License-Identifier: MIT */
#include "common/train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/train/manifest.h"

static char *parent_folder(const char *run, Error *err) {
    return file_join(run, "checkpoints", err);
}

char *checkpoint_folder(const char *run, int64_t step, Error *err) {
    char *parent = parent_folder(run, err);
    Str path = {0};
    if (parent != NULL) {
        str_appendf(&path, "%s/step-%08lld", parent, (long long)step);
    }
    free(parent);
    return path.size == 0 && !path.failed ? NULL : str_take(&path, err);
}

/* Step of a complete checkpoint's name, -1 for any other name. */
static int64_t step_of(const char *name) {
    enum { PREFIX = 5, SHORTEST = 8, LONGEST = 18 };
    if (strncmp(name, "step-", PREFIX) != 0) {
        return -1;
    }
    const char *digits = name + PREFIX;
    size_t n = strspn(digits, "0123456789");
    if (digits[n] != '\0' || n < SHORTEST || n > LONGEST || (n > SHORTEST && digits[0] == '0')) {
        return -1;
    }
    return strtoll(digits, NULL, 10);
}

static void free_names(char **name, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(name[i]);
    }
    free(name);
}

static int newest_first(const void *a, const void *b) {
    int64_t left = step_of(*(char *const *)a), right = step_of(*(char *const *)b);
    return (left < right) - (left > right);
}

/* Names of the complete checkpoints, newest first; other names are dropped. */
static bool list_complete(const char *parent, char ***name, size_t *count, Error *err) {
    *name = NULL;
    *count = 0;
    size_t all;
    if (!file_is_folder(parent)) {
        return true;
    }
    if (!file_list(parent, name, &all, err)) {
        return false;
    }
    for (size_t i = 0; i < all; i++) {
        if (step_of((*name)[i]) >= 0) {
            (*name)[(*count)++] = (*name)[i];
        } else {
            free((*name)[i]);
        }
    }
    qsort(*name, *count, sizeof **name, newest_first);
    return true;
}

static bool remove_leftovers(const char *parent, Error *err) {
    char **name;
    size_t count;
    if (!file_is_folder(parent)) {
        return true;
    }
    if (!file_list(parent, &name, &count, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (strncmp(name[i], "step-", 5) == 0 && strstr(name[i], ".tmp-") != NULL) {
            char *path = file_join(parent, name[i], err);
            ok = path != NULL && file_remove_tree(path, err);
            free(path);
        }
    }
    free_names(name, count);
    return ok;
}

static bool enough_space(const char *parent, uint64_t expected, Error *err) {
    uint64_t available;
    if (expected == 0 || !file_free_space(parent, &available, err)) {
        return expected == 0;
    }
    uint64_t wanted = expected + expected / 10;
    return available >= wanted ||
           error_set(err, ERROR_IO,
                     "a checkpoint needs %llu MB in %s but only %llu MB are free; make room",
                     (unsigned long long)(wanted / 1000000 + 1), parent,
                     (unsigned long long)(available / 1000000));
}

static char *temporary_name(const char *target, const char *kind, Error *err) {
    Str path = {0};
    str_appendf(&path, "%s.tmp-%s%ld", target, kind, (long)getpid());
    return str_take(&path, err);
}

static void release(CheckpointWriter *writer) {
    free(writer->folder);
    free(writer->target);
    free(writer->parent);
    *writer = (CheckpointWriter){0};
}

bool checkpoint_begin(CheckpointWriter *writer, const char *run, int64_t step,
                      uint64_t expected_bytes, Error *err) {
    *writer = (CheckpointWriter){.step = step};
    CHECK(step >= 0);
    writer->parent = parent_folder(run, err);
    writer->target = writer->parent == NULL ? NULL : checkpoint_folder(run, step, err);
    writer->folder = writer->target == NULL ? NULL : temporary_name(writer->target, "", err);
    if (writer->folder == NULL || !file_make_folders(writer->parent, err) ||
        !remove_leftovers(writer->parent, err) ||
        !enough_space(writer->parent, expected_bytes, err) ||
        !file_make_folders(writer->folder, err)) {
        checkpoint_abort(writer);
        return false;
    }
    return true;
}

void checkpoint_abort(CheckpointWriter *writer) {
    if (writer->folder != NULL) {
        file_remove_tree(writer->folder, NULL);
    }
    release(writer);
}

/* Takes a folder out of the set of complete ones in one step, then removes its files. */
static bool discard(const char *folder, Error *err) {
    char *aside = temporary_name(folder, "old-", err);
    bool ok = aside != NULL && file_remove_tree(aside, err) && file_rename(folder, aside, err) &&
              file_remove_tree(aside, err);
    free(aside);
    return ok;
}

bool checkpoint_commit(CheckpointWriter *writer, Error *err) {
    bool ok = manifest_write(writer->folder, writer->step, err) &&
              (!file_exists(writer->target) || discard(writer->target, err)) &&
              file_rename(writer->folder, writer->target, err);
    if (ok && !checkpoint_verify(writer->target, err)) {
        error_wrap(err, "the checkpoint cannot be read back");
        if (err != NULL) {
            err->code = ERROR_IO; /* our file, so the fault is the disk's */
        }
        discard(writer->target, NULL);
        ok = false;
    }
    checkpoint_abort(writer);
    return ok;
}

bool checkpoint_verify(const char *folder, Error *err) {
    const char *slash = strrchr(folder, '/');
    return manifest_verify(folder, step_of(slash == NULL ? folder : slash + 1), err);
}

bool checkpoint_remove(const char *run, int64_t step, Error *err) {
    char *folder = checkpoint_folder(run, step, err);
    bool ok = folder != NULL && (!file_exists(folder) || discard(folder, err));
    free(folder);
    return ok;
}

bool checkpoint_prune(const char *run, int keep, int64_t best, Error *err) {
    CHECK(keep >= 1);
    char *parent = parent_folder(run, err);
    char **name;
    size_t count;
    if (parent == NULL || !remove_leftovers(parent, err) ||
        !list_complete(parent, &name, &count, err)) {
        free(parent);
        return false;
    }
    bool ok = true;
    for (size_t i = (size_t)keep; ok && i < count; i++) {
        int64_t step = step_of(name[i]);
        ok = step == best || checkpoint_remove(run, step, err);
    }
    free_names(name, count);
    free(parent);
    return ok;
}

bool checkpoint_steps(const char *run, int64_t **step, size_t *count, Error *err) {
    char *parent = parent_folder(run, err);
    char **name;
    bool ok = parent != NULL && list_complete(parent, &name, count, err);
    free(parent);
    if (!ok) {
        return false;
    }
    *step = mem_alloc(*count, sizeof **step, err);
    for (size_t i = 0; *step != NULL && i < *count; i++) {
        (*step)[i] = step_of(name[i]);
    }
    free_names(name, *count);
    return *step != NULL;
}

/* A checkpoint that does not hold must not count among those that are kept, but may still be wanted by
 * its owner. */
static void set_aside(const char *folder, Log *log) {
    Str target = {0};
    str_appendf(&target, "%s.damaged", folder);
    if (str_ok(&target, NULL) && file_remove_tree(str_text(&target), NULL)) {
        if (rename(folder, str_text(&target)) != 0) {
            log_warn(log, "cannot rename %s to %s", folder, str_text(&target));
        }
    }
    str_done(&target);
}

bool checkpoint_find(const char *run, Log *log, char **folder, int64_t *step, Error *err) {
    *folder = NULL;
    char *parent = parent_folder(run, err);
    char **name;
    size_t count;
    if (parent == NULL || !list_complete(parent, &name, &count, err)) {
        free(parent);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && *folder == NULL && i < count; i++) {
        char *path = file_join(parent, name[i], err);
        Error why = {0};
        ok = path != NULL;
        if (ok && checkpoint_verify(path, &why)) {
            *folder = path;
            *step = step_of(name[i]);
        } else if (ok) {
            log_warn(log, "skipped the checkpoint %s: %s%s%s", path, why.file,
                     why.file[0] == '\0' ? "" : ": ", why.text);
            set_aside(path, log);
            free(path);
        }
    }
    free_names(name, count);
    free(parent);
    return ok;
}
