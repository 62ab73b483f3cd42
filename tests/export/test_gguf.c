/* SPDX-License-Identifier: MIT
 *
 * The format: what the writer writes, byte for byte, and files that are wrong in one thing each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/export/gguf.h"
#include "tests/support/support.h"

static void put(Str *out, const void *data, size_t n) {
    str_append_bytes(out, data, n);
}
static void u8(Str *out, unsigned value) {
    str_append_char(out, (char)value);
}
static void u32(Str *out, uint32_t value) {
    put(out, &value, sizeof value);
}
static void u64(Str *out, uint64_t value) {
    put(out, &value, sizeof value);
}
static void f32(Str *out, float value) {
    put(out, &value, sizeof value);
}
static void text(Str *out, const char *value) {
    u64(out, strlen(value));
    str_append(out, value);
}
static void pad(Str *out, size_t alignment) {
    while (out->size % alignment != 0) {
        u8(out, 0);
    }
}

static const char *save(const Str *bytes) {
    static int number;
    char name[40];
    snprintf(name, sizeof name, "case-%d.gguf", number++);
    return test_file(test_folder(), name, bytes->data, bytes->size);
}

/* What the specification's tables say for a small file, put together by hand. */
static void expected(Str *out) {
    str_append(out, "GGUF");
    u32(out, 3);
    u64(out, 2); /* tensors */
    u64(out, 6); /* pairs */
    text(out, "general.architecture"), u32(out, 8), text(out, "tiny");
    text(out, "a.number"), u32(out, 4), u32(out, 70000);
    text(out, "a.float"), u32(out, 6), f32(out, 1e-5f);
    text(out, "a.flag"), u32(out, 7), u8(out, 1);
    text(out, "a.texts"), u32(out, 9), u32(out, 8), u64(out, 2), text(out, "x"),
        text(out, "h\xc3\xa9");
    text(out, "a.numbers"), u32(out, 9), u32(out, 5), u64(out, 3), u32(out, 1), u32(out, 2),
        u32(out, UINT32_MAX);
    /* [2, 3] in our order; the innermost size comes first in the file. */
    text(out, "m.weight"), u32(out, 2), u64(out, 3), u64(out, 2), u32(out, 1), u64(out, 0);
    text(out, "m.bias"), u32(out, 1), u64(out, 5), u32(out, 0), u64(out, 32);
    pad(out, 32);
    put(out, "abcdefghijkl", 12), pad(out, 32);
    put(out, "ABCDEFGHIJKLMNOPQRST", 20), pad(out, 32);
}

static const char *write_small(void) {
    static char path[600];
    Error err = {0};
    const size_t matrix[2] = {2, 3}, vector[1] = {5};
    GgufWriter *writer = gguf_writer_create(&err);
    assert_ok(writer != NULL, &err);
    snprintf(path, sizeof path, "%s/small.gguf", test_folder());
    gguf_put_string(writer, "general.architecture", "tiny", 4);
    gguf_put_u32(writer, "a.number", 70000);
    gguf_put_f32(writer, "a.float", 1e-5f);
    gguf_put_bool(writer, "a.flag", true);
    gguf_put_array(writer, "a.texts", GGUF_STRING, 2);
    gguf_item_string(writer, "x", 1);
    gguf_item_string(writer, "h\xc3\xa9", 3);
    gguf_put_array(writer, "a.numbers", GGUF_I32, 3);
    gguf_item_i32(writer, 1);
    gguf_item_i32(writer, 2);
    gguf_item_i32(writer, -1);
    assert_ok(gguf_writer_add(writer, "m.weight", GGML_F16, matrix, 2, &err), &err);
    assert_ok(gguf_writer_add(writer, "m.bias", GGML_F32, vector, 1, &err), &err);
    uint64_t size = gguf_writer_size(writer), found = 0;
    assert_ok(gguf_writer_begin(writer, path, &err), &err);
    assert_ok(gguf_writer_put(writer, "abcde", 5, &err), &err);
    assert_false(file_exists(path));
    assert_ok(gguf_writer_put(writer, "fghijkl", 7, &err), &err);
    assert_ok(gguf_writer_put(writer, "ABCDEFGHIJKLMNOPQRST", 20, &err), &err);
    assert_ok(gguf_writer_commit(writer, &err), &err);
    gguf_writer_free(writer);
    assert_ok(file_size(path, &found, &err), &err);
    assert_int_equal(found, size);
    return path;
}

