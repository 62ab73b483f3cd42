/* SPDX-License-Identifier: MIT
 *
 * RewardSource: what gives a completion its score. One interface for a reward model, a
 * classifier, a program, a function, and a weighted sum of these. Every source gets prompt and
 * completion as ids of the policy's tokenizer and as text, and takes what it can use: a model
 * with the same tokenizer (by fingerprint) reads the ids, one with another tokenizer reads the
 * text by its own layout; a program reads the text.
 */
#ifndef RLHF_PPO_REWARD_SOURCE_H
#define RLHF_PPO_REWARD_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/model/model.h"
#include "common/text/layout.h"

/* One completion to score; everything is borrowed. */
typedef struct RewardItem {
    const Message *message; /* [messages] the prompt as text; NULL where there is no text */
    size_t messages;
    const int32_t *prompt; /* [prompt_count] ids up to where the completion begins */
    size_t prompt_count;
    const int32_t *completion; /* [completion_count] ids, the one that ends it last when finished */
    size_t completion_count;
    const char *text; /* the completion without special tokens, UTF-8, NUL-terminated; or NULL */
    bool finished;    /* its last id ends it */
    uint64_t group;   /* neighbors with the same group share the prompt */
} RewardItem;

typedef struct RewardSource RewardSource;
struct RewardSource {
    char *name; /* for messages, owned */
    /* score[n]; ERROR_UNAVAILABLE when an outside program fails, ERROR_DATA for what can not be
     * read. */
    bool (*score)(RewardSource *source, const RewardItem *item, size_t n, double *score,
                  Error *err);
    /* Takes the memory that scoring `most` completions needs; may be NULL. */
    bool (*prepare)(RewardSource *source, size_t most, Error *err);
    void (*free)(RewardSource *source);
    size_t weights;  /* bytes that it holds from the beginning */
    size_t work;     /* bytes that it will allocate */
    bool reads_text; /* items must have one */
    /* Most ids of prompt and completion together, when it reads the policy's ids; 0: no limit. */
    size_t longest;
};

bool reward_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                  Error *err);
/* After it, scoring at most `most` completions of ids at once allocates nothing. */
bool reward_prepare(RewardSource *source, size_t most, Error *err);
void reward_source_free(RewardSource *source); /* NULL is fine */

/* What the sources of a run share. */
typedef struct RewardContext {
    uint64_t fingerprint; /* of the policy's tokenizer */
    int32_t eos;          /* of the policy's layout, -1: none */
    const Model *near;    /* lends its base to scoring models on it, or NULL; lives longer */
    WorkspacePlan pass;   /* of the scoring model; .tokens is the budget of a batch */
    size_t most_tokens;   /* longest prompt and completion, plus one for an appended EOS */
    double timeout;       /* seconds for a program's batch */
} RewardContext;

/* A sequence-classification folder of one label: w . h at EOS plus reward_bias. What ends a
 * completion is read as the layout's EOS, which is appended to an unfinished one. */
RewardSource *reward_model_source(const char *folder, const RewardContext *context, Error *err);
/* The same of a model of one label in memory that reads the policy's ids; *model is taken over (and
 * left empty) once there is a source. */
RewardSource *reward_memory_source(Model *model, const RewardContext *context, Error *err);

typedef enum ClassifierOutput {
    CLASSIFIER_LOGIT,
    CLASSIFIER_PROBABILITY,
    CLASSIFIER_LOG_PROBABILITY,
} ClassifierOutput;

/* A classifier's number for one of its labels (by name, or by number). */
RewardSource *reward_classifier_source(const char *folder, const char *label,
                                       ClassifierOutput output, const RewardContext *context,
                                       Error *err);

/* A program, started once, without a shell: argv is NULL-terminated. Each completion goes to its
 * stdin as a line {"prompt": text, "completion": text, "finished": bool} (prompt is an array of
 * {"role", "content"} for a conversation); for each it answers a line {"score": x} or a bare
 * number on stdout. `batch` lines are sent, then as many answers awaited, at most `timeout`
 * seconds. Its stderr is the caller's. Death, silence, a wrong answer and a superfluous line are
 * ERROR_UNAVAILABLE. */
RewardSource *reward_program_source(const char *const *argv, size_t batch, double timeout,
                                    Error *err);

/* In-process: score(context, item). */
typedef double RewardFunction(void *context, const RewardItem *item);
RewardSource *reward_function_source(RewardFunction *function, void *function_context, Error *err);

/* sum of weight[i] * source[i]; takes the sources over, also on failure. */
RewardSource *reward_mix(RewardSource **source, const double *weight, size_t count, Error *err);

/* From the configuration: an array of objects (see reward.sources in ppo_config.c). */
RewardSource *reward_sources_parse(const cJSON *sources, const RewardContext *context, Error *err);

/* The prompt as JSON: a string, or an array of turns. */
void reward_put_prompt(Str *out, const Message *message, size_t messages);

#endif
