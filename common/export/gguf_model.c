/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/export/architecture.h"
#include "common/export/export.h"
#include "common/export/weights.h"

enum { CHUNK_FLOATS = 1 << 18 };

typedef struct Job {
    const ModelReader *reader;
    const Model *model;
    const Architecture *architecture;
    GgmlType type;
    ExportTensor *tensor; /* [tensors] owned */
    size_t tensors;
    GgufWriter *writer; /* owned */
    float *buffer;      /* of a parameter; owned */
    float *rows;        /* [chunk] some rows of a tensor; owned */
    void *bytes;        /* [chunk] the same as they are written; owned */
    size_t chunk;
} Job;

static uint32_t file_type(GgmlType type) {
    return type == GGML_F32 ? 0 : type == GGML_F16 ? 1 : type == GGML_Q8_0 ? 7 : 32;
}

static GgmlType type_of(const Job *job, const ExportTensor *tensor) {
    return tensor->single ? GGML_F32 : job->type;
}

static bool name_tensors(Job *job, Error *err) {
    for (size_t i = 0; i < job->tensors; i++) {
        const ExportTensor *tensor = &job->tensor[i];
        size_t shape[2] = {tensor->rows, tensor->columns};
        GgmlType type = type_of(job, tensor);
        if (type == GGML_Q8_0 && tensor->columns % Q8_0_BLOCK != 0) {
            return error_set(err, ERROR_CONFIG,
                             "rows of '%s' have %zu weights, but Q8_0 holds blocks of %d; choose "
                             "another type",
                             tensor->name, tensor->columns, Q8_0_BLOCK);
        }
        if (!gguf_writer_add(job->writer, tensor->name, type, shape, tensor->vector ? 1 : 2, err)) {
            return false;
        }
        job->chunk = tensor->columns > job->chunk ? tensor->columns : job->chunk;
    }
    job->chunk = job->chunk > CHUNK_FLOATS ? job->chunk : CHUNK_FLOATS;
    return true;
}

static bool allocate(Job *job, Error *err) {
    size_t buffer = model_reader_buffer(job->reader);
    job->rows = mem_alloc(job->chunk, sizeof *job->rows, err);
    job->bytes = job->rows != NULL ? mem_alloc(job->chunk, sizeof(float), err) : NULL;
    job->buffer =
        buffer > 0 && job->bytes != NULL ? mem_alloc_aligned(buffer, sizeof(float), err) : NULL;
    return job->bytes != NULL && (buffer == 0 || job->buffer != NULL);
}

static bool write_tensor(Job *job, const ExportTensor *tensor, Error *err) {
    GgmlType type = type_of(job, tensor);
    size_t columns = tensor->columns, step = job->chunk / columns;
    const float *values = NULL;
    if (tensor->source != NULL) {
        size_t i = (size_t)(tensor->source - job->model->parameter);
        values = model_reader_values(job->reader, i, job->buffer, err);
        if (values == NULL) {
            return false;
        }
    }
    for (size_t r = 0; r < tensor->rows; r += step) {
        size_t n = tensor->rows - r < step ? tensor->rows - r : step;
        size_t shape[2] = {n, columns};
        export_rows(tensor, &job->model->config.rope, values, r, n, job->rows);
        if (!weights_encode(type, job->rows, n * columns, job->bytes, tensor->name, err) ||
            !gguf_writer_put(job->writer, job->bytes, ggml_bytes(type, shape, 2), err)) {
            return false;
        }
    }
    return true;
}

static bool run(Job *job, const ExportSource *source, const char *path, Str *notes, Error *err) {
    GgufWriter *writer = job->writer;
    const char *name = job->architecture->name;
    gguf_put_string(writer, "general.architecture", name, strlen(name));
    gguf_put_string(writer, "general.type", "model", 5);
    gguf_put_string(writer, "general.name", source->name, strlen(source->name));
    gguf_put_u32(writer, "general.file_type", file_type(job->type));
    gguf_put_u32(writer, "general.quantization_version", 2);
    architecture_put(job->architecture, &job->model->config, writer, notes);
    bool ok =
        export_tokenizer(source, job->model->config.vocabulary, writer, notes, err) &&
        architecture_tensors(job->architecture, job->model, &job->tensor, &job->tensors, err) &&
        name_tensors(job, err) && allocate(job, err) && gguf_writer_begin(writer, path, err);
    for (size_t i = 0; ok && i < job->tensors; i++) {
        ok = write_tensor(job, &job->tensor[i], err);
    }
    return ok && gguf_writer_commit(writer, err);
}

static bool export_read(const ExportSource *source, const ModelReader *reader, GgmlType type,
                        const char *path, Str *notes, Error *err) {
    Job job = {.reader = reader, .model = source->model, .type = type};
    job.architecture = architecture_find(&source->model->config, err);
    job.writer = job.architecture != NULL ? gguf_writer_create(err) : NULL;
    bool ok = job.writer != NULL && run(&job, source, path, notes, err);
    gguf_writer_free(job.writer);
    free(job.tensor);
    free(job.buffer);
    free(job.rows);
    free(job.bytes);
    return ok;
}

bool export_gguf(const ExportSource *source, GgmlType type, const char *path, Str *notes,
                 Error *err) {
    if (source->reader != NULL) {
        return export_read(source, source->reader, type, path, notes, err);
    }
    ModelReader *reader = model_reader_of(source->model, err);
    bool ok = reader != NULL && export_read(source, reader, type, path, notes, err);
    model_reader_close(reader);
    return ok;
}
