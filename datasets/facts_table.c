/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/facts_private.h"

void facts_free(FactTable *table) {
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->attributes; i++) {
        Attribute *attribute = &table->attribute[i];
        for (size_t k = 0; k < attribute->forms; k++) {
            free(attribute->form[k].element);
        }
        for (size_t k = 0; k < attribute->values; k++) {
            free(attribute->value[k]);
        }
        free(attribute->form);
        free(attribute->name);
    }
    free(table->attribute);
    word_set_done(&table->negations);
    word_set_done(&table->breaks);
    free(table);
}

/* One element: words between '|', or "*". */
static bool compile_element(const char *text, size_t n, Element *element) {
    element->words = 0;
    if (n == 1 && text[0] == '*') {
        return true;
    }
    for (size_t begin = 0, i = 0; i <= n; i++) {
        if (i == n || text[i] == '|') {
            uint64_t word;
            if (element->words == MOST_ALTERNATIVES ||
                !word_single(text + begin, i - begin, &word)) {
                return false;
            }
            element->word[element->words++] = word;
            begin = i + 1;
        }
    }
    return true;
}

static bool compile_form(const char *text, Form *form, Error *err) {
    Element element[MOST_ELEMENTS];
    size_t n = 0;
    form->weak = text[0] == '~';
    for (const char *at = text + form->weak; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length > 0) {
            if (n == MOST_ELEMENTS || !compile_element(at, length, &element[n])) {
                return error_set(err, ERROR_DATA,
                                 "the form \"%.100s\" is not a row of words between blanks, each "
                                 "plain, \"*\" or alternatives between '|'",
                                 text);
            }
            n++;
        }
        at += length + (at[length] == ' ');
    }
    if (n == 0 || element[0].words == 0 || element[n - 1].words == 0) {
        return error_set(err, ERROR_DATA,
                         "the form \"%.100s\" is empty or begins or ends in \"*\"; expected a word "
                         "there",
                         text);
    }
    form->element = mem_alloc(n, sizeof *form->element, err);
    if (form->element == NULL) {
        return false;
    }
    memcpy(form->element, element, n * sizeof *element);
    form->elements = n;
    return true;
}

bool fact_name_form(const char *name, Form *form, Error *err) {
    Words words = {0};
    bool ok = words_split(&words, name, strlen(name), err);
    size_t skip = words.count > 1 && words.word[0] == word_hash("the", 3);
    size_t n = words.count - skip;
    form->element = ok ? mem_alloc(n, sizeof *form->element, err) : NULL;
    for (size_t i = 0; form->element != NULL && i < n; i++) {
        form->element[i] = (Element){.word = {words.word[i + skip]}, .words = 1};
    }
    form->elements = n;
    words_done(&words);
    return form->element != NULL;
}

static bool add_form(Attribute *attribute, const Form *form, Error *err) {
    if (!mem_reserve(&attribute->form, &attribute->capacity, attribute->forms + 1,
                     sizeof *attribute->form, err)) {
        free(form->element);
        return false;
    }
    attribute->form[attribute->forms++] = *form;
    return true;
}

static bool read_value(Attribute *attribute, const cJSON *list, Error *err) {
    size_t index = attribute->values;
    if (index == MOST_VALUES) {
        return error_set(err, ERROR_DATA, "attribute \"%.60s\" has more than %d values",
                         attribute->name, MOST_VALUES);
    }
    attribute->value[index] = mem_strdup(list->string, err);
    if (attribute->value[index] == NULL) {
        return false;
    }
    attribute->values++;
    uint64_t bit = (uint64_t)1 << index;
    Form form = {.values = bit};
    if (attribute->names &&
        (!fact_name_form(list->string, &form, err) || !add_form(attribute, &form, err))) {
        return false;
    }
    if (!cJSON_IsArray(list)) {
        return error_set(err, ERROR_DATA, "value \"%.60s\" of \"%.60s\" needs a list of forms",
                         list->string, attribute->name);
    }
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const char *text = json_string(item);
        form = (Form){.values = bit};
        if (text == NULL) {
            return error_set(err, ERROR_DATA, "a form of \"%.60s\" of \"%.60s\" is no string",
                             list->string, attribute->name);
        }
        if (!compile_form(text, &form, err) || !add_form(attribute, &form, err)) {
            return false;
        }
    }
    return true;
}

