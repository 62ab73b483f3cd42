/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "tools/eval.h"

/* One rater's word on two completions of one screen. */
typedef struct Vote {
    uint64_t prompt, screen, a, b; /* hashes; a < b */
    double gap;                    /* the judge's score of a minus that of b */
    int vote;                      /* 1: a is better, -1: b, 0: a tie */
} Vote;

static int compare(uint64_t x, uint64_t y) {
    return (x > y) - (x < y);
}

static int compare_votes(const void *x, const void *y) {
    const Vote *v = x, *w = y;
    int order = compare(v->prompt, w->prompt);
    order = order != 0 ? order : compare(v->screen, w->screen);
    order = order != 0 ? order : compare(v->a, w->a);
    return order != 0 ? order : compare(v->b, w->b);
}

/* Scores of all completions of all records, record by record. */
static bool judge_all(const DataSet *rankings, EvalJudge *judge, const FactTable *table, size_t n,
                      double *score, Error *err) {
    EvalItem *item = mem_alloc(n, sizeof *item, err);
    bool ok = item != NULL;
    size_t at = 0;
    for (size_t i = 0; ok && i < rankings->records; i++) {
        const Record *record = &rankings->record[i];
        for (size_t k = 0; ok && k < record->completions; k++, at++) {
            FactReport report = {0};
            item[at] = (EvalItem){record, record->completion[k], NULL, true};
            ok = judge != NULL ||
                 facts_judge(table, record->message[0].text, item[at].text, &report, NULL, err);
            score[at] = -(double)(report.missing + report.invented);
        }
    }
    ok = ok && (judge == NULL || eval_scores(judge, item, n, score, err));
    free(item);
    return ok;
}

static void cast_votes(const DataSet *rankings, const double *score, Vote *vote, size_t *votes) {
    size_t at = 0;
    for (size_t r = 0; r < rankings->records; r++) {
        const Record *record = &rankings->record[r];
        uint64_t prompt = record_prompt_hash(record), screen = 0;
        for (size_t k = 0; k < record->completions; k++) { /* in whatever order it was shown */
            const char *text = record->completion[k];
            screen += random_mix(hash_bytes(text, strlen(text)), 1);
        }
        for (size_t i = 0; i < record->completions; i++) {
            uint64_t a = hash_bytes(record->completion[i], strlen(record->completion[i]));
            for (size_t j = i + 1; j < record->completions; j++) {
                uint64_t b = hash_bytes(record->completion[j], strlen(record->completion[j]));
                int word =
                    (record->rank[i] < record->rank[j]) - (record->rank[i] > record->rank[j]);
                double gap = score[at + i] - score[at + j];
                if (a != b) {
                    vote[(*votes)++] = a < b ? (Vote){prompt, screen, a, b, gap, word}
                                             : (Vote){prompt, screen, b, a, -gap, -word};
                }
            }
        }
        at += record->completions;
    }
}

static bool put_share(EvalMetrics *metrics, const char *name, const char *key, const char *label,
                      double right, double pairs, Error *err) {
    char full_key[2 * EVAL_NAME], full_label[2 * EVAL_NAME];
    snprintf(full_key, sizeof full_key, "%s/%s", key, name);
    snprintf(full_label, sizeof full_label, "%s, %s", name, label);
    if (pairs > 0 &&
        !eval_metric(metrics, METRIC_SHARE, full_key, full_label, right / pairs, err)) {
        return false;
    }
    snprintf(full_key, sizeof full_key, "%s_pairs/%s", key, name);
    return eval_metric(metrics, METRIC_COUNT, full_key, "pairs", pairs, err);
}

static bool count_pairs(const Vote *vote, size_t votes, const char *name, EvalMetrics *metrics,
                        Error *err) {
    double majority = 0, majority_right = 0, unanimous = 0, unanimous_right = 0;
    for (size_t i = 0, end; i < votes; i = end) {
        int sum = 0, raters = 0;
        for (end = i; end < votes && compare_votes(&vote[i], &vote[end]) == 0; end++) {
            sum += vote[end].vote;
            raters++;
        }
        if (sum == 0) {
            continue;
        }
        double gap = vote[i].gap;
        double right = gap == 0 ? 0.5 : (gap > 0) == (sum > 0) ? 1 : 0;
        majority++;
        majority_right += right;
        if (raters >= 3 && abs(sum) == raters) {
            unanimous++;
            unanimous_right += right;
        }
    }
    return put_share(metrics, name, "majority", "accuracy on majority pairs", majority_right,
                     majority, err) &&
           put_share(metrics, name, "unanimous", "accuracy on unanimous pairs", unanimous_right,
                     unanimous, err);
}

bool eval_rankings(const DataSet *rankings, EvalJudge *judge, const FactTable *table,
                   EvalMetrics *metrics, Error *err) {
    size_t texts = 0, pairs = 0, votes = 0;
    for (size_t i = 0; i < rankings->records; i++) {
        size_t k = rankings->record[i].completions;
        texts += k;
        pairs = mem_add(pairs, mem_mul(k, k - 1) / 2);
    }
    double *score = mem_alloc(texts, sizeof *score, err);
    Vote *vote = score == NULL ? NULL : mem_alloc(pairs, sizeof *vote, err);
    bool ok = vote != NULL && judge_all(rankings, judge, table, texts, score, err);
    if (ok) {
        cast_votes(rankings, score, vote, &votes);
        qsort(vote, votes, sizeof *vote, compare_votes);
        ok = count_pairs(vote, votes, judge == NULL ? "rule" : judge->name, metrics, err);
    }
    free(vote);
    free(score);
    return ok;
}
