/* SPDX-License-Identifier: MIT
 *
 * JSON: which texts are read, and at which line and column the others are refused.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "tests/support/support.h"

#define TEXT(literal) literal, sizeof(literal) - 1

typedef struct Good {
    const char *text;
    size_t size;
    const char *written; /* compact */
} Good;

/* clang-format off */
static const Good good[] = {
    {TEXT("null"), "null"},
    {TEXT("true"), "true"},
    {TEXT("false"), "false"},
    {TEXT("\"\""), "\"\""},
    {TEXT("\"asd\""), "\"asd\""},
    {TEXT(" [] "), "[]"},
    {TEXT("[[]   ]"), "[[]]"},
    {TEXT("{}"), "{}"},
    {TEXT("{\"\":0}"), "{\"\":0}"},
    {TEXT("{\"a\":[1,\"x\",null,true]}"), "{\"a\":[1,\"x\",null,true]}"},
    {TEXT("[1,null,null,null,2]"), "[1,null,null,null,2]"},
    {TEXT("{\"a\":\"b\",\"A\":\"c\"}"), "{\"a\":\"b\",\"A\":\"c\"}"},
    {TEXT("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":2}]}"),
     "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":2}]}"},
    {TEXT("\t[\r\n1 ,\n2]\n"), "[1,2]"},
    {TEXT("-0"), "-0"},
    {TEXT("0"), "0"},
    {TEXT("-1"), "-1"},
    {TEXT("0e1"), "0e1"},
    {TEXT("0e+1"), "0e+1"},
    {TEXT("1E22"), "1E22"},
    {TEXT("1E-2"), "1E-2"},
    {TEXT("123.456e78"), "123.456e78"},
    {TEXT("8.0"), "8.0"},
    {TEXT("-1e-400"), "-1e-400"},
    {TEXT("1.7976931348623157e308"), "1.7976931348623157e308"},
    {TEXT("1000000000000000019884624838656"), "1000000000000000019884624838656"},
    {TEXT("9007199254740991"), "9007199254740991"},
    {TEXT("123456789012345678901234567890123456789012345678901234567890123"),
     "123456789012345678901234567890123456789012345678901234567890123"},
    {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {TEXT("\"\\u0060\\u012a\\u12AB\""), "\"`\xC4\xAA\xE1\x8A\xAB\""},
    {TEXT("\"\\uD801\\udc37\""), "\"\xF0\x90\x90\xB7\""},
    {TEXT("\"\\ud83d\\ude39\\ud83d\\udc8d\""), "\"\xF0\x9F\x98\xB9\xF0\x9F\x92\x8D\""},
    {TEXT("\"\\u0001\\u001f\""), "\"\\u0001\\u001f\""},
    {TEXT("\"\x7F\""), "\"\x7F\""},
    {TEXT("\"\xE2\x82\xAC\xF0\x9D\x84\x9E\""), "\"\xE2\x82\xAC\xF0\x9D\x84\x9E\""},
    {TEXT("\"\xF4\x8F\xBF\xBF\""), "\"\xF4\x8F\xBF\xBF\""},
    {TEXT("\"\\uDBFF\\uDFFF\""), "\"\xF4\x8F\xBF\xBF\""},
    {TEXT("\"/* no */ // comment\""), "\"/* no */ // comment\""},
    {TEXT("\xEF\xBB\xBF[1]"), "[1]"},
};
/* clang-format on */

static void test_good(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Error err = {0};
        Str out = {0};
        cJSON *tree =
            json_parse(good[i].text, good[i].size, "good.json", 1, &json_limits_line, &err);
        if (tree == NULL) {
            fail_msg("%s: %s", good[i].text, err.text);
        }
        json_put_tree(&out, tree, false);
        assert_string_equal(str_text(&out), good[i].written);
        str_done(&out);
        cJSON_Delete(tree);
    }
}

