/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/jinja/filters.h"
#include "common/jinja/strings.h"

bool filter_first(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = self.kind == VALUE_ITERATOR ? self.list : NULL;
    if (!arguments_fit(machine, arguments, "first", 0, 0, "") ||
        (list == NULL && !value_items(machine, self, &list))) {
        return false;
    }
    *out = list->next < list->count ? list->item[list->next] : value_undefined(NULL);
    if (self.kind == VALUE_ITERATOR && list->next < list->count) {
        list->next++;
    }
    return true;
}

bool filter_last(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    if (!arguments_fit(machine, arguments, "last", 0, 0, "")) {
        return false;
    }
    if (self.kind == VALUE_ITERATOR) {
        return machine_fault(machine, "a generator has no last item; make a list of it first");
    }
    if (!value_items(machine, self, &list)) {
        return false;
    }
    *out = list->count > 0 ? list->item[list->count - 1] : value_undefined(NULL);
    return true;
}

bool filter_list(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    bool ok =
        arguments_fit(machine, arguments, "list", 0, 0, "") && value_items(machine, self, &list);
    *out = value_list(VALUE_LIST, list);
    return ok;
}

bool filter_items(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    if (!arguments_fit(machine, arguments, "items", 0, 0, "")) {
        return false;
    }
    if (self.kind != VALUE_DICT && self.kind != VALUE_UNDEFINED) {
        return machine_fault(machine, "only a dict has items, not a %s", value_type(self));
    }
    size_t n = self.kind == VALUE_DICT ? self.dict->count : 0;
    List *list = list_make(machine, n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        List *pair = list_make(machine, 2);
        if (pair == NULL) {
            return false;
        }
        pair->item[0] = self.dict->pair[i].key;
        pair->item[1] = self.dict->pair[i].value;
        list->item[i] = value_list(VALUE_TUPLE, pair);
    }
    *out = value_list(VALUE_ITERATOR, list);
    return list != NULL && machine_spend(machine, n);
}

/* Walks along "a.b.0". attribute: a text, a number, or NULL. */
static bool walk(Machine *machine, const Value *attribute, Value item, Value *out) {
    *out = item;
    if (attribute == NULL || attribute->kind == VALUE_NONE) {
        return true;
    }
    if (attribute->kind != VALUE_TEXT) {
        return get_item(machine, item, *attribute, out);
    }
    const Text *text = attribute->text;
    static const Text dot = {.data = ".", .size = 1};
    for (size_t at = 0; at <= text->size;) {
        size_t found = text_find(text, &dot, at, text->size);
        size_t end = found == SIZE_MAX ? text->size : found;
        const Text *part = text_slice(machine, text, at, end);
        if (part == NULL || !machine_spend(machine, 1)) {
            return false;
        }
        bool digits = part->size > 0 && part->size < 10;
        int64_t number = 0;
        for (size_t i = 0; digits && i < part->size; i++) {
            digits = part->data[i] >= '0' && part->data[i] <= '9';
            number = number * 10 + part->data[i] - '0';
        }
        Value from = *out;
        if (!get_item(machine, from, digits ? value_int(number) : value_text(part), out)) {
            return false;
        }
        at = end + 1;
    }
    return true;
}

/* The key that an item is compared by: its attribute, in lower case if case does not count. */
static bool key_of(Machine *machine, const Value *attribute, bool fold, Value item, Value *key) {
    if (!walk(machine, attribute, item, key)) {
        return false;
    }
    if (fold && key->kind == VALUE_TEXT) {
        const Text *lower = text_case(machine, key->text, CASE_LOWER);
        *key = value_text(lower);
        return lower != NULL;
    }
    return true;
}

