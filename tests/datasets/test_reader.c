/* SPDX-License-Identifier: MIT
 *
 * Readers: every kind of file, recognized by content; every fault with its line and column.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/json.h"
#include "common/base/random.h"
#include "datasets/reader.h"

static const char *const known[] = {"prompt", "completion", "text", NULL};

static const char *write_text(const char *name, const char *text) {
    return test_file(test_folder(), name, text, strlen(text));
}

/* All rows as compact JSON, one a line; the error otherwise. */
static bool read_all(const char *path, FileKind *kind, Str *rows, Error *err) {
    Reader *reader = reader_open(path, known, err);
    if (reader == NULL) {
        return false;
    }
    *kind = reader_kind(reader);
    Row row;
    bool got, ok;
    while ((ok = reader_next(reader, &row, &got, err)) && got) {
        json_put_tree(rows, row.object, false);
        str_appendf(rows, " @%ld:%ld\n", row.line, row.column);
    }
    reader_close(reader);
    return ok;
}

static void expect_rows(const char *path, FileKind kind, const char *rows) {
    Error err = {0};
    FileKind found = kind;
    Str got = {0};
    assert_ok(read_all(path, &found, &got, &err), &err);
    assert_string_equal(str_text(&got), rows);
    assert_int_equal(found, kind);
    str_done(&got);
}

static void expect_fault(const char *name, const char *text, size_t n, long line, long column,
                         const char *part) {
    Error err = {0};
    FileKind kind;
    Str got = {0};
    const char *path = test_file(test_folder(), name, text, n);
    assert_error(read_all(path, &kind, &got, &err), &err, ERROR_DATA, part);
    assert_string_equal(err.file, path);
    if (err.line != line || err.column != column) {
        fail_msg("%s: place %ld:%ld, wanted %ld:%ld: %s", name, err.line, err.column, line, column,
                 err.text);
    }
    str_done(&got);
}

static void test_csv(void **state) {
    (void)state;
    expect_rows(write_text("a.csv", "prompt,completion\na,b\nc,d\n"), FILE_KIND_CSV,
                "{\"prompt\":\"a\",\"completion\":\"b\"} @2:1\n"
                "{\"prompt\":\"c\",\"completion\":\"d\"} @3:1\n");
    /* BOM, CRLF, quotes, doubled quotes, embedded newlines and commas, no newline at the end */
    expect_rows(write_text("b.csv", "\xef\xbb\xbf\"prompt\",completion\r\n"
                                    "\"x, \"\"y\"\"\",\"one\r\ntwo\"\r\n\r\nlast,"),
                FILE_KIND_CSV,
                "{\"prompt\":\"x, \\\"y\\\"\",\"completion\":\"one\\r\\ntwo\"} @2:1\n"
                "{\"prompt\":\"last\",\"completion\":\"\"} @5:1\n");
    /* blanks at both ends of unquoted fields stay */
    expect_rows(write_text("c.csv", "prompt,completion\n p , blue.\t\n"), FILE_KIND_CSV,
                "{\"prompt\":\" p \",\"completion\":\" blue.\\t\"} @2:1\n");
    expect_rows(write_text("d.tsv", "prompt\tcompletion\na,b\tc\n"), FILE_KIND_TSV,
                "{\"prompt\":\"a,b\",\"completion\":\"c\"} @2:1\n");
    /* by content alone */
    expect_rows(write_text("noext", "\"prompt\",\"x\"\n1,2\n"), FILE_KIND_CSV,
                "{\"prompt\":\"1\",\"x\":\"2\"} @2:1\n");
    expect_rows(write_text("noext2", "x\tprompt\n1\t2\n"), FILE_KIND_TSV,
                "{\"x\":\"1\",\"prompt\":\"2\"} @2:1\n");
    /* bare CR ends a row */
    expect_rows(write_text("mac.csv", "prompt,x\r1,2\r3,4\r"), FILE_KIND_CSV,
                "{\"prompt\":\"1\",\"x\":\"2\"} @2:1\n{\"prompt\":\"3\",\"x\":\"4\"} @3:1\n");
}

