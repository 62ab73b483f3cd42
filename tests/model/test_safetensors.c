/* SPDX-License-Identifier: MIT
 *
 * The rules of the format, one hostile file each, and what the writer writes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/model/safetensors.h"
#include "tests/support/support.h"

/* A file made of a header's text (its length as it is) and n bytes of data counting 0, 1, 2 ... */
static const char *make(const char *header, size_t n) {
    static int number;
    Str bytes = {0};
    char name[40];
    uint64_t length = strlen(header);
    str_append_bytes(&bytes, &length, 8);
    str_append(&bytes, header);
    for (size_t i = 0; i < n; i++) {
        str_append_char(&bytes, (char)i);
    }
    snprintf(name, sizeof name, "case-%d.safetensors", number++);
    const char *path = test_file(test_folder(), name, bytes.data, bytes.size);
    str_done(&bytes);
    return path;
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

typedef struct Case {
    const char *header;
    size_t data;
    const char *part; /* of the message; NULL: the file is fine */
} Case;

/* clang-format off */
static const Case cases[] = {
    /* Fine. */
    {"{}", 0, NULL},
    {"{}     ", 0, NULL},
    {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"}}", 0, NULL},
    {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 8, NULL},
    {"{" TENSOR("a", "F32", "[]", "[0,4]") "}", 4, NULL},
    {"{" TENSOR("a", "F32", "[0,7]", "[0,0]") "," TENSOR("b", "U8", "[3]", "[0,3]") "}", 3, NULL},
    {"{" TENSOR("b", "U8", "[3]", "[4,7]") "," TENSOR("a", "F16", "[2,1]", "[0,4]") "}", 7, NULL},
    {"{" TENSOR("a", "F4", "[4]", "[0,2]") "," TENSOR("b", "BOOL", "[1]", "[2,3]") "}", 3, NULL},
    {"{" TENSOR("a", "C64", "[1]", "[0,8]") "," TENSOR("b", "F8_E4M3", "[1]", "[8,9]") "}", 9,
     NULL},
    {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, NULL},
    {"{" TENSOR("\\u00e9", "U8", "[1]", "[0,1]") "}", 1, NULL},
    /* The header as text. */
    {"", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {"{}\n", 0, "does not end in '}'"},
    {"{}\t ", 0, "does not end in '}'"},
    {"{\"a\":1", 0, "does not end in '}'"},
    {"{}{}", 0, ""},
    {"{\"\xff\":1}", 0, ""},
    {"{\"\\ud800\":1}", 0, ""},
    {"{\"a\":{\"dtype\":\"U8\",}}", 0, ""},
    {"{\"__metadata__\":{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":1}}}}}}}}}}", 0,
     ""},
    /* Keys. */
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[1,2]") "}", 2, "a"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "dtype"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ must be an object"},
    {"{\"__metadata__\":{\"n\":1}}", 0, "__metadata__ 'n' is"},
    {"{\"__metadata__\":{\"n\":null}}", 0, "__metadata__ 'n' is"},
    {"{\"a\":[]}", 0, "tensor 'a' is a list"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor 'a': dtype is"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor 'a': shape is"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor 'a': data_offsets is"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
     "unknown key 'x'"},
    /* Types. */
    {"{" TENSOR("a", "F33", "[1]", "[0,4]") "}", 4, "unknown dtype 'F33'"},
    {"{" TENSOR("a", "f32", "[1]", "[0,4]") "}", 4, "unknown dtype 'f32'"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is the number 4"},
    {"{" TENSOR("a", "F4", "[3]", "[0,2]") "}", 2, "12 bits, not whole bytes"},
    {"{" TENSOR("a", "F6_E2M3", "[2]", "[0,2]") "}", 2, "12 bits, not whole bytes"},
    /* Shapes. */
    {"{" TENSOR("a", "U8", "1", "[0,1]") "}", 1, "shape is the number 1"},
    {"{" TENSOR("a", "U8", "[-1]", "[0,1]") "}", 1, "dimension 0 is"},
    {"{" TENSOR("a", "U8", "[1,1.5]", "[0,1]") "}", 1, "dimension 1 is"},
    {"{" TENSOR("a", "U8", "[\"1\"]", "[0,1]") "}", 1, "dimension 0 is"},
    {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "more than 8 dimensions"},
    {"{" TENSOR("a", "U8", "[18446744073709551616]", "[0,0]") "}", 0, "dimension 0 is"},
    {"{" TENSOR("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "more elements than fit"},
    {"{" TENSOR("a", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "more elements than fit"},
    {"{" TENSOR("a", "F64", "[4503599627370496,4096]", "[0,0]") "}", 0, "than fit in 64"},
    {"{" TENSOR("a", "F32", "[576460752303423488]", "[0,0]") "}", 0, "dimension 0 is"},
    /* Offsets: the name and both numbers. */
    {"{" TENSOR("a", "F32", "[768,3072]", "[0,9437180]") "}", 0, "9437180"},
    {"{" TENSOR("a", "F32", "[2]", "[0,7]") "}", 7, "needs 8 bytes, data_offsets give 7"},
    {"{" TENSOR("a", "F32", "[2]", "[0,9]") "}", 9, "needs 8 bytes, data_offsets give 9"},
    {"{" TENSOR("a", "F32", "[]", "[0,0]") "}", 0, "needs 4 bytes, data_offsets give 0"},
    {"{" TENSOR("a", "U8", "[1]", "[1,0]") "}", 1, "begin at 1 and end before, at 0"},
    {"{" TENSOR("a", "U8", "[1]", "[-1,0]") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1,2]") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[1]", "[0]") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1.5]") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1e300]") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[1]", "{}") "}", 1, "data_offsets is"},
    {"{" TENSOR("a", "U8", "[9]", "[0,9]") "}", 8, "end at 9, the file has 8 bytes"},
    /* Cover. */
    {"{" TENSOR("a", "U8", "[1]", "[1,2]") "}", 2,
     "'a' begins at 1, but the tensors before it end at 0"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "U8", "[1]", "[2,3]") "}", 3, "a hole"},
    {"{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[1,3]") "}", 3,
     "an overlap"},
    {"{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[0,2]") "}", 2,
     "an overlap"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "}", 2, "ends at 1, but the file has 2 bytes"},
    {"{}", 1, "ends at 0, but the file has 1 bytes"},
};
/* clang-format on */

