/* SPDX-License-Identifier: MIT */
#include "common/model/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/str.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are copied as they lie in the file, which is little-endian");

enum { HEADER_LIMIT = 100000000, LENGTH_BYTES = 8 };

/* 2^53: beyond it a JSON number is no longer exact. */
static const int64_t offset_limit = (int64_t)1 << 53;

/* All types of the format; those that are not ours only have a size. */
static const struct {
    const char *name;
    TensorType type;
    size_t bits;
} types[] = {
    {"F32",         TENSOR_F32,   32},
    {"F16",         TENSOR_F16,   16},
    {"BF16",        TENSOR_BF16,  16},
    {"F64",         TENSOR_F64,   64},
    {"I64",         TENSOR_I64,   64},
    {"I32",         TENSOR_I32,   32},
    {"U64",         TENSOR_U64,   64},
    {"U8",          TENSOR_U8,    8 },
    {"BOOL",        TENSOR_OTHER, 8 },
    {"I8",          TENSOR_OTHER, 8 },
    {"I16",         TENSOR_OTHER, 16},
    {"U16",         TENSOR_OTHER, 16},
    {"U32",         TENSOR_OTHER, 32},
    {"C64",         TENSOR_OTHER, 64},
    {"F8_E5M2",     TENSOR_OTHER, 8 },
    {"F8_E4M3",     TENSOR_OTHER, 8 },
    {"F8_E8M0",     TENSOR_OTHER, 8 },
    {"F8_E5M2FNUZ", TENSOR_OTHER, 8 },
    {"F8_E4M3FNUZ", TENSOR_OTHER, 8 },
    {"F6_E2M3",     TENSOR_OTHER, 6 },
    {"F6_E3M2",     TENSOR_OTHER, 6 },
    {"F4",          TENSOR_OTHER, 4 },
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static size_t type_index(TensorType type) {
    CHECK(type != TENSOR_OTHER);
    size_t i = 0;
    while (types[i].type != type) {
        i++;
    }
    return i;
}

const char *tensor_type_name(TensorType type) {
    return types[type_index(type)].name;
}

size_t tensor_type_bytes(TensorType type) {
    return types[type_index(type)].bits / 8;
}

static bool fault(const SafeTensors *file, Error *err, const char *text) {
    return error_at(err, ERROR_DATA, file->path, 0, 0, "%s", text);
}

static bool metadata_check(const SafeTensors *file, const cJSON *metadata, Error *err) {
    if (!cJSON_IsObject(metadata)) {
        return fault(file, err, "__metadata__ must be an object of strings");
    }
    for (const cJSON *item = metadata->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item)) {
            char what[80];
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "__metadata__ '%s' is %s, a string was expected", item->string,
                            json_describe(item, what, sizeof(what)));
        }
    }
    return true;
}

static void shape_text(const Tensor *tensor, Str *out) {
    str_append_char(out, '[');
    for (int i = 0; i < tensor->rank; i++) {
        str_appendf(out, "%s%zu", i > 0 ? ", " : "", tensor->shape[i]);
    }
    str_append_char(out, ']');
}

/* dtype, shape and nothing that does not fit: fills type, rank, shape, count and, through *bytes,
 * the extent that they call for. */
