/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of tokenizer.model and tokenizer.bin: the first byte says which, the rest is the file.
 * Whatever loads must encode to known ids and decode again. Files go to a folder in /dev/shm.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/text/tokenizer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64] = "/dev/shm/fuzz-pieces-XXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (mkdtemp(folder) == NULL) {
        abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char sample[] =
        "It's  12 o'clock\n\n the hut \xc3\xa9t\xc3\xa9 <s><0x41> \xe2\x96\x81";
    char path[96];
    if (size < 1) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/tokenizer.%s", folder, data[0] % 2 == 0 ? "model" : "bin");
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data + 1, 1, size - 1, file) != size - 1 || fclose(file) != 0) {
        abort();
    }
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    for (int special = 0; tokenizer != NULL && special < 2; special++) {
        Tokens tokens = {0};
        Str back = {0};
        if (tokenizer_encode(tokenizer, sample, sizeof sample - 1, special == 1, &tokens, &err) &&
            !tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &back, &err)) {
            abort();
        }
        tokens_done(&tokens);
        str_done(&back);
    }
    tokenizer_free(tokenizer);
    return 0;
}
