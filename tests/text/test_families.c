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

static const char *fixture(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/text/%s", test_fixtures(), name);
    return path;
}

static Tokenizer *load(const char *path) {
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    assert_ok(tokenizer != NULL, &err);
    return tokenizer;
}

static void check_ids(const cJSON *want, const Tokens *got, const char *what, const char *name,
                      const char *text) {
    if (want == NULL || cJSON_IsNull(want)) {
        return;
    }
    size_t i = 0;
    for (const cJSON *item = want->child; item != NULL; item = item->next, i++) {
        if (i >= got->count || got->id[i] != (int)item->valuedouble) {
            fail_msg("%s: %s %zu of \"%s\": %d, expected %d", name, what, i, text,
                     i < got->count ? got->id[i] : -1, (int)item->valuedouble);
        }
    }
    if (i != got->count) {
        fail_msg("%s: %zu %s of \"%s\", expected %zu", name, got->count, what, text, i);
    }
}

/* The whole and the stream, of which each part only adds. */
static void check_decoded(const Tokenizer *tokenizer, const cJSON *want, const Tokens *tokens,
                          bool skip, const char *name) {
    Error err = {0};
    Str whole = {0}, stream = {0};
    if (json_string(want) == NULL) {
        return;
    }
    assert_ok(tokenizer_decode(tokenizer, tokens->id, tokens->count, skip, true, &whole, &err),
              &err);
    if (strcmp(str_text(&whole), json_string(want)) != 0) {
        fail_msg("%s: decoded \"%s\", expected \"%s\"", name, str_text(&whole), json_string(want));
    }
    TokenStream *s = token_stream_create(tokenizer, skip, true, &err);
    assert_ok(s != NULL, &err);
    for (int round = 0; round < 2; round++) { /* after the end it is as new */
        str_clear(&stream);
        for (size_t i = 0; i < tokens->count; i++) {
            assert_ok(token_stream_put(s, tokens->id[i], &stream, &err), &err);
            assert_true(stream.size <= whole.size &&
                        memcmp(str_text(&stream), str_text(&whole), stream.size) == 0);
        }
        assert_ok(token_stream_end(s, &stream, &err), &err);
        assert_string_equal(str_text(&stream), str_text(&whole));
    }
    token_stream_free(s);
    str_done(&whole);
    str_done(&stream);
}

static void check_case(const Tokenizer *tokenizer, const cJSON *row, const char *before) {
    Error err = {0};
    const char *name = json_string(json_member(row, "tokenizer"));
    const char *text = json_string(json_member(row, "text"));
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
    check_decoded(tokenizer, json_member(row, "decoded"), &both, false, name);
    check_decoded(tokenizer, json_member(row, "skipped"), &both, true, name);
    tokens_done(&framed);
    tokens_done(&both);
    tokens_done(&types);
}

static void is_as_hugging_face(void **state) {
    (void)state;
    Error err = {0};
    LineReader reader;
    char name[64] = "";
    Tokenizer *tokenizer = NULL;
    size_t cases = 0, tokenizers = 0;
    bool got = true;
    assert_ok(line_reader_open(&reader, fixture("cases.jsonl"), 1 << 20, &err), &err);
    for (;;) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        if (!got) {
            break;
        }
        cJSON *row = json_parse(str_text(&reader.line), reader.line.size, "cases.jsonl",
                                reader.number, &json_limits_line, &err);
        assert_ok(row != NULL, &err);
        const char *wanted = json_string(json_member(row, "tokenizer"));
        if (strcmp(name, wanted) != 0) {
            char file[80];
            snprintf(name, sizeof name, "%s", wanted);
            snprintf(file, sizeof file, "%s.json", name);
            tokenizer_free(tokenizer);
            tokenizer = load(fixture(file));
            tokenizers++;
        }
        check_case(tokenizer, row, json_string(json_member(row, "before")));
        cJSON_Delete(row);
        cases++;
    }
    line_reader_close(&reader);
    tokenizer_free(tokenizer);
    assert_true(tokenizers >= 36 && cases >= 18 * tokenizers);
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
        Tokenizer *tokenizer = load(fixture(name));
        assert_ok(tokenizer_save(tokenizer, folder, &err), &err);
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
        assert_ok(file_read(fixture(name), 1 << 24, &before, &err), &err);
        assert_ok(file_read(path, 1 << 24, &after, &err), &err);
        assert_int_equal(before.size, after.size);
        assert_memory_equal(before.data, after.data, before.size);
        Tokenizer *again = load(folder);
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
        Tokenizer *tokenizer = load(fixture(name));
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