static bool tensor_shape(const SafeTensors *file, const cJSON *item, Tensor *tensor,
                         const char **type_name, size_t *bytes, Error *err) {
    char what[80];
    const cJSON *dtype = json_member(item, "dtype");
    const char *name = json_string(dtype);
    if (name == NULL) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s': dtype is %s, a string was expected", tensor->name,
                        json_describe(dtype, what, sizeof(what)));
    }
    size_t t = 0;
    while (t < TYPES && strcmp(types[t].name, name) != 0) {
        t++;
    }
    if (t == TYPES) {
        return error_at(err, ERROR_DATA, file->path, 0, 0, "tensor '%s': unknown dtype '%s'",
                        tensor->name, name);
    }
    tensor->type = types[t].type;
    *type_name = types[t].name;

    const cJSON *shape = json_member(item, "shape");
    if (!cJSON_IsArray(shape)) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s': shape is %s, an array was expected", tensor->name,
                        json_describe(shape, what, sizeof(what)));
    }
    tensor->count = 1;
    for (const cJSON *size = shape->child; size != NULL; size = size->next) {
        int64_t value;
        if (tensor->rank == TENSOR_RANK_LIMIT) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s': more than %d dimensions", tensor->name,
                            TENSOR_RANK_LIMIT);
        }
        if (!json_integer(size, 0, offset_limit, &value)) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s': dimension %d is %s, a whole number from 0 was expected",
                            tensor->name, tensor->rank, json_describe(size, what, sizeof(what)));
        }
        tensor->shape[tensor->rank++] = (size_t)value;
        if (__builtin_mul_overflow(tensor->count, (size_t)value, &tensor->count)) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s': its shape has more elements than fit in 64 bits",
                            tensor->name);
        }
    }
    size_t bits;
    if (__builtin_mul_overflow(tensor->count, types[t].bits, &bits)) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s': %zu elements of %s are more bits than fit in 64",
                        tensor->name, tensor->count, *type_name);
    }
    if (bits % 8 != 0) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s': %zu elements of %s are %zu bits, not whole bytes",
                        tensor->name, tensor->count, *type_name, bits);
    }
    *bytes = bits / 8;
    return true;
}

/* One entry of the header. tensor->data becomes base + begin even before the extents of all tensors
 * are known to fit; nobody reads through it until they are. */
static bool tensor_read(const SafeTensors *file, const cJSON *item, const unsigned char *base,
                        size_t size, Tensor *tensor, Error *err) {
    char what[80];
    if (strlen(item->string) > TENSOR_NAME_LIMIT) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "the name of a tensor has %zu bytes, more than %d: '%.64s...'",
                        strlen(item->string), TENSOR_NAME_LIMIT, item->string);
    }
    tensor->name = mem_strdup(item->string, err);
    if (tensor->name == NULL) {
        return false;
    }
    if (!cJSON_IsObject(item)) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s' is %s, an object was expected", tensor->name,
                        json_describe(item, what, sizeof(what)));
    }
    for (const cJSON *member = item->child; member != NULL; member = member->next) {
        if (strcmp(member->string, "dtype") != 0 && strcmp(member->string, "shape") != 0 &&
            strcmp(member->string, "data_offsets") != 0) {
            return error_at(
                err, ERROR_DATA, file->path, 0, 0,
                "tensor '%s': unknown key '%s'; dtype, shape and data_offsets were expected",
                tensor->name, member->string);
        }
    }
    size_t bytes = 0;
    const char *type_name = "";
    if (!tensor_shape(file, item, tensor, &type_name, &bytes, err)) {
        return false;
    }
    const cJSON *offsets = json_member(item, "data_offsets");
    int64_t begin = 0, end = 0;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !json_integer(offsets->child, 0, offset_limit, &begin) ||
        !json_integer(offsets->child->next, 0, offset_limit, &end)) {
        return error_at(
            err, ERROR_DATA, file->path, 0, 0,
            "tensor '%s': data_offsets is %s, an array of two whole numbers was expected",
            tensor->name, json_describe(offsets, what, sizeof(what)));
    }
    if (end < begin) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s': data_offsets begin at %lld and end before, at %lld",
                        tensor->name, (long long)begin, (long long)end);
    }
    if ((size_t)end > size) {
        return error_at(
            err, ERROR_DATA, file->path, 0, 0,
            "tensor '%s': data_offsets end at %lld, the file has %zu bytes of data; it is "
            "cut off or damaged",
            tensor->name, (long long)end, size);
    }
    tensor->bytes = (size_t)(end - begin);
    if (tensor->bytes != bytes) {
        Str shape = {0};
        shape_text(tensor, &shape);
        error_at(err, ERROR_DATA, file->path, 0, 0,
                 "tensor '%s': shape %s of %s needs %zu bytes, data_offsets give %zu", tensor->name,
                 str_text(&shape), type_name, bytes, tensor->bytes);
        str_done(&shape);
        return false;
    }
    tensor->data = base + begin;
    return true;
}

