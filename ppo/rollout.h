/* SPDX-License-Identifier: MIT
 *
 * Rollout: completions sampled by a policy, and what belongs to each of their tokens.
 *
 * All per-token arrays are ragged: completion s has the entries start[s] .. start[s + 1] - 1,
 * one per action, the end included. Completions of one prompt are neighbors.
 *
 * Pack: a micro-batch of some of them. A completion's rows are the prompt's last id and its own
 * ids but the last; the row before an action has the action as target and holds the value of the
 * state before it. Several completions of one prompt share the prompt's other ids as a prefix.
 */
#ifndef RLHF_PPO_ROLLOUT_H
#define RLHF_PPO_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/batch.h"
#include "common/model/generate.h"
#include "common/text/tokenizer.h"
#include "ppo/reward_source.h"

typedef struct RolloutPrompt {
    const int32_t *id;      /* borrowed */
    size_t count;           /* >= 1 */
    uint64_t key;           /* identity for random numbers */
    const Message *message; /* the prompt as text, or NULL; borrowed */
    size_t messages;
} RolloutPrompt;

typedef struct Rollout {
    size_t groups, per_group;     /* prompts, and completions of each */
    size_t samples, actions;      /* groups * per_group; all their tokens */
    const RolloutPrompt **prompt; /* [groups] */
    size_t *start;                /* [samples + 1] */
    bool *finished;               /* [samples] its last action ends it */
    const char **text; /* [samples] without what ends it and special tokens; NULL: no text */
    double *raw_score, *score; /* [samples] as the source gave it; as the policy is paid */
    int32_t *action;           /* [actions] */
    float *sampled;            /* [actions] log-prob by the sampler */
    float *old, *reference;    /* [actions] log-probs by the training path */
    float *entropy;            /* [actions] of the distribution sampled from */
    float *value;              /* [actions] critic, before the action */
    float *kl, *reward, *advantage, *returns; /* [actions] */
    size_t most_groups, most_samples, most_actions;
    Prompt *asked;    /* [groups] as the generator takes them */
    RewardItem *item; /* [samples] as a source takes them */
    Str *texts;       /* [samples] what text points to */
    float *slab;      /* owned: the float arrays */
} Rollout;

/* Room for groups prompts with per_group completions of at most most_tokens ids. */
bool rollout_init(Rollout *rollout, size_t groups, size_t per_group, size_t most_tokens,
                  Error *err);
void rollout_done(Rollout *rollout);
size_t rollout_bytes(size_t groups, size_t per_group, size_t most_tokens);

/* Samples per_group completions of each of the n prompts: actions, log-probs and entropies by the
 * sampler; no texts. What the model says to end a completion (config_ends) does, and eos >= 0. */
bool rollout_sample(Rollout *rollout, Generator *generator, const Model *model,
                    const RolloutPrompt *const *prompt, size_t n, size_t per_group,
                    const Sampling *sampling, int32_t eos, Error *err);

/* Texts of all completions, good until the next sampling; memory is kept from one to the next. */
bool rollout_decode(Rollout *rollout, const Tokenizer *tokenizer, Error *err);

/* Scores of all completions by a source. */
bool rollout_score(Rollout *rollout, RewardSource *source, double *score, Error *err);

#define PACK_NO_ACTION SIZE_MAX

typedef struct Pack {
    Batch batch;
    size_t *action;       /* [rows] entry of the rollout's arrays that a batch row belongs to, or
                       PACK_NO_ACTION */
    size_t rows;          /* the budget */
    int32_t *id, *target; /* [rows] scratch */
} Pack;

bool pack_init(Pack *pack, size_t rows, Error *err);
void pack_done(Pack *pack);

/* Fills the emptied pack with completions order[*next], order[*next + 1], ... (order NULL: *next,
 * *next + 1, ...), n being the end, and moves *next on. One completion with its prompt must fit. As
 * few packs as the budget allows take about equally many rows each, and split no prompt's
 * completions where that can be had. */
bool pack_fill(Pack *pack, const Rollout *rollout, const size_t *order, size_t n, size_t *next,
               Error *err);

#endif
