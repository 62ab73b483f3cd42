/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of safetensors: the first two bytes say how long the header is, which is put in front of
 * it; so the fuzzer need not guess eight bytes. Whatever opens has tensors within the file; what of it the
 * writer can say is written, read again and the same.
 */
#include <stdlib.h>
#include <string.h>

#include "common/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void read_values(const SafeTensors *file, const Tensor *tensor) {
    float *values = malloc(tensor->count * sizeof *values + 1);
    Error err = {0};
    demand(values != NULL && safetensors_find(file, tensor->name) == tensor);
    if (!safetensors_read_floats(file, tensor, values, tensor->count, false, &err)) {
        demand(err.text[0] != '\0');
    }
    free(values);
}

static void write_again(const SafeTensors *file, const char *path) {
    SafeTensorsWriter *writer = safetensors_writer_create(NULL);
    demand(writer != NULL);
    for (size_t i = 0; i < file->tensors; i++) {
        const Tensor *tensor = &file->tensor[i];
        if (tensor->type != TENSOR_OTHER) {
            demand(safetensors_writer_add(writer, tensor->name, tensor->type, tensor->shape,
                                          tensor->rank, tensor->data, NULL));
        }
    }
    demand(safetensors_writer_commit(writer, path, NULL, NULL));
    safetensors_writer_free(writer);
}

static void compare(const SafeTensors *file, const SafeTensors *again) {
    size_t found = 0;
    for (size_t i = 0; i < file->tensors; i++) {
        const Tensor *a = &file->tensor[i];
        const Tensor *b = safetensors_find(again, a->name);
        if (a->type != TENSOR_OTHER) {
            demand(b != NULL && a->type == b->type && a->rank == b->rank && a->count == b->count &&
                   a->bytes == b->bytes &&
                   memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0 &&
                   (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0));
            found++;
        }
    }
    demand(found == again->tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    uint8_t *content = malloc(size + 6);
    demand(content != NULL);
    uint64_t header = (uint64_t)(data[0] | data[1] << 8);
    memcpy(content, &header, sizeof header);
    memcpy(content + sizeof header, data + 2, size - 2);
    memory_file_put("memory:/a.safetensors", content, size + 6);
    free(content);
    Error err = {0};
    SafeTensors tensors, again;
    if (safetensors_open(&tensors, "memory:/a.safetensors", &err)) {
        for (size_t i = 0; i < tensors.tensors; i++) {
            read_values(&tensors, &tensors.tensor[i]);
        }
        write_again(&tensors, "memory:/b.safetensors");
        demand(safetensors_open(&again, "memory:/b.safetensors", &err));
        compare(&tensors, &again);
        safetensors_close(&again);
        safetensors_close(&tensors);
    } else {
        demand(err.text[0] != '\0');
    }
    memory_files_clear();
    return 0;
}
