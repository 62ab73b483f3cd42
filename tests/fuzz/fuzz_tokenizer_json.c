/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of tokenizer.json, tokenizer_config.json beside it (none if empty) and a text to encode,
 * in this order with a byte 0xff between them; without a text a fixed one is taken. Whatever loads must
 * encode to known ids and decode again.
 */
#include "common/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char sample[] = "It's 12 o'clock\n\n  \xc3\xa9t\xc3\xa9 <s>";
    FuzzPart rest = {data, size}, file = fuzz_cut(&rest, 0xff), beside = fuzz_cut(&rest, 0xff);
    const char *text = rest.size == 0 ? sample : (const char *)rest.data;
    size_t n = rest.size == 0 ? sizeof sample - 1 : rest.size;
    memory_file_put("memory:/tokenizer.json", file.data, file.size);
    if (beside.size > 0) {
        memory_file_put("memory:/tokenizer_config.json", beside.data, beside.size);
    }
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load("memory:/tokenizer.json", &err);
    demand(tokenizer != NULL || err.text[0] != '\0');
    for (int special = 0; tokenizer != NULL && special < 2; special++) {
        Tokens tokens = {0};
        Str back = {0};
        if (tokenizer_encode(tokenizer, text, n, special == 1, &tokens, &err)) {
            demand(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &back, &err));
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
    memory_files_clear();
    return 0;
}
