/* SPDX-License-Identifier: MIT
 *
 * What rlhf-inspect finds out, as a tree: members in the order they are told, those named "…_bytes" in
 * bytes. "refused" is a list of what the programs would not take, each with its reason; the first of them is
 * the program's error.
 */
#ifndef RLHF_TOOLS_INSPECT_H
#define RLHF_TOOLS_INSPECT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/model/model.h"
#include "common/text/tokenizer.h"

typedef struct Inspection {
    cJSON *root;    /* owned by main */
    bool quick;     /* weights are not read, only their headers */
    bool tensors;   /* every tensor, not one line for a tensor of all blocks */
    size_t tokens;  /* of a micro-batch: what memory is told for */
    size_t context; /* longest prompt and completion */
    Error refused;  /* the first of "refused" */
    bool failed;    /* out of memory */
} Inspection;

/* Members of an object of the tree. */
void inspect_put(Inspection *in, cJSON *object, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void inspect_number(Inspection *in, cJSON *object, const char *key, double value);
void inspect_flag(Inspection *in, cJSON *object, const char *key, bool value);
cJSON *inspect_object(Inspection *in, cJSON *object, const char *key);
cJSON *inspect_array(Inspection *in, cJSON *object, const char *key);
/* A fault goes to "refused". */
void inspect_refuse(Inspection *in, const Error *err);

/* One tensor of a file; equal ones of all blocks become one line unless every one is wanted. */
typedef struct TensorTable {
    cJSON *list;
    size_t count, bytes, weights;
} TensorTable;
void inspect_tensor(Inspection *in, TensorTable *table, const char *name, size_t n,
                    const char *type, const size_t *shape, int rank, size_t count, size_t bytes);
void inspect_table_end(Inspection *in, const TensorTable *table, cJSON *object);

/* Parts of a report. */
void inspect_gguf(Inspection *in, const char *path);
void inspect_safetensors(Inspection *in, const char *path);
/* A folder, or a llama2.c file. */
void inspect_model(Inspection *in, const char *path);
void inspect_tokenizer(Inspection *in, const char *path);

#endif
