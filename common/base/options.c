/* SPDX-License-Identifier: MIT */
#include "common/base/options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/options_rows.h"

static void inherit(Option *row, const Option *before) {
    row->help = row->help == NULL ? before->help : row->help;
    row->unit = row->unit == NULL ? before->unit : row->unit;
    row->choices = row->choices == NULL ? before->choices : row->choices;
    if (row->minimum == 0 && row->maximum == 0) {
        row->minimum = before->minimum;
        row->maximum = before->maximum;
    }
}

bool option_rows_init(OptionRows *rows, const OptionProgram *program, Error *err) {
    size_t total = 0;
    for (size_t t = 0; t < program->tables; t++) {
        total += program->table[t]->count;
    }
    *rows = (OptionRows){.row = mem_alloc(total, sizeof *rows->row, err)};
    if (rows->row == NULL) {
        return false;
    }
    for (size_t t = 0; t < program->tables; t++) {
        for (size_t i = 0; i < program->table[t]->count; i++) {
            Option row = program->table[t]->option[i];
            long at = option_rows_find(rows, row.path);
            if (at < 0) {
                rows->row[rows->count++] = row;
            } else {
                inherit(&row, &rows->row[at]);
                rows->row[at] = row;
            }
        }
    }
    return true;
}

void option_rows_done(OptionRows *rows) {
    free(rows->row);
    *rows = (OptionRows){0};
}

long option_rows_find(const OptionRows *rows, const char *path) {
    for (size_t i = 0; i < rows->count; i++) {
        if (strcmp(rows->row[i].path, path) == 0) {
            return (long)i;
        }
    }
    return -1;
}

bool option_rows_is_section(const OptionRows *rows, const char *path) {
    size_t n = strlen(path);
    for (size_t i = 0; i < rows->count; i++) {
        const char *other = rows->row[i].path;
        if (strncmp(other, path, n) == 0 && other[n] == '.') {
            return true;
        }
    }
    return false;
}

static const char *last_part(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

/* How far a path is from what was written; a wrong or missing section counts little. */
static int resemblance(const char *written, const char *path) {
    int limit = strlen(written) < 6 ? 2 : 3;
    int whole = str_distance(written, path, limit);
    int last = str_distance(last_part(written), last_part(path), limit - 1);
    last = last < limit ? last + (last > 0) : limit + 1;
    return whole < last ? whole : last;
}

void option_rows_suggest(const OptionRows *rows, const char *path, Str *out) {
    const char *best = NULL;
    int nearest = strlen(path) < 6 ? 3 : 4;
    size_t length = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const char *other = rows->row[i].path;
        int distance = resemblance(path, other);
        if (distance < nearest) {
            nearest = distance;
            best = other;
            length = strlen(other);
        }
        for (const char *dot = strchr(other, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
            char section[128];
            snprintf(section, sizeof section, "%.*s", (int)(dot - other), other);
            distance = str_distance(path, section, 2);
            if (distance < 3 && distance < nearest) {
                nearest = distance;
                best = other;
                length = (size_t)(dot - other);
            }
        }
    }
    if (best != NULL) {
        str_appendf(out, "; did you mean \"%.*s\"?", (int)length, best);
    }
}

static void release_strings(StringList *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->item[i]);
    }
    free(list->item);
    *list = (StringList){0};
}

static bool append_string(StringList *list, const char *text) {
    size_t capacity = list->count;
    char *copy = mem_strdup(text, NULL);
    if (copy == NULL ||
        !mem_reserve(&list->item, &capacity, list->count + 1, sizeof *list->item, NULL)) {
        free(copy);
        return false;
    }
    list->item[list->count++] = copy;
    return true;
}

static void put_bound(const Option *option, double bound, Str *out) {
    json_put_double(out, bound);
    if (option->unit != NULL) {
        str_appendf(out, " %s", option->unit);
    }
}

static void put_range(const Option *option, Str *out) {
    bool open = option->maximum >= 1e15;
    if (option->minimum == 0 && option->maximum == 0) {
        if (option->unit != NULL) {
            str_appendf(out, " (%s)", option->unit);
        }
    } else if (option->minimum <= -1e15) {
        str_append(out, " of at most ");
        put_bound(option, option->maximum, out);
    } else {
        str_append(out, open ? " of at least " : " from ");
        if (open) {
            put_bound(option, option->minimum, out);
        } else {
            json_put_double(out, option->minimum);
            str_append(out, " to ");
            put_bound(option, option->maximum, out);
        }
    }
}

