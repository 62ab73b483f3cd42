/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/support/support.h"

static size_t gzip(const char *text, size_t n, unsigned char *out, size_t room) {
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)text;
    stream.avail_in = (uInt)n;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

static void check_read(const char *path, size_t limit, const char *want, size_t n) {
    Error err = {0};
    Str text = {0};
    assert_ok(file_read(path, limit, &text, &err), &err);
    assert_int_equal(text.size, n);
    assert_memory_equal(str_text(&text), want, n);
    str_done(&text);
}

static void check_read_fails(const char *path, size_t limit, ErrorCode code, const char *part) {
    Error err = {0};
    Str text = {0};
    assert_error(file_read(path, limit, &text, &err), &err, code, part);
    str_done(&text);
}

static void reading_looks_through_gzip(void **state) {
    (void)state;
    const char *folder = test_folder();
    check_read(test_file(folder, "plain", "a\0b", 3), 3, "a\0b", 3);
    check_read(test_file(folder, "empty", "", 0), 0, "", 0);
    check_read_fails(test_file(folder, "long", "abcd", 4), 3, ERROR_DATA, "limit of 3 bytes");

    unsigned char packed[4096];
    size_t n = gzip("hello", 5, packed, sizeof packed);
    check_read(test_file(folder, "one.gz", packed, n), 5, "hello", 5);
    check_read_fails(test_file(folder, "one.gz", packed, n), 4, ERROR_DATA, "limit");
    size_t m = gzip(" again", 6, packed + n, sizeof packed - n);
    check_read(test_file(folder, "two members", packed, n + m), 100, "hello again", 11);
    for (size_t cut = 2; cut < n + m; cut++) {
        if (cut != n) {
            test_file(folder, "cut.gz", packed, cut);
            char path[700];
            snprintf(path, sizeof path, "%s/cut.gz", folder);
            check_read_fails(path, 100, ERROR_DATA, "damaged");
        }
    }
    packed[n + m] = 'x';
    check_read_fails(test_file(folder, "garbage.gz", packed, n + m + 1), 100, ERROR_DATA,
                     "damaged");
    packed[n - 8] ^= 1; /* the check sum */
    check_read_fails(test_file(folder, "sum.gz", packed, n), 100, ERROR_DATA, "damaged");
}

static void bombs_are_refused(void **state) {
    (void)state;
    const char *folder = test_folder();
    enum { SIZE = 64 << 20 };
    char *zeros = calloc(SIZE, 1);
    unsigned char *packed = malloc(1 << 20);
    assert_true(zeros != NULL && packed != NULL);
    size_t n = gzip(zeros, SIZE, packed, 1 << 20);
    assert_true(SIZE / n > 1000);
    const char *path = test_file(folder, "bomb.gz", packed, n);
    free(zeros);
    free(packed);
    check_read_fails(path, SIZE, ERROR_DATA, "1000 times");
    LineReader reader;
    Error err = {0};
    bool got;
    assert_ok(line_reader_open(&reader, path, SIZE, &err), &err);
    assert_error(line_reader_next(&reader, &got, &err), &err, ERROR_DATA, "1000 times");
    line_reader_close(&reader);
}

static void only_regular_files_are_read(void **state) {
    (void)state;
    char path[700];
    const char *folder = test_folder();
    check_read_fails(folder, 10, ERROR_DATA, "not a regular file");
    check_read_fails("/dev/null", 10, ERROR_DATA, "not a regular file");
    snprintf(path, sizeof path, "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10); /* opening must not wait for a writer */
    check_read_fails(path, 10, ERROR_DATA, "not a regular file");
    alarm(0);
    snprintf(path, sizeof path, "%s/absent", folder);
    check_read_fails(path, 10, ERROR_NO_INPUT, "absent");
    FileMap map;
    Error err = {0};
    assert_error(file_map(&map, folder, &err), &err, ERROR_DATA, "not a regular file");
}

static void check_lines(const char *data, size_t n, const char *const *want, bool packed) {
    unsigned char buffer[4096];
    const char *folder = test_folder();
    const char *path = packed ? test_file(folder, "f", buffer, gzip(data, n, buffer, sizeof buffer))
                              : test_file(folder, "f", data, n);
    LineReader reader;
    Error err = {0};
    bool got;
    assert_ok(line_reader_open(&reader, path, 100, &err), &err);
    for (size_t i = 0; want[i] != NULL; i++) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        assert_true(got);
        assert_string_equal(str_text(&reader.line), want[i]);
        assert_int_equal(reader.number, i + 1);
    }
    assert_ok(line_reader_next(&reader, &got, &err), &err);
    assert_false(got);
    assert_ok(line_reader_next(&reader, &got, &err), &err);
    assert_false(got);
    line_reader_close(&reader);
}

