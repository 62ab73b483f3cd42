/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/str.h"
#include "common/model/safetensors.h"

typedef struct Entry {
    char *name; /* owned */
    TensorType type;
    size_t shape[TENSOR_RANK_LIMIT];
    int rank;
    size_t bytes;
    const void *data; /* borrowed */
} Entry;

struct SafeTensorsWriter {
    Entry *entry; /* owned */
    size_t entries, capacity;
};

SafeTensorsWriter *safetensors_writer_create(Error *err) {
    return mem_alloc(1, sizeof(SafeTensorsWriter), err);
}

void safetensors_writer_free(SafeTensorsWriter *writer) {
    if (writer == NULL) {
        return;
    }
    for (size_t i = 0; i < writer->entries; i++) {
        free(writer->entry[i].name);
    }
    free(writer->entry);
    free(writer);
}

bool safetensors_writer_add(SafeTensorsWriter *writer, const char *name, TensorType type,
                            const size_t *shape, int rank, const void *data, Error *err) {
    CHECK(type != TENSOR_OTHER && rank >= 0 && rank <= TENSOR_RANK_LIMIT &&
          strlen(name) <= TENSOR_NAME_LIMIT);
    if (!mem_reserve(&writer->entry, &writer->capacity, writer->entries + 1, sizeof(Entry), err)) {
        return false;
    }
    Entry *entry = &writer->entry[writer->entries];
    *entry = (Entry){.type = type, .rank = rank, .data = data};
    entry->bytes = tensor_type_bytes(type);
    for (int i = 0; i < rank; i++) {
        entry->shape[i] = shape[i];
        entry->bytes = mem_mul(entry->bytes, shape[i]);
    }
    CHECK(entry->bytes != SIZE_MAX);
    entry->name = mem_strdup(name, err);
    if (entry->name == NULL) {
        return false;
    }
    writer->entries++;
    return true;
}

static int by_alignment(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    size_t bytes_x = tensor_type_bytes(x->type), bytes_y = tensor_type_bytes(y->type);
    if (bytes_x != bytes_y) {
        return bytes_x > bytes_y ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static void header_write(const SafeTensorsWriter *writer, Str *out) {
    size_t at = 0;
    str_append(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < writer->entries; i++) {
        const Entry *entry = &writer->entry[i];
        str_append_char(out, ',');
        json_put_string(out, entry->name, strlen(entry->name));
        str_appendf(out, ":{\"dtype\":\"%s\",\"shape\":[", tensor_type_name(entry->type));
        for (int d = 0; d < entry->rank; d++) {
            str_appendf(out, "%s%zu", d > 0 ? "," : "", entry->shape[d]);
        }
        str_appendf(out, "],\"data_offsets\":[%zu,%zu]}", at, at + entry->bytes);
        at += entry->bytes;
    }
    str_append_char(out, '}');
    while (out->size % 8 != 0 && !out->failed) {
        str_append_char(out, ' ');
    }
}

bool safetensors_writer_commit(SafeTensorsWriter *writer, const char *path, char *hash,
                               Error *err) {
    qsort(writer->entry, writer->entries, sizeof(Entry), by_alignment);
    for (size_t i = 1; i < writer->entries; i++) {
        CHECK(strcmp(writer->entry[i - 1].name, writer->entry[i].name) != 0 ||
              writer->entry[i - 1].type != writer->entry[i].type);
    }
    Str header = {0};
    FileWriter file = {0};
    header_write(writer, &header);
    uint64_t n = header.size;
    bool ok = str_ok(&header, err) && file_writer_open(&file, path, err);
    if (ok) {
        ok = file_writer_put(&file, &n, sizeof(n), err) &&
             file_writer_put(&file, header.data, header.size, err);
        for (size_t i = 0; i < writer->entries && ok; i++) {
            ok = file_writer_put(&file, writer->entry[i].data, writer->entry[i].bytes, err);
        }
        ok = ok && file_writer_commit(&file, hash, err);
        file_writer_abort(&file);
    }
    str_done(&header);
    return ok;
}
