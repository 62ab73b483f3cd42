/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of model.safetensors.index.json beside two shards, a.safetensors with the tensors a and b and
 * c.safetensors with c: what opens is those.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/weight_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *folder, const char *name, const void *data, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        abort();
    }
}

static void shard(const char *folder, const char *name, const char *const *tensor, size_t n) {
    static const float values[2];
    char path[128];
    size_t shape[] = {2};
    SafeTensorsWriter *writer = safetensors_writer_create(NULL);
    bool ok = writer != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        ok = safetensors_writer_add(writer, tensor[i], TENSOR_F32, shape, 1, values, NULL);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!ok || !safetensors_writer_commit(writer, path, NULL, NULL)) {
        abort();
    }
    safetensors_writer_free(writer);
}

static const char *prepare(void) {
    static char folder[] = "/dev/shm/fuzz_index_XXXXXX";
    static const char *const first[] = {"a", "b"}, *const second[] = {"c"};
    if (mkdtemp(folder) == NULL) {
        abort();
    }
    shard(folder, "a.safetensors", first, 2);
    shard(folder, "c.safetensors", second, 1);
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *folder;
    folder = folder == NULL ? prepare() : folder;
    put(folder, "model.safetensors.index.json", data, size);
    Error err = {0};
    WeightFiles files;
    if (weight_files_find(&files, folder, &err)) {
        if (files.files < 1 || files.files > 2) {
            abort();
        }
        weight_files_close(&files);
    } else if (err.text[0] == '\0') {
        abort();
    }
    return 0;
}
