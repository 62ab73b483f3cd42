/* SPDX-License-Identifier: MIT */
#include "datasets/source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"

typedef struct Field {
    size_t offset;        /* of the mapped name in DataColumns */
    const char *usual[6]; /* NULL-terminated, the first one is asked for in messages */
} Field;

#define MAPPED(name) offsetof(DataColumns, name)

static const Field field_table[FIELDS] = {
    [FIELD_PROMPT] = {MAPPED(prompt),      {"prompt", "query", "question", "context"}    },
    [FIELD_COMPLETION] = {MAPPED(completion),  {"completion", "response", "answer", "output"}},
    [FIELD_CHOSEN] = {MAPPED(chosen),      {"chosen"}                                    },
    [FIELD_REJECTED] = {MAPPED(rejected),    {"rejected"}                                  },
    [FIELD_COMPLETIONS] = {MAPPED(completions),
                      {"completions", "responses", "answers", "summaries"}               },
    [FIELD_RANKS] = {MAPPED(ranks),       {"ranks", "rank"}                             },
    [FIELD_RANKING] = {MAPPED(ranking),     {"ranking"}                                   },
    [FIELD_SCORES] = {MAPPED(scores),      {"scores"}                                    },
    [FIELD_MESSAGES] = {MAPPED(messages),    {"messages"}                                  },
    [FIELD_TEXT] = {MAPPED(text),        {"text"}                                      },
    [FIELD_LABEL] = {MAPPED(label),       {"label", "score"}                            },
    [FIELD_MARGIN] = {MAPPED(margin),      {"margin"}                                    },
    [FIELD_ANNOTATOR] = {MAPPED(annotator),   {"annotator", "worker"}                       },
};

/* Names that belong to one form only but tell a CSV file from a text. */
static const char *const other_names[] = {"instruction", "conversations", "response_0",
                                          "completion_0", NULL};

const char *source_mapped(const DataOptions *options, FieldId id) {
    const char *base = (const char *)&options->columns;
    char *const *name = (char *const *)(const void *)(base + field_table[id].offset);
    return *name != NULL && (*name)[0] != '\0' ? *name : NULL;
}

const char *source_name(const Source *source, FieldId id) {
    const char *mapped = source_mapped(source->options, id);
    return mapped != NULL ? mapped : field_table[id].usual[0];
}

const cJSON *source_member(const Source *source, const char *name) {
    const cJSON *item = json_member(source->row->object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

const cJSON *source_field(const Source *source, FieldId id, const char **name) {
    const char *mapped = source_mapped(source->options, id);
    const char *found = mapped;
    const cJSON *item = mapped != NULL ? source_member(source, mapped) : NULL;
    for (size_t i = 0; item == NULL && field_table[id].usual[i] != NULL; i++) {
        found = field_table[id].usual[i];
        item = source_member(source, found);
    }
    if (item != NULL && name != NULL) {
        *name = found;
    }
    return item;
}

bool source_has(const Source *source, FieldId id) {
    return source_field(source, id, NULL) != NULL;
}

const char **source_known_names(const DataOptions *options, Error *err) {
    size_t others = sizeof other_names / sizeof *other_names;
    const char **names = mem_alloc(FIELDS * 7 + others, sizeof *names, err);
    if (names == NULL) {
        return NULL;
    }
    size_t n = 0;
    for (FieldId id = 0; id < FIELDS; id++) {
        const char *mapped = source_mapped(options, id);
        if (mapped != NULL) {
            names[n++] = mapped;
        }
        for (size_t i = 0; field_table[id].usual[i] != NULL; i++) {
            names[n++] = field_table[id].usual[i];
        }
    }
    memcpy(names + n, other_names, sizeof other_names);
    return names;
}

bool source_number(const Source *source, const cJSON *item, const char *path, double *out,
                   Error *err) {
    char found[128];
    if (cJSON_IsNumber(item)) {
        *out = item->valuedouble;
    } else if (cJSON_IsBool(item)) {
        *out = cJSON_IsTrue(item);
    } else {
        const char *text = json_string(item);
        FileKind kind = reader_kind(source->row->reader);
        char *end = NULL;
        if (text != NULL && (kind == FILE_KIND_CSV || kind == FILE_KIND_TSV)) {
            *out = strtod(text, &end);
        }
        if (end == NULL || end == text || *end != '\0') {
            return row_error(source->row, path, err, "%s; expected a number in \"%s\"",
                             json_describe(item, found, sizeof found), path);
        }
    }
    if (!isfinite(*out)) {
        return row_error(source->row, path, err, "%s; expected a finite number in \"%s\"",
                         json_describe(item, found, sizeof found), path);
    }
    return true;
}
