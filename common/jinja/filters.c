/* SPDX-License-Identifier: MIT
 *
 * Filters: those that make a text or a number of one value, and the table of all.
 */
#include "common/jinja/filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/jinja/strings.h"
#include "common/jinja/tojson.h"

bool argument_bool(const Arguments *arguments, int position, const char *name, bool absent) {
    const Value *value = argument(arguments, position, name);
    return value == NULL ? absent : value_truth(*value);
}

bool argument_text(Machine *machine, const Arguments *arguments, int position, const char *name,
                   const Text **out) {
    const Value *value = argument(arguments, position, name);
    *out = NULL;
    if (value == NULL || value->kind == VALUE_NONE) {
        return true;
    }
    *out = value->kind == VALUE_TEXT ? value->text : NULL;
    return *out != NULL || machine_fault(machine, "expected a text as \"%s\", found a %s", name,
                                         value_type(*value));
}

bool argument_int(Machine *machine, const Arguments *arguments, int position, const char *name,
                  int64_t absent, int64_t *out) {
    const Value *value = argument(arguments, position, name);
    *out = absent;
    return value == NULL || value_integer(*value, out) ||
           machine_fault(machine, "expected a whole number as \"%s\", found a %s", name,
                         value_type(*value));
}

static bool give(const Text *text, Value *out) {
    *out = value_text(text);
    return text != NULL;
}

static bool case_filter(Machine *machine, Value self, const Arguments *arguments, TextCase how,
                        Value *out) {
    const Text *text = value_str(machine, self);
    return text != NULL && arguments_fit(machine, arguments, "the filter", 0, 0, "") &&
           give(text_case(machine, text, how), out);
}

static bool filter_upper(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return case_filter(machine, self, arguments, CASE_UPPER, out);
}

static bool filter_lower(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return case_filter(machine, self, arguments, CASE_LOWER, out);
}

static bool filter_title(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return case_filter(machine, self, arguments, CASE_WORDS, out);
}

static bool filter_capitalize(Machine *machine, Value self, const Arguments *arguments,
                              Value *out) {
    return case_filter(machine, self, arguments, CASE_CAPITALIZE, out);
}

static bool filter_trim(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *chars = NULL, *text = value_str(machine, self);
    return text != NULL && arguments_fit(machine, arguments, "trim", 0, 1, "chars") &&
           argument_text(machine, arguments, 0, "chars", &chars) &&
           give(text_strip(machine, text, chars, true, true), out);
}

static bool filter_length(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    if (!arguments_fit(machine, arguments, "length", 0, 0, "")) {
        return false;
    }
    switch (self.kind) {
    case VALUE_UNDEFINED:
        *out = value_int(0);
        return true;
    case VALUE_TEXT:
        *out = value_int((int64_t)text_length(self.text));
        return machine_spend_bytes(machine, self.text->size);
    case VALUE_DICT:
        *out = value_int((int64_t)self.dict->count);
        return true;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW:
        *out = value_int((int64_t)self.list->count);
        return true;
    default:
        return machine_fault(machine, "a %s has no length", value_type(self));
    }
}

static bool filter_default(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    static const Text empty = {.data = ""};
    if (!arguments_fit(machine, arguments, "default", 0, 2, "default_value boolean")) {
        return false;
    }
    const Value *given = argument(arguments, 0, "default_value");
    bool boolean = argument_bool(arguments, 1, "boolean", false);
    bool replace = self.kind == VALUE_UNDEFINED || (boolean && !value_truth(self));
    *out = !replace ? self : given == NULL ? value_text(&empty) : *given;
    return true;
}

static bool filter_string(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return arguments_fit(machine, arguments, "string", 0, 0, "") &&
           give(value_str(machine, self), out);
}

static bool filter_safe(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *text = value_str(machine, self);
    Text *safe = text == NULL ? NULL : machine_take(machine, 1, sizeof *safe);
    if (safe == NULL || !arguments_fit(machine, arguments, "safe", 0, 0, "")) {
        return false;
    }
    *safe = *text;
    safe->safe = true;
    return give(safe, out);
}

