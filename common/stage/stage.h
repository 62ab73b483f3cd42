/* SPDX-License-Identifier: MIT
 *
 * Stage: what the mains of the three programs do alike before and after their own work: the run's log,
 * threads and signals; tokenizer and layout; data sets by the settings; a saved model folder with all
 * that belongs in it; the plan that --dry-run prints.
 *
 * This is the highest layer below the stages: it may see everything but them.
 */
#ifndef RLHF_STAGE_STAGE_H
#define RLHF_STAGE_STAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/log.h"
#include "common/model/generate.h"
#include "common/model/model.h"
#include "common/text/layout.h"
#include "common/text/tokenizer.h"
#include "common/train/settings.h"
#include "common/train/trainer.h"
#include "datasets/dataset.h"
#include "datasets/example.h"

/* The main of a stage: reads the command line into *config (a zeroed struct that begins with a Settings),
 * adopts the configuration of a run that goes on, sets up log, threads and signals, calls run; prints an
 * error and gives the exit code. */
typedef bool StageRun(const void *config, const OptionOrigins *origins, Log *log, Error *err);
int stage_main(const OptionProgram *program, int argc, char **argv, void *config, StageRun *run);

/* Opens the run folder, which records the configuration, and runs the training loop in it. */
bool stage_train(const OptionProgram *program, const void *config, const OptionOrigins *origins,
                 const TrainerOptions *options, const TrainerStage *stage, Log *log, Error *err);

/* Bytes of a checkpoint of this model: weights, both moments of the optimizer, `copies` more weights. */
uint64_t stage_checkpoint_bytes(const Model *model, size_t copies);

/* Log, threads, signals, kernels by the settings. The first thing after options_parse. */
bool stage_begin(const char *program, const Settings *settings, Log *log, Error *err);

/* Threads for a program without a Settings (0: all processors); refuses matrix products that compute
 * wrong. */
bool stage_threads(int64_t threads, Error *err);

/* Shows the first record, as it was understood. */
void stage_show_example(const DataSet *data, Log *log);

/* With --resume, and a run in the output folder: its run.json becomes the configuration. What is given
 * again must be the same, but for what changes no result (threads, verbosity, when checkpoints are
 * made). settings lies in *config. */
bool stage_adopt_run(const OptionProgram *program, void *config, const Settings *settings,
                     OptionOrigins *origins, Error *err);

/* --output must be given, and hold no run unless --resume; told before any work is done. A run that is
 * finished already gives *finished = true (exit 0). */
bool stage_check_output(const Settings *settings, bool *finished, Error *err);

/* Data options as the settings say; `accept` is a bit set of 1 << RecordKind. */
DataOptions stage_data_options(const Settings *settings, unsigned accept);

/* data.train (its part, its first data.limit records) and data.validation, or what
 * data.validation_share keeps aside; says what was recognized. */
bool stage_read_data(const Settings *settings, unsigned accept, DataSet *train, DataSet *validation,
                     Log *log, Error *err);

/* Tokenizer: tokenizer.path, else the model folder's, else trained on tokenizer.train or, when that is
 * empty, on the texts of `data`. Layout: the model folder's, with the settings' values over it. */
bool stage_load_text(const Settings *settings, const DataSet *data, Tokenizer **tokenizer,
                     Layout *layout, Log *log, Error *err);

/* The model of settings.model: a folder, or a fresh one of the given architecture for this tokenizer. */
bool stage_load_model(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                      int head, size_t labels, Model *model, bool *fresh_head, Log *log,
                      Error *err);

/* Refuses lora.base where nothing is there that it could mean, or the products cannot be computed. */
bool stage_check_base(const Settings *settings, Error *err);
/* The weights of settings.model.path with the adapter that the settings ask for: model.adapter, or a new
 * one of lora.rank. */
bool stage_open_model(const Settings *settings, int head, size_t labels, Model *model,
                      bool *fresh_head, Error *err);
/* Puts a new adapter by settings.lora on a model whose weights are those of the folder `base`. */
bool stage_adapt(const Settings *settings, Model *model, const char *base, Error *err);
void stage_say_adapter(const Model *model, Log *log);
/* With lora.merge: the result, run/model, as a whole model to run/merged; of a base as lora.base holds
 * it. */
bool stage_save_merged(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                       const char *run, Error *err);

/* Folder with config.json, model.safetensors, tokenizer and layout files; the folder is created. Of a model
 * with an adapter it is an adapter's folder. */
bool stage_save_model(const Model *model, const Tokenizer *tokenizer, const Layout *layout,
                      const char *folder, Error *err);

/* The parts of a checkpoint: weights as folder/name (a model folder without tokenizer), the optimizer as
 * folder/optimizer.safetensors. Weights that are loaded must fit the model, which keeps its memory. */
bool stage_save_weights(const Model *model, const char *folder, const char *name, Error *err);
bool stage_load_weights(Model *model, const char *folder, const char *name, Error *err);
bool stage_save_optimizer(const Optimizer *optimizer, const Model *model, const char *folder,
                          Error *err);
bool stage_load_optimizer(Optimizer *optimizer, const Model *model, const char *folder, Error *err);

/* Steps of a run over n records: train.steps, or epochs in full batches. Warm-up in steps. */
int64_t stage_steps(const Settings *settings, size_t records);
double stage_learning_rate(const Settings *settings, int64_t step, int64_t steps);
OptimizerOptions stage_optimizer_options(const Settings *settings);
/* What passes of `rows` rows need: those that train, and those of a model that stays as it is. */
WorkspacePlan stage_training_plan(const Settings *settings, size_t rows);
WorkspacePlan stage_reading_plan(const Settings *settings, size_t rows);
/* Rows of the largest micro-batch: train.micro_tokens, or what a step has, or the longest record. */
size_t stage_rows(const Settings *settings, size_t longest);
TrainerOptions stage_trainer_options(const Settings *settings, int64_t steps);

/* One sample of samples.jsonl rendered as text by the tokenizer; `out` gets a JSON object. */
bool stage_render_completion(const Tokenizer *tokenizer, const Completion *completion, Str *text,
                             Error *err);

/* A line of the plan, aligned: "  weights            3.6 MB". */
void stage_plan_line(Str *plan, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void stage_plan_bytes(Str *plan, const char *what, size_t bytes);

/* The plan's last lines: what the process holds now, and the peak of a run that takes these blocks
 * besides (bytes of each as it is allocated, 0 for one that is not needed). Small buffers, stacks and code that was not run
 * yet are in it as a fixed sum. */
void stage_plan_peak(Str *plan, const size_t *block, size_t blocks);

#endif
