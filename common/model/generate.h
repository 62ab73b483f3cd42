/* SPDX-License-Identifier: MIT
 *
 * Generation: sampling completions with a KV cache in continuous batches.
 *
 * A prompt sampled n times is computed once; its keys and values are shared. A finished row leaves
 * at once and the next waiting sample takes its place. Every random number is a function of (seed,
 * purpose, step, record, sample, position), and no kernel's result for a row depends on other rows:
 * which rows run together, in which order and on how many threads, changes no bit of what a row
 * says.
 */
#ifndef RLHF_MODEL_GENERATE_H
#define RLHF_MODEL_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/kernels/gemm.h"
#include "common/model/model.h"

enum { STOP_LIMIT = 8 };

typedef struct Sampling {
    bool greedy;
    float temperature;        /* > 0; 1: the model's own distribution */
    int top_k;                /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 1: off (Keskar et al. 2019, over prompt and completion) */
    size_t max_tokens;        /* of a completion, EOS included */
    size_t min_tokens;        /* what ends is masked before this many tokens; 0: off */
    const int32_t *stop; /* [stops] ids that end a completion beside the model's (config_ends); such
                                 an id is its last token */
    size_t stops;        /* <= STOP_LIMIT */
    uint64_t seed;
    RandomPurpose purpose;
    uint64_t step;
} Sampling;

/* By an id that ends, by the watch, by the limit or the end of the context. */
typedef enum Finish { FINISH_EOS, FINISH_STOP, FINISH_LENGTH } Finish;

typedef struct Prompt {
    const int32_t *id; /* borrowed */
    size_t count;      /* >= 1 */
    uint64_t record;   /* identity for random numbers */
} Prompt;

/* One sampled completion. Its arrays [count] lie in the generator until it generates again. */
typedef struct Completion {
    const int32_t *id;    /* the last one ends it when finish is FINISH_EOS */
    const float *logprob; /* of the distribution at `temperature`, before any filter */
    const float *entropy; /* of the same distribution, nats */
    size_t count;
    Finish finish;
    size_t prompt; /* index */
    size_t sample; /* 0 .. samples - 1 */
} Completion;

/* Called after each token; true ends the completion with FINISH_STOP (stop strings live above the
 * model). */
typedef bool StopCheck(void *context, size_t prompt, size_t sample, const int32_t *id,
                       size_t count);

/* Who looks on; every member may be NULL. */
typedef struct GenerateWatch {
    StopCheck *stop;
    void (*progress)(void *context, size_t done); /* number of finished completions */
    void *context;
} GenerateWatch;

typedef struct Generator Generator;

typedef struct GeneratorPlan {
    size_t rows;        /* sequences decoded at once */
    size_t context;     /* longest prompt + completion */
    size_t completions; /* most prompts * samples of a call */
    size_t tokens;      /* most max_tokens of a call; what the context leaves room for bounds it */
    GemmType type;      /* what products round their inputs to */
    bool packed;        /* keep a copy of the model's matrices laid out for products: decoding is
                           several times faster, but for the first tokens of new weights */
    GemmType cache;     /* what keys and values are kept as. FP32: as attention of a training pass
                           reads them; BF16 takes half the memory, and log-probs of BF16 products lie
                           some 70 times as far from a training pass's */
} GeneratorPlan;

size_t generator_bytes(const ModelConfig *config, const GeneratorPlan *plan);
Generator *generator_create(const ModelConfig *config, const GeneratorPlan *plan, Error *err);
void generator_free(Generator *generator);

/* Samples `samples` completions of each prompt: prompts * samples of them, prompt-major, valid until the
 * next call. NULL and *err: a prompt longer than the context leaves room for (ERROR_DATA), logits that
 * are not finite (ERROR_DIVERGED). watch may be NULL. Allocates nothing. */
const Completion *generate(Generator *generator, const Model *model, const Prompt *prompt,
                           size_t prompts, size_t samples, const Sampling *sampling,
                           const GenerateWatch *watch, Error *err);

/* What the filters look at beside the logits. */
typedef struct SamplingHistory {
    const int32_t *prompt;
    size_t prompt_count;
    const int32_t *completion; /* ids so far */
    size_t count;
    const int32_t *end; /* [ends] masked while count < min_tokens */
    size_t ends;
} SamplingHistory;

typedef struct SamplingScratch {
    float *weight;   /* [V] */
    uint32_t *order; /* [V] */
    float *plain;    /* [V]; of sampling_draw alone */
} SamplingScratch;

/* The filters alone: logits[V] are overwritten by probabilities after temperature, repetition
 * penalty, masked ends, top-k, top-p and min-p, as Hugging Face has them. Equal logits at the edge of
 * top-k are all kept; at the edge of top-p the lower ids are. greedy: all on the largest (of a tie,
 * the lowest id). history may be NULL: no penalty, no mask. */
void sampling_distribution(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, const SamplingScratch *scratch);

/* The first place whose cumulated sum, in double and begun at *before, exceeds `target`; *before becomes
 * what lies in front of it. Where none does, the last place with a mass. */
size_t sampling_pick(const float *mass, size_t n, double target, double *before);

typedef struct SamplingDraw {
    int32_t id;
    float logprob, entropy; /* of the distribution at `temperature`, before any filter */
} SamplingDraw;

/* The id that the filtered distribution gives at u in [0, 1), in the order of ids. logits[V] are
 * overwritten. Where they are not finite, logprob is not. */
SamplingDraw sampling_draw(const Sampling *sampling, const SamplingHistory *history, float *logits,
                           size_t vocabulary, double u, const SamplingScratch *scratch);

#endif
