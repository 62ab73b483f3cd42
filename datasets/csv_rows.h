/* SPDX-License-Identifier: MIT
 *
 * Csv: rows of RFC 4180 text in memory, by libcsv in strict mode, with the places of rows and fields.
 */
#ifndef RLHF_DATASETS_CSV_ROWS_H
#define RLHF_DATASETS_CSV_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/str.h"

typedef struct Csv {
    const char *path, *data; /* borrowed */
    size_t size;
    void *parser;     /* libcsv's */
    size_t at;        /* bytes fed so far */
    size_t row_start; /* offset of the current row */
    size_t row_end;
    long row_line;  /* line of the current row, from 1 */
    size_t counted; /* offset up to which row_line has counted */
    Str bytes;      /* the row's fields, one NUL after each */
    size_t *offset; /* [fields] of each in bytes */
    size_t fields, capacity;
    char delimiter;
    bool row_done, failed, ended;
} Csv;

/* Rows of data[0..size), valid UTF-8 without NUL. A field may have READER_LINE_LIMIT bytes. */
bool csv_open(Csv *csv, const char *path, const char *data, size_t size, char delimiter,
              Error *err);
void csv_close(Csv *csv);

/* *got = false at the end. Blank lines are no rows. A failure is final. */
bool csv_next(Csv *csv, bool *got, Error *err);

const char *csv_field(const Csv *csv, size_t i); /* borrowed until the next row */

/* Line and column (from 1, in bytes) of field i of the current row. */
void csv_field_place(const Csv *csv, size_t i, long *line, long *column);

/* Line and column of an offset, where `line` is that of `from`, the beginning of a line. */
void text_place(const char *data, size_t from, size_t offset, long *line, long *column);

#endif
