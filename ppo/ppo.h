/* SPDX-License-Identifier: MIT
 *
 * Ppo: the RLHF loop (Ziegler et al. 2019; Stiennon et al. 2020; Ouyang et al. 2022, section 3.5
 * step 3).
 *
 * One iteration: sample completions from the policy; score them; log-probs of the frozen reference
 * and values of the critic; rewards = -beta KL at each token, the score at the last; generalized
 * advantages; passes of clipped updates; metrics. The log-probs of the old policy are those of the
 * sampler, or, with ppo.old_logprobs "recompute" and always in the first iteration, those of one
 * more pass. Only texts are allocated in the course of it, where somebody reads them.
 *
 * It works on models in memory and knows no files but those of its checkpoints, so that a test
 * can run it on a world of five tokens. The main loads the models and owns them.
 */
#ifndef RLHF_PPO_PPO_H
#define RLHF_PPO_PPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loss/ppo.h"
#include "common/model/generate.h"
#include "common/model/model.h"
#include "common/stage/stage.h"
#include "ppo/ppo_config.h"
#include "ppo/reward_source.h"
#include "ppo/rollout.h"

/* What a run is made of; all borrowed, and alive as long as the Ppo. */
typedef struct PpoParts {
    const PpoConfig *config;
    Log *log;               /* or NULL */
    Model *policy;          /* HEAD_BOTH when it carries the critic, else HEAD_LM */
    const Model *reference; /* frozen; on the policy's base (then of the same head), or a model apart */
    Model *critic;          /* NULL: shared */
    RewardSource *source;
    RewardSource *judge;         /* or NULL */
    const Tokenizer *tokenizer;  /* or NULL: rollouts have no text */
    const Layout *layout;        /* saved with models; NULL without a tokenizer */
    int32_t eos;                 /* ends a completion; -1: none */
    const RolloutPrompt *prompt; /* [prompts] to train on */
    size_t prompts;
    const RolloutPrompt *held_out; /* [held_outs] of evaluations */
    size_t held_outs;
    const ExampleSet *ptx; /* or NULL */
} PpoParts;

/* Welford's running mean and variance of scores. */
typedef struct ScoreStatistics {
    double count, mean, squares;
} ScoreStatistics;

/* What the first policy said to a held-out prompt. */
typedef struct PpoBefore {
    char *text; /* owned */
    double score;
} PpoBefore;

/* Where the time goes. */
typedef enum PpoTime {
    TIME_SAMPLE,
    TIME_SCORE,
    TIME_KNOW,   /* log-probs and values */
    TIME_UPDATE, /* and advantages */
    TIME_EVALUATE,
    TIME_SAVE,
    TIME_PARTS
} PpoTime;

typedef struct Ppo {
    PpoParts part;
    const PpoConfig *config;
    int64_t iterations;
    size_t longest_prompt, rows; /* rows: the largest micro-batch */
    bool same_start;             /* policy and reference begin as the same weights */
    Gradients policy_gradients, critic_gradients;
    Optimizer policy_optimizer, critic_optimizer;
    Model ema; /* average of the policy's weights; data NULL without one */
    Workspace *policy_space, *critic_space;
    Workspace *reference_space; /* NULL: a reference on the policy's base passes through the policy's */
    Generator *generator;
    Rollout rollout, trial; /* of an iteration, of an evaluation */
    Pack pack;
    Batch ptx_batch;
    float *row_logprob, *row_score;  /* [rows] */
    const RolloutPrompt **chosen;    /* prompts of the batch at hand */
    RolloutPrompt *keyed;            /* [batch] with the epoch mixed into the key */
    size_t *order;                   /* completions in the order of a pass */
    double *judged;                  /* scores of the judge in an evaluation */
    double spent[TIME_PARTS];        /* seconds since the last iteration's end */
    double spent_in_all[TIME_PARTS]; /* seconds of this process up to then */
    int64_t timed;                   /* iterations in that */
    /* State that a checkpoint keeps beside weights and optimizers. */
    double beta;
    ScoreStatistics statistics;
    PpoBefore *before; /* [befores] */
    size_t befores;
    int dump; /* descriptor of the rollout dump, or -1 */
    uint64_t dump_size;
} Ppo;

/* Allocates everything; takes what the parts say. */
bool ppo_init(Ppo *ppo, const PpoParts *parts, Error *err);
void ppo_done(Ppo *ppo);

/* Iterations of the run: train.steps, or train.epochs over the prompts. */
int64_t ppo_iterations(const PpoConfig *config, size_t prompts);