static void test_csv_faults(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        long line, column;
        const char *part;
    } table[] = {
        {"a,b\n1,2\n3\n",                  0, 3, 1, "a record of 1 fields; expected 2"    },
        {"a,b\n1,\"x\ny\"\n1,2,3\n",       0, 4, 1, "a record of 3 fields; expected 2"    },
        {"a,b\n1,x\"y\n",                  0, 2, 4, "a quote inside an unquoted CSV field"},
        {"a,b\n1,\"x\"y\n",                0, 2, 6, "after the closing quote"             },
        {"a,b\n\"1\n2\",\"x\"y\n",         0, 3, 7, "after the closing quote"             },
        {"a,b\n1,2\n5,\"open\nand open\n", 0, 3, 3, "ends inside a quoted CSV field"      },
        {"a,a\n1,2\n",                     0, 1, 3, "column \"a\" stands twice"           },
        {"a,\n1,2\n",                      0, 1, 3, "empty column name"                   },
        {"a,b\n1,\0\n",                    8, 2, 3, "NUL"                                 },
        {"a,b\n1,2\nx,y\xff\n",            0, 3, 4, "byte 0xff is not valid UTF-8"        },
        {"a,b\n1,\xc0\xaf\n",              0, 2, 3, "not valid UTF-8"                     },
        {"a,b\n1,\xed\xa0\x80\n",          0, 2, 3, "not valid UTF-8"                     },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t n = table[i].n > 0 ? table[i].n : strlen(table[i].text);
        expect_fault("bad.csv", table[i].text, n, table[i].line, table[i].column, table[i].part);
    }
    expect_fault("empty.csv", "", 0, 0, 0, "the file is empty");
    /* a field over the limit: an unclosed quote swallows the rest of a big file */
    size_t n = (size_t)READER_LINE_LIMIT + 4096;
    char *big = malloc(n);
    assert_non_null(big);
    memset(big, 'x', n);
    memcpy(big, "a,b\n1,\"", 7);
    Error err = {0};
    FileKind kind;
    Str got = {0};
    const char *path = test_file(test_folder(), "big.csv", big, n);
    assert_error(read_all(path, &kind, &got, &err), &err, ERROR_DATA, "longer than 16 MiB");
    assert_int_equal(err.line, 2);
    free(big);
}

static void test_json_lines(void **state) {
    (void)state;
    const char *rows = "{\"prompt\":\"a\"} @1:1\n{\"prompt\":\"b\"} @3:3\n";
    expect_rows(write_text("a.jsonl", "{\"prompt\":\"a\"}\n\n  {\"prompt\": \"b\"}"),
                FILE_KIND_JSON_LINES, rows);
    expect_rows(
        write_text("noext", "\xef\xbb\xbf{\"prompt\":\"a\"}\r\n \r\n  {\"prompt\": \"b\"}\r\n"),
        FILE_KIND_JSON_LINES, rows);
    expect_fault("a.jsonl", "{\"a\":1}\n{\"a\":}\n", 16, 2, 6, "");
    expect_fault("a.jsonl", "{\"a\":1}\n[1]\n", 12, 2, 1, "expected an object");
    expect_fault("a.jsonl", "{\"a\":1} 2\n", 10, 1, 9, "");
    expect_fault("a.jsonl", "{\"a\":\"x\0\"}\n", 11, 1, 8, "");
    expect_fault("a.jsonl", "{\"a\":\"\xff\"}\n", 10, 1, 7, "UTF-8");
    expect_fault("a.jsonl", "{\"a\":\"\\ud800\"}\n", 15, 1, 7, "");
    expect_fault("a.jsonl", "{\"a\":1,\"a\":2}\n", 14, 1, 8, "");
    expect_fault("a.jsonl", "not json\n", 9, 1, 1, "");
}

