/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/export/gguf.h"

typedef struct Cursor {
    const Gguf *file;
    size_t at; /* <= file->map.size */
} Cursor;

static const struct {
    const char *name;
    size_t bytes; /* 0: no fixed size */
} kinds[GGUF_KINDS] = {
    [GGUF_U8] = {"u8",     1},
      [GGUF_I8] = {"i8",     1},
      [GGUF_U16] = {"u16",    2},
    [GGUF_I16] = {"i16",    2},
      [GGUF_U32] = {"u32",    4},
      [GGUF_I32] = {"i32",    4},
    [GGUF_F32] = {"f32",    4},
      [GGUF_BOOL] = {"bool",   1},
      [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array",  0},
      [GGUF_U64] = {"u64",    8},
      [GGUF_I64] = {"i64",    8},
    [GGUF_F64] = {"f64",    8},
};

const char *gguf_kind_name(GgufKind kind) {
    return kinds[kind].name;
}

static size_t left(const Cursor *c) {
    return c->file->map.size - c->at;
}

static bool truncated(const Cursor *c, const char *what, Error *err) {
    return error_at(err, ERROR_DATA, c->file->path, 0, 0,
                    "the file ends in %s at byte %zu of %zu; it is cut off or damaged", what, c->at,
                    c->file->map.size);
}

static bool take(Cursor *c, void *out, size_t n, const char *what, Error *err) {
    if (left(c) < n) {
        return truncated(c, what, err);
    }
    memcpy(out, c->file->map.data + c->at, n);
    c->at += n;
    return true;
}

static bool take_text(Cursor *c, GgufText *out, size_t limit, const char *what, Error *err) {
    uint64_t n = 0;
    if (!take(c, &n, sizeof n, what, err)) {
        return false;
    }
    if (n > limit) {
        return error_at(err, ERROR_DATA, c->file->path, 0, 0,
                        "%s before byte %zu has %llu bytes, at most %zu were expected", what, c->at,
                        (unsigned long long)n, limit);
    }
    if (n > left(c)) {
        return truncated(c, what, err);
    }
    *out = (GgufText){(const char *)c->file->map.data + c->at, (size_t)n};
    c->at += (size_t)n;
    return true;
}

static bool unknown_kind(const Cursor *c, GgufText key, uint32_t kind, Error *err) {
    return error_at(err, ERROR_DATA, c->file->path, 0, 0,
                    "the value of '%.*s' has type %u%s, 0 to 12 were expected", (int)key.n,
                    key.text, kind, kind == GGUF_ARRAY ? " (an array in an array)" : "");
}

static bool read_value(Cursor *c, GgufPair *pair, Error *err) {
    uint32_t kind = 0;
    uint64_t count = 1;
    if (!take(c, &kind, sizeof kind, "a value's type", err)) {
        return false;
    }
    pair->array = kind == GGUF_ARRAY;
    if (pair->array && (!take(c, &kind, sizeof kind, "an array's type", err) ||
                        !take(c, &count, sizeof count, "an array's length", err))) {
        return false;
    }
    if (kind >= GGUF_KINDS || kind == GGUF_ARRAY) {
        return unknown_kind(c, pair->key, kind, err);
    }
    size_t item = kinds[kind].bytes;
    if (count > left(c) / (item != 0 ? item : sizeof(uint64_t))) {
        return error_at(err, ERROR_DATA, c->file->path, 0, 0,
                        "'%.*s' has %llu items, more than the %zu bytes that follow can hold",
                        (int)pair->key.n, pair->key.text, (unsigned long long)count, left(c));
    }
    pair->kind = (GgufKind)kind;
    pair->count = (size_t)count;
    pair->data = c->file->map.data + c->at;
    size_t begin = c->at;
    c->at += item * (size_t)count;
    for (size_t i = 0; item == 0 && i < pair->count; i++) {
        GgufText text;
        if (!take_text(c, &text, SIZE_MAX, "a text", err)) {
            return false;
        }
    }
    pair->bytes = c->at - begin;
    return true;
}

static bool key_is_plain(GgufText key) {
    for (size_t i = 0; i < key.n; i++) {
        if (key.text[i] < 0x21 || key.text[i] > 0x7e) {
            return false;
        }
    }
    return key.n > 0;
}

static bool read_pair(Cursor *c, GgufPair *pair, Error *err) {
    if (!take_text(c, &pair->key, GGUF_KEY_MAX, "a key", err)) {
        return false;
    }
    if (!key_is_plain(pair->key)) {
        return error_at(err, ERROR_DATA, c->file->path, 0, 0,
                        "the key before byte %zu is empty or not plain ASCII", c->at);
    }
    return read_value(c, pair, err);
}

static bool read_tensor(Cursor *c, GgufTensor *tensor, uint64_t *offset, Error *err) {
    uint32_t rank = 0;
    const char *path = c->file->path;
    if (!take_text(c, &tensor->name, GGUF_NAME_MAX, "a tensor's name", err) ||
        !take(c, &rank, sizeof rank, "a tensor's rank", err)) {
        return false;
    }
    int n = (int)tensor->name.n;
    const char *name = tensor->name.text;
    if (utf8_invalid_at(name, tensor->name.n) < tensor->name.n ||
        memchr(name, 0, tensor->name.n) != NULL) {
        return error_at(err, ERROR_DATA, path, 0, 0,
                        "the tensor's name before byte %zu is not valid UTF-8", c->at);
    }
    if (rank < 1 || rank > GGUF_RANK_MAX) {
        return error_at(err, ERROR_DATA, path, 0, 0,
                        "tensor '%.*s' has %u dimensions, 1 to %d were expected", n, name, rank,
                        GGUF_RANK_MAX);
    }
    tensor->rank = (int)rank;
    tensor->count = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        uint64_t size = 0;
        if (!take(c, &size, sizeof size, "a tensor's shape", err)) {
            return false;
        }
        if (size == 0 || size > INT64_MAX) {
            return error_at(err, ERROR_DATA, path, 0, 0,
                            "tensor '%.*s' has a dimension of %llu, 1 or more were expected", n,
                            name, (unsigned long long)size);
        }
        tensor->shape[d] = (size_t)size;
        tensor->count = mem_mul(tensor->count, (size_t)size);
    }
    if (!take(c, &tensor->type, sizeof tensor->type, "a tensor's type", err) ||
        !take(c, offset, sizeof *offset, "a tensor's offset", err)) {
        return false;
    }
    size_t block, bytes;
    const char *type = ggml_type_name(tensor->type, &block, &bytes);
    if (type == NULL) {
        return error_at(err, ERROR_DATA, path, 0, 0,
                        "tensor '%.*s' has the type number %u, which is not known", n, name,
                        tensor->type);
    }
    tensor->bytes = ggml_bytes(tensor->type, tensor->shape, tensor->rank);
    return (tensor->bytes != SIZE_MAX && tensor->count != SIZE_MAX) ||
           error_at(err, ERROR_DATA, path, 0, 0,
                    "tensor '%.*s' of %s: its shape is no multiple of %zu weights, or too large", n,
                    name, type, block);
}