void option_expectation(const Option *option, Str *out) {
    switch (option->type) {
    case OPTION_BOOL:
        str_append(out, "true or false");
        break;
    case OPTION_INT:
        str_append(out, "a whole number");
        put_range(option, out);
        break;
    case OPTION_FLOAT:
        str_append(out, "a number");
        put_range(option, out);
        break;
    case OPTION_STRING:
        str_append(out, "a string");
        break;
    case OPTION_STRINGS:
        str_append(out, "a string or a list of strings");
        break;
    case OPTION_CHOICE:
        str_append(out, "one of");
        for (size_t i = 0; option->choices[i] != NULL; i++) {
            str_appendf(out, "%s \"%s\"", i == 0 ? "" : ",", option->choices[i]);
        }
        break;
    case OPTION_JSON:
        str_append(out, "a JSON value");
        break;
    }
}

static bool wrong_value(const Option *option, const cJSON *value, Str *problem) {
    char found[128];
    str_append(problem, "expected ");
    option_expectation(option, problem);
    str_appendf(problem, ", found %s", json_describe(value, found, sizeof found));
    return false;
}

static bool in_range(const Option *option, double value) {
    bool limited = option->minimum != 0 || option->maximum != 0;
    return !limited || (value >= option->minimum && value <= option->maximum);
}

static bool store_strings(StringList *list, const cJSON *value, bool append) {
    if (!append) {
        release_strings(list);
    }
    if (cJSON_IsString(value)) {
        return append_string(list, value->valuestring);
    }
    for (const cJSON *item = value->child; item != NULL; item = item->next) {
        if (!append_string(list, item->valuestring)) {
            return false;
        }
    }
    return true;
}

static bool is_string_list(const cJSON *value) {
    if (!cJSON_IsArray(value)) {
        return cJSON_IsString(value) || cJSON_IsNull(value);
    }
    for (const cJSON *item = value->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item)) {
            return false;
        }
    }
    return true;
}

static bool store_choice(const Option *option, int *slot, const cJSON *value, Str *problem) {
    const char *name = json_string(value);
    for (int i = 0; name != NULL && option->choices[i] != NULL; i++) {
        if (strcmp(name, option->choices[i]) == 0) {
            *slot = i;
            return true;
        }
    }
    wrong_value(option, value, problem);
    for (int limit = 0; name != NULL && limit <= 2; limit++) {
        for (int i = 0; option->choices[i] != NULL; i++) {
            if (str_distance(name, option->choices[i], limit) <= limit) {
                str_appendf(problem, "; did you mean \"%s\"?", option->choices[i]);
                return false;
            }
        }
    }
    return false;
}

bool option_store(const Option *option, void *config, const cJSON *value, bool append,
                  Str *problem) {
    void *slot = (char *)config + option->offset;
    switch (option->type) {
    case OPTION_BOOL:
        if (!cJSON_IsBool(value)) {
            return wrong_value(option, value, problem);
        }
        *(bool *)slot = cJSON_IsTrue(value);
        return true;
    case OPTION_INT: {
        int64_t whole;
        if (!json_integer(value, INT64_MIN, INT64_MAX, &whole) ||
            !in_range(option, (double)whole)) {
            return wrong_value(option, value, problem);
        }
        *(int64_t *)slot = whole;
        return true;
    }
    case OPTION_FLOAT:
        if (!cJSON_IsNumber(value) || !in_range(option, value->valuedouble)) {
            return wrong_value(option, value, problem);
        }
        *(double *)slot = value->valuedouble;
        return true;
    case OPTION_STRING: {
        char *copy = NULL;
        if (!cJSON_IsString(value) && !cJSON_IsNull(value)) {
            return wrong_value(option, value, problem);
        }
        if (cJSON_IsString(value) && (copy = mem_strdup(value->valuestring, NULL)) == NULL) {
            return false;
        }
        free(*(char **)slot);
        *(char **)slot = copy;
        return true;
    }
    case OPTION_CHOICE:
        return store_choice(option, slot, value, problem);
    case OPTION_STRINGS:
        return is_string_list(value) ? store_strings(slot, value, append)
                                     : wrong_value(option, value, problem);
    case OPTION_JSON: {
        cJSON *copy = cJSON_IsNull(value) ? NULL : cJSON_Duplicate(value, true);
        if (copy == NULL && !cJSON_IsNull(value)) {
            return false;
        }
        cJSON_Delete(*(cJSON **)slot);
        *(cJSON **)slot = copy;
        return true;
    }
    }
    return false;
}

