/* SPDX-License-Identifier: MIT */
#include "datasets/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "datasets/csv_rows.h"

enum { PEEK = 64 << 10 };

struct Reader {
    char *path; /* owned */
    FileKind kind;
    LineReader lines; /* JSON lines */
    bool lines_open;
    Str data;             /* the file, of every other kind */
    size_t at;            /* JSON array: offset behind the last element; text: 1 when read */
    long at_line;         /* line of `at` */
    size_t at_line_begin; /* offset where that line begins */
    bool inside;          /* an element of the array was read */
    Csv csv;
    char **header; /* [headers] CSV column names, owned */
    size_t headers;
    cJSON *object; /* the current row, owned */
    bool lost;     /* after a failure that cannot be skipped */
};

const char *reader_kind_name(FileKind kind) {
    static const char *const name[] = {"CSV", "TSV", "JSON lines", "JSON array", "plain text"};
    return name[kind];
}

FileKind reader_kind(const Reader *reader) {
    return reader->kind;
}

bool reader_can_continue(const Reader *reader) {
    return !reader->lost;
}

static bool skip_mark(const char *data, size_t n) {
    return n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0;
}

static bool peek_kind(Reader *reader, const char *const *known, Error *err) {
    char *head = mem_alloc(PEEK, 1, err);
    if (head == NULL) {
        return false;
    }
    gzFile file = gzopen(reader->path, "rb");
    int n = file == NULL ? 0 : gzread(file, head, PEEK);
    n = n < 0 ? 0 : n; /* damaged: the reading itself says how */
    size_t mark = skip_mark(head, (size_t)n) ? 3 : 0;
    reader->kind = reader_recognize(reader->path, head + mark, (size_t)n - mark, known);
    if (file != NULL) {
        gzclose(file);
    }
    free(head);
    return true;
}

/* Whole files: no NUL, valid UTF-8, no byte-order mark. */
static bool check_text(Reader *reader, Error *err) {
    Str *data = &reader->data;
    if (skip_mark(str_text(data), data->size)) {
        memmove(data->data, data->data + 3, data->size - 3 + 1);
        data->size -= 3;
    }
    const char *text = str_text(data);
    const char *nul = memchr(text, '\0', data->size);
    size_t bad = utf8_invalid_at(text, data->size);
    if (nul != NULL && (size_t)(nul - text) <= bad) {
        bad = (size_t)(nul - text);
    }
    if (bad == data->size) {
        return true;
    }
    long line = 1, column;
    text_place(text, 0, bad, &line, &column);
    if (text[bad] == '\0') {
        return error_at(err, ERROR_DATA, reader->path, line, column,
                        "a NUL byte; expected text in UTF-8");
    }
    return error_at(
        err, ERROR_DATA, reader->path, line, column,
        "byte 0x%02x is not valid UTF-8; expected text in UTF-8 (convert the file first)",
        (unsigned char)text[bad]);
}

static bool read_header(Reader *reader, Error *err) {
    bool got;
    Csv *csv = &reader->csv;
    if (!csv_next(csv, &got, err)) {
        return false;
    }
    if (!got) {
        return error_at(err, ERROR_DATA, reader->path, 0, 0,
                        "the file is empty; expected a header line and records");
    }
    reader->header = mem_alloc(csv->fields, sizeof *reader->header, err);
    if (reader->header == NULL) {
        return false;
    }
    for (size_t i = 0; i < csv->fields; i++) {
        const char *name = csv_field(csv, i);
        long line, column;
        csv_field_place(csv, i, &line, &column);
        if (name[0] == '\0') {
            return error_at(err, ERROR_DATA, reader->path, line, column,
                            "an empty column name in the header; expected names of columns");
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(reader->header[j], name) == 0) {
                return error_at(err, ERROR_DATA, reader->path, line, column,
                                "column \"%s\" stands twice in the header; expected each once",
                                name);
            }
        }
        reader->header[i] = mem_strdup(name, err);
        if (reader->header[i] == NULL) {
            return false;
        }
        reader->headers = i + 1;
    }
    return true;
}

static bool skip_to_array(Reader *reader, Error *err);

static bool open_data(Reader *reader, Error *err) {
    if (reader->kind == FILE_KIND_JSON_LINES) {
        reader->lines_open = line_reader_open(&reader->lines, reader->path, READER_LINE_LIMIT, err);
        return reader->lines_open;
    }
    bool array = reader->kind == FILE_KIND_JSON_ARRAY;
    size_t limit = array ? READER_DOCUMENT_LIMIT : READER_FILE_LIMIT;
    if (!file_read(reader->path, limit, &reader->data, err) || !check_text(reader, err)) {
        return false;
    }
    if (array) {
        return skip_to_array(reader, err);
    }
    if (reader->kind == FILE_KIND_TEXT) {
        return true;
    }
    return csv_open(&reader->csv, reader->path, str_text(&reader->data), reader->data.size,
                    reader->kind == FILE_KIND_TSV ? '\t' : ',', err) &&
           read_header(reader, err);
}

