/* SPDX-License-Identifier: MIT
 *
 * Functions of values: "text".upper(), dict.items(), list.index(x). Those that would change a value
 * are refused, as Jinja2's sandbox does.
 */
#include <string.h>

#include "common/jinja/filters.h"
#include "common/jinja/strings.h"

static bool give(const Text *text, Value *out) {
    *out = value_text(text);
    return text != NULL;
}

static bool strip_method(Machine *machine, const Text *self, const Text *name,
                         const Arguments *arguments, Value *out) {
    const Text *chars = NULL;
    return arguments_fit(machine, arguments, "strip", 0, 1, "") &&
           argument_text(machine, arguments, 0, "chars", &chars) &&
           give(
               text_strip(machine, self, chars, !text_is(name, "rstrip"), !text_is(name, "lstrip")),
               out);
}

static bool split_method(Machine *machine, const Text *self, const Text *name,
                         const Arguments *arguments, Value *out) {
    const Text *separator = NULL;
    int64_t limit = -1;
    return arguments_fit(machine, arguments, "split", 0, 2, "sep maxsplit") &&
           argument_text(machine, arguments, 0, "sep", &separator) &&
           argument_int(machine, arguments, 1, "maxsplit", -1, &limit) &&
           text_split(machine, self, separator, limit, text_is(name, "rsplit"), out);
}

static bool lines_method(Machine *machine, const Text *self, const Text *name,
                         const Arguments *arguments, Value *out) {
    (void)name;
    List *list = NULL;
    bool ok = arguments_fit(machine, arguments, "splitlines", 0, 1, "keepends") &&
              text_lines(machine, self, argument_bool(arguments, 0, "keepends", false), &list);
    *out = value_list(VALUE_LIST, list);
    return ok;
}

static bool at_end(const Text *self, const Text *part, bool end) {
    return part->size <= self->size &&
           memcmp(self->data + (end ? self->size - part->size : 0), part->data, part->size) == 0;
}

static bool affix_method(Machine *machine, const Text *self, const Text *name,
                         const Arguments *arguments, Value *out) {
    if (!arguments_fit(machine, arguments, "startswith and endswith", 1, 1, "")) {
        return false;
    }
    Value wanted = arguments->value[0];
    bool tuple = wanted.kind == VALUE_TUPLE, found = false;
    size_t n = tuple ? wanted.list->count : 1;
    for (size_t i = 0; i < n && !found; i++) {
        Value part = tuple ? wanted.list->item[i] : wanted;
        if (part.kind != VALUE_TEXT) {
            return machine_fault(machine, "expected a text or a tuple of texts, found a %s",
                                 value_type(part));
        }
        found = at_end(self, part.text, text_is(name, "endswith"));
    }
    *out = value_bool(found);
    return machine_spend(machine, n / 16);
}

static bool remove_method(Machine *machine, const Text *self, const Text *name,
                          const Arguments *arguments, Value *out) {
    const Text *part = NULL;
    if (!arguments_fit(machine, arguments, "the method", 1, 1, "") ||
        !argument_text(machine, arguments, 0, "affix", &part)) {
        return false;
    }
    if (part == NULL) {
        return machine_fault(machine, "expected a text, found none");
    }
    bool end = text_is(name, "removesuffix"), found = at_end(self, part, end);
    size_t begin = found && !end ? part->size : 0;
    return give(
        text_slice(machine, self, begin, found && end ? self->size - part->size : self->size), out);
}

static bool replace_method(Machine *machine, const Text *self, const Text *name,
                           const Arguments *arguments, Value *out) {
    (void)name;
    const Text *old = NULL, *by = NULL;
    int64_t count = -1;
    if (!arguments_fit(machine, arguments, "replace", 2, 3, "") ||
        !argument_text(machine, arguments, 0, "old", &old) ||
        !argument_text(machine, arguments, 1, "new", &by) ||
        !argument_int(machine, arguments, 2, "count", -1, &count)) {
        return false;
    }
    if (old == NULL || by == NULL) {
        return machine_fault(machine, "replace takes two texts");
    }
    return give(text_replace(machine, self, old, by, count), out);
}

