/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/str.h"
#include "common/export/gguf.h"

typedef struct Type {
    uint32_t number;
    const char *name;
    uint16_t block, bytes;
} Type;

static const Type types[] = {
    {0,  "F32",     1,   4  },
    {1,  "F16",     1,   2  },
    {2,  "Q4_0",    32,  18 },
    {3,  "Q4_1",    32,  20 },
    {6,  "Q5_0",    32,  22 },
    {7,  "Q5_1",    32,  24 },
    {8,  "Q8_0",    32,  34 },
    {9,  "Q8_1",    32,  36 },
    {10, "Q2_K",    256, 84 },
    {11, "Q3_K",    256, 110},
    {12, "Q4_K",    256, 144},
    {13, "Q5_K",    256, 176},
    {14, "Q6_K",    256, 210},
    {15, "Q8_K",    256, 292},
    {16, "IQ2_XXS", 256, 66 },
    {17, "IQ2_XS",  256, 74 },
    {18, "IQ3_XXS", 256, 98 },
    {19, "IQ1_S",   256, 50 },
    {20, "IQ4_NL",  32,  18 },
    {21, "IQ3_S",   256, 110},
    {22, "IQ2_S",   256, 82 },
    {23, "IQ4_XS",  256, 136},
    {24, "I8",      1,   1  },
    {25, "I16",     1,   2  },
    {26, "I32",     1,   4  },
    {27, "I64",     1,   8  },
    {28, "F64",     1,   8  },
    {29, "IQ1_M",   256, 56 },
    {30, "BF16",    1,   2  },
    {34, "TQ1_0",   256, 54 },
    {35, "TQ2_0",   256, 66 },
    {39, "MXFP4",   32,  17 },
};

const char *ggml_type_name(uint32_t type, size_t *block, size_t *bytes) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].number == type) {
            *block = types[i].block;
            *bytes = types[i].bytes;
            return types[i].name;
        }
    }
    return NULL;
}

size_t ggml_bytes(uint32_t type, const size_t *shape, int rank) {
    size_t block, bytes;
    if (ggml_type_name(type, &block, &bytes) == NULL || rank < 1 || shape[rank - 1] % block != 0) {
        return SIZE_MAX;
    }
    bytes = mem_mul(bytes, shape[rank - 1] / block);
    for (int i = 0; i < rank - 1; i++) {
        bytes = mem_mul(bytes, shape[i]);
    }
    return bytes;
}

typedef struct Entry {
    char name[GGUF_NAME_MAX + 1];
    uint32_t type;
    size_t shape[GGUF_RANK_MAX];
    int rank;
    size_t bytes;
} Entry;

struct GgufWriter {
    Str pairs; /* as the file has them */
    uint64_t count;
    Entry *entry; /* owned */
    size_t entries, capacity;
    FileWriter file;
    size_t at;      /* the tensor whose bytes are expected */
    size_t written; /* bytes of it */
};

GgufWriter *gguf_writer_create(Error *err) {
    return mem_alloc(1, sizeof(GgufWriter), err);
}

void gguf_writer_free(GgufWriter *writer) {
    if (writer == NULL) {
        return;
    }
    file_writer_abort(&writer->file);
    str_done(&writer->pairs);
    free(writer->entry);
    free(writer);
}

static void put(Str *out, const void *value, size_t n) {
    str_append_bytes(out, value, n);
}

static void put_u32(Str *out, uint32_t value) {
    put(out, &value, sizeof value);
}

static void put_u64(Str *out, uint64_t value) {
    put(out, &value, sizeof value);
}

static void put_text(Str *out, const char *text, size_t n) {
    put_u64(out, n);
    put(out, text, n);
}

static void put_key(GgufWriter *writer, const char *key, GgufKind kind) {
    put_text(&writer->pairs, key, strlen(key));
    put_u32(&writer->pairs, (uint32_t)kind);
    writer->count++;
}

void gguf_put_u32(GgufWriter *writer, const char *key, uint32_t value) {
    put_key(writer, key, GGUF_U32);
    put_u32(&writer->pairs, value);
}

void gguf_put_f32(GgufWriter *writer, const char *key, float value) {
    put_key(writer, key, GGUF_F32);
    put(&writer->pairs, &value, sizeof value);
}

void gguf_put_bool(GgufWriter *writer, const char *key, bool value) {
    put_key(writer, key, GGUF_BOOL);
    str_append_char(&writer->pairs, (char)value);
}

