/* SPDX-License-Identifier: MIT
 *
 * UTF-8: every code point there and back, and every two-byte beginning against the table of RFC
 * 3629.
 */
#include <string.h>

#include "common/base/utf8.h"
#include "tests/support/support.h"

static void test_every_code_point(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        char bytes[4];
        uint32_t back = 0;
        size_t n = utf8_encode(code, bytes);
        size_t wanted = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        bool surrogate = code >= 0xD800 && code < 0xE000;
        assert_int_equal(n, wanted);
        assert_int_equal(utf8_decode(bytes, n, &back), surrogate ? 0 : n);
        assert_true(surrogate || back == code);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(utf8_decode(bytes, cut, NULL), 0);
        }
    }
}

/* The table of RFC 3629, section 4: which second byte may follow a first one. */
static bool second_byte_is_valid(unsigned first, unsigned second) {
    unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

static void test_every_beginning(void **state) {
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            char bytes[4] = {(char)first, (char)second, '\x80', '\x80'};
            size_t n = first < 0x80   ? 1
                       : first < 0xC2 ? 0
                       : first < 0xE0 ? 2
                       : first < 0xF0 ? 3
                       : first < 0xF5 ? 4
                                      : 0;
            size_t wanted = n <= 1 || second_byte_is_valid(first, second) ? n : 0;
            assert_int_equal(utf8_decode(bytes, 4, NULL), wanted);
        }
    }
}

static void test_invalid_at(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t size, at;
    } row[] = {
        {"",                                     0,  0 },
        {"abc",                                  3,  3 },
        {"a\0b",                                 3,  3 },
        {"abcdefghijklmnop",                     16, 16},
        {"abcdefgh\xFF",                         9,  8 },
        {"\x80",                                 1,  0 },
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9,  9 },
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98",     8,  5 },
        {"abcdefg\xE2\x82\xAC\xED\xA0\x80",      13, 10},
        {"1234567\xC0\xAF",                      9,  7 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(utf8_invalid_at(row[i].text, row[i].size), row[i].at);
    }
    /* One bad byte at each place of a long text. */
    char text[100];
    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'x', sizeof text);
        text[at] = '\xBF';
        assert_int_equal(utf8_invalid_at(text, sizeof text), at);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_beginning),
        cmocka_unit_test(test_invalid_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
