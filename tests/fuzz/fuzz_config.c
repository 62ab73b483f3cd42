/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of config.json: what is read is within the limits, and reads the same after it was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *folder, const uint8_t *data, size_t size) {
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        abort();
    }
}

static bool same(const ModelConfig *a, const ModelConfig *b) {
    return a->family == b->family && a->layers == b->layers && a->context == b->context &&
           config_qkv_width(a) == config_qkv_width(b) && a->inner == b->inner &&
           a->window == b->window && memcmp(a->local, b->local, sizeof a->local) == 0 &&
           memcmp(&a->rope, &b->rope, sizeof a->rope) == 0 && a->activation == b->activation;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char folder[] = "/dev/shm/fuzz_config_XXXXXX";
    static char *made;
    made = made == NULL ? mkdtemp(folder) : made;
    put(made, data, size);
    Error err = {0};
    ModelConfig config, again;
    if (!model_config_read(&config, made, &err)) {
        if (err.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (!model_config_check(&config, &err) || !model_config_write(&config, made, &err) ||
        !model_config_read(&again, made, &err) || !same(&config, &again)) {
        error_print(&err, "fuzz_config", stderr);
        abort();
    }
    model_config_done(&again);
    model_config_done(&config);
    return 0;
}
