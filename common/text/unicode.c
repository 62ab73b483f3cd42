/* SPDX-License-Identifier: MIT */
#include "common/text/unicode.h"

#include "common/base/utf8.h"

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
    while (i < want && i < n && utf8_continues((char)text[i])) {
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

size_t utf8_unfinished(const char *bytes, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)bytes[n - back];
        if (!utf8_continues((char)c)) {
            size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
            const unsigned char *start = (const unsigned char *)bytes + n - back;
            return want > back && ill_formed(start, back) == back && c >= 0xc2 && c <= 0xf4 ? back
                                                                                            : 0;
        }
    }
    return 0;
}

bool is_white_space(uint32_t code) {
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
        while (start > 0 && utf8_continues(text[start])) {
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

static bool within(const CodeRange *range, size_t count, uint32_t code) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (range[middle].last < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && range[low].first <= code;
}

bool is_mark(uint32_t code) {
    return code >= 0x300 && within(unicode_mark, unicode_mark_count, code);
}

bool is_nonspacing(uint32_t code) {
    return code >= 0x300 && within(unicode_nonspacing, unicode_nonspacing_count, code);
}

bool is_control(uint32_t code) {
    return within(unicode_control, unicode_control_count, code);
}

bool is_punctuation(uint32_t code) {
    if (code < 0x80) {
        return (code > ' ' && code < '0') || (code > '9' && code < 'A') ||
               (code > 'Z' && code < 'a') || (code > 'z' && code < 0x7f);
    }
    return within(unicode_punctuation, unicode_punctuation_count, code);
}

bool is_number(uint32_t code) {
    return code < 0x80 ? code >= '0' && code <= '9'
                       : within(unicode_number, unicode_number_count, code);
}

bool is_word(uint32_t code) {
    if (code < 0x80) {
        return (code >= '0' && code <= '9') || ((code | 0x20) >= 'a' && (code | 0x20) <= 'z') ||
               code == '_';
    }
    return within(unicode_word, unicode_word_count, code);
}

size_t lower_case(uint32_t code, uint32_t out[2]) {
    out[0] = code;
    if (code < 0x80) {
        out[0] = code + (code >= 'A' && code <= 'Z' ? 0x20u : 0);
        return 1;
    }
    if (code == 0x130) { /* the only one with two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    size_t low = 0, high = unicode_lower_case_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unicode_lower_case[middle].last < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const CaseRange *range = &unicode_lower_case[low];
    if (low < unicode_lower_case_count && range->first <= code &&
        (code - range->first) % range->step == 0) {
        out[0] = (uint32_t)((int64_t)code + range->delta);
    }
    return 1;
}
