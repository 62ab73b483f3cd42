/* SPDX-License-Identifier: MIT
 *
 * Settings: the configuration that the three stages share, its option table, and what every main does
 * first. A stage's own configuration struct begins with a Settings.
 */
#ifndef RLHF_TRAIN_SETTINGS_H
#define RLHF_TRAIN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/options.h"
#include "common/train/optimizer.h"

typedef struct Settings {
    char *output;
    bool resume, dry_run, quiet, verbose;
    struct {
        char *path, *adapter;
        struct {
            char *family;       /* NULL: gpt2 */
            int64_t layers, heads, kv_heads, head_size, width, inner, context;
            bool tied;
            double rope_theta, dropout;
        } fresh;                /* model.new.* */
        int64_t freeze;         /* model.freeze_layers: embeddings and the first n blocks; -1 none */
    } model;
    struct { int64_t rank; double alpha, dropout; bool rslora, merge; int base; /* CompactType */ StringList targets; } lora;
    struct { char *path; StringList train; int64_t vocabulary; int64_t minimum_count; } tokenizer;
    struct { char *name, *separator, *prefix, *eos; } layout;  /* NULL: from the model folder, else plain */
    struct {
        char *root, *format;
        StringList train, validation, prompts, evaluation, ptx, normalize;
        struct { char *prompt, *completion, *chosen, *rejected, *completions, *ranks, *ranking, *scores,
                     *messages, *text, *label, *margin, *annotator; } columns;
        int over_length;        /* 0 drop, 1 truncate, 2 terminate */
        int64_t max_tokens;     /* of a record; 0: the model's context */
        bool skip_bad;
        double validation_share; /* of data.train, split by prompt, when there is no data.validation */
        double part_begin, part_end; /* only prompts whose hash falls into [begin, end) of data.train */
        int64_t limit;           /* first n records only; 0: all */
    } data;
    struct {
        int64_t seed, epochs, steps; /* steps 0: from epochs */
        int64_t batch;               /* records (SFT, reward) a step */
        int64_t micro_tokens;        /* largest micro-batch */
        double learning_rate, warmup, floor; /* warmup < 1: share of the steps, else steps */
        int schedule;                /* ScheduleKind */
        double beta1, beta2, epsilon, weight_decay, clip, ema;
        int epsilon_mode;
        double dropout;              /* < 0: what the model's config.json says */
        int64_t evaluate_every;
    } train;
    struct {
        double temperature, top_p, min_p, repetition_penalty;
        int64_t top_k, max_tokens, samples;
        bool greedy;
        StringList stop;
    } generation;
    struct {
        int64_t threads, recompute;
        int dtype; /* GemmType */
        int gemm;  /* ComputeGemm */
    } compute;
    struct { int64_t every; int64_t keep; char *best; int mode; double max_minutes; } checkpoint;
    struct { int64_t every; int64_t samples; } log;
} Settings;

/* compute.gemm: our kernels that suit the CPU, OpenBLAS, or our kernels of this name. */
typedef enum ComputeGemm { COMPUTE_GEMM_AUTO, COMPUTE_GEMM_OPENBLAS, COMPUTE_GEMM_NAMED } ComputeGemm;
extern const char *const settings_gemm[]; /* the names of the choices */

/* Rows over a Settings at offset 0. Defaults that a stage wants otherwise are changed by a second table
 * row with the same path in the stage's table (the later row wins). */
extern const OptionTable settings_table;
extern const OptionFlag settings_flags[]; /* ended by a row with name NULL */

#endif
