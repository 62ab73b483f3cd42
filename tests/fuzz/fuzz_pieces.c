/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of tokenizer.model and tokenizer.bin: the first byte says which, the rest is the file.
 * Whatever loads must encode to known ids and decode again.
 */
#include "common/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char sample[] =
        "It's  12 o'clock\n\n the hut \xc3\xa9t\xc3\xa9 <s><0x41> \xe2\x96\x81";
    if (size < 1) {
        return 0;
    }
    const char *path = data[0] % 2 == 0 ? "memory:/tokenizer.model" : "memory:/tokenizer.bin";
    memory_file_put(path, data + 1, size - 1);
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    demand(tokenizer != NULL || err.text[0] != '\0');
    for (int special = 0; tokenizer != NULL && special < 2; special++) {
        Tokens tokens = {0};
        Str back = {0};
        if (tokenizer_encode(tokenizer, sample, sizeof sample - 1, special == 1, &tokens, &err)) {
            demand(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &back, &err));
        }
        tokens_done(&tokens);
        str_done(&back);
    }
    tokenizer_free(tokenizer);
    memory_files_clear();
    return 0;
}
