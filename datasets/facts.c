/* SPDX-License-Identifier: MIT */
#include "datasets/facts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/facts_words.h"

enum {
    MOST_VALUES = 64,
    MOST_ALTERNATIVES = 40,
    MOST_ELEMENTS = 16,
    MOST_MATCHES = 256,
    MOST_FACTS = 32,
    LONGEST_GAP = 3, /* words a "*" may stand for */
};

typedef struct Element {
    uint64_t word[MOST_ALTERNATIVES];
    size_t words; /* 0: "*" */
} Element;

typedef struct Form {
    uint64_t values;  /* bit set */
    bool weak;        /* realizes a value, but invents none */
    Element *element; /* owned */
    size_t elements;
} Form;

typedef struct Attribute {
    char *name;
    bool names, negatable;
    char *value[MOST_VALUES];
    size_t values;
    uint64_t generic; /* bit set */
    Form *form;       /* owned */
    size_t forms, capacity;
} Attribute;

struct FactTable {
    Attribute *attribute; /* owned */
    size_t attributes;
    WordSet negations, breaks;
    size_t window;
};

/* ---- the table ---- */

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

/* A name as it stands, and without a leading "the". */
static bool compile_name(const char *name, bool without_the, Form *form, Error *err) {
    Words words = {0};
    bool ok = words_split(&words, name, strlen(name), err);
    size_t skip = without_the && words.count > 1 && words.word[0] == word_hash("the", 3);
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
        (!compile_name(list->string, true, &form, err) || !add_form(attribute, &form, err))) {
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

static size_t find_value(const Attribute *attribute, const char *value) {
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
        size_t index = text == NULL ? attribute->values : find_value(attribute, text);
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

/* ---- the judgement ---- */

typedef struct Match {
    size_t begin, end;
    uint64_t values;
    bool weak;
} Match;

typedef struct Fact {
    char *attribute, *value; /* owned */
} Fact;

typedef struct Judgement {
    const FactTable *table;
    Words words;
    Fact fact[MOST_FACTS];
    size_t facts;
    FactReport *report;
    Str *detail;
} Judgement;

/* The end of the form's match at `at`, or 0. The shortest filling of each "*". */
static size_t match_at(const Judgement *judgement, const Form *form, size_t i, size_t at) {
    const Words *words = &judgement->words;
    if (i == form->elements) {
        return at;
    }
    const Element *element = &form->element[i];
    if (element->words == 0) {
        for (size_t gap = 0; gap <= LONGEST_GAP; gap++) {
            size_t end = match_at(judgement, form, i + 1, at + gap);
            if (end > 0) {
                return end;
            }
            uint64_t word = at + gap < words->count ? words->word[at + gap] : WORD_STOP;
            if (word <= WORD_COMMA || word_set_has(&judgement->table->breaks, word) ||
                word_set_has(&judgement->table->negations, word)) {
                return 0;
            }
        }
        return 0;
    }
    for (size_t k = 0; at < words->count && k < element->words; k++) {
        if (words->word[at] == element->word[k]) {
            return match_at(judgement, form, i + 1, at + 1);
        }
    }
    return 0;
}

static bool is_negated(const Judgement *judgement, size_t at) {
    for (size_t back = 1; back <= judgement->table->window && back <= at; back++) {
        uint64_t word = judgement->words.word[at - back];
        if (word <= WORD_COMMA) {
            return false;
        }
        if (word_set_has(&judgement->table->negations, word)) {
            return true;
        }
    }
    return false;
}

static void add_match(Match *match, size_t *n, size_t begin, size_t end, const Form *form) {
    for (size_t i = 0; i < *n; i++) {
        if (match[i].begin == begin && match[i].end == end) {
            match[i].values |= form->values;
            match[i].weak = match[i].weak || form->weak;
            return;
        }
    }
    if (*n < MOST_MATCHES) {
        match[(*n)++] = (Match){begin, end, form->values, form->weak};
    }
}

/* Longest first, then leftmost. */
static int compare_matches(const void *a, const void *b) {
    const Match *x = a, *y = b;
    size_t m = x->end - x->begin, n = y->end - y->begin;
    return m != n ? (m < n) - (m > n) : (x->begin > y->begin) - (x->begin < y->begin);
}

static void match_form(const Judgement *judgement, const Form *form, Match *match, size_t *n) {
    for (size_t at = 0; at < judgement->words.count; at++) {
        size_t end = match_at(judgement, form, 0, at);
        if (end > 0) {
            add_match(match, n, at, end, form);
        }
    }
}

/* Keeps the longest of overlapping matches; names hide their words. */
static size_t select_matches(Judgement *judgement, const Attribute *attribute, Match *match,
                             size_t n) {
    qsort(match, n, sizeof *match, compare_matches);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool overlaps = false;
        for (size_t k = 0; k < kept; k++) {
            overlaps = overlaps || (match[i].begin < match[k].end && match[k].begin < match[i].end);
        }
        if (!overlaps) {
            match[kept++] = match[i];
        }
    }
    for (size_t i = 0; i < kept; i++) {
        uint64_t values = match[i].values;
        if (attribute->negatable && is_negated(judgement, match[i].begin)) {
            match[i].values = (values & 1) << 1 | values >> 1;
        }
        for (size_t at = match[i].begin; attribute->names && at < match[i].end; at++) {
            judgement->words.word[at] = WORD_HIDDEN;
        }
    }
    return kept;
}

static void note(Judgement *judgement, char sign, const char *attribute, const char *value) {
    if (judgement->detail != NULL) {
        str_appendf(judgement->detail, "%s%c%s[%s]", judgement->detail->size > 0 ? " " : "", sign,
                    attribute, value);
    }
}

/* Facts of one attribute against the text. */
static bool judge_attribute(Judgement *judgement, const Attribute *attribute, Error *err) {
    Match match[MOST_MATCHES];
    size_t n = 0, matches;
    uint64_t given = 0, unlisted = 0, bit_unlisted = 0;
    const char *unlisted_value = NULL;
    for (size_t i = 0; i < judgement->facts; i++) {
        const Fact *fact = &judgement->fact[i];
        if (strcmp(fact->attribute, attribute->name) != 0) {
            continue;
        }
        size_t index = find_value(attribute, fact->value);
        if (index < attribute->values) {
            given |= (uint64_t)1 << index;
        } else if (unlisted_value == NULL && attribute->values < MOST_VALUES) {
            unlisted_value = fact->value;
            bit_unlisted = (uint64_t)1 << attribute->values;
            unlisted = bit_unlisted;
        }
    }
    if (unlisted_value != NULL) {
        Form form = {.values = bit_unlisted};
        if (!compile_name(unlisted_value, true, &form, err)) {
            return false;
        }
        match_form(judgement, &form, match, &n);
        free(form.element);
    }
    for (size_t k = 0; k < attribute->forms; k++) {
        match_form(judgement, &attribute->form[k], match, &n);
    }
    matches = select_matches(judgement, attribute, match, n);
    uint64_t said = 0, wrong = 0;
    for (size_t i = 0; i < matches; i++) {
        said |= match[i].values;
        if (!match[i].weak && (match[i].values & (given | unlisted | attribute->generic)) == 0) {
            wrong |= match[i].values & -match[i].values; /* one value of the match */
        }
    }
    for (size_t v = 0; v <= attribute->values && v < MOST_VALUES; v++) {
        uint64_t bit = (uint64_t)1 << v;
        const char *value = v < attribute->values ? attribute->value[v] : unlisted_value;
        if (((given | unlisted) & bit & ~said) != 0) {
            judgement->report->missing++;
            note(judgement, '-', attribute->name, value);
        }
        if ((wrong & bit) != 0) {
            note(judgement, '+', attribute->name, value);
        }
    }
    judgement->report->invented += wrong != 0;
    return true;
}

/* "name[The Eagle], area[riverside]": every key[value]. */
static bool read_facts(Judgement *judgement, const char *prompt, Error *err) {
    const char *at = prompt;
    while (judgement->facts < MOST_FACTS) {
        at += strspn(at, " ,;\n\t");
        const char *open = strchr(at, '['), *close = open == NULL ? NULL : strchr(open, ']');
        if (close == NULL) {
            break;
        }
        Fact *fact = &judgement->fact[judgement->facts++];
        fact->attribute = mem_strndup(at, (size_t)(open - at), err);
        fact->value = mem_strndup(open + 1, (size_t)(close - open) - 1, err);
        if (fact->attribute == NULL || fact->value == NULL) {
            return false;
        }
        at = close + 1;
    }
    return judgement->facts > 0 ||
           error_set(err, ERROR_DATA,
                     "the prompt \"%.100s\" holds no fact; expected attribute[value], ...", prompt);
}

static bool judge(Judgement *judgement, Error *err) {
    const FactTable *table = judgement->table;
    for (int names = 1; names >= 0; names--) {
        for (size_t i = 0; i < table->attributes; i++) {
            const Attribute *attribute = &table->attribute[i];
            if (attribute->names == (names != 0) && !judge_attribute(judgement, attribute, err)) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < judgement->facts; i++) { /* attributes the table does not know */
        bool known = false;
        for (size_t k = 0; k < table->attributes; k++) {
            known = known || strcmp(judgement->fact[i].attribute, table->attribute[k].name) == 0;
        }
        Attribute open = {.name = judgement->fact[i].attribute};
        if (!known && !judge_attribute(judgement, &open, err)) {
            return false;
        }
    }
    return true;
}

bool facts_judge(const FactTable *table, const char *prompt, const char *text, FactReport *report,
                 Str *detail, Error *err) {
    Judgement judgement = {.table = table, .report = report, .detail = detail};
    *report = (FactReport){0};
    bool ok = read_facts(&judgement, prompt, err) &&
              words_split(&judgement.words, text, strlen(text), err) && judge(&judgement, err);
    report->given = judgement.facts;
    for (size_t i = 0; i < judgement.facts; i++) {
        free(judgement.fact[i].attribute);
        free(judgement.fact[i].value);
    }
    words_done(&judgement.words);
    return ok && (detail == NULL || str_ok(detail, err));
}
