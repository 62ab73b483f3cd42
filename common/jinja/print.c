/* SPDX-License-Identifier: MIT
 *
 * Values as Python prints them.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"
#include "common/jinja/value.h"

/* The shortest digits that read back, written as repr(float) does. */
void float_repr(double real, char out[32]) {
    if (isnan(real) || isinf(real)) {
        snprintf(out, 32, "%s", isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
        return;
    }
    char text[32];
    int precision = 0;
    do {
        snprintf(text, sizeof text, "%.*e", precision, real);
    } while (precision++ < 17 && strtod(text, NULL) != real);
    char *e = strchr(text, 'e');
    long exponent = strtol(e + 1, NULL, 10);
    char digits[32];
    size_t n = 0;
    for (const char *at = text; at < e; at++) {
        if (*at >= '0' && *at <= '9') {
            digits[n++] = *at;
        }
    }
    const char *sign = text[0] == '-' ? "-" : "";
    if (exponent >= 16 || exponent < -4) {
        snprintf(out, 32, "%s%c%s%.*se%c%02ld", sign, digits[0], n > 1 ? "." : "", (int)(n - 1),
                 digits + 1, exponent < 0 ? '-' : '+', labs(exponent));
    } else if (exponent < 0) {
        snprintf(out, 32, "%s0.%.*s%.*s", sign, (int)(-exponent - 1), "0000", (int)n, digits);
    } else if (n <= (size_t)exponent + 1) {
        snprintf(out, 32, "%s%.*s%.*s.0", sign, (int)n, digits, (int)(exponent + 1 - (long)n),
                 "0000000000000000");
    } else {
        snprintf(out, 32, "%s%.*s.%.*s", sign, (int)(exponent + 1), digits,
                 (int)((long)n - exponent - 1), digits + exponent + 1);
    }
}

static bool printable(uint32_t code) {
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return code == ' ';
    default:
        return true;
    }
}

static bool repr_code(Builder *out, uint32_t code, char quote, Tag tag) {
    char text[16] = {'\\', (char)code};
    switch (code) {
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    case '\\':
        break;
    default:
        if (code == (unsigned char)quote) {
            break;
        }
        if (printable(code)) {
            return builder_code(out, code, tag);
        }
        snprintf(text, sizeof text,
                 code <= 0xFF     ? "\\x%02" PRIx32
                 : code <= 0xFFFF ? "\\u%04" PRIx32
                                  : "\\U%08" PRIx32,
                 code);
    }
    return builder_bytes(out, text, strlen(text), tag);
}

static bool repr_text(const Text *text, Builder *out) {
    bool single = text->size > 0 && memchr(text->data, '\'', text->size) != NULL;
    bool both = single && memchr(text->data, '"', text->size) != NULL;
    char quote = single && !both ? '"' : '\'';
    bool ok = (!text->safe || builder_string(out, "Markup(")) && builder_bytes(out, &quote, 1, 0);
    for (size_t at = 0; ok && at < text->size;) {
        uint32_t code = 0;
        size_t n = utf8_decode(text->data + at, text->size - at, &code);
        ok = repr_code(out, code, quote, text_tag(text, at));
        at += n;
    }
    return ok && builder_bytes(out, &quote, 1, 0) && (!text->safe || builder_string(out, ")"));
}

static bool repr_list(Machine *machine, const List *list, const char *open, const char *close,
                      Builder *out) {
    bool ok = builder_string(out, open);
    for (size_t i = 0; ok && i < list->count; i++) {
        ok = (i == 0 || builder_string(out, ", ")) && value_repr(machine, list->item[i], out);
    }
    return ok && builder_string(out, close);
}

static bool repr_dict(Machine *machine, const Dict *dict, Builder *out) {
    bool ok = builder_string(out, "{");
    for (size_t i = 0; ok && i < dict->count; i++) {
        ok = (i == 0 || builder_string(out, ", ")) && value_repr(machine, dict->pair[i].key, out) &&
             builder_string(out, ": ") && value_repr(machine, dict->pair[i].value, out);
    }
    return ok && builder_string(out, "}");
}

static bool repr_compound(Machine *machine, Value value, Builder *out) {
    switch (value.kind) {
    case VALUE_LIST:
        return repr_list(machine, value.list, "[", "]", out);
    case VALUE_TUPLE:
        return repr_list(machine, value.list, "(", value.list->count == 1 ? ",)" : ")", out);
    case VALUE_DICT:
        return repr_dict(machine, value.dict, out);
    case VALUE_NAMESPACE:
        return builder_string(out, "<Namespace ") && repr_dict(machine, value.dict, out) &&
               builder_string(out, ">");
    default:
        return machine_fault(machine, "printing a %s is not supported", value_type(value));
    }
}

bool value_repr(Machine *machine, Value value, Builder *out) {
    char text[32];
    if (!machine_spend(machine, 1)) {
        return false;
    }
    switch (value.kind) {
    case VALUE_UNDEFINED:
        return builder_string(out, "Undefined");
    case VALUE_NONE:
        return builder_string(out, "None");
    case VALUE_BOOL:
        return builder_string(out, value.truth ? "True" : "False");
    case VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, value.integer);
        return builder_string(out, text);
    case VALUE_FLOAT:
        float_repr(value.real, text);
        return builder_string(out, text);
    case VALUE_TEXT:
        return repr_text(value.text, out);
    default:
        if (!machine_enter(machine)) {
            return false;
        }
        bool ok = repr_compound(machine, value, out);
        machine_leave(machine);
        return ok;
    }
}

bool value_print(Machine *machine, Value value, Builder *out) {
    return value.kind == VALUE_TEXT        ? builder_text(out, value.text)
           : value.kind == VALUE_UNDEFINED ? true
                                           : value_repr(machine, value, out);
}

const Text *value_str(Machine *machine, Value value) {
    if (value.kind == VALUE_TEXT) {
        return value.text;
    }
    Builder out = {.machine = machine};
    return value_print(machine, value, &out) ? builder_finish(&out) : NULL;
}
