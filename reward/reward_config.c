/* SPDX-License-Identifier: MIT */
#include "reward/reward.h"

static const char *const objectives[] = {"ranking", "classification", "regression", NULL};
static const char *const normalizations[] = {"none", "demonstrations", "reference", NULL};

#define AT(field) offsetof(RewardConfig, field)

/* Rows with a shared path replace the shared default. */
static const Option rows[] = {
    {.path = "reward.objective",
     .type = OPTION_CHOICE,
     .offset = AT(reward.objective),
     .initial = "\"ranking\"",
     .choices = objectives,
     .help = "What is learned: \"ranking\", all pairs of ranked completions (Ouyang et al. 2022, "
             "eq. 1; pairs are K = 2, best-of-K labels Ziegler et al. 2019, eq. 1); "
             "\"classification\", the classes of labeled text; \"regression\", its numbers."},
    {.path = "reward.normalize",
     .type = OPTION_CHOICE,
     .offset = AT(reward.normalize),
     .initial = "\"demonstrations\"",
     .choices = normalizations,
     .help =
         "Where the published scores have their zero: \"none\"; \"demonstrations\", mean 0 over "
         "data.normalize or else the preferred completions of the training data (Stiennon et "
         "al. 2020); \"reference\", mean 0 and deviation 1 over samples of the reference model "
         "on data.prompts (Ziegler et al. 2019). Labels have a scale of their own and keep it."},
    {.path = "reward.reference",
     .type = OPTION_STRING,
     .offset = AT(reward.reference),
     .initial = "null",
     .help = "Model folder that is sampled for normalize \"reference\"; null: model.path."                                                     },
    {.path = "reward.normalize_samples",
     .type = OPTION_INT,
     .offset = AT(reward.normalize_samples),
     .initial = "256",
     .minimum = 2,
     .maximum = 1e6,
     .unit = "completions",
     .help = "Samples of the reference model (256: Ziegler et al. 2019)."},
    {.path = "reward.label_smoothing",
     .type = OPTION_FLOAT,
     .offset = AT(reward.label_smoothing),
     .initial = "0",
     .minimum = 0,
     .maximum = 0.5,
     .unit = "probability",
     .help = "Chance that a preference is taken to be the other way round; of a classifier: mass "
             "spread over all classes."},
    {.path = "reward.centering",
     .type = OPTION_FLOAT,
     .offset = AT(reward.centering),
     .initial = "0",
     .minimum = 0,
     .maximum = 100,
     .help = "Weight of the mean of (r_better + r_worse)^2, which keeps scores near 0 (Eisenstein "
             "et al. 2023, arXiv 2312.09244, eq. 2: 0.01)."},
    {.path = "reward.zero_head",
     .type = OPTION_BOOL,
     .offset = AT(reward.zero_head),
     .initial = "false",
     .help = "Begin a new score head with zeros instead of N(0, 1/sqrt(width + 1)) (Stiennon et "
             "al. 2020)."                                                     },
    {.path = "train.learning_rate",
     .type = OPTION_FLOAT,
     .offset = AT(settings.train.learning_rate),
     .initial = "1e-4",
     .minimum = 0,
     .maximum = 1,
     .help = "Peak learning rate of AdamW. 1e-4 suits models of a few million parameters; take "
             "1e-5 and less from 100 million on (Ouyang et al. 2022: 9e-6)."},
    {.path = "train.batch",
     .type = OPTION_INT,
     .offset = AT(settings.train.batch),
     .initial = "16",
     .minimum = 1,
     .maximum = 1e6,
     .unit = "prompts",
     .help = "Prompts an optimizer step, each with all its records (of labeled text: records). "
             "Every prompt weighs the same (Ouyang et al. 2022: 64)."},
    {.path = "train.evaluate_every",
     .type = OPTION_INT,
     .offset = AT(settings.train.evaluate_every),
     .initial = "20",
     .minimum = 0,
     .maximum = 1e9,
     .unit = "steps",
     .help = "Evaluate after every so many steps, and at the end; 0: only at the end."},
    {.path = "checkpoint.best",
     .type = OPTION_STRING,
     .offset = AT(settings.checkpoint.best),
     .initial = "\"auto\"",
     .help = "Metric of the evaluation that chooses the resulting model; \"auto\": "
             "eval/accuracy_majority where several people judged the same completions, else "
             "eval/accuracy, of a regressor eval/loss, each with its own checkpoint.mode; null: "
             "the last one is the result."                                                                       },
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