/* An empty string as a default stands for no string. */
static bool is_absent(const Option *option) {
    return option->initial == NULL ||
           (option->type == OPTION_STRING && strcmp(option->initial, "\"\"") == 0);
}

bool option_defaults(const OptionRows *rows, void *config, Error *err) {
    for (size_t i = 0; i < rows->count; i++) {
        const Option *option = &rows->row[i];
        Str problem = {0};
        if (is_absent(option)) {
            continue;
        }
        cJSON *value =
            json_parse(option->initial, strlen(option->initial), NULL, 0, &json_limits_config, err);
        if (value == NULL) {
            if (err != NULL && err->code != ERROR_OS) {
                err->code = ERROR_INTERNAL;
            }
            return error_wrap(err, "the default of %s, %s", option->path, option->initial);
        }
        bool ok = option_store(option, config, value, false, &problem);
        if (!ok) {
            error_set(err, problem.size == 0 ? ERROR_OS : ERROR_INTERNAL, "the default of %s: %s",
                      option->path, problem.size == 0 ? "out of memory" : str_text(&problem));
        }
        cJSON_Delete(value);
        str_done(&problem);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void release(const Option *option, void *config) {
    void *slot = (char *)config + option->offset;
    if (option->type == OPTION_STRING) {
        free(*(char **)slot);
        *(char **)slot = NULL;
    } else if (option->type == OPTION_STRINGS) {
        release_strings(slot);
    } else if (option->type == OPTION_JSON) {
        cJSON_Delete(*(cJSON **)slot);
        *(cJSON **)slot = NULL;
    }
}

const char *options_origin(const OptionOrigins *origins, const char *path) {
    for (size_t i = 0; origins != NULL && i < origins->count; i++) {
        if (strcmp(origins->path[i], path) == 0 && origins->origin[i] != NULL) {
            return origins->origin[i];
        }
    }
    return "default";
}

void options_done(const OptionProgram *program, void *config, OptionOrigins *origins) {
    for (size_t t = 0; t < program->tables; t++) {
        for (size_t i = 0; i < program->table[t]->count; i++) {
            release(&program->table[t]->option[i], config);
        }
    }
    if (origins != NULL) {
        for (size_t i = 0; i < origins->count; i++) {
            free(origins->path[i]);
            free(origins->origin[i]);
        }
        free(origins->path);
        free(origins->origin);
        free(origins->operand);
        free(origins);
    }
}

bool options_set(const OptionProgram *program, void *config, const char *path, const char *json,
                 Error *err) {
    OptionRows rows;
    Str problem = {0};
    if (!option_rows_init(&rows, program, err)) {
        return false;
    }
    cJSON *value = NULL;
    long at = option_rows_find(&rows, path);
    bool ok = false;
    if (at < 0) {
        option_rows_suggest(&rows, path, &problem);
        error_set(err, ERROR_CONFIG, "unknown key \"%s\"%s", path, str_text(&problem));
    } else if ((value = json_parse(json, strlen(json), NULL, 0, &json_limits_config, NULL)) ==
               NULL) {
        error_set(err, ERROR_CONFIG, "%s: expected a JSON value, found %s", path, json);
    } else if (!option_store(&rows.row[at], config, value, false, &problem)) {
        error_set(err, problem.size == 0 ? ERROR_OS : ERROR_CONFIG, "%s: %s", path,
                  problem.size == 0 ? "out of memory" : str_text(&problem));
    } else {
        ok = true;
    }
    cJSON_Delete(value);
    str_done(&problem);
    option_rows_done(&rows);
    return ok;
}