static bool filter_escape(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *text = value_str(machine, self);
    return text != NULL && arguments_fit(machine, arguments, "escape", 0, 0, "") &&
           give(text->safe ? text : text_escape(machine, text), out);
}

static bool filter_replace(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    int64_t count = -1;
    if (!arguments_fit(machine, arguments, "replace", 2, 3, "old new count")) {
        return false;
    }
    const Value *old = argument(arguments, 0, "old"), *by = argument(arguments, 1, "new");
    const Value *limit = argument(arguments, 2, "count");
    if (old == NULL || by == NULL) {
        return machine_fault(machine, "replace takes an old and a new text");
    }
    if (limit != NULL && limit->kind != VALUE_NONE &&
        !argument_int(machine, arguments, 2, "count", -1, &count)) {
        return false;
    }
    const Text *text = value_str(machine, self), *from = value_str(machine, *old),
               *to = value_str(machine, *by);
    return text != NULL && from != NULL && to != NULL &&
           give(text_replace(machine, text, from, to, count), out);
}

static bool filter_indent(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    if (!arguments_fit(machine, arguments, "indent", 0, 3, "width first blank")) {
        return false;
    }
    if (self.kind != VALUE_TEXT || self.text->safe) {
        return machine_fault(machine, "indent takes a text that is not marked |safe");
    }
    const Value *width = argument(arguments, 0, "width");
    static const Text space = {.data = " ", .size = 1};
    const Text *indent = width != NULL && width->kind == VALUE_TEXT ? width->text : NULL;
    if (indent == NULL) {
        int64_t spaces = 4;
        if (!argument_int(machine, arguments, 0, "width", 4, &spaces)) {
            return false;
        }
        indent = text_repeat(machine, &space, spaces);
    }
    return indent != NULL &&
           give(text_indent(machine, self.text, indent, argument_bool(arguments, 1, "first", false),
                            argument_bool(arguments, 2, "blank", false)),
                out);
}

static bool filter_format(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *text = value_str(machine, self);
    if (arguments->names > 0) {
        return machine_fault(machine, "format takes no named values here");
    }
    return text != NULL &&
           give(text_percent(machine, text, arguments->value, arguments->count), out);
}

static bool filter_abs(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    int64_t integer = 0;
    if (!arguments_fit(machine, arguments, "abs", 0, 0, "")) {
        return false;
    }
    if (self.kind == VALUE_FLOAT) {
        *out = value_float(fabs(self.real));
        return true;
    }
    if (!value_integer(self, &integer)) {
        return machine_fault(machine, "a %s has no absolute value", value_type(self));
    }
    *out = value_int(integer);
    return integer >= 0 || arithmetic(machine, OPERATOR_SUBTRACT, value_int(0), *out, out);
}

/* A number as Python reads it from ASCII text: *real unless it is a whole number. */
typedef enum Reading { READING_NONE, READING_INTEGER, READING_REAL } Reading;

static bool read_number(Machine *machine, const Text *given, Reading *reading, int64_t *integer,
                        double *real) {
    char text[128];
    const Text *stripped = text_strip(machine, given, NULL, true, true);
    *reading = READING_NONE;
    if (stripped == NULL) {
        return false;
    }
    for (size_t i = 0; i < stripped->size; i++) {
        if ((unsigned char)stripped->data[i] >= 0x80 || stripped->data[i] == '_') {
            return machine_fault(machine, "reading this text as a number is not supported");
        }
    }
    if (stripped->size == 0) {
        return true;
    }
    if (stripped->size >= sizeof text) {
        return machine_fault(machine,
                             "reading a number of more than %d characters is not supported",
                             (int)sizeof text - 1);
    }
    memcpy(text, stripped->data, stripped->size);
    text[stripped->size] = '\0';
    if (strlen(text) != stripped->size || strpbrk(text, "xXpP(") != NULL) {
        return true; /* what strtod takes and Python does not */
    }
    char *end = NULL;
    const char *digits = text + (*text == '+' || *text == '-');
    if (strspn(digits, "0123456789") == strlen(digits) && *digits != '\0') {
        *reading = READING_INTEGER;
        if (strlen(digits) > 18) {
            return machine_fault(machine, "a whole number beyond 64 bits is not supported");
        }
        *integer = strtoll(text, NULL, 10);
        *real = (double)*integer;
        return true;
    }
    *real = strtod(text, &end);
    *reading = end == text + strlen(text) ? READING_REAL : READING_NONE;
    return true;
}

