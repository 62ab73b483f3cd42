/* SPDX-License-Identifier: MIT
 *
 * Data, tokenizer, model, memory: everything before the first step.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "reward/reward.h"

static RewardObjective objective(const Reward *reward) {
    return (RewardObjective)reward->config->reward.objective;
}

RewardNormalize reward_normalization(const Reward *reward) {
    return objective(reward) == REWARD_RANKING ? (RewardNormalize)reward->config->reward.normalize
                                               : NORMALIZE_NONE;
}

EncodeOptions reward_encode_options(const Reward *reward) {
    const Settings *settings = &reward->config->settings;
    size_t context = reward->model.config.context, wanted = (size_t)settings->data.max_tokens;
    return (EncodeOptions){
        .max_tokens = wanted > 0 && wanted < context ? wanted : context,
        .over_length = (OverLength)settings->data.over_length,
        .append_eos = true,
    };
}

static bool read_data(Reward *reward, Error *err) {
    RecordKind kind = objective(reward) == REWARD_RANKING ? RECORD_RANKING : RECORD_LABELED;
    return stage_read_data(&reward->config->settings, 1u << kind, &reward->train_data,
                           &reward->validation_data, reward->log, err);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The classes of the data, sorted, as borrowed names. */
static bool collect_labels(Reward *reward, Error *err) {
    const DataSet *data = &reward->train_data;
    char **name = mem_alloc(data->records, sizeof *name, err);
    if (name == NULL) {
        return false;
    }
    for (size_t i = 0; i < data->records; i++) {
        name[i] = data->record[i].label;
    }
    qsort(name, data->records, sizeof *name, compare_names);
    size_t n = 0;
    for (size_t i = 0; i < data->records; i++) {
        if (n == 0 || strcmp(name[n - 1], name[i]) != 0) {
            name[n++] = name[i];
        }
    }
    bool ok = n >= 2 || error_set(err, ERROR_DATA,
                                  "all %zu records carry the label \"%s\"; a classifier needs two "
                                  "classes or more",
                                  data->records, name[0]);
    reward->label_name = ok ? mem_alloc(n, sizeof *reward->label_name, err) : NULL;
    for (size_t i = 0; reward->label_name != NULL && i < n; i++) {
        reward->label_name[i] = mem_strdup(name[i], err);
        ok = ok && reward->label_name[i] != NULL;
        reward->labels = i + 1;
    }
    free(name);
    return ok && reward->label_name != NULL;
}

/* A classifier that is trained on keeps its classes. */
static bool known_labels(Reward *reward, bool *found, Error *err) {
    const char *path = reward->config->settings.model.path;
    ModelConfig config = {0};
    *found = false;
    if (path == NULL) {
        return true;
    }
    if (!model_config_read(&config, path, err)) {
        return false;
    }
    bool ok = true;
    if (config.head == HEAD_SCORES && config.labels >= 2 && config.label_name != NULL) {
        *found = true;
        reward->label_name = mem_alloc(config.labels, sizeof *reward->label_name, err);
        ok = reward->label_name != NULL;
        for (size_t i = 0; ok && i < config.labels; i++) {
            reward->label_name[i] = mem_strdup(config.label_name[i], err);
            ok = reward->label_name[i] != NULL;
            reward->labels = i + 1;
        }
    }
    model_config_done(&config);
    return ok;
}

static bool prepare_labels(Reward *reward, Error *err) {
    bool found = false;
    reward->labels = 1;
    if (objective(reward) != REWARD_CLASSIFICATION) {
        return true;
    }
    return known_labels(reward, &found, err) && (found || collect_labels(reward, err));
}

/* Fills the class or number of each judgment. */
static bool set_targets(const Reward *reward, RewardSet *set, Error *err) {
    for (size_t i = 0; i < set->groups; i++) {
        RewardJudgment *judgment = &set->group[i].judgment[0];
        const Record *record = judgment->example->record;
        if (objective(reward) == REWARD_REGRESSION) {
            if (!record->has_score) {
                return error_at(err, ERROR_DATA, record->file, record->line, 0,
                                "the label \"%s\" is not a number; regression needs numbers (for "
                                "classes set reward.objective to \"classification\")",
                                record->label);
            }
            judgment->target = record->score;
            continue;
        }
        size_t k = 0;
        while (k < reward->labels && strcmp(reward->label_name[k], record->label) != 0) {
            k++;
        }
        if (k == reward->labels) {
            return error_at(err, ERROR_DATA, record->file, record->line, 0,
                            "the label \"%s\" is none of the %zu classes of the training data or "
                            "the model",
                            record->label, reward->labels);
        }
        judgment->label = k;
    }
    return true;
}

