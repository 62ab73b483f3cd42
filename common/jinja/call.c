/* SPDX-License-Identifier: MIT
 *
 * Calls: arguments, global functions, tests.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/jinja/ast.h"

const Value *argument(const Arguments *arguments, int position, const char *name) {
    size_t by_place = arguments->count - arguments->names;
    if (position >= 0 && (size_t)position < by_place) {
        return &arguments->value[position];
    }
    for (size_t i = 0; name != NULL && i < arguments->names; i++) {
        if (text_is(arguments->name[i], name)) {
            return &arguments->value[by_place + i];
        }
    }
    return NULL;
}

static bool among(const Text *name, const char *names) {
    for (const char *at = names; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == name->size && memcmp(at, name->data, n) == 0) {
            return true;
        }
        at += n;
        at += *at == ' ';
    }
    return false;
}

bool arguments_fit(Machine *machine, const Arguments *arguments, const char *what, size_t least,
                   size_t most, const char *names) {
    if (arguments->count < least || arguments->count > most) {
        return machine_fault(machine, "%s takes %zu to %zu arguments here, not %zu", what, least,
                             most, arguments->count);
    }
    for (size_t i = 0; i < arguments->names; i++) {
        const Text *name = arguments->name[i];
        if (!among(name, names)) {
            return machine_fault(machine, "%s has no argument \"%.*s\" here", what,
                                 (int)(name->size < 60 ? name->size : 60), name->data);
        }
    }
    return true;
}

bool call_value(Machine *machine, Value function, const Arguments *arguments, Value *out) {
    switch (function.kind) {
    case VALUE_MACRO:
        return call_macro(machine, function.macro, arguments, out);
    case VALUE_FUNCTION:
        return call_global(machine, function.name, arguments, out);
    case VALUE_METHOD:
        return call_method(machine, function.method, arguments, out);
    case VALUE_UNDEFINED:
        return machine_fault(machine, "%s%s%s is undefined, so it cannot be called",
                             function.name == NULL ? "" : "\"",
                             function.name == NULL ? "the value" : function.name,
                             function.name == NULL ? "" : "\"");
    default:
        return machine_fault(machine, "a %s cannot be called", value_type(function));
    }
}

static const char *const globals[] = {"range", "namespace", "dict", "raise_exception",
                                      "strftime_now"};

bool find_global(Machine *machine, const Text *name, Value *out) {
    static const char *const refused[] = {"lipsum", "cycler", "joiner", "self", "super"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (text_is(name, refused[i])) {
            return machine_refuse(machine, "the name", name);
        }
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        bool known = text_is(name, globals[i]);
        if (known && (machine->date != NULL || strcmp(globals[i], "strftime_now") != 0)) {
            *out = (Value){.kind = VALUE_FUNCTION, .name = globals[i]};
            return true;
        }
    }
    char *copy = machine_take(machine, name->size + 1, 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, name->data, name->size);
    *out = value_undefined(copy);
    return true;
}

enum { RANGE_MAX = 100000 }; /* as Jinja2's sandbox has it */

static bool call_range(Machine *machine, const Arguments *arguments, Value *out) {
    int64_t bound[3] = {0, 0, 1};
    if (!arguments_fit(machine, arguments, "range", 1, 3, "")) {
        return false;
    }
    for (size_t i = 0; i < arguments->count; i++) {
        size_t at = arguments->count == 1 ? 1 : i;
        if (!value_integer(arguments->value[i], &bound[at])) {
            return machine_fault(machine, "range takes whole numbers, not a %s",
                                 value_type(arguments->value[i]));
        }
    }
    int64_t step = bound[2];
    if (step == 0) {
        return machine_fault(machine, "the step of range is 0");
    }
    bool empty = step > 0 ? bound[0] >= bound[1] : bound[0] <= bound[1];
    uint64_t distance = step > 0 ? (uint64_t)bound[1] - (uint64_t)bound[0]
                                 : (uint64_t)bound[0] - (uint64_t)bound[1];
    uint64_t stride = step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    uint64_t count = empty ? 0 : (distance - 1) / stride + 1;
    if (count > RANGE_MAX) {
        return machine_fault(machine, "range has more than %d numbers", RANGE_MAX);
    }
    List *list = machine_spend(machine, count) ? list_make(machine, count) : NULL;
    for (size_t i = 0; list != NULL && i < count; i++) {
        list->item[i] = value_int((int64_t)((uint64_t)bound[0] + i * (uint64_t)step));
    }
    *out = value_list(VALUE_RANGE, list);
    return list != NULL;
}