/* Memory, iterations and data as text; needs no ppo_init. */
bool ppo_plan(const PpoParts *parts, Str *plan, Error *err);

/* The model that samples in evaluations and becomes the result: the average if there is one. */
const Model *ppo_result(const Ppo *ppo);

/* ppo_step.c: one iteration. *finished: ppo.stop_kl was exceeded. */
bool ppo_step(Ppo *ppo, int64_t iteration, Metrics *metrics, Metrics *timing, bool *finished,
              Error *err);

/* Order of completions in a pass: whole prompts, permuted by (seed, iteration, epoch). */
void ppo_order(const Ppo *ppo, int64_t iteration, int64_t epoch, size_t *order);
/* Minibatch k of a pass ends before order[this]; whole prompts. */
size_t ppo_minibatch_end(const Ppo *ppo, size_t k);

/* Whether an iteration trains the policy, and whether it asks the policy for the old log-probs. */
bool ppo_trains_policy(const Ppo *ppo, int64_t iteration);
bool ppo_recomputes(const Ppo *ppo, int64_t iteration);

/* How far two ways of computing log-probs are apart: the sampler's and the trainer's. */
typedef struct Drift {
    size_t tokens;
    double sum, largest;     /* nats */
    double sampled, trained; /* log-probs where it is largest */
} Drift;
void ppo_drift_add(Drift *drift, double sampled, double trained);
/* Beyond the limit of compute.dtype, 1e-3 nats a token with FP32 and 5e-2 with BF16,
 * ERROR_INTERNAL. */
bool ppo_drift_check(const PpoConfig *config, const Drift *drift, Error *err);

/* ppo_update.c: by the training path, for all completions: log-probs by the reference; with `old`
 * log-probs by `policy`; with `values` the critic's. */
bool ppo_logprobs(Ppo *ppo, Rollout *rollout, const Model *policy, bool old, bool values,
                  Error *err);

/* The passes of an iteration over the rollout. */
typedef struct PpoUpdate {
    size_t minibatches, skipped; /* stepped, and skipped by the ratio threshold */
    bool stopped;                /* by ppo.target_kl */
    double policy_loss, value_loss, entropy, approx_kl, approx_kl_k3, clip_share, value_clip_share;
    double ratio, ratio_variance, ratio_max, kl_loss; /* means over minibatches; largest */
    double ptx_loss;
    double policy_norm, critic_norm;
    double first_deviation; /* largest |ratio - 1| of the first minibatch */
    Drift drift;            /* of the first minibatch, where the old log-probs are the sampler's */
    double learning_rate, critic_learning_rate;
} PpoUpdate;
bool ppo_update(Ppo *ppo, int64_t iteration, PpoUpdate *update, Error *err);

/* ppo_ptx.c: adds the gradient of ppo.ptx_coef times the mean -log p of the trained tokens of
 * `count` records, from number `first` of the order, and gives that mean. */
bool ppo_ptx(Ppo *ppo, uint64_t first, size_t count, double *loss, Error *err);

/* ppo_evaluate.c */
bool ppo_evaluate(Ppo *ppo, int64_t done, Run *run, Metrics *metrics, bool *eligible, Error *err);

/* ppo_dump.c: --dump-rollouts, one JSON line per completion. A run that starts over empties the
 * file, one that resumes cuts it to what its checkpoint knew. */
bool ppo_dump_open(Ppo *ppo, Error *err);
bool ppo_dump_rewind(Ppo *ppo, uint64_t size, Error *err);
bool ppo_dump(Ppo *ppo, int64_t iteration, Error *err);

/* ppo_checkpoint.c */
bool ppo_save(const Ppo *ppo, const char *folder, cJSON *state, Error *err);
bool ppo_load(Ppo *ppo, const char *folder, const cJSON *state, Error *err);
/* Bytes of a checkpoint. */
uint64_t ppo_checkpoint_bytes(const Ppo *ppo);

/* ppo_time.c: where the seconds of an iteration went, the evaluation and the checkpoint before it
 * included, to the log and to timing.jsonl; those of all iterations of this process, to the log. */
void ppo_put_time(Ppo *ppo, int64_t iteration, Metrics *timing);
void ppo_say_time_in_all(const Ppo *ppo);

/* ppo_report.c: the stage's part of report.md, from the files of the run. */
bool ppo_report(const Ppo *ppo, const Run *run, int64_t best_step, Str *out, Error *err);

/* Callbacks for the training loop; context is the Ppo. */
extern const TrainerStage ppo_stage;

#endif