static int compare(GgufText a, GgufText b) {
    int order = memcmp(a.text, b.text, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int by_text(const void *a, const void *b) {
    return compare(*(const GgufText *)a, *(const GgufText *)b);
}

static bool unique(const Gguf *file, GgufText *text, size_t n, const char *what, Error *err) {
    qsort(text, n, sizeof *text, by_text);
    for (size_t i = 1; i < n; i++) {
        if (compare(text[i - 1], text[i]) == 0) {
            return error_at(err, ERROR_DATA, file->path, 0, 0, "%s '%.*s' is there twice", what,
                            (int)text[i].n, text[i].text);
        }
    }
    return true;
}

static bool check_unique(const Gguf *file, Error *err) {
    size_t n = file->pairs > file->tensors ? file->pairs : file->tensors;
    GgufText *text = mem_alloc(n, sizeof *text, err);
    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < file->pairs; i++) {
        text[i] = file->pair[i].key;
    }
    bool ok = unique(file, text, file->pairs, "key", err);
    for (size_t i = 0; i < file->tensors; i++) {
        text[i] = file->tensor[i].name;
    }
    ok = ok && unique(file, text, file->tensors, "tensor", err);
    free(text);
    return ok;
}

static bool read_alignment(Gguf *file, Error *err) {
    const GgufPair *pair = gguf_find(file, "general.alignment");
    double value = GGUF_ALIGNMENT;
    if (pair != NULL && (pair->array || pair->kind != GGUF_U32 || !gguf_number(pair, 0, &value))) {
        value = 0;
    }
    file->alignment = (size_t)value;
    size_t a = file->alignment;
    return (a >= 8 && a <= 1 << 20 && (a & (a - 1)) == 0) ||
           error_at(err, ERROR_DATA, file->path, 0, 0,
                    "general.alignment is no power of two from 8 to 1048576");
}

/* Tensors lie one behind the other. The offsets are those of the file. */
static bool place(Gguf *file, size_t head, const uint64_t *offset, Error *err) {
    size_t align = file->alignment - 1;
    size_t data = (head + align) & ~align, expected = 0;
    for (size_t i = 0; i < file->tensors; i++) {
        GgufTensor *tensor = &file->tensor[i];
        if (offset[i] != expected) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%.*s' begins at %llu of the data, %zu was expected",
                            (int)tensor->name.n, tensor->name.text, (unsigned long long)offset[i],
                            expected);
        }
        size_t end = mem_add(mem_add(data, expected), tensor->bytes);
        if (end > file->map.size) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%.*s' has %zu bytes from %zu on, beyond the end of the file "
                            "(%zu bytes); it is cut off",
                            (int)tensor->name.n, tensor->name.text, tensor->bytes, data + expected,
                            file->map.size);
        }
        tensor->data = file->map.data + data + expected;
        expected = (expected + tensor->bytes + align) & ~align;
    }
    return true;
}

