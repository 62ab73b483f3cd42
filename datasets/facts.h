/* SPDX-License-Identifier: MIT
 *
 * Facts: a rule that checks what a text says against the facts of its prompt, without a judge. A prompt
 * lists facts, "name[The Eagle], area[riverside]"; a table of synonyms, which is data (JSON), says in
 * which words each value of each attribute may appear. The text is read as words (case and accents
 * folded, hyphens as blanks), so that forms match whole words only; the longest form wins.
 *
 * The table:
 *   {"attributes": {
 *      "area":   {"values": {"riverside": ["river|riverside", "by the water"], ...},
 *                 "generic": ["values whose mention without a fact is no invention"]},
 *      "name":   {"names": true, "values": {"The Eagle": []}},
 *      "family": {"negatable": true, "values": {"yes": ["kid|child friendly"], "no": ["adults only"]}}},
 *    "negations": ["not", "isn't"], "negation_window": 4, "breaks": ["and", "but"]}
 * A form is a row of words; "a|b" is either, "*" stands for up to three words that are no break and no
 * negation; a form that begins with "~" is weak: it realizes its value, but is no invention without the
 * fact. Names are matched first, by themselves, with or without "the", and hide their words from
 * everything else; values the table does not list are matched by themselves. A negation in the window
 * before a form of a negatable attribute, with no comma or stop between, turns one of its two values into
 * the other.
 */
#ifndef RLHF_DATASETS_FACTS_H
#define RLHF_DATASETS_FACTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/str.h"

typedef struct FactTable FactTable;

FactTable *facts_load(const char *path, Error *err);
FactTable *facts_parse(const char *text, size_t n, const char *path, Error *err);
void facts_free(FactTable *table);

typedef struct FactReport {
    size_t given;    /* facts of the prompt */
    size_t missing;  /* of these, without a form of their value in the text */
    size_t invented; /* attributes of which the text says a value that the prompt does not have */
} FactReport;

/* Judges a text. detail (may be NULL) gets "-area[riverside] +food[Indian]" for what is missing and
 * invented. A prompt without a fact is ERROR_DATA. */
bool facts_judge(const FactTable *table, const char *prompt, const char *text, FactReport *report,
                 Str *detail, Error *err);

#endif
