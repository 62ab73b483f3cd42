/* SPDX-License-Identifier: MIT
 *
 * The report of rlhf-eval: two files of outputs for the same prompts, told as a story that a person reads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "tools/eval.h"

enum { BAR = 30, SHOWN = 6 };

static double value_of(const EvalFile *file, const char *key) {
    for (size_t i = 0; i < file->metrics.count; i++) {
        if (strcmp(file->metrics.metric[i].key, key) == 0) {
            return file->metrics.metric[i].value;
        }
    }
    return NAN;
}

/* Text of a model or of a data file inside Markdown: nothing in it may act, on a page or a terminal.
 * As code it stands between backticks. */
static void put_foreign(Str *out, const char *text, bool code_span) {
    size_t n = strlen(text);
    if (code_span) {
        str_append_char(out, '`');
    }
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t bytes = utf8_decode(text + i, n - i, &code);
        bool control = bytes == 0 || code < 0x20 || (code >= 0x7F && code < 0xA0) ||
                       (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
        if (control) {
            str_append_char(out, ' ');
        } else if (code_span && text[i] == '`') {
            str_append_char(out, '\'');
        } else if (!code_span && strchr("\\`*_{}[]<>#|&~", text[i]) != NULL) {
            str_append_char(out, '\\');
            str_append_char(out, text[i]);
        } else {
            str_append_bytes(out, text + i, bytes);
        }
        i += bytes == 0 ? 1 : bytes;
    }
    if (code_span) {
        str_append_char(out, '`');
    }
}

static void put_bar(Str *out, const char *name, double value, double largest, bool share) {
    int filled = largest > 0 ? (int)lround(BAR * value / largest) : 0;
    str_appendf(out, "    %-12.12s ", name);
    for (int i = 0; i < BAR; i++) {
        str_append(out, i < filled ? "█" : "·");
    }
    str_appendf(out, share ? " %.1f %%\n" : " %.3f\n", share ? 100 * value : value);
}

static void put_bars(Str *out, const EvalFile *file, const char *title, const char *key,
                     bool share) {
    double a = value_of(&file[0], key), b = value_of(&file[1], key);
    if (isnan(a) || isnan(b)) {
        return;
    }
    str_appendf(out, "    %s\n", title);
    put_bar(out, file[0].name, a, fmax(a, b), share);
    put_bar(out, file[1].name, b, fmax(a, b), share);
    str_append(out, "\n");
}

static void put_change(Str *out, double a, double b) {
    if (a > 0 && b <= a) {
        str_appendf(out, "%.0f %% fewer", 100 * (a - b) / a);
    } else if (a > 0) {
        str_appendf(out, "%.0f %% more", 100 * (b - a) / a);
    } else {
        str_append(out, "none before");
    }
}

static void put_facts(Str *out, const EvalFile *file) {
    double missing[2], invented[2];
    for (int i = 0; i < 2; i++) {
        missing[i] = value_of(&file[i], "facts/missing");
        invented[i] = value_of(&file[i], "facts/invented");
    }
    if (isnan(missing[0]) || isnan(missing[1])) {
        return;
    }
    str_appendf(
        out,
        "A rule that no model has seen reads every text. **%s** leaves out %.2f facts a text "
        "where **%s** left out %.2f (",
        file[1].name, missing[1], file[0].name, missing[0]);
    put_change(out, missing[0], missing[1]);
    str_appendf(out, "), and invents %.2f where it was %.2f (", invented[1], invented[0]);
    put_change(out, invented[0], invented[1]);
    str_append(out, ").\n\n");
}

/* Does what the reward model says agree with what the rule says? */
static void put_verdict(Str *out, const EvalFile *file) {
    double faults[2], reward[2] = {0, 0};
    bool judged = false;
    for (int i = 0; i < 2; i++) {
        faults[i] = value_of(&file[i], "facts/missing") + value_of(&file[i], "facts/invented");
        for (size_t j = 0; j < file[i].metrics.count; j++) {
            if (strncmp(file[i].metrics.metric[j].key, "reward/", 7) == 0) {
                reward[i] = file[i].metrics.metric[j].value;
                judged = true;
                break;
            }
        }
    }
    if (!judged || isnan(faults[0]) || isnan(faults[1])) {
        return;
    }
    bool pleased = reward[1] > reward[0], better = faults[1] < faults[0];
    str_appendf(out, "The reward went from %.2f to %.2f. ", reward[0], reward[1]);
    if (pleased && better) {
        str_append(out, "Reward model and rule agree: the texts got better.\n\n");
    } else if (pleased) {
        str_append(out, "**Beware:** the reward rose and the rule counts more faults. The policy "
                        "pleases the reward model, not the task: spend fewer nats (a larger "
                        "ppo.kl_coef, a smaller ppo.select_max_kl) or train the reward model on "
                        "more rankings.\n\n");
    } else {
        str_append(out, "The reward did not rise: PPO has not learned anything yet; give it more "
                        "iterations or a larger train.learning_rate.\n\n");
    }
    double kl = value_of(&file[1], "kl");
    if (!isnan(kl)) {
        str_appendf(out, "The way there cost %.1f nats a text (KL to the reference).\n\n", kl);
    }
}

