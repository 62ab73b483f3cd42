/* SPDX-License-Identifier: MIT
 *
 * PpoInputs: everything rlhf-ppo reads before it begins, and owns: data, tokenizer, models,
 * rewards.
 */
#ifndef RLHF_PPO_PPO_PREPARE_H
#define RLHF_PPO_PPO_PREPARE_H

#include "ppo/ppo.h"

typedef struct PpoInputs {
    DataSet prompt_data, evaluation_data, ptx_data;
    Tokenizer *tokenizer;
    Layout layout;
    int32_t eos;
    Model policy, reference, critic;
    bool own_critic;
    RewardSource *source, *judge;
    Tokens ids; /* of all prompts, end to end */
    RolloutPrompt *prompt, *held_out;
    size_t prompts, held_outs, dropped; /* dropped: too long */
    ExampleSet ptx;
} PpoInputs;

/* Reads all; on failure everything is released. Says what it read through the log. */
bool ppo_prepare(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err);
void ppo_inputs_done(PpoInputs *inputs);

PpoParts ppo_parts(PpoInputs *inputs, const PpoConfig *config, Log *log);

#endif