typedef struct Bad {
    const char *text;
    size_t size;
    long line, column;
    const char *part; /* of the message */
} Bad;

/* clang-format off */
static const Bad bad[] = {
    /* nothing, or too much */
    {TEXT(""), 1, 1, "empty"},
    {TEXT(" \n\t"), 2, 2, "empty"},
    {TEXT("\xEF\xBB\xBF"), 1, 1, "empty"},
    {TEXT("\xEF\xBB"), 1, 1, "0xef"},
    {TEXT("1 2"), 1, 3, "end of the text"},
    {TEXT("[]]"), 1, 3, "end of the text"},
    {TEXT("{}}"), 1, 3, "end of the text"},
    {TEXT("{}\n{}"), 2, 1, "end of the text"},
    {TEXT("null\0"), 1, 5, "0x00"},
    {TEXT("\xEF\xBB\xBF\xEF\xBB\xBF[]"), 1, 1, "0xef"},
    /* words */
    {TEXT("nul"), 1, 1, "'n'"},
    {TEXT("nulll"), 1, 5, "'l'"},
    {TEXT("[True]"), 1, 2, "found True; JSON writes true"},
    {TEXT("[False]"), 1, 2, "JSON writes false"},
    {TEXT("[None]"), 1, 2, "JSON writes null"},
    {TEXT("[NaN]"), 1, 2, "NaN is not JSON"},
    {TEXT("[Infinity]"), 1, 2, "Infinity is not JSON"},
    {TEXT("[-Infinity]"), 1, 2, "-Infinity is not JSON"},
    {TEXT("[-NaN]"), 1, 3, "a digit"},
    {TEXT("abc"), 1, 1, "a value"},
    /* arrays */
    {TEXT("["), 1, 2, "text ends"},
    {TEXT("[1"), 1, 3, "',' or ']'"},
    {TEXT("[1,"), 1, 4, "a value"},
    {TEXT("[1,]"), 1, 3, "comma before ']'"},
    {TEXT("[,1]"), 1, 2, "a value"},
    {TEXT("[1,,2]"), 1, 4, "a value"},
    {TEXT("[1 2]"), 1, 4, "',' or ']'"},
    {TEXT("[1}"), 1, 3, "',' or ']'"},
    {TEXT("[1:2]"), 1, 3, "',' or ']'"},
    {TEXT("[\"a\",\n4\n,1,"), 3, 4, "a value"},
    {TEXT("[\v1]"), 1, 2, "0x0b"},
    {TEXT("[\f]"), 1, 2, "0x0c"},
    {TEXT("[\xC2\xA0]"), 1, 2, "0xc2"},
    {TEXT("[1\0]"), 1, 3, "0x00"},
    /* objects */
    {TEXT("{"), 1, 2, "a key"},
    {TEXT("{\"a\""), 1, 5, "':'"},
    {TEXT("{\"a\":"), 1, 6, "a value"},
    {TEXT("{\"a\":1"), 1, 7, "',' or '}'"},
    {TEXT("{\"a\":1,}"), 1, 7, "comma before '}'"},
    {TEXT("{\"a\",1}"), 1, 5, "':'"},
    {TEXT("{\"a\" 1}"), 1, 6, "':'"},
    {TEXT("{a:1}"), 1, 2, "a key in double quotes"},
    {TEXT("{'a':1}"), 1, 2, "not single ones"},
    {TEXT("{1:1}"), 1, 2, "a key in double quotes"},
    {TEXT("{null:1}"), 1, 2, "a key in double quotes"},
    {TEXT("{\"a\":1 \"b\":2}"), 1, 8, "',' or '}'"},
    {TEXT("{\"a\":1,,\"b\":2}"), 1, 8, "a key"},
    {TEXT("{\"a\"::1}"), 1, 6, "a value"},
    {TEXT("{\"a\":1]"), 1, 7, "',' or '}'"},
    {TEXT("{,}"), 1, 2, "a key"},
    {TEXT("{\"x\":[{\"y\":}]}"), 1, 12, "a value"},
    /* duplicate keys */
    {TEXT("{\"a\":1,\"a\":2}"), 1, 8,
     "\"a\" stands here a second time (first at line 1, column 2)"},
    {TEXT("{\"a\":1,\n \"b\":2,\n  \"a\":1}"), 3, 3, "first at line 1"},
    {TEXT("{\"a\":1,\"\\u0061\":2}"), 1, 8, "\"\\u0061\" stands here a second time"},
    {TEXT("{\"\":1,\"\":2}"), 1, 7, "second time"},
    {TEXT("[{\"b\":{\"a\":1,\"c\":2,\"a\":3}}]"), 1, 20, "first at line 1, column 8"},
    {TEXT("{\"a\\\\\":1,\"a\\\\\":2}"), 1, 10, "\"a\\\\\" stands here"},
    {TEXT("{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"3\":1,\"1\":1}"), 1, 26, "\"3\" stands here"},
    /* numbers */
    {TEXT("-"), 1, 2, "a digit"},
    {TEXT("+1"), 1, 1, "'+'"},
    {TEXT("01"), 1, 1, "superfluous 0"},
    {TEXT("-012"), 1, 1, "superfluous 0"},
    {TEXT("[00]"), 1, 2, "superfluous 0"},
    {TEXT(".5"), 1, 1, "'.'"},
    {TEXT("[1.]"), 1, 4, "a digit behind the point"},
    {TEXT("[-.5]"), 1, 3, "a digit"},
    {TEXT("[1.e1]"), 1, 4, "a digit behind the point"},
    {TEXT("[1e]"), 1, 4, "a digit of the exponent"},
    {TEXT("[1e+]"), 1, 5, "a digit of the exponent"},
    {TEXT("[1eE2]"), 1, 4, "a digit of the exponent"},
    {TEXT("[1.2.3]"), 1, 5, "',' or ']'"},
    {TEXT("[0x1F]"), 1, 3, "'x'"},
    {TEXT("[1a]"), 1, 3, "'a'"},
    {TEXT("[--1]"), 1, 3, "a digit"},
    {TEXT("[1_000]"), 1, 3, "'_'"},
    {TEXT("1e999999"), 1, 1, "too large"},
    {TEXT("[0, -1e309]"), 1, 5, "too large"},
    {TEXT("1234567890123456789012345678901234567890123456789012345678901234"), 1, 1,
     "a number of 64 characters"},
    /* strings */
    {TEXT("\""), 1, 1, "not closed"},
    {TEXT("\"abc"), 1, 1, "not closed"},
    {TEXT("[\"a\nb\"]"), 1, 2, "not closed on its line"},
    {TEXT("\"a\tb\""), 1, 3, "control character 0x09 must be written \\u0009"},
    {TEXT("\"a\0b\""), 1, 3, "control character 0x00"},
    {TEXT("\"\x1F\""), 1, 2, "0x1f"},
    {TEXT("'a'"), 1, 1, "double quotes"},
    {TEXT("\"\\x41\""), 1, 2, "an escape is one of"},
    {TEXT("\"\\a\""), 1, 2, "an escape is one of"},
    {TEXT("\"\\\0\""), 1, 2, "an escape is one of"},
    {TEXT("\"\\"), 1, 2, "an escape is one of"},
    {TEXT("\"\\\""), 1, 1, "not closed"},
    {TEXT("\"\\u12\""), 1, 2, "four hexadecimal digits"},
    {TEXT("\"\\u12G4\""), 1, 2, "four hexadecimal digits"},
    {TEXT("\"\\u"), 1, 2, "four hexadecimal digits"},
    {TEXT("\"ab\\u0000\""), 1, 4, "\\u0000 is not allowed"},
    {TEXT("\"\\uD800\""), 1, 2, "second half is missing"},
    {TEXT("\"\\uD800\\n\""), 1, 2, "second half is missing"},
    {TEXT("\"\\uD800\\u0041\""), 1, 2, "second half is missing"},
    {TEXT("\"\\uD800\\uD800\\uDC00\""), 1, 2, "second half is missing"},
    {TEXT("\"x\\uDC00\""), 1, 3, "first half is missing"},
    {TEXT("\"\\uDC00\\uD800\""), 1, 2, "first half is missing"},
    /* UTF-8 */
    {TEXT("\"\xFF\""), 1, 2, "0xff is not valid UTF-8"},
    {TEXT("\"ab\x80\""), 1, 4, "0x80 is not valid UTF-8"},
    {TEXT("\"\xC0\xAF\""), 1, 2, "0xc0"},
    {TEXT("\"\xE0\x80\xAF\""), 1, 2, "0xe0"},
    {TEXT("\"\xED\xA0\x80\""), 1, 2, "0xed"},
    {TEXT("\"\xF4\x90\x80\x80\""), 1, 2, "0xf4"},
    {TEXT("\"\xF5\x80\x80\x80\""), 1, 2, "0xf5"},
    {TEXT("\"\xE2\x82\""), 1, 2, "0xe2"},
    {TEXT("\"\xF0\x9F\x98"), 1, 2, "0xf0"},
    {TEXT("{\"k\xE9\":1}"), 1, 4, "0xe9"},
    {TEXT("\"a\xCC\" \"\xCC"), 1, 3, "0xcc"},
    {TEXT("\xFF\xFE[\0]\0"), 1, 1, "0xff"},
    /* comments where there are none */
    {TEXT("[1] // x"), 1, 5, "comments are not allowed"},
    {TEXT("/* x */ 1"), 1, 1, "comments are not allowed"},
    {TEXT("[1 # x\n]"), 1, 4, "'#'"},
    {TEXT("[1] / 2"), 1, 5, "end of the text"},
};
/* clang-format on */

