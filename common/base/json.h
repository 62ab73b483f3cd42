/* SPDX-License-Identifier: MIT
 *
 * JSON: cJSON behind our own validating scan, and a writer.
 *
 * The scan checks what cJSON does not: UTF-8 (also of escaped surrogates), nesting, number of
 * nodes, duplicate keys, raw control characters, NUL, number syntax and length, bytes after the
 * value. It knows line and column of what it finds. Only text that passes reaches cJSON.
 */
#ifndef RLHF_BASE_JSON_H
#define RLHF_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/str.h"

typedef struct JsonLimits {
    size_t bytes;  /* of the whole text */
    size_t depth;  /* nesting */
    size_t nodes;  /* values and keys */
    bool comments; /* allow slash-slash and slash-star comments, and trailing commas */
} JsonLimits;

extern const JsonLimits json_limits_line; /* 16 MiB, 64, 1 M nodes, no comments: a JSONL record */
extern const JsonLimits json_limits_document; /* 256 MiB, 64, 4 M nodes, no comments */
extern const JsonLimits json_limits_config;   /* 1 MiB, 32, 10 k nodes, comments */

/* Parses n bytes. path and first_line (1-based) only serve error messages. The tree is the
 * caller's: cJSON_Delete. NULL and *err on failure. */
cJSON *json_parse(const char *text, size_t n, const char *path, long first_line,
                  const JsonLimits *limits, Error *err);
cJSON *json_read_file(const char *path, const JsonLimits *limits, Error *err);

/* Where the value (or with key = true the key) of a dotted path such as "a.b[2].c" stands in a text
 * that parsed; line and column are 0 if there is none. For error messages. */
void json_locate(const char *text, size_t n, const char *dotted, bool key, long *line,
                 long *column);

/* Case-sensitive member; NULL if absent or not an object. Linear: walk ->next for big objects. */
const cJSON *json_member(const cJSON *object, const char *name);
/* A whole number in [minimum, maximum] and within 2^53 - 1, so that the double holds what the text
 * said. false if it is anything else. */
bool json_integer(const cJSON *item, int64_t minimum, int64_t maximum, int64_t *out);
/* The string, or NULL if it is none. Escaped NULs were refused by the scan. */
const char *json_string(const cJSON *item);
/* the string "abc", an object, the number 3: for messages. Writes into a caller's buffer, returns
 * it. */
const char *json_describe(const cJSON *item, char *buffer, size_t size);

/* Writers: append to a Str. Numbers come out the shortest way that reads back to the same float or
 * double; NaN and infinities as the strings "NaN", "Infinity", "-Infinity". */
void json_put_string(Str *out, const char *text, size_t n);
void json_put_float(Str *out, float value);
void json_put_double(Str *out, double value);
/* The tree, compact or indented by two spaces, keys in order. A number that json_parse read and
 * nobody changed comes out as it was spelled (8.0 stays 8.0), others as above. */
void json_put_tree(Str *out, const cJSON *tree, bool indented);

/* "key": before a value in an object under construction; puts the comma where one is due. */
void json_put_key(Str *out, const char *key);

#endif