static int by_offset(const void *a, const void *b) {
    const Tensor *x = a, *y = b;
    if (x->data != y->data) {
        return x->data < y->data ? -1 : 1;
    }
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    const Tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool sort(SafeTensors *file, Error *err) {
    qsort(file->tensor, file->tensors, sizeof(Tensor), by_offset);
    file->named = mem_alloc(file->tensors, sizeof *file->named, err);
    if (file->named == NULL) {
        return false;
    }
    for (size_t i = 0; i < file->tensors; i++) {
        file->named[i] = &file->tensor[i];
    }
    qsort(file->named, file->tensors, sizeof *file->named, by_name);
    return true;
}

/* The tensors, sorted, cover the data from 0 to its end. */
static bool cover_check(const SafeTensors *file, const unsigned char *base, size_t size,
                        Error *err) {
    size_t at = 0;
    for (size_t i = 0; i < file->tensors; i++) {
        const Tensor *tensor = &file->tensor[i];
        size_t begin = (size_t)(tensor->data - base);
        if (begin != at) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s' begins at %zu, but the tensors before it end at %zu: %s",
                            tensor->name, begin, at, begin > at ? "a hole" : "an overlap");
        }
        at += tensor->bytes;
    }
    if (at != size) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "the last tensor '%s' ends at %zu, but the file has %zu bytes of data",
                        file->tensors > 0 ? file->tensor[file->tensors - 1].name : "(none)", at,
                        size);
    }
    return true;
}

static bool header_read(SafeTensors *file, const char *header, size_t n, Error *err) {
    static const JsonLimits limits = {HEADER_LIMIT, 8, 4000000, false};
    const unsigned char *base = file->map.data + LENGTH_BYTES + n;
    size_t size = file->map.size - LENGTH_BYTES - n;
    if (n == 0 || header[0] != '{') {
        return fault(file, err, "the header does not begin with '{'");
    }
    size_t used = n;
    while (used > 0 && header[used - 1] == ' ') {
        used--;
    }
    if (header[used - 1] != '}') {
        return fault(file, err, "the header does not end in '}' and spaces");
    }
    cJSON *tree = json_parse(header, used, file->path, 1, &limits, err);
    if (tree == NULL) {
        return false;
    }
    bool ok = false;
    size_t count = (size_t)cJSON_GetArraySize(tree);
    file->tensor = mem_alloc(count, sizeof(Tensor), err);
    if (file->tensor == NULL) {
        goto done;
    }
    for (const cJSON *item = tree->child; item != NULL; item = item->next) {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (!metadata_check(file, item, err)) {
                goto done;
            }
        } else if (!tensor_read(file, item, base, size, &file->tensor[file->tensors++], err)) {
            goto done;
        }
    }
    ok = sort(file, err) && cover_check(file, base, size, err);
done:
    cJSON_Delete(tree);
    return ok;
}

bool safetensors_open(SafeTensors *file, const char *path, Error *err) {
    *file = (SafeTensors){0};
    file->path = mem_strdup(path, err);
    if (file->path == NULL || !file_map(&file->map, path, err)) {
        safetensors_close(file);
        return false;
    }
    bool ok;
    if (file->map.size < LENGTH_BYTES) {
        ok = error_at(err, ERROR_DATA, path, 0, 0,
                      "%zu bytes are too few for a safetensors file, which begins with 8 of length",
                      file->map.size);
    } else {
        uint64_t n;
        memcpy(&n, file->map.data, LENGTH_BYTES);
        if (n > HEADER_LIMIT) {
            ok =
                error_at(err, ERROR_DATA, path, 0, 0,
                         "the header claims %llu bytes, more than the %d that are allowed; this is "
                         "not a safetensors file",
                         (unsigned long long)n, HEADER_LIMIT);
        } else if (n > file->map.size - LENGTH_BYTES) {
            ok = error_at(err, ERROR_DATA, path, 0, 0,
                          "the header claims %llu bytes, but only %zu follow; the file is cut off",
                          (unsigned long long)n, file->map.size - LENGTH_BYTES);
        } else {
            ok = header_read(file, (const char *)file->map.data + LENGTH_BYTES, (size_t)n, err);
        }
    }
    if (!ok) {
        safetensors_close(file);
    }
    return ok;
}

