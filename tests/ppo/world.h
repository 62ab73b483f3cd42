/* SPDX-License-Identifier: MIT
 *
 * A world small enough to be enumerated: random GPT-2 models of a few tokens, prompts, a reward
 * that is a function, and PPO on it.
 */
#ifndef RLHF_TESTS_PPO_WORLD_H
#define RLHF_TESTS_PPO_WORLD_H

#include "ppo/ppo.h"
#include "tests/support/support.h"

enum { WORLD_PROMPTS = 8, WORLD_PROMPT_MOST = 6 };

typedef struct WorldOptions {
    size_t vocabulary, width, layers, context;
    int32_t eos;          /* -1: none */
    size_t prompts;       /* to train on; as many more are held out */
    size_t prompt_length; /* 0: 1, 2, ... by turns */
    bool shared;          /* a critic on the policy's trunk */
    float scale;          /* of the matrices, relative to a fresh GPT-2; 0: 8 */
    RewardFunction *reward; /* NULL: a reward model of random weights */
    void *reward_context;
} WorldOptions;

typedef struct World {
    PpoConfig config;
    OptionOrigins *origins;
    Model policy, reference, critic;
    RewardSource *source;
    int32_t id[2 * WORLD_PROMPTS][WORLD_PROMPT_MOST];
    RolloutPrompt prompt[2 * WORLD_PROMPTS];
    ExampleSet ptx;
    PpoParts parts;
    Ppo ppo;
} World;

/* Builds it; `set` are NULL-terminated "path=value" settings. ppo is initialized. */
void world_init(World *world, const WorldOptions *options, const char *const *set);
void world_done(World *world);

/* One iteration; the metrics of it. */
void world_step(World *world, int64_t iteration, Metrics *metrics);
double metric(const Metrics *metrics, const char *name);

/* log p(target | ids) of every row by the model at temperature 1, for a plain sequence; [n] */
void world_logprobs(const Model *model, const int32_t *id, const int32_t *target, size_t n,
                    float *logprob);
/* The whole distribution after the ids, log-probabilities; [vocabulary]. */
void world_distribution(const Model *model, const int32_t *id, size_t n, double *logp);

#endif
