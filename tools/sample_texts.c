/* SPDX-License-Identifier: MIT */
#include "tools/sample_texts.h"

#include <ctype.h>
#include <string.h>

#include "common/base/error.h"

enum { MOST_VALUES = 24, MOST_PHRASES = 4 };

/* clang-format off */
static const char *const field_name[CARD_FIELDS] = {"name",  "kind", "place",  "food",
                                                    "price", "dogs", "season", "near"};

static const char *const value_name[CARD_FIELDS][MOST_VALUES + 1] = {
    [CARD_NAME] = {"The Marmot", "The Ibex", "The Raven", "The Lantern", "The Shepherd", "The Kettle",
                   "Juniper", "Heather", "Edelweiss", "Gentian", "Old Larch", "Three Firs",
                   "Red Kite", "White Hare"},
    [CARD_KIND] = {"hut", "lodge", "inn", "hostel"},
    [CARD_PLACE] = {"lake", "forest", "valley", "pass"},
    [CARD_FOOD] = {"soup", "pancakes", "cheese", "dumplings", "stew"},
    [CARD_PRICE] = {"low", "fair", "high"},
    [CARD_DOGS] = {"yes", "no"},
    [CARD_SEASON] = {"summer", "winter", "all year"},
    [CARD_NEAR] = {"Mount Corvo", "Bell Peak", "Snow Gate", "Falcon Rock", "Otter Falls",
                   "Wolf Tower"},
};

/* Phrases of a value, by field; NULL-terminated. */
static const char *const place_phrase[][MOST_PHRASES] = {
    {"by the lake", "on the lake shore"},
    {"in the forest", "among the trees"},
    {"in the valley", "down in the valley"},
    {"on the pass", "high on the pass"},
};
static const char *const near_phrase[] = {"near", "close to"};
static const char *const food_phrase[][MOST_PHRASES] = {
    {"soup", "hot soup"}, {"pancakes"}, {"cheese", "local cheese"}, {"dumplings"}, {"stew"},
};
static const char *const food_clause[] = {"serves", "offers"};
static const char *const price_word[][MOST_PHRASES] = {
    {"cheap", "inexpensive"},
    {"fairly priced"},
    {"expensive", "pricey"},
};
static const char *const price_clause[][MOST_PHRASES] = {
    {"is cheap", "has low prices"},
    {"has fair prices", "is fairly priced"},
    {"is expensive", "has high prices"},
};
static const char *const dogs_clause[][MOST_PHRASES] = {
    {"welcomes dogs", "is dog friendly"},
    {"does not allow dogs", "is not dog friendly"},
};
static const char *const dogs_sentence[][MOST_PHRASES] = {
    {"Dogs are welcome", "You may bring your dog"},
    {"Dogs are not allowed", "Dogs must stay at home"},
};
static const char *const season_clause[][MOST_PHRASES] = {
    {"is open in summer", "opens only in summer"},
    {"is open in winter", "opens only in winter"},
    {"is open all year", "stays open all year"},
};
/* clang-format on */

size_t dice_below(Dice *dice, size_t n) {
    return (size_t)random_below(&dice->stream, dice->drawn++, n);
}

bool dice_chance(Dice *dice, double p) {
    return random_uniform(&dice->stream, dice->drawn++) < p;
}

static const char *pick(Dice *dice, const char *const phrase[MOST_PHRASES]) {
    size_t n = 0;
    while (n < MOST_PHRASES && phrase[n] != NULL) {
        n++;
    }
    return phrase[dice_below(dice, n)];
}

size_t card_values(CardField field) {
    size_t n = 0;
    while (value_name[field][n] != NULL) {
        n++;
    }
    return n;
}

bool card_equal(const Card *a, const Card *b) {
    return memcmp(a->value, b->value, sizeof a->value) == 0;
}

Card card_draw(Dice *dice, size_t facts) {
    Card card;
    bool chosen[CARD_FIELDS] = {[CARD_NAME] = true};
    for (size_t n = 1; n < facts;) {
        size_t field = dice_below(dice, CARD_FIELDS);
        n += !chosen[field];
        chosen[field] = true;
    }
    for (CardField field = 0; field < CARD_FIELDS; field++) {
        card.value[field] = chosen[field] ? (int)dice_below(dice, card_values(field)) : CARD_ABSENT;
    }
    return card;
}

void card_prompt(const Card *card, Str *out) {
    const char *between = "";
    for (CardField field = 0; field < CARD_FIELDS; field++) {
        if (card->value[field] != CARD_ABSENT) {
            str_appendf(out, "%s%s[%s]", between, field_name[field],
                        value_name[field][card->value[field]]);
            between = ", ";
        }
    }
}

/* What is still to be said. */
typedef struct Plan {
    Card left;
    Dice *dice;
    Str *out;
} Plan;

static bool has(const Plan *plan, CardField field) {
    return plan->left.value[field] != CARD_ABSENT;
}

static int take(Plan *plan, CardField field) {
    int value = plan->left.value[field];
    plan->left.value[field] = CARD_ABSENT;
    return value;
}

