/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"
#include "tests/text/cases.h"

static const char *fixture(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer/%s", test_fixtures(), name);
    return path;
}

static Tokens encode(const Tokenizer *tokenizer, const char *text, size_t n, bool special) {
    Error err = {0};
    Tokens tokens = {0};
    assert_ok(tokenizer_encode(tokenizer, text, n, special, &tokens, &err), &err);
    return tokens;
}

static void check_text(const Tokenizer *tokenizer, const cJSON *want, const int32_t *id, size_t n,
                       bool skip) {
    Error err = {0};
    Str got = {0};
    assert_ok(tokenizer_decode(tokenizer, id, n, skip, true, &got, &err), &err);
    assert_string_equal(str_text(&got), json_string(want));
    str_done(&got);
}

static void check_case(const Tokenizer *tokenizer, const cJSON *row) {
    const char *name = json_string(json_member(row, "tokenizer"));
    const char *text = json_string(json_member(row, "text"));
    const cJSON *plain = json_member(row, "plain"), *special = json_member(row, "special");
    const cJSON *decoded = json_member(row, "decoded"), *skipped = json_member(row, "skipped");
    Tokens with = encode(tokenizer, text, strlen(text), true);
    Tokens without = encode(tokenizer, text, strlen(text), false);
    assert_non_null(special);
    check_ids(special, &with, "special ids", name, text);
    check_ids(plain == NULL ? special : plain, &without, "ids", name, text);
    check_text(tokenizer, decoded, with.id, with.count, false);
    check_text(tokenizer, skipped == NULL ? decoded : skipped, with.id, with.count, true);
    check_text(tokenizer, json_member(row, "half"), with.id, with.count / 2, false);
    tokens_done(&with);
    tokens_done(&without);
}

/* Ids and decoded texts as Hugging Face's tokenizers gave them
 * (tests/fixtures/tokenizer/mint.py). */
static void encodes_and_decodes_as_minted(void **state) {
    (void)state;
    Cases cases = {.folder = fixture(""),
                   .file = "cases.jsonl",
                   .key = "tokenizer",
                   .end = ".json",
                   .check = check_case};
    cases_check(&cases);
    assert_int_equal(cases.rows, 1500);
}

