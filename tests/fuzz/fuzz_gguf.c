/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of GGUF's reader. Whatever opens has values and tensors within the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/export/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink; /* so that every byte is read */

static void read_pair(const GgufPair *pair) {
    double number;
    GgufText text;
    size_t texts = 0;
    for (size_t i = 0; gguf_number(pair, i, &number); i++) {
        sink = (unsigned char)(number > 0);
    }
    for (size_t at = 0; gguf_next_text(pair, &at, &text); texts++) {
        for (size_t i = 0; i < text.n; i++) {
            sink = (unsigned char)text.text[i];
        }
    }
    if (pair->kind == GGUF_STRING && texts != pair->count) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int file = memfd_create("fuzz.gguf", MFD_CLOEXEC);
    if (file < 0 || write(file, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    Error err = {0};
    Gguf gguf;
    if (gguf_open(&gguf, path, &err)) {
        for (size_t i = 0; i < gguf.pairs; i++) {
            read_pair(&gguf.pair[i]);
        }
        for (size_t i = 0; i < gguf.tensors; i++) {
            for (size_t j = 0; j < gguf.tensor[i].bytes; j++) {
                sink = gguf.tensor[i].data[j];
            }
        }
        gguf_close(&gguf);
    } else if (err.text[0] == '\0') {
        abort();
    }
    close(file);
    return 0;
}
