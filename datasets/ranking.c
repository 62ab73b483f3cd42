/* SPDX-License-Identifier: MIT
 *
 * Rankings: a prompt, K completions and their order, in any of the ways files say it: `ranks` (lower is
 * better), `ranking` (indices, best first, a nested list is a tie), `scores` (higher is better), a rank
 * or score inside each completion, or the index of the `best`. In CSV completions are the columns
 * response_0, response_1, ... (completion_0, ...), ranks and scores rank_0, ... or one column with
 * numbers between commas or blanks.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/form.h"

/* Columns such as response_0, sample0. */
static const char *const numbered[] = {"response_%zu", "completion_%zu", "sample%zu"};
enum { NUMBERED = sizeof numbered / sizeof *numbered };
static const char *const best_names[] = {"best", "choice"};

static const cJSON *numbered_item(const Source *source, const char *format, size_t i, char *name,
                                  size_t size) {
    snprintf(name, size, format, i);
    const cJSON *item = source_member(source, name);
    const char *text = json_string(item);
    return text != NULL && text[0] == '\0' ? NULL : item;
}

static const char *numbered_format(const Source *source) {
    char name[64];
    for (size_t f = 0; f < NUMBERED; f++) {
        if (numbered_item(source, numbered[f], 0, name, sizeof name) != NULL) {
            return numbered[f];
        }
    }
    return NULL;
}

bool ranking_matches(const Source *source) {
    return cJSON_IsArray(source_field(source, FIELD_COMPLETIONS, NULL)) ||
           numbered_format(source) != NULL;
}

/* The text of an element: a string, messages, or an object that holds one of these. */
static const cJSON *element_text(const cJSON *element, const char **key) {
    static const char *const keys[] = {"completion", "text", "response", "content"};
    *key = NULL;
    if (!cJSON_IsObject(element)) {
        return element;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *item = json_member(element, keys[i]);
        if (item != NULL) {
            *key = keys[i];
            return item;
        }
    }
    return element;
}

static bool read_listed(const Source *source, const cJSON *list, const char *name, Record *record,
                        Error *err) {
    size_t n = (size_t)cJSON_GetArraySize(list);
    if (!form_reserve_completions(record, n, err)) {
        return false;
    }
    char place[256];
    for (const cJSON *element = list->child; element != NULL; element = element->next) {
        const char *key;
        const cJSON *item = element_text(element, &key);
        snprintf(place, sizeof place, "%s[%zu]%s%s", name, record->completions,
                 key == NULL ? "" : ".", key == NULL ? "" : key);
        char *text = form_completion_text(source, item, place, err);
        if (text == NULL) {
            return false;
        }
        record->completion[record->completions++] = text;
    }
    return true;
}

static bool read_numbered(const Source *source, const char *format, Record *record, Error *err) {
    char name[64];
    size_t n = 0, capacity = 0;
    const cJSON *item;
    while ((item = numbered_item(source, format, n, name, sizeof name)) != NULL) {
        if (!mem_reserve(&record->completion, &capacity, n + 1, sizeof *record->completion, err)) {
            return false;
        }
        record->completion[n] = form_completion_text(source, item, name, err);
        if (record->completion[n] == NULL) {
            return false;
        }
        record->completions = ++n;
    }
    return true;
}

static bool wrong_count(const Source *source, const char *name, size_t found, const Record *record,
                        Error *err) {
    return row_error(source->row, name, err,
                     "%zu numbers in \"%s\" for %zu completions; expected one for each", found,
                     name, record->completions);
}

/* "1 2 3", "1,2,3" or "[1, 2, 3]": how CSV holds a list. */
static bool read_number_text(const Source *source, const char *text, const char *name,
                             Record *record, double *out, Error *err) {
    size_t n = 0;
    const char *at = text;
    for (;;) {
        at += strspn(at, " ,[]\t");
        if (*at == '\0') {
            break;
        }
        char *end;
        double value = strtod(at, &end);
        if (end == at || !isfinite(value)) {
            return row_error(source->row, name, err,
                             "\"%.40s\" where a number should stand in \"%s\"; expected numbers "
                             "between blanks or commas",
                             at, name);
        }
        if (n < record->completions) {
            out[n] = value;
        }
        n++;
        at = end;
    }
    return n == record->completions || wrong_count(source, name, n, record, err);
}

