/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "datasets/facts_private.h"

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
        size_t index = fact_find_value(attribute, fact->value);
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
        if (!fact_name_form(unlisted_value, &form, err)) {
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
