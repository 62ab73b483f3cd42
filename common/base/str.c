/* SPDX-License-Identifier: MIT */
#include "common/base/str.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

void str_done(Str *str) {
    free(str->data);
    *str = (Str){0};
}

void str_clear(Str *str) {
    str->size = 0;
    str->failed = false;
    if (str->data != NULL) {
        str->data[0] = '\0';
    }
}

static bool make_room(Str *str, size_t n) {
    if (str->failed) {
        return false;
    }
    size_t need = mem_add(mem_add(str->size, n), 1);
    str->failed = !mem_reserve(&str->data, &str->capacity, need, 1, NULL);
    return !str->failed;
}

void str_append_bytes(Str *str, const void *bytes, size_t n) {
    if (make_room(str, n)) {
        if (n > 0) {
            memcpy(str->data + str->size, bytes, n);
        }
        str->size += n;
        str->data[str->size] = '\0';
    }
}

void str_append(Str *str, const char *text) {
    str_append_bytes(str, text, strlen(text));
}

void str_append_char(Str *str, char c) {
    str_append_bytes(str, &c, 1);
}

void str_vappendf(Str *str, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    CHECK(n >= 0);
    if (make_room(str, (size_t)n)) {
        vsnprintf(str->data + str->size, (size_t)n + 1, format, again);
        str->size += (size_t)n;
    }
    va_end(again);
}

void str_appendf(Str *str, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    str_vappendf(str, format, arguments);
    va_end(arguments);
}

const char *str_text(const Str *str) {
    return str->data == NULL ? "" : str->data;
}

bool str_ok(const Str *str, Error *err) {
    return !str->failed || error_set(err, ERROR_OS, "out of memory while building a text");
}

char *str_take(Str *str, Error *err) {
    if (!str_ok(str, err) || (str->data == NULL && !make_room(str, 0))) {
        str_done(str);
        return NULL;
    }
    char *data = str->data;
    data[str->size] = '\0';
    *str = (Str){0};
    return data;
}

const char *str_find(const char *text, size_t n, const char *part, size_t size) {
    const size_t step = size < 4096 ? 4096 : size;
    for (size_t at = 0; n - at >= size; at += step) {
        size_t left = n - at, window = left - size < step ? left : step + size - 1;
        const char *found = memmem(text + at, window, part, size);
        if (found != NULL || window == left) {
            return found;
        }
    }
    return NULL;
}

bool str_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

int str_distance(const char *a, const char *b, int limit) {
    enum { LONGEST = 128 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) {
        return limit + 1;
    }
    int row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0], best = (int)i;
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int above = row[j];
            int cost = diagonal + (a[i - 1] != b[j - 1]);
            int step = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = cost < step ? cost : step;
            best = row[j] < best ? row[j] : best;
            diagonal = above;
        }
        if (best > limit) {
            return limit + 1;
        }
    }
    return row[m] < limit + 1 ? row[m] : limit + 1;
}