static void lines_end_in_any_of_the_ways(void **state) {
    (void)state;
    static const struct {
        const char *data;
        const char *want[5];
    } each[] = {
        {"",                               {NULL}                      },
        {"\n",                             {"", NULL}                  },
        {"a\nb",                           {"a", "b", NULL}            },
        {"a\r\n\r\nb\n",                   {"a", "", "b", NULL}        },
        {"a\rb\r\r\nc",                    {"a\rb\r", "c", NULL}       },
        {"\xEF\xBB\xBFx\n\xEF\xBB\xBFy\n", {"x", "\xEF\xBB\xBFy", NULL}},
        {"\xEF\xBB\xBF",                   {"", NULL}                  },
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        check_lines(each[i].data, strlen(each[i].data), each[i].want, false);
        check_lines(each[i].data, strlen(each[i].data), each[i].want, true);
    }
}

static void long_lines_cross_buffers_and_are_limited(void **state) {
    (void)state;
    enum { LENGTH = 200000 };
    char *data = malloc(2 * LENGTH + 4);
    assert_non_null(data);
    memset(data, 'x', 2 * LENGTH + 4);
    data[LENGTH] = '\r';
    data[LENGTH + 1] = '\n';
    const char *path = test_file(test_folder(), "f", data, 2 * LENGTH + 3);
    free(data);
    LineReader reader;
    Error err = {0};
    bool got;
    assert_ok(line_reader_open(&reader, path, LENGTH, &err), &err);
    assert_ok(line_reader_next(&reader, &got, &err), &err);
    assert_int_equal(reader.line.size, LENGTH);
    assert_error(line_reader_next(&reader, &got, &err), &err, ERROR_DATA, "longer than the limit");
    assert_int_equal(err.line, 2);
    line_reader_close(&reader);
}

static void writing_is_complete_or_absent(void **state) {
    (void)state;
    const char *folder = test_folder();
    char path[700];
    snprintf(path, sizeof path, "%s/out", folder);
    Error err = {0};
    assert_ok(file_write(path, "old", 3, &err), &err);
    FileWriter writer;
    assert_ok(file_writer_open(&writer, path, &err), &err);
    assert_ok(file_writer_put(&writer, "new", 3, &err), &err);
    check_read(path, 10, "old", 3);
    file_writer_abort(&writer);
    check_read(path, 10, "old", 3);

    assert_ok(file_writer_open(&writer, path, &err), &err);
    enum { SIZE = 1 << 20 };
    char *big = malloc(SIZE);
    assert_non_null(big);
    memset(big, 'y', SIZE);
    assert_ok(file_writer_put(&writer, "x", 1, &err), &err);
    assert_ok(file_writer_put(&writer, big, SIZE, &err), &err);
    assert_ok(file_writer_put(&writer, big, 5, &err), &err);
    char hash[HASH_TEXT], again[HASH_TEXT];
    assert_ok(file_writer_commit(&writer, hash, &err), &err);
    file_writer_abort(&writer); /* safe after commit */
    uint64_t size = 0;
    assert_ok(hash_file(path, again, &size, &err), &err);
    assert_int_equal(size, SIZE + 6);
    assert_string_equal(hash, again);
    free(big);

    char **names;
    size_t count;
    assert_ok(file_list(folder, &names, &count, &err), &err);
    assert_int_equal(count, 1); /* no temporary file is left */
    free(names[0]);
    free(names);

    snprintf(path, sizeof path, "%s/no/such/folder", folder);
    assert_error(file_write(path, "x", 1, &err), &err, ERROR_CANNOT_CREATE, "cannot create");
    assert_error(file_write(folder, "x", 1, &err), &err, ERROR_CANNOT_CREATE, "not a regular file");
    assert_error(file_write("/dev/full", "x", 1, &err), &err, ERROR_CANNOT_CREATE, "regular");
}

