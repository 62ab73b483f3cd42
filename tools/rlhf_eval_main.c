/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/options.h"
#include "common/stage/stage.h"
#include "tools/eval.h"

typedef struct Config {
    DataColumns columns;
    StringList reward_models, policies, rankings;
    char *facts, *reference, *output, *report;
    bool best_of, json, quiet;
    int64_t threads;
} Config;

#define AT(field) offsetof(Config, field)
#define COLUMN(name)                                                                               \
    {                                                                                              \
        .path = "data.columns." #name, .type = OPTION_STRING, .offset = AT(columns.name),          \
        .initial = "null", .help = "Key or column that holds the " #name "."                       \
    }

/* clang-format off */
static const Option rows[] = {
    {"facts", OPTION_STRING, AT(facts), "null",
     .help = "Table of synonyms (JSON) of the rule that compares a text with the facts of its "
             "prompt, such as datasets/samples/facts.json."},
    {"reward_models", OPTION_STRINGS, AT(reward_models), "[]",
     .help = "Folders of reward models that score the texts."},
    {"policies", OPTION_STRINGS, AT(policies), "[]",
     .help = "Folders of the models that sampled the files, one for each file in their order: for "
             "the KL."},
    {"reference", OPTION_STRING, AT(reference), "null",
     .help = "Folder of the model that the KL is measured from."},
    {"rankings", OPTION_STRINGS, AT(rankings), "[]",
     .help = "Files of rankings: accuracy of reward models and rule on majority and unanimous "
             "pairs."},
    {"best_of", OPTION_BOOL, AT(best_of), "false",
     .help = "For files with several texts of each prompt: what picking the best of n = 1, 2, 4 ... "
             "by the first reward model would give, over all choices of n; KL log n - (n - 1)/n "
             "(Stiennon et al. 2020)."},
    COLUMN(prompt), COLUMN(completion), COLUMN(completions), COLUMN(ranks), COLUMN(ranking),
    COLUMN(scores), COLUMN(chosen), COLUMN(rejected),
    {"output", OPTION_STRING, AT(output), "null",
     .help = "Writes the numbers as JSON to this file."},
    {"report", OPTION_STRING, AT(report), "null",
     .help = "Writes a report for people (Markdown) to this file: what changed from the first of two "
             "files to the second, with texts side by side."},
    {"json", OPTION_BOOL, AT(json), "false", .help = "Prints JSON instead of a table."},
    {"compute.threads", OPTION_INT, AT(threads), "0", 0, 1024, .unit = "threads",
     .help = "0: one for each processor."},
    {"log.quiet", OPTION_BOOL, AT(quiet), "false", .help = "Say nothing but results and errors."},
};

static const OptionFlag flags[] = {
    {"--facts", 'f', "facts", "FILE"},
    {"--reward-model", 'r', "reward_models", "DIR"},
    {"--policy", 'p', "policies", "DIR"},
    {"--reference", 0, "reference", "DIR"},
    {"--rankings", 0, "rankings", "FILE"},
    {"--best-of", 'b', "best_of", NULL},
    {"--output", 'o', "output", "FILE"},
    {"--report", 0, "report", "FILE"},
    {"--json", 'j', "json", NULL},
    {"--threads", 't', "compute.threads", "N"},
    {"--quiet", 'q', "log.quiet", NULL},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&table};
static const OptionFlag *const flag_lists[] = {flags};

static const OptionProgram program = {
    .name = "rlhf-eval",
    .summary = "Judges files of outputs side by side: by a rule, by reward models, by length and "
               "variety; and judges reward models by rankings.",
    .examples = "rlhf-eval --facts datasets/samples/facts.json sft=a.jsonl ppo=b.jsonl\n"
                "rlhf-eval -r rm/model -p ppo/model --reference sft/model b.jsonl\n"
                "rlhf-eval -r rm/model --rankings rankings.validation.jsonl",
    .table = tables,
    .tables = 1,
    .flag = flag_lists,
    .flag_lists = 1,
    .operands = "[[NAME=]FILE]...",
};