static void test_bytes(void **state) {
    (void)state;
    Error err = {0};
    Str got = {0}, want = {0};
    expected(&want);
    assert_ok(file_read(write_small(), 1 << 20, &got, &err), &err);
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    str_done(&got);
    str_done(&want);
}

static void test_read(void **state) {
    (void)state;
    Error err = {0};
    Gguf file;
    GgufText value;
    double number = 0;
    size_t at = 0;
    assert_ok(gguf_open(&file, write_small(), &err), &err);
    assert_int_equal(file.pairs, 6);
    assert_true(gguf_text(gguf_find(&file, "general.architecture"), &value));
    assert_int_equal(value.n, 4);
    assert_memory_equal(value.text, "tiny", 4);
    assert_true(gguf_number(gguf_find(&file, "a.number"), 0, &number) && number == 70000);
    assert_true(gguf_number(gguf_find(&file, "a.float"), 0, &number) && number == (double)1e-5f);
    assert_true(gguf_number(gguf_find(&file, "a.flag"), 0, &number) && number == 1);
    assert_true(gguf_number(gguf_find(&file, "a.numbers"), 2, &number) && number == -1);
    assert_false(gguf_number(gguf_find(&file, "a.numbers"), 3, &number));
    assert_false(gguf_number(gguf_find(&file, "a.texts"), 0, &number));
    assert_false(gguf_text(gguf_find(&file, "a.texts"), &value));
    assert_false(gguf_text(gguf_find(&file, "absent"), &value));
    const GgufPair *texts = gguf_find(&file, "a.texts");
    assert_true(gguf_next_text(texts, &at, &value) && value.n == 1);
    assert_true(gguf_next_text(texts, &at, &value) && value.n == 3);
    assert_false(gguf_next_text(texts, &at, &value));
    const GgufTensor *tensor = gguf_tensor(&file, "m.weight");
    assert_true(tensor != NULL && tensor->rank == 2 && tensor->shape[0] == 2 &&
                tensor->shape[1] == 3 && tensor->bytes == 12);
    assert_memory_equal(tensor->data, "abcdefghijkl", 12);
    assert_memory_equal(gguf_tensor(&file, "m.bias")->data, "ABCDEFGHIJKLMNOPQRST", 20);
    assert_null(gguf_tensor(&file, "m"));
    gguf_close(&file);
}

/* Every shorter file is refused, and none is read beyond its end. */
static void test_truncated(void **state) {
    (void)state;
    Str whole = {0};
    expected(&whole);
    for (size_t n = 0; n < whole.size; n++) {
        Error err = {0};
        Gguf file;
        /* The last tensor's padding is not missed. */
        bool complete = n + 12 >= whole.size;
        const char *path = test_file(test_folder(), "cut.gguf", whole.data, n);
        bool ok = gguf_open(&file, path, &err);
        assert_int_equal(ok, complete);
        if (ok) {
            gguf_close(&file);
        } else {
            assert_int_equal(err.code, ERROR_DATA);
        }
    }
    str_done(&whole);
}

static void head(Str *out, uint32_t version, uint64_t tensors, uint64_t pairs) {
    str_append(out, "GGUF");
    u32(out, version);
    u64(out, tensors);
    u64(out, pairs);
}

static void tensor(Str *out, const char *name, uint32_t rank, uint64_t size, uint32_t type,
                   uint64_t offset) {
    text(out, name);
    u32(out, rank);
    for (uint32_t i = 0; i < rank && i < 8; i++) {
        u64(out, size);
    }
    u32(out, type);
    u64(out, offset);
}

static void refused(Str *bytes, const char *part) {
    Error err = {0};
    Gguf file;
    pad(bytes, 32);
    str_append(bytes, "................................................................");
    assert_error(gguf_open(&file, save(bytes), &err), &err, ERROR_DATA, part);
    str_done(bytes);
}

static void test_heads(void **state) {
    (void)state;
    Str b = {0};
    str_append(&b, "GGML"), u32(&b, 3), u64(&b, 0), u64(&b, 0);
    refused(&b, "does not begin with GGUF");
    head(&b, 1, 0, 0);
    refused(&b, "GGUF version 1, versions 2 and 3");
    head(&b, 0x03000000, 0, 0);
    refused(&b, "(little endian) are read");
    head(&b, 3, UINT64_MAX, 0);
    refused(&b, "18446744073709551615 tensors");
    head(&b, 3, 5, 0);
    refused(&b, "as far as they fit");
    head(&b, 3, 0, 1 << 20);
    refused(&b, "1048576 pairs");
}

