/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of the steps around the models: the first byte picks a tokenizer, the rest is a text. No id
 * is special unless special tokens are looked for, and a stream decodes to what the whole does. Run
 * in the source folder.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/tokenizer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
    "qwen2.json",
    "deepseek-coder.json",
    "falcon.json",
    "byte-normalizer.json",
    "llama2.json",
    "mistral.json",
    "metaspace-first.json",
    "gemma.json",
    "gpt1.json",
    "bpe-prefix.json",
    "t5.json",
    "xlmr.json",
    "albert.json",
    "unigram-nmt.json",
    "bert.json",
    "mpnet.json",
    "bert-accents.json",
    "split-contiguous-invert.json",
    "decoders.json",
    "decoders-bytes.json",
    "bpe-user.model",
    "bpe-whole.model",
    "unigram.model",
    "unigram-user.model",
};
enum { NAMES = sizeof names / sizeof *names };
static Tokenizer *tokenizer[NAMES];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < NAMES; i++) {
        char path[128];
        Error err = {0};
        snprintf(path, sizeof path, "tests/fixtures/text/%s", names[i]);
        tokenizer[i] = tokenizer_load(path, &err);
        if (tokenizer[i] == NULL) {
            error_print(&err, "fuzz_families", stderr);
            abort();
        }
    }
    return 0;
}

static void check_stream(const Tokenizer *t, const Tokens *tokens, bool replace, const Str *whole) {
    Error err = {0};
    Str parts = {0};
    TokenStream *stream = token_stream_create(t, false, replace, &err);
    for (size_t i = 0; stream != NULL && i < tokens->count; i++) {
        if (!token_stream_put(stream, tokens->id[i], &parts, &err)) {
            abort();
        }
    }
    if (stream == NULL || !token_stream_end(stream, &parts, &err) || parts.size != whole->size ||
        (parts.size > 0 && memcmp(parts.data, whole->data, parts.size) != 0)) {
        abort();
    }
    token_stream_free(stream);
    str_done(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    const Tokenizer *t = tokenizer[data[0] % NAMES];
    const char *text = (const char *)data + 1;
    bool valid = size == 1 || utf8_invalid_at(text, size - 1) == size - 1;
    for (int special = 0; special < 2; special++) {
        Error err = {0};
        Tokens tokens = {0};
        bool ok = tokenizer_encode(t, text, size - 1, special == 1, &tokens, &err);
        if (ok && !valid) {
            abort();
        }
        for (size_t j = 0; ok && special == 0 && j < tokens.count; j++) {
            if (tokenizer_is_special(t, tokens.id[j]) && tokens.id[j] != tokenizer_unknown(t)) {
                abort();
            }
        }
        for (int replace = 0; ok && replace < 2; replace++) {
            Str back = {0};
            if (!tokenizer_decode(t, tokens.id, tokens.count, false, replace == 1, &back, &err) ||
                (replace == 1 && utf8_invalid_at(str_text(&back), back.size) < back.size)) {
                abort();
            }
            check_stream(t, &tokens, replace == 1, &back);
            str_done(&back);
        }
        tokens_done(&tokens);
    }
    return 0;
}