static bool truncate_real(Machine *machine, double real, Value absent, Value *out) {
    if (isnan(real) || isinf(real)) {
        *out = absent;
        return true;
    }
    if (fabs(real) >= 9e18) {
        return machine_fault(machine, "a whole number beyond 64 bits is not supported");
    }
    *out = value_int((int64_t)real);
    return true;
}

static bool filter_int(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    int64_t integer = 0;
    double real = 0;
    Reading reading;
    if (!arguments_fit(machine, arguments, "int", 0, 1, "default")) {
        return false;
    }
    const Value *given = argument(arguments, 0, "default");
    Value absent = given == NULL ? value_int(0) : *given;
    *out = absent;
    if (self.kind == VALUE_UNDEFINED) {
        return machine_fault(machine, "an undefined value is no number");
    }
    if (value_integer(self, &integer)) {
        *out = value_int(integer);
        return true;
    }
    if (self.kind == VALUE_FLOAT) {
        return truncate_real(machine, self.real, absent, out);
    }
    if (self.kind != VALUE_TEXT) {
        return true;
    }
    if (!read_number(machine, self.text, &reading, &integer, &real)) {
        return false;
    }
    if (reading == READING_INTEGER) {
        *out = value_int(integer);
    }
    return reading != READING_REAL || truncate_real(machine, real, absent, out);
}

static bool filter_float(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    int64_t integer = 0;
    double real = 0;
    Reading reading;
    if (!arguments_fit(machine, arguments, "float", 0, 1, "default")) {
        return false;
    }
    const Value *given = argument(arguments, 0, "default");
    *out = given == NULL ? value_float(0) : *given;
    if (self.kind == VALUE_UNDEFINED) {
        return machine_fault(machine, "an undefined value is no number");
    }
    if (value_is_number(self)) {
        *out = value_float(value_real(self));
    } else if (self.kind == VALUE_TEXT) {
        if (!read_number(machine, self.text, &reading, &integer, &real)) {
            return false;
        }
        *out = reading == READING_NONE ? *out : value_float(real);
    }
    return true;
}

static bool filter_round(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *method = NULL;
    int64_t precision = 0;
    if (!arguments_fit(machine, arguments, "round", 0, 2, "precision method") ||
        !argument_int(machine, arguments, 0, "precision", 0, &precision) ||
        !argument_text(machine, arguments, 1, "method", &method)) {
        return false;
    }
    bool common = method == NULL || text_is(method, "common");
    bool up = method != NULL && text_is(method, "ceil");
    if (!common && !up && !text_is(method, "floor")) {
        return machine_fault(machine, "round knows the methods common, ceil and floor");
    }
    if (!value_is_number(self) || precision < 0 || precision > 15) {
        return machine_fault(machine, "round takes a number and a precision from 0 to 15 here");
    }
    double real = value_real(self), scale = pow(10, (double)precision);
    if (isnan(real) || isinf(real) || fabs(real * scale) > 9e15) {
        return machine_fault(machine, "rounding a number of this size is not supported");
    }
    if (!common) {
        *out = value_float((up ? ceil(real * scale) : floor(real * scale)) / scale);
    } else if (self.kind == VALUE_FLOAT) {
        char text[64];
        snprintf(text, sizeof text, "%.*f", (int)precision, real);
        *out = value_float(strtod(text, NULL));
    } else {
        int64_t integer = 0;
        value_integer(self, &integer);
        *out = value_int(integer);
    }
    return true;
}