/* find, rfind, index, rindex, count: offsets are code points. */
static bool find_method(Machine *machine, const Text *self, const Text *name,
                        const Arguments *arguments, Value *out) {
    const Text *part = NULL;
    if (!arguments_fit(machine, arguments, "the method", 1, 1, "") ||
        !argument_text(machine, arguments, 0, "part", &part)) {
        return false;
    }
    if (part == NULL) {
        return machine_fault(machine, "expected a text, found none");
    }
    bool last = name->data[0] == 'r', counting = text_is(name, "count");
    size_t found = SIZE_MAX, finds = 0, at = 0;
    while (at <= self->size && (last || counting || finds == 0)) {
        size_t next = text_find(self, part, at, self->size);
        if (next == SIZE_MAX) {
            break;
        }
        found = next;
        finds++;
        bool step = part->size == 0 || !counting; /* counted ones do not overlap */
        at = step ? text_offset(self, next, 1) + (next == self->size) : next + part->size;
        if (finds % 64 == 0 && !machine_spend(machine, 1)) {
            return false;
        }
    }
    if (found == SIZE_MAX && text_is(name, last ? "rindex" : "index")) {
        return machine_fault(machine, "the text is not found");
    }
    Text before = {.data = self->data, .size = found == SIZE_MAX ? 0 : (uint32_t)found};
    *out = value_int(counting            ? (int64_t)finds
                     : found == SIZE_MAX ? -1
                                         : (int64_t)text_length(&before));
    return machine_spend_bytes(machine, self->size);
}

static bool join_method(Machine *machine, const Text *self, const Text *name,
                        const Arguments *arguments, Value *out) {
    (void)name;
    List *list = NULL;
    return arguments_fit(machine, arguments, "join", 1, 1, "") &&
           value_items(machine, arguments->value[0], &list) &&
           give(text_join(machine, self, list, true), out);
}

static bool case_method(Machine *machine, const Text *self, const Text *name,
                        const Arguments *arguments, Value *out) {
    TextCase how = text_is(name, "upper")   ? CASE_UPPER
                   : text_is(name, "lower") ? CASE_LOWER
                   : text_is(name, "title") ? CASE_TITLE
                                            : CASE_CAPITALIZE;
    return arguments_fit(machine, arguments, "the method", 0, 0, "") &&
           give(text_case(machine, self, how), out);
}

/* The value that {…} of a format names: by its place, or the next one. */
static const Value *format_value(const Arguments *arguments, const char *field, size_t n,
                                 int64_t *next) {
    size_t by_place = arguments->count - arguments->names, number = 0;
    bool digits = n > 0 && n < 4;
    for (size_t i = 0; digits && i < n; i++) {
        digits = field[i] >= '0' && field[i] <= '9';
        number = number * 10 + (size_t)(field[i] - '0');
    }
    if (n == 0 || digits) {
        if (n == 0 ? *next < 0 : *next > 0) {
            return NULL; /* counted and numbered fields do not mix */
        }
        number = n == 0 ? (size_t)(*next)++ : number;
        *next = n == 0 ? *next : -1;
        return number < by_place ? &arguments->value[number] : NULL;
    }
    for (size_t i = 0; i < arguments->names; i++) {
        if (arguments->name[i]->size == n && memcmp(arguments->name[i]->data, field, n) == 0) {
            return &arguments->value[by_place + i];
        }
    }
    return NULL;
}

static bool format_method(Machine *machine, const Text *self, const Text *name,
                          const Arguments *arguments, Value *out) {
    (void)name;
    Builder builder = {.machine = machine};
    int64_t next = 0;
    for (size_t at = 0; at < self->size;) {
        size_t begin = at;
        while (at < self->size && self->data[at] != '{' && self->data[at] != '}') {
            at++;
        }
        if (!builder_slice(&builder, self, begin, at, 0)) {
            return false;
        }
        if (at == self->size) {
            break;
        }
        if (at + 1 < self->size && self->data[at + 1] == self->data[at]) {
            if (!builder_slice(&builder, self, at, at + 1, 0)) {
                return false;
            }
            at += 2;
            continue;
        }
        const char *end =
            self->data[at] == '}' ? NULL : memchr(self->data + at, '}', self->size - at);
        size_t n = end == NULL ? 0 : (size_t)(end - self->data) - at - 1;
        const Value *value =
            end == NULL ? NULL : format_value(arguments, self->data + at + 1, n, &next);
        if (value == NULL) {
            return machine_fault(machine, "only {}, {0} and {name} of given values are supported "
                                          "in a format");
        }
        if (!machine_spend(machine, 1) || !value_print(machine, *value, &builder)) {
            return false;
        }
        at += n + 2;
    }
    return give(builder_finish(&builder), out);
}