/* Any valid UTF-8 comes back, and without recognition no id is a special one. */
static void round_trips_any_text(void **state) {
    (void)state;
    static const char *const planted[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", " ", "\n"};
    Tokenizer *tokenizer = case_tokenizer(fixture("trained.json"));
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    uint64_t draw = 0;
    Str text = {0}, back = {0};
    for (int round = 0; round < 2000; round++) {
        str_clear(&text);
        size_t parts = random_below(&random, draw++, 60);
        for (size_t i = 0; i < parts; i++) {
            static const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
            uint32_t limit = limits[random_below(&random, draw++, 4)];
            uint32_t code = (uint32_t)random_below(&random, draw++, limit);
            char bytes[4];
            size_t n = utf8_encode(code >= 0xd800 && code < 0xe000 ? 'x' : code, bytes);
            str_append_bytes(&text, bytes, n);
            if (random_below(&random, draw++, 8) == 0) {
                str_append(&text, planted[random_below(&random, draw++, 5)]);
            }
        }
        for (int special = 0; special < 2; special++) {
            Error err = {0};
            Tokens tokens = encode(tokenizer, str_text(&text), text.size, special == 1);
            str_clear(&back);
            assert_ok(
                tokenizer_decode(tokenizer, tokens.id, tokens.count, false, false, &back, &err),
                &err);
            assert_int_equal(back.size, text.size);
            assert_memory_equal(str_text(&back), str_text(&text), text.size);
            for (size_t i = 0; special == 0 && i < tokens.count; i++) {
                assert_false(tokenizer_is_special(tokenizer, tokens.id[i]));
            }
            tokens_done(&tokens);
        }
    }
    str_done(&text);
    str_done(&back);
    tokenizer_free(tokenizer);
}

static void refuses_what_it_cannot_encode_or_decode(void **state) {
    (void)state;
    Error err = {0};
    Tokens tokens = {0};
    Str text = {0};
    Tokenizer *tokenizer = case_tokenizer(fixture("trained.json"));
    assert_true(tokens_push(&tokens, 7, &err));
    assert_error(tokenizer_encode(tokenizer, "ab\xed\xa0\x80", 5, true, &tokens, &err), &err,
                 ERROR_DATA, "byte 3 of the text, 0xed");
    assert_int_equal(tokens.count, 1);
    int32_t unknown[] = {5, 600}, negative[] = {-1};
    err = (Error){0};
    assert_error(tokenizer_decode(tokenizer, unknown, 2, false, true, &text, &err), &err,
                 ERROR_DATA, "id 600 is not in the vocabulary of 525 tokens");
    err = (Error){0};
    assert_error(tokenizer_decode(tokenizer, negative, 1, false, true, &text, &err), &err,
                 ERROR_DATA, "id -1");
    assert_int_equal(text.size, 0);
    tokens_done(&tokens);
    str_done(&text);
    tokenizer_free(tokenizer);
}

/* Unicode 15, table 3-8 and its neighbors: one U+FFFD for each maximal part of an ill-formed
 * sequence. */
static void replaces_invalid_bytes(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a\1\1\1b\1c\1\1d" },
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41",                 "\1\1\1\1\1\1\1\1A"},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41",                 "\1\1\1\1\1\1\1\1A"},
        {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42",                 "\1\1\1\1\1A\1\1B" },
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41",                 "\1\1\1\1A"        },
        {"\xf0\x9f\x98",                                         "\1"               },
    };
    Tokenizer *tokenizer = case_tokenizer(fixture("trained.json"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {0};
        Tokens tokens = {0};
        Str want = {0}, got = {0}, raw = {0};
        for (const char *c = cases[i].bytes; *c != '\0'; c++) {
            for (int32_t id = 0; id < 300; id++) {
                size_t n = 0;
                const char *bytes = tokenizer_bytes(tokenizer, id, &n);
                if (n == 1 && *bytes == *c) {
                    assert_true(tokens_push(&tokens, id, &err));
                }
            }
        }
        assert_int_equal(tokens.count, strlen(cases[i].bytes));
        for (const char *c = cases[i].want; *c != '\0'; c++) {
            str_append_bytes(&want, *c == '\1' ? "\xef\xbf\xbd" : c, *c == '\1' ? 3 : 1);
        }
        assert_ok(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, true, &got, &err),
                  &err);
        assert_string_equal(str_text(&got), str_text(&want));
        assert_ok(tokenizer_decode(tokenizer, tokens.id, tokens.count, false, false, &raw, &err),
                  &err);
        assert_string_equal(str_text(&raw), cases[i].bytes);
        tokens_done(&tokens);
        str_done(&want);
        str_done(&got);
        str_done(&raw);
    }
    tokenizer_free(tokenizer);
}

/* Long words take the path with a heap; both paths give the same where they meet. */
static void long_words_take_no_long_time(void **state) {
    (void)state;
    enum { SIZE = 1 << 18 };
    static const char *const runs[] = {"a", " ", "ab", "\xc3\xa9", "\n ", "-", "0"};
    static const char *const files[] = {"trained.json", "llama3.json"};
    char *text = malloc(SIZE);
    assert_non_null(text);
    clock_t begin = clock();
    for (size_t f = 0; f < 2; f++) {
        Tokenizer *tokenizer = case_tokenizer(fixture(files[f]));
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
            size_t n = strlen(runs[i]);
            for (size_t j = 0; j < SIZE; j++) {
                text[j] = runs[i][j % n];
            }
            Tokens tokens = encode(tokenizer, text, SIZE - SIZE % n, true);
            assert_in_range(tokens.count, 1, SIZE);
            tokens_done(&tokens);
        }
        tokenizer_free(tokenizer);
    }
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 60);
    free(text);
}

