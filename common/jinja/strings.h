/* SPDX-License-Identifier: MIT
 *
 * Functions of texts as Python's str has them, provenance kept.
 */
#ifndef RLHF_JINJA_STRINGS_H
#define RLHF_JINJA_STRINGS_H

#include "common/jinja/value.h"

bool code_is_space(uint32_t code); /* str.isspace */
/* Bytes of white space (or of the code points in `chars`, unless NULL) at the beginning of
 * [begin, end), and at its end. */
size_t space_before(const char *text, size_t n, const Text *chars);
size_t space_after(const char *text, size_t n, const Text *chars);
const Text *text_strip(Machine *machine, const Text *text, const Text *chars, bool left,
                       bool right);

typedef enum TextCase { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_WORDS } TextCase;
/* TITLE as str.title, WORDS as the filter title. Characters whose other case is more than one
 * character, or depends on its neighbors, are refused. */
const Text *text_case(Machine *machine, const Text *text, TextCase how);
/* count < 0: all. */
const Text *text_replace(Machine *machine, const Text *text, const Text *old, const Text *by,
                         int64_t count);
/* separator NULL: runs of white space. limit < 0: none. */
bool text_split(Machine *machine, const Text *text, const Text *separator, int64_t limit,
                bool from_right, Value *out);
bool text_lines(Machine *machine, const Text *text, bool keep, List **out);
const Text *text_join(Machine *machine, const Text *separator, const List *list, bool texts_only);
const Text *text_indent(Machine *machine, const Text *text, const Text *indent, bool first,
                        bool blank);
const Text *text_escape(Machine *machine, const Text *text);
/* What is joined to a text that is marked |safe is escaped, unless it is marked so itself. */
const Text *text_beside(Machine *machine, const Text *text, bool safe);
const Text *text_repeat(Machine *machine, const Text *text, int64_t times);
/* "%s and %d" % value; values: a tuple's or the one value. */
const Text *text_percent(Machine *machine, const Text *text, const Value *value, size_t values);

#endif
