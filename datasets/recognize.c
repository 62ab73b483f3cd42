/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "datasets/reader.h"

bool reader_is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Like str_ends_with, but a .gz behind the ending does not matter. */
static bool has_extension(const char *path, const char *extension) {
    size_t n = strlen(path), e = strlen(extension);
    if (n >= 3 && strcmp(path + n - 3, ".gz") == 0) {
        n -= 3;
    }
    return n > e && strncmp(path + n - e, extension, e) == 0;
}

/* Does a field of the first line carry a known name? */
static bool names_column(const char *line, size_t n, char delimiter, const char *const *known) {
    size_t begin = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && line[i] != delimiter) {
            continue;
        }
        const char *field = line + begin;
        size_t length = i - begin;
        if (length >= 2 && field[0] == '"' && field[length - 1] == '"') {
            field++;
            length -= 2;
        }
        for (size_t k = 0; known[k] != NULL; k++) {
            if (strlen(known[k]) == length && memcmp(known[k], field, length) == 0) {
                return true;
            }
        }
        begin = i + 1;
    }
    return false;
}

FileKind reader_recognize(const char *path, const char *head, size_t n, const char *const *known) {
    size_t i = 0, next;
    while (i < n && reader_is_blank(head[i])) {
        i++;
    }
    for (next = i + 1; next < n && reader_is_blank(head[next]);) {
        next++;
    }
    if (next < n && head[i] == '{' && (head[next] == '"' || head[next] == '}')) {
        return FILE_KIND_JSON_LINES;
    }
    if (next < n && head[i] == '[' && (head[next] == '{' || head[next] == ']')) {
        return FILE_KIND_JSON_ARRAY;
    }
    if (has_extension(path, ".jsonl") || has_extension(path, ".json")) {
        return n > 0 && head[i] == '[' ? FILE_KIND_JSON_ARRAY : FILE_KIND_JSON_LINES;
    }
    if (has_extension(path, ".txt")) {
        return FILE_KIND_TEXT;
    }
    size_t line = 0;
    bool tab = false, comma = false;
    for (; line < n && head[line] != '\n' && head[line] != '\r'; line++) {
        tab = tab || head[line] == '\t';
        comma = comma || head[line] == ',';
    }
    bool tabs = tab && !comma;
    if (has_extension(path, ".tsv") || (has_extension(path, ".csv") && tabs)) {
        return FILE_KIND_TSV;
    }
    if (has_extension(path, ".csv")) {
        return FILE_KIND_CSV;
    }
    if (known != NULL && names_column(head, line, tabs ? '\t' : ',', known)) {
        return tabs ? FILE_KIND_TSV : FILE_KIND_CSV;
    }
    return FILE_KIND_TEXT;
}
