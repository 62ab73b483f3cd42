/* SPDX-License-Identifier: MIT
 *
 * Cards and texts of the shipped example (datasets/samples): a card has a few facts about a mountain
 * shelter, a text says them in one to four sentences. Made up; every choice is a function of a stream of
 * random numbers.
 */
#ifndef RLHF_TOOLS_SAMPLE_TEXTS_H
#define RLHF_TOOLS_SAMPLE_TEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/random.h"
#include "common/base/str.h"

/* In the order in which a prompt lists them. */
typedef enum CardField {
    CARD_NAME,
    CARD_KIND,
    CARD_PLACE,
    CARD_FOOD,
    CARD_PRICE,
    CARD_DOGS,
    CARD_SEASON,
    CARD_NEAR,
    CARD_FIELDS,
} CardField;

enum { CARD_ABSENT = -1 };

/* The index of each field's value, or CARD_ABSENT; the name is always there. */
typedef struct Card {
    int value[CARD_FIELDS];
} Card;

/* A stream with the number of the next draw. */
typedef struct Dice {
    Random stream;
    uint64_t drawn;
} Dice;

size_t dice_below(Dice *dice, size_t n); /* 0 ... n - 1 */
bool dice_chance(Dice *dice, double p);

size_t card_values(CardField field);
Card card_draw(Dice *dice, size_t facts); /* facts: 3 ... 8, the name among them */
bool card_equal(const Card *a, const Card *b);

/* "name[Old Larch], kind[hut], dogs[no]" */
void card_prompt(const Card *card, Str *out);

/* One or more sentences that say exactly the card's facts. */
void card_text(const Card *card, Dice *dice, Str *out);

#endif
