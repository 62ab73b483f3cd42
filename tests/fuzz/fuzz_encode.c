/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of encoding: any valid UTF-8 comes back from its ids, and no id is special unless special
 * tokens are looked for. Run in the source folder.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/tokenizer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Tokenizer *tokenizer[2];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    Error err = {0};
    tokenizer[0] = tokenizer_load("tests/fixtures/tokenizer/trained.json", &err);
    tokenizer[1] = tokenizer_load("tests/fixtures/tokenizer/llama3.json", &err);
    if (tokenizer[0] == NULL || tokenizer[1] == NULL) {
        error_print(&err, "fuzz_encode", stderr);
        abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    bool valid = size == 0 || utf8_invalid_at(text, size) == size;
    for (int i = 0; i < 4; i++) {
        Error err = {0};
        Tokens tokens = {0};
        Str back = {0};
        bool special = i % 2 == 1;
        if (tokenizer_encode(tokenizer[i / 2], text, size, special, &tokens, &err) != valid) {
            abort();
        }
        if (valid && (!tokenizer_decode(tokenizer[i / 2], tokens.id, tokens.count, false, false,
                                        &back, &err) ||
                      back.size != size || (size > 0 && memcmp(back.data, text, size) != 0))) {
            abort();
        }
        for (size_t j = 0; !special && j < tokens.count; j++) {
            if (tokenizer_is_special(tokenizer[i / 2], tokens.id[j])) {
                abort();
            }
        }
        tokens_done(&tokens);
        str_done(&back);
    }
    return 0;
}
