/* SPDX-License-Identifier: MIT */
#include "common/base/json_scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/utf8.h"

enum { NUMBER_LONGEST = 63 }; /* what the smallest number buffer of cJSON holds */

void json_scan_done(JsonScan *scan) {
    str_done(&scan->pool);
    free(scan->key);
    free(scan->spelling);
}

void json_position(const char *text, size_t at, long first_line, long *line, long *column) {
    size_t begin = 0;
    *line = first_line;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*line;
            begin = i + 1;
        }
    }
    *column = (long)(at - begin) + 1;
}

static bool refuse(JsonScan *scan, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(JsonScan *scan, size_t at, const char *format, ...) {
    char message[256];
    long line, column;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    json_position(scan->text, at, scan->first_line, &line, &column);
    return error_at(scan->err, ERROR_DATA, scan->path, line, column, "%s", message);
}

static int peek(const JsonScan *scan) {
    return scan->at < scan->size ? (unsigned char)scan->text[scan->at] : -1;
}

static bool follows(const JsonScan *scan, const char *word) {
    size_t n = strlen(word);
    return scan->size - scan->at >= n && memcmp(scan->text + scan->at, word, n) == 0;
}

/* What stands at the current place, and what should: the general error. */
static bool unexpected(JsonScan *scan, const char *expected) {
    int c = peek(scan);
    if (c < 0) {
        return refuse(scan, scan->at, "the text ends where %s was expected", expected);
    }
    if (c > 0x20 && c < 0x7F) {
        return refuse(scan, scan->at, "found '%c' where %s was expected", c, expected);
    }
    return refuse(scan, scan->at, "found the byte 0x%02x where %s was expected", c, expected);
}

static bool count_node(JsonScan *scan) {
    if (++scan->nodes > scan->limits->nodes) {
        return refuse(scan, scan->at, "more than %zu values and keys; the text is too big",
                      scan->limits->nodes);
    }
    return true;
}

static void blank_out(JsonScan *scan, size_t from, size_t to) {
    for (size_t i = from; scan->blank != NULL && i < to; i++) {
        scan->blank[i] = ' ';
    }
}

static bool skip_comment(JsonScan *scan) {
    size_t begin = scan->at;
    if (!scan->limits->comments) {
        return refuse(scan, begin, "found a comment; comments are not allowed here");
    }
    if (follows(scan, "//")) {
        while (scan->at < scan->size && scan->text[scan->at] != '\n') {
            scan->at++;
        }
    } else {
        const char *end = memmem(scan->text + begin + 2, scan->size - begin - 2, "*/", 2);
        if (end == NULL) {
            return refuse(scan, begin, "this comment is not closed by */");
        }
        scan->at = (size_t)(end - scan->text) + 2;
    }
    blank_out(scan, begin, scan->at);
    return true;
}

bool json_scan_blanks(JsonScan *scan) {
    for (;;) {
        int c = peek(scan);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            scan->at++;
        } else if (follows(scan, "//") || follows(scan, "/*")) {
            if (!skip_comment(scan)) {
                return false;
            }
        } else {
            return true;
        }
    }
}

