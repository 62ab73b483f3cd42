/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/safetensors.h"
#include "common/train/optimizer.h"

enum { NAME = sizeof((Parameter){0}).name + 8 };

static const char *const step_name = "step";

static void moment_name(char out[NAME], char moment, const Parameter *parameter) {
    snprintf(out, NAME, "%c.%s", moment, parameter->name);
}

static bool add_moments(SafeTensorsWriter *writer, const Optimizer *optimizer, const Model *model,
                        Error *err) {
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        if (p->gradient == SIZE_MAX || !p->trainable) {
            continue;
        }
        char name[NAME];
        moment_name(name, 'm', p);
        if (!safetensors_writer_add(writer, name, TENSOR_F32, p->shape, p->rank,
                                    optimizer->m + p->gradient, err)) {
            return false;
        }
        moment_name(name, 'v', p);
        if (!safetensors_writer_add(writer, name, TENSOR_F32, p->shape, p->rank,
                                    optimizer->v + p->gradient, err)) {
            return false;
        }
    }
    return true;
}

bool optimizer_save(const Optimizer *optimizer, const Model *model, const char *path, Error *err) {
    SafeTensorsWriter *writer = safetensors_writer_create(err);
    if (writer == NULL) {
        return false;
    }
    const size_t shape[1] = {1};
    bool ok =
        safetensors_writer_add(writer, step_name, TENSOR_I64, shape, 1, &optimizer->step, err) &&
        add_moments(writer, optimizer, model, err) &&
        safetensors_writer_commit(writer, path, NULL, err);
    safetensors_writer_free(writer);
    return ok;
}

static bool read_moment(const SafeTensors *file, char moment, const Parameter *p, float *out,
                        Error *err) {
    char name[NAME];
    moment_name(name, moment, p);
    const Tensor *tensor = safetensors_find(file, name);
    if (tensor == NULL) {
        return error_at(
            err, ERROR_DATA, file->path, 0, 0,
            "the tensor %s is missing: this optimizer state belongs to another model or "
            "to other frozen layers",
            name);
    }
    bool same = tensor->rank == p->rank && tensor->type == TENSOR_F32;
    for (int i = 0; same && i < p->rank; i++) {
        same = tensor->shape[i] == p->shape[i];
    }
    if (!same) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "the tensor %s has not the model's shape or is not F32: this optimizer "
                        "state belongs to another model",
                        name);
    }
    return safetensors_read_floats(file, tensor, out, p->count, false, err);
}

static bool read_all(Optimizer *optimizer, const Model *model, const SafeTensors *file,
                     Error *err) {
    const Tensor *step = safetensors_find(file, step_name);
    int64_t value = -1;
    if (step != NULL && step->type == TENSOR_I64 && step->count == 1) {
        memcpy(&value, step->data, sizeof value);
    }
    if (value < 0) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "no valid tensor \"step\": this is not an optimizer state");
    }
    size_t expected = 1;
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        if (p->gradient == SIZE_MAX || !p->trainable) {
            continue;
        }
        expected += 2;
        if (!read_moment(file, 'm', p, optimizer->m + p->gradient, err) ||
            !read_moment(file, 'v', p, optimizer->v + p->gradient, err)) {
            return false;
        }
    }
    if (file->tensors != expected) {
        return error_at(err, ERROR_DATA, file->path, 0, 0,
                        "%zu tensors where %zu were expected: this optimizer state belongs to "
                        "another model or to other frozen layers",
                        file->tensors, expected);
    }
    optimizer->step = value;
    return true;
}

bool optimizer_load(Optimizer *optimizer, const Model *model, const char *path, Error *err) {
    SafeTensors file;
    if (!safetensors_open(&file, path, err)) {
        return false;
    }
    bool ok = read_all(optimizer, model, &file, err);
    safetensors_close(&file);
    return ok;
}
