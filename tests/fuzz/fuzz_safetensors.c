/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of safetensors: the first two bytes say how long the header is, which is put in front of
 * it; so the fuzzer need not guess eight bytes. Whatever opens has tensors within the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink; /* so that every byte is read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t header = 0;
    char path[64];
    if (size < 2) {
        return 0;
    }
    memcpy(&header, data, 2);
    int file = memfd_create("fuzz.safetensors", MFD_CLOEXEC);
    if (file < 0 || write(file, &header, sizeof header) != (ssize_t)sizeof header ||
        write(file, data + 2, size - 2) != (ssize_t)(size - 2)) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    Error err = {0};
    SafeTensors tensors;
    if (safetensors_open(&tensors, path, &err)) {
        for (size_t i = 0; i < tensors.tensors; i++) {
            for (size_t j = 0; j < tensors.tensor[i].bytes; j++) {
                sink = tensors.tensor[i].data[j];
            }
        }
        safetensors_close(&tensors);
    } else if (err.text[0] == '\0') {
        abort();
    }
    close(file);
    return 0;
}