/* Four hexadecimal digits; -1 if they are not there. */
static int32_t hex4(const JsonScan *scan, size_t at) {
    int32_t value = 0;
    if (scan->size < 4 || at > scan->size - 4) {
        return -1;
    }
    for (size_t i = at; i < at + 4; i++) {
        char c = scan->text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

static bool scan_unicode_escape(JsonScan *scan, Str *out) {
    size_t begin = scan->at;
    int32_t high = hex4(scan, begin + 2), low;
    uint32_t code = (uint32_t)high;
    scan->at += 6;
    if (high < 0) {
        return refuse(scan, begin, "\\u needs four hexadecimal digits");
    }
    if (high == 0) {
        return refuse(scan, begin, "\\u0000 is not allowed in a string");
    }
    if (high >= 0xDC00 && high < 0xE000) {
        return refuse(scan, begin, "\\u%04x is half of a surrogate pair; its first half is missing",
                      (unsigned)high);
    }
    if (high >= 0xD800 && high < 0xDC00) {
        low = follows(scan, "\\u") ? hex4(scan, scan->at + 2) : -1;
        if (low < 0xDC00 || low >= 0xE000) {
            return refuse(scan, begin,
                          "\\u%04x is half of a surrogate pair; its second half is missing",
                          (unsigned)high);
        }
        code = 0x10000 + ((uint32_t)(high - 0xD800) << 10 | (uint32_t)(low - 0xDC00));
        scan->at += 6;
    }
    if (out != NULL) {
        char bytes[4];
        str_append_bytes(out, bytes, utf8_encode(code, bytes));
    }
    return true;
}

static bool scan_escape(JsonScan *scan, Str *out) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int c = scan->at + 1 < scan->size ? scan->text[scan->at + 1] : -1;
    if (c == 'u') {
        return scan_unicode_escape(scan, out);
    }
    const char *letter = c > 0 ? strchr(letters, c) : NULL;
    if (letter == NULL) {
        return refuse(scan, scan->at,
                      "an escape is one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    }
    if (out != NULL) {
        str_append_char(out, meanings[letter - letters]);
    }
    scan->at += 2;
    return true;
}

bool json_scan_string(JsonScan *scan, Str *out) {
    size_t begin = scan->at++;
    for (;;) {
        size_t run = scan->at;
        int c = peek(scan);
        while (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            scan->at++;
            c = peek(scan);
        }
        if (out != NULL) {
            str_append_bytes(out, scan->text + run, scan->at - run);
        }
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0) {
            return refuse(scan, begin, "this string is not closed");
        }
        if (c == '\n') {
            return refuse(scan, begin,
                          "this string is not closed on its line; write \\n for a line "
                          "break");
        }
        if (c < 0x20) {
            return refuse(scan, scan->at, "the control character 0x%02x must be written \\u%04x", c,
                          (unsigned)c);
        }
        if (c == '\\') {
            if (!scan_escape(scan, out)) {
                return false;
            }
            continue;
        }
        size_t length = utf8_decode(scan->text + scan->at, scan->size - scan->at, NULL);
        if (length == 0) {
            return refuse(scan, scan->at, "the byte 0x%02x is not valid UTF-8 here", c);
        }
        if (out != NULL) {
            str_append_bytes(out, scan->text + scan->at, length);
        }
        scan->at += length;
    }
}

static size_t skip_digits(JsonScan *scan) {
    size_t begin = scan->at;
    for (int c = peek(scan); c >= '0' && c <= '9'; c = peek(scan)) {
        scan->at++;
    }
    return scan->at - begin;
}

static bool remember_spelling(JsonScan *scan, size_t begin) {
    if (!mem_reserve(&scan->spelling, &scan->spelling_capacity, scan->spellings + 1,
                     sizeof *scan->spelling, scan->err)) {
        return false;
    }
    scan->spelling[scan->spellings++] =
        (JsonSpelling){.index = scan->numbers, .at = begin, .size = scan->at - begin};
    return true;
}

static bool scan_number(JsonScan *scan) {
    size_t begin = scan->at;
    bool plain = true;
    if (peek(scan) == '-') {
        scan->at++;
    }
    size_t first = scan->at, digits = skip_digits(scan);
    if (digits == 0) {
        return follows(scan, "Infinity")
                   ? refuse(scan, begin, "-Infinity is not JSON; numbers are finite")
                   : unexpected(scan, "a digit");
    }
    if (digits > 1 && scan->text[first] == '0') {
        return refuse(scan, begin, "a number does not begin with a superfluous 0");
    }
    if (peek(scan) == '.') {
        plain = false;
        scan->at++;
        if (skip_digits(scan) == 0) {
            return unexpected(scan, "a digit behind the point");
        }
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        plain = false;
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-') {
            scan->at++;
        }
        if (skip_digits(scan) == 0) {
            return unexpected(scan, "a digit of the exponent");
        }
    }
    size_t length = scan->at - begin;
    char copy[NUMBER_LONGEST + 1];
    if (length > NUMBER_LONGEST) {
        return refuse(scan, begin, "a number of %zu characters; at most %d are allowed", length,
                      NUMBER_LONGEST);
    }
    memcpy(copy, scan->text + begin, length);
    copy[length] = '\0';
    if (!isfinite(strtod(copy, NULL))) {
        return refuse(scan, begin, "the number %s is too large for a double", copy);
    }
    if ((!plain || length > 15) && !remember_spelling(scan, begin)) {
        return false;
    }
    scan->numbers++;
    return true;
}

static int compare_keys(const void *left, const void *right) {
    const JsonKey *a = left, *b = right;
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->size != b->size) {
        return a->size < b->size ? -1 : 1;
    }
    int order = memcmp(a->pool + a->pool_at, b->pool + b->pool_at, a->size);
    return order != 0 ? order : a->at < b->at ? -1 : 1;
}

/* Sorted by hash, so that hostile keys that collide cost no more than a longer comparison. */
static bool check_keys(JsonScan *scan, size_t base) {
    size_t count = scan->keys - base, worst = SIZE_MAX, before = 0;
    JsonKey *key = count == 0 ? NULL : scan->key + base;
    for (size_t i = 0; i < count; i++) {
        key[i].pool = str_text(&scan->pool);
        key[i].hash = hash_bytes(key[i].pool + key[i].pool_at, key[i].size);
    }
    if (count > 1) {
        qsort(key, count, sizeof *key, compare_keys);
    }
    for (size_t i = 1; i < count; i++) {
        const JsonKey *a = &key[i - 1], *b = &key[i];
        bool same = a->hash == b->hash && a->size == b->size &&
                    memcmp(a->pool + a->pool_at, b->pool + b->pool_at, a->size) == 0;
        if (same && b->at < worst) {
            worst = b->at;
            before = a->at;
        }
    }
    if (worst == SIZE_MAX) {
        return true;
    }
    long line, column;
    json_position(scan->text, before, scan->first_line, &line, &column);
    scan->at = worst;
    json_scan_string(scan, NULL);
    size_t shown = scan->at - worst < 80 ? scan->at - worst : 80;
    while (((unsigned char)scan->text[worst + shown - 1] & 0xC0) == 0x80) {
        shown--; /* not into the middle of a character */
    }
    return refuse(scan, worst,
                  "the key %.*s stands here a second time (first at line %ld, column %ld)",
                  (int)shown, scan->text + worst, line, column);
}

