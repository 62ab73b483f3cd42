/* SPDX-License-Identifier: MIT
 *
 * Source: a row looked at through the names its fields may have: the names of the options, else the
 * usual ones.
 */
#ifndef RLHF_DATASETS_SOURCE_H
#define RLHF_DATASETS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "datasets/dataset.h"
#include "datasets/reader.h"

typedef enum FieldId {
    FIELD_PROMPT,
    FIELD_COMPLETION,
    FIELD_CHOSEN,
    FIELD_REJECTED,
    FIELD_COMPLETIONS,
    FIELD_RANKS,
    FIELD_RANKING,
    FIELD_SCORES,
    FIELD_MESSAGES,
    FIELD_TEXT,
    FIELD_LABEL,
    FIELD_MARGIN,
    FIELD_ANNOTATOR,
    FIELDS,
} FieldId;

typedef struct Source {
    const Row *row;
    const DataOptions *options;
} Source;

/* The field's value and (name may be NULL) the name it goes by; NULL if the row has none. A JSON null is
 * no value. */
const cJSON *source_field(const Source *source, FieldId id, const char **name);
bool source_has(const Source *source, FieldId id);

/* A field by its own name, null being absent. */
const cJSON *source_member(const Source *source, const char *name);

/* The name to ask for in messages: the mapped one or the first of the usual ones. */
const char *source_name(const Source *source, FieldId id);

/* NULL-terminated list of every name a field may have (for the recognition of CSV); release with free.
 * The strings are borrowed from the options. */
const char **source_known_names(const DataOptions *options, Error *err);

/* The name the options give to a field, or NULL. */
const char *source_mapped(const DataOptions *options, FieldId id);

/* A number from a JSON number or, in CSV, from text; an error names the field otherwise. */
bool source_number(const Source *source, const cJSON *item, const char *path, double *out,
                   Error *err);

#endif
