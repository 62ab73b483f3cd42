/* SPDX-License-Identifier: MIT
 *
 * Normal forms. A code point in ASCII begins anew: nothing before it moves behind it or joins it. So
 * text is normalized in parts that begin with one, or with a code point that is newer than the
 * forms, which stands as it is.
 */
#include <stdlib.h>
#include <utf8proc.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/unicode.h"

static bool is_newer(uint32_t code) {
    if (code < unicode_newer[0].first) {
        return false;
    }
    size_t low = 0, high = unicode_newer_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unicode_newer[middle].last < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < unicode_newer_count && unicode_newer[low].first <= code;
}

static int by_class(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts every run of marks by their combining classes, equal ones as they stood. utf8proc's own way
 * takes quadratic time, and hostile text may be one run. */
static bool order_marks(int32_t *code, size_t n, Error *err) {
    for (size_t i = 0; i < n;) {
        size_t end = i;
        bool sorted = true;
        int last = 0;
        while (end < n) {
            int class = utf8proc_get_property(code[end])->combining_class;
            if (class == 0) {
                break;
            }
            sorted = sorted && class >= last;
            last = class;
            end++;
        }
        if (!sorted) {
            size_t count = end - i;
            uint64_t *key = mem_alloc(count, sizeof *key, err);
            if (key == NULL) {
                return false;
            }
            for (size_t j = 0; j < count; j++) {
                uint64_t class = utf8proc_get_property(code[i + j])->combining_class;
                key[j] = class << 56 | (uint64_t)j << 24 | (uint32_t)code[i + j];
            }
            qsort(key, count, sizeof *key, by_class);
            for (size_t j = 0; j < count; j++) {
                code[i + j] = (int32_t)(key[j] & 0xffffff);
            }
            free(key);
        }
        i = end + 1;
    }
    return true;
}

/* One part: a first code point and what is not ASCII behind it. */
static bool put_part(NormalForm form, const char *text, size_t n, CodeBuffer *buffer, Str *out,
                     Error *err) {
    bool compatible = form == FORM_NFKC || form == FORM_NFKD;
    bool compose = form == FORM_NFC || form == FORM_NFKC;
    utf8proc_option_t options =
        compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
    size_t count = 0, size = 0;
    for (size_t i = 0; i < n; i += size) {
        uint32_t code = 0;
        size = utf8_decode(text + i, n - i, &code);
        /* No decomposition has more than 18 code points (U+FDFA). */
        if (!mem_reserve(&buffer->code, &buffer->capacity, count + 32, sizeof *buffer->code, err)) {
            return false;
        }
        int last = 0;
        utf8proc_ssize_t added = utf8proc_decompose_char((utf8proc_int32_t)code,
                                                         buffer->code + count, 32, options, &last);
        CHECK(added >= 0 && added <= 32);
        count += (size_t)added;
    }
    if (!order_marks(buffer->code, count, err)) {
        return false;
    }
    if (compose) {
        utf8proc_ssize_t left = utf8proc_normalize_utf32(buffer->code, (utf8proc_ssize_t)count,
                                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        CHECK(left >= 0);
        count = (size_t)left;
    }
    for (size_t i = 0; i < count; i++) {
        char bytes[4];
        size = utf8_encode((uint32_t)buffer->code[i], bytes);
        str_append_bytes(out, bytes, size);
    }
    return true;
}

bool normal_form(NormalForm form, const char *text, size_t n, CodeBuffer *buffer, Str *out,
                 Error *err) {
    size_t done = 0, size = 0;
    for (size_t i = 0; i < n;) {
        if ((unsigned char)text[i] < 0x80) {
            i++;
            continue;
        }
        size_t start = i > done ? i - 1 : i; /* the ASCII before it may take a mark */
        str_append_bytes(out, text + done, start - done);
        uint32_t code = 0;
        while (i < n && (unsigned char)text[i] >= 0x80) {
            size = utf8_decode(text + i, n - i, &code);
            if (is_newer(code)) {
                break;
            }
            i += size;
        }
        if (i > start && !put_part(form, text + start, i - start, buffer, out, err)) {
            return false;
        }
        done = i;
        if (i < n && (unsigned char)text[i] >= 0x80) { /* a newer one */
            str_append_bytes(out, text + i, size);
            i += size;
            done = i;
        }
    }
    str_append_bytes(out, text + done, n - done);
    return str_ok(out, err);
}
