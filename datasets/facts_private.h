/* SPDX-License-Identifier: MIT
 *
 * FactTable from the inside: what reading it (facts_table.c) and judging by it (facts.c) share.
 */
#ifndef RLHF_DATASETS_FACTS_PRIVATE_H
#define RLHF_DATASETS_FACTS_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datasets/facts.h"
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

/* The form of a name as it stands, without a leading "the"; form->element is the caller's. */
bool fact_name_form(const char *name, Form *form, Error *err);

/* Index of a value, or attribute->values. */
size_t fact_find_value(const Attribute *attribute, const char *value);

#endif