static void test_json_array(void **state) {
    (void)state;
    expect_rows(write_text("a.json", "\n[ {\"a\": [1, \"]}\\\"\"]},\n\n  {\"b\":2}\n]\n"),
                FILE_KIND_JSON_ARRAY, "{\"a\":[1,\"]}\\\"\"]} @2:3\n{\"b\":2} @4:3\n");
    expect_rows(write_text("b.json", "[]"), FILE_KIND_JSON_ARRAY, "");
    expect_rows(write_text("noext", "[{\"a\":{}}]"), FILE_KIND_JSON_ARRAY, "{\"a\":{}} @1:2\n");
    static const struct {
        const char *text;
        long line, column;
        const char *part;
    } table[] = {
        {"[{\"a\":1}\n {\"a\":2}]",   2, 2,  "expected ',' or ']'"                     },
        {"[{\"a\":1},\n]",            2, 1,  "expected a record"                       },
        {"[{\"a\":1},\n\n  7]",       3, 3,  "expected an object"                      },
        {"[{\"a\":1}]\n x",           2, 2,  "expected the end of the file"            },
        {"[{\"a\":1}",                1, 9,  "the end of the file; expected ',' or ']'"},
        {"[{\"a\":1}, {\"b\":,}]",    1, 16, ""                                        },
        {"[{\"a\":1},\n{\"b\":\n,}]", 3, 1,  ""                                        },
        {"[ {\"a\":1",                1, 9,  ""                                        },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        expect_fault("bad.json", table[i].text, strlen(table[i].text), table[i].line,
                     table[i].column, table[i].part);
    }
}

static void test_text(void **state) {
    (void)state;
    expect_rows(write_text("a.txt", "\xef\xbb\xbf[Emma by Jane Austen]\n\nprompt, x\n"),
                FILE_KIND_TEXT, "{\"text\":\"[Emma by Jane Austen]\\n\\nprompt, x\\n\"} @1:1\n");
    expect_rows(write_text("noext", "[Emma\n"), FILE_KIND_TEXT, "{\"text\":\"[Emma\\n\"} @1:1\n");
    expect_rows(write_text("noext", "Just words, and more\n"), FILE_KIND_TEXT,
                "{\"text\":\"Just words, and more\\n\"} @1:1\n");
    expect_fault("a.txt", "one\ntwo \xe2\x82\n", 11, 2, 5, "not valid UTF-8");
    expect_fault("a.txt", "one\n\0\n", 6, 2, 1, "NUL");
}

static const char *packed(const char *name, const char *text, size_t n) {
    static char path[700];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    gzFile file = gzopen(path, "wb9");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)n), (int)n);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static void test_gzip(void **state) {
    (void)state;
    const char *csv = "prompt,completion\na,b\n";
    expect_rows(packed("a.csv.gz", csv, strlen(csv)), FILE_KIND_CSV,
                "{\"prompt\":\"a\",\"completion\":\"b\"} @2:1\n");
    const char *lines = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n";
    expect_rows(packed("x", lines, strlen(lines)), FILE_KIND_JSON_LINES,
                "{\"prompt\":\"a\"} @1:1\n{\"prompt\":\"b\"} @2:1\n");
    expect_rows(packed("a.txt.gz", "plain, text", 11), FILE_KIND_TEXT,
                "{\"text\":\"plain, text\"} @1:1\n");
    /* cut off, and with a damaged byte */
    FILE *file = fopen(packed("a.csv.gz", csv, strlen(csv)), "rb");
    char bytes[256];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    expect_fault("cut.csv.gz", bytes, n - 9, 0, 0, "damaged");
    bytes[n - 6] ^= 1;
    expect_fault("flip.csv.gz", bytes, n, 0, 0, "damaged");
}

static void test_not_files(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder();
    assert_null(reader_open(folder, known, &err));
    assert_int_equal(err.code, ERROR_DATA);
    char path[700];
    snprintf(path, sizeof path, "%s/absent.csv", folder);
    err = (Error){0};
    assert_null(reader_open(path, known, &err));
    assert_int_equal(err.code, ERROR_NO_INPUT);
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    err = (Error){0};
    assert_null(reader_open(path, known, &err));
    assert_int_equal(err.code, ERROR_DATA);
}

