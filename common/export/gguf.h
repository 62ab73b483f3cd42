/* SPDX-License-Identifier: MIT
 *
 * GGUF, version 3 (ggml's docs/gguf.md): "GGUF", u32 version, u64 number of tensors, u64 number of
 * pairs; pairs of key and value; names, shapes, types and offsets of tensors; their data, each one at
 * a multiple of the alignment. Little endian.
 *
 * The writer makes a file that appears whole or not at all; pairs are collected, tensors are named,
 * then their bytes are handed over in the same order, in pieces of any size.
 *
 * The reader maps a file and takes it only if all counts, lengths and offsets fit the bytes that are
 * there, keys and names are unique, and tensors lie in the order of their descriptions, one behind the
 * other with nothing but padding between. What it allocates is bounded by the size of the file. Values
 * of single numbers, texts and flat arrays are read; arrays of arrays are refused, as ggml does.
 */
#ifndef RLHF_EXPORT_GGUF_H
#define RLHF_EXPORT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"

enum {
    GGUF_VERSION = 3,
    GGUF_ALIGNMENT = 32, /* what we write, and what a file means that says nothing */
    GGUF_NAME_MAX = 63,  /* bytes of a tensor's name */
    GGUF_KEY_MAX = 65535,
    GGUF_RANK_MAX = 4,
    GGUF_PAIRS_MAX = 1 << 16,
    GGUF_TENSORS_MAX = 1 << 16,
};

/* The numbers are the file's. */
typedef enum GgufKind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_KINDS,
} GgufKind;

/* Types of tensors that we write, by ggml's numbers; ggml_type_name knows the others too. */
typedef enum GgmlType { GGML_F32 = 0, GGML_F16 = 1, GGML_Q8_0 = 8, GGML_BF16 = 30 } GgmlType;

/* "Q8_0"; NULL for a number that is not known. A type's rows are made of blocks of `block` weights in
 * `bytes` bytes. */
const char *ggml_type_name(uint32_t type, size_t *block, size_t *bytes);
/* Bytes of a tensor; SIZE_MAX when they do not fit or the innermost size is no multiple of the block.
 * Shapes are outermost first here, as elsewhere in this program; in the file they are reversed. */
size_t ggml_bytes(uint32_t type, const size_t *shape, int rank);

/* Writing. Pairs first (what fails is told by gguf_writer_begin), keys in the order they are put. */
typedef struct GgufWriter GgufWriter;
GgufWriter *gguf_writer_create(Error *err);
void gguf_writer_free(GgufWriter *writer); /* leaves no file unless committed */
void gguf_put_u32(GgufWriter *writer, const char *key, uint32_t value);
void gguf_put_f32(GgufWriter *writer, const char *key, float value);
void gguf_put_bool(GgufWriter *writer, const char *key, bool value);
void gguf_put_string(GgufWriter *writer, const char *key, const char *text, size_t n);
/* `count` items follow, by the functions below. */
void gguf_put_array(GgufWriter *writer, const char *key, GgufKind kind, size_t count);
void gguf_item_string(GgufWriter *writer, const char *text, size_t n);
void gguf_item_i32(GgufWriter *writer, int32_t value);
void gguf_item_f32(GgufWriter *writer, float value);
/* Names the next tensor: at most GGUF_NAME_MAX bytes, a shape that ggml_bytes takes. */
bool gguf_writer_add(GgufWriter *writer, const char *name, GgmlType type, const size_t *shape,
                     int rank, Error *err);
/* Bytes that the file will have. */
uint64_t gguf_writer_size(const GgufWriter *writer);
/* Writes all but the tensors' bytes. */
bool gguf_writer_begin(GgufWriter *writer, const char *path, Error *err);
/* The next bytes of the next tensor that lacks some; a piece ends at most where its tensor ends. */
bool gguf_writer_put(GgufWriter *writer, const void *data, size_t n, Error *err);
bool gguf_writer_commit(GgufWriter *writer, Error *err);

/* Reading. What is pointed to lies in the mapping, unaligned and without NUL. */
typedef struct GgufText {
    const char *text;
    size_t n;
} GgufText;

typedef struct GgufPair {
    GgufText key;
    GgufKind kind; /* of the value, or of an array's items */
    bool array;
    size_t count; /* of items; 1 */
    const unsigned char *data;
    size_t bytes;
} GgufPair;

typedef struct GgufTensor {
    GgufText name;
    uint32_t type;
    int rank;
    size_t shape[GGUF_RANK_MAX]; /* outermost first */
    size_t count;                /* of weights */
    const unsigned char *data;
    size_t bytes;
} GgufTensor;

typedef struct Gguf {
    char *path; /* owned */
    FileMap map;
    uint32_t version;
    size_t alignment;
    GgufPair *pair; /* [pairs] in file order, owned */
    size_t pairs;
    GgufTensor *tensor; /* [tensors] in file order, owned */
    size_t tensors;
} Gguf;

/* Versions 2 and 3. */
bool gguf_open(Gguf *file, const char *path, Error *err);
void gguf_close(Gguf *file);
const GgufPair *gguf_find(const Gguf *file, const char *key); /* NULL: absent */
const GgufTensor *gguf_tensor(const Gguf *file, const char *name);
const char *gguf_kind_name(GgufKind kind);

/* A single text; false for anything else (pair may be NULL). */
bool gguf_text(const GgufPair *pair, GgufText *out);
/* Number i of a pair (0 of a single one) as double: numbers and bools. */
bool gguf_number(const GgufPair *pair, size_t i, double *out);
/* Walks an array of texts: begin with at = 0; false at the end. */
bool gguf_next_text(const GgufPair *pair, size_t *at, GgufText *out);

#endif
