/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "common/jinja/value.h"

Value value_none(void) {
    return (Value){.kind = VALUE_NONE};
}

Value value_undefined(const char *name) {
    return (Value){.kind = VALUE_UNDEFINED, .name = name};
}

Value value_bool(bool truth) {
    return (Value){.kind = VALUE_BOOL, .truth = truth};
}

Value value_int(int64_t integer) {
    return (Value){.kind = VALUE_INT, .integer = integer};
}

Value value_float(double real) {
    return (Value){.kind = VALUE_FLOAT, .real = real};
}

Value value_text(const Text *text) {
    return (Value){.kind = VALUE_TEXT, .text = text};
}

Value value_list(ValueKind kind, List *list) {
    return (Value){.kind = kind, .list = list};
}

List *list_make(Machine *machine, size_t count) {
    List *list = machine_take(machine, 1, sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    list->item = count == 0 ? NULL : machine_take(machine, count, sizeof *list->item);
    list->count = count;
    return count == 0 || list->item != NULL ? list : NULL;
}

bool list_push(Machine *machine, List *list, size_t *capacity, Value value) {
    if (list->count == *capacity) {
        size_t wanted = *capacity == 0 ? 8 : 2 * *capacity;
        Value *grown = machine_take(machine, wanted, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (list->count > 0) {
            memcpy(grown, list->item, list->count * sizeof *grown);
        }
        list->item = grown;
        *capacity = wanted;
    }
    list->item[list->count++] = value;
    return machine_spend(machine, 1);
}

bool value_truth(Value value) {
    switch (value.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return false;
    case VALUE_BOOL:
        return value.truth;
    case VALUE_INT:
        return value.integer != 0;
    case VALUE_FLOAT:
        return value.real != 0;
    case VALUE_TEXT:
        return value.text->size > 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW:
        return value.list->count > 0;
    case VALUE_DICT:
        return value.dict->count > 0;
    default:
        return true;
    }
}

const char *value_type(Value value) {
    static const char *const names[] = {
        [VALUE_UNDEFINED] = "undefined", [VALUE_NONE] = "NoneType",
        [VALUE_BOOL] = "bool",           [VALUE_INT] = "int",
        [VALUE_FLOAT] = "float",         [VALUE_TEXT] = "str",
        [VALUE_LIST] = "list",           [VALUE_TUPLE] = "tuple",
        [VALUE_RANGE] = "range",         [VALUE_ITERATOR] = "generator",
        [VALUE_VIEW] = "dict view",      [VALUE_DICT] = "dict",
        [VALUE_NAMESPACE] = "namespace", [VALUE_LOOP] = "loop",
        [VALUE_MACRO] = "macro",         [VALUE_FUNCTION] = "function",
        [VALUE_METHOD] = "method",
    };
    return names[value.kind];
}

bool value_is_number(Value value) {
    return value.kind == VALUE_BOOL || value.kind == VALUE_INT || value.kind == VALUE_FLOAT;
}

double value_real(Value value) {
    return value.kind == VALUE_FLOAT ? value.real
           : value.kind == VALUE_INT ? (double)value.integer
                                     : (double)value.truth;
}

bool value_integer(Value value, int64_t *out) {
    if (value.kind == VALUE_BOOL) {
        *out = value.truth;
        return true;
    }
    if (value.kind == VALUE_INT) {
        *out = value.integer;
        return true;
    }
    return false;
}

bool value_is_sequence(Value value) {
    return value.kind == VALUE_LIST || value.kind == VALUE_TUPLE || value.kind == VALUE_RANGE;
}

/* Exact also where an integer has more than 53 bits. */
static int order_numbers(Value a, Value b, bool *ordered) {
    int64_t i = 0, j = 0;
    *ordered = true;
    if (value_integer(a, &i) && value_integer(b, &j)) {
        return (i > j) - (i < j);
    }
    long double x = value_integer(a, &i) ? (long double)i : (long double)a.real;
    long double y = value_integer(b, &j) ? (long double)j : (long double)b.real;
    *ordered = x == x && y == y;
    return (x > y) - (x < y);
}

static bool equal_dicts(Machine *machine, const Dict *a, const Dict *b, bool *equal) {
    *equal = a->count == b->count;
    for (size_t i = 0; *equal && i < a->count; i++) {
        Value other;
        bool found = false;
        if (!dict_find(machine, b, a->pair[i].key, &other, &found)) {
            return false;
        }
        *equal = found;
        if (found && !value_equal(machine, a->pair[i].value, other, equal)) {
            return false;
        }
    }
    return true;
}

static bool equal_lists(Machine *machine, const List *a, const List *b, bool *equal) {
    *equal = a->count == b->count;
    for (size_t i = 0; *equal && i < a->count; i++) {
        if (!value_equal(machine, a->item[i], b->item[i], equal)) {
            return false;
        }
    }
    return true;
}

static bool equal_same_kind(Machine *machine, Value a, Value b, bool *equal) {
    switch (a.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        *equal = true;
        return true;
    case VALUE_TEXT:
        *equal = text_equal(a.text, b.text);
        return machine_spend_bytes(machine, a.text->size);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
        return equal_lists(machine, a.list, b.list, equal);
    case VALUE_DICT:
        return equal_dicts(machine, a.dict, b.dict, equal);
    case VALUE_VIEW:
    case VALUE_METHOD:
        return machine_fault(machine, "comparing a %s is not supported", value_type(a));
    default:
        *equal = a.list == b.list; /* identity */
        return true;
    }
}

bool value_equal(Machine *machine, Value a, Value b, bool *equal) {
    if (!machine_spend(machine, 1)) {
        return false;
    }
    if (value_is_number(a) && value_is_number(b)) {
        bool ordered;
        int order = order_numbers(a, b, &ordered);
        *equal = ordered && order == 0;
        return true;
    }
    *equal = false;
    if (a.kind != b.kind) {
        return true;
    }
    if (!machine_enter(machine)) {
        return false;
    }
    bool ok = equal_same_kind(machine, a, b, equal);
    machine_leave(machine);
    return ok;
}

static bool less_lists(Machine *machine, const List *a, const List *b, bool *less) {
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool equal = false;
        if (!value_equal(machine, a->item[i], b->item[i], &equal)) {
            return false;
        }
        if (!equal) {
            return value_less(machine, a->item[i], b->item[i], less);
        }
    }
    *less = a->count < b->count;
    return true;
}

bool value_less(Machine *machine, Value a, Value b, bool *less) {
    if (!machine_spend(machine, 1)) {
        return false;
    }
    if (value_is_number(a) && value_is_number(b)) {
        bool ordered;
        int order = order_numbers(a, b, &ordered);
        *less = ordered && order < 0;
        return true;
    }
    if (a.kind == VALUE_TEXT && b.kind == VALUE_TEXT) {
        *less = text_compare(a.text, b.text) < 0;
        return machine_spend_bytes(machine, a.text->size);
    }
    if (a.kind == b.kind && (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE)) {
        if (!machine_enter(machine)) {
            return false;
        }
        bool ok = less_lists(machine, a.list, b.list, less);
        machine_leave(machine);
        return ok;
    }
    return machine_fault(machine, "a %s and a %s have no order", value_type(a), value_type(b));
}

static bool text_items(Machine *machine, const Text *text, List **out) {
    List *list = list_make(machine, text_length(text));
    if (list == NULL || !machine_spend(machine, list->count)) {
        return false;
    }
    for (size_t i = 0, at = 0; i < list->count; i++) {
        size_t end = text_offset(text, at, 1);
        const Text *part = text_slice(machine, text, at, end);
        if (part == NULL) {
            return false;
        }
        list->item[i] = value_text(part);
        at = end;
    }
    *out = list;
    return true;
}

bool value_items(Machine *machine, Value value, List **out) {
    List *list = NULL;
    switch (value.kind) {
    case VALUE_TEXT:
        return text_items(machine, value.text, out);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW:
        *out = value.list;
        return true;
    case VALUE_UNDEFINED:
    case VALUE_ITERATOR:
        list = list_make(machine, 0);
        if (list != NULL && value.kind == VALUE_ITERATOR && value.list->count > 0) {
            list->item = value.list->item + value.list->next;
            list->count = value.list->count - value.list->next;
            value.list->next = value.list->count;
        }
        *out = list;
        return list != NULL;
    case VALUE_DICT:
        list = list_make(machine, value.dict->count);
        for (size_t i = 0; list != NULL && i < list->count; i++) {
            list->item[i] = value.dict->pair[i].key;
        }
        *out = list;
        return list != NULL && machine_spend(machine, list->count / 16);
    default:
        return machine_fault(machine, "a %s cannot be iterated over", value_type(value));
    }
}

bool value_contains(Machine *machine, Value container, Value item, bool *found) {
    *found = false;
    if (container.kind == VALUE_TEXT) {
        if (item.kind != VALUE_TEXT) {
            return machine_fault(machine, "a str contains texts only, not a %s", value_type(item));
        }
        *found = text_find(container.text, item.text, 0, container.text->size) != SIZE_MAX;
        return machine_spend_bytes(machine, container.text->size);
    }
    if (container.kind == VALUE_DICT) {
        Value unused;
        return value_hashable(machine, item) &&
               dict_find(machine, container.dict, item, &unused, found);
    }
    if (container.kind == VALUE_ITERATOR) {
        List *list = container.list;
        while (!*found && list->next < list->count) {
            if (!value_equal(machine, list->item[list->next++], item, found)) {
                return false;
            }
        }
        return true;
    }
    List *list = NULL;
    if (!value_items(machine, container, &list)) {
        return false;
    }
    for (size_t i = 0; !*found && i < list->count; i++) {
        if (!value_equal(machine, list->item[i], item, found)) {
            return false;
        }
    }
    return true;
}

bool value_hashable(Machine *machine, Value value) {
    if (value.kind == VALUE_LIST || value.kind == VALUE_DICT || value.kind == VALUE_VIEW) {
        return machine_fault(machine, "a %s cannot be a key", value_type(value));
    }
    bool ok = true;
    for (size_t i = 0; ok && value.kind == VALUE_TUPLE && i < value.list->count; i++) {
        ok = machine_spend(machine, 1) && machine_enter(machine);
        if (ok) {
            ok = value_hashable(machine, value.list->item[i]);
            machine_leave(machine);
        }
    }
    return ok;
}

bool dict_find(Machine *machine, const Dict *dict, Value key, Value *value, bool *found) {
    *found = false;
    for (size_t i = 0; i < dict->count && !*found; i++) {
        Value other = dict->pair[i].key;
        if (key.kind == VALUE_TEXT && other.kind == VALUE_TEXT) {
            *found = text_equal(key.text, other.text);
        } else if (!value_equal(machine, key, other, found)) {
            return false;
        }
        if (*found) {
            *value = dict->pair[i].value;
        }
    }
    return machine_spend(machine, dict->count / 16);
}

const Value *dict_name(const Dict *dict, const Text *name) {
    for (size_t i = 0; i < dict->count; i++) {
        if (dict->pair[i].key.kind == VALUE_TEXT && text_equal(dict->pair[i].key.text, name)) {
            return &dict->pair[i].value;
        }
    }
    return NULL;
}

bool dict_put(Machine *machine, Dict *dict, Value key, Value value) {
    for (size_t i = 0; i < dict->count; i++) {
        bool equal = false;
        if (!value_equal(machine, dict->pair[i].key, key, &equal)) {
            return false;
        }
        if (equal) {
            dict->pair[i].value = value;
            return true;
        }
    }
    if (dict->count == dict->capacity) {
        size_t wanted = dict->capacity == 0 ? 4 : 2 * dict->capacity;
        Pair *grown = machine_take(machine, wanted, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (dict->count > 0) {
            memcpy(grown, dict->pair, dict->count * sizeof *grown);
        }
        dict->pair = grown;
        dict->capacity = wanted;
    }
    dict->pair[dict->count++] = (Pair){key, value};
    return true;
}

/* Stable, as Python's: with `reverse` equal ones stay in their order too. */
bool value_sort(Machine *machine, Value *key, Value *item, size_t n, bool reverse) {
    Value *spare = n < 2 ? NULL : machine_take(machine, 2 * n, sizeof *spare);
    if (n < 2) {
        return true;
    }
    if (spare == NULL) {
        return false;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t middle = low + width < n ? low + width : n;
            size_t high = middle + width < n ? middle + width : n;
            for (size_t i = low, j = middle, k = low; k < high; k++) {
                bool right = i == middle;
                if (i < middle && j < high &&
                    !value_less(machine, key[reverse ? i : j], key[reverse ? j : i], &right)) {
                    return false;
                }
                size_t from = right ? j++ : i++;
                spare[k] = key[from];
                spare[n + k] = item[from];
            }
        }
        memcpy(key, spare, n * sizeof *key);
        memcpy(item, spare + n, n * sizeof *item);
    }
    return true;
}