typedef struct Evaluation {
    const Config *config;
    Log *log;
    EvalFile *file; /* owned */
    size_t files;
    FactTable *facts;
    DataSet rankings;
    EvalMetrics ranking_metrics;
} Evaluation;

static bool check(const Config *config, size_t files, Error *err) {
    if (files == 0 && config->rankings.count == 0) {
        return error_set(err, ERROR_USAGE, "no file of outputs and no --rankings; expected one");
    }
    if (config->rankings.count > 0 && config->facts == NULL && config->reward_models.count == 0) {
        return error_set(err, ERROR_USAGE,
                         "--rankings without a judge; expected --reward-model or --facts");
    }
    if (config->best_of && config->reward_models.count == 0) {
        return error_set(err, ERROR_USAGE,
                         "--best-of without --reward-model, which picks the best");
    }
    if ((config->policies.count > 0) != (config->reference != NULL)) {
        return error_set(err, ERROR_USAGE,
                         "--policy and --reference belong together; expected both or none");
    }
    if (config->policies.count > 0 && config->policies.count != files) {
        return error_set(err, ERROR_USAGE,
                         "%zu policies for %zu files; expected one for each file, in their order",
                         config->policies.count, files);
    }
    if (config->reward_models.count > EVAL_JUDGES) {
        return error_set(err, ERROR_USAGE, "%zu reward models; expected at most %d",
                         config->reward_models.count, EVAL_JUDGES);
    }
    return true;
}

static bool read_inputs(Evaluation *evaluation, const char **operand, size_t operands, Error *err) {
    const Config *config = evaluation->config;
    evaluation->file = mem_alloc(operands, sizeof *evaluation->file, err);
    if (evaluation->file == NULL) {
        return false;
    }
    for (size_t i = 0; i < operands; i++) {
        EvalFile *file = &evaluation->file[i];
        if (!eval_file_read(file, operand[i], &config->columns, err)) {
            return false;
        }
        evaluation->files++;
        log_info(evaluation->log, "%s: %s", file->name, str_text(&file->data.description));
        if (!eval_describe(file, err)) {
            return false;
        }
    }
    DataOptions options = {.accept = 1u << RECORD_RANKING, .columns = config->columns};
    if (config->rankings.count > 0 &&
        !dataset_read(&evaluation->rankings, &config->rankings, &options, err)) {
        return false;
    }
    if (config->rankings.count > 0) {
        log_info(evaluation->log, "%s", str_text(&evaluation->rankings.description));
    }
    return true;
}

/* Wins over the first file by a judge. */
static bool compare_files(Evaluation *evaluation, int judge, const char *name, Error *err) {
    const EvalFile *first = &evaluation->file[0];
    char key[2 * EVAL_NAME], label[2 * EVAL_NAME];
    snprintf(key, sizeof key, "wins/%s", name);
    snprintf(label, sizeof label, "wins over %.24s, by %.30s", first->name, name);
    for (size_t i = 1; i < evaluation->files; i++) {
        if (!eval_wins(&evaluation->file[i], first, judge, key, label, err)) {
            return false;
        }
    }
    return true;
}

static bool apply_rule(Evaluation *evaluation, Error *err) {
    evaluation->facts = facts_load(evaluation->config->facts, err);
    if (evaluation->facts == NULL) {
        return false;
    }
    for (size_t i = 0; i < evaluation->files; i++) {
        if (!eval_facts(&evaluation->file[i], evaluation->facts, err)) {
            return false;
        }
    }
    return (evaluation->files == 0 || compare_files(evaluation, -1, "rule", err)) &&
           (evaluation->rankings.records == 0 ||
            eval_rankings(&evaluation->rankings, NULL, evaluation->facts,
                          &evaluation->ranking_metrics, err));
}