Reader *reader_open(const char *path, const char *const *known, Error *err) {
    LineReader probe;
    if (!line_reader_open(&probe, path, READER_LINE_LIMIT, err)) {
        return NULL; /* absent, a folder, a FIFO */
    }
    line_reader_close(&probe);
    Reader *reader = mem_alloc(1, sizeof *reader, err);
    if (reader == NULL) {
        return NULL;
    }
    reader->at_line = 1;
    reader->path = mem_strdup(path, err);
    if (reader->path == NULL || !peek_kind(reader, known, err) || !open_data(reader, err)) {
        reader_close(reader);
        return NULL;
    }
    return reader;
}

void reader_close(Reader *reader) {
    if (reader == NULL) {
        return;
    }
    if (reader->lines_open) {
        line_reader_close(&reader->lines);
    }
    if (reader->csv.parser != NULL) {
        csv_close(&reader->csv);
    }
    for (size_t i = 0; i < reader->headers; i++) {
        free(reader->header[i]);
    }
    free(reader->header);
    cJSON_Delete(reader->object);
    str_done(&reader->data);
    free(reader->path);
    free(reader);
}

static bool is_object(Reader *reader, const Row *row, Error *err) {
    if (cJSON_IsObject(reader->object)) {
        return true;
    }
    char found[128];
    return row_error(row, NULL, err, "%s; expected an object with the record's fields",
                     json_describe(reader->object, found, sizeof found));
}

static bool next_line(Reader *reader, Row *row, bool *got, Error *err) {
    bool more;
    size_t skip;
    do {
        if (!line_reader_next(&reader->lines, &more, err)) {
            reader->lost = true;
            return false;
        }
        if (!more) {
            return true;
        }
        const char *text = str_text(&reader->lines.line);
        for (skip = 0; skip < reader->lines.line.size && reader_is_blank(text[skip]);) {
            skip++;
        }
    } while (skip == reader->lines.line.size);
    row->line = reader->lines.number;
    row->column = (long)skip + 1;
    row->text = str_text(&reader->lines.line);
    row->size = reader->lines.line.size;
    reader->object =
        json_parse(row->text, row->size, reader->path, row->line, &json_limits_line, err);
    *got = reader->object != NULL && is_object(reader, row, err);
    return *got;
}

/* Moves `at` over blanks, keeping its line. */
static void skip_blanks(Reader *reader) {
    const char *text = str_text(&reader->data);
    while (reader->at < reader->data.size && reader_is_blank(text[reader->at])) {
        if (text[reader->at++] == '\n') {
            reader->at_line++;
            reader->at_line_begin = reader->at;
        }
    }
}

static bool array_error(Reader *reader, const char *expected, Error *err) {
    reader->lost = true;
    char found[32] = "the end of the file";
    if (reader->at < reader->data.size) {
        unsigned char byte = (unsigned char)reader->data.data[reader->at];
        snprintf(found, sizeof found, byte > ' ' && byte < 0x7f ? "'%c'" : "byte 0x%02x", byte);
    }
    return error_at(err, ERROR_DATA, reader->path, reader->at_line,
                    (long)(reader->at - reader->at_line_begin) + 1, "%s; expected %s", found,
                    expected);
}

static bool skip_to_array(Reader *reader, Error *err) {
    skip_blanks(reader);
    if (reader->at >= reader->data.size || reader->data.data[reader->at] != '[') {
        return array_error(reader, "'[' and an array of records", err);
    }
    reader->at++;
    return true;
}

/* Offset behind the element that begins at `at`; its inside is checked by json_parse. */
static size_t element_end(const char *text, size_t at, size_t n) {
    size_t depth = 0;
    bool quoted = false;
    for (; at < n; at++) {
        char c = text[at];
        if (quoted) {
            at += c == '\\' && at + 1 < n;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                return at;
            }
            if (--depth == 0) {
                return at + 1;
            }
        } else if (c == ',' && depth == 0) {
            return at;
        }
    }
    return n;
}

static bool end_of_array(Reader *reader, Error *err) {
    reader->at++;
    skip_blanks(reader);
    if (reader->at < reader->data.size) {
        return array_error(reader, "the end of the file after the array", err);
    }
    reader->lost = true; /* nothing is left to read */
    return true;
}