static bool encode(Reward *reward, const char *what, bool training, const DataSet *data,
                   ExampleSet *examples, RewardSet *set, Error *err) {
    EncodeOptions options = reward_encode_options(reward);
    bool ranking = objective(reward) == REWARD_RANKING;
    RewardSetOptions grouping = {
        .by_prompt = ranking,
        .keep_tied = !training,
        .apart = family_is_encoder(&reward->model.config),
        .rows = (size_t)reward->config->settings.train.micro_tokens,
        .labels = reward->labels,
    };
    if (!examples_encode(examples, data, reward->tokenizer, &reward->layout, &options, err)) {
        return error_wrap(err, "%s", what);
    }
    if (!reward_set_build(set, examples, &grouping, what, err) ||
        (!ranking && !set_targets(reward, set, err))) {
        return false;
    }
    Str text = {0};
    examples_describe(&examples->counts, &text);
    log_info(reward->log, "%s: %s", what, str_text(&text));
    if (ranking) {
        str_clear(&text);
        reward_set_describe(set, &text);
        log_info(reward->log, "%s: %s", what, str_text(&text));
    }
    str_done(&text);
    return true;
}

/* A regressor starts from the mean of its targets, as a bias that is not trained. */
static void set_bias(Reward *reward) {
    const RewardSet *set = &reward->train;
    if (objective(reward) != REWARD_REGRESSION || !reward->fresh_head) {
        return;
    }
    double sum = 0;
    for (size_t i = 0; i < set->groups; i++) {
        sum += set->group[i].judgment[0].target;
    }
    reward->model.config.reward_bias = (float)(sum / (double)set->groups);
}

static bool prepare_model(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    Model *model = &reward->model;
    if (!stage_load_model(settings, reward->tokenizer, &reward->layout, HEAD_SCORES, reward->labels,
                          model, &reward->fresh_head, reward->log, err)) {
        return false;
    }
    if (reward->fresh_head) {
        model_initialize_scores(model, (uint64_t)settings->train.seed,
                                reward->config->reward.zero_head);
        log_info(reward->log, "the score head is new%s",
                 reward->config->reward.zero_head ? " and zero" : "");
    }
    model->config.regression = objective(reward) == REWARD_REGRESSION;
    if (objective(reward) == REWARD_CLASSIFICATION && model->config.label_name == NULL) {
        model->config.label_name = mem_alloc(reward->labels, sizeof(char *), err);
        for (size_t i = 0; model->config.label_name != NULL && i < reward->labels; i++) {
            model->config.label_name[i] = mem_strdup(reward->label_name[i], err);
            if (model->config.label_name[i] == NULL) {
                return false;
            }
        }
        return model->config.label_name != NULL;
    }
    return true;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static void choose_best(Reward *reward) {
    const char *wanted = reward->config->settings.checkpoint.best;
    if (reward->validation.items == 0) {
        reward->best = NULL;
    } else if (wanted == NULL || strcmp(wanted, "auto") != 0) {
        reward->best = wanted;
        reward->best_is_largest = reward->config->settings.checkpoint.mode == 1;
    } else if (objective(reward) == REWARD_REGRESSION) {
        reward->best = "eval/loss";
        reward->best_is_largest = false;
    } else {
        bool several = objective(reward) == REWARD_RANKING && reward->validation.counts.raters > 1;
        reward->best = several ? "eval/accuracy_majority" : "eval/accuracy";
        reward->best_is_largest = true;
    }
}

static bool prepare_contrast(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    if (reward->config->reward.contrast.count == 0) {
        return true;
    }
    DataOptions options = stage_data_options(settings, 1u << RECORD_DEMONSTRATION);
    if (!dataset_read(&reward->demonstrations, &reward->config->reward.contrast, &options, err) ||
        !reward_contrast_build(&reward->contrast_data, &reward->demonstrations,
                               (uint64_t)settings->train.seed, err)) {
        return error_wrap(err, "reward.contrast");
    }
    return encode(reward, "contrast", true, &reward->contrast_data, &reward->contrast_examples,
                  &reward->contrast, err);
}

static bool prepare(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    if (!reward_config_check(reward->config, err) || !read_data(reward, err) ||
        !prepare_labels(reward, err) ||
        !stage_load_text(settings, &reward->train_data, &reward->tokenizer, &reward->layout,
                         reward->log, err) ||
        !prepare_model(reward, err)) {
        return false;
    }
    stage_show_example(&reward->train_data, reward->log);
    if (!encode(reward, "training data", true, &reward->train_data, &reward->train_examples,
                &reward->train, err) ||
        (reward->validation_data.records > 0 &&
         !encode(reward, "validation data", false, &reward->validation_data,
                 &reward->validation_examples, &reward->validation, err))) {
        return false;
    }
    if (!prepare_contrast(reward, err)) {
        return false;
    }
    if (reward->validation.items == 0) {
        log_warn(reward->log, "there is no validation data: the last step is the result; name "
                              "data.validation or set data.validation_share");
    }
    if (reward_normalization(reward) == NORMALIZE_DEMONSTRATIONS &&
        !reward_normalize_prepare(reward, err)) {
        return false;
    }
    set_bias(reward);
    choose_best(reward);
    reward->steps = stage_steps(settings, reward->train.items);
    const RewardSet *sets[] = {&reward->train, &reward->validation, &reward->normalize,
                               &reward->contrast};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        reward->rows = larger(reward->rows, sets[i]->most_rows);
        reward->most_texts = larger(reward->most_texts, sets[i]->most_texts);
    }
    if (reward_normalization(reward) == NORMALIZE_REFERENCE) {
        /* samples are drawn later: a group of them is one text, or within the budget */
        size_t budget = (size_t)settings->train.micro_tokens;
        reward->rows = larger(reward->rows, larger(budget, reward->model.config.context));
        reward->most_texts = larger(reward->most_texts, budget);
    }
    reward->rows = stage_rows(settings, reward->rows);
    return true;
}