static void test_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SafeTensors file;
        Error err = {0};
        const char *path = make(cases[i].header, cases[i].data);
        bool ok = safetensors_open(&file, path, &err);
        if (cases[i].part == NULL) {
            assert_ok(ok, &err);
            safetensors_close(&file);
        } else {
            if (ok) {
                fail_msg("accepted: %s", cases[i].header);
            }
            assert_error(ok, &err, ERROR_DATA, cases[i].part);
            assert_string_equal(err.file, path);
        }
    }
}

/* The first eight bytes. */
static void test_length(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        size_t bytes;
        const char *part;
    } lengths[] = {
        {0,              0,  "0 bytes are too few"                      },
        {0,              7,  "7 bytes are too few"                      },
        {1,              8,  "claims 1 bytes, but only 0 follow"        },
        {100000000,      12, "claims 100000000 bytes, but only 4 follow"},
        {100000001,      12, "more than the 100000000"                  },
        {UINT64_MAX,     12, "more than the 100000000"                  },
        {UINT64_MAX - 7, 12, "more than the 100000000"                  },
    };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char bytes[16] = "12345678{}  ";
        SafeTensors file;
        Error err = {0};
        memcpy(bytes, &lengths[i].length, 8);
        const char *path = test_file(test_folder(), "length.safetensors", bytes, lengths[i].bytes);
        assert_error(safetensors_open(&file, path, &err), &err, ERROR_DATA, lengths[i].part);
    }
    SafeTensors file;
    Error err = {0};
    assert_error(safetensors_open(&file, "/nonexistent/x.safetensors", &err), &err, ERROR_NO_INPUT,
                 "x.safetensors");
    assert_error(safetensors_open(&file, test_folder(), &err), &err, ERROR_DATA, "");
}

/* Every prefix and every single changed byte of a good file: an error or a file, never a crash. */
static void test_damage(void **state) {
    (void)state;
    static const char header[] =
        "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "U8", "[3]", "[8,11]") "}";
    char bytes[8 + sizeof header + 11];
    uint64_t n = sizeof header - 1;
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    memset(bytes + 8 + n, 7, 11);
    size_t size = 8 + n + 11, accepted = 0;
    for (size_t i = 0; i < size; i++) {
        SafeTensors file;
        Error err = {0};
        const char *path = test_file(test_folder(), "damage.safetensors", bytes, i);
        assert_false(safetensors_open(&file, path, &err));
        for (int bit = 0; bit < 8; bit++) {
            char changed[sizeof bytes];
            memcpy(changed, bytes, size);
            changed[i] ^= (char)(1 << bit);
            path = test_file(test_folder(), "damage.safetensors", changed, size);
            if (safetensors_open(&file, path, &err)) {
                accepted++;
                for (size_t t = 0; t < file.tensors; t++) {
                    assert_true(file.tensor[t].data >= file.map.data &&
                                file.tensor[t].data + file.tensor[t].bytes <=
                                    file.map.data + file.map.size);
                }
                safetensors_close(&file);
            }
        }
    }
    assert_true(accepted >= 11 * 8 && accepted < 250);
}