static const struct {
    const char *name;
    bool (*method)(Machine *machine, const Text *self, const Text *name, const Arguments *arguments,
                   Value *out);
    bool markup; /* the same for a text that is marked |safe */
} methods[] = {
    {"capitalize",   case_method,    true },
    {"count",        find_method,    true },
    {"endswith",     affix_method,   true },
    {"find",         find_method,    true },
    {"format",       format_method,  false},
    {"index",        find_method,    true },
    {"join",         join_method,    false},
    {"lower",        case_method,    true },
    {"lstrip",       strip_method,   true },
    {"removeprefix", remove_method,  true },
    {"removesuffix", remove_method,  true },
    {"replace",      replace_method, false},
    {"rfind",        find_method,    true },
    {"rindex",       find_method,    true },
    {"rsplit",       split_method,   true },
    {"rstrip",       strip_method,   true },
    {"split",        split_method,   true },
    {"splitlines",   lines_method,   true },
    {"startswith",   affix_method,   true },
    {"strip",        strip_method,   true },
    {"title",        case_method,    true },
    {"upper",        case_method,    true },
};

bool call_text_method(Machine *machine, const Text *self, const Text *name,
                      const Arguments *arguments, Value *out) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (text_is(name, methods[i].name) && (methods[i].markup || !self->safe)) {
            return methods[i].method(machine, self, name, arguments, out);
        }
    }
    return machine_refuse(
        machine, self->safe ? "of a text that is marked |safe, the method" : "the method", name);
}

static bool get_method(Machine *machine, const Dict *self, const Arguments *arguments, Value *out) {
    bool found = false;
    if (!arguments_fit(machine, arguments, "get", 1, 2, "") ||
        !value_hashable(machine, arguments->value[0])) {
        return false;
    }
    Value absent = arguments->count == 2 ? arguments->value[1] : value_none();
    if (!dict_find(machine, self, arguments->value[0], out, &found)) {
        return false;
    }
    *out = found ? *out : absent;
    return true;
}

static bool dict_method(Machine *machine, Value self, const Text *name, const Arguments *arguments,
                        Value *out) {
    if (text_is(name, "get")) {
        return get_method(machine, self.dict, arguments, out);
    }
    if (!arguments_fit(machine, arguments, "the method", 0, 0, "")) {
        return false;
    }
    if (text_is(name, "copy")) {
        *out = self;
        return true;
    }
    if (text_is(name, "items")) {
        bool ok = filter_items(machine, self, arguments, out);
        out->kind = VALUE_VIEW;
        return ok;
    }
    bool values = text_is(name, "values");
    List *list = list_make(machine, self.dict->count);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        list->item[i] = values ? self.dict->pair[i].value : self.dict->pair[i].key;
    }
    *out = value_list(VALUE_VIEW, list);
    return list != NULL && machine_spend(machine, list->count / 16);
}

/* index and count of a list, tuple or range. */
static bool list_method(Machine *machine, const List *self, const Text *name,
                        const Arguments *arguments, Value *out) {
    int64_t count = 0;
    if (!arguments_fit(machine, arguments, "the method", 1, 1, "")) {
        return false;
    }
    for (size_t i = 0; i < self->count; i++) {
        bool equal = false;
        if (!value_equal(machine, self->item[i], arguments->value[0], &equal)) {
            return false;
        }
        if (equal && text_is(name, "index")) {
            *out = value_int((int64_t)i);
            return true;
        }
        count += equal;
    }
    *out = value_int(count);
    return text_is(name, "count") || machine_fault(machine, "the value is not in the list");
}

bool call_method(Machine *machine, const Method *method, const Arguments *arguments, Value *out) {
    const Text *name = method->name;
    static const char *const dict_methods[] = {"get", "items", "keys", "values", "copy"};
    if (method->self.kind == VALUE_TEXT) {
        return call_text_method(machine, method->self.text, name, arguments, out);
    }
    for (size_t i = 0; method->self.kind == VALUE_DICT && i < 5; i++) {
        if (text_is(name, dict_methods[i])) {
            return dict_method(machine, method->self, name, arguments, out);
        }
    }
    if (value_is_sequence(method->self) && (text_is(name, "index") || text_is(name, "count"))) {
        return list_method(machine, method->self.list, name, arguments, out);
    }
    return machine_refuse(machine, "the method", name);
}
