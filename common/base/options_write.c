/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "common/base/options_rows.h"

void option_put_value(const Option *option, const void *config, Str *out) {
    const void *slot = (const char *)config + option->offset;
    switch (option->type) {
    case OPTION_BOOL:
        str_append(out, *(const bool *)slot ? "true" : "false");
        break;
    case OPTION_INT:
        str_appendf(out, "%" PRId64, *(const int64_t *)slot);
        break;
    case OPTION_FLOAT:
        json_put_double(out, *(const double *)slot);
        break;
    case OPTION_STRING: {
        const char *text = *(char *const *)slot;
        if (text == NULL) {
            str_append(out, "null");
        } else {
            json_put_string(out, text, strlen(text));
        }
        break;
    }
    case OPTION_CHOICE: {
        const char *name = option->choices[*(const int *)slot];
        json_put_string(out, name, strlen(name));
        break;
    }
    case OPTION_STRINGS: {
        const StringList *list = slot;
        str_append_char(out, '[');
        for (size_t i = 0; i < list->count; i++) {
            str_append(out, i == 0 ? "" : ", ");
            json_put_string(out, list->item[i], strlen(list->item[i]));
        }
        str_append_char(out, ']');
        break;
    }
    case OPTION_JSON: {
        const cJSON *tree = *(cJSON *const *)slot;
        if (tree == NULL) {
            str_append(out, "null");
        } else {
            json_put_tree(out, tree, false);
        }
        break;
    }
    }
}

/* A file name may hold a line break; a comment may not. */
static void put_comment(Str *out, const char *origin) {
    str_append(out, " // ");
    for (const char *p = origin; *p != '\0'; p++) {
        str_append_char(out, (unsigned char)*p < 0x20 ? '?' : *p);
    }
}

typedef struct Writer {
    const OptionRows *rows;
    const void *config;
    const OptionOrigins *origins;
    Str *out;
} Writer;

/* Whether row i is the first below `prefix` whose next part is the same as its own. */
static bool is_first(const OptionRows *rows, size_t i, const char *prefix, size_t length) {
    for (size_t j = 0; j < i; j++) {
        const char *other = rows->row[j].path;
        if (strncmp(other, prefix, length) == 0 &&
            (other[length] == '.' || other[length] == '\0')) {
            return false;
        }
    }
    return true;
}

/* All rows whose paths begin with the first `length` bytes of `prefix` (a whole number of parts).
 */
static void put_section(const Writer *writer, const char *prefix, size_t length, int depth) {
    Str *out = writer->out;
    const char *pending = NULL; /* the comment of the row before: it comes behind the comma */
    bool first = true;
    str_append_char(out, '{');
    for (size_t i = 0; i < writer->rows->count; i++) {
        const Option *option = &writer->rows->row[i];
        if (strncmp(option->path, prefix, length) != 0) {
            continue;
        }
        const char *part = option->path + length;
        size_t size = strcspn(part, ".");
        if (!is_first(writer->rows, i, option->path, length + size)) {
            continue;
        }
        str_append(out, first ? "" : ",");
        if (pending != NULL) {
            put_comment(out, pending);
        }
        first = false;
        pending = NULL;
        str_appendf(out, "\n%*s\"%.*s\": ", 2 * depth + 2, "", (int)size, part);
        if (part[size] == '.') {
            put_section(writer, option->path, length + size + 1, depth + 1);
        } else {
            option_put_value(option, writer->config, out);
            pending = options_origin(writer->origins, option->path);
        }
    }
    if (pending != NULL) {
        put_comment(out, pending);
    }
    str_appendf(out, "\n%*s}", 2 * depth, "");
}

bool options_write(const OptionProgram *program, const void *config, const OptionOrigins *origins,
                   Str *out, Error *err) {
    OptionRows rows;
    if (!option_rows_init(&rows, program, err)) {
        return false;
    }
    Writer writer = {&rows, config, origins, out};
    put_section(&writer, "", 0, 0);
    str_append_char(out, '\n');
    option_rows_done(&rows);
    return str_ok(out, err);
}
