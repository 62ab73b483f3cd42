/* SPDX-License-Identifier: MIT */
#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/file_private.h"
#include "common/base/memory.h"

int file_open_regular(const char *path, uint64_t *size, Error *err) {
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        error_errno(err, "cannot open", path);
        return -1;
    }
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        error_errno(err, "cannot examine", path);
        close(descriptor);
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        error_set(err, ERROR_DATA, "%s is not a regular file%s", path,
                  S_ISDIR(status.st_mode) ? " but a folder" : "; save its content to a file first");
        close(descriptor);
        return -1;
    }
    *size = (uint64_t)status.st_size;
    return descriptor;
}

bool file_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

bool file_is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool file_size(const char *path, uint64_t *size, Error *err) {
    struct stat status;
    if (stat(path, &status) != 0) {
        return error_errno(err, "cannot examine", path);
    }
    *size = (uint64_t)status.st_size;
    return true;
}

bool file_cannot_create(const char *what, const char *path, Error *err) {
    error_errno(err, what, path);
    if (err != NULL && err->code == ERROR_NO_INPUT) {
        err->code = ERROR_CANNOT_CREATE;
    }
    return false;
}

bool file_make_folders(const char *path, Error *err) {
    char *copy = mem_strdup(path, err);
    if (copy == NULL) {
        return false;
    }
    bool ok = true;
    for (char *p = copy; ok && *p != '\0'; p++) {
        bool end = p[1] == '\0';
        if ((*p == '/' && p > copy) || end) {
            char kept = *p;
            *p = end && kept != '/' ? kept : '\0';
            ok = mkdir(copy, 0777) == 0 || errno == EEXIST || errno == EISDIR || errno == EROFS;
            *p = kept;
        }
    }
    if (ok && !file_is_folder(path)) {
        ok = false;
        errno = file_exists(path) ? EEXIST : errno;
    }
    if (!ok) {
        file_cannot_create("cannot create the folder", path, err);
        if (err != NULL && errno == EEXIST) {
            error_set(err, ERROR_CANNOT_CREATE,
                      "cannot create the folder %s: something else has this name", path);
        }
    }
    free(copy);
    return ok;
}

bool file_sync_folder(const char *path, Error *err) {
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return error_errno(err, "cannot open the folder", path);
    }
    /* EINVAL: a file system that has no way to sync folders. */
    bool ok = file_sync(descriptor) == 0 || errno == EINVAL;
    if (!ok) {
        error_errno(err, "cannot sync the folder", path);
    }
    close(descriptor);
    return ok;
}

bool file_sync_parent(const char *path, Error *err) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return file_sync_folder(".", err);
    }
    char *parent = mem_strndup(path, slash == path ? 1 : (size_t)(slash - path), err);
    bool ok = parent != NULL && file_sync_folder(parent, err);
    free(parent);
    return ok;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status, (void)type, (void)place;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

bool file_remove_tree(const char *path, Error *err) {
    if (!file_exists(path)) {
        return true;
    }
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ||
           error_errno(err, "cannot remove", path);
}

bool file_rename(const char *from, const char *to, Error *err) {
    if (rename(from, to) != 0) {
        return file_cannot_create("cannot rename a finished file to", to, err);
    }
    return file_sync_parent(to, err);
}

bool file_truncate(const char *path, uint64_t size, Error *err) {
    return truncate(path, (off_t)size) == 0 || error_errno(err, "cannot shorten", path);
}

bool file_free_space(const char *folder, uint64_t *bytes, Error *err) {
    struct statvfs status;
    if (statvfs(folder, &status) != 0) {
        return error_errno(err, "cannot examine the file system of", folder);
    }
    *bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return true;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool file_list(const char *folder, char ***names, size_t *count, Error *err) {
    *names = NULL;
    *count = 0;
    DIR *stream = opendir(folder);
    if (stream == NULL) {
        return error_errno(err, "cannot open the folder", folder);
    }
    size_t capacity = 0;
    bool ok = true;
    errno = 0;
    for (struct dirent *entry; ok && (entry = readdir(stream)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        ok = mem_reserve(names, &capacity, *count + 1, sizeof **names, err);
        ok = ok && ((*names)[*count] = mem_strdup(entry->d_name, err)) != NULL;
        *count += ok;
    }
    if (ok && errno != 0) {
        ok = error_errno(err, "cannot read the folder", folder);
    }
    closedir(stream);
    if (ok && *count == 0) {
        ok = (*names = mem_alloc(1, sizeof **names, err)) != NULL;
    }
    if (!ok) {
        for (size_t i = 0; i < *count; i++) {
            free((*names)[i]);
        }
        free(*names);
        *names = NULL;
        *count = 0;
        return false;
    }
    qsort(*names, *count, sizeof **names, by_bytes);
    return true;
}

char *file_join(const char *folder, const char *name, Error *err) {
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') {
        n--;
    }
    bool separator = n > 0 && folder[n - 1] != '/';
    while (n > 0 && *name == '/') {
        name++;
    }
    Str path = {0};
    str_append_bytes(&path, folder, n);
    if (separator) {
        str_append_char(&path, '/');
    }
    str_append(&path, name);
    return str_take(&path, err);
}

bool file_map(FileMap *map, const char *path, Error *err) {
    *map = (FileMap){0};
    uint64_t size = 0;
    int descriptor = file_open_regular(path, &size, err);
    if (descriptor < 0) {
        return false;
    }
    bool ok = true;
    if (size > PTRDIFF_MAX) {
        ok = error_set(err, ERROR_DATA, "%s is too big to map", path);
    } else if (size > 0) {
        void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        ok = data != MAP_FAILED || error_errno(err, "cannot map", path);
        if (ok) {
            *map = (FileMap){.data = data, .size = (size_t)size};
        }
    }
    close(descriptor);
    return ok;
}

void file_map_release(const FileMap *map, size_t from, size_t n) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = from - from % page;
    if (n > 0) {
        madvise((void *)(uintptr_t)(map->data + begin), from + n - begin, MADV_DONTNEED);
    }
}

void file_unmap(FileMap *map) {
    if (map->size > 0) {
        munmap((void *)(uintptr_t)map->data, map->size);
    }
    *map = (FileMap){0};
}