/* dict(mapping, name=value, ...), and namespace with the same. */
static bool call_dict(Machine *machine, ValueKind kind, const Arguments *arguments, Value *out) {
    Dict *dict = machine_take(machine, 1, sizeof *dict);
    size_t by_place = arguments->count - arguments->names;
    if (dict == NULL) {
        return false;
    }
    if (by_place > 1 || (by_place == 1 && arguments->value[0].kind != VALUE_DICT)) {
        return machine_fault(machine, "%s takes one dict and named values here",
                             kind == VALUE_DICT ? "dict" : "namespace");
    }
    const Dict *from = by_place == 1 ? arguments->value[0].dict : dict;
    for (size_t i = 0; from != dict && i < from->count; i++) {
        if (!dict_put(machine, dict, from->pair[i].key, from->pair[i].value)) {
            return false;
        }
    }
    for (size_t i = 0; i < arguments->names; i++) {
        if (!dict_put(machine, dict, value_text(arguments->name[i]),
                      arguments->value[by_place + i])) {
            return false;
        }
    }
    *out = (Value){.kind = kind, .dict = dict};
    return true;
}

static bool call_raise(Machine *machine, const Arguments *arguments) {
    if (!arguments_fit(machine, arguments, "raise_exception", 1, 1, "message")) {
        return false;
    }
    const Text *text = value_str(machine, arguments->value[0]);
    return text != NULL && machine_fault(machine, "the template says: %.*s",
                                         (int)(text->size < 1500 ? text->size : 1500), text->data);
}

/* Midnight of the given day; only directives that do not depend on a time zone or locale. */
static bool call_strftime(Machine *machine, const Arguments *arguments, Value *out) {
    if (!arguments_fit(machine, arguments, "strftime_now", 1, 1, "format")) {
        return false;
    }
    if (arguments->value[0].kind != VALUE_TEXT) {
        return machine_fault(machine, "strftime_now takes a text");
    }
    const Text *format = arguments->value[0].text;
    char pattern[128], result[1024];
    if (format->size >= sizeof pattern || memchr(format->data, '\0', format->size) != NULL) {
        return machine_fault(machine, "the format of strftime_now is longer than %d bytes",
                             (int)sizeof pattern - 1);
    }
    memcpy(pattern, format->data, format->size);
    pattern[format->size] = '\0';
    for (const char *at = strchr(pattern, '%'); at != NULL; at = strchr(at + 1, '%')) {
        at += at[1] == '-' ? 2 : 1;
        if (*at == '\0' || strchr("aAbBdeHIjmMpSuUwWyYGVF%", *at) == NULL) {
            return machine_fault(machine, "the format \"%%%c\" of strftime_now is not supported",
                                 *at);
        }
    }
    struct tm day = {0};
    int year = 0, month = 0, date = 0;
    sscanf(machine->date, "%d-%d-%d", &year, &month, &date);
    day.tm_year = year - 1900;
    day.tm_mon = month - 1;
    day.tm_mday = date;
    time_t seconds = timegm(&day);
    gmtime_r(&seconds, &day);
    size_t n = strftime(result, sizeof result, pattern, &day);
    const Text *text = text_make(machine, result, n, 0);
    *out = value_text(text);
    return text != NULL;
}

bool call_global(Machine *machine, const char *name, const Arguments *arguments, Value *out) {
    return strcmp(name, "range") == 0          ? call_range(machine, arguments, out)
           : strcmp(name, "namespace") == 0    ? call_dict(machine, VALUE_NAMESPACE, arguments, out)
           : strcmp(name, "dict") == 0         ? call_dict(machine, VALUE_DICT, arguments, out)
           : strcmp(name, "strftime_now") == 0 ? call_strftime(machine, arguments, out)
                                               : call_raise(machine, arguments);
}

static bool is_iterable(Value value) {
    return value.kind == VALUE_UNDEFINED || value.kind == VALUE_LOOP ||
           (value.kind >= VALUE_TEXT && value.kind <= VALUE_DICT);
}