static void test_row_error_places(void **state) {
    (void)state;
    Error err = {0};
    Row row;
    bool got;
    Reader *reader =
        reader_open(write_text("a.csv", "prompt,completion\n\"a\n,\"\"b\",  c\n"), known, &err);
    assert_non_null(reader);
    assert_ok(reader_next(reader, &row, &got, &err), &err);
    row_error(&row, "completion", &err, "found %d", 7);
    assert_string_equal(err.text, "found 7");
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 7);
    reader_close(reader);
    reader = reader_open(write_text("a.json", "[{\"a\": 1},\n {\"b\": [0,\n {\"c\": 5}]}]"), known,
                         &err);
    assert_non_null(reader);
    assert_ok(reader_next(reader, &row, &got, &err), &err);
    row_error(&row, "a", &err, "x");
    assert_int_equal(err.line, 1);
    assert_int_equal(err.column, 8);
    assert_ok(reader_next(reader, &row, &got, &err), &err);
    row_error(&row, "b", &err, "x");
    assert_int_equal(err.line, 2);
    assert_int_equal(err.column, 8);
    row_error(&row, "b[1].c", &err, "x");
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 8);
    row_error(&row, NULL, &err, "x");
    assert_int_equal(err.line, 2);
    assert_int_equal(err.column, 2);
    reader_close(reader);
}

/* Random bytes changed, removed or doubled in valid files: an error or rows, never a crash. */
static void test_mutations(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
    } seeds[] = {
        {"a.csv",   "prompt,completion\n\"a, \"\"q\"\"\",\"one\ntwo\"\nc,d\n\"e\",\"\xc3\xa9\"\n" },
        {"a.jsonl",
         "{\"prompt\":\"a\",\"ranks\":[1,2.5e3,-0]}\n{\"m\":[{\"role\":\"\\u00e9\"}]}\n"          },
        {"a.json",  "[{\"prompt\":\"a\\\"]\",\"b\":[1,[2]]},\n {\"c\":null,\"d\":{\"e\":true}}]\n"},
        {"noext",   "x\tprompt\n1\t2\n\"3\"\t\"4\"\n"                                             },
    };
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    uint64_t draw = 0;
    size_t read = 0, refused = 0;
    char path[700];
    snprintf(path, sizeof path, "%s/", test_folder());
    size_t base = strlen(path);
    for (size_t i = 0; i < 4000; i++) {
        const char *seed = seeds[i % 4].text;
        char bytes[256];
        size_t n = strlen(seed);
        memcpy(bytes, seed, n);
        size_t changes = 1 + random_below(&random, draw++, 4);
        for (size_t c = 0; c < changes; c++) {
            size_t at = random_below(&random, draw++, n);
            uint64_t what = random_below(&random, draw++, 4);
            if (what == 0) {
                memmove(bytes + at, bytes + at + 1, --n - at);
            } else if (what == 1) {
                memmove(bytes + at + 1, bytes + at, n++ - at);
            } else {
                bytes[at] = what == 2 ? "\"\n\r,{}[]:\\\t\0"[random_below(&random, draw++, 12)]
                                      : (char)random_below(&random, draw++, 256);
            }
        }
        snprintf(path + base, sizeof path - base, "%s", seeds[i % 4].name);
        remove(path); /* a new file: some file systems sync one that is cut and rewritten */
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, n, file), n);
        fclose(file);
        Error err = {0};
        FileKind kind;
        Str rows = {0};
        if (read_all(path, &kind, &rows, &err)) {
            read++;
        } else {
            refused++;
            assert_true(err.text[0] != '\0' && err.code == ERROR_DATA);
        }
        str_done(&rows);
    }
    assert_true(read > 400 && refused > 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),        cmocka_unit_test(test_csv_faults),
        cmocka_unit_test(test_json_lines), cmocka_unit_test(test_json_array),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_not_files),  cmocka_unit_test(test_row_error_places),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