/* A file without a tensor is written and read. */
static void test_empty(void **state) {
    (void)state;
    Error err = {0};
    SafeTensorsWriter *writer = safetensors_writer_create(&err);
    assert_ok(writer != NULL, &err);
    Str path = {0};
    str_appendf(&path, "%s/empty.safetensors", test_folder());
    assert_ok(safetensors_writer_commit(writer, str_text(&path), NULL, &err), &err);
    safetensors_writer_free(writer);
    SafeTensors file;
    assert_ok(safetensors_open(&file, str_text(&path), &err), &err);
    assert_int_equal(file.tensors, 0);
    assert_null(safetensors_find(&file, "none"));
    safetensors_close(&file);
    str_done(&path);
}

static void test_values(void **state) {
    (void)state;
    /* 1, -2, the largest and the smallest half, a subnormal, zero with a sign */
    static const uint16_t half[] = {0x3c00, 0xc000, 0x7bff, 0x0400, 0x0003, 0x8000};
    static const float half_value[] = {1, -2, 65504, 0x1p-14f, 0x3p-24f, -0.0f};
    static const uint16_t brain[] = {0x3f80, 0xc049, 0x7f7f, 0x0001};
    static const float brain_value[] = {1, -3.140625f, 0x1.fep127f, 0x1p-133f};
    static const float odd[] = {1, INFINITY, 3};
    static const uint16_t half_nan[] = {0x7e00, 0xfc00};
    Error err = {0};
    SafeTensorsWriter *writer = safetensors_writer_create(&err);
    assert_ok(writer != NULL, &err);
    size_t shape[] = {6}, four[] = {2, 2}, three[] = {3}, two[] = {2};
    assert_ok(safetensors_writer_add(writer, "half", TENSOR_F16, shape, 1, half, &err), &err);
    assert_ok(safetensors_writer_add(writer, "brain", TENSOR_BF16, four, 2, brain, &err), &err);
    assert_ok(safetensors_writer_add(writer, "odd", TENSOR_F32, three, 1, odd, &err), &err);
    assert_ok(safetensors_writer_add(writer, "nan", TENSOR_F16, two, 1, half_nan, &err), &err);
    assert_ok(safetensors_writer_add(writer, "wide", TENSOR_I64, two, 1, "0123456789abcdef", &err),
              &err);
    assert_ok(safetensors_writer_add(writer, "bytes", TENSOR_U8, two, 1, "xy", &err), &err);
    Str path = {0};
    str_appendf(&path, "%s/values.safetensors", test_folder());
    assert_ok(safetensors_writer_commit(writer, str_text(&path), NULL, &err), &err);
    safetensors_writer_free(writer);

    SafeTensors file;
    assert_ok(safetensors_open(&file, str_text(&path), &err), &err);
    static const char *const order[] = {"wide", "odd", "brain", "half", "nan", "bytes"};
    assert_int_equal(file.tensors, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(file.tensor[i].name, order[i]);
    }
    assert_int_equal((file.tensor[0].data - file.map.data) % 8, 0);
    float out[6];
    assert_ok(safetensors_read_floats(&file, safetensors_find(&file, "half"), out, 6, false, &err),
              &err);
    assert_memory_equal(out, half_value, sizeof half_value);
    assert_ok(safetensors_read_floats(&file, safetensors_find(&file, "brain"), out, 4, false, &err),
              &err);
    assert_memory_equal(out, brain_value, sizeof brain_value);
    const Tensor *tensor = safetensors_find(&file, "odd");
    assert_error(safetensors_read_floats(&file, tensor, out, 3, false, &err), &err, ERROR_DATA,
                 "'odd' holds infinity at element 1 of 3");
    assert_ok(safetensors_read_floats(&file, tensor, out, 3, true, &err), &err);
    assert_memory_equal(out, odd, sizeof odd);
    assert_error(safetensors_read_floats(&file, tensor, out, 4, true, &err), &err, ERROR_DATA,
                 "has 3 elements, 4 were expected");
    tensor = safetensors_find(&file, "nan");
    assert_error(safetensors_read_floats(&file, tensor, out, 2, false, &err), &err, ERROR_DATA,
                 "'nan' holds NaN at element 0 of 2");
    assert_ok(safetensors_read_floats(&file, tensor, out, 2, true, &err), &err);
    assert_true(isnan(out[0]) && isinf(out[1]) && out[1] < 0);
    assert_error(
        safetensors_read_floats(&file, safetensors_find(&file, "wide"), out, 2, false, &err), &err,
        ERROR_DATA, "'wide' has a type that is not read");
    assert_null(safetensors_find(&file, "none"));
    safetensors_close(&file);
    str_done(&path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
