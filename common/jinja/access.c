/* SPDX-License-Identifier: MIT
 *
 * x.name, x[index] and x[a:b:c], as Python's objects answer within Jinja2's sandbox.
 */
#include <string.h>

#include "common/jinja/ast.h"

static const char *const text_methods[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill",        NULL};
static const char *const list_methods[] = {"append", "clear",   "copy",   "count",
                                           "extend", "index",   "insert", "pop",
                                           "remove", "reverse", "sort",   NULL};
static const char *const tuple_methods[] = {"count", "index", NULL};
static const char *const dict_methods[] = {"clear",      "copy",   "fromkeys", "get",
                                           "items",      "keys",   "pop",      "popitem",
                                           "setdefault", "update", "values",   NULL};
static const char *const range_methods[] = {"count", "index", "start", "step", "stop", NULL};
static const char *const view_methods[] = {"isdisjoint", "mapping", NULL};
static const char *const integer_methods[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "imag",
    "numerator",        "real",      "to_bytes",   NULL};
static const char *const float_methods[] = {
    "as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "is_integer", "real", NULL};

static const char *const *methods_of(Value value) {
    switch (value.kind) {
    case VALUE_TEXT:
        return text_methods;
    case VALUE_LIST:
        return list_methods;
    case VALUE_TUPLE:
        return tuple_methods;
    case VALUE_DICT:
        return dict_methods;
    case VALUE_RANGE:
        return range_methods;
    case VALUE_VIEW:
        return view_methods;
    case VALUE_BOOL:
    case VALUE_INT:
        return integer_methods;
    case VALUE_FLOAT:
        return float_methods;
    default:
        return NULL;
    }
}

static bool has_method(Value value, const Text *name) {
    const char *const *known = methods_of(value);
    for (; known != NULL && *known != NULL; known++) {
        if (text_is(name, *known)) {
            return true;
        }
    }
    return false;
}

static bool bind(Machine *machine, Value self, const Text *name, Value *out) {
    Method *method = machine_take(machine, 1, sizeof *method);
    if (method == NULL) {
        return false;
    }
    *method = (Method){self, name};
    *out = (Value){.kind = VALUE_METHOD, .method = method};
    return true;
}

static bool undefined_self(Machine *machine, Value self) {
    return machine_fault(machine, "%s%s%s is undefined", self.name == NULL ? "" : "\"",
                         self.name == NULL ? "the value" : self.name,
                         self.name == NULL ? "" : "\"");
}

static bool missing(Machine *machine, const Text *name, Value *out) {
    char *copy = machine_take(machine, name->size + 1, 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, name->data, name->size);
    *out = value_undefined(copy);
    return true;
}

static bool loop_attribute(Machine *machine, const Loop *loop, const Text *name, Value *out) {
    size_t count = loop->list->count;
    const struct {
        const char *name;
        Value value;
    } known[] = {
        {"index",     value_int((int64_t)loop->index + 1)                                            },
        {"index0",    value_int((int64_t)loop->index)                                                },
        {"revindex",  value_int((int64_t)(count - loop->index))                                      },
        {"revindex0", value_int((int64_t)(count - loop->index) - 1)                                  },
        {"first",     value_bool(loop->index == 0)                                                   },
        {"last",      value_bool(loop->index + 1 == count)                                           },
        {"length",    value_int((int64_t)count)                                                      },
        {"depth",     value_int(1)                                                                   },
        {"depth0",    value_int(0)                                                                   },
        {"previtem",
         loop->index == 0 ? value_undefined("loop.previtem") : loop->list->item[loop->index - 1]     },
        {"nextitem",  loop->index + 1 == count ? value_undefined("loop.nextitem")
                                              : loop->list->item[loop->index + 1]},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (text_is(name, known[i].name)) {
            *out = known[i].value;
            return true;
        }
    }
    if (text_is(name, "cycle") || text_is(name, "changed")) {
        return machine_refuse(machine, "the loop's function", name);
    }
    return missing(machine, name, out);
}

bool get_attribute(Machine *machine, Value self, const Text *name, Value *out) {
    const Value *found = NULL;
    if (name->size >= 2 && memcmp(name->data, "__", 2) == 0) {
        return machine_refuse(machine, "the attribute", name);
    }
    switch (self.kind) {
    case VALUE_UNDEFINED:
        return undefined_self(machine, self);
    case VALUE_LOOP:
        return loop_attribute(machine, self.loop, name, out);
    case VALUE_MACRO:
    case VALUE_FUNCTION:
    case VALUE_METHOD:
    case VALUE_ITERATOR:
        return machine_fault(machine, "attributes of a %s are not supported", value_type(self));
    case VALUE_DICT:
    case VALUE_NAMESPACE:
        machine->namespace_reads += self.kind == VALUE_NAMESPACE;
        found = has_method(self, name) ? NULL : dict_name(self.dict, name);
        if (!machine_spend(machine, self.dict->count / 16)) {
            return false;
        }
        break;
    default:
        break;
    }
    if (found != NULL) {
        *out = *found;
        return true;
    }
    return has_method(self, name) ? bind(machine, self, name, out) : missing(machine, name, out);
}

static bool item_at(Machine *machine, Value self, int64_t index, Value *out) {
    if (self.kind == VALUE_TEXT) {
        int64_t length = (int64_t)text_length(self.text);
        index += index < 0 ? length : 0;
        if (index < 0 || index >= length) {
            *out = value_undefined(NULL);
            return true;
        }
        size_t begin = text_offset(self.text, 0, (size_t)index);
        const Text *part = text_slice(machine, self.text, begin, text_offset(self.text, begin, 1));
        *out = value_text(part);
        return part != NULL && machine_spend_bytes(machine, self.text->size);
    }
    int64_t length = (int64_t)self.list->count;
    index += index < 0 ? length : 0;
    *out = index < 0 || index >= length ? value_undefined(NULL) : self.list->item[index];
    return true;
}

bool get_item(Machine *machine, Value self, Value index, Value *out) {
    int64_t at = 0;
    bool found = false;
    *out = value_undefined(NULL);
    switch (self.kind) {
    case VALUE_UNDEFINED:
        return undefined_self(machine, self);
    case VALUE_DICT:
        if (index.kind == VALUE_LIST || index.kind == VALUE_DICT) {
            return true; /* not hashable, which getitem takes for missing */
        }
        if (!dict_find(machine, self.dict, index, out, &found)) {
            return false;
        }
        break;
    case VALUE_TEXT:
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
        if (value_integer(index, &at)) {
            return item_at(machine, self, at, out);
        }
        break;
    default:
        break;
    }
    if (found || index.kind != VALUE_TEXT) {
        return true;
    }
    if (self.kind == VALUE_DICT && !has_method(self, index.text)) {
        return missing(machine, index.text, out);
    }
    return get_attribute(machine, self, index.text, out);
}

/* Bounds as Python's slice.indices gives them. */
static bool slice_bounds(Machine *machine, const Value bound[3], int64_t length, int64_t out[3]) {
    int64_t given[3] = {0, 0, 1};
    for (int i = 0; i < 3; i++) {
        if (bound[i].kind != VALUE_NONE && !value_integer(bound[i], &given[i])) {
            return machine_fault(machine, "a slice goes from number to number, not a %s",
                                 value_type(bound[i]));
        }
    }
    int64_t step = given[2];
    if (step == 0) {
        return machine_fault(machine, "the step of a slice is 0");
    }
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? length - 1 : length;
    for (int i = 0; i < 2; i++) {
        int64_t at = given[i];
        if (bound[i].kind == VALUE_NONE) {
            out[i] = (i == 0) == (step > 0) ? low : high;
            continue;
        }
        at = at < 0 && at >= -length ? at + length : at < 0 ? low : at;
        out[i] = at > high ? high : at;
    }
    out[2] = step;
    return true;
}

static size_t slice_count(const int64_t range[3]) {
    int64_t begin = range[0], end = range[1], step = range[2];
    if (step > 0 ? begin >= end : begin <= end) {
        return 0;
    }
    uint64_t distance = (uint64_t)(step > 0 ? end - begin : begin - end);
    uint64_t stride = step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    return (size_t)((distance - 1) / stride + 1);
}

static bool slice_text(Machine *machine, const Text *text, const Value bound[3], Value *out) {
    int64_t range[3];
    const Text *result = NULL;
    if (!machine_spend_bytes(machine, text->size) ||
        !slice_bounds(machine, bound, (int64_t)text_length(text), range)) {
        return false;
    }
    size_t count = slice_count(range);
    if (range[2] == 1 || count == 0) {
        size_t begin = text_offset(text, 0, count == 0 ? 0 : (size_t)range[0]);
        result = text_slice(machine, text, begin, text_offset(text, begin, count));
    } else {
        List *codes = NULL;
        Builder builder = {.machine = machine};
        bool ok = value_items(machine, value_text(text), &codes);
        for (size_t i = 0; ok && i < count; i++) {
            ok = builder_text(&builder, codes->item[range[0] + (int64_t)i * range[2]].text);
        }
        result = ok ? builder_finish(&builder) : NULL;
    }
    *out = value_text(result);
    return result != NULL;
}

bool get_slice(Machine *machine, Value self, const Value bound[3], Value *out) {
    if (self.kind == VALUE_TEXT) {
        return slice_text(machine, self.text, bound, out);
    }
    if (self.kind == VALUE_UNDEFINED) {
        return undefined_self(machine, self);
    }
    if (!value_is_sequence(self)) {
        return machine_fault(machine, "a %s cannot be sliced", value_type(self));
    }
    int64_t range[3];
    if (!slice_bounds(machine, bound, (int64_t)self.list->count, range)) {
        return false;
    }
    size_t count = slice_count(range);
    List *list = machine_spend(machine, count / 16) ? list_make(machine, count) : NULL;
    for (size_t i = 0; list != NULL && i < count; i++) {
        list->item[i] = self.list->item[range[0] + (int64_t)i * range[2]];
    }
    *out = value_list(self.kind, list);
    return list != NULL;
}
