/* SPDX-License-Identifier: MIT
 *
 * JSON as Python's json.dumps writes it, and values of JSON.
 */
#ifndef RLHF_JINJA_TOJSON_H
#define RLHF_JINJA_TOJSON_H

#include "common/jinja/value.h"

typedef struct JsonStyle {
    const Text *indent;       /* of one level; NULL: all in one line */
    const Text *item, *colon; /* between items, behind keys */
    bool ascii, sorted;
} JsonStyle;
bool value_json(Machine *machine, Value value, const JsonStyle *style, size_t level, Builder *out);

/* The value of a JSON tree; objects keep their order, texts are literal. */
bool value_from_json(Machine *machine, const cJSON *item, Value *out);

#endif