static void test_pairs(void **state) {
    (void)state;
    Str b = {0};
    head(&b, 3, 0, 1), u64(&b, UINT64_MAX);
    refused(&b, "a key before byte 32 has 18446744073709551615 bytes");
    head(&b, 3, 0, 1), u64(&b, 0), u32(&b, 0), u8(&b, 0);
    refused(&b, "empty or not plain ASCII");
    head(&b, 3, 0, 1), text(&b, "a\nb"), u32(&b, 0), u8(&b, 0);
    refused(&b, "empty or not plain ASCII");
    head(&b, 3, 0, 1), text(&b, "a"), u32(&b, 13);
    refused(&b, "'a' has type 13, 0 to 12");
    head(&b, 3, 0, 1), text(&b, "a"), u32(&b, 9), u32(&b, 9), u64(&b, 1);
    refused(&b, "an array in an array");
    head(&b, 3, 0, 1), text(&b, "a"), u32(&b, 9), u32(&b, 12), u64(&b, UINT64_MAX / 4);
    refused(&b, "'a' has 4611686018427387903 items");
    head(&b, 3, 0, 1), text(&b, "a"), u32(&b, 9), u32(&b, 8), u64(&b, 3), u64(&b, 1u << 30);
    refused(&b, "a text");
    head(&b, 3, 0, 2), text(&b, "a"), u32(&b, 0), u8(&b, 0), text(&b, "a"), u32(&b, 0), u8(&b, 0);
    refused(&b, "key 'a' is there twice");
    head(&b, 3, 0, 1), text(&b, "general.alignment"), u32(&b, 4), u32(&b, 24);
    refused(&b, "no power of two");
    head(&b, 3, 0, 1), text(&b, "general.alignment"), u32(&b, 8), text(&b, "32");
    refused(&b, "no power of two");
}

static void test_tensors(void **state) {
    (void)state;
    Str b = {0};
    char longest[70];
    memset(longest, 'n', sizeof longest - 1);
    longest[64] = '\0';
    head(&b, 3, 1, 0), tensor(&b, longest, 1, 4, 0, 0);
    refused(&b, "has 64 bytes, at most 63");
    head(&b, 3, 1, 0), tensor(&b, "a\xff", 1, 4, 0, 0);
    refused(&b, "not valid UTF-8");
    head(&b, 3, 1, 0), tensor(&b, "a", 5, 1, 0, 0);
    refused(&b, "'a' has 5 dimensions");
    head(&b, 3, 1, 0), tensor(&b, "a", 0, 1, 0, 0), u64(&b, 0);
    refused(&b, "'a' has 0 dimensions");
    head(&b, 3, 1, 0), tensor(&b, "a", 2, 0, 0, 0);
    refused(&b, "a dimension of 0");
    head(&b, 3, 1, 0), tensor(&b, "a", 4, 1u << 31, 0, 0);
    refused(&b, "too large");
    head(&b, 3, 1, 0), tensor(&b, "a", 1, 33, 8, 0);
    refused(&b, "'a' of Q8_0: its shape is no multiple of 32");
    head(&b, 3, 1, 0), tensor(&b, "a", 1, 4, 5, 0);
    refused(&b, "type number 5, which is not known");
    head(&b, 3, 2, 0), tensor(&b, "a", 1, 4, 0, 0), tensor(&b, "a", 1, 4, 0, 32);
    refused(&b, "tensor 'a' is there twice");
    head(&b, 3, 2, 0), tensor(&b, "a", 1, 16, 0, 0), tensor(&b, "b", 1, 4, 0, 32);
    refused(&b, "'b' begins at 32 of the data, 64 was expected"); /* overlap */
    head(&b, 3, 2, 0), tensor(&b, "a", 1, 4, 0, 0), tensor(&b, "b", 1, 4, 0, 64);
    refused(&b, "'b' begins at 64 of the data, 32 was expected"); /* a hole */
    head(&b, 3, 1, 0), tensor(&b, "a", 1, 4, 0, UINT64_MAX - 31);
    refused(&b, "'a' begins at 18446744073709551584");
    head(&b, 3, 1, 0), tensor(&b, "a", 1, 1000, 0, 0);
    refused(&b, "beyond the end of the file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_read),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
