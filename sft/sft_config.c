/* SPDX-License-Identifier: MIT */
#include "sft/sft.h"

static const char *const loss_on[] = {"completion", "all", NULL};

#define AT(field) offsetof(SftConfig, field)

/* Rows with a shared path replace the shared default. */
/* clang-format off */
static const Option rows[] = {
    {"sft.loss_on", OPTION_CHOICE, AT(sft.loss_on), "\"completion\"", .choices = loss_on,
     .help = "Which tokens are trained: those of completions (of a conversation: the assistant's "
             "turns), or all. Plain text is always trained whole."},
    {"sft.mask_share", OPTION_FLOAT, AT(sft.mask_share), "0.15", 0, 1,
     .help = "Encoders: share of the ordinary tokens that are hidden and to be found."},
    {"sft.next_sentence", OPTION_BOOL, AT(sft.next_sentence), "false",
     .help = "Encoders with that head (BertForPreTraining): also tell whether the second half of a "
             "sequence follows its first."},
    {"train.learning_rate", OPTION_FLOAT, AT(settings.train.learning_rate), "5e-4", 0, 1,
     .help = "Peak learning rate of AdamW. 5e-4 suits models of about a million parameters; "
             "take 1e-5 to 5e-5 from 100 million on."},
    {"train.epochs", OPTION_INT, AT(settings.train.epochs), "3", 1, 1e6, .unit = "passes",
     .help = "Passes over the training data, unless train.steps is given. InstructGPT took 16."},
    {"train.batch", OPTION_INT, AT(settings.train.batch), "32", 1, 1e6, .unit = "records",
     .help = "Records per optimizer step."},
    {"checkpoint.best", OPTION_STRING, AT(settings.checkpoint.best), "\"eval/loss\"",
     .help = "Metric that chooses the resulting model; null keeps the last one."},
};
/* clang-format on */

static const OptionTable own_table = {rows, sizeof rows / sizeof rows[0]};

static const OptionTable *const tables[] = {&settings_table, &own_table};
static const OptionFlag *const flags[] = {settings_flags};

const OptionProgram sft_program = {
    .name = "rlhf-sft",
    .summary = "Fine-tunes a language model on human demonstrations, conversations or plain text.",
    .examples = "rlhf-sft --config configs/demo-sft.json --output runs/sft\n"
                "rlhf-sft --model gpt2 --data answers.csv --output runs/sft --set "
                "train.learning_rate=2e-5\n"
                "rlhf-sft --config configs/demo-sft.json --output runs/sft --dry-run",
    .table = tables,
    .tables = sizeof tables / sizeof tables[0],
    .flag = flags,
    .flag_lists = sizeof flags / sizeof flags[0],
};