/* "a cheap hut", with or without the adjective. */
static void put_noun(Plan *plan) {
    const char *word = NULL;
    if (has(plan, CARD_PRICE) && dice_chance(plan->dice, 0.35)) {
        word = pick(plan->dice, price_word[take(plan, CARD_PRICE)]);
    } else if (plan->left.value[CARD_DOGS] == 0 && dice_chance(plan->dice, 0.3)) {
        take(plan, CARD_DOGS);
        word = "dog friendly";
    }
    const char *noun =
        has(plan, CARD_KIND) ? value_name[CARD_KIND][take(plan, CARD_KIND)] : "place";
    const char *first = word == NULL ? noun : word;
    str_append(plan->out, strchr("aeiou", first[0]) != NULL ? "an " : "a ");
    if (word != NULL) {
        str_appendf(plan->out, "%s ", word);
    }
    str_append(plan->out, noun);
}

static void put_name(Plan *plan) {
    str_append(plan->out, value_name[CARD_NAME][take(plan, CARD_NAME)]);
}

static void put_place(Plan *plan, const char *before) {
    if (has(plan, CARD_PLACE)) {
        const char *phrase = pick(plan->dice, place_phrase[take(plan, CARD_PLACE)]);
        str_appendf(plan->out, "%s%s", before, phrase);
    }
}

static void put_near(Plan *plan, const char *before) {
    if (has(plan, CARD_NEAR)) {
        const char *peak = value_name[CARD_NEAR][take(plan, CARD_NEAR)];
        str_appendf(plan->out, "%s%s %s", before,
                    near_phrase[dice_below(plan->dice, sizeof near_phrase / sizeof *near_phrase)],
                    peak);
    }
}

/* "serves soup": what follows "it". False if nothing of the field is left. */
static bool put_clause(Plan *plan, CardField field) {
    if (!has(plan, field)) {
        return false;
    }
    int value = take(plan, field);
    Str *out = plan->out;
    switch (field) {
    case CARD_PLACE:
        str_appendf(out, "lies %s", pick(plan->dice, place_phrase[value]));
        break;
    case CARD_NEAR:
        str_appendf(out, "stands %s %s", near_phrase[dice_below(plan->dice, 2)],
                    value_name[field][value]);
        break;
    case CARD_FOOD: {
        const char *verb = food_clause[dice_below(plan->dice, 2)];
        str_appendf(out, "%s %s", verb, pick(plan->dice, food_phrase[value]));
        break;
    }
    case CARD_PRICE:
        str_append(out, pick(plan->dice, price_clause[value]));
        break;
    case CARD_DOGS:
        str_append(out, pick(plan->dice, dogs_clause[value]));
        break;
    case CARD_SEASON:
        str_append(out, pick(plan->dice, season_clause[value]));
        break;
    case CARD_NAME:
    case CARD_KIND:
    case CARD_FIELDS:
        CHECK(false); /* the opening says them */
    }
    return true;
}

static void capitalize(Str *out, size_t at) {
    out->data[at] = (char)toupper((unsigned char)out->data[at]);
}

static void put_opening(Plan *plan) {
    Str *out = plan->out;
    size_t begin = out->size;
    size_t form = dice_below(plan->dice, 5);
    if ((form == 1 && !has(plan, CARD_NEAR)) || (form == 2 && !has(plan, CARD_PLACE))) {
        form = 0;
    }
    if (form == 0) {
        put_name(plan);
        str_append(out, " is ");
        put_noun(plan);
        put_place(plan, " ");
        if (dice_chance(plan->dice, 0.7)) {
            put_near(plan, " ");
        }
        str_append(out, ".");
    } else if (form == 1) {
        put_near(plan, "");
        str_append(out, " there is ");
        put_noun(plan);
        str_append(out, " called ");
        put_name(plan);
        str_append(out, ".");
    } else if (form == 2) {
        put_place(plan, "");
        str_append(out, " you find ");
        put_name(plan);
        str_append(out, ", ");
        put_noun(plan);
        put_near(plan, " ");
        str_append(out, ".");
    } else if (form == 3) {
        str_append(out, "looking for ");
        put_noun(plan);
        put_place(plan, " ");
        str_append(out, "? Try ");
        put_name(plan);
        put_near(plan, " ");
        str_append(out, ".");
    } else {
        str_append(out, "there is ");
        put_noun(plan);
        str_append(out, " called ");
        put_name(plan);
        put_near(plan, " ");
        put_place(plan, " ");
        str_append(out, ".");
    }
    capitalize(out, begin);
}

static size_t facts_left(const Plan *plan) {
    size_t n = 0;
    for (CardField field = 0; field < CARD_FIELDS; field++) {
        n += has(plan, field);
    }
    return n;
}

/* Some field that is left. */
static CardField any_left(const Plan *plan) {
    CardField field;
    do {
        field = (CardField)dice_below(plan->dice, CARD_FIELDS);
    } while (!has(plan, field));
    return field;
}

static void put_sentence(Plan *plan) {
    size_t left = facts_left(plan);
    CardField field = any_left(plan);
    if (field == CARD_DOGS && dice_chance(plan->dice, 0.5)) {
        str_appendf(plan->out, " %s.", pick(plan->dice, dogs_sentence[take(plan, CARD_DOGS)]));
        return;
    }
    size_t clauses = 1 + dice_below(plan->dice, left < 2 ? left : 2);
    str_append(plan->out, " It ");
    for (size_t i = 0; i < clauses; i++) {
        if (i > 0) {
            str_append(plan->out, " and ");
            field = any_left(plan);
        }
        put_clause(plan, field);
    }
    str_append(plan->out, ".");
}

void card_text(const Card *card, Dice *dice, Str *out) {
    Plan plan = {*card, dice, out};
    put_opening(&plan);
    while (facts_left(&plan) > 0) {
        put_sentence(&plan);
    }
}