static bool read_numbers(const Source *source, const cJSON *list, const char *name, Record *record,
                         double *out, Error *err) {
    char found[128], place[256];
    const char *text = json_string(list);
    if (text != NULL) {
        return read_number_text(source, text, name, record, out, err);
    }
    if (!cJSON_IsArray(list)) {
        return row_error(source->row, name, err, "%s; expected a list of numbers in \"%s\"",
                         json_describe(list, found, sizeof found), name);
    }
    size_t n = (size_t)cJSON_GetArraySize(list);
    if (n != record->completions) {
        return wrong_count(source, name, n, record, err);
    }
    n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        snprintf(place, sizeof place, "%s[%zu]", name, n);
        if (!source_number(source, item, place, &out[n], err)) {
            return false;
        }
    }
    return true;
}

static bool place_index(const Source *source, const cJSON *item, const char *place, double rank,
                        Record *record, Error *err) {
    char found[128];
    int64_t index;
    if (!json_integer(item, 0, (int64_t)record->completions - 1, &index)) {
        return row_error(source->row, place, err,
                         "%s; expected an index from 0 to %zu of a completion",
                         json_describe(item, found, sizeof found), record->completions - 1);
    }
    if (record->rank[index] >= 0) {
        return row_error(source->row, place, err,
                         "completion %d stands twice in the ranking; expected each once",
                         (int)index);
    }
    record->rank[index] = rank;
    return true;
}

static bool read_order(const Source *source, const cJSON *list, const char *name, Record *record,
                       Error *err) {
    char found[128], place[256];
    if (!cJSON_IsArray(list)) {
        return row_error(source->row, name, err, "%s; expected a list of indices in \"%s\"",
                         json_describe(list, found, sizeof found), name);
    }
    for (size_t i = 0; i < record->completions; i++) {
        record->rank[i] = -1;
    }
    size_t n = 0, placed = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        const cJSON *first = cJSON_IsArray(item) ? item->child : item;
        for (const cJSON *one = first; one != NULL; one = one->next) {
            snprintf(place, sizeof place, "%s[%zu]", name, n);
            if (!place_index(source, one, place, (double)n, record, err)) {
                return false;
            }
            placed++;
            if (!cJSON_IsArray(item)) {
                break;
            }
        }
    }
    return placed == record->completions ||
           row_error(source->row, name, err,
                     "%zu of %zu completions in \"%s\"; expected every index once", placed,
                     record->completions, name);
}

static bool read_best(const Source *source, const cJSON *item, const char *name, Record *record,
                      Error *err) {
    double value;
    if (!source_number(source, item, name, &value, err)) {
        return false;
    }
    if (value < 0 || value >= (double)record->completions || value != floor(value)) {
        return row_error(source->row, name, err,
                         "%g in \"%s\"; expected an index from 0 to %zu of a completion", value,
                         name, record->completions - 1);
    }
    for (size_t i = 0; i < record->completions; i++) {
        record->rank[i] = i != (size_t)value;
    }
    record->best_only = record->completions > 2;
    return true;
}

/* A number inside each completion object; sign -1 for scores. */
static bool read_inner(const Source *source, const cJSON *list, const char *name, const char *key,
                       double sign, Record *record, Error *err) {
    char place[256];
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        snprintf(place, sizeof place, "%s[%zu].%s", name, n, key);
        const cJSON *number = json_member(item, key);
        double value;
        if (number == NULL) {
            return row_error(
                source->row, place, err,
                "completion %zu has no \"%s\" although the first one has; expected it in "
                "each",
                n, key);
        }
        if (!source_number(source, number, place, &value, err)) {
            return false;
        }
        record->rank[n] = sign * value;
    }
    return true;
}