bool reward_prepare(Reward *reward, const RewardConfig *config, Log *log, Error *err) {
    *reward = (Reward){.config = config, .log = log};
    reward->loss = (RewardLoss){
        .objective = (RewardObjective)config->reward.objective,
        .preference = {.label_smoothing = config->reward.label_smoothing,
                       .centering = config->reward.centering},
    };
    if (!prepare(reward, err)) {
        reward_done(reward);
        return false;
    }
    return true;
}

bool reward_allocate(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    OptimizerOptions options = stage_optimizer_options(settings);
    WorkspacePlan plan = stage_training_plan(settings, reward->rows);
    return (reward_normalization(reward) != NORMALIZE_REFERENCE ||
            reward_normalize_prepare(reward, err)) &&
           reward_pass_init(&reward->pass, &reward->model.config, &plan, reward->most_texts, err) &&
           gradients_init(&reward->gradients, &reward->model, err) &&
           optimizer_init(&reward->optimizer, &options, &reward->gradients, err) &&
           (settings->train.ema <= 0 || model_copy(&reward->ema, &reward->model, err)) &&
           reward_scale(reward, &reward->model, &reward->before, err);
}

bool reward_plan(const Reward *reward, Str *plan, Error *err) {
    const Settings *settings = &reward->config->settings;
    size_t weights = model_bytes(&reward->model);
    size_t optimizer = optimizer_bytes(&reward->model);
    WorkspacePlan workspace = stage_training_plan(settings, reward->rows);
    size_t pass = reward_pass_bytes(&reward->model.config, &workspace, reward->most_texts);
    size_t average = settings->train.ema > 0 ? model_changing(&reward->model) * sizeof(float) : 0;
    bool ranking = objective(reward) == REWARD_RANKING;
    str_append(plan, "plan\n");
    stage_plan_line(plan, "parameters", "%zu", reward->model.count);
    stage_plan_line(plan, ranking ? "prompts" : "records", "%zu", reward->train.items);
    if (ranking) {
        stage_plan_line(plan, "distinct completions", "%zu", reward->train.counts.texts);
        stage_plan_line(plan, "strict pairs", "%zu", reward->train.counts.pairs);
    }
    stage_plan_line(plan, "tokens an epoch", "%zu, each prompt once for its completions",
                    reward->train.counts.rows);
    stage_plan_line(plan, "steps", "%lld of %lld %s", (long long)reward->steps,
                    (long long)settings->train.batch, ranking ? "prompts" : "records");
    stage_plan_line(plan, "chosen by", "%s", reward->best == NULL ? "last step" : reward->best);
    str_append(plan, "memory\n");
    stage_plan_bytes(plan, "weights", weights + average);
    stage_plan_bytes(plan, "gradients", optimizer / 2);
    stage_plan_bytes(plan, "optimizer", optimizer);
    stage_plan_bytes(plan, "activations", pass);
    size_t moment = mem_aligned_cost(optimizer / 2, 1); /* as long as the gradients */
    const size_t block[] = {mem_aligned_cost(average, 1), moment, moment, moment, pass};
    stage_plan_peak(plan, block, sizeof block / sizeof *block);
    return str_ok(plan, err);
}

void reward_done(Reward *reward) {
    reward_pass_done(&reward->pass);
    optimizer_done(&reward->optimizer);
    gradients_done(&reward->gradients);
    model_done(&reward->model);
    model_done(&reward->ema);
    reward_set_done(&reward->train);
    reward_set_done(&reward->validation);
    reward_set_done(&reward->normalize);
    reward_set_done(&reward->contrast);
    examples_done(&reward->train_examples);
    examples_done(&reward->validation_examples);
    examples_done(&reward->normalize_examples);
    examples_done(&reward->contrast_examples);
    dataset_done(&reward->train_data);
    dataset_done(&reward->validation_data);
    dataset_done(&reward->normalize_data);
    dataset_done(&reward->contrast_data);
    dataset_done(&reward->demonstrations);
    for (size_t i = 0; reward->label_name != NULL && i < reward->labels; i++) {
        free(reward->label_name[i]);
    }
    free(reward->label_name);
    layout_done(&reward->layout);
    tokenizer_free(reward->tokenizer);
    *reward = (Reward){0};
}
