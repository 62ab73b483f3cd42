/* SPDX-License-Identifier: MIT */
#include "common/jinja/tojson.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

static bool put_code(Builder *out, uint32_t code, bool ascii, Tag tag) {
    char text[16] = {'\\', (char)code};
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    const char *simple = code > 0 && code < 128 ? strchr(from, (int)code) : NULL;
    if (simple != NULL) {
        text[1] = to[simple - from];
    } else if (code >= 0x10000 && ascii) {
        uint32_t rest = code - 0x10000;
        snprintf(text, sizeof text, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xD800 + (rest >> 10),
                 0xDC00 + (rest & 0x3FF));
    } else if (code < 0x20 || (code >= 0x7F && ascii)) {
        snprintf(text, sizeof text, "\\u%04" PRIx32, code);
    } else {
        return builder_code(out, code, tag);
    }
    return builder_bytes(out, text, strlen(text), tag);
}

static bool put_text(Builder *out, const Text *text, bool ascii) {
    bool ok = builder_string(out, "\"");
    for (size_t at = 0; ok && at < text->size;) {
        uint32_t code = 0;
        size_t n = utf8_decode(text->data + at, text->size - at, &code);
        ok = put_code(out, code, ascii, text_tag(text, at));
        at += n;
    }
    return ok && builder_string(out, "\"");
}

static bool put_float(Builder *out, double real) {
    char text[32];
    float_repr(real, text);
    return builder_string(out, isnan(real)   ? "NaN"
                               : isinf(real) ? (real > 0 ? "Infinity" : "-Infinity")
                                             : text);
}

static bool new_line(Builder *out, const JsonStyle *style, size_t level) {
    bool ok = style->indent == NULL || builder_string(out, "\n");
    for (size_t i = 0; ok && style->indent != NULL && i < level; i++) {
        ok = builder_text(out, style->indent);
    }
    return ok;
}

static bool put_list(Machine *machine, const List *list, const JsonStyle *style, size_t level,
                     Builder *out) {
    if (list->count == 0) {
        return builder_string(out, "[]");
    }
    bool ok = builder_string(out, "[");
    for (size_t i = 0; ok && i < list->count; i++) {
        ok = (i == 0 || builder_text(out, style->item)) && new_line(out, style, level + 1) &&
             value_json(machine, list->item[i], style, level + 1, out);
    }
    return ok && new_line(out, style, level) && builder_string(out, "]");
}

static bool put_key(Machine *machine, Value key, const JsonStyle *style, Builder *out) {
    switch (key.kind) {
    case VALUE_TEXT:
        return put_text(out, key.text, style->ascii);
    case VALUE_NONE:
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_FLOAT:
        return builder_string(out, "\"") && value_json(machine, key, style, 0, out) &&
               builder_string(out, "\"");
    default:
        return machine_fault(machine, "a %s cannot be a key of JSON", value_type(key));
    }
}

static bool put_dict(Machine *machine, const Dict *dict, const JsonStyle *style, size_t level,
                     Builder *out) {
    if (dict->count == 0) {
        return builder_string(out, "{}");
    }
    Value *key = machine_take(machine, dict->count, sizeof *key);
    Value *value = machine_take(machine, dict->count, sizeof *value);
    if (key == NULL || value == NULL) {
        return false;
    }
    for (size_t i = 0; i < dict->count; i++) {
        key[i] = dict->pair[i].key;
        value[i] = dict->pair[i].value;
    }
    bool ok = (!style->sorted || value_sort(machine, key, value, dict->count, false)) &&
              builder_string(out, "{");
    for (size_t i = 0; ok && i < dict->count; i++) {
        ok = (i == 0 || builder_text(out, style->item)) && new_line(out, style, level + 1) &&
             put_key(machine, key[i], style, out) && builder_text(out, style->colon) &&
             value_json(machine, value[i], style, level + 1, out);
    }
    return ok && new_line(out, style, level) && builder_string(out, "}");
}

bool value_json(Machine *machine, Value value, const JsonStyle *style, size_t level, Builder *out) {
    char text[32];
    if (!machine_spend(machine, 1) || !machine_enter(machine)) {
        return false;
    }
    bool ok = false;
    switch (value.kind) {
    case VALUE_NONE:
        ok = builder_string(out, "null");
        break;
    case VALUE_BOOL:
        ok = builder_string(out, value.truth ? "true" : "false");
        break;
    case VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, value.integer);
        ok = builder_string(out, text);
        break;
    case VALUE_FLOAT:
        ok = put_float(out, value.real);
        break;
    case VALUE_TEXT:
        ok = put_text(out, value.text, style->ascii);
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
        ok = put_list(machine, value.list, style, level, out);
        break;
    case VALUE_DICT:
        ok = put_dict(machine, value.dict, style, level, out);
        break;
    default:
        machine_fault(machine, "a %s cannot be written as JSON", value_type(value));
    }
    machine_leave(machine);
    return ok;
}

static bool number_from_json(Machine *machine, const cJSON *item, Value *out) {
    const char *spelling = item->valuestring;
    double real = item->valuedouble;
    if ((spelling != NULL && strpbrk(spelling, ".eE") != NULL) || real != floor(real)) {
        *out = value_float(real);
    } else if (fabs(real) <= 9007199254740991.0) {
        *out = value_int((int64_t)real);
    } else {
        return machine_fault(machine, "a variable holds a whole number beyond 2^53");
    }
    return true;
}

static bool compound_from_json(Machine *machine, const cJSON *item, Value *out) {
    List *list = cJSON_IsArray(item) ? list_make(machine, 0) : NULL;
    Dict *dict = cJSON_IsArray(item) ? NULL : machine_take(machine, 1, sizeof *dict);
    size_t capacity = 0;
    bool ok = list != NULL || dict != NULL;
    for (const cJSON *child = item->child; ok && child != NULL; child = child->next) {
        Value value, key;
        ok = value_from_json(machine, child, &value);
        if (ok && list != NULL) {
            ok = list_push(machine, list, &capacity, value);
        } else if (ok) {
            const Text *name = text_make(machine, child->string, strlen(child->string), 0);
            key = value_text(name);
            ok = name != NULL && dict_put(machine, dict, key, value);
        }
    }
    *out = list != NULL ? value_list(VALUE_LIST, list) : (Value){.kind = VALUE_DICT, .dict = dict};
    return ok;
}

bool value_from_json(Machine *machine, const cJSON *item, Value *out) {
    if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
        if (!machine_enter(machine)) {
            return false;
        }
        bool ok = compound_from_json(machine, item, out);
        machine_leave(machine);
        return ok;
    }
    if (cJSON_IsString(item)) {
        const Text *text = text_make(machine, item->valuestring, strlen(item->valuestring), 0);
        *out = value_text(text);
        return text != NULL;
    }
    if (cJSON_IsNumber(item)) {
        return number_from_json(machine, item, out);
    }
    *out = cJSON_IsBool(item) ? value_bool(cJSON_IsTrue(item)) : value_none();
    return true;
}