static void equal_tokenizers_have_equal_fingerprints(void **state) {
    (void)state;
    static const char *const names[] = {"trained.json", "flags.json", "llama3.json", "prefix.json",
                                        "removed.json"};
    uint64_t print[5];
    for (size_t i = 0; i < 5; i++) {
        Tokenizer *tokenizer = case_tokenizer(fixture(names[i])),
                  *again = case_tokenizer(fixture(names[i]));
        print[i] = tokenizer_fingerprint(tokenizer);
        assert_true(print[i] == tokenizer_fingerprint(again));
        for (size_t j = 0; j < i; j++) {
            assert_true(print[i] != print[j]);
        }
        tokenizer_free(tokenizer);
        tokenizer_free(again);
    }
}

static void finds_tokens_by_content(void **state) {
    (void)state;
    Tokenizer *tokenizer = case_tokenizer(fixture("flags.json"));
    int32_t word = tokenizer_find(tokenizer, "\xc4\xa0the"); /* " the" in the byte-level alphabet */
    assert_in_range(word, 259, 419);
    size_t n = 0;
    assert_memory_equal(tokenizer_bytes(tokenizer, word, &n), " the", 4);
    assert_int_equal(n, 4);
    assert_int_equal(tokenizer_find(tokenizer, "<|im_start|>"), 1);
    assert_int_equal(tokenizer_find(tokenizer, "lake side"), 424);
    assert_int_equal(tokenizer_find(tokenizer, " the"), -1);
    assert_int_equal(tokenizer_find(tokenizer, ""), -1);
    assert_true(tokenizer_is_special(tokenizer, 1));
    assert_false(tokenizer_is_special(tokenizer, 424));
    assert_false(tokenizer_is_special(tokenizer, -1));
    assert_false(tokenizer_is_special(tokenizer, 100000));
    assert_null(tokenizer_bytes(tokenizer, 100000, &n));
    assert_null(tokenizer_text(tokenizer, -1));
    tokenizer_free(tokenizer);
}

/* Known ids of GPT-2's own tokenizer, from both of its spellings. */
static void reads_gpt2(void **state) {
    (void)state;
    const char *data = test_data();
    if (data == NULL) {
        skip();
    }
    static const char *const names[] = {"gpt2-tokenizer.json", "gpt2-vocab.json"};
    static const int32_t want[] = {15496, 11, 995, 0, 220, 50256, 340, 338, 220, 1257};
    const char *text = "Hello, world! <|endoftext|> it's  fun";
    uint64_t print[2];
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/tokenizers/%s", data, names[i]);
        Tokenizer *tokenizer = case_tokenizer(path);
        Tokens tokens = encode(tokenizer, text, strlen(text), true);
        assert_int_equal(tokenizer_vocabulary(tokenizer), 50257);
        assert_int_equal(tokenizer_eos(tokenizer), 50256);
        assert_int_equal(tokenizer_bos(tokenizer), 50256);
        assert_int_equal(tokenizer_pad(tokenizer), -1);
        assert_int_equal(tokens.count, sizeof want / sizeof *want);
        assert_memory_equal(tokens.id, want, sizeof want);
        print[i] = tokenizer_fingerprint(tokenizer);
        tokens_done(&tokens);
        tokenizer_free(tokenizer);
    }
    assert_true(print[0] == print[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_as_minted),
        cmocka_unit_test(round_trips_any_text),
        cmocka_unit_test(refuses_what_it_cannot_encode_or_decode),
        cmocka_unit_test(replaces_invalid_bytes),
        cmocka_unit_test(long_words_take_no_long_time),
        cmocka_unit_test(equal_tokenizers_have_equal_fingerprints),
        cmocka_unit_test(finds_tokens_by_content),
        cmocka_unit_test(reads_gpt2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
