/* SPDX-License-Identifier: MIT */
#include "reward/reward.h"

static const char *const objectives[] = {"ranking", "classification", "regression", NULL};
static const char *const normalizations[] = {"none", "demonstrations", "reference", NULL};

#define AT(field) offsetof(RewardConfig, field)

#define FLAG(path, field, initial, help)                                                           \
    { path, OPTION_BOOL, AT(field), initial, 0, 0, NULL, NULL, help }
#define INT(path, field, initial, low, high, unit, help)                                           \
    { path, OPTION_INT, AT(field), initial, low, high, NULL, unit, help }
#define FLOAT(path, field, initial, low, high, unit, help)                                         \
    { path, OPTION_FLOAT, AT(field), initial, low, high, NULL, unit, help }
#define TEXT(path, field, initial, help)                                                           \
    { path, OPTION_STRING, AT(field), initial, 0, 0, NULL, NULL, help }
#define TEXTS(path, field, help)                                                                   \
    { path, OPTION_STRINGS, AT(field), "[]", 0, 0, NULL, NULL, help }
#define CHOICE(path, field, initial, choices, help)                                                \
    { path, OPTION_CHOICE, AT(field), initial, 0, 0, choices, NULL, help }

/* Rows with a shared path replace the shared default. */
static const Option rows[] = {
    CHOICE("reward.objective", reward.objective, "\"ranking\"", objectives,
           "What is learned: \"ranking\", all pairs of ranked completions (Ouyang et al. 2022, eq. "
           "1; pairs are K = 2; best-of-K labels as Ziegler et al. 2019, eq. 1); "
           "\"classification\", the classes of labeled text; \"regression\", its numbers."),
    CHOICE("reward.normalize", reward.normalize, "\"demonstrations\"", normalizations,
           "Where the published scores have their zero: \"none\"; \"demonstrations\", mean 0 over "
           "data.normalize or else the preferred completions of the training data (Stiennon et al. "
           "2020); \"reference\", mean 0 and deviation 1 over samples of the reference model on "
           "data.prompts (Ziegler et al. 2019). Labels have a scale of their own and keep it."),
    TEXT("reward.reference", reward.reference, "null",
         "Model folder that is sampled for reward.normalize \"reference\"; null: model.path."),
    INT("reward.normalize_samples", reward.normalize_samples, "256", 2, 1e6, "completions",
        "Samples of the reference model (256: Ziegler et al. 2019)."),
    FLOAT("reward.label_smoothing", reward.label_smoothing, "0", 0, 0.5, "probability",
          "Chance that a preference is taken to be the other way round; of a classifier: mass "
          "spread over all classes."),
    FLOAT("reward.centering", reward.centering, "0", 0, 100, NULL,
          "Weight of the mean of (r_better + r_worse)^2, which keeps scores near 0 (Eisenstein et "
          "al. 2023, arXiv 2312.09244, eq. 2: 0.01)."),
    FLAG("reward.zero_head", reward.zero_head, "false",
         "Begin a new score head with zeros instead of N(0, 1/sqrt(width + 1)) (Stiennon et al. "
         "2020)."),
    TEXTS("reward.contrast", reward.contrast,
          "Demonstrations from which further rankings are made: what was written for a prompt "
          "stands above what was written for similar prompts. It teaches what few rankings show, "
          "that a completion belongs to its prompt (pre-training on ready-made comparisons: Askell "
          "et al. 2021, arXiv 2112.00861, section 4). Rankings only; none: not done."),
    FLOAT("reward.contrast_coef", reward.contrast_coef, "1", 0, 100, NULL,
          "Weight of the mean loss on these rankings."),
    INT("reward.contrast_batch", reward.contrast_batch, "32", 1, 1e6, "prompts",
        "Prompts of these rankings an optimizer step."),
    FLOAT("train.learning_rate", settings.train.learning_rate, "1e-4", 0, 1, NULL,
          "Peak learning rate of AdamW. 1e-4 suits models of a few million parameters; take 1e-5 "
          "and less from 100 million on (Ouyang et al. 2022: 9e-6)."),
    INT("train.batch", settings.train.batch, "16", 1, 1e6, "prompts",
        "Prompts an optimizer step, each with all its records (of labeled text: records). Every "
        "prompt weighs the same (Ouyang et al. 2022: 64)."),
    INT("train.evaluate_every", settings.train.evaluate_every, "20", 0, 1e9, "steps",
        "Evaluate after every so many steps, and at the end; 0: only at the end."),
    TEXT("checkpoint.best", settings.checkpoint.best, "\"auto\"",
         "Metric of the evaluation that chooses the resulting model; \"auto\": "
         "eval/accuracy_majority where several people judged the same completions, else "
         "eval/accuracy, of a regressor the smallest eval/loss; null: the last one is the result."),
};
static const OptionTable own_table = {rows, sizeof rows / sizeof rows[0]};

static const OptionTable *const tables[] = {&settings_table, &own_table};
static const OptionFlag *const flags[] = {settings_flags};

const OptionProgram reward_program = {
    .name = "rlhf-reward",
    .summary = "Trains a reward model on human rankings, or a classifier or regressor on labels.",
    .examples = "rlhf-reward --config configs/demo-reward.json --model runs/sft/model --output "
                "runs/reward\n"
                "rlhf-reward --model runs/sft/model --data rankings.jsonl --output runs/reward "
                "--set data.validation_share=0.1\n"
                "rlhf-reward --config configs/demo-reward.json --output runs/reward --dry-run",
    .table = tables,
    .tables = sizeof tables / sizeof tables[0],
    .flag = flags,
    .flag_lists = sizeof flags / sizeof flags[0],
};

bool reward_config_check(const RewardConfig *config, Error *err) {
    const Settings *settings = &config->settings;
    if (config->reward.objective != REWARD_RANKING && config->reward.contrast.count > 0) {
        return error_set(err, ERROR_CONFIG,
                         "reward.contrast makes rankings; it cannot be used with another "
                         "reward.objective");
    }
    if (config->reward.normalize != NORMALIZE_REFERENCE) {
        return true;
    }
    if (config->reward.objective != REWARD_RANKING) {
        return error_set(err, ERROR_CONFIG,
                         "reward.normalize \"reference\" is for rankings; labels have a scale of "
                         "their own: set it to \"none\"");
    }
    if (settings->model.path == NULL && config->reward.reference == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "reward.normalize \"reference\" samples a language model, but none is "
                         "given; set reward.reference to a model folder");
    }
    if (settings->data.prompts.count == 0) {
        return error_set(err, ERROR_CONFIG,
                         "reward.normalize \"reference\" needs prompts to sample on; set "
                         "data.prompts");
    }
    return true;
}