/* XXH3-128 of the empty input, as printed by xxhsum -H2. */
static void hashes_are_xxh3(void **state) {
    (void)state;
    char hash[HASH_TEXT];
    hash_hex("", 0, hash);
    assert_string_equal(hash, "99aa06d3014798d86001c324468d497f");
    assert_int_equal(hash_bytes("", 0), 0x2d06800538d394c2);
}

static void folders_are_made_listed_and_removed(void **state) {
    (void)state;
    const char *top = test_folder();
    char path[700], link_path[700], outside[700];
    Error err = {0};
    snprintf(path, sizeof path, "%s/a/b//c/", top);
    assert_ok(file_make_folders(path, &err), &err);
    assert_ok(file_make_folders(path, &err), &err);
    assert_true(file_is_folder(path));
    snprintf(outside, sizeof outside, "%s/keep", top);
    assert_ok(file_write(outside, "k", 1, &err), &err);
    snprintf(path, sizeof path, "%s/keep/x", top);
    assert_error(file_make_folders(path, &err), &err, ERROR_CANNOT_CREATE, "cannot create");
    assert_error(file_make_folders(outside, &err), &err, ERROR_CANNOT_CREATE, "something else");

    snprintf(link_path, sizeof link_path, "%s/a/link", top);
    assert_int_equal(symlink(top, link_path), 0); /* must not be followed */
    snprintf(path, sizeof path, "%s/a", top);
    test_file(path, "z", "1", 1);
    test_file(path, "B", "1", 1);
    char **names;
    size_t count;
    assert_ok(file_list(path, &names, &count, &err), &err);
    static const char *const want[] = {"B", "b", "link", "z"};
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], want[i]);
        free(names[i]);
    }
    free(names);
    assert_ok(file_remove_tree(path, &err), &err);
    assert_false(file_exists(path));
    assert_true(file_exists(outside));
    assert_ok(file_remove_tree(path, &err), &err);
}

static void paths_are_joined_by_one_separator(void **state) {
    (void)state;
    static const char *const each[][3] = {
        {"a",   "b",   "a/b"  },
        {"a/",  "b",   "a/b"  },
        {"/",   "b",   "/b"   },
        {"a//", "/b",  "a/b"  },
        {"",    "b",   "b"    },
        {".",   "b/c", "./b/c"}
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        Error err = {0};
        char *path = file_join(each[i][0], each[i][1], &err);
        assert_non_null(path);
        assert_string_equal(path, each[i][2]);
        free(path);
    }
}

static void sizes_are_changed_and_told(void **state) {
    (void)state;
    const char *path = test_file(test_folder(), "f", "abcdef", 6);
    Error err = {0};
    uint64_t size = 0;
    assert_ok(file_truncate(path, 2, &err), &err);
    assert_ok(file_size(path, &size, &err), &err);
    assert_int_equal(size, 2);
    check_read(path, 10, "ab", 2);
    FileMap map;
    assert_ok(file_map(&map, path, &err), &err);
    assert_int_equal(map.size, 2);
    assert_memory_equal(map.data, "ab", 2);
    file_unmap(&map);
    assert_ok(file_truncate(path, 0, &err), &err);
    assert_ok(file_map(&map, path, &err), &err);
    assert_int_equal(map.size, 0);
    file_unmap(&map);
    assert_ok(file_free_space(test_folder(), &size, &err), &err);
    assert_true(size > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_looks_through_gzip),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(lines_end_in_any_of_the_ways),
        cmocka_unit_test(long_lines_cross_buffers_and_are_limited),
        cmocka_unit_test(writing_is_complete_or_absent),
        cmocka_unit_test(hashes_are_xxh3),
        cmocka_unit_test(folders_are_made_listed_and_removed),
        cmocka_unit_test(paths_are_joined_by_one_separator),
        cmocka_unit_test(sizes_are_changed_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
