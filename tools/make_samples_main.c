/* SPDX-License-Identifier: MIT
 *
 * make-samples FOLDER: writes the shipped example. FOLDER/facts.json must stand there already: every text
 * is judged by the rule, and the program stops if the rule does not find exactly the facts that were left
 * out and made up. The same program gives the same bytes everywhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/facts.h"
#include "tools/sample_texts.h"

enum {
    SEED = 20,
    DEMONSTRATION_PROMPTS = 2400,
    TEXTS_EACH = 1,
    RANKING_PROMPTS = 2000,
    VALIDATION_PROMPTS = 60,
    RATERS = 3, /* of a validation prompt */
    COMPLETIONS = 4,
    PPO_PROMPTS = 1000,
    SELECTION_PROMPTS = 100,
    EVALUATION_PROMPTS = 200,
    ALL_PROMPTS = DEMONSTRATION_PROMPTS + RANKING_PROMPTS + VALIDATION_PROMPTS + PPO_PROMPTS +
                  SELECTION_PROMPTS + EVALUATION_PROMPTS,
};

typedef struct Maker {
    const char *folder;
    FactTable *facts;
    Card card[ALL_PROMPTS]; /* all different */
    size_t used;            /* cards given out so far */
} Maker;

/* Each text draws from a stream of its own. */
static Dice dice_for(uint64_t file, uint64_t record) {
    return (Dice){random_stream(SEED, RANDOM_TEST, file, record), 0};
}

static void draw_cards(Maker *maker) {
    Dice dice = dice_for(0, 0);
    for (size_t n = 0; n < ALL_PROMPTS;) {
        maker->card[n] = card_draw(&dice, 3 + dice_below(&dice, 4));
        bool fresh = true;
        for (size_t i = 0; i < n; i++) {
            fresh = fresh && !card_equal(&maker->card[i], &maker->card[n]);
        }
        n += fresh;
    }
}

/* Removes a fact other than the name; what people leave out most is what sounds negative. */
static void forget(Card *card, Dice *dice) {
    for (;;) {
        CardField field = (CardField)(1 + dice_below(dice, CARD_FIELDS - 1));
        bool likely = field == CARD_SEASON || (field == CARD_DOGS && card->value[field] == 1) ||
                      field == CARD_PLACE;
        if (card->value[field] != CARD_ABSENT && (likely || dice_chance(dice, 0.4))) {
            card->value[field] = CARD_ABSENT;
            return;
        }
    }
}

static size_t facts_of(const Card *card) {
    size_t n = 0;
    for (CardField field = 0; field < CARD_FIELDS; field++) {
        n += card->value[field] != CARD_ABSENT;
    }
    return n;
}

/* Gives a fact (other than the name, mostly) another value, or makes one up. */
static void invent(Card *card, bool change, Dice *dice) {
    for (size_t tries = 0; tries < 100; tries++) {
        CardField field = (CardField)dice_below(dice, CARD_FIELDS);
        if ((card->value[field] != CARD_ABSENT) != change) {
            continue;
        }
        int value = (int)dice_below(dice, card_values(field));
        if (value != card->value[field]) {
            card->value[field] = value;
            return;
        }
    }
}

static bool check_text(const Maker *maker, const Card *card, const Card *said, const char *prompt,
                       const char *text, FactReport *report, Error *err) {
    size_t missing = 0, invented = 0;
    for (CardField field = 0; field < CARD_FIELDS; field++) {
        bool differs = card->value[field] != said->value[field];
        missing += differs && card->value[field] != CARD_ABSENT;
        invented += differs && said->value[field] != CARD_ABSENT;
    }
    Str detail = {0};
    bool ok = facts_judge(maker->facts, prompt, text, report, &detail, err);
    if (ok && (report->missing != missing || report->invented != invented)) {
        ok = error_set(err, ERROR_DATA,
                       "the rule finds %s in \"%s\" for \"%s\"; expected %zu missing and %zu "
                       "invented facts",
                       str_text(&detail), text, prompt, missing, invented);
    }
    str_done(&detail);
    return ok;
}