static bool is_sequence(Value value) {
    return value.kind == VALUE_UNDEFINED || value.kind == VALUE_TEXT || value.kind == VALUE_DICT ||
           value_is_sequence(value);
}

static bool is_callable(Value value) {
    return value.kind == VALUE_MACRO || value.kind == VALUE_FUNCTION ||
           value.kind == VALUE_METHOD || value.kind == VALUE_LOOP || value.kind == VALUE_UNDEFINED;
}

/* Tests that ask for the kind of a value alone. */
static bool kind_test(const Text *name, Value value, bool *out) {
    bool truth = value.kind == VALUE_BOOL;
    const struct {
        const char *name;
        bool answer;
    } known[] = {
        {"defined",   value.kind != VALUE_UNDEFINED               },
        {"undefined", value.kind == VALUE_UNDEFINED               },
        {"none",      value.kind == VALUE_NONE                    },
        {"boolean",   truth                                       },
        {"true",      truth && value.truth                        },
        {"false",     truth && !value.truth                       },
        {"integer",   value.kind == VALUE_INT                     },
        {"float",     value.kind == VALUE_FLOAT                   },
        {"number",    value_is_number(value)                      },
        {"string",    value.kind == VALUE_TEXT                    },
        {"mapping",   value.kind == VALUE_DICT                    },
        {"sequence",  is_sequence(value)                          },
        {"iterable",  is_iterable(value)                          },
        {"callable",  is_callable(value)                          },
        {"escaped",   value.kind == VALUE_TEXT && value.text->safe},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (text_is(name, known[i].name)) {
            *out = known[i].answer;
            return true;
        }
    }
    return false;
}

static const struct {
    const char *name;
    Operator operation;
} comparisons[] = {
    {"==",          OPERATOR_EQUAL        },
    {"eq",          OPERATOR_EQUAL        },
    {"equalto",     OPERATOR_EQUAL        },
    {"!=",          OPERATOR_UNEQUAL      },
    {"ne",          OPERATOR_UNEQUAL      },
    {">",           OPERATOR_GREATER      },
    {"gt",          OPERATOR_GREATER      },
    {"greaterthan", OPERATOR_GREATER      },
    {">=",          OPERATOR_GREATER_EQUAL},
    {"ge",          OPERATOR_GREATER_EQUAL},
    {"<",           OPERATOR_LESS         },
    {"lt",          OPERATOR_LESS         },
    {"lessthan",    OPERATOR_LESS         },
    {"<=",          OPERATOR_LESS_EQUAL   },
    {"le",          OPERATOR_LESS_EQUAL   },
    {"in",          OPERATOR_IN           },
};

static bool modulo_test(Machine *machine, const Text *name, Value self, const Arguments *arguments,
                        bool *out) {
    bool divisible = text_is(name, "divisibleby");
    if (!arguments_fit(machine, arguments, "the test", divisible, divisible, "num")) {
        return false;
    }
    Value rest;
    Value by = divisible ? arguments->value[0] : value_int(2);
    Value wanted = value_int(text_is(name, "odd"));
    if (!value_is_number(self)) {
        return machine_fault(machine, "a %s is neither odd nor even", value_type(self));
    }
    return arithmetic(machine, OPERATOR_MODULO, self, by, &rest) &&
           value_equal(machine, rest, wanted, out);
}

static bool modulo_name(const Text *name) {
    return text_is(name, "odd") || text_is(name, "even") || text_is(name, "divisibleby");
}

bool test_known(const Text *name) {
    bool unused;
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        if (text_is(name, comparisons[i].name)) {
            return true;
        }
    }
    return modulo_name(name) || kind_test(name, value_none(), &unused);
}

bool call_test(Machine *machine, const Text *name, Value self, const Arguments *arguments,
               bool *out) {
    if (kind_test(name, self, out)) {
        return arguments_fit(machine, arguments, "the test", 0, 0, "");
    }
    if (modulo_name(name)) {
        return modulo_test(machine, name, self, arguments, out);
    }
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        if (text_is(name, comparisons[i].name)) {
            return arguments_fit(machine, arguments, "the test", 1, 1, "") &&
                   compare(machine, comparisons[i].operation, self, arguments->value[0], out);
        }
    }
    return machine_refuse(machine, "the test", name);
}
