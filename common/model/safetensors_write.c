/* SPDX-License-Identifier: MIT */
#include <math.h>
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
    const void *data; /* borrowed; with `make` its context */
    TensorMake *make; /* or NULL: the bytes are there */
    size_t number;    /* of the tensor in the context */
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

bool safetensors_writer_add_made(SafeTensorsWriter *writer, const char *name, TensorType type,
                                 const size_t *shape, int rank, TensorMake *make,
                                 const void *context, size_t i, Error *err) {
    if (!safetensors_writer_add(writer, name, type, shape, rank, context, err)) {
        return false;
    }
    writer->entry[writer->entries - 1].make = make;
    writer->entry[writer->entries - 1].number = i;
    return true;
}

/* F16 of a float, rounded to the nearest, ties to even (IEEE 754-2019, section 4.3.1). */
static uint16_t half_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude < 0x38800000u) { /* below 2^-14: a multiple of 2^-24 */
        float whole = rintf(fabsf(x) * 0x1p24f);
        return (uint16_t)(sign | (uint32_t)whole);
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded >= 0x47800000u ? 0x7c00u : (rounded - 0x38000000u) >> 13));
}

static uint16_t bfloat_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

bool tensor_put_floats(TensorType type, unsigned char *out, const float *x, size_t count,
                       const char *name, Error *err) {
    if (type == TENSOR_F32) {
        memcpy(out, x, count * sizeof *x);
        return true;
    }
    CHECK(type == TENSOR_F16 || type == TENSOR_BF16);
    uint16_t infinity = type == TENSOR_F16 ? 0x7c00 : 0x7f80;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits = type == TENSOR_F16 ? half_bits(x[i]) : bfloat_bits(x[i]);
        if ((bits & 0x7fff) >= infinity) {
            return error_set(
                err, ERROR_DATA,
                "'%s' holds %g at element %zu, which %s cannot hold; write BF16 or F32", name,
                (double)x[i], i, tensor_type_name(type));
        }
        memcpy(out + 2 * i, &bits, sizeof bits);
    }
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

static bool entry_write(const Entry *entry, FileWriter *file, Error *err) {
    if (entry->make == NULL) {
        return file_writer_put(file, entry->data, entry->bytes, err);
    }
    unsigned char *bytes = mem_alloc(entry->bytes, 1, err);
    bool ok = bytes != NULL && entry->make(entry->data, entry->number, bytes, entry->type, err) &&
              file_writer_put(file, bytes, entry->bytes, err);
    free(bytes);
    return ok;
}

bool safetensors_writer_commit(SafeTensorsWriter *writer, const char *path, char *hash,
                               Error *err) {
    if (writer->entries > 0) {
        qsort(writer->entry, writer->entries, sizeof(Entry), by_alignment);
    }
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
            ok = entry_write(&writer->entry[i], &file, err);
        }
        ok = ok && file_writer_commit(&file, hash, err);
        file_writer_abort(&file);
    }
    str_done(&header);
    return ok;
}