static void test_bad(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {0};
        /* An exact heap copy, so that a sanitizer sees one byte too many. */
        char *copy = malloc(bad[i].size + (bad[i].size == 0));
        assert_non_null(copy);
        memcpy(copy, bad[i].text, bad[i].size);
        cJSON *tree = json_parse(copy, bad[i].size, "bad.json", 1, &json_limits_line, &err);
        free(copy);
        if (tree != NULL) {
            fail_msg("row %zu was read: %s", i, bad[i].text);
        }
        if (err.code != ERROR_DATA || err.line != bad[i].line || err.column != bad[i].column ||
            strstr(err.text, bad[i].part) == NULL || strcmp(err.file, "bad.json") != 0) {
            fail_msg("row %zu, %s: code %d, %s:%ld:%ld: %s", i, bad[i].text, (int)err.code,
                     err.file, err.line, err.column, err.text);
        }
    }
}

static uint64_t random_bits(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17; /* xorshift */
    return *state;
}

/* Good texts with some bytes changed, dropped or doubled: whatever passes comes back the same after
 * writing and reading, whatever does not is refused at a place within the text. */
static void test_mutations(void **state) {
    (void)state;
    static const char bytes[] = "{}[]\",:\\/u0e-.+19tn \n\xC3\x80\xED";
    uint64_t seed = 1181783497276652981u;
    size_t read = 0, refused = 0;
    for (int i = 0; i < 40000; i++) {
        const Good *row = &good[random_bits(&seed) % (sizeof good / sizeof *good)];
        Str text = {0}, once = {0}, twice = {0};
        Error err = {0};
        str_append_bytes(&text, row->text, row->size);
        for (uint64_t k = random_bits(&seed) % 3 + 1; k > 0 && text.size > 0; k--) {
            size_t at = random_bits(&seed) % text.size;
            uint64_t what = random_bits(&seed) % 3;
            if (what == 0) {
                text.data[at] = bytes[random_bits(&seed) % (sizeof bytes - 1)];
            } else if (what == 1) {
                text.size = at;
            } else {
                str_append_bytes(&text, row->text, row->size);
            }
        }
        cJSON *tree = json_parse(str_text(&text), text.size, "m", 1, &json_limits_line, &err);
        if (tree == NULL) {
            assert_int_equal(err.code, ERROR_DATA);
            assert_true(err.line >= 1 && err.column >= 1 && err.column <= (long)text.size + 1);
            assert_true(err.text[0] != '\0');
            refused++;
        } else {
            json_put_tree(&once, tree, true);
            cJSON *again = json_parse(once.data, once.size, "m", 1, &json_limits_line, &err);
            assert_ok(again != NULL, &err);
            assert_true(cJSON_Compare(tree, again, true));
            json_put_tree(&twice, again, true);
            assert_string_equal(once.data, twice.data);
            cJSON_Delete(again);
            read++;
        }
        cJSON_Delete(tree);
        str_done(&text);
        str_done(&once);
        str_done(&twice);
    }
    assert_true(read > 1000 && refused > 1000);
}