static bool next_element(Reader *reader, Row *row, bool *got, Error *err) {
    const char *text = str_text(&reader->data);
    size_t n = reader->data.size;
    if (reader->lost) {
        return true;
    }
    skip_blanks(reader);
    if (reader->at < n && text[reader->at] == ']') {
        return end_of_array(reader, err);
    }
    if (reader->inside) {
        if (reader->at >= n || text[reader->at] != ',') {
            return array_error(reader, "',' or ']' after a record of the array", err);
        }
        reader->at++;
        skip_blanks(reader);
    }
    if (reader->at >= n || text[reader->at] == ',' || text[reader->at] == ']') {
        return array_error(reader, "a record of the array", err);
    }
    size_t end = element_end(text, reader->at, n);
    long before = (long)(reader->at - reader->at_line_begin);
    row->line = reader->at_line;
    row->column = before + 1;
    row->text = text + reader->at;
    row->size = end - reader->at;
    reader->inside = true;
    for (; reader->at < end; reader->at++) {
        if (text[reader->at] == '\n') {
            reader->at_line++;
            reader->at_line_begin = reader->at + 1;
        }
    }
    Error inner = {0};
    reader->object =
        json_parse(row->text, row->size, reader->path, row->line, &json_limits_line, &inner);
    if (reader->object == NULL) {
        long column = inner.column + (inner.line == row->line ? before : 0);
        reader->lost = true; /* where a broken element ends is a guess */
        return error_at(err, inner.code, reader->path, inner.line, column, "%s", inner.text);
    }
    *got = is_object(reader, row, err);
    return *got;
}

static bool next_csv(Reader *reader, Row *row, bool *got, Error *err) {
    Csv *csv = &reader->csv;
    bool more;
    if (!csv_next(csv, &more, err)) {
        reader->lost = true;
        return false;
    }
    if (!more) {
        return true;
    }
    row->line = csv->row_line;
    row->column = 1;
    row->text = csv->data + csv->row_start;
    row->size = csv->row_end - csv->row_start;
    if (csv->fields != reader->headers) {
        return error_at(err, ERROR_DATA, reader->path, row->line, 1,
                        "a record of %zu fields; expected %zu as in the header", csv->fields,
                        reader->headers);
    }
    reader->object = cJSON_CreateObject();
    for (size_t i = 0; i < csv->fields; i++) {
        cJSON *value = cJSON_CreateString(csv_field(csv, i));
        if (value == NULL || !cJSON_AddItemToObject(reader->object, reader->header[i], value)) {
            cJSON_Delete(value);
            return error_set(err, ERROR_OS, "out of memory for a CSV record");
        }
    }
    *got = true;
    return true;
}

static bool next_text(Reader *reader, Row *row, bool *got, Error *err) {
    if (reader->at > 0 || reader->data.size == 0) {
        return true;
    }
    reader->at = 1;
    row->line = 1;
    row->column = 1;
    row->text = str_text(&reader->data);
    row->size = reader->data.size;
    reader->object = cJSON_CreateObject();
    if (cJSON_AddStringToObject(reader->object, "text", row->text) == NULL) {
        return error_set(err, ERROR_OS, "out of memory for a text of %zu bytes", row->size);
    }
    *got = true;
    return true;
}

bool reader_next(Reader *reader, Row *row, bool *got, Error *err) {
    *got = false;
    *row = (Row){.file = reader->path, .reader = reader};
    cJSON_Delete(reader->object);
    reader->object = NULL;
    bool ok = false;
    switch (reader->kind) {
    case FILE_KIND_JSON_LINES:
        ok = next_line(reader, row, got, err);
        break;
    case FILE_KIND_JSON_ARRAY:
        ok = next_element(reader, row, got, err);
        break;
    case FILE_KIND_TEXT:
        ok = next_text(reader, row, got, err);
        break;
    case FILE_KIND_CSV:
    case FILE_KIND_TSV:
        ok = next_csv(reader, row, got, err);
        break;
    }
    row->object = reader->object;
    return ok;
}

static void locate(const Row *row, const char *field, long *line, long *column) {
    const Reader *reader = row->reader;
    *line = row->line;
    *column = row->column;
    if (field == NULL || reader->kind == FILE_KIND_TEXT) {
        return;
    }
    if (reader->kind == FILE_KIND_CSV || reader->kind == FILE_KIND_TSV) {
        for (size_t i = 0; i < reader->headers; i++) {
            if (strcmp(reader->header[i], field) == 0) {
                csv_field_place(&reader->csv, i, line, column);
            }
        }
        return;
    }
    long at_line = 0, at_column = 0;
    json_locate(row->text, row->size, field, false, &at_line, &at_column);
    if (at_line > 0) {
        long before = at_line == 1 && reader->kind == FILE_KIND_JSON_ARRAY ? row->column - 1 : 0;
        *line = row->line + at_line - 1;
        *column = at_column + before;
    }
}

bool row_error(const Row *row, const char *field, Error *err, const char *format, ...) {
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    long line, column;
    locate(row, field, &line, &column);
    return error_at(err, ERROR_DATA, row->file, line, column, "%s", text);
}
