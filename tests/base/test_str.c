/* SPDX-License-Identifier: MIT
 *
 * Str, the edit distance behind suggestions, and how errors are printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/str.h"
#include "tests/support/support.h"

static void test_append(void **state) {
    (void)state;
    Str str = {0};
    Error err = {0};
    assert_string_equal(str_text(&str), "");
    str_append(&str, "ab");
    str_append_char(&str, 'c');
    str_append_bytes(&str, "d\0e", 3);
    str_append_bytes(&str, NULL, 0);
    str_appendf(&str, "%d-%s", 42, "x");
    assert_int_equal(str.size, 10);
    assert_memory_equal(str.data, "abcd\0e42-x", 11);
    assert_true(str_ok(&str, &err));
    char *taken = str_take(&str, &err);
    assert_memory_equal(taken, "abcd\0e42-x", 11);
    assert_null(str.data);
    free(taken);
    taken = str_take(&str, &err);
    assert_string_equal(taken, "");
    free(taken);
}

static void test_growth(void **state) {
    (void)state;
    Str str = {0};
    for (int i = 0; i < 10000; i++) {
        str_appendf(&str, "%d,", i);
        assert_int_equal(strlen(str.data), str.size);
    }
    assert_int_equal(str.size, 48890); /* 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5 */
    str_clear(&str);
    assert_string_equal(str_text(&str), "");
    str_done(&str);
}

static void test_failure_is_sticky(void **state) {
    (void)state;
    Str str = {0};
    Error err = {0};
    str_append(&str, "kept");
    str_append_bytes(&str, "x", (size_t)PTRDIFF_MAX);
    str_append(&str, "lost");
    assert_string_equal(str_text(&str), "kept");
    assert_error(str_ok(&str, &err), &err, ERROR_OS, "out of memory");
    assert_null(str_take(&str, &err));
    assert_null(str.data);
}

static void test_affixes(void **state) {
    (void)state;
    assert_true(str_starts_with("model.path", "model."));
    assert_true(str_starts_with("a", ""));
    assert_false(str_starts_with("mod", "model"));
    assert_true(str_ends_with("x.json", ".json"));
    assert_true(str_ends_with("x", ""));
    assert_false(str_ends_with("json", ".json"));
}

/* The definition of the edit distance, without any table. */
static int plain_distance(const char *a, const char *b) {
    if (*a == '\0' || *b == '\0') {
        return (int)(strlen(a) + strlen(b));
    }
    int replace = plain_distance(a + 1, b + 1) + (*a != *b);
    int drop = plain_distance(a + 1, b) + 1, add = plain_distance(a, b + 1) + 1;
    int least = drop < add ? drop : add;
    return replace < least ? replace : least;
}

/* Against memmem, with places before, on and behind the edge of every window. */
static void test_find(void **state) {
    (void)state;
    enum { LONG = 20000 };
    static const size_t sizes[] = {1, 2, 3, 4095, 4096, 4097, 9000};
    char *text = calloc(LONG, 1);
    char *part = calloc(LONG, 1);
    assert_non_null(text);
    assert_non_null(part);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        memset(part, 'b', sizes[s]);
        for (size_t place = 0; place + sizes[s] <= LONG; place += place % 4096 < 4094 ? 4094 : 1) {
            memset(text, 'a', LONG);
            memset(text + place, 'b', sizes[s]);
            assert_ptr_equal(str_find(text, LONG, part, sizes[s]), text + place);
            assert_null(str_find(text, place + sizes[s] - 1, part, sizes[s]));
        }
    }
    assert_null(str_find(NULL, 0, "x", 1));
    assert_ptr_equal(str_find(text, 5, "", 0), text);
    free(text);
    free(part);
}

static void test_distance(void **state) {
    (void)state;
    static const char *const words[] = {"",    "a",    "seed",   "sed",     "seeds", "deed",
                                        "eed", "dees", "kitten", "sitting", "batch", "bacth"};
    enum { WORDS = sizeof words / sizeof *words };
    for (size_t i = 0; i < WORDS; i++) {
        for (size_t j = 0; j < WORDS; j++) {
            int want = plain_distance(words[i], words[j]);
            for (int limit = 0; limit < 8; limit++) {
                int got = str_distance(words[i], words[j], limit);
                if (got != (want <= limit ? want : limit + 1)) {
                    fail_msg("%s, %s, limit %d: %d, not %d", words[i], words[j], limit, got, want);
                }
            }
        }
    }
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[199] = '\0';
    assert_int_equal(str_distance(longer, longer, 3), 4); /* too long to be a misspelled key */
}

static void check_printed(const Error *err, const char *want) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    error_print(err, "prog", stream);
    fclose(stream);
    assert_string_equal(text, want);
    free(text);
}

static void test_error_print(void **state) {
    (void)state;
    Error err = {0};
    error_set(&err, ERROR_DATA, "bad %d", 3);
    check_printed(&err, "prog: bad 3\n");
    error_at(&err, ERROR_DATA, "a.json", 4, 7, "bad");
    check_printed(&err, "prog: a.json:4:7: bad\n");
    error_at(&err, ERROR_DATA, "a.json", 4, 0, "bad");
    check_printed(&err, "prog: a.json:4: bad\n");
    error_at(&err, ERROR_DATA, "a.bin", 0, 0, "bad");
    check_printed(&err, "prog: a.bin: bad\n");
    error_set(&err, ERROR_DATA, "\x1B[31m\n\xC2\x9B\xC3\xA9");
    check_printed(&err, "prog: \\x1b[31m\\x0a\\u009b\xC3\xA9\n");
    error_set(&err, ERROR_DATA, "a\xFF\xC3(\xE2\x82\xAC\xED\xA0\x80");
    check_printed(&err, "prog: a\\xff\\xc3(\xE2\x82\xAC\\xed\\xa0\\x80\n");
    error_set(&err, ERROR_CONFIG, "one\ntwo");
    check_printed(&err, "prog: one\nprog: two\n");
    error_at(&err, ERROR_CONFIG, "a\nb", 1, 2, "x");
    check_printed(&err, "prog: a\\x0ab:1:2: x\n");
}

static void test_error_wrap(void **state) {
    (void)state;
    Error err = {0};
    char longer[4 * ERROR_TEXT_SIZE];
    error_set(&err, ERROR_IO, "inner");
    assert_false(error_wrap(&err, "outer %d", 1));
    assert_string_equal(err.text, "outer 1: inner");
    assert_int_equal(err.code, ERROR_IO);
    memset(longer, 'y', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    error_wrap(&err, "%s", longer);
    assert_int_equal(strlen(err.text), ERROR_TEXT_SIZE - 1);
    error_at(&err, ERROR_IO, longer, 0, 0, "x");
    assert_int_equal(strlen(err.file), ERROR_FILE_SIZE - 1);
    assert_true(str_starts_with(err.file, "...y"));
    assert_false(error_set(NULL, ERROR_IO, "nobody listens"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_affixes),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_error_print),
        cmocka_unit_test(test_error_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