static void test_first_line(void **state) {
    (void)state;
    Error err = {0};
    assert_null(json_parse(TEXT("{\"a\":1,\n\"a\":x}"), "rows.jsonl", 41, &json_limits_line, &err));
    assert_int_equal(err.line, 42);
    assert_int_equal(err.column, 5);
}

/* clang-format off */
static const Good commented[] = {
    {TEXT("// a\n{\"a\": 1, /* b, c */ \"b\": [1,2,],\n} // end"), "{\"a\":1,\"b\":[1,2]}"},
    {TEXT("/**/[/***/1/* * / */,//\n]"), "[1]"},
    {TEXT("{\"u\":\"http://x/*y*/\",}"), "{\"u\":\"http://x/*y*/\"}"},
    {TEXT("[1, // \xFF\n 2 /* \0 */ , ]"), "[1,2]"},
    {TEXT("{\"a\": 1.50 // x\n}"), "{\"a\":1.50}"},
};
/* clang-format on */

/* clang-format off */
static const Bad commented_bad[] = {
    {TEXT("{\"a\": 1 /* not closed\n}"), 1, 9, "not closed by */"},
    {TEXT("[1] /*/"), 1, 5, "not closed by */"},
    {TEXT("/* one\n two */ {\"a\": }"), 2, 15, "a value"},
    {TEXT("[1,,]"), 1, 4, "a value"},
    {TEXT("[,]"), 1, 2, "a value"},
    {TEXT("{,}"), 1, 2, "a key"},
    {TEXT("// only a comment"), 1, 18, "empty"},
    {TEXT("[1 / 2]"), 1, 4, "'/'"},
};
/* clang-format on */