void safetensors_close(SafeTensors *file) {
    for (size_t i = 0; i < file->tensors; i++) {
        free(file->tensor[i].name);
    }
    free(file->tensor);
    free(file->named);
    free(file->path);
    file_unmap(&file->map);
    *file = (SafeTensors){0};
}

static int name_order(const void *name, const void *tensor) {
    return strcmp(name, (*(const Tensor *const *)tensor)->name);
}

const Tensor *safetensors_find(const SafeTensors *file, const char *name) {
    const Tensor **found =
        bsearch(name, file->named, file->tensors, sizeof *file->named, name_order);
    return found != NULL ? *found : NULL;
}

static float float_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1f,
             fraction = half & 0x3ff, bits;
    if (exponent == 0) {
        float value = ldexpf((float)fraction, -24); /* subnormal: exact in F32 */
        return sign != 0 ? -value : value;
    }
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    }
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float float_at(const Tensor *tensor, size_t i) {
    uint32_t bits;
    uint16_t half;
    float value;
    if (tensor->type == TENSOR_F32) {
        memcpy(&value, tensor->data + 4 * i, sizeof(value));
        return value;
    }
    if (tensor->type == TENSOR_F64) {
        double wide;
        memcpy(&wide, tensor->data + 8 * i, sizeof(wide));
        return (float)wide;
    }
    memcpy(&half, tensor->data + 2 * i, sizeof(half));
    if (tensor->type == TENSOR_F16) {
        return float_from_half(half);
    }
    bits = (uint32_t)half << 16;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void shape_append(Str *out, const size_t *shape, int rank) {
    str_append_char(out, '[');
    for (int d = 0; d < rank; d++) {
        str_appendf(out, "%s%zu", d > 0 ? ", " : "", shape[d]);
    }
    str_append_char(out, ']');
}

bool safetensors_check_shape(const SafeTensors *file, const Tensor *tensor, const size_t *shape,
                             int rank, const char *caller, Error *err) {
    bool same = tensor->rank == rank;
    for (int d = 0; d < rank && same; d++) {
        same = tensor->shape[d] == shape[d];
    }
    if (!same) {
        Str found = {0}, expected = {0};
        shape_append(&found, tensor->shape, tensor->rank);
        shape_append(&expected, shape, rank);
        error_at(err, ERROR_DATA, file->path, 0, 0, "tensor '%s' has the shape %s, but %s for %s",
                 tensor->name, str_text(&found), caller, str_text(&expected));
        str_done(&found);
        str_done(&expected);
    }
    return same;
}

bool safetensors_read_floats(const SafeTensors *file, const Tensor *tensor, float *out,
                             size_t count, bool allow_nonfinite, Error *err) {
    if (tensor->type != TENSOR_F32 && tensor->type != TENSOR_F16 && tensor->type != TENSOR_BF16 &&
        tensor->type != TENSOR_F64) {
        return error_at(
            err, ERROR_DATA, file->path, 0, 0,
            "tensor '%s' has a type that is not read here; F32, F16, BF16 or F64 was expected",
            tensor->name);
    }
    if (tensor->count != count) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "tensor '%s' has %zu elements, %zu were expected", tensor->name,
                        tensor->count, count);
    }
    /* After each piece its pages are let go: the kernel maps more than was touched. */
    const size_t piece = FILE_PIECE / tensor_type_bytes(tensor->type);
    for (size_t i = 0, end = 0; i < count; i = end) {
        end = count - i < piece ? count : i + piece;
        if (tensor->type == TENSOR_F32) {
            memcpy(out + i, tensor->data + i * sizeof(float), (end - i) * sizeof(float));
        } else {
            for (size_t k = i; k < end; k++) {
                out[k] = float_at(tensor, k);
            }
        }
        file_map_release(&file->map, 0, file->map.size);
    }
    for (size_t i = 0; i < count && !allow_nonfinite; i++) {
        if (!isfinite(out[i])) {
            return error_at(err, ERROR_DATA, file->path, 0, 0,
                            "tensor '%s' holds %s at element %zu of %zu; the checkpoint is spoiled",
                            tensor->name, isnan(out[i]) ? "NaN" : "infinity", i, count);
        }
    }
    return true;
}
