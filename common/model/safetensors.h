/* SPDX-License-Identifier: MIT
 *
 * safetensors: u64 little-endian N, N bytes of JSON header, then the tensors' bytes.
 *
 * The reader accepts a file only if: N <= 100,000,000 and 8 + N <= file size; the header is one
 * JSON object in valid UTF-8 that begins with '{' and is padded only by spaces; keys are unique;
 * __metadata__ maps strings to strings; each tensor has dtype, shape and data_offsets; tensors,
 * sorted by offset, cover the data exactly from 0 to its end without hole or overlap; shape times
 * element size, computed without overflow, equals the extent. Every fault names the tensor and both
 * numbers.
 */
#ifndef RLHF_MODEL_SAFETENSORS_H
#define RLHF_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"

typedef enum TensorType {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_F64,
    TENSOR_I64,
    TENSOR_I32,
    TENSOR_U64,
    TENSOR_U8,
    TENSOR_OTHER, /* known to the format, not to us: BOOL, I8, I16, U16, U32, F8, C64 ... */
} TensorType;

/* "F32" and the size of an element; not for TENSOR_OTHER. */
const char *tensor_type_name(TensorType type);
size_t tensor_type_bytes(TensorType type);

enum { TENSOR_NAME_LIMIT = 512, TENSOR_RANK_LIMIT = 8 }; /* bytes of a name, dimensions */

typedef struct Tensor {
    char *name; /* owned by the SafeTensors */
    TensorType type;
    int rank;
    size_t shape[TENSOR_RANK_LIMIT];
    size_t count;
    const unsigned char *data; /* inside the mapping; may be unaligned */
    size_t bytes;
} Tensor;

typedef struct SafeTensors {
    char *path;
    FileMap map;
    Tensor *tensor;       /* in file order */
    const Tensor **named; /* the same sorted by name */
    size_t tensors;
} SafeTensors;

bool safetensors_open(SafeTensors *file, const char *path, Error *err);
void safetensors_close(SafeTensors *file);
const Tensor *safetensors_find(const SafeTensors *file, const char *name);
/* Whether the tensor has this shape; ERROR_DATA where it has not, saying "but `caller` for" this shape. */
bool safetensors_check_shape(const SafeTensors *file, const Tensor *tensor, const size_t *shape,
                             int rank, const char *caller, Error *err);
/* Copies a tensor out as float; F32, F16, BF16 and F64 only, the count must match. Non-finite values are
 * ERROR_DATA unless allowed. */
bool safetensors_read_floats(const SafeTensors *file, const Tensor *tensor, float *out,
                             size_t count, bool allow_nonfinite, Error *err);

/* Floats as F32, F16 or BF16, rounded to the nearest (ties to even). A number that the type cannot hold is
 * ERROR_DATA naming the tensor. */
bool tensor_put_floats(TensorType type, unsigned char *out, const float *x, size_t count,
                       const char *name, Error *err);

/* Writing: add tensors (data is borrowed until commit), then commit. Metadata {"format":"pt"}
 * always; tensors sorted by alignment of the type, descending, then by name; header padded to 8
 * bytes. */
typedef struct SafeTensorsWriter SafeTensorsWriter;
SafeTensorsWriter *safetensors_writer_create(Error *err);
bool safetensors_writer_add(SafeTensorsWriter *writer, const char *name, TensorType type,
                            const size_t *shape, int rank, const void *data, Error *err);
/* A tensor whose bytes are made when the file is written: make fills out with tensor i of the context. */
typedef bool TensorMake(const void *context, size_t i, unsigned char *out, TensorType type,
                        Error *err);
bool safetensors_writer_add_made(SafeTensorsWriter *writer, const char *name, TensorType type,
                                 const size_t *shape, int rank, TensorMake *make,
                                 const void *context, size_t i, Error *err);
/* hash (may be NULL) as in file_writer_commit. */
bool safetensors_writer_commit(SafeTensorsWriter *writer, const char *path, char *hash, Error *err);
void safetensors_writer_free(SafeTensorsWriter *writer);

#endif
