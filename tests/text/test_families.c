/* SPDX-License-Identifier: MIT
 *
 * Tokenizers of many families against what Hugging Face's tokenizers gave (fixtures/text/mint.py).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"
#include "tests/text/cases.h"

static const char *fixture(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/text/%s", test_fixtures(), name);
    return path;
}

static void check_text(const Tokenizer *tokenizer, const cJSON *want, const Tokens *tokens,
                       bool skip, const char *name) {
    if (json_string(want) != NULL) {
        check_decoded(tokenizer, tokens->id, tokens->count, skip, json_string(want), name);
    }
}

static void check_case(const Tokenizer *tokenizer, const cJSON *row) {
    Error err = {0};
    const char *name = json_string(json_member(row, "tokenizer"));
    const char *text = json_string(json_member(row, "text"));
    const char *before = json_string(json_member(row, "before"));
    TextPart pair[2] = {
        {text,   strlen(text)  },
        {before, strlen(before)}
    };
    for (int special = 0; special < 2; special++) {
        Tokens tokens = {0};
        assert_ok(tokenizer_encode(tokenizer, text, strlen(text), special == 1, &tokens, &err),
                  &err);
        check_ids(json_member(row, special == 1 ? "ids" : "plain"), &tokens,
                  special == 1 ? "ids" : "plain ids", name, text);
        for (size_t i = 0; special == 0 && i < tokens.count; i++) {
            assert_true(tokens.id[i] == tokenizer_unknown(tokenizer) ||
                        !tokenizer_is_special(tokenizer, tokens.id[i]));
        }
        tokens_done(&tokens);
    }
    Tokens framed = {0}, both = {0}, types = {0};
    assert_ok(tokenizer_encode_framed(tokenizer, pair, 1, true, &framed, NULL, &err), &err);
    check_ids(json_member(row, "framed"), &framed, "framed ids", name, text);
    assert_ok(tokenizer_encode_framed(tokenizer, pair, 2, true, &both, &types, &err), &err);
    check_ids(json_member(row, "pair"), &both, "ids of a pair", name, text);
    check_ids(json_member(row, "types"), &types, "types", name, text);
    check_text(tokenizer, json_member(row, "decoded"), &both, false, name);
    check_text(tokenizer, json_member(row, "skipped"), &both, true, name);
    tokens_done(&framed);
    tokens_done(&both);
    tokens_done(&types);
}

static void is_as_hugging_face(void **state) {
    (void)state;
    Cases cases = {.folder = fixture(""),
                   .file = "cases.jsonl",
                   .key = "tokenizer",
                   .end = ".json",
                   .check = check_case};
    cases_check(&cases);
    assert_true(cases.tokenizers >= 36 && cases.rows >= 18 * cases.tokenizers);
}

/* What was read is written byte for byte, and means the same when it is read again. */
static void saves_what_it_read(void **state) {
    (void)state;
    static const char *const names[] = {"llama2", "mistral", "gemma", "xlmr",
                                        "albert", "bert",    "gpt1",  "falcon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Error err = {0};
        Str before = {0}, after = {0};
        char name[64], path[512];
        const char *folder = test_folder();
        snprintf(name, sizeof name, "%s.json", names[i]);
        Tokenizer *tokenizer = case_tokenizer(fixture(name));
        assert_ok(tokenizer_save(tokenizer, folder, &err), &err);
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
        assert_ok(file_read(fixture(name), 1 << 24, &before, &err), &err);
        assert_ok(file_read(path, 1 << 24, &after, &err), &err);
        assert_int_equal(before.size, after.size);
        assert_memory_equal(before.data, after.data, before.size);
        Tokenizer *again = case_tokenizer(folder);
        assert_true(tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer));
        tokenizer_free(again);
        tokenizer_free(tokenizer);
        str_done(&before);
        str_done(&after);
    }
}

/* A long text of one character, in each kind of model: a quadratic step would take minutes. */
static void long_runs_take_linear_time(void **state) {
    (void)state;
    static const char *const names[] = {
        "gpt2", "llama2", "mistral", "metaspace-first", "xlmr", "t5", "albert", "bert", "gpt1"};
    static const char *const runs[] = {"a", " ", "\xe2\x96\x81", "\xe4\xb8\x80", "\xcc\x81", "0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.json", names[i]);
        Tokenizer *tokenizer = case_tokenizer(fixture(name));
        for (size_t j = 0; j < sizeof runs / sizeof *runs; j++) {
            Error err = {0};
            Str text = {0}, back = {0};
            Tokens tokens = {0};
            while (text.size < 250000) {
                str_append(&text, runs[j]);
            }
            assert_ok(tokenizer_encode(tokenizer, text.data, text.size, false, &tokens, &err),
                      &err);
            assert_ok(
                tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &back, &err),
                &err);
            str_done(&text);
            str_done(&back);
            tokens_done(&tokens);
        }
        tokenizer_free(tokenizer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_as_hugging_face),
        cmocka_unit_test(saves_what_it_read),
        cmocka_unit_test(long_runs_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
