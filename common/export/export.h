/* SPDX-License-Identifier: MIT
 *
 * Export: a model folder for programs that run models: GGUF with its tokenizer and chat template for
 * llama.cpp, and the Modelfile that Ollama makes a model of it with.
 *
 * What such a program would compute otherwise than this one is refused by name. Where it differs in
 * what no file can say, a note tells (a line each).
 */
#ifndef RLHF_EXPORT_EXPORT_H
#define RLHF_EXPORT_EXPORT_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/base/str.h"
#include "common/export/gguf.h"
#include "common/model/model_reader.h"
#include "common/text/layout.h"
#include "common/text/tokenizer.h"

typedef struct ExportSource {
    const Model *model;
    const Tokenizer *tokenizer;
    const Layout *layout; /* the folder's; NULL: it has none, and its own chat template counts */
    const char *name;     /* general.name */
    const ModelReader *reader; /* its weights; NULL: they are the model's */
} ExportSource;

/* Writes `path`: matrices in `type`, vectors and the table of positions in F32, tensor by tensor; memory
 * beside the model's for the reader's buffer and some rows of the widest one. */
bool export_gguf(const ExportSource *source, GgmlType type, const char *path, Str *notes,
                 Error *err);

/* The pairs "tokenizer.…" for a vocabulary of `rows` tokens (what the tokenizer lacks is filled up). Without
 * a model (NULL) nothing but the tokenizer's EOS ends a completion.
 * ERROR_CONFIG for a tokenizer that llama.cpp has no name for. */
bool export_tokenizer(const ExportSource *source, size_t rows, GgufWriter *writer, Str *notes,
                      Error *err);

/* The value of tokenizer.ggml.pre for byte-level BPE with these steps (vocabulary_steps); NULL: none. */
const char *export_pre_tokenizer(const char *steps, bool ignore_merges);

/* A chat template (Jinja) that makes the text of the layout's ids; `eos` is the text of the token that
 * ends a completion. */
void export_chat_template(const Layout *layout, const char *eos, Str *out);

/* Text of a Modelfile for the GGUF file `from`. */
bool export_modelfile(const ExportSource *source, const char *from, Str *out, Error *err);

#endif
