/* SPDX-License-Identifier: MIT
 *
 * The stage's part of report.md: what the published model is worth, as tables.
 */
#include <stdlib.h>

#include "common/base/file.h"
#include "reward/reward.h"

static void share_row(Str *out, const char *what, const RewardShare *model,
                      const RewardShare *longer) {
    if (model->pairs == 0) {
        return;
    }
    str_appendf(out, "| %s | %.0f | %.3f | ", what, model->pairs, model->correct / model->pairs);
    if (longer != NULL) {
        str_appendf(out, "%.3f |\n", longer->correct / longer->pairs);
    } else {
        str_append(out, "|\n");
    }
}

static void report_agreement(const RewardEvaluation *e, Str *out) {
    str_append(out, "| pairs | number | model | longer wins |\n|---|---:|---:|---:|\n");
    share_row(out, "all strict pairs", &e->pairs, &e->longer);
    share_row(out, "majority", &e->majority, &e->longer_majority);
    share_row(out, "– three raters or more, unanimous", &e->unanimous, NULL);
    share_row(out, "– several raters, not so", &e->split, NULL);
    share_row(out, "– one rater", &e->single, NULL);
    if (e->rater.pairs > 0) {
        str_appendf(out,
                    "\nOne rater agrees with the majority of the others on %.3f of %.0f pairs.\n",
                    e->rater.correct / e->rater.pairs, e->rater.pairs);
    }
}

static void report_calibration(const RewardEvaluation *e, Str *out) {
    str_appendf(out,
                "\n### Calibration\n\nHow sure the model is of a pair, and how often it is right; "
                "expected calibration error %.3f.\n\n"
                "| sure | pairs | mean margin | predicted | right |\n|---|---:|---:|---:|---:|\n",
                e->calibration_error);
    for (int i = 0; i < CALIBRATION_BINS; i++) {
        const RewardBin *bin = &e->bin[i];
        double low = 0.5 + 0.5 * i / CALIBRATION_BINS;
        if (bin->pairs > 0) {
            str_appendf(out, "| %.2f–%.2f | %.0f | %.3f | %.3f | %.3f |\n", low,
                        low + 0.5 / CALIBRATION_BINS, bin->pairs, bin->margin / bin->pairs,
                        bin->confidence / bin->pairs, bin->correct / bin->pairs);
        }
    }
    str_appendf(out,
                "\nScores: mean %.3f, deviation %.3f. Correlation of score and length within a "
                "prompt: %.3f. Pairs with equal scores (counted one half): %zu.\n",
                e->score_mean, e->score_deviation, e->length_correlation, e->ties);
}

static void report_classes(const RewardEvaluation *e, char *const *name, Str *out) {
    enum { MOST = 20 };
    str_appendf(out, "Accuracy %.3f, macro F1 %.3f.\n", e->accuracy, e->macro_f1);
    if (e->labels > MOST) {
        return;
    }
    str_append(out, "\n| is \\ taken for |");
    for (size_t j = 0; j < e->labels; j++) {
        str_appendf(out, " %s |", name[j]);
    }
    str_append(out, "\n|---|");
    for (size_t j = 0; j < e->labels; j++) {
        str_append(out, "---:|");
    }
    for (size_t i = 0; i < e->labels; i++) {
        str_appendf(out, "\n| %s |", name[i]);
        for (size_t j = 0; j < e->labels; j++) {
            str_appendf(out, " %zu |", e->confusion[i * e->labels + j]);
        }
    }
    str_append(out, "\n");
}

void reward_evaluation_report(const RewardEvaluation *evaluation, RewardObjective objective,
                              char *const *label_name, Str *out) {
    const RewardEvaluation *e = evaluation;
    switch (objective) {
    case REWARD_RANKING:
        str_appendf(out, "%zu prompts, %zu distinct completions, loss %.4f.\n\n", e->prompts,
                    e->texts, e->loss);
        report_agreement(e, out);
        report_calibration(e, out);
        break;
    case REWARD_CLASSIFICATION:
        str_appendf(out, "%zu records, loss %.4f. ", e->prompts, e->loss);
        report_classes(e, label_name, out);
        break;
    case REWARD_REGRESSION:
        str_appendf(out, "%zu records, mean squared error %.4g, correlation %.3f.\n", e->prompts,
                    e->squared_error, e->correlation);
        break;
    }
}

static void report_scale(const Reward *reward, const RewardScale *after, Str *out) {
    if (reward_normalization(reward) == NORMALIZE_NONE) {
        return;
    }
    bool demonstrations = reward_normalization(reward) == NORMALIZE_DEMONSTRATIONS;
    const char *what = !demonstrations                      ? "samples of the reference model"
                       : reward->normalize_data.records > 0 ? "demonstrations"
                                                            : "preferred completions";
    str_appendf(out,
                "\n## Scale\n\nOver %zu %s:\n\n| model | mean | deviation |\n|---|---:|---:|\n"
                "| before training | %.6f | %.6f |\n| published | %.6f | %.6f |\n",
                after->texts, what, reward->before.mean, reward->before.deviation, after->mean,
                after->deviation);
}

static void describe(const Reward *reward, const DataSet *data, const ExampleSet *examples,
                     const RewardSet *set, Str *out) {
    str_appendf(out, "%s\n", str_text(&data->description));
    examples_describe(&examples->counts, out);
    str_append(out, "\n");
    if (reward->loss.objective == REWARD_RANKING) {
        reward_set_describe(set, out);
        str_append(out, "\n");
    }
}

static void report_data(const Reward *reward, Str *out) {
    str_append(out, "\n## Data\n\n```\n");
    describe(reward, &reward->train_data, &reward->train_examples, &reward->train, out);
    if (reward->validation.items > 0) {
        describe(reward, &reward->validation_data, &reward->validation_examples,
                 &reward->validation, out);
    }
    str_append(out, "```\n");
}

/* Training is over: the result takes the place of the weights that were trained. */
static bool take_result(Reward *reward, const char *folder, Error *err) {
    ModelConfig config;
    if (!model_config_read(&config, folder, err)) {
        return false;
    }
    reward->model.config.reward_bias = config.reward_bias;
    model_config_done(&config);
    return model_reload(&reward->model, folder, err);
}

bool reward_report(void *context, const Run *run, int64_t best_step, Str *out, Error *err) {
    Reward *reward = context;
    char *folder = file_join(run->folder, "model", err);
    RewardScale scale;
    RewardEvaluation evaluation = {0};
    bool ok = folder != NULL && take_result(reward, folder, err) &&
              reward_scale(reward, &reward->model, &scale, err);
    if (ok && reward->validation.items > 0) {
        ok = reward_score(&reward->pass, &reward->model, &reward->validation, err) &&
             reward_evaluate(&evaluation, &reward->validation, &reward->loss, reward->labels, err);
        if (ok && best_step >= 0) {
            str_appendf(out, "\n## Validation after step %lld\n\n", (long long)best_step);
        } else if (ok) {
            str_append(out, "\n## Validation\n\n");
        }
        if (ok) {
            reward_evaluation_report(&evaluation, reward->loss.objective, reward->label_name, out);
        }
    }
    if (ok) {
        report_scale(reward, &scale, out);
        report_data(reward, out);
    }
    reward_evaluation_done(&evaluation);
    free(folder);
    return ok && str_ok(out, err) &&
           stage_save_merged(&reward->config->settings, reward->tokenizer, &reward->layout,
                             run->folder, err);
}
