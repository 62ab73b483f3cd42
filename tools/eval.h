/* SPDX-License-Identifier: MIT
 *
 * What rlhf-eval is made of: files of outputs, judges of them (a rule, reward models, a policy and its
 * reference), and the numbers that come out, which table and JSON show alike.
 */
#ifndef RLHF_TOOLS_EVAL_H
#define RLHF_TOOLS_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/model/model.h"
#include "common/text/layout.h"
#include "datasets/dataset.h"
#include "datasets/facts.h"

enum { EVAL_JUDGES = 8, EVAL_NAME = 64 };

/* ---- Numbers ---- */

typedef enum MetricForm { METRIC_COUNT, METRIC_SHARE, METRIC_NUMBER } MetricForm;

typedef struct EvalMetric {
    char key[2 * EVAL_NAME];   /* in JSON: "facts/kept" */
    char label[2 * EVAL_NAME]; /* in the table */
    MetricForm form;
    double value;
} EvalMetric;

typedef struct EvalMetrics {
    EvalMetric *metric; /* owned */
    size_t count, capacity;
} EvalMetrics;

bool eval_metric(EvalMetrics *metrics, MetricForm form, const char *key, const char *label,
                 double value, Error *err);
void eval_metrics_done(EvalMetrics *metrics);

/* ---- Files of outputs ---- */

typedef struct EvalText {
    const Record *record; /* borrowed from the file's DataSet */
    const char *text;     /* the completion */
    uint64_t group;       /* hash of the prompt */
    size_t sample;        /* how many texts of this prompt stand before it in the file */
    bool finished;        /* it ended by itself */
    Tokens ids;           /* as sampled, EOS included; empty if the file does not say */
    FactReport facts;
    double reward[EVAL_JUDGES];
    double kl; /* log p(policy) - log p(reference), nats */
} EvalText;

typedef struct EvalFile {
    char name[EVAL_NAME];
    char *path; /* owned */
    DataSet data;
    EvalText *text; /* owned */
    size_t texts, prompts;
    size_t *order; /* [texts] by (group, sample), owned */
    EvalMetrics metrics;
    EvalMetrics *best_of; /* [best_ofs] one for each n, owned */
    size_t best_ofs;
} EvalFile;

/* operand: "FILE" or "NAME=FILE". */
bool eval_file_read(EvalFile *file, const char *operand, const DataColumns *columns, Error *err);
void eval_file_done(EvalFile *file);

/* Counts, lengths, distinct texts. */
bool eval_describe(EvalFile *file, Error *err);
/* Judges every text by the rule and adds its numbers. */
bool eval_facts(EvalFile *file, const FactTable *table, Error *err);
/* Share of the texts that beat those of `other` for the same prompt and sample; ties are one half.
 * judge: index of a reward model, or -1 for the rule (fewer missing and invented facts). */
bool eval_wins(EvalFile *file, const EvalFile *other, int judge, const char *key, const char *label,
               Error *err);
/* For n = 1, 2, 4 ... up to the samples that every prompt has: what picking the best of n by a reward model
 * gives, exactly, over all choices of n samples; and the KL of doing so, log n - (n - 1)/n. */
bool eval_best_of(EvalFile *file, int judge, bool facts, Error *err);

/* ---- Models ---- */

typedef struct EvalJudge {
    char name[EVAL_NAME];
    Model model;
    Tokenizer *tokenizer;
    Layout layout;
    int32_t eos;
    Workspace *workspace;
    Batch batch;
    float *value; /* [rows] */
    size_t rows;
} EvalJudge;

/* One text to be judged behind its prompt. */
typedef struct EvalItem {
    const Record *record;
    const char *text;
    const Tokens *ids; /* as sampled, instead of the text's own; NULL: encode the text */
    bool finished;
} EvalItem;

bool eval_judge_open(EvalJudge *judge, const char *folder, HeadKind head, Error *err);
void eval_judge_close(EvalJudge *judge);
/* Scores at the EOS (appended where it lacks). */
bool eval_scores(EvalJudge *judge, const EvalItem *item, size_t n, double *score, Error *err);
/* Sum of the log-probs of the completion's ids, EOS included where it is finished; tokens may be NULL. */
bool eval_logprobs(EvalJudge *judge, const EvalItem *item, size_t n, double *logprob,
                   size_t *tokens, Error *err);
/* The last part of a folder's path that says something: "runs/rm-a/model" is "rm-a". */
void eval_short_name(const char *path, char name[EVAL_NAME]);

/* Rewards of a file's texts by judge number `index`. */
bool eval_rewards(EvalFile *file, EvalJudge *judge, size_t index, Error *err);
/* KL of policy to reference on the file's texts, which the policy should have sampled. */
bool eval_kl(EvalFile *file, EvalJudge *policy, EvalJudge *reference, Error *err);

/* ---- Rankings ---- */

/* Accuracy on pairs of two completions shown together to the same raters: those that a majority, and
 * those that all of at least three raters, prefer one way. judge NULL: the rule of `table`. Equal scores
 * are one half. Adds its numbers under the judge's name. */
bool eval_rankings(const DataSet *rankings, EvalJudge *judge, const FactTable *table,
                   EvalMetrics *metrics, Error *err);

/* ---- Output ---- */

void eval_put_table(const EvalFile *file, size_t files, const EvalMetrics *rankings, Str *out);
void eval_put_json(const EvalFile *file, size_t files, const EvalMetrics *rankings, Str *out);

/* Two files, before and after, as Markdown that a person enjoys reading: what changed in words, bars, all
 * numbers, texts side by side. table may be NULL. */
bool eval_put_story(const EvalFile *file, const FactTable *table, Str *out, Error *err);

#endif
