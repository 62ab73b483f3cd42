/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "common/base/utf8.h"
#include "common/text/internal.h"

/* Bytes that are printable in Latin-1 stand for themselves, the other 68 follow from U+0100 on in
 * the order of bytes: 0x00-0x20, 0x7f-0xa0, 0xad. */
uint32_t byte_level_code(unsigned char byte) {
    if (byte <= 0x20) {
        return 0x100u + byte;
    }
    if (byte >= 0x7f && byte <= 0xa0) {
        return 0x100u + 33 + (byte - 0x7fu);
    }
    return byte == 0xad ? 0x100u + 67 : byte;
}

int byte_level_byte(uint32_t code) {
    if (code < 0x100) {
        return byte_level_code((unsigned char)code) == code ? (int)code : -1;
    }
    uint32_t i = code - 0x100;
    if (i > 67) {
        return -1;
    }
    return i <= 32 ? (int)i : i < 67 ? (int)(0x7f + i - 33) : 0xad;
}

void byte_level_write(const char *bytes, size_t n, Str *out) {
    for (size_t i = 0; i < n; i++) {
        char text[4];
        size_t size = utf8_encode(byte_level_code((unsigned char)bytes[i]), text);
        str_append_bytes(out, text, size);
    }
}

void byte_level_read(const char *text, size_t n, Str *out) {
    size_t size = 0;
    for (size_t i = 0; i < n; i += size) {
        uint32_t code = 0;
        size = utf8_decode(text + i, n - i, &code);
        if (size == 0 || byte_level_byte(code) < 0) {
            str_append_bytes(out, text, n);
            return;
        }
    }
    for (size_t i = 0; i < n; i += size) {
        uint32_t code = 0;
        size = utf8_decode(text + i, n - i, &code);
        str_append_char(out, (char)byte_level_byte(code));
    }
}

/* Bytes of the longest part at `text` that could have begun a code point; at least 1. */
static size_t ill_formed(const unsigned char *text, size_t n) {
    unsigned char first = text[0];
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0xc2 || first > 0xf4 || n < 2 || text[1] < low || text[1] > high) {
        return 1;
    }
    size_t i = 2;
    while (i < want && i < n && (text[i] & 0xc0) == 0x80) {
        i++;
    }
    return i;
}

void utf8_replace(const char *bytes, size_t n, Str *out) {
    for (size_t i = 0; i < n;) {
        size_t good = utf8_invalid_at(bytes + i, n - i);
        str_append_bytes(out, bytes + i, good);
        i += good;
        if (i < n) {
            str_append(out, "\xef\xbf\xbd");
            i += ill_formed((const unsigned char *)bytes + i, n - i);
        }
    }
}

static bool is_white_space(uint32_t code) {
    return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

size_t white_space_before(const char *text, size_t n) {
    size_t i = 0;
    uint32_t code = 0;
    for (size_t size = 0; i < n; i += size) {
        size = utf8_decode(text + i, n - i, &code);
        if (size == 0 || !is_white_space(code)) {
            break;
        }
    }
    return i;
}

size_t white_space_after(const char *text, size_t n) {
    size_t end = n;
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) {
            start--;
        }
        uint32_t code = 0;
        if (utf8_decode(text + start, end - start, &code) != end - start || !is_white_space(code)) {
            break;
        }
        end = start;
    }
    return n - end;
}