static bool read_counts(Cursor *c, Gguf *file, Error *err) {
    char magic[4];
    uint64_t tensors = 0, pairs = 0;
    if (file->map.size < sizeof magic || memcmp(file->map.data, "GGUF", sizeof magic) != 0) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "the file does not begin with GGUF; it is no GGUF file");
    }
    if (!take(c, magic, sizeof magic, "the head", err) ||
        !take(c, &file->version, sizeof file->version, "the head", err)) {
        return false;
    }
    if (file->version != 2 && file->version != 3) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "GGUF version %u, versions 2 and 3 (little endian) are read",
                        file->version);
    }
    if (!take(c, &tensors, sizeof tensors, "the head", err) ||
        !take(c, &pairs, sizeof pairs, "the head", err)) {
        return false;
    }
    /* The shortest tensor's description has 32 bytes, the shortest pair 14. */
    if (tensors > GGUF_TENSORS_MAX || pairs > GGUF_PAIRS_MAX || tensors > left(c) / 32 ||
        pairs > left(c) / 14) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "%llu tensors and %llu pairs in a file of %zu bytes; at most %d and %d are "
                        "read, as far as they fit",
                        (unsigned long long)tensors, (unsigned long long)pairs, file->map.size,
                        GGUF_TENSORS_MAX, GGUF_PAIRS_MAX);
    }
    file->tensors = (size_t)tensors;
    file->pairs = (size_t)pairs;
    return true;
}

static bool read_file(Gguf *file, Error *err) {
    Cursor c = {file, 0};
    if (!read_counts(&c, file, err)) {
        return false;
    }
    file->pair = mem_alloc(file->pairs, sizeof *file->pair, err);
    file->tensor = mem_alloc(file->tensors, sizeof *file->tensor, err);
    uint64_t *offset = mem_alloc(file->tensors, sizeof *offset, err);
    bool ok = file->pair != NULL && file->tensor != NULL && offset != NULL;
    for (size_t i = 0; ok && i < file->pairs; i++) {
        ok = read_pair(&c, &file->pair[i], err);
    }
    ok = ok && read_alignment(file, err);
    for (size_t i = 0; ok && i < file->tensors; i++) {
        ok = read_tensor(&c, &file->tensor[i], &offset[i], err);
    }
    ok = ok && check_unique(file, err) && place(file, c.at, offset, err);
    free(offset);
    return ok;
}

bool gguf_open(Gguf *file, const char *path, Error *err) {
    *file = (Gguf){0};
    file->path = mem_strdup(path, err);
    if (file->path != NULL && file_map(&file->map, path, err) && read_file(file, err)) {
        return true;
    }
    gguf_close(file);
    return false;
}

void gguf_close(Gguf *file) {
    file_unmap(&file->map);
    free(file->pair);
    free(file->tensor);
    free(file->path);
    *file = (Gguf){0};
}

static bool is(GgufText text, const char *name) {
    return text.n == strlen(name) && memcmp(text.text, name, text.n) == 0;
}

const GgufPair *gguf_find(const Gguf *file, const char *key) {
    for (size_t i = 0; i < file->pairs; i++) {
        if (is(file->pair[i].key, key)) {
            return &file->pair[i];
        }
    }
    return NULL;
}

const GgufTensor *gguf_tensor(const Gguf *file, const char *name) {
    for (size_t i = 0; i < file->tensors; i++) {
        if (is(file->tensor[i].name, name)) {
            return &file->tensor[i];
        }
    }
    return NULL;
}

bool gguf_next_text(const GgufPair *pair, size_t *at, GgufText *out) {
    uint64_t n = 0;
    if (pair == NULL || pair->kind != GGUF_STRING || *at >= pair->bytes) {
        return false;
    }
    memcpy(&n, pair->data + *at, sizeof n);
    *out = (GgufText){(const char *)pair->data + *at + sizeof n, (size_t)n};
    *at += sizeof n + (size_t)n;
    return true;
}

bool gguf_text(const GgufPair *pair, GgufText *out) {
    size_t at = 0;
    return pair != NULL && !pair->array && gguf_next_text(pair, &at, out);
}

#define NUMBER(type)                                                                               \
    do {                                                                                           \
        type value;                                                                                \
        memcpy(&value, pair->data + i * sizeof value, sizeof value);                               \
        *out = (double)value;                                                                      \
        return true;                                                                               \
    } while (0)

bool gguf_number(const GgufPair *pair, size_t i, double *out) {
    if (pair == NULL || i >= pair->count) {
        return false;
    }
    switch (pair->kind) {
    case GGUF_U8:
    case GGUF_BOOL:
        NUMBER(uint8_t);
    case GGUF_I8:
        NUMBER(int8_t);
    case GGUF_U16:
        NUMBER(uint16_t);
    case GGUF_I16:
        NUMBER(int16_t);
    case GGUF_U32:
        NUMBER(uint32_t);
    case GGUF_I32:
        NUMBER(int32_t);
    case GGUF_F32:
        NUMBER(float);
    case GGUF_U64:
        NUMBER(uint64_t);
    case GGUF_I64:
        NUMBER(int64_t);
    case GGUF_F64:
        NUMBER(double);
    case GGUF_STRING:
    case GGUF_ARRAY:
    case GGUF_KINDS:
        break;
    }
    return false;
}