bool filter_join(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    static const Text empty = {.data = ""};
    if (!arguments_fit(machine, arguments, "join", 0, 2, "d attribute") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    const Value *given = argument(arguments, 0, "d"),
                *attribute = argument(arguments, 1, "attribute");
    const Text *separator = given == NULL ? &empty : value_str(machine, *given);
    if (attribute != NULL && attribute->kind != VALUE_NONE) {
        List *walked = list_make(machine, list->count);
        for (size_t i = 0; walked != NULL && i < list->count; i++) {
            if (!walk(machine, attribute, list->item[i], &walked->item[i])) {
                return false;
            }
        }
        list = walked;
    }
    const Text *text =
        separator == NULL || list == NULL ? NULL : text_join(machine, separator, list, false);
    *out = value_text(text);
    return text != NULL;
}

bool filter_reverse(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    if (!arguments_fit(machine, arguments, "reverse", 0, 0, "") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    List *back = list_make(machine, list->count);
    for (size_t i = 0; back != NULL && i < list->count; i++) {
        back->item[i] = list->item[list->count - 1 - i];
    }
    if (back == NULL || !machine_spend(machine, list->count / 16)) {
        return false;
    }
    if (self.kind == VALUE_TEXT) {
        static const Text empty = {.data = ""};
        const Text *text = text_join(machine, &empty, back, true);
        *out = value_text(text);
        return text != NULL;
    }
    *out = value_list(self.kind == VALUE_ITERATOR ? VALUE_LIST : VALUE_ITERATOR, back);
    return true;
}

/* Keys of sort: several attributes with commas between them make a list. */
static bool sort_key(Machine *machine, const Value *attribute, bool fold, Value item, Value *key) {
    static const Text comma = {.data = ",", .size = 1};
    if (attribute == NULL || attribute->kind != VALUE_TEXT ||
        text_find(attribute->text, &comma, 0, attribute->text->size) == SIZE_MAX) {
        return key_of(machine, attribute, fold, item, key);
    }
    Value parts;
    if (!text_split(machine, attribute->text, &comma, -1, false, &parts)) {
        return false;
    }
    List *keys = list_make(machine, parts.list->count);
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        if (!key_of(machine, &parts.list->item[i], fold, item, &keys->item[i])) {
            return false;
        }
    }
    *key = value_list(VALUE_LIST, keys);
    return keys != NULL;
}

static bool sort_list(Machine *machine, List *items, const List *keys, bool reverse, Value *out) {
    *out = value_list(VALUE_LIST, items);
    return value_sort(machine, keys->item, items->item, items->count, reverse);
}

bool filter_sort(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    if (!arguments_fit(machine, arguments, "sort", 0, 3, "reverse case_sensitive attribute") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    bool fold = !argument_bool(arguments, 1, "case_sensitive", false);
    const Value *attribute = argument(arguments, 2, "attribute");
    List *items = list_make(machine, list->count), *keys = list_make(machine, list->count);
    for (size_t i = 0; items != NULL && keys != NULL && i < list->count; i++) {
        items->item[i] = list->item[i];
        if (!sort_key(machine, attribute, fold, list->item[i], &keys->item[i])) {
            return false;
        }
    }
    return items != NULL && keys != NULL &&
           sort_list(machine, items, keys, argument_bool(arguments, 0, "reverse", false), out);
}

bool filter_dictsort(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    const Text *by = NULL;
    Value pairs;
    Arguments none = {0};
    if (!arguments_fit(machine, arguments, "dictsort", 0, 3, "case_sensitive by reverse") ||
        !argument_text(machine, arguments, 1, "by", &by)) {
        return false;
    }
    if (self.kind != VALUE_DICT || (by != NULL && !text_is(by, "key") && !text_is(by, "value"))) {
        return machine_fault(machine, "dictsort takes a dict, and sorts by key or value");
    }
    if (!filter_items(machine, self, &none, &pairs)) {
        return false;
    }
    bool fold = !argument_bool(arguments, 0, "case_sensitive", false);
    Value place = value_int(by != NULL && text_is(by, "value"));
    List *keys = list_make(machine, pairs.list->count);
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        if (!key_of(machine, &place, fold, pairs.list->item[i], &keys->item[i])) {
            return false;
        }
    }
    return keys != NULL &&
           sort_list(machine, pairs.list, keys, argument_bool(arguments, 2, "reverse", false), out);
}

bool filter_unique(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL, *kept = list_make(machine, 0), *seen = list_make(machine, 0);
    size_t kept_capacity = 0, seen_capacity = 0;
    if (kept == NULL || seen == NULL ||
        !arguments_fit(machine, arguments, "unique", 0, 2, "case_sensitive attribute") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    bool fold = !argument_bool(arguments, 0, "case_sensitive", false);
    const Value *attribute = argument(arguments, 1, "attribute");
    for (size_t i = 0; i < list->count; i++) {
        Value key;
        bool known = false;
        if (!key_of(machine, attribute, fold, list->item[i], &key) ||
            !value_hashable(machine, key) ||
            !value_contains(machine, value_list(VALUE_LIST, seen), key, &known)) {
            return false;
        }
        if (!known && (!list_push(machine, seen, &seen_capacity, key) ||
                       !list_push(machine, kept, &kept_capacity, list->item[i]))) {
            return false;
        }
    }
    *out = value_list(VALUE_ITERATOR, kept);
    return true;
}

static bool extreme(Machine *machine, Value self, const Arguments *arguments, bool largest,
                    Value *out) {
    List *list = NULL;
    if (!arguments_fit(machine, arguments, largest ? "max" : "min", 0, 2,
                       "case_sensitive attribute") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    bool fold = !argument_bool(arguments, 0, "case_sensitive", false);
    const Value *attribute = argument(arguments, 1, "attribute");
    Value best = value_undefined(NULL), key;
    *out = value_undefined(NULL);
    for (size_t i = 0; i < list->count; i++) {
        bool better = i == 0;
        if (!key_of(machine, attribute, fold, list->item[i], &key) ||
            (i > 0 && !value_less(machine, largest ? best : key, largest ? key : best, &better))) {
            return false;
        }
        if (better) {
            best = key;
            *out = list->item[i];
        }
    }
    return true;
}

bool filter_min(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return extreme(machine, self, arguments, false, out);
}

bool filter_max(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return extreme(machine, self, arguments, true, out);
}

bool filter_sum(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL;
    if (!arguments_fit(machine, arguments, "sum", 0, 2, "attribute start") ||
        !value_items(machine, self, &list)) {
        return false;
    }
    const Value *attribute = argument(arguments, 0, "attribute");
    const Value *start = argument(arguments, 1, "start");
    *out = start == NULL ? value_int(0) : *start;
    if (out->kind == VALUE_TEXT) {
        return machine_fault(machine, "texts are joined with join, not sum");
    }
    for (size_t i = 0; i < list->count; i++) {
        Value item, before = *out;
        if (!walk(machine, attribute, list->item[i], &item) ||
            !arithmetic(machine, OPERATOR_ADD, before, item, out)) {
            return false;
        }
    }
    return true;
}

/* The arguments behind the first n, which have no names. */
static Arguments rest(const Arguments *arguments, size_t n) {
    Arguments left = *arguments;
    left.value += n;
    left.count -= n;
    return left;
}

static bool map_attribute(Machine *machine, const Arguments *arguments, Value item, Value *out) {
    const Value *absent = argument(arguments, -1, "default");
    if (!walk(machine, argument(arguments, -1, "attribute"), item, out)) {
        return false;
    }
    if (out->kind == VALUE_UNDEFINED && absent != NULL && absent->kind != VALUE_NONE) {
        *out = *absent;
    }
    return true;
}

bool filter_map(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    List *list = NULL, *mapped = NULL;
    bool by_attribute = arguments->count == arguments->names;
    const Value *name = by_attribute ? NULL : &arguments->value[0];
    if (by_attribute ? argument(arguments, -1, "attribute") == NULL ||
                           !arguments_fit(machine, arguments, "map", 1, 2, "attribute default")
                     : name->kind != VALUE_TEXT) {
        return machine_fault(machine, "map takes an attribute or the name of a filter");
    }
    const Value *attribute = by_attribute ? argument(arguments, -1, "attribute") : NULL;
    if (attribute != NULL && attribute->kind == VALUE_TEXT && arguments->count == 2) {
        static const Text dot = {.data = ".", .size = 1};
        if (text_find(attribute->text, &dot, 0, attribute->text->size) != SIZE_MAX) {
            return machine_fault(machine, "map with a default takes one attribute, without dots");
        }
    }
    if (!value_truth(self)) {
        mapped = list_make(machine, 0);
        *out = value_list(VALUE_ITERATOR, mapped);
        return mapped != NULL;
    }
    if (!value_items(machine, self, &list) || (mapped = list_make(machine, list->count)) == NULL) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        Arguments left = by_attribute ? *arguments : rest(arguments, 1);
        if (by_attribute
                ? !map_attribute(machine, arguments, list->item[i], &mapped->item[i])
                : !call_filter(machine, name->text, list->item[i], &left, &mapped->item[i])) {
            return false;
        }
    }
    *out = value_list(VALUE_ITERATOR, mapped);
    return true;
}

/* Items whose truth, or whose test, or whose attribute's truth or test, is `wanted`. */
static bool choose(Machine *machine, Value self, const Arguments *arguments, bool attribute,
                   bool wanted, Value *out) {
    List *list = NULL, *kept = list_make(machine, 0);
    size_t capacity = 0, by_place = arguments->count - arguments->names;
    if (kept == NULL) {
        return false;
    }
    *out = value_list(VALUE_ITERATOR, kept);
    if (!value_truth(self)) {
        return true;
    }
    if (by_place < attribute) {
        return machine_fault(machine, "the filter takes an attribute's name");
    }
    const Value *test = by_place > attribute ? &arguments->value[attribute] : NULL;
    if (test != NULL && test->kind != VALUE_TEXT) {
        return machine_fault(machine, "the filter takes the name of a test");
    }
    if (!value_items(machine, self, &list)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        Value item;
        if (!machine_spend(machine, 1) ||
            !walk(machine, attribute ? &arguments->value[0] : NULL, list->item[i], &item)) {
            return false;
        }
        bool truth = value_truth(item);
        if (test != NULL) {
            Arguments left = rest(arguments, attribute + 1u);
            if (!call_test(machine, test->text, item, &left, &truth)) {
                return false;
            }
        }
        if (truth == wanted && !list_push(machine, kept, &capacity, list->item[i])) {
            return false;
        }
    }
    return true;
}

bool filter_select(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return choose(machine, self, arguments, false, true, out);
}

bool filter_reject(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return choose(machine, self, arguments, false, false, out);
}

bool filter_selectattr(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return choose(machine, self, arguments, true, true, out);
}

bool filter_rejectattr(Machine *machine, Value self, const Arguments *arguments, Value *out) {
    return choose(machine, self, arguments, true, false, out);
}
