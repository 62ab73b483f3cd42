/* SPDX-License-Identifier: MIT
 *
 * Architecture: how llama.cpp names a family of models, its tensors and its settings, and in which
 * order it wants the rows of a matrix. One row a family (architecture.c).
 *
 * llama.cpp's matrices are [out, in]. Rotary positions of some of its architectures turn dimension
 * 2 i with 2 i + 1 where ours turn i with i + D / 2 (D a head's size): rows of Q and K are put in that
 * order, head by head, which changes no score.
 */
#ifndef RLHF_EXPORT_ARCHITECTURE_H
#define RLHF_EXPORT_ARCHITECTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/str.h"
#include "common/export/gguf.h"
#include "common/model/family.h"
#include "common/model/model.h"

typedef struct TensorName {
    Part part;
    const char *name; /* of a block's tensors with one %zu */
} TensorName;

typedef struct Architecture {
    const char *family; /* model_type of config.json */
    const char *name;   /* general.architecture; NULL: llama.cpp has none, because of */
    const char *reason;
    ActivationKind activation; /* the one it computes */
    const TensorName *tensor;
    size_t tensors;
    bool neighbors;  /* rotary positions turn neighbors */
    bool own_head;   /* output.weight has to be there, also when it is the token embedding */
    bool rope_table; /* reads rope_freqs.weight: factors that divide the frequencies (Llama 3) */
    bool windows;    /* knows which layers are local, and how their heads turn (Gemma 3) */
} Architecture;

/* NULL and ERROR_DATA saying why if llama.cpp cannot compute the model. */
const Architecture *architecture_find(const ModelConfig *config, Error *err);

/* The settings. Notes (a line each, may get some): what a user should know. */
void architecture_put(const Architecture *architecture, const ModelConfig *config,
                      GgufWriter *writer, Str *notes);

/* A tensor of the file: rows of a parameter in another order. */
typedef struct ExportTensor {
    char name[GGUF_NAME_MAX + 1];
    const Parameter *source; /* NULL: the table of rotary factors */
    size_t rows, columns;    /* as they are written; a vector has columns = 1 */
    bool vector;
    bool single;      /* F32 whatever type is asked for: vectors and positions */
    bool transposed;  /* the source is [columns, rows] */
    float base;       /* added to what is written: to gains that are kept as differences from 1 */
    size_t head_size; /* rows are put in neighbors' order within heads of this size; 0: not */
} ExportTensor;

/* All tensors in the file's order; release with free. ERROR_DATA naming a parameter that has no place
 * in the architecture. */
bool architecture_tensors(const Architecture *architecture, const Model *model,
                          ExportTensor **tensor, size_t *tensors, Error *err);

/* Rows [begin, begin + n) as they are written, of the values of the source (none: of the configuration's
 * rotary positions): out is [n, columns]. */
void export_rows(const ExportTensor *tensor, const Rope *rope, const float *values, size_t begin,
                 size_t n, float *out);

#endif