size_t fact_find_value(const Attribute *attribute, const char *value) {
    size_t i = 0;
    while (i < attribute->values && strcmp(attribute->value[i], value) != 0) {
        i++;
    }
    return i;
}

static bool read_attribute(Attribute *attribute, const cJSON *item, Error *err) {
    attribute->name = mem_strdup(item->string, err);
    attribute->names = cJSON_IsTrue(json_member(item, "names"));
    attribute->negatable = cJSON_IsTrue(json_member(item, "negatable"));
    const cJSON *values = json_member(item, "values");
    if (attribute->name == NULL) {
        return false;
    }
    if (!cJSON_IsObject(values)) {
        return error_set(err, ERROR_DATA, "attribute \"%.60s\" has no object \"values\"",
                         item->string);
    }
    for (const cJSON *value = values->child; value != NULL; value = value->next) {
        if (!read_value(attribute, value, err)) {
            return false;
        }
    }
    if (attribute->negatable && attribute->values != 2) {
        return error_set(err, ERROR_DATA,
                         "the negatable attribute \"%.60s\" has %zu values; expected two",
                         item->string, attribute->values);
    }
    const cJSON *generic = json_member(item, "generic");
    for (generic = generic == NULL ? NULL : generic->child; generic != NULL;
         generic = generic->next) {
        const char *text = json_string(generic);
        size_t index = text == NULL ? attribute->values : fact_find_value(attribute, text);
        if (index == attribute->values) {
            return error_set(err, ERROR_DATA, "\"generic\" of \"%.60s\" names no value of it",
                             item->string);
        }
        attribute->generic |= (uint64_t)1 << index;
    }
    return true;
}

static bool read_words(const cJSON *list, WordSet *set, Error *err) {
    const cJSON *item = cJSON_IsArray(list) ? list->child : NULL;
    for (; item != NULL; item = item->next) {
        const char *text = json_string(item);
        uint64_t word;
        if (text == NULL || !word_single(text, strlen(text), &word)) {
            return error_set(err, ERROR_DATA,
                             "\"negations\" and \"breaks\" hold something else than single words");
        }
        if (!word_set_add(set, word, err)) {
            return false;
        }
    }
    return true;
}

static bool read_table(FactTable *table, const cJSON *tree, Error *err) {
    const cJSON *attributes = json_member(tree, "attributes");
    if (!cJSON_IsObject(attributes) || attributes->child == NULL) {
        return error_set(err, ERROR_DATA,
                         "a table of facts without an object \"attributes\"; expected "
                         "{\"attributes\": {\"name\": {\"values\": {...}}}}");
    }
    int64_t window = 4;
    const cJSON *item = json_member(tree, "negation_window");
    if (item != NULL && !json_integer(item, 0, 100, &window)) {
        return error_set(err, ERROR_DATA, "\"negation_window\" is no whole number from 0 to 100");
    }
    table->window = (size_t)window;
    size_t n = (size_t)cJSON_GetArraySize(attributes);
    table->attribute = mem_alloc(n, sizeof *table->attribute, err);
    if (table->attribute == NULL) {
        return false;
    }
    for (item = attributes->child; item != NULL; item = item->next) {
        if (!read_attribute(&table->attribute[table->attributes++], item, err)) {
            return false;
        }
    }
    return read_words(json_member(tree, "negations"), &table->negations, err) &&
           read_words(json_member(tree, "breaks"), &table->breaks, err);
}

static FactTable *from_tree(cJSON *tree, const char *path, Error *err) {
    FactTable *table = tree == NULL ? NULL : mem_alloc(1, sizeof *table, err);
    if (table != NULL && !read_table(table, tree, err)) {
        if (err != NULL && err->code == ERROR_DATA) {
            error_wrap(err, "%s", path);
        }
        facts_free(table);
        table = NULL;
    }
    cJSON_Delete(tree);
    return table;
}

FactTable *facts_parse(const char *text, size_t n, const char *path, Error *err) {
    return from_tree(json_parse(text, n, path, 1, &json_limits_config, err), path, err);
}

FactTable *facts_load(const char *path, Error *err) {
    return from_tree(json_read_file(path, &json_limits_config, err), path, err);
}
