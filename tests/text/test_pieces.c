/* SPDX-License-Identifier: MIT
 *
 * SentencePiece's tokenizer.model against what SentencePiece gave (fixtures/text/mint_pieces.py), and
 * llama2.c's tokenizer.bin against both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"

static const char *fixture(const char *name, const char *end) {
    static char path[512];
    snprintf(path, sizeof path, "%s/text/%s%s", test_fixtures(), name, end);
    return path;
}

static Tokenizer *load(const char *path) {
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    assert_ok(tokenizer != NULL, &err);
    return tokenizer;
}

static Tokens ids_of(const cJSON *list) {
    Error err = {0};
    Tokens out = {0};
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        assert_ok(tokens_push(&out, (int32_t)item->valuedouble, &err), &err);
    }
    return out;
}

static void check_decoded(const Tokenizer *tokenizer, const cJSON *list, const char *want,
                          const char *name) {
    Error err = {0};
    Tokens tokens = ids_of(list);
    Str whole = {0}, stream = {0};
    assert_ok(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &whole, &err),
              &err);
    if (strcmp(str_text(&whole), want) != 0) {
        fail_msg("%s: decoded \"%s\", expected \"%s\"", name, str_text(&whole), want);
    }
    TokenStream *s = token_stream_create(tokenizer, false, true, &err);
    assert_ok(s != NULL, &err);
    for (size_t i = 0; i < tokens.count; i++) {
        assert_ok(token_stream_put(s, tokens.id[i], &stream, &err), &err);
        assert_true(stream.size <= whole.size &&
                    memcmp(str_text(&stream), str_text(&whole), stream.size) == 0);
    }
    assert_ok(token_stream_end(s, &stream, &err), &err);
    assert_string_equal(str_text(&stream), str_text(&whole));
    token_stream_free(s);
    tokens_done(&tokens);
    str_done(&whole);
    str_done(&stream);
}

static void check_row(const Tokenizer *tokenizer, const cJSON *row) {
    Error err = {0};
    const char *name = json_string(json_member(row, "model"));
    const char *text = json_string(json_member(row, "text"));
    Tokens want = ids_of(json_member(row, "ids")), got = {0};
    assert_ok(tokenizer_encode(tokenizer, text, strlen(text), false, &got, &err), &err);
    for (size_t i = 0; i < want.count || i < got.count; i++) {
        if (i >= want.count || i >= got.count || want.id[i] != got.id[i]) {
            fail_msg("%s: id %zu of \"%s\" is %d, expected %d", name, i, text,
                     i < got.count ? got.id[i] : -1, i < want.count ? want.id[i] : -1);
        }
    }
    check_decoded(tokenizer, json_member(row, "ids"), json_string(json_member(row, "decoded")),
                  name);
    check_decoded(tokenizer, json_member(row, "random"),
                  json_string(json_member(row, "random_decoded")), name);
    tokens_done(&want);
    tokens_done(&got);
}

static void check_rows(const char *only, Tokenizer *given) {
    Error err = {0};
    LineReader reader;
    char name[64] = "";
    Tokenizer *tokenizer = given;
    size_t rows = 0;
    bool got = true;
    assert_ok(line_reader_open(&reader, fixture("pieces", ".jsonl"), 1 << 20, &err), &err);
    for (;;) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        if (!got) {
            break;
        }
        cJSON *row = json_parse(str_text(&reader.line), reader.line.size, "pieces.jsonl",
                                reader.number, &json_limits_line, &err);
        assert_ok(row != NULL, &err);
        const char *wanted = json_string(json_member(row, "model"));
        if (only == NULL || strcmp(only, wanted) == 0) {
            if (given == NULL && strcmp(name, wanted) != 0) {
                snprintf(name, sizeof name, "%s", wanted);
                tokenizer_free(tokenizer);
                tokenizer = load(fixture(name, ".model"));
            }
            check_row(tokenizer, row);
            rows++;
        }
        cJSON_Delete(row);
    }
    line_reader_close(&reader);
    tokenizer_free(tokenizer);
    assert_true(rows >= 36);
}

static void is_as_sentencepiece(void **state) {
    (void)state;
    check_rows(NULL, NULL);
}

static void llama2c_means_the_same(void **state) {
    (void)state;
    Tokenizer *tokenizer = load(fixture("bpe-bytes", ".bin"));
    assert_int_equal(tokenizer_bos(tokenizer), 1);
    assert_int_equal(tokenizer_eos(tokenizer), 2);
    check_rows("bpe-bytes", tokenizer);
}

/* A tokenizer.model is written as it was; a tokenizer.bin as a tokenizer.model. */
static void saves_a_model(void **state) {
    (void)state;
    static const char *const ends[] = {".model", ".bin"};
    for (int i = 0; i < 2; i++) {
        Error err = {0};
        Str before = {0}, after = {0};
        char path[512];
        const char *folder = test_folder();
        Tokenizer *tokenizer = load(fixture("bpe-bytes", ends[i]));
        assert_ok(tokenizer_save(tokenizer, folder, &err), &err);
        snprintf(path, sizeof path, "%s/tokenizer.model", folder);
        assert_ok(file_read(fixture("bpe-bytes", ".model"), 1 << 24, &before, &err), &err);
        assert_ok(file_read(path, 1 << 24, &after, &err), &err);
        if (i == 0) {
            assert_int_equal(before.size, after.size);
            assert_memory_equal(before.data, after.data, before.size);
        }
        Tokenizer *again = load(folder);
        assert_true(tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer));
        assert_int_equal(tokenizer_eos(again), tokenizer_eos(tokenizer));
        tokenizer_free(tokenizer);
        check_rows("bpe-bytes", again);
        str_done(&before);
        str_done(&after);
    }
}

