/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of model.safetensors.index.json beside two shards, a.safetensors with the tensors a and b and
 * c.safetensors with c: what opens is those.
 */
#include <stdlib.h>

#include "common/model/weight_files.h"
#include "tests/fuzz/fuzz.h"

static void shard(const char *path, const char *const *tensor, size_t n) {
    static const float values[2];
    size_t shape[] = {2};
    SafeTensorsWriter *writer = safetensors_writer_create(NULL);
    demand(writer != NULL);
    for (size_t i = 0; i < n; i++) {
        demand(safetensors_writer_add(writer, tensor[i], TENSOR_F32, shape, 1, values, NULL));
    }
    demand(safetensors_writer_commit(writer, path, NULL, NULL));
    safetensors_writer_free(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const first[] = {"a", "b"}, *const second[] = {"c"};
    if (!file_exists("memory:/a.safetensors")) {
        shard("memory:/a.safetensors", first, 2);
        shard("memory:/c.safetensors", second, 1);
    }
    memory_file_put("memory:/model.safetensors.index.json", data, size);
    Error err = {0};
    WeightFiles files;
    if (weight_files_find(&files, "memory:", &err)) {
        demand(files.files >= 1 && files.files <= 2);
        weight_files_close(&files);
    } else {
        demand(err.text[0] != '\0');
    }
    return 0;
}
