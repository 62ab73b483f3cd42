/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "ppo/ppo.h"

enum { CURVE_MOST = 40 }; /* lines of the table; longer curves are thinned */

/* Text as a cell of a Markdown table: nothing in it is markup. */
static void put_cell(Str *out, const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\n') {
            str_append(out, "<br>");
        } else if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            str_append_char(out, ' ');
        } else if (*c == '&') {
            str_append(out, "&amp;");
        } else if (*c == '<') {
            str_append(out, "&lt;");
        } else if (*c == '>') {
            str_append(out, "&gt;");
        } else {
            if (strchr("\\`*_{}[]()#+-.!|~:@", *c) != NULL) {
                str_append_char(out, '\\');
            }
            str_append_char(out, *c);
        }
    }
}

/* Calls `each` for every line of a file of the run; a missing file has none. */
typedef void EachLine(void *context, const cJSON *line);
static bool each_line(const Run *run, const char *name, EachLine *each, void *context, Error *err) {
    char *path = file_join(run->folder, name, err);
    if (path == NULL) {
        return false;
    }
    bool ok = true;
    if (file_exists(path)) {
        LineReader reader = {0};
        bool got = true;
        ok = line_reader_open(&reader, path, json_limits_line.bytes, err);
        while (ok && (ok = line_reader_next(&reader, &got, err)) && got) {
            cJSON *line = json_parse(reader.line.data, reader.line.size, path, reader.number,
                                     &json_limits_line, err);
            ok = line != NULL;
            if (ok) {
                each(context, line);
            }
            cJSON_Delete(line);
        }
        line_reader_close(&reader);
    }
    free(path);
    return ok;
}

static void put_number(Str *out, const cJSON *line, const char *name, const char *format) {
    const cJSON *item = json_member(line, name);
    if (cJSON_IsNumber(item)) {
        str_append(out, " ");
        str_appendf(out, format, item->valuedouble);
        str_append(out, " |");
    } else {
        str_append(out, " – |");
    }
}

typedef struct Curve {
    Str *out;
    size_t lines, every; /* evaluations in all; each how manieth is shown */
    size_t at;
    bool judge;
    bool showing;
    int64_t best_step;
    cJSON *first; /* the evaluation before the first iteration */
    cJSON *best;
} Curve;

static void curve_line(void *context, const cJSON *line) {
    Curve *curve = context;
    const cJSON *step = json_member(line, "step");
    if (json_member(line, "eval/score") == NULL || !cJSON_IsNumber(step)) {
        return;
    }
    bool best = (int64_t)step->valuedouble == curve->best_step;
    if (!curve->showing) {
        curve->lines++;
        curve->judge = curve->judge || json_member(line, "eval/judge") != NULL;
        if (curve->first == NULL) {
            curve->first = cJSON_Duplicate(line, true);
        }
        if (best && curve->best == NULL) {
            curve->best = cJSON_Duplicate(line, true);
        }
        return;
    }
    bool shown = curve->at % curve->every == 0 || curve->at + 1 == curve->lines || best;
    curve->at++;
    if (!shown) {
        return;
    }
    Str *out = curve->out;
    str_appendf(out, best ? "| **%.0f** |" : "| %.0f |", step->valuedouble);
    put_number(out, line, "eval/score", "%.3f");
    if (curve->judge) {
        put_number(out, line, "eval/judge", "%.3f");
    }
    put_number(out, line, "eval/kl", "%.2f");
    put_number(out, line, "eval/length", "%.1f");
    put_number(out, line, "eval/distinct", "%.2f");
    put_number(out, line, "eval/eos_rate", "%.2f");
    put_number(out, line, "objective/rlhf_reward", "%.3f");
    put_number(out, line, "objective/kl", "%.2f");
    put_number(out, line, "objective/beta", "%.4g");
    put_number(out, line, "val/explained_variance", "%.2f");
    str_append(out, "\n");
}

static void put_best_of(const Curve *curve, const PpoConfig *config, Str *out) {
    char name[METRIC_NAME];
    if (config->ppo.best_of == 0 || curve->first == NULL) {
        return;
    }
    str_append(out, "\n### Choosing instead of training\n\n"
                    "The best of k samples of the first policy, chosen by the reward; the KL is "
                    "log k − (k − 1)/k.\n\n");
    str_append(out, curve->judge ? "| k | score | judge | KL |\n|--:|--:|--:|--:|\n"
                                 : "| k | score | KL |\n|--:|--:|--:|\n");
    for (long long k = 1; k <= config->ppo.best_of; k *= 2) {
        str_appendf(out, "| %lld |", k);
        snprintf(name, sizeof name, "eval/best_of_%lld/score", k);
        put_number(out, curve->first, name, "%.3f");
        if (curve->judge) {
            snprintf(name, sizeof name, "eval/best_of_%lld/judge", k);
            put_number(out, curve->first, name, "%.3f");
        }
        snprintf(name, sizeof name, "eval/best_of_%lld/kl", k);
        put_number(out, curve->first, name, "%.2f");
        str_append(out, "\n");
    }
}