/* Cut anywhere, or with a byte changed, a file is read or refused: nothing else happens. */
static void survives_damage(void **state) {
    (void)state;
    static const char *const names[] = {"unigram.model", "bpe-user.model", "bpe-bytes.bin"};
    for (size_t i = 0; i < 3; i++) {
        Error err = {0};
        Str whole = {0};
        const char *folder = test_folder();
        size_t refused = 0, tried = 0;
        assert_ok(file_read(fixture(names[i], ""), 1 << 24, &whole, &err), &err);
        const char *as = i == 2 ? "tokenizer.bin" : "tokenizer.model";
        for (size_t round = 0; round < 300; round++, tried++) {
            size_t at = round * 7919 % whole.size;
            char saved = whole.data[at];
            whole.data[at] = (char)(saved ^ (1 << round % 8));
            test_file(folder, as, whole.data, round % 2 == 0 ? at : whole.size);
            whole.data[at] = saved;
            err = (Error){0};
            Tokenizer *tokenizer = tokenizer_load(folder, &err);
            if (tokenizer == NULL) {
                assert_int_equal(err.code, ERROR_DATA);
                assert_true(err.text[0] != '\0');
                refused++;
            }
            tokenizer_free(tokenizer);
        }
        assert_true(refused > tried / 4);
        str_done(&whole);
    }
}

static void reads_the_real_tokenizer(void **state) {
    (void)state;
    char path[512];
    if (test_data() == NULL) {
        skip();
    }
    snprintf(path, sizeof path, "%s/models/stories260K/tok512.bin", test_data());
    if (!file_exists(path)) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    Error err = {0};
    Tokens tokens = {0};
    Str text = {0};
    Tokenizer *tokenizer = load(path);
    assert_int_equal(tokenizer_vocabulary(tokenizer), 512);
    static const char story[] = "Once upon a time, there was a little girl named Lily.";
    assert_ok(tokenizer_encode(tokenizer, story, strlen(story), false, &tokens, &err), &err);
    static const int32_t want[] = {403, 407, 261, 378};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tokens.id[i], want[i]);
    }
    assert_ok(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &text, &err), &err);
    assert_string_equal(str_text(&text), story);
    tokens_done(&tokens);
    str_done(&text);
    tokenizer_free(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_as_sentencepiece),
        cmocka_unit_test(llama2c_means_the_same),
        cmocka_unit_test(saves_a_model),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(reads_the_real_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
