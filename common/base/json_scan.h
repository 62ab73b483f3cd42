/* SPDX-License-Identifier: MIT
 *
 * The validating scan behind json.h: internal to common/base.
 *
 * It walks the text once and refuses what json.h says; cJSON then parses text that is known to be
 * good. Memory: the keys of the objects that are open, and one entry for each number that is not
 * spelled as a plain integer.
 */
#ifndef RLHF_BASE_JSON_SCAN_H
#define RLHF_BASE_JSON_SCAN_H

#include <stdint.h>

#include "common/base/json.h"

/* A key of an open object: its unescaped bytes lie in JsonScan.pool. */
typedef struct JsonKey {
    uint64_t hash;
    size_t pool_at, size; /* bytes in the pool */
    size_t at;            /* offset in the text */
    const char *pool;     /* set while the keys are compared */
} JsonKey;

/* A number whose spelling a writer could not know from its value: "1.0", "1e30". */
typedef struct JsonSpelling {
    size_t index; /* among the numbers of the text, from 0 */
    size_t at, size;
} JsonSpelling;

typedef struct JsonScan {
    const char *text;
    size_t size, at;
    size_t depth, nodes, numbers;
    const JsonLimits *limits;
    const char *path;
    long first_line;
    char *blank; /* a copy of text in which comments and trailing commas become blanks, or NULL */
    Str pool;
    JsonKey *key; /* owned */
    size_t keys, key_capacity;
    JsonSpelling *spelling; /* owned */
    size_t spellings, spelling_capacity;
    Error *err;
} JsonScan;

/* The whole text must be one value. On success the spellings are kept for json_parse. */
bool json_scan_document(JsonScan *scan);
/* Steps over blanks (and comments where allowed), over a string, over a value. */
bool json_scan_blanks(JsonScan *scan);
bool json_scan_value(JsonScan *scan);
/* Steps over the string at scan->at; its unescaped bytes are appended to *out, if it is not
 * NULL. */
bool json_scan_string(JsonScan *scan, Str *out);
void json_scan_done(JsonScan *scan);

/* Line and column of an offset. */
void json_position(const char *text, size_t at, long first_line, long *line, long *column);

#endif