static double number(const cJSON *line, const char *name) {
    const cJSON *item = json_member(line, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static void put_change(const Curve *curve, Str *out) {
    if (curve->first == NULL || curve->best == NULL) {
        return;
    }
    str_appendf(out,
                "On held-out prompts the reward went from %.3f to %.3f at a KL of %.2f nats a "
                "sequence",
                number(curve->first, "eval/score"), number(curve->best, "eval/score"),
                number(curve->best, "eval/kl"));
    if (curve->judge) {
        double before = number(curve->first, "eval/judge"),
               after = number(curve->best, "eval/judge");
        str_appendf(out, ", the judge from %.3f to %.3f%s", before, after,
                    after < before ? ": **the policy pleases the reward and not the judge**" : "");
    }
    str_append(out, ".\n\n");
}

typedef struct Samples {
    Str *out;
    int64_t step, last;
    bool showing;
} Samples;

static void put_turns(Str *out, const cJSON *prompt) {
    if (json_string(prompt) != NULL) {
        put_cell(out, json_string(prompt));
    }
    for (const cJSON *turn = cJSON_IsArray(prompt) ? prompt->child : NULL; turn != NULL;
         turn = turn->next) {
        const char *role = json_string(json_member(turn, "role"));
        const char *content = json_string(json_member(turn, "content"));
        str_append(out, role == NULL ? "" : role);
        str_append(out, ": ");
        put_cell(out, content == NULL ? "" : content);
        str_append(out, turn->next == NULL ? "" : "<br>");
    }
}

static void sample_line(void *context, const cJSON *line) {
    Samples *samples = context;
    const cJSON *step = json_member(line, "step");
    const char *before = json_string(json_member(line, "before"));
    const char *after = json_string(json_member(line, "after"));
    if (!cJSON_IsNumber(step) || before == NULL || after == NULL) {
        return;
    }
    if (!samples->showing) {
        samples->last = (int64_t)step->valuedouble;
        return;
    }
    if ((int64_t)step->valuedouble != samples->step) {
        return;
    }
    str_append(samples->out, "| ");
    put_turns(samples->out, json_member(line, "prompt"));
    str_append(samples->out, " | ");
    put_cell(samples->out, before);
    str_appendf(samples->out, " | %.2f | ", number(line, "before_score"));
    put_cell(samples->out, after);
    str_appendf(samples->out, " | %.2f | %.2f |\n", number(line, "after_score"),
                number(line, "kl"));
}

static bool put_curve(const Ppo *ppo, const Run *run, int64_t best_step, Str *out, Error *err) {
    Curve curve = {.out = out, .best_step = best_step};
    bool ok = each_line(run, "metrics.jsonl", curve_line, &curve, err);
    if (ok && curve.lines > 0) {
        curve.showing = true;
        curve.every = (curve.lines + CURVE_MOST - 1) / CURVE_MOST;
        str_append(out, "## Reward and KL\n\n");
        put_change(&curve, out);
        str_append(out, curve.judge ? "| iteration | reward | judge |" : "| iteration | reward |");
        str_append(out, " KL | length | distinct | EOS | rollout reward − β KL | rollout KL | β | "
                        "explained variance |\n");
        str_append(out, curve.judge ? "|--:|--:|--:|" : "|--:|--:|");
        str_append(out, "--:|--:|--:|--:|--:|--:|--:|--:|\n");
        ok = each_line(run, "metrics.jsonl", curve_line, &curve, err);
        str_append(out, "\nreward, judge, KL (nats a sequence), length (tokens), share of distinct "
                        "texts and of finished ones: on held-out prompts; the rest: on the "
                        "iteration's rollouts. The result is in bold.\n");
        put_best_of(&curve, ppo->config, out);
    }
    cJSON_Delete(curve.first);
    cJSON_Delete(curve.best);
    return ok;
}

bool ppo_report(const Ppo *ppo, const Run *run, int64_t best_step, Str *out, Error *err) {
    if (!put_curve(ppo, run, best_step, out, err)) {
        return false;
    }
    Samples samples = {.out = out, .last = -1};
    if (!each_line(run, "samples.jsonl", sample_line, &samples, err)) {
        return false;
    }
    if (samples.last >= 0) {
        samples.showing = true;
        samples.step = best_step >= 0 ? best_step : samples.last;
        str_appendf(out,
                    "\n## Samples\n\nHeld-out prompts, answered by the first policy and by that of "
                    "iteration %lld.\n\n| prompt | before | reward | after | reward | KL |\n"
                    "|---|---|--:|---|--:|--:|\n",
                    (long long)samples.step);
        if (!each_line(run, "samples.jsonl", sample_line, &samples, err)) {
            return false;
        }
    }
    return str_ok(out, err) && (ppo->part.tokenizer == NULL ||
                                stage_save_merged(&ppo->config->settings, ppo->part.tokenizer,
                                                  ppo->part.layout, run->folder, err));
}
