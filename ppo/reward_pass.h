/* SPDX-License-Identifier: MIT
 *
 * RewardPass: a frozen model with a score head that reads prompts and completions: what reward
 * model and classifier sources have in common. A causal model's score is read at the last id, an
 * encoder's at the first; an encoder always reads text, framed by its own tokenizer.
 */
#ifndef RLHF_PPO_REWARD_PASS_H
#define RLHF_PPO_REWARD_PASS_H

#include "common/model/model.h"
#include "common/text/layout.h"
#include "ppo/reward_source.h"

typedef struct RewardPass {
    char *folder; /* for messages, owned */
    Model model;
    Tokenizer *tokenizer; /* NULL when it reads the policy's ids */
    Layout layout;        /* of its own, with a tokenizer of its own */
    int32_t eos;          /* completions are read with it at their end, -1: as they are */
    size_t rows;          /* of the largest batch */
    WorkspacePlan plan;   /* for it */
    Workspace *workspace; /* NULL until it is prepared */
    Batch batch;
    float *score;              /* [rows * labels] */
    size_t *row;               /* [items of a batch] the row that each item's score is read at */
    size_t items;              /* capacity of row */
    Tokens prompt, completion; /* the item at hand, in the model's ids */
} RewardPass;

/* labels 1: a reward model is demanded; 0: whatever config.json says, at least one label. */
bool reward_pass_open(RewardPass *pass, const char *folder, size_t labels,
                      const RewardContext *context, Error *err);
/* The same of a model in memory that reads the policy's ids; takes it over, also on failure. */
bool reward_pass_take(RewardPass *pass, Model *model, const RewardContext *context, Error *err);
void reward_pass_close(RewardPass *pass);

/* Takes the memory of a run; the first run does it else. */
bool reward_pass_prepare(RewardPass *pass, Error *err);
/* Bytes of weights; bytes that preparing will allocate. */
size_t reward_pass_weights(const RewardPass *pass);
size_t reward_pass_work(const RewardPass *pass);
/* Most ids of the policy's tokenizer it can read, one place kept for EOS; 0 if it reads text. */
size_t reward_pass_longest(const RewardPass *pass);

/* out[n * labels]: the head's numbers for each item (plus reward_bias of a reward
 * model). */
bool reward_pass_run(RewardPass *pass, const RewardItem *item, size_t n, float *out, Error *err);

#endif
