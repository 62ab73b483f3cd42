/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/memory.h"

enum { FILES = 16 };

typedef struct MemoryFile {
    char *path;
    uint8_t *data;
    size_t size;
} MemoryFile;

static MemoryFile files[FILES];
static size_t count;

bool __real_file_read(const char *path, size_t limit, Str *out, Error *err);
bool __real_file_map(FileMap *map, const char *path, Error *err);
void __real_file_unmap(FileMap *map);
void __real_file_map_release(const FileMap *map, size_t from, size_t n);
bool __real_file_exists(const char *path);
bool __real_file_is_folder(const char *path);
bool __real_file_remove_tree(const char *path, Error *err);
bool __wrap_file_read(const char *path, size_t limit, Str *out, Error *err);
bool __wrap_file_map(FileMap *map, const char *path, Error *err);
void __wrap_file_unmap(FileMap *map);
void __wrap_file_map_release(const FileMap *map, size_t from, size_t n);
bool __wrap_file_exists(const char *path);
bool __wrap_file_is_folder(const char *path);
bool __wrap_file_remove_tree(const char *path, Error *err);
bool __wrap_file_writer_open(FileWriter *writer, const char *path, Error *err);
bool __wrap_file_writer_put(FileWriter *writer, const void *data, size_t n, Error *err);
bool __wrap_file_writer_commit(FileWriter *writer, char *hash, Error *err);
void __wrap_file_writer_abort(FileWriter *writer);
bool __wrap_file_write(const char *path, const void *data, size_t n, Error *err);
char *__real_realpath(const char *path, char *out);
char *__wrap_realpath(const char *path, char *out);
int __wrap_pcre2_jit_compile_8(void *code, uint32_t options);

static bool is_ours(const char *path) {
    return strncmp(path, "memory:", 7) == 0;
}

static MemoryFile *find(const char *path) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(files[i].path, path) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

void demand(bool condition) {
    if (!condition) {
        abort();
    }
}

static void forget(MemoryFile *file) {
    free(file->path);
    free(file->data);
    *file = files[--count];
}

/* Takes the block. */
static void put(const char *path, uint8_t *data, size_t size) {
    MemoryFile *old = find(path);
    if (old != NULL) {
        forget(old);
    }
    demand(is_ours(path) && count < FILES);
    files[count] = (MemoryFile){strdup(path), data, size};
    demand(files[count++].path != NULL);
}

static uint8_t *copy(const void *data, size_t size) {
    uint8_t *block = malloc(size + (size == 0)); /* not a byte more than the file has */
    demand(block != NULL);
    if (size > 0) {
        memcpy(block, data, size);
    }
    return block;
}

void memory_file_put(const char *path, const void *data, size_t size) {
    put(path, copy(data, size), size);
}

const uint8_t *memory_file(const char *path, size_t *size) {
    const MemoryFile *file = find(path);
    *size = file == NULL ? 0 : file->size;
    return file == NULL ? NULL : file->data;
}

void memory_files_clear(void) {
    while (count > 0) {
        forget(&files[count - 1]);
    }
}

FuzzPart fuzz_cut(FuzzPart *rest, uint8_t separator) {
    FuzzPart part = *rest;
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    if (end == NULL) {
        *rest = (FuzzPart){part.data + part.size, 0};
        return part;
    }
    part.size = (size_t)(end - part.data);
    *rest = (FuzzPart){end + 1, rest->size - part.size - 1};
    return part;
}

static const MemoryFile *wanted(const char *path, Error *err) {
    const MemoryFile *file = find(path);
    if (file == NULL) {
        error_set(err, ERROR_NO_INPUT, "cannot open %s", path);
    }
    return file;
}

bool __wrap_file_read(const char *path, size_t limit, Str *out, Error *err) {
    if (!is_ours(path)) {
        return __real_file_read(path, limit, out, err);
    }
    const MemoryFile *file = wanted(path, err);
    if (file == NULL || (file->size > limit && !error_set(err, ERROR_DATA, "%s is big", path))) {
        return false;
    }
    str_append_bytes(out, file->data, file->size);
    return str_ok(out, err);
}

bool __wrap_file_map(FileMap *map, const char *path, Error *err) {
    if (!is_ours(path)) {
        return __real_file_map(map, path, err);
    }
    const MemoryFile *file = wanted(path, err);
    *map = file == NULL ? (FileMap){0} : (FileMap){file->data, file->size};
    return file != NULL;
}

static bool is_map_of_ours(const FileMap *map) {
    for (size_t i = 0; i < count; i++) {
        if (files[i].data == map->data) {
            return true;
        }
    }
    return false;
}

void __wrap_file_unmap(FileMap *map) {
    if (map->data != NULL && !is_map_of_ours(map)) {
        __real_file_unmap(map);
    }
    *map = (FileMap){0};
}

void __wrap_file_map_release(const FileMap *map, size_t from, size_t n) {
    if (!is_map_of_ours(map)) {
        __real_file_map_release(map, from, n);
    }
}

bool __wrap_file_is_folder(const char *path) {
    if (!is_ours(path)) {
        return __real_file_is_folder(path);
    }
    size_t n = strlen(path);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(files[i].path, path, n) == 0 && files[i].path[n] == '/') {
            return true;
        }
    }
    return false;
}

bool __wrap_file_exists(const char *path) {
    return is_ours(path) ? find(path) != NULL || __wrap_file_is_folder(path)
                         : __real_file_exists(path);
}

bool __wrap_file_remove_tree(const char *path, Error *err) {
    if (!is_ours(path)) {
        return __real_file_remove_tree(path, err);
    }
    MemoryFile *file = find(path);
    if (file != NULL) {
        forget(file);
    }
    return true;
}

bool __wrap_file_writer_open(FileWriter *writer, const char *path, Error *err) {
    *writer = (FileWriter){.descriptor = -1, .path = mem_strdup(path, err)};
    return writer->path != NULL;
}

bool __wrap_file_writer_put(FileWriter *writer, const void *data, size_t n, Error *err) {
    (void)err;
    writer->buffer = realloc(writer->buffer, writer->used + n + 1);
    demand(writer->buffer != NULL);
    if (n > 0) {
        memcpy(writer->buffer + writer->used, data, n);
    }
    writer->used += n;
    writer->written += n;
    return true;
}

bool __wrap_file_writer_commit(FileWriter *writer, char *hash, Error *err) {
    (void)err;
    memory_file_put(writer->path, writer->buffer, writer->used);
    if (hash != NULL) {
        hash_hex(writer->buffer, writer->used, hash);
    }
    __wrap_file_writer_abort(writer);
    return true;
}

void __wrap_file_writer_abort(FileWriter *writer) {
    free(writer->path);
    free(writer->buffer);
    *writer = (FileWriter){.descriptor = -1};
}

bool __wrap_file_write(const char *path, const void *data, size_t n, Error *err) {
    (void)err;
    memory_file_put(path, data, n);
    return true;
}

char *__wrap_realpath(const char *path, char *out) {
    return is_ours(path) && out == NULL ? strdup(path) : __real_realpath(path, out);
}

int __wrap_pcre2_jit_compile_8(void *code, uint32_t options) {
    (void)code, (void)options;
    return -45; /* PCRE2_ERROR_JIT_BADOPTION: as where there is no compiler for the processor */
}