static bool write_file(const Maker *maker, const char *name, const Str *content, Error *err) {
    char *path = file_join(maker->folder, name, err);
    bool ok = path != NULL && str_ok(content, err) &&
              file_write(path, str_text(content), content->size, err);
    free(path);
    return ok;
}

static bool make_demonstrations(Maker *maker, Error *err) {
    Str out = {0};
    str_append(&out, "prompt,completion\n");
    bool ok = true;
    for (size_t i = 0; ok && i < DEMONSTRATION_PROMPTS * TEXTS_EACH; i++) {
        const Card *card = &maker->card[maker->used + i / TEXTS_EACH];
        Dice dice = dice_for(1, i);
        Card said = *card;
        size_t forgotten = !dice_chance(&dice, 0.28) ? 0 : dice_chance(&dice, 0.75) ? 1 : 2;
        for (size_t k = 0; k < forgotten && facts_of(&said) > 2; k++) {
            forget(&said, &dice);
        }
        Str prompt = {0}, text = {0};
        FactReport report;
        card_prompt(card, &prompt);
        card_text(&said, &dice, &text);
        ok = check_text(maker, card, &said, str_text(&prompt), str_text(&text), &report, err);
        str_appendf(&out, "\"%s\",\"%s\"\n", str_text(&prompt), str_text(&text));
        str_done(&prompt);
        str_done(&text);
    }
    maker->used += DEMONSTRATION_PROMPTS;
    ok = ok && write_file(maker, "demonstrations.csv", &out, err);
    str_done(&out);
    return ok;
}

/* A text of the kind a trained model writes, and how bad it is. */
static bool make_candidate(const Maker *maker, const Card *card, const char *prompt, Dice *dice,
                           Str *text, double *badness, Error *err) {
    Card said = *card;
    size_t kind = dice_below(dice, 100);
    bool twice = kind >= 90 && kind < 96, cut = kind >= 96;
    if (kind >= 32 && kind < 72) {
        forget(&said, dice);
        if (kind >= 60 && facts_of(&said) > 2) {
            forget(&said, dice);
        }
    } else if (kind >= 72 && kind < 90) {
        invent(&said, kind < 82 || facts_of(card) == CARD_FIELDS, dice);
    }
    card_text(&said, dice, text);
    FactReport report;
    if (!check_text(maker, card, &said, prompt, str_text(text), &report, err)) {
        return false;
    }
    *badness = (double)report.missing + 1.2 * (double)report.invented;
    if (twice) { /* the last sentence once more */
        const char *last = str_text(text);
        for (const char *at = last; (at = strstr(at, ". ")) != NULL; at++) {
            last = at + 2;
        }
        char *copy = mem_strdup(last, err);
        if (copy == NULL) {
            return false;
        }
        str_appendf(text, " %s", copy);
        free(copy);
        *badness += 1;
    } else if (cut) { /* in the middle of a sentence */
        size_t n = text->size * 2 / 3;
        while (n > 0 && text->data[n] != ' ') {
            n--;
        }
        text->data[n] = '\0';
        text->size = n;
        if (!facts_judge(maker->facts, prompt, str_text(text), &report, NULL, err)) {
            return false;
        }
        *badness = (double)report.missing + 1.5;
    }
    return str_ok(text, err);
}

