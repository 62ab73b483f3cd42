/* SPDX-License-Identifier: MIT
 *
 * Supervised fine-tuning: minimize -log p of the trained tokens of demonstrations, conversations or
 * plain text (InstructGPT, Ouyang et al. 2022, section 3.5, step 1); of an encoder, of masked tokens
 * (masked.h).
 *
 * The loss of an optimizer step is the sum over its trained tokens divided by their number, over all
 * micro-batches; never a mean of means.
 */
#ifndef RLHF_SFT_SFT_H
#define RLHF_SFT_SFT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/stage/stage.h"
#include "sft/masked.h"

enum { SFT_NEXT_LABELS = 2 }; /* scores of a next sentence: it is, it is not */

typedef struct SftConfig {
    Settings settings; /* first: the shared table's offsets count from here */
    struct {
        int loss_on;        /* 0 completion, 1 all */
        double mask_share;  /* encoders */
        bool next_sentence; /* the same */
    } sft;
} SftConfig;

extern const OptionProgram sft_program;

/* All that a run holds. Made once before the first step; a step allocates nothing. */
typedef struct Sft {
    const SftConfig *config;
    Log *log;
    Tokenizer *tokenizer;
    Layout layout;
    DataSet train_data, validation_data, prompt_data;
    ExampleSet train, validation, prompts;
    Model model, ema; /* ema.data is NULL without an average */
    Gradients gradients;
    Optimizer optimizer;
    Workspace *workspace;     /* for training */
    Batch batch;              /* one micro-batch */
    float *logprob, *correct; /* [rows of the largest micro-batch] */
    bool encoder;             /* what follows is for encoders alone */
    Masked masked;
    int *label;            /* [rows] of each sequence of the micro-batch */
    float *dlogprob;       /* [rows] */
    float *score, *dscore; /* [rows * SFT_NEXT_LABELS] with next sentences, else NULL */
    Generator *generator;  /* for samples; NULL without prompts */
    size_t rows;           /* of the largest micro-batch */
    int64_t steps;
    uint64_t seen; /* trained tokens so far */
} Sft;

/* Reads data, tokenizer and model; counts; plans. On failure everything is released. */
bool sft_prepare(Sft *sft, const SftConfig *config, Log *log, Error *err);
void sft_done(Sft *sft);

/* The memory of workspaces, optimizer and buffers; after sft_prepare, not for --dry-run. */
bool sft_allocate(Sft *sft, Error *err);

/* The text of --dry-run: data, steps, memory. */
bool sft_plan(const Sft *sft, Str *plan, Error *err);

/* Sum of -log p over the trained tokens of examples [first, first + count) in the given order, and how
 * many there are; with `correct`, how many are the most probable token. */
typedef struct SftSums {
    double loss;
    size_t tokens, correct;
    double next_loss; /* of next sentences: cross-entropy, how many, and how many are told right */
    size_t sequences, next_correct;
} SftSums;
bool sft_measure(Sft *sft, const ExampleSet *set, SftSums *sums, Error *err);
/* The mean of tokens, plus with next sentences theirs. */
double sft_loss(const SftSums *sums);

/* The index in sft->train of record i of a step. */
size_t sft_step_example(const Sft *sft, int64_t step, int64_t i);
/* The model, or its average where there is one. */
const Model *sft_result(const Sft *sft);

/* Of an encoder: a step's sums, their gradient added; and what sft_measure adds to the sums. */
bool sft_masked_accumulate(Sft *sft, int64_t step, SftSums *sums, Error *err);
bool sft_masked_measure(Sft *sft, const ExampleSet *set, SftSums *sums, Error *err);

/* Callbacks for the training loop; context is the Sft. */
extern const TrainerStage sft_stage;

#endif