static bool apply_reward_model(Evaluation *evaluation, size_t index, Error *err) {
    EvalJudge judge;
    if (!eval_judge_open(&judge, evaluation->config->reward_models.item[index], HEAD_SCORES, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < evaluation->files; i++) {
        ok = eval_rewards(&evaluation->file[i], &judge, index, err);
    }
    ok = ok && (evaluation->files == 0 || compare_files(evaluation, (int)index, judge.name, err));
    ok = ok &&
         (evaluation->rankings.records == 0 ||
          eval_rankings(&evaluation->rankings, &judge, NULL, &evaluation->ranking_metrics, err));
    eval_judge_close(&judge);
    return ok;
}

static bool apply_policies(Evaluation *evaluation, Error *err) {
    const Config *config = evaluation->config;
    EvalJudge reference, policy;
    if (!eval_judge_open(&reference, config->reference, HEAD_LM, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < evaluation->files; i++) {
        ok = eval_judge_open(&policy, config->policies.item[i], HEAD_LM, err);
        if (ok) {
            ok = eval_kl(&evaluation->file[i], &policy, &reference, err);
            eval_judge_close(&policy);
        }
    }
    eval_judge_close(&reference);
    return ok;
}

static bool evaluate(Evaluation *evaluation, const char **operand, size_t operands, Error *err) {
    const Config *config = evaluation->config;
    if (!check(config, operands, err) || !read_inputs(evaluation, operand, operands, err) ||
        (config->facts != NULL && !apply_rule(evaluation, err))) {
        return false;
    }
    for (size_t i = 0; i < config->reward_models.count; i++) {
        if (!apply_reward_model(evaluation, i, err)) {
            return false;
        }
    }
    if (config->policies.count > 0 && !apply_policies(evaluation, err)) {
        return false;
    }
    for (size_t i = 0; config->best_of && i < evaluation->files; i++) {
        if (!eval_best_of(&evaluation->file[i], 0, config->facts != NULL, err)) {
            return false;
        }
    }
    return true;
}

static bool write_report(const Evaluation *evaluation, Error *err) {
    const char *path = evaluation->config->report;
    if (path == NULL) {
        return true;
    }
    if (evaluation->files != 2) {
        return error_set(err, ERROR_USAGE,
                         "--report tells of two files of outputs, before and after; %zu are given",
                         evaluation->files);
    }
    Str story = {0};
    bool ok = eval_put_story(evaluation->file, evaluation->facts, &story, err) &&
              file_write(path, story.data, story.size, err);
    str_done(&story);
    return ok;
}

static bool print(const Evaluation *evaluation, Error *err) {
    Str json = {0}, text = {0};
    eval_put_json(evaluation->file, evaluation->files, &evaluation->ranking_metrics, &json);
    eval_put_table(evaluation->file, evaluation->files, &evaluation->ranking_metrics, &text);
    const Config *config = evaluation->config;
    const Str *shown = config->json ? &json : &text;
    bool ok = write_report(evaluation, err) && str_ok(&json, err) && str_ok(&text, err) &&
              (config->output == NULL || file_write(config->output, json.data, json.size, err));
    if (ok &&
        (fwrite(str_text(shown), 1, shown->size, stdout) != shown->size || fflush(stdout) != 0)) {
        ok = error_errno(err, "writing", "standard output");
    }
    str_done(&json);
    str_done(&text);
    return ok;
}

static void evaluation_done(Evaluation *evaluation) {
    for (size_t i = 0; i < evaluation->files; i++) {
        eval_file_done(&evaluation->file[i]);
    }
    free(evaluation->file);
    facts_free(evaluation->facts);
    dataset_done(&evaluation->rankings);
    eval_metrics_done(&evaluation->ranking_metrics);
}

int main(int argc, char **argv) {
    Config config = {0};
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok =
        options_parse(&program, argc, argv, &config, &origins, &operand, &operands, &action, &err);
    if (ok && action == OPTION_RUN) {
        log_init(&log, config.quiet ? LOG_QUIET : LOG_NORMAL);
        Evaluation evaluation = {.config = &config, .log = &log};
        ok = stage_threads(config.threads, &err) &&
             evaluate(&evaluation, operand, operands, &err) && print(&evaluation, &err);
        evaluation_done(&evaluation);
        log_finish(&log);
    }
    options_done(&program, &config, origins);
    if (!ok) {
        error_print(&err, program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
