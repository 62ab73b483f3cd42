/* SPDX-License-Identifier: MIT */
#include "common/base/utf8.h"

#include <stdbool.h>
#include <string.h>

size_t utf8_decode(const char *text, size_t n, uint32_t *code) {
    const unsigned char *p = (const unsigned char *)text;
    uint32_t value;
    size_t length;
    if (n == 0) {
        return 0;
    }
    if (p[0] < 0x80) {
        value = p[0];
        length = 1;
    } else if (p[0] >= 0xC2 && p[0] < 0xE0) {
        value = p[0] & 0x1Fu;
        length = 2;
    } else if (p[0] >= 0xE0 && p[0] < 0xF0) {
        value = p[0] & 0x0Fu;
        length = 3;
    } else if (p[0] >= 0xF0 && p[0] < 0xF5) {
        value = p[0] & 0x07u;
        length = 4;
    } else {
        return 0;
    }
    if (n < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0u) != 0x80) {
            return 0;
        }
        value = value << 6 | (p[i] & 0x3Fu);
    }
    bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    bool surrogate = value >= 0xD800 && value < 0xE000;
    if (overlong || surrogate || value > 0x10FFFF) {
        return 0;
    }
    if (code != NULL) {
        *code = value;
    }
    return length;
}

size_t utf8_encode(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t utf8_invalid_at(const char *text, size_t n) {
    static const uint64_t high_bits = 0x8080808080808080u;
    size_t at = 0;
    while (at < n) {
        uint64_t eight;
        if (n - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & high_bits) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        size_t length = utf8_decode(text + at, n - at, NULL);
        if (length == 0) {
            return at;
        }
        at += length;
    }
    return n;
}
