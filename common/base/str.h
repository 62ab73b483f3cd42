/* SPDX-License-Identifier: MIT
 *
 * Str: a growing byte string, always NUL-terminated (NUL bytes inside are allowed).
 *
 * A failed allocation makes it sticky-failed: further appends do nothing, and the one str_ok at the
 * end reports it. So text can be built without a test on every line.
 */
#ifndef RLHF_BASE_STR_H
#define RLHF_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

/* Initialize with {0}: data is NULL until the first append; str_text gives "" then. */
typedef struct Str {
    char *data; /* owned */
    size_t size, capacity;
    bool failed;
} Str;

void str_done(Str *str);
void str_clear(Str *str); /* empties, keeps the memory */
void str_append(Str *str, const char *text);
void str_append_bytes(Str *str, const void *bytes, size_t n);
void str_append_char(Str *str, char c);
void str_appendf(Str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vappendf(Str *str, const char *format, va_list arguments);

const char *str_text(const Str *str); /* borrowed, never NULL */

/* True unless an append ran out of memory; then *err says so. */
bool str_ok(const Str *str, Error *err);

/* Gives the bytes to the caller (release with free) and empties *str; NULL and *err when it failed. */
char *str_take(Str *str, Error *err);

/* The first of the places in n bytes where `size` bytes of `part` stand, or NULL. It looks no farther than
 * a few thousand bytes beyond what it finds: memmem under a sanitizer checks all that is left at each
 * call, which makes a walk over the finds quadratic. */
const char *str_find(const char *text, size_t n, const char *part, size_t size);

bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);

/* Edit distance with early end: the smallest of it and limit + 1. For "did you mean". */
int str_distance(const char *a, const char *b, int limit);

#endif
