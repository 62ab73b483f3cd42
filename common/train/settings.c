/* SPDX-License-Identifier: MIT */
#include "common/train/settings.h"

#include <stddef.h>

#include "common/kernels/compact.h"

#define AT(field) offsetof(Settings, field)

static const char *const over_lengths[] = {"drop", "truncate", "terminate", NULL};
static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
static const char *const epsilon_modes[] = {"torch", "tensorflow", NULL};
static const char *const dtypes[] = {"fp32", "bf16", NULL}; /* as GemmType */
const char *const settings_gemm[] = {"auto",   "openblas",   "portable", "avx2",
                                     "avx512", "avx512bf16", NULL};
static const char *const modes[] = {"smallest", "largest", NULL};

/* One row a line of thought; the macros only keep the columns readable. */
#define FLAG(path, field, initial, help)                                                           \
    { path, OPTION_BOOL, AT(field), initial, 0, 0, NULL, NULL, help }
#define INT(path, field, initial, low, high, unit, help)                                           \
    { path, OPTION_INT, AT(field), initial, low, high, NULL, unit, help }
#define FLOAT(path, field, initial, low, high, unit, help)                                         \
    { path, OPTION_FLOAT, AT(field), initial, low, high, NULL, unit, help }
#define TEXT(path, field, help)                                                                    \
    { path, OPTION_STRING, AT(field), "null", 0, 0, NULL, NULL, help }
#define TEXTS(path, field, help)                                                                   \
    { path, OPTION_STRINGS, AT(field), "[]", 0, 0, NULL, NULL, help }
#define CHOICE(path, field, initial, choices, help)                                                \
    { path, OPTION_CHOICE, AT(field), initial, 0, 0, choices, NULL, help }

