/* SPDX-License-Identifier: MIT
 *
 * Jinja: the part of the template language that chat templates use, as transformers renders it
 * (Jinja2 3.1, ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls,
 * {% generation %}). docs/templates.md lists it.
 *
 * Total: a template reads what it is given and nothing else, and a render ends within the limits
 * below. What a template says that is not in the subset is refused by name with line and column:
 * tags when the template is read; filters, tests and names like them when a render reaches them, as
 * Jinja2 itself does. A render that ends well gives Jinja2's text, byte for byte.
 *
 * Every byte of the result knows where it comes from: a literal of the template (or of a variable),
 * or the content of a message. Trimming, slicing, joining, replacing and all other functions keep
 * that.
 */
#ifndef RLHF_JINJA_JINJA_H
#define RLHF_JINJA_JINJA_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
    JINJA_TEMPLATE_MAX = 1 << 20, /* bytes of a template */
    JINJA_STEPS_MAX = 1000000,    /* of a render: nodes evaluated, items and kilobytes handled */
    JINJA_NESTING_MAX = 64,       /* of blocks, of expressions, of values, of macro calls */
    JINJA_TEXT_MAX = 16 << 20,    /* bytes of the result, and of any string on the way */
    JINJA_MEMORY_MAX = 256 << 20, /* bytes of all that a render makes */
};

typedef struct Jinja Jinja;

/* Parses n bytes. name (a file, may be NULL) serves messages. NULL and ERROR_DATA with line and
 * column on failure. Immutable afterwards: threads may share it. */
Jinja *jinja_parse(const char *text, size_t n, const char *name, Error *err);
void jinja_free(Jinja *jinja);

/* The source as it was given; borrowed. */
const char *jinja_source(const Jinja *jinja, size_t *n);
/* Whether the template marks what the assistant says with {% generation %}. */
bool jinja_has_generation(const Jinja *jinja);
/* The first thing in the source that a render would refuse by name if it came by: ERROR_DATA with
 * line and column, and false; true if there is none. */
bool jinja_check(const Jinja *jinja, Error *err);

typedef struct JinjaMessage {
    const char *role, *content; /* borrowed */
    size_t content_size;
} JinjaMessage;

typedef struct JinjaContext {
    const cJSON *variables;      /* an object, or NULL; all of it is literal */
    const JinjaMessage *message; /* the variable "messages", unless NULL */
    size_t messages;
    bool add_generation_prompt;
    const char *date; /* YYYY-MM-DD: strftime_now gives it at 00:00:00; NULL: there is no
                         strftime_now, for a render must not depend on the day unasked */
} JinjaContext;

/* A stretch of the result. */
typedef struct JinjaSpan {
    size_t end;     /* where it ends; it begins where the one before it ends */
    int32_t source; /* index of the message whose content it is; -1: literal */
    bool generated; /* within {% generation %} */
} JinjaSpan;

typedef struct JinjaText {
    char *text; /* owned, NUL-terminated */
    size_t size;
    JinjaSpan *span; /* owned; neighbors differ, the last one ends at size */
    size_t spans;
} JinjaText;
void jinja_text_done(JinjaText *text);

/* Renders. Whatever ends it is ERROR_DATA with line and column: an error as Jinja2 has it,
 * raise_exception with the template's own words, a limit, something outside of the subset. */
bool jinja_render(const Jinja *jinja, const JinjaContext *context, JinjaText *out, Error *err);

#endif
