/* SPDX-License-Identifier: MIT
 *
 * PpoSizes: how large everything of a run is, known before anything is allocated.
 */
#ifndef RLHF_PPO_PPO_SIZES_H
#define RLHF_PPO_PPO_SIZES_H

#include "ppo/ppo.h"

typedef struct PpoSizes {
    size_t batch, per_group, max_tokens; /* of an iteration */
    size_t longest_prompt;
    size_t rows;    /* of the largest micro-batch */
    size_t trials;  /* prompts of an evaluation, at least 1 */
    size_t befores; /* prompts shown in samples.jsonl */
    GeneratorPlan generator;
    WorkspacePlan training, reading; /* of passes */
} PpoSizes;

/* Checks that everything fits: minibatches, contexts. ERROR_CONFIG otherwise. */
bool ppo_sizes(const PpoParts *parts, PpoSizes *sizes, Error *err);

/* Most ids a prompt may have so that prompt and completion fit every model that reads these ids. */
size_t ppo_prompt_limit(const PpoConfig *config, const Model *policy, const Model *reference,
                        const Model *critic, const RewardSource *source, const RewardSource *judge);

#endif