static bool scan_key(JsonScan *scan) {
    int c = peek(scan);
    if (c != '"') {
        return c == '\'' ? refuse(scan, scan->at, "a key stands in double quotes, not single ones")
                         : unexpected(scan, "a key in double quotes");
    }
    if (!count_node(scan) || !mem_reserve(&scan->key, &scan->key_capacity, scan->keys + 1,
                                          sizeof *scan->key, scan->err)) {
        return false;
    }
    JsonKey *key = &scan->key[scan->keys++];
    *key = (JsonKey){.pool_at = scan->pool.size, .at = scan->at};
    if (!json_scan_string(scan, &scan->pool)) {
        return false;
    }
    key->size = scan->pool.size - key->pool_at;
    if (!json_scan_blanks(scan)) {
        return false;
    }
    if (peek(scan) != ':') {
        return unexpected(scan, "':' behind the key");
    }
    scan->at++;
    return true;
}

/* Steps over what ends an element: *more if another one must follow. */
static bool scan_separator(JsonScan *scan, char closing, bool *more) {
    char expected[] = "',' or ' '";
    size_t comma = scan->at;
    expected[8] = closing;
    if (peek(scan) == closing) {
        scan->at++;
        *more = false;
        return true;
    }
    if (peek(scan) != ',') {
        return unexpected(scan, expected);
    }
    scan->at++;
    if (!json_scan_blanks(scan)) {
        return false;
    }
    *more = true;
    if (peek(scan) == closing) {
        if (!scan->limits->comments) {
            return refuse(scan, comma, "a comma before '%c' is not allowed", closing);
        }
        blank_out(scan, comma, comma + 1);
        scan->at++;
        *more = false;
    }
    return true;
}

static bool scan_container(JsonScan *scan, bool object) {
    char closing = object ? '}' : ']';
    size_t base = scan->keys, pool = scan->pool.size;
    if (++scan->depth > scan->limits->depth) {
        return refuse(scan, scan->at, "nested deeper than %zu levels", scan->limits->depth);
    }
    scan->at++;
    if (!json_scan_blanks(scan)) {
        return false;
    }
    bool more = peek(scan) != closing;
    scan->at += !more;
    while (more) {
        if ((object && !scan_key(scan)) || !json_scan_blanks(scan) || !json_scan_value(scan) ||
            !json_scan_blanks(scan) || !scan_separator(scan, closing, &more)) {
            return false;
        }
    }
    if (!str_ok(&scan->pool, scan->err) || !check_keys(scan, base)) {
        return false;
    }
    scan->keys = base;
    if (scan->pool.size > pool) {
        scan->pool.size = pool;
        scan->pool.data[pool] = '\0';
    }
    scan->depth--;
    return true;
}

static bool refuse_word(JsonScan *scan) {
    static const struct {
        const char *found, *message;
    } known[] = {
        {"NaN",      "NaN is not JSON; numbers are finite"              },
        {"Infinity", "Infinity is not JSON; numbers are finite"         },
        {"True",     "found True; JSON writes true"                     },
        {"False",    "found False; JSON writes false"                   },
        {"None",     "found None; JSON writes null"                     },
        {"'",        "a string stands in double quotes, not single ones"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (follows(scan, known[i].found)) {
            return refuse(scan, scan->at, "%s", known[i].message);
        }
    }
    return unexpected(scan, "a value");
}

bool json_scan_value(JsonScan *scan) {
    static const char *const words[] = {"true", "false", "null"};
    int c = peek(scan);
    if (!count_node(scan)) {
        return false;
    }
    if (c == '{' || c == '[') {
        return scan_container(scan, c == '{');
    }
    if (c == '"') {
        return json_scan_string(scan, NULL);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return scan_number(scan);
    }
    for (size_t i = 0; i < 3; i++) {
        if (follows(scan, words[i])) {
            scan->at += strlen(words[i]);
            return true;
        }
    }
    return refuse_word(scan);
}

bool json_scan_document(JsonScan *scan) {
    if (scan->size > scan->limits->bytes) {
        return error_at(scan->err, ERROR_DATA, scan->path, 0, 0,
                        "%zu bytes of JSON; at most %zu are allowed", scan->size,
                        scan->limits->bytes);
    }
    if (!json_scan_blanks(scan)) {
        return false;
    }
    if (scan->at == scan->size) {
        return refuse(scan, scan->at, "the text is empty; a JSON value was expected");
    }
    if (!json_scan_value(scan) || !json_scan_blanks(scan)) {
        return false;
    }
    return scan->at == scan->size || unexpected(scan, "the end of the text");
}
