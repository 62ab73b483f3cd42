/* SPDX-License-Identifier: MIT
 *
 * Configuration of rlhf-ppo: the shared settings, and the keys reward.* and ppo.*.
 */
#ifndef RLHF_PPO_PPO_CONFIG_H
#define RLHF_PPO_PPO_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/options.h"
#include "common/train/settings.h"

typedef enum CriticKind {
    CRITIC_REWARD, /* a model of its own, from the reward model (InstructGPT) */
    CRITIC_POLICY, /* a model of its own, from the policy with a fresh head of zeros */
    CRITIC_SHARED, /* a score head on the policy's trunk (Ziegler et al. 2019) */
} CriticKind;

typedef enum ScoreNormalization {
    NORMALIZE_NONE,
    NORMALIZE_FIXED,     /* by reward.mean and reward.deviation */
    NORMALIZE_REFERENCE, /* by mean and deviation of the first iteration's scores */
    NORMALIZE_RUNNING,   /* by those of all scores so far */
} ScoreNormalization;

typedef enum OldLogprobs {
    OLD_SAMPLER,   /* those that the sampler recorded */
    OLD_RECOMPUTE, /* by the training path, one more pass of the policy an iteration */
} OldLogprobs;

typedef enum PpoSelect { SELECT_AUTO, SELECT_SCORE, SELECT_JUDGE, SELECT_LAST } PpoSelect;

typedef struct PpoConfig {
    Settings settings; /* first: the shared table's offsets count from here */
    struct {
        char *model;    /* reward model folder, or NULL */
        cJSON *sources; /* array of sources, or NULL; see reward_source.h */
        double mean, deviation;
        double timeout; /* seconds, of a program source that names none */
    } reward;
    struct {
        char *reference, *critic_path, *judge, *dump;
        int critic;              /* CriticKind */
        int kl_estimator;        /* 0: k1, 1: k3 */
        int kl_loss_estimator;   /* KlEstimator */
        int score_normalization; /* ScoreNormalization */
        int missing_eos;         /* MissingEos */
        int old_logprobs;        /* OldLogprobs */
        int select;              /* PpoSelect */
        double kl_coef, kl_target, kl_horizon, kl_loss;
        double score_clip, missing_eos_value;
        double gamma, lambda;
        double clip, value_clip, value_coef, entropy_coef;
        double critic_learning_rate;
        double target_kl, ratio_threshold;
        double ptx_coef;
        double stop_kl, select_max_kl;
        int64_t epochs, minibatches, critic_warmup;
        int64_t ptx_batch, rollout_rows, evaluation_prompts, best_of;
        bool whiten_rewards, whiten_advantages;
    } ppo;
} PpoConfig;

/* The program's description for options_parse: tables, flags, help. */
extern const OptionProgram ppo_program;

/* Values that the rows' ranges cannot judge alone: filters of sampling, dropout, the reward's
 * sources. ERROR_CONFIG naming the key. */
bool ppo_config_check(const PpoConfig *config, Error *err);

/* KL estimator of the reward (ppo.kl_estimator) in the terms of common/loss/ppo.h. */
int ppo_reward_estimator(const PpoConfig *config);

#endif