/* Ranks as columns rank_0, rank_1, ...; *found = false if there are none. */
static bool read_rank_columns(const Source *source, const char *format, double sign, Record *record,
                              bool *found, Error *err) {
    char name[64];
    *found = numbered_item(source, format, 0, name, sizeof name) != NULL;
    for (size_t i = 0; *found && i < record->completions; i++) {
        const cJSON *item = numbered_item(source, format, i, name, sizeof name);
        if (item == NULL) {
            return row_error(source->row, NULL, err,
                             "completion %zu has no \"%s\"; expected a number for each", i, name);
        }
        double value;
        if (!source_number(source, item, name, &value, err)) {
            return false;
        }
        record->rank[i] = sign * value;
    }
    return true;
}

static bool read_ranks(const Source *source, const cJSON *list, const char *list_name,
                       Record *record, Error *err) {
    static const struct {
        const char *key;
        double sign;
    } inner[] = {
        {"rank",          1 },
        {"score",         -1},
        {"overall_score", -1},
        {"pm_score",      -1}
    };
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_RANKS, &name);
    if (item != NULL) {
        return read_numbers(source, item, name, record, record->rank, err);
    }
    if ((item = source_field(source, FIELD_RANKING, &name)) != NULL) {
        return read_order(source, item, name, record, err);
    }
    if ((item = source_field(source, FIELD_SCORES, &name)) != NULL) {
        bool ok = read_numbers(source, item, name, record, record->rank, err);
        for (size_t i = 0; i < record->completions; i++) {
            record->rank[i] = -record->rank[i];
        }
        return ok;
    }
    for (size_t i = 0; i < sizeof best_names / sizeof *best_names; i++) {
        if ((item = source_member(source, best_names[i])) != NULL) {
            return read_best(source, item, best_names[i], record, err);
        }
    }
    for (size_t i = 0; list != NULL && i < sizeof inner / sizeof *inner; i++) {
        if (json_member(list->child, inner[i].key) != NULL) {
            return read_inner(source, list, list_name, inner[i].key, inner[i].sign, record, err);
        }
    }
    bool found = false;
    if (!read_rank_columns(source, "rank_%zu", 1, record, &found, err) ||
        (!found && !read_rank_columns(source, "score_%zu", -1, record, &found, err))) {
        return false;
    }
    return found || source->options->unranked ||
           row_error(source->row, NULL, err,
                     "completions without an order; expected \"%s\", \"%s\" or \"%s\" beside them",
                     source_name(source, FIELD_RANKS), source_name(source, FIELD_RANKING),
                     source_name(source, FIELD_SCORES));
}

bool ranking_read(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *list = source_field(source, FIELD_COMPLETIONS, &name);
    const char *format = numbered_format(source);
    if (!form_read_prompt(source, record, err)) {
        return false;
    }
    if (cJSON_IsArray(list)) {
        if (!read_listed(source, list, name, record, err)) {
            return false;
        }
    } else if (list == NULL && format != NULL) {
        if (!read_numbered(source, format, record, err)) {
            return false;
        }
    } else {
        char found[128];
        return row_error(source->row, list == NULL ? NULL : name, err,
                         "%s; expected a list of completions in \"%s\"",
                         list == NULL ? "nothing" : json_describe(list, found, sizeof found),
                         source_name(source, FIELD_COMPLETIONS));
    }
    size_t least = source->options->unranked ? 1 : 2;
    if (record->completions < least) {
        return row_error(source->row, list == NULL ? NULL : name, err,
                         "%zu completions; expected at least %zu to rank", record->completions,
                         least);
    }
    record->rank = mem_alloc(record->completions, sizeof *record->rank, err);
    return record->rank != NULL &&
           read_ranks(source, cJSON_IsArray(list) ? list : NULL, name, record, err) &&
           form_read_annotator(source, record, err);
}
