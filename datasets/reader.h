/* SPDX-License-Identifier: MIT
 *
 * Reader: a file to rows. Whatever the file is (CSV, TSV, JSON lines, one JSON array, plain text; each
 * plain or gzip), a row is one JSON object: a CSV row's fields are strings under the header's names, a
 * text file is one object {"text": ...}. What the fields mean is the business of form.h.
 */
#ifndef RLHF_DATASETS_READER_H
#define RLHF_DATASETS_READER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum {
    READER_LINE_LIMIT = 16 << 20,      /* bytes of a JSON line or a CSV field */
    READER_DOCUMENT_LIMIT = 256 << 20, /* bytes of a JSON array */
};
#define READER_FILE_LIMIT ((size_t)4 << 30) /* bytes of a CSV or text file, unpacked */

typedef enum FileKind {
    FILE_KIND_CSV,
    FILE_KIND_TSV,
    FILE_KIND_JSON_LINES,
    FILE_KIND_JSON_ARRAY,
    FILE_KIND_TEXT,
} FileKind;

typedef struct Reader Reader;

typedef struct Row {
    const cJSON *object; /* borrowed until the next row is read */
    const char *file;    /* borrowed from the reader */
    long line, column;   /* where the row starts */
    const char *text;    /* its bytes in the file, borrowed likewise */
    size_t size;
    const Reader *reader;
} Row;

/* Opens a file and recognizes its kind by its content; the extension (.csv, .tsv, .txt) decides only what
 * content leaves open. known: NULL-terminated names of columns; a file without extension whose first line
 * names one of them is CSV or TSV. NULL and *err on failure. */
Reader *reader_open(const char *path, const char *const *known, Error *err);
void reader_close(Reader *reader);

FileKind reader_kind(const Reader *reader);
const char *reader_kind_name(FileKind kind); /* "CSV", "JSON lines", ... */

/* *got = false at the end. After a failure reader_can_continue says whether the next row can be read
 * (a bad JSON line, a CSV row with too many fields) or the place is lost (a stray quote). */
bool reader_next(Reader *reader, Row *row, bool *got, Error *err);
bool reader_can_continue(const Reader *reader);

/* ERROR_DATA at a field of the row ("messages[2].role"; NULL: the row itself); returns false. */
bool row_error(const Row *row, const char *field, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The kind of a file by its path and first bytes; known may be NULL. */
FileKind reader_recognize(const char *path, const char *head, size_t n, const char *const *known);
bool reader_is_blank(char c); /* blank, tab, line feed, carriage return */

#endif
