/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of llama2.c's checkpoints: whatever loads has finite weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/model.h"
#include "tests/fuzz/fuzz.h"

enum { LARGEST = 1 << 14 };

/* Sizes that the fuzzer would have to guess together: with a first byte of 1 the file gets the length
 * that its header calls for, if that is small. */
static size_t called_for(const uint8_t *data, size_t size) {
    int32_t h[7];
    if (size < sizeof h) {
        return size;
    }
    memcpy(h, data, sizeof h);
    for (int i = 0; i < 7; i++) {
        if (h[i] < (i == 5 ? -32 : 1) || h[i] > (i == 2 ? 3 : 32)) { /* 2: layers, 5: words */
            return size;
        }
    }
    size_t dim = (size_t)h[0], inner = (size_t)h[1], layers = (size_t)h[2], heads = (size_t)h[3];
    size_t size_of_head = dim / heads, keys = (size_t)h[4] * size_of_head,
           words = (size_t)abs(h[5]);
    size_t floats =
        words * dim * (h[5] < 0 ? 2 : 1) + dim + (size_t)h[6] * size_of_head +
        layers * (2 * dim + 2 * dim * heads * size_of_head + 2 * dim * keys + 3 * dim * inner);
    return sizeof h + 4 * floats;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    size_t n = data[0] == 1 ? called_for(data + 1, size - 1) : size - 1;
    n = n < LARGEST ? n : LARGEST;
    uint8_t *content = calloc(n + 1, 1);
    demand(content != NULL);
    memcpy(content, data + 1, size - 1 < n ? size - 1 : n);
    memory_file_put("memory:/model.bin", content, n);
    free(content);
    Error err = {0};
    Model model;
    if (model_load(&model, "memory:/model.bin", -1, 0, NULL, &err)) {
        for (size_t i = 0; i < model.count; i++) {
            demand(isfinite(model.data[i]));
        }
        model_done(&model);
    } else {
        demand(err.text[0] != '\0');
    }
    memory_files_clear();
    return 0;
}