/* indent: a number of spaces or a text; none: everything in one line. */
static bool json_indent(Machine *machine, const Value *indent, const Text **out) {
    int64_t spaces = 0;
    static const Text space = {.data = " ", .size = 1};
    *out = NULL;
    if (indent == NULL || indent->kind == VALUE_NONE) {
        return true;
    }
    if (indent->kind == VALUE_TEXT) {
        *out = indent->text;
        return true;
    }
    if (!value_integer(*indent, &spaces)) {
        return machine_fault(machine, "tojson indents by a number or a text, not a %s",
                             value_type(*indent));
    }
    *out = text_repeat(machine, &space, spaces);
    return *out != NULL;
}

static bool filter_tojson(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    static const Text comma = {.data = ",", .size = 1}, comma_space = {.data = ", ", .size = 2},
                      colon = {.data = ": ", .size = 2};
    JsonStyle style = {.colon = &colon};
    if (!arguments_fit(machine, arguments, "tojson", 0, 4,
                       "ensure_ascii indent separators sort_keys") ||
        !json_indent(machine, argument(arguments, 1, "indent"), &style.indent)) {
        return false;
    }
    style.ascii = argument_bool(arguments, 0, "ensure_ascii", false);
    style.sorted = argument_bool(arguments, 3, "sort_keys", false);
    style.item = style.indent == NULL ? &comma_space : &comma;
    const Value *separators = argument(arguments, 2, "separators");
    if (separators != NULL && separators->kind != VALUE_NONE) {
        const List *pair = value_is_sequence(*separators) ? separators->list : NULL;
        if (pair == NULL || pair->count != 2 || pair->item[0].kind != VALUE_TEXT ||
            pair->item[1].kind != VALUE_TEXT) {
            return machine_fault(machine, "the separators of tojson are two texts");
        }
        style.item = pair->item[0].text;
        style.colon = pair->item[1].text;
    }
    Builder builder = {.machine = machine};
    return value_json(machine, self, &style, 0, &builder) && give(builder_finish(&builder), out);
}

static const struct {
    const char *name;
    Filter *filter;
} filters[] = {
    {"abs",        filter_abs       },
    {"capitalize", filter_capitalize},
    {"count",      filter_length    },
    {"d",          filter_default   },
    {"default",    filter_default   },
    {"dictsort",   filter_dictsort  },
    {"e",          filter_escape    },
    {"escape",     filter_escape    },
    {"first",      filter_first     },
    {"float",      filter_float     },
    {"format",     filter_format    },
    {"indent",     filter_indent    },
    {"int",        filter_int       },
    {"items",      filter_items     },
    {"join",       filter_join      },
    {"last",       filter_last      },
    {"length",     filter_length    },
    {"list",       filter_list      },
    {"lower",      filter_lower     },
    {"map",        filter_map       },
    {"max",        filter_max       },
    {"min",        filter_min       },
    {"reject",     filter_reject    },
    {"rejectattr", filter_rejectattr},
    {"replace",    filter_replace   },
    {"reverse",    filter_reverse   },
    {"round",      filter_round     },
    {"safe",       filter_safe      },
    {"select",     filter_select    },
    {"selectattr", filter_selectattr},
    {"sort",       filter_sort      },
    {"string",     filter_string    },
    {"sum",        filter_sum       },
    {"title",      filter_title     },
    {"tojson",     filter_tojson    },
    {"trim",       filter_trim      },
    {"unique",     filter_unique    },
    {"upper",      filter_upper     },
};

static Filter *find_filter(const Text *name) {
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (text_is(name, filters[i].name)) {
            return filters[i].filter;
        }
    }
    return NULL;
}

bool filter_known(const Text *name) {
    return find_filter(name) != NULL;
}

bool call_filter(Machine *machine, const Text *name, Value self, const Arguments *arguments,
                 Value *out) {
    Filter *filter = find_filter(name);
    if (filter == NULL) {
        return machine_refuse(machine, "the filter", name);
    }
    return filter(machine, self, arguments, out);
}