void gguf_put_string(GgufWriter *writer, const char *key, const char *text, size_t n) {
    put_key(writer, key, GGUF_STRING);
    put_text(&writer->pairs, text, n);
}

void gguf_put_array(GgufWriter *writer, const char *key, GgufKind kind, size_t count) {
    put_key(writer, key, GGUF_ARRAY);
    put_u32(&writer->pairs, (uint32_t)kind);
    put_u64(&writer->pairs, count);
}

void gguf_item_string(GgufWriter *writer, const char *text, size_t n) {
    put_text(&writer->pairs, text, n);
}

void gguf_item_i32(GgufWriter *writer, int32_t value) {
    put(&writer->pairs, &value, sizeof value);
}

void gguf_item_f32(GgufWriter *writer, float value) {
    put(&writer->pairs, &value, sizeof value);
}

bool gguf_writer_add(GgufWriter *writer, const char *name, GgmlType type, const size_t *shape,
                     int rank, Error *err) {
    size_t bytes = ggml_bytes((uint32_t)type, shape, rank);
    CHECK(rank >= 1 && rank <= GGUF_RANK_MAX && strlen(name) <= GGUF_NAME_MAX && bytes != SIZE_MAX);
    if (!mem_reserve(&writer->entry, &writer->capacity, writer->entries + 1, sizeof(Entry), err)) {
        return false;
    }
    Entry *entry = &writer->entry[writer->entries++];
    *entry = (Entry){.type = (uint32_t)type, .rank = rank, .bytes = bytes};
    memcpy(entry->name, name, strlen(name));
    memcpy(entry->shape, shape, (size_t)rank * sizeof *shape);
    return true;
}

static uint64_t aligned(uint64_t n) {
    return (n + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
}

/* Everything before the first tensor's bytes. */
static void put_head(const GgufWriter *writer, Str *out) {
    str_append(out, "GGUF");
    put_u32(out, GGUF_VERSION);
    put_u64(out, writer->entries);
    put_u64(out, writer->count);
    put(out, writer->pairs.data, writer->pairs.size);
    uint64_t offset = 0;
    for (size_t i = 0; i < writer->entries; i++) {
        const Entry *entry = &writer->entry[i];
        put_text(out, entry->name, strlen(entry->name));
        put_u32(out, (uint32_t)entry->rank);
        for (int d = entry->rank - 1; d >= 0; d--) {
            put_u64(out, entry->shape[d]);
        }
        put_u32(out, entry->type);
        put_u64(out, offset);
        offset = aligned(offset + entry->bytes);
    }
    while (out->size % GGUF_ALIGNMENT != 0 && !out->failed) {
        str_append_char(out, 0);
    }
}

uint64_t gguf_writer_size(const GgufWriter *writer) {
    uint64_t size = 24 + writer->pairs.size, data = 0;
    for (size_t i = 0; i < writer->entries; i++) {
        const Entry *entry = &writer->entry[i];
        size += 8 + strlen(entry->name) + 4 + 8 * (uint64_t)entry->rank + 4 + 8;
        data += aligned(entry->bytes);
    }
    return aligned(size) + data;
}

bool gguf_writer_begin(GgufWriter *writer, const char *path, Error *err) {
    Str head = {0};
    bool ok = str_ok(&writer->pairs, err);
    if (ok) {
        put_head(writer, &head);
        ok = str_ok(&head, err) && file_writer_open(&writer->file, path, err) &&
             file_writer_put(&writer->file, head.data, head.size, err);
    }
    str_done(&head);
    return ok;
}

bool gguf_writer_put(GgufWriter *writer, const void *data, size_t n, Error *err) {
    static const char zeros[GGUF_ALIGNMENT];
    CHECK(writer->at < writer->entries);
    size_t bytes = writer->entry[writer->at].bytes;
    CHECK(n <= bytes - writer->written);
    if (!file_writer_put(&writer->file, data, n, err)) {
        return false;
    }
    writer->written += n;
    if (writer->written < bytes) {
        return true;
    }
    writer->at++;
    writer->written = 0;
    return file_writer_put(&writer->file, zeros, (size_t)(aligned(bytes) - bytes), err);
}

bool gguf_writer_commit(GgufWriter *writer, Error *err) {
    CHECK(writer->at == writer->entries);
    return file_writer_commit(&writer->file, NULL, err);
}
