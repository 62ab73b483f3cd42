/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/utf8.h"

static void put_escape(Str *out, unsigned char c) {
    static const char control[] = "\b\f\n\r\t", letters[] = "bfnrt";
    const char *at = c == 0 ? NULL : strchr(control, c);
    if (c == '"' || c == '\\') {
        str_append_char(out, '\\');
        str_append_char(out, (char)c);
    } else if (at != NULL) {
        str_append_char(out, '\\');
        str_append_char(out, letters[at - control]);
    } else {
        str_appendf(out, "\\u%04x", c);
    }
}

void json_put_string(Str *out, const char *text, size_t n) {
    size_t run = 0, at = 0;
    str_append_char(out, '"');
    while (at < n) {
        unsigned char c = (unsigned char)text[at];
        size_t length = c < 0x80 ? 1 : utf8_decode(text + at, n - at, NULL);
        if (length > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += length;
            continue;
        }
        str_append_bytes(out, text + run, at - run);
        if (length == 0) {
            str_append(out, "\xEF\xBF\xBD"); /* U+FFFD: JSON must be UTF-8 */
        } else {
            put_escape(out, c);
        }
        run = ++at;
    }
    str_append_bytes(out, text + run, n - run);
    str_append_char(out, '"');
}

static bool put_special(Str *out, double value) {
    if (isfinite(value)) {
        return false;
    }
    str_append(out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return true;
}

/* printf's decimal point follows the locale, JSON's does not. */
static void put_digits(Str *out, char *text) {
    for (char *p = text; *p != '\0'; p++) {
        if (strchr("0123456789+-e", *p) == NULL) {
            *p = '.';
        }
    }
    str_append(out, text);
}

void json_put_float(Str *out, float value) {
    char text[32];
    if (put_special(out, value)) {
        return;
    }
    /* Every decimal of six digits survives a normal float, so no shorter one need be tried. */
    for (int digits = fabsf(value) < FLT_MIN ? 1 : 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    put_digits(out, text);
}

void json_put_double(Str *out, double value) {
    char text[40];
    if (put_special(out, value)) {
        return;
    }
    for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    put_digits(out, text);
}

static void put_line(Str *out, bool indented, int depth) {
    if (indented) {
        str_appendf(out, "\n%*s", 2 * depth, "");
    }
}

static void put_item(Str *out, const cJSON *item, bool indented, int depth) {
    if (cJSON_IsString(item)) {
        json_put_string(out, item->valuestring, strlen(item->valuestring));
    } else if (cJSON_IsNumber(item)) {
        /* The spelling it was read with, unless the value was changed since. */
        const char *spelling = item->valuestring;
        if (spelling != NULL && strtod(spelling, NULL) == item->valuedouble) {
            str_append(out, spelling);
        } else {
            json_put_double(out, item->valuedouble);
        }
    } else if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
        bool object = cJSON_IsObject(item);
        str_append_char(out, object ? '{' : '[');
        for (const cJSON *child = item->child; child != NULL; child = child->next) {
            put_line(out, indented, depth + 1);
            if (object) {
                json_put_string(out, child->string, strlen(child->string));
                str_append(out, indented ? ": " : ":");
            }
            put_item(out, child, indented, depth + 1);
            if (child->next != NULL) {
                str_append_char(out, ',');
            }
        }
        if (item->child != NULL) {
            put_line(out, indented, depth);
        }
        str_append_char(out, object ? '}' : ']');
    } else {
        str_append(out, cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : "null");
    }
}

void json_put_tree(Str *out, const cJSON *tree, bool indented) {
    put_item(out, tree, indented, 0);
}

void json_put_key(Str *out, const char *key) {
    if (out->size > 0 && out->data[out->size - 1] != '{') {
        str_append_char(out, ',');
    }
    json_put_string(out, key, strlen(key));
    str_append_char(out, ':');
}
