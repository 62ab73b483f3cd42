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
#include "common/text/sentencepiece.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"
#include "tests/text/cases.h"

static const char *fixture(const char *name, const char *end) {
    static char path[512];
    snprintf(path, sizeof path, "%s/text/%s%s", test_fixtures(), name, end);
    return path;
}

static Tokens ids_of(const cJSON *list) {
    Error err = {0};
    Tokens out = {0};
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        assert_ok(tokens_push(&out, (int32_t)item->valuedouble, &err), &err);
    }
    return out;
}

static void check_text(const Tokenizer *tokenizer, const cJSON *list, const char *want,
                       const char *name) {
    Tokens tokens = ids_of(list);
    check_decoded(tokenizer, tokens.id, tokens.count, false, want, name);
    tokens_done(&tokens);
}

static void check_row(const Tokenizer *tokenizer, const cJSON *row) {
    Error err = {0};
    const char *name = json_string(json_member(row, "model"));
    const char *text = json_string(json_member(row, "text"));
    Tokens got = {0};
    assert_ok(tokenizer_encode(tokenizer, text, strlen(text), false, &got, &err), &err);
    assert_non_null(json_member(row, "ids"));
    check_ids(json_member(row, "ids"), &got, "ids", name, text);
    check_text(tokenizer, json_member(row, "ids"), json_string(json_member(row, "decoded")), name);
    check_text(tokenizer, json_member(row, "random"),
               json_string(json_member(row, "random_decoded")), name);
    tokens_done(&got);
}

/* All rows, or those of one model with a tokenizer that takes its place. */
static void check_rows(const char *only, const Tokenizer *given) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s/text", test_fixtures());
    Cases cases = {.folder = folder,
                   .file = "pieces.jsonl",
                   .key = "model",
                   .end = ".model",
                   .only = only,
                   .given = given,
                   .check = check_row};
    cases_check(&cases);
    assert_true(cases.rows >= 36);
}

static void is_as_sentencepiece(void **state) {
    (void)state;
    check_rows(NULL, NULL);
}

static void llama2c_means_the_same(void **state) {
    (void)state;
    Tokenizer *tokenizer = case_tokenizer(fixture("bpe-bytes", ".bin"));
    assert_int_equal(tokenizer_bos(tokenizer), 1);
    assert_int_equal(tokenizer_eos(tokenizer), 2);
    check_rows("bpe-bytes", tokenizer);
    tokenizer_free(tokenizer);
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
        Tokenizer *tokenizer = case_tokenizer(fixture("bpe-bytes", ends[i]));
        assert_ok(tokenizer_save(tokenizer, folder, &err), &err);
        snprintf(path, sizeof path, "%s/tokenizer.model", folder);
        assert_ok(file_read(fixture("bpe-bytes", ".model"), 1 << 24, &before, &err), &err);
        assert_ok(file_read(path, 1 << 24, &after, &err), &err);
        if (i == 0) {
            assert_int_equal(before.size, after.size);
            assert_memory_equal(before.data, after.data, before.size);
        }
        Tokenizer *again = case_tokenizer(folder);
        assert_true(tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer));
        assert_int_equal(tokenizer_eos(again), tokenizer_eos(tokenizer));
        tokenizer_free(tokenizer);
        check_rows("bpe-bytes", again);
        tokenizer_free(again);
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
    Tokenizer *tokenizer = case_tokenizer(path);
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

/* A key of a table that ends inside a character is none: what is left would be no character. */
static void test_key_inside_character(void **state) {
    (void)state;
    Error err = {0};
    Charsmap map;
    /* three units: the root, the byte c3 with a value, the value 0; then the text "x" */
    static const char bytes[] = "\x0c\0\0\0"
                                "\0\x08\x03\0"
                                "\xc3\x0d\0\0"
                                "\0\0\0\x80"
                                "x";
    size_t length;
    assert_ok(charsmap_read(&map, bytes, sizeof bytes, "here", &err), &err);
    assert_null(charsmap_longest(&map, "\xc3\xa9", 2, &length));
    assert_string_equal(charsmap_longest(&map, "\xc3", 1, &length), "x");
    assert_int_equal(length, 1);
    charsmap_done(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_inside_character), cmocka_unit_test(is_as_sentencepiece),
        cmocka_unit_test(llama2c_means_the_same),    cmocka_unit_test(saves_a_model),
        cmocka_unit_test(survives_damage),           cmocka_unit_test(reads_the_real_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
