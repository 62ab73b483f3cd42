/* SPDX-License-Identifier: MIT */
#include "datasets/csv_rows.h"

#include <csv.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "datasets/reader.h"

static void *capped_realloc(void *old, size_t size) {
    return size > (size_t)READER_LINE_LIMIT + 1024 ? NULL : realloc(old, size);
}

/* libcsv would strip leading and trailing blanks of unquoted fields. */
static int no_space(unsigned char c) {
    (void)c;
    return 0;
}

static void on_field(void *text, size_t n, void *context) {
    Csv *csv = context;
    Error ignored = {0};
    if (!mem_reserve(&csv->offset, &csv->capacity, csv->fields + 1, sizeof *csv->offset,
                     &ignored)) {
        csv->failed = true;
        return;
    }
    csv->offset[csv->fields++] = csv->bytes.size;
    str_append_bytes(&csv->bytes, text, n);
    str_append_char(&csv->bytes, '\0');
}

static void on_row(int terminator, void *context) {
    (void)terminator;
    ((Csv *)context)->row_done = true;
}

bool csv_open(Csv *csv, const char *path, const char *data, size_t size, char delimiter,
              Error *err) {
    *csv = (Csv){.path = path, .data = data, .size = size, .delimiter = delimiter, .row_line = 1};
    struct csv_parser *parser = mem_alloc(1, sizeof *parser, err);
    if (parser == NULL) {
        return false;
    }
    if (csv_init(parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0) {
        free(parser);
        return error_set(err, ERROR_OS, "the CSV parser could not be set up: out of memory");
    }
    csv_set_delim(parser, (unsigned char)delimiter);
    csv_set_space_func(parser, no_space);
    csv_set_realloc_func(parser, capped_realloc);
    csv_set_blk_size(parser, 1 << 18);
    csv->parser = parser;
    return true;
}

void csv_close(Csv *csv) {
    if (csv->parser != NULL) {
        csv_free(csv->parser);
        free(csv->parser);
    }
    free(csv->offset);
    str_done(&csv->bytes);
    *csv = (Csv){0};
}

void text_place(const char *data, size_t from, size_t offset, long *line, long *column) {
    size_t begin = from;
    for (size_t i = from; i < offset; i++) {
        bool ends = data[i] == '\n' || (data[i] == '\r' && data[i + 1] != '\n');
        if (ends) {
            (*line)++;
            begin = i + 1;
        }
    }
    *column = (long)(offset - begin) + 1;
}

static bool is_newline(char c) {
    return c == '\n' || c == '\r';
}

static bool parse_error(const Csv *csv, size_t offset, Error *err) {
    int code = csv_error(csv->parser);
    long line = csv->row_line, column = 0;
    text_place(csv->data, csv->row_start, offset, &line, &column);
    if (code == CSV_ENOMEM || code == CSV_ETOOBIG) {
        return error_at(err, ERROR_DATA, csv->path, line, column,
                        "a CSV field is longer than %d MiB (or memory ran out); expected shorter "
                        "fields, or a closing quote before here",
                        READER_LINE_LIMIT >> 20);
    }
    char found = csv->data[offset];
    if (found == '"') {
        return error_at(err, ERROR_DATA, csv->path, line, column,
                        "a quote inside an unquoted CSV field; expected the whole field in quotes "
                        "and the quote doubled (RFC 4180)");
    }
    return error_at(
        err, ERROR_DATA, csv->path, line, column,
        "a byte 0x%02x after the closing quote of a CSV field; expected '%s' or the end "
        "of the line (a quote inside a field is doubled)",
        (unsigned char)found, csv->delimiter == '\t' ? "tab" : ",");
}

/* Offset where field i of the row begins. */
static size_t field_offset(const Csv *csv, size_t i) {
    size_t at = csv->row_start, end = csv->row_end;
    for (bool quoted = false; at < end && i > 0; at++) {
        if (csv->data[at] == '"') {
            quoted = !quoted;
        } else if (!quoted && csv->data[at] == csv->delimiter) {
            i--;
        }
    }
    return at;
}

void csv_field_place(const Csv *csv, size_t i, long *line, long *column) {
    *line = csv->row_line;
    text_place(csv->data, csv->row_start, field_offset(csv, i), line, column);
}

static bool finish(Csv *csv, Error *err) {
    csv->ended = true;
    csv->row_end = csv->size;
    if (csv_fini(csv->parser, on_field, on_row, csv) == 0) {
        return true;
    }
    long line, column;
    csv_field_place(csv, csv->fields, &line, &column);
    return error_at(err, ERROR_DATA, csv->path, line, column,
                    "the file ends inside a quoted CSV field that begins here; expected a closing "
                    "quote");
}

static void begin_row(Csv *csv) {
    text_place(csv->data, csv->counted, csv->at, &csv->row_line, &(long){0});
    csv->counted = csv->at;
    csv->row_start = csv->at;
}

bool csv_next(Csv *csv, bool *got, Error *err) {
    *got = false;
    str_clear(&csv->bytes);
    csv->fields = 0;
    csv->row_done = false;
    bool inside = false;
    while (!csv->row_done && csv->at < csv->size) {
        size_t end = csv->at;
        while (end < csv->size && !is_newline(csv->data[end])) {
            end++;
        }
        end += end < csv->size;
        if (!inside && !is_newline(csv->data[csv->at])) {
            begin_row(csv);
            inside = true;
        }
        size_t used =
            csv_parse(csv->parser, csv->data + csv->at, end - csv->at, on_field, on_row, csv);
        if (used != end - csv->at) {
            return parse_error(csv, csv->at + used, err);
        }
        csv->at = end;
        csv->row_end = end;
    }
    if (!csv->row_done && !csv->ended && !finish(csv, err)) {
        return false;
    }
    if (csv->failed || !str_ok(&csv->bytes, NULL)) {
        return error_set(err, ERROR_OS, "out of memory for a CSV row");
    }
    *got = csv->row_done;
    return true;
}

const char *csv_field(const Csv *csv, size_t i) {
    return csv->bytes.data + csv->offset[i];
}