static const Option rows[] = {
    TEXT("output", output,
         "Run folder to create: configuration, metrics, samples, checkpoints, the resulting model "
         "and a report. It must not hold a run yet, unless resume is set."),
    FLAG("resume", resume, "false",
         "Continue the run in the output folder from its newest complete checkpoint. The result is "
         "the same, byte for byte, as if it had not been interrupted."),
    FLAG("dry_run", dry_run, "false",
         "Read everything, print the plan (sizes, steps, memory), train and write nothing."),
    FLAG("quiet", quiet, "false", "Say nothing but warnings and errors."),
    FLAG("verbose", verbose, "false", "Say more about what is done."),

    TEXT("model.path", model.path,
         "Model folder to start from (Hugging Face layout: config.json, model.safetensors)."),
    INT("model.new.layers", model.fresh.layers, "0", 0, 1000, "blocks",
        "Start from fresh weights instead of model.path: number of transformer blocks; 0: not."),
    INT("model.new.heads", model.fresh.heads, "4", 1, 1024, "heads",
        "Attention heads of a new model; they divide model.new.width."),
    TEXT("model.new.family", model.fresh.family,
         "Family of a new model, as config.json has it in model_type: gpt2, llama, mistral, qwen2, "
         "qwen3, gpt_neox, gpt_neo, openai-gpt, bert, distilbert or roberta; null: gpt2."),
    INT("model.new.kv_heads", model.fresh.kv_heads, "0", 0, 1024, "heads",
        "Heads of keys and values, where the family has groups of heads that share them (Ainslie et "
        "al. 2023); 0: one for each head."),
    INT("model.new.head_size", model.fresh.head_size, "0", 0, 4096, "numbers a head",
        "Size of a head, where the family lets it differ; 0: model.new.width by model.new.heads."),
    FLAG("model.new.tied", model.fresh.tied, "true",
         "The head of a new model is its token embedding."),
    FLOAT("model.new.rope_theta", model.fresh.rope_theta, "0", 0, 1e12, "base",
          "Base of rotary positions, where the family has them; 0: the family's."),
    INT("model.new.width", model.fresh.width, "128", 1, 65536, "numbers a token",
        "Width of a new model."),
    INT("model.new.inner", model.fresh.inner, "0", 0, 262144, "numbers a token",
        "Inner width of a new model's feed-forward layers; 0: four times model.new.width, or as many "
        "weights where units are gated."),
    INT("model.new.context", model.fresh.context, "256", 2, 1048576, "tokens",
        "Longest sequence of a new model, prompt and completion together."),
    FLOAT("model.new.dropout", model.fresh.dropout, "0.1", 0, 0.99, "probability",
          "Dropout written into a new model's config.json; train.dropout overrides it."),
    INT("model.freeze_layers", model.freeze, "-1", -1, 1000, "blocks",
        "Keep the embeddings and the first n blocks as they are; -1: train everything."),

    TEXT("model.adapter", model.adapter,
         "Adapter folder (PEFT's layout) to put on model.path and train further; null: none, unless "
         "model.path is one itself."),

    INT("lora.rank", lora.rank, "0", 0, 4096, "numbers",
        "Train low-rank adapters of this rank instead of the weights (LoRA; Hu et al. 2021); 0: "
        "train the weights. The result is an adapter folder, which needs its base."),
    FLOAT("lora.alpha", lora.alpha, "16", 0, 1e6, NULL,
          "An adapter counts lora.alpha / lora.rank times."),
    TEXTS("lora.targets", lora.targets,
          "Layers that get an adapter, by the end of their names (q_proj, v_proj, c_attn, ...); "
          "none: all linear layers of the blocks (Dettmers et al. 2023)."),
    FLOAT("lora.dropout", lora.dropout, "0", 0, 0.99, "probability",
          "Dropout of what adapters read, in training by rlhf-sft and rlhf-reward."),
    FLAG("lora.rslora", lora.rslora, "false",
         "An adapter counts lora.alpha / sqrt(lora.rank) times instead (Kalajdzievski 2023)."),
    CHOICE("lora.base", lora.base, "\"f32\"", compact_type_name,
           "What the large matrices under adapters are held as, and with that what they are: f32, bf16 "
           "(2 bytes a weight; exact where the model's files are BF16) or int8 (8.5 bits, blocks of "
           "32 with a scale; within 1/252 of a block's largest weight)."),
    FLAG("lora.merge", lora.merge, "false",
         "Also write the result as a whole model, adapter and base in one, to merged/ of the run "
         "folder."),

    TEXT("tokenizer.path", tokenizer.path,
         "Folder or tokenizer.json of the tokenizer; null: the model folder's."),
    TEXTS("tokenizer.train", tokenizer.train,
          "Data files that a new tokenizer (byte-level BPE; Sennrich et al. 2016) is trained on, "
          "when there is no model folder to take one from; none: data.train."),
    INT("tokenizer.vocabulary", tokenizer.vocabulary, "1000", 257, 1000000, "tokens",
        "Size of a new tokenizer's vocabulary, special tokens and the 256 bytes included."),
    INT("tokenizer.minimum_count", tokenizer.minimum_count, "2", 1, 1e9, "occurrences",
        "A new tokenizer merges only pairs that occur at least so often."),

    TEXT("layout.name", layout.name,
         "How prompts, completions and turns become one text: plain, chatml, hh, alpaca and "
         "others; null: what the model folder's layout.json says, else plain."),
    TEXT("layout.separator", layout.separator,
         "Text between prompt and completion instead of the layout's own."),
    TEXT("layout.prefix", layout.prefix, "Text before the prompt instead of the layout's own."),
    TEXT("layout.eos", layout.eos,
         "Token that ends a completion, by its content; null: the tokenizer's EOS."),

    TEXT("data.root", data.root, "Folder that relative names of data files are looked up in."),
    TEXT("data.format", data.format,
         "Format of the data files by name; null: recognized from their content."),
    TEXTS("data.train", data.train, "Training data: CSV or JSONL files, plain or gzip."),
    TEXTS("data.validation", data.validation,
          "Data that the evaluation during training uses; none: data.validation_share of "
          "data.train."),
    TEXTS("data.prompts", data.prompts, "Prompts that PPO answers; none: those of data.train."),
    TEXTS("data.evaluation", data.evaluation,
          "Prompts nobody trains on, for the evaluation of PPO."),
    TEXTS("data.ptx", data.ptx,
          "Data of the pre-training mix of PPO (PPO-ptx; Ouyang et al. 2022)."),
    TEXTS("data.normalize", data.normalize,
          "Demonstrations on which a reward model's mean score is set to 0; none: the preferred "
          "completions of data.train (Stiennon et al. 2020)."),
    TEXT("data.columns.prompt", data.columns.prompt,
         "Name of the column or key that holds the prompt, where it is not the usual one."),
    TEXT("data.columns.completion", data.columns.completion, "The same for the completion."),
    TEXT("data.columns.chosen", data.columns.chosen, "The same for the preferred completion."),
    TEXT("data.columns.rejected", data.columns.rejected, "The same for the other completion."),
    TEXT("data.columns.completions", data.columns.completions,
         "The same for the array of completions of one prompt."),
    TEXT("data.columns.ranks", data.columns.ranks,
         "The same for ranks: a number for each completion, lower is better, equal is a tie."),
    TEXT("data.columns.ranking", data.columns.ranking,
         "The same for rankings: indices from 0, best first, a nested list is a tie."),
    TEXT("data.columns.scores", data.columns.scores,
         "The same for scores: a number for each completion, higher is better."),
    TEXT("data.columns.messages", data.columns.messages, "The same for conversations."),
    TEXT("data.columns.text", data.columns.text, "The same for plain text."),
    TEXT("data.columns.label", data.columns.label, "The same for the label of a classifier."),
    TEXT("data.columns.margin", data.columns.margin,
         "The same for the margin of a preference (Touvron et al. 2023)."),
    TEXT("data.columns.annotator", data.columns.annotator, "The same for who judged."),
    CHOICE("data.over_length", data.over_length, "\"drop\"", over_lengths,
           "Records longer than the limit: \"drop\" leaves them out; \"truncate\" cuts the "
           "completion, which then has no end token; \"terminate\" cuts it and ends it."),
    INT("data.max_tokens", data.max_tokens, "0", 0, 1048576, "tokens",
        "Longest record, prompt and completion together; 0: the model's context."),
    FLAG("data.skip_bad", data.skip_bad, "false",
         "Leave out records that cannot be read, with a count, instead of stopping at the first."),
    FLOAT("data.validation_share", data.validation_share, "0", 0, 0.9, "share",
          "Share of data.train kept aside for evaluation when data.validation is not given; all "
          "records of one prompt go to the same side."),
    FLOAT(
        "data.part_begin", data.part_begin, "0", 0, 1, "share",
        "With data.part_end: use only the records of data.train whose prompt falls into this part "
        "of the unit interval, by a hash that no seed changes. Two models trained on disjoint "
        "parts share no prompt: a reward model and its judge."),
    FLOAT("data.part_end", data.part_end, "1", 0, 1, "share", "See data.part_begin."),
    INT("data.limit", data.limit, "0", 0, 1e12, "records",
        "Use only the first records of data.train; 0: all."),

    INT("train.seed", train.seed, "1", 0, 9007199254740992, NULL,
        "Every random number follows from it: initial weights, order of data, dropout, samples."),
    INT("train.epochs", train.epochs, "1", 1, 1e6, "passes",
        "Passes over the training data, unless train.steps is given."),
    INT("train.steps", train.steps, "0", 0, 1e9, "steps",
        "Optimizer steps (PPO: iterations); 0: what train.epochs takes."),
    INT("train.batch", train.batch, "32", 1, 1e6, "records", "Records an optimizer step."),
    INT("train.micro_tokens", train.micro_tokens, "4096", 1, 1e8, "tokens",
        "Largest piece of a batch that is computed at once. It decides how much memory is used and "
        "changes the result by rounding only."),
    FLOAT("train.learning_rate", train.learning_rate, "1e-4", 0, 1, NULL,
          "Learning rate of AdamW (Loshchilov & Hutter 2019) where the schedule is at its peak."),
    CHOICE("train.schedule", train.schedule, "\"cosine\"", schedules,
           "Course of the learning rate: \"constant\"; \"linear\" down to 0 just after the last "
           "step (Ziegler et al. 2019); \"cosine\" down to train.floor (Ouyang et al. 2022)."),
    FLOAT("train.warmup", train.warmup, "0", 0, 1e9, "share, or steps",
          "Linear rise at the beginning: below 1 a share of all steps, from 1 on a number of "
          "steps."),
    FLOAT("train.floor", train.floor, "0.1", 0, 1, "share",
          "What a cosine schedule goes down to, as a share of train.learning_rate (0.1: Ouyang et "
          "al. 2022)."),
    FLOAT("train.beta1", train.beta1, "0.9", 0, 0.999999, NULL,
          "Decay of AdamW's mean of gradients (0.9: Ouyang et al. 2022)."),
    FLOAT("train.beta2", train.beta2, "0.95", 0, 0.99999999, NULL,
          "Decay of AdamW's mean of squared gradients (0.95: Ouyang et al. 2022)."),
    FLOAT("train.epsilon", train.epsilon, "1e-8", 1e-16, 1, NULL,
          "AdamW's epsilon (1e-8: Kingma & Ba 2015; PPO of Ziegler et al. 2019 had 1e-5)."),
    CHOICE("train.epsilon_mode", train.epsilon_mode, "\"torch\"", epsilon_modes,
           "Where epsilon is added: \"torch\", after the bias correction; \"tensorflow\", before "
           "it (smaller first steps; Ziegler et al. 2019; Huang et al. 2024)."),
    FLOAT("train.weight_decay", train.weight_decay, "0", 0, 10, NULL,
          "Decoupled weight decay of matrices and embeddings; biases and norms have none."),
    FLOAT("train.clip", train.clip, "1", 0, 1e9, NULL,
          "Largest norm of the gradient, longer ones are shortened (1: Brown et al. 2020); 0: no "
          "limit."),
    FLOAT("train.ema", train.ema, "0", 0, 0.9999999, NULL,
          "Decay of an exponential moving average of the weights, which then is the result (PPO "
          "of Ouyang et al. 2022: 0.992); 0: none."),
    FLOAT("train.dropout", train.dropout, "-1", -1, 0.99, "probability",
          "Dropout while training; -1: what the model's config.json says. PPO uses none."),
    INT("train.evaluate_every", train.evaluate_every, "100", 0, 1e9, "steps",
        "Evaluate after every so many steps, and at the end; 0: only at the end."),

    FLOAT("generation.temperature", generation.temperature, "1", 1e-3, 1e3, NULL,
          "Divides the logits when sampling."),
    INT("generation.top_k", generation.top_k, "0", 0, 1e7, "tokens",
        "Sample only among the most probable ones; 0: all."),
    FLOAT("generation.top_p", generation.top_p, "1", 1e-6, 1, "probability",
          "Sample only among the fewest tokens that together have this probability (Holtzman et "
          "al. 2020); 1: all."),
    FLOAT("generation.min_p", generation.min_p, "0", 0, 1, "share",
          "Leave out tokens less probable than this share of the most probable one; 0: none."),
    FLOAT("generation.repetition_penalty", generation.repetition_penalty, "1", 0.01, 100, NULL,
          "Divides positive, multiplies negative logits of tokens that already occurred (Keskar et "
          "al. 2019); 1: off."),
    INT("generation.max_tokens", generation.max_tokens, "128", 1, 1048576, "tokens",
        "Longest completion, end token included."),
    INT("generation.samples", generation.samples, "1", 1, 100000, "completions",
        "Completions for each prompt."),
    FLAG("generation.greedy", generation.greedy, "false",
         "Always take the most probable token instead of sampling."),
    TEXTS("generation.stop", generation.stop, "Texts that end a completion when they appear."),

    INT("compute.threads", compute.threads, "0", 0, 4096, "threads",
        "Processor threads; 0: all that this process may use. The same number gives the same "
        "result to the last bit."),
    CHOICE("compute.dtype", compute.dtype, "\"fp32\"", dtypes,
           "What the numbers that linear layers and the vocabulary's head multiply are rounded to: "
           "\"fp32\", not at all; \"bf16\", to 8 bits of mantissa, in training, scoring and "
           "sampling. Sums, weights, optimizer and everything else are FP32. A CPU without BF16 "
           "instructions rounds the same way, but gains only where memory is waited for: in "
           "sampling."),
    INT("compute.recompute", compute.recompute, "0", -1, 1000, "blocks",
        "So many blocks, from the first one up, keep only their input for the backward pass and "
        "are "
        "computed again there: less memory, at most a quarter more time, the same result to the "
        "last bit (Chen et al. 2016); -1: all."),
    CHOICE("compute.gemm", compute.gemm, "\"auto\"", settings_gemm,
           "Matrix products: \"auto\", our kernels for this CPU, on all threads; \"portable\", "
           "\"avx2\", \"avx512\", \"avx512bf16\", our kernels of that kind; \"openblas\", "
           "OpenBLAS on one thread for FP32 products: worth a try where the CPU has no AVX2."),

    INT("checkpoint.every", checkpoint.every, "500", 0, 1e9, "steps",
        "Save a checkpoint after every so many steps, and at the end; 0: only at the end."),
    INT("checkpoint.keep", checkpoint.keep, "2", 1, 1e6, "checkpoints",
        "Newest checkpoints that stay; the best one stays besides."),
    TEXT("checkpoint.best", checkpoint.best,
         "Metric of the evaluation that chooses the resulting model; null: the last one is the "
         "result."),
    CHOICE("checkpoint.mode", checkpoint.mode, "\"smallest\"", modes,
           "Which value of checkpoint.best is the best."),
    FLOAT("checkpoint.max_minutes", checkpoint.max_minutes, "0", 0, 1e7, "minutes",
          "Stop cleanly after this time, with a checkpoint and exit code 75, to be continued with "
          "resume; 0: no limit."),

    INT("log.every", log.every, "10", 1, 86400, "seconds",
        "Time between two lines of progress where the output is not a terminal."),
    INT("log.samples", log.samples, "8", 0, 1e6, "samples",
        "Samples written to samples.jsonl at each evaluation."),
};

const OptionTable settings_table = {rows, sizeof rows / sizeof *rows};

const OptionFlag settings_flags[] = {
    {"--model",   'm', "model.path",      "DIR" },
    {"--data",    'd', "data.train",      "FILE"},
    {"--output",  'o', "output",          "DIR" },
    {"--resume",  0,   "resume",          NULL  },
    {"--seed",    0,   "train.seed",      "N"   },
    {"--threads", 'j', "compute.threads", "N"   },
    {"--dry-run", 'n', "dry_run",         NULL  },
    {"--quiet",   'q', "quiet",           NULL  },
    {"--verbose", 'v', "verbose",         NULL  },
    {NULL,        0,   NULL,              NULL  },
};