static void put_table(Str *out, const EvalFile *file) {
    str_appendf(out, "| | %s | %s |\n|---|---:|---:|\n", file[0].name, file[1].name);
    for (size_t i = 0; i < file[1].metrics.count; i++) {
        const EvalMetric *metric = &file[1].metrics.metric[i];
        double before = value_of(&file[0], metric->key);
        str_appendf(out, "| %s |", metric->label);
        for (int j = 0; j < 2; j++) {
            double value = j == 0 ? before : metric->value;
            if (isnan(value)) {
                str_append(out, " |");
            } else if (metric->form == METRIC_COUNT) {
                str_appendf(out, " %.0f |", value);
            } else if (metric->form == METRIC_SHARE) {
                str_appendf(out, " %.1f %% |", 100 * value);
            } else {
                str_appendf(out, " %.3f |", value);
            }
        }
        str_append(out, "\n");
    }
    str_append(out, "\n");
}

/* First text of the same prompt in the other file; NULL if it has none. */
static const EvalText *partner(const EvalFile *file, const EvalText *text) {
    for (size_t i = 0; i < file->texts; i++) {
        if (file->text[i].group == text->group && file->text[i].sample == text->sample) {
            return &file->text[i];
        }
    }
    return NULL;
}

static int faults(const EvalText *text) {
    return (int)(text->facts.missing + text->facts.invented);
}

static bool put_text(Str *out, const char *name, const EvalText *text, const FactTable *facts,
                     Error *err) {
    Str detail = {0};
    FactReport report;
    const char *prompt = text->record->message[0].text;
    bool ok = facts == NULL || facts_judge(facts, prompt, text->text, &report, &detail, err);
    str_appendf(out, "- **%s:** ", name);
    put_foreign(out, text->text, false);
    if (facts != NULL && detail.size > 0) {
        str_append(out, "  \n  ");
        put_foreign(out, str_text(&detail), true);
    }
    str_append(out, "\n");
    str_done(&detail);
    return ok;
}

typedef struct Pair {
    const EvalText *before, *after;
    int change; /* faults after less faults before */
    size_t place;
} Pair;

static int compare_pairs(const void *a, const void *b) {
    const Pair *x = a, *y = b;
    if (x->change != y->change) {
        return x->change < y->change ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* The two most improved, the two in the middle, the two that got worst. */
static bool put_samples(Str *out, const EvalFile *file, const FactTable *facts, Error *err) {
    Pair *pair = mem_alloc(file[1].texts, sizeof *pair, err);
    if (pair == NULL) {
        return false;
    }
    size_t pairs = 0;
    for (size_t i = 0; i < file[1].texts; i++) {
        const EvalText *after = &file[1].text[i], *before = partner(&file[0], after);
        if (before != NULL && after->sample == 0 && after->record->messages > 0) {
            pair[pairs] = (Pair){before, after, faults(after) - faults(before), pairs};
            pairs++;
        }
    }
    qsort(pair, pairs, sizeof *pair, compare_pairs);
    size_t shown = pairs < SHOWN ? pairs : SHOWN;
    static const char *const heading[] = {"Most improved", "Typical", "Got worst"};
    bool ok = true;
    for (size_t i = 0; ok && i < shown; i++) {
        size_t third = i / 2;
        size_t at = shown < SHOWN ? i
                    : third == 0  ? i
                    : third == 1  ? pairs / 2 + i - 2
                                  : pairs - SHOWN + i;
        if (i % 2 == 0 && shown == SHOWN) {
            str_appendf(out, "### %s\n\n", heading[third]);
        }
        put_foreign(out, pair[at].after->record->message[0].text, true);
        str_append(out, "\n\n");
        ok = put_text(out, file[0].name, pair[at].before, facts, err) &&
             put_text(out, file[1].name, pair[at].after, facts, err);
        str_append(out, "\n");
    }
    free(pair);
    return ok;
}

bool eval_put_story(const EvalFile *file, const FactTable *facts, Str *out, Error *err) {
    str_appendf(out, "# From %s to %s\n\n", file[0].name, file[1].name);
    str_appendf(out, "%.0f texts for %.0f prompts of each.\n\n", value_of(&file[1], "texts"),
                value_of(&file[1], "prompts"));
    put_facts(out, file);
    put_verdict(out, file);
    put_bars(out, file, "facts missing a text", "facts/missing", false);
    put_bars(out, file, "facts invented a text", "facts/invented", false);
    put_bars(out, file, "texts with every fact and no other", "facts/texts_right", true);
    put_bars(out, file, "words a text", "words", false);
    str_append(out, "## All numbers\n\n");
    put_table(out, file);
    str_append(out, "## Side by side\n\n");
    str_append(out, "Under a text what the rule finds: a minus for a missing fact, a plus for an "
                    "invented one.\n\n");
    return put_samples(out, file, facts, err) && str_ok(out, err);
}