/* Ranks from 1, best first; texts the rater cannot tell apart are tied. */
static void rank_texts(const double badness[COMPLETIONS], Dice *dice, int rank[COMPLETIONS]) {
    double felt[COMPLETIONS];
    size_t order[COMPLETIONS];
    for (size_t i = 0; i < COMPLETIONS; i++) {
        felt[i] = badness[i] + 0.25 * random_normal(&dice->stream, dice->drawn);
        dice->drawn += 2;
        size_t k = i;
        for (; k > 0 && felt[order[k - 1]] > felt[i]; k--) {
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
    int next = 1;
    for (size_t i = 0; i < COMPLETIONS; i++) {
        if (i > 0 && felt[order[i]] - felt[order[i - 1]] > 0.2) {
            next++;
        }
        rank[order[i]] = next;
    }
}

static bool make_screen(const Maker *maker, const Card *card, uint64_t file, size_t number,
                        size_t raters, Str *out, Error *err) {
    Dice dice = dice_for(file, number);
    Str prompt = {0}, text[COMPLETIONS] = {{0}, {0}, {0}, {0}};
    double badness[COMPLETIONS];
    bool ok = true;
    card_prompt(card, &prompt);
    for (size_t i = 0; ok && i < COMPLETIONS; i++) {
        ok = make_candidate(maker, card, str_text(&prompt), &dice, &text[i], &badness[i], err);
    }
    for (size_t rater = 0; ok && rater < raters; rater++) {
        int rank[COMPLETIONS];
        rank_texts(badness, &dice, rank);
        str_append(out, "{\"prompt\": ");
        json_put_string(out, str_text(&prompt), prompt.size);
        str_append(out, ", \"completions\": [");
        for (size_t i = 0; i < COMPLETIONS; i++) {
            str_append(out, i > 0 ? ", " : "");
            json_put_string(out, str_text(&text[i]), text[i].size);
        }
        str_appendf(out, "], \"ranks\": [%d, %d, %d, %d], \"annotator\": \"%c\"}\n", rank[0],
                    rank[1], rank[2], rank[3],
                    (char)('a' + (number + rater) % 5)); /* five people in all */
    }
    for (size_t i = 0; i < COMPLETIONS; i++) {
        str_done(&text[i]);
    }
    str_done(&prompt);
    return ok;
}

static bool make_rankings(Maker *maker, const char *name, uint64_t file, size_t prompts,
                          size_t raters, Error *err) {
    Str out = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < prompts; i++) {
        ok = make_screen(maker, &maker->card[maker->used + i], file, i, raters, &out, err);
    }
    maker->used += prompts;
    ok = ok && write_file(maker, name, &out, err);
    str_done(&out);
    return ok;
}

static bool make_prompts(Maker *maker, const char *name, size_t prompts, Error *err) {
    Str out = {0};
    for (size_t i = 0; i < prompts; i++) {
        str_append(&out, "{\"prompt\": \"");
        card_prompt(&maker->card[maker->used++], &out);
        str_append(&out, "\"}\n");
    }
    bool ok = write_file(maker, name, &out, err);
    str_done(&out);
    return ok;
}

static bool make_all(Maker *maker, Error *err) {
    char *path = file_join(maker->folder, "facts.json", err);
    maker->facts = path == NULL ? NULL : facts_load(path, err);
    free(path);
    if (maker->facts == NULL) {
        return false;
    }
    draw_cards(maker);
    return make_demonstrations(maker, err) &&
           make_rankings(maker, "rankings.jsonl", 2, RANKING_PROMPTS, 1, err) &&
           make_rankings(maker, "rankings.validation.jsonl", 3, VALIDATION_PROMPTS, RATERS, err) &&
           make_prompts(maker, "prompts.jsonl", PPO_PROMPTS, err) &&
           make_prompts(maker, "prompts.validation.jsonl", SELECTION_PROMPTS, err) &&
           make_prompts(maker, "prompts.evaluation.jsonl", EVALUATION_PROMPTS, err);
}

int main(int argc, char **argv) {
    Error err = {0};
    static Maker maker;
    if (argc != 2 || argv[1][0] == '-') {
        error_set(&err, ERROR_USAGE, "usage: make-samples FOLDER (which holds facts.json)");
        error_print(&err, "make-samples", stderr);
        return (int)err.code;
    }
    maker.folder = argv[1];
    bool ok = make_all(&maker, &err);
    facts_free(maker.facts);
    if (!ok) {
        error_print(&err, "make-samples", stderr);
        return (int)err.code;
    }
    return 0;
}