static void test_comments(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof commented / sizeof *commented; i++) {
        Error err = {0};
        Str out = {0};
        cJSON *tree = json_parse(commented[i].text, commented[i].size, "c.json", 1,
                                 &json_limits_config, &err);
        assert_ok(tree != NULL, &err);
        json_put_tree(&out, tree, false);
        assert_string_equal(str_text(&out), commented[i].written);
        str_done(&out);
        cJSON_Delete(tree);
    }
    for (size_t i = 0; i < sizeof commented_bad / sizeof *commented_bad; i++) {
        const Bad *row = &commented_bad[i];
        Error err = {0};
        cJSON *tree = json_parse(row->text, row->size, "c.json", 1, &json_limits_config, &err);
        assert_error(tree != NULL, &err, ERROR_DATA, row->part);
        assert_int_equal(err.line, row->line);
        assert_int_equal(err.column, row->column);
    }
}

static void repeat(Str *text, const char *part, size_t times) {
    for (size_t i = 0; i < times; i++) {
        str_append(text, part);
    }
}

static void test_limits(void **state) {
    (void)state;
    static const JsonLimits small = {40, 4, 6, false};
    /* clang-format off */
    static const struct {
        const char *text;
        const char *part; /* NULL: it is read */
    } row[] = {
        {"[[[[1]]]]", NULL},
        {"[[[[[]]]]]", "nested deeper than 4"},
        {"{\"a\":{\"b\":[[]]}}", NULL},
        {"[1,2,3,4,5]", NULL},
        {"[1,2,3,4,5,6]", "more than 6 values"},
        {"{\"a\":1,\"b\":2}", NULL},
        {"{\"a\":1,\"b\":2,\"c\":3}", "more than 6 values"},
        {"\"01234567890123456789012345678901234567\"", NULL},
        {"\"012345678901234567890123456789012345678\"", "41 bytes of JSON; at most 40"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Error err = {0};
        cJSON *tree = json_parse(row[i].text, strlen(row[i].text), NULL, 1, &small, &err);
        if (row[i].part == NULL) {
            assert_ok(tree != NULL, &err);
        } else {
            assert_error(tree != NULL, &err, ERROR_DATA, row[i].part);
        }
        cJSON_Delete(tree);
    }
    Str deep = {0};
    Error err = {0};
    repeat(&deep, "[", 100000);
    assert_null(json_parse(deep.data, deep.size, NULL, 1, &json_limits_document, &err));
    assert_int_equal(err.column, 65);
    str_clear(&deep);
    repeat(&deep, "{\"a\":", 100000);
    assert_null(json_parse(deep.data, deep.size, NULL, 1, &json_limits_document, &err));
    str_done(&deep);
}

/* Big objects: the check for duplicates must not be quadratic, and must see the one duplicate. */
static void test_many_keys(void **state) {
    (void)state;
    enum { KEYS = 300000 };
    Str text = {0};
    Error err = {0};
    str_append(&text, "{");
    for (int i = 0; i < KEYS; i++) {
        str_appendf(&text, "\"key %d\":%d,\n", i, i);
    }
    str_append(&text, "\"last\":0}");
    cJSON *tree = json_parse(text.data, text.size, NULL, 1, &json_limits_document, &err);
    assert_ok(tree != NULL, &err);
    assert_int_equal(cJSON_GetArraySize(tree), KEYS + 1);
    cJSON_Delete(tree);
    text.size -= 9;
    str_append(&text, "\"key 1234\":0}");
    assert_null(json_parse(text.data, text.size, NULL, 1, &json_limits_document, &err));
    assert_int_equal(err.line, KEYS + 1);
    assert_non_null(strstr(err.text, "first at line 1235"));
    str_done(&text);
}

static void test_read_file(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder();
    const char *path = test_file(folder, "ok.json", TEXT("{\"a\": [1, 2]}\n"));
    cJSON *tree = json_read_file(path, &json_limits_document, &err);
    assert_ok(tree != NULL, &err);
    assert_int_equal(cJSON_GetArraySize(json_member(tree, "a")), 2);
    cJSON_Delete(tree);
    path = test_file(folder, "bad.json", TEXT("{\"a\":\n [1, 2}\n"));
    assert_error(json_read_file(path, &json_limits_document, &err) != NULL, &err, ERROR_DATA,
                 "',' or ']'");
    assert_string_equal(err.file, path);
    assert_int_equal(err.line, 2);
    assert_null(json_read_file("/nonexistent/x.json", &json_limits_document, &err));
    assert_int_equal(err.code, ERROR_NO_INPUT);
    assert_null(json_read_file(folder, &json_limits_document, &err));
    assert_int_equal(err.code, ERROR_DATA);
}

static void test_locate(void **state) {
    (void)state;
    static const char text[] =
        "// c\n{\"a\": {\"b\": [1, 2,\n   {\"c\": null}]},\n"
        " \"x.y\": {\"z\": 5}, \"x\": {\"w\": [[7, 8]]}, /* q */ \"q\": 1,\n}";
    /* clang-format off */
    static const struct {
        const char *path;
        long key_line, key_column, line, column;
    } row[] = {
        {"", 2, 1, 2, 1},         {"a", 2, 2, 2, 7},        {"a.b", 2, 8, 2, 13},
        {"a.b[0]", 2, 14, 2, 14}, {"a.b[1]", 2, 17, 2, 17}, {"a.b[2].c", 3, 5, 3, 10},
        {"x.y.z", 4, 10, 4, 15},  {"x.w", 4, 25, 4, 30},    {"x.w[0][1]", 4, 35, 4, 35},
        {"q", 4, 49, 4, 54},      {"a.b[3]", 0, 0, 0, 0},   {"a.c", 0, 0, 0, 0},
        {"ab", 0, 0, 0, 0},       {"q.r", 0, 0, 0, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        long line, column;
        json_locate(text, sizeof text - 1, row[i].path, true, &line, &column);
        if (line != row[i].key_line || column != row[i].key_column) {
            fail_msg("key of %s: %ld:%ld", row[i].path, line, column);
        }
        json_locate(text, sizeof text - 1, row[i].path, false, &line, &column);
        if (line != row[i].line || column != row[i].column) {
            fail_msg("value of %s: %ld:%ld", row[i].path, line, column);
        }
    }
}

static void test_integer(void **state) {
    (void)state;
    /* clang-format off */
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } row[] = {
        {"5", true, 5},
        {"5.0", true, 5},
        {"-3e2", true, -300},
        {"-0", true, 0},
        {"9007199254740991", true, 9007199254740991},
        {"-9007199254740991", true, -9007199254740991},
        {"9007199254740992", false, 0},
        {"9007199254740993", false, 0},
        {"1e300", false, 0},
        {"0.5", false, 0},
        {"1e-300", false, 0},
        {"\"5\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
        {"[5]", false, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Error err = {0};
        cJSON *item =
            json_parse(row[i].text, strlen(row[i].text), NULL, 1, &json_limits_line, &err);
        int64_t value = 0;
        assert_ok(item != NULL, &err);
        if (json_integer(item, INT64_MIN, INT64_MAX, &value) != row[i].ok ||
            value != row[i].value) {
            fail_msg("%s gives %lld", row[i].text, (long long)value);
        }
        cJSON_Delete(item);
    }
    cJSON *item = cJSON_CreateNumber(7);
    int64_t value;
    assert_true(json_integer(item, 7, 7, &value));
    assert_false(json_integer(item, 8, 9, &value));
    assert_false(json_integer(item, -1, 6, &value));
    assert_false(json_integer(NULL, 0, 9, &value));
    cJSON_Delete(item);
}

static void test_describe(void **state) {
    (void)state;
    /* clang-format off */
    static const char *const row[][2] = {
        {"\"abc\"", "the string \"abc\""},
        {"\"01234567890123456789012345678901234567890\"", "a string of 41 bytes"},
        {"1e-4", "the number 1e-4"},
        {"{}", "an object"},
        {"[1]", "a list"},
        {"true", "true"},
        {"false", "false"},
        {"null", "null"},
    };
    /* clang-format on */
    char buffer[80], tiny[8];
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Error err = {0};
        cJSON *item = json_parse(row[i][0], strlen(row[i][0]), NULL, 1, &json_limits_line, &err);
        assert_string_equal(json_describe(item, buffer, sizeof buffer), row[i][1]);
        cJSON_Delete(item);
    }
    assert_string_equal(json_describe(NULL, tiny, sizeof tiny), "nothing");
}

static void test_put_numbers(void **state) {
    (void)state;
    /* clang-format off */
    static const struct {
        float value;
        const char *text;
    } floats[] = {
        {0, "0"},
        {-0.0f, "-0"},
        {1, "1"},
        {0.1f, "0.1"},
        {-2.5f, "-2.5"},
        {1e-5f, "1e-05"},
        {1e-4f, "0.0001"},
        {16777216, "16777216"},
        {1e10f, "1e+10"},
        {FLT_MAX, "3.4028235e+38"},
        {1.4e-45f, "1e-45"},
        {NAN, "\"NaN\""},
        {INFINITY, "\"Infinity\""},
        {-INFINITY, "\"-Infinity\""},
        {1.0f / 3, "0.33333334"},
    };
    /* clang-format on */
    /* clang-format off */
    static const struct {
        double value;
        const char *text;
    } doubles[] = {
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {5e-324, "5e-324"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {123456789012, "123456789012"},
        {9007199254740991.0, "9007199254740991"},
        {1e22, "1e+22"},
        {NAN, "\"NaN\""},
        {0.1 + 0.2, "0.30000000000000004"},
    };
    /* clang-format on */
    Str out = {0};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        str_clear(&out);
        json_put_float(&out, floats[i].value);
        assert_string_equal(str_text(&out), floats[i].text);
    }
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        str_clear(&out);
        json_put_double(&out, doubles[i].value);
        assert_string_equal(str_text(&out), doubles[i].text);
    }
    str_done(&out);
}

/* Random bit patterns come back bit for bit, and one digit less would not do. */
static void test_round_trip(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252u;
    Str out = {0};
    for (int i = 0; i < 20000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift */
        float f;
        double d;
        uint32_t half = (uint32_t)(seed >> 32);
        memcpy(&f, &half, sizeof f);
        memcpy(&d, &seed, sizeof d);
        if (!isfinite(f) || !isfinite(d)) {
            continue;
        }
        str_clear(&out);
        json_put_float(&out, f);
        assert_true(strtof(out.data, NULL) == f);
        str_clear(&out);
        json_put_double(&out, d);
        assert_true(strtod(out.data, NULL) == d);
    }
    str_done(&out);
}

static void test_put_string(void **state) {
    (void)state;
    Str out = {0};
    json_put_string(&out, TEXT("a\"b\\c\n\t\r\b\f\x01\0\x7F/\xC3\xA9"));
    assert_string_equal(out.data, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u0001\\u0000\x7F/\xC3\xA9\"");
    str_clear(&out);
    json_put_string(&out, TEXT("x\xFFy\xE2\x82"));
    assert_string_equal(out.data, "\"x\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD\"");
    str_clear(&out);
    str_append(&out, "{");
    json_put_key(&out, "a{");
    json_put_double(&out, 1);
    json_put_key(&out, "b");
    json_put_string(&out, TEXT("{"));
    json_put_key(&out, "c");
    str_append(&out, "{}}");
    assert_string_equal(out.data, "{\"a{\":1,\"b\":\"{\",\"c\":{}}");
    str_done(&out);
}

static void test_put_tree(void **state) {
    (void)state;
    Error err = {0};
    Str out = {0};
    cJSON *tree = json_parse(TEXT("{\"b\":[1.0,{}],\"a\":{\"x\":[],\"y\":\"z\"},\"n\":2.50}"), NULL,
                             1, &json_limits_line, &err);
    assert_ok(tree != NULL, &err);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(tree, "n"), 3.25);
    json_put_tree(&out, tree, true);
    assert_string_equal(out.data,
                        "{\n  \"b\": [\n    1.0,\n    {}\n  ],\n  \"a\": {\n    \"x\": [],\n"
                        "    \"y\": \"z\"\n  },\n  \"n\": 3.25\n}");
    str_done(&out);
    cJSON_Delete(tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_bad),
        cmocka_unit_test(test_mutations),  cmocka_unit_test(test_first_line),
        cmocka_unit_test(test_comments),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_keys),  cmocka_unit_test(test_read_file),
        cmocka_unit_test(test_locate),     cmocka_unit_test(test_integer),
        cmocka_unit_test(test_describe),   cmocka_unit_test(test_put_numbers),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_put_string),
        cmocka_unit_test(test_put_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
