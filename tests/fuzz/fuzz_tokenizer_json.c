/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of tokenizer.json: what comes before the first 0xff byte is the file, what follows is a
 * text to encode with it. Whatever loads must encode to known ids and decode again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char sample[] = "It's 12 o'clock\n\n  \xc3\xa9t\xc3\xa9 <s>";
    const uint8_t *cut = size == 0 ? NULL : memchr(data, 0xff, size);
    size_t file_size = cut == NULL ? size : (size_t)(cut - data);
    const char *text = cut == NULL ? sample : (const char *)cut + 1;
    size_t n = cut == NULL ? sizeof sample - 1 : size - file_size - 1;
    char path[64];
    int file = memfd_create("tokenizer.json", MFD_CLOEXEC);
    if (file < 0 || write(file, data, file_size) != (ssize_t)file_size) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    close(file);
    for (int special = 0; tokenizer != NULL && special < 2; special++) {
        Tokens tokens = {0};
        Str back = {0};
        if (tokenizer_encode(tokenizer, text, n, special == 1, &tokens, &err) &&
            !tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &back, &err)) {
            abort();
        }
        TextPart pair[2] = {
            {text,   n                },
            {sample, sizeof sample - 1}
        };
        tokenizer_encode_framed(tokenizer, pair, 2, special == 1, &tokens, NULL, &err);
        tokens_done(&tokens);
        str_done(&back);
    }
    tokenizer_free(tokenizer);
    return 0;
}
