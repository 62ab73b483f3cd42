/* SPDX-License-Identifier: MIT */
#include "common/base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json_scan.h"
#include "common/base/memory.h"

const JsonLimits json_limits_line = {(size_t)16 << 20, 64, 1000000, false};
const JsonLimits json_limits_document = {(size_t)256 << 20, 64, 4000000, false};
const JsonLimits json_limits_config = {(size_t)1 << 20, 32, 10000, true};

static const double largest_exact =
    9007199254740991.0; /* 2^53 - 1: above it doubles skip integers */

/* Numbers in document order; cJSON keeps no text of a number, so valuestring, which it frees and
 * duplicates but never reads there, takes the spelling for json_put_tree. */
static bool attach_spellings(cJSON *item, const JsonScan *scan, size_t *number, size_t *next,
                             Error *err) {
    for (; item != NULL && *next < scan->spellings; item = item->next) {
        if (cJSON_IsNumber(item)) {
            const JsonSpelling *spelling = &scan->spelling[*next];
            if (spelling->index == *number) {
                char *copy = cJSON_malloc(spelling->size + 1);
                if (copy == NULL) {
                    return error_set(err, ERROR_OS, "out of memory while reading JSON");
                }
                memcpy(copy, scan->text + spelling->at, spelling->size);
                copy[spelling->size] = '\0';
                item->valuestring = copy;
                ++*next;
            }
            ++*number;
        } else if (!attach_spellings(item->child, scan, number, next, err)) {
            return false;
        }
    }
    return true;
}

static cJSON *build_tree(const JsonScan *scan, Error *err) {
    const char *text = scan->blank != NULL ? scan->blank : scan->text;
    size_t number = 0, next = 0;
    cJSON *tree = cJSON_ParseWithLengthOpts(text, scan->size, NULL, false);
    if (tree == NULL) {
        error_at(err, ERROR_OS, scan->path, 0, 0, "out of memory while reading JSON");
        return NULL;
    }
    if (!attach_spellings(tree, scan, &number, &next, err)) {
        cJSON_Delete(tree);
        return NULL;
    }
    return tree;
}

static bool has_byte_order_mark(const char *text, size_t n) {
    return n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
}

cJSON *json_parse(const char *text, size_t n, const char *path, long first_line,
                  const JsonLimits *limits, Error *err) {
    if (has_byte_order_mark(text, n)) {
        text += 3;
        n -= 3;
    }
    JsonScan scan = {.text = text,
                     .size = n,
                     .limits = limits,
                     .path = path,
                     .first_line = first_line,
                     .err = err};
    if (limits->comments && n <= limits->bytes) {
        scan.blank = mem_strndup(text, n, err);
        if (scan.blank == NULL) {
            return NULL;
        }
    }
    cJSON *tree = json_scan_document(&scan) ? build_tree(&scan, err) : NULL;
    free(scan.blank);
    json_scan_done(&scan);
    return tree;
}

cJSON *json_read_file(const char *path, const JsonLimits *limits, Error *err) {
    Str text = {0};
    cJSON *tree = NULL;
    if (file_read(path, limits->bytes, &text, err)) {
        tree = json_parse(str_text(&text), text.size, path, 1, limits, err);
    }
    str_done(&text);
    return tree;
}

/* If the dotted path begins with this component, what is left of it; NULL otherwise. */
static const char *rest_of_path(const char *dotted, const char *component) {
    if (!str_starts_with(dotted, component)) {
        return NULL;
    }
    const char *rest = dotted + strlen(component);
    return *rest == '.' ? rest + 1 : *rest == '[' || *rest == '\0' ? rest : NULL;
}

static char here(const JsonScan *scan) {
    return scan->at < scan->size ? scan->text[scan->at] : '\0';
}

/* Steps through a container to what the path names. On success scan->at and *key_at stand at it. */
static bool locate(JsonScan *scan, const char *dotted, size_t *key_at) {
    bool object, found = false;
    Str key = {0};
    if (*dotted == '\0') {
        return true;
    }
    object = here(scan) == '{';
    if (!object && here(scan) != '[') {
        return false;
    }
    char closing = object ? '}' : ']';
    scan->at++;
    for (size_t i = 0; json_scan_blanks(scan) && here(scan) != closing; i++) {
        size_t begin = scan->at;
        const char *rest;
        str_clear(&key);
        if (object) {
            if (here(scan) != '"' || !json_scan_string(scan, &key) || !json_scan_blanks(scan)) {
                break;
            }
            scan->at++; /* the colon */
            if (!json_scan_blanks(scan)) {
                break;
            }
            rest = rest_of_path(dotted, str_text(&key));
        } else {
            str_appendf(&key, "[%zu]", i);
            rest = rest_of_path(dotted, str_text(&key));
        }
        size_t value = scan->at;
        if (rest != NULL) {
            *key_at = begin;
            if (locate(scan, rest, key_at)) {
                found = true;
                break;
            }
            scan->at = value;
        }
        if (!json_scan_value(scan) || !json_scan_blanks(scan)) {
            break;
        }
        scan->at += here(scan) == ',';
    }
    str_done(&key);
    return found;
}

void json_locate(const char *text, size_t n, const char *dotted, bool key, long *line,
                 long *column) {
    static const JsonLimits generous = {SIZE_MAX, 512, SIZE_MAX, true};
    size_t skipped = has_byte_order_mark(text, n) ? 3 : 0;
    size_t key_at = 0;
    JsonScan scan = {
        .text = text + skipped, .size = n - skipped, .limits = &generous, .first_line = 1};
    *line = *column = 0;
    if (json_scan_blanks(&scan) && scan.at < scan.size) {
        key_at = scan.at;
        if (locate(&scan, dotted, &key_at)) {
            json_position(scan.text, key ? key_at : scan.at, 1, line, column);
        }
    }
    json_scan_done(&scan);
}

const cJSON *json_member(const cJSON *object, const char *name) {
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

bool json_integer(const cJSON *item, int64_t minimum, int64_t maximum, int64_t *out) {
    if (!cJSON_IsNumber(item)) {
        return false;
    }
    double value = item->valuedouble;
    if (!(fabs(value) <= largest_exact) || value != floor(value)) {
        return false;
    }
    int64_t whole = (int64_t)value;
    if (whole < minimum || whole > maximum) {
        return false;
    }
    *out = whole;
    return true;
}

const char *json_string(const cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

const char *json_describe(const cJSON *item, char *buffer, size_t size) {
    enum { SHOWN = 40 };
    Str text = {0};
    if (item == NULL) {
        str_append(&text, "nothing");
    } else if (cJSON_IsString(item)) {
        size_t n = strlen(item->valuestring);
        if (n <= SHOWN) {
            str_append(&text, "the string ");
            json_put_string(&text, item->valuestring, n);
        } else {
            str_appendf(&text, "a string of %zu bytes", n);
        }
    } else if (cJSON_IsNumber(item)) {
        str_append(&text, "the number ");
        json_put_tree(&text, item, false);
    } else {
        str_append(&text, cJSON_IsObject(item)  ? "an object"
                          : cJSON_IsArray(item) ? "a list"
                          : cJSON_IsTrue(item)  ? "true"
                          : cJSON_IsFalse(item) ? "false"
                                                : "null");
    }
    snprintf(buffer, size, "%s", str_text(&text));
    str_done(&text);
    return buffer;
}
