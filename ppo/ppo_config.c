/* SPDX-License-Identifier: MIT */
#include "ppo/ppo_config.h"

#include <stddef.h>

#include "common/loss/ppo.h"

#define AT(field) offsetof(PpoConfig, field)
#define FLAG(path, field, initial, help)                                                           \
    { path, OPTION_BOOL, AT(field), initial, 0, 0, NULL, NULL, help }
#define INT(path, field, initial, low, high, unit, help)                                           \
    { path, OPTION_INT, AT(field), initial, low, high, NULL, unit, help }
#define FLOAT(path, field, initial, low, high, unit, help)                                         \
    { path, OPTION_FLOAT, AT(field), initial, low, high, NULL, unit, help }
#define TEXT(path, field, help)                                                                    \
    { path, OPTION_STRING, AT(field), "null", 0, 0, NULL, NULL, help }
#define CHOICE(path, field, initial, choices, help)                                                \
    { path, OPTION_CHOICE, AT(field), initial, 0, 0, choices, NULL, help }

static const char *const critics[] = {"reward", "policy", "shared", NULL};
static const char *const reward_estimators[] = {"k1", "k3", NULL};
static const char *const loss_estimators[] = {"k1", "k2", "k3", NULL};
static const char *const normalizations[] = {"none", "fixed", "reference", "running", NULL};
static const char *const eos_rules[] = {"ignore", "replace", "subtract", NULL};
static const char *const olds[] = {"sampler", "recompute", NULL};
static const char *const selections[] = {"auto", "score", "judge", "last", NULL};

static const Option shared_rows[] = {
    INT("train.batch", settings.train.batch, "64", 1, 1e6, "prompts",
        "Prompts an iteration; generation.samples completions are sampled for each."),
    INT("train.steps", settings.train.steps, "0", 0, 1e9, "iterations",
        "PPO iterations; 0: as many as train.epochs passes over the prompts take."),
    FLOAT("train.learning_rate", settings.train.learning_rate, "1e-5", 0, 1, NULL,
          "Learning rate of the policy at the start (1e-5: Ziegler et al. 2019). The schedule "
          "moves once an iteration."),
    INT("train.evaluate_every", settings.train.evaluate_every, "10", 0, 1e9, "iterations",
        "Evaluation on held-out prompts; also before the first iteration and at the end."),
    CHOICE("train.schedule", settings.train.schedule, "\"linear\"", NULL,
           "Course of the learning rate over the iterations: \"constant\"; \"linear\" down to 0 "
           "just after the last (Ziegler et al. 2019); \"cosine\" down to train.floor."),
    INT("generation.max_tokens", settings.generation.max_tokens, "64", 1, 1e6, "tokens",
        "Longest completion, EOS included."),
    INT("generation.samples", settings.generation.samples, "1", 1, 1024, "completions",
        "Completions sampled for each prompt; the prompt is computed once for all."),
};

static const Option reward_rows[] = {
    TEXT("reward.model", reward.model,
         "Folder of the reward model (sequence classification, one label)."),
    {"reward.sources", OPTION_JSON, AT(reward.sources), "null", 0, 0, NULL, NULL,
       "Array of rewards whose weighted sum is the score, instead of reward.model: {\"type\": "
     "\"model\", \"path\"}, {\"type\": \"classifier\", \"path\", \"label\", \"output\": "
     "\"logit\" | \"probability\" | \"log_probability\"}, {\"type\": \"program\", \"command\": "
     "[\"program\", \"argument\"], \"timeout\", \"batch\"}; each may have a \"weight\"."},
    FLOAT("reward.timeout", reward.timeout, "60", 0.01, 86400, "seconds",
          "Time a program may take for one batch of completions."),
    FLOAT("reward.mean", reward.mean, "0", -1e9, 1e9, NULL,
          "Mean subtracted from scores with ppo.score_normalization \"fixed\"."),
    FLOAT("reward.deviation", reward.deviation, "1", 1e-9, 1e9, NULL,
          "Deviation that scores are divided by with ppo.score_normalization \"fixed\"."),
};

static const Option ppo_rows[] = {
    TEXT("ppo.reference", ppo.reference,
         "Folder of the frozen model that the KL penalty refers to; null: model.path."),
    CHOICE("ppo.critic", ppo.critic, "\"reward\"", critics,
           "Where the critic starts: \"reward\", a model of its own from the reward model "
           "(Ouyang et al. 2022); \"policy\", a model of its own from the policy with a head of "
           "zeros; \"shared\", a head on the policy's trunk (Ziegler et al. 2019)."),
    TEXT("ppo.critic_path", ppo.critic_path,
         "Folder to start the critic from instead (a sequence-classification model of one label)."),
    FLOAT("ppo.critic_learning_rate", ppo.critic_learning_rate, "0", 0, 1, NULL,
          "Learning rate of a critic of its own; 0: the policy's."),
    INT("ppo.critic_warmup", ppo.critic_warmup, "0", 0, 1e9, "iterations",
        "First iterations that train the critic alone (not with a shared one)."),
    INT("ppo.epochs", ppo.epochs, "4", 1, 1000, "passes",
        "Passes over the rollouts of an iteration (4: Stiennon et al. 2020; InstructGPT: 1)."),
    INT("ppo.minibatches", ppo.minibatches, "1", 1, 1e6, "parts",
        "Minibatches of a pass, each one optimizer step; whole prompts, at most as many as "
        "prompts."),
    CHOICE("ppo.old_logprobs", ppo.old_logprobs, "\"sampler\"", olds,
           "Log-probabilities of the policy that sampled: \"sampler\", those recorded while "
           "sampling; \"recompute\", by the training path, which takes one more pass."),
    FLOAT("ppo.kl_coef", ppo.kl_coef, "0.05", 0, 1e6, NULL,
          "Coefficient beta of the KL penalty in the reward (0.05: Stiennon et al. 2020); the "
          "first one when adaptive."),
    CHOICE("ppo.kl_estimator", ppo.kl_estimator, "\"k1\"", reward_estimators,
           "Estimator of KL in the reward (Schulman 2020). Only k1 leads to the optimum pi_ref "
           "exp(r/beta)."),
    FLOAT(
        "ppo.kl_target", ppo.kl_target, "0", 0, 1e6, "nats a sequence",
        "KL that an adaptive coefficient aims at (6: Ziegler et al. 2019); 0: fixed coefficient."),
    FLOAT("ppo.kl_horizon", ppo.kl_horizon, "10000", 1, 1e12, "completions",
          "How slowly the adaptive coefficient moves (Ziegler et al. 2019, equation 2)."),
    FLOAT("ppo.kl_loss", ppo.kl_loss, "0", 0, 1e6, NULL,
          "Coefficient of KL to the reference as a term of the loss; 0: none."),
    CHOICE("ppo.kl_loss_estimator", ppo.kl_loss_estimator, "\"k2\"", loss_estimators,
           "Its estimator; k2 is the one with the right gradient."),
    CHOICE("ppo.score_normalization", ppo.score_normalization, "\"none\"", normalizations,
           "Scores minus a mean, over a deviation: \"fixed\" numbers of reward.*, of the "
           "\"reference\" policy's first samples (Ziegler et al. 2019), or \"running\"."),
    FLOAT("ppo.score_clip", ppo.score_clip, "0", 0, 1e9, NULL,
          "Scores are cut to this distance from 0, after normalization (DeepSpeed-Chat: 5); 0: "
          "never."),
    CHOICE("ppo.missing_eos", ppo.missing_eos, "\"subtract\"", eos_rules,
           "Score of a completion that did not end: as it is, replaced by ppo.missing_eos_value "
           "(Ziegler et al. 2019: -1), or lowered by it (TRL: 1)."),
    FLOAT("ppo.missing_eos_value", ppo.missing_eos_value, "1", -1e9, 1e9, NULL,
          "Value of that rule."),
    FLAG("ppo.whiten_rewards", ppo.whiten_rewards, "false",
         "Divide rewards by their deviation in the batch, keeping the mean (Ziegler et al. 2019)."),
    FLAG("ppo.whiten_advantages", ppo.whiten_advantages, "true",
         "Advantages with mean 0 and variance 1 in the batch."),
    FLOAT("ppo.gamma", ppo.gamma, "1", 0, 1, NULL, "Discount (1: none, as InstructGPT)."),
    FLOAT("ppo.lambda", ppo.lambda, "0.95", 0, 1, NULL,
          "Decay of generalized advantage estimation (Schulman et al. 2016)."),
    FLOAT("ppo.clip", ppo.clip, "0.2", 1e-6, 10, NULL,
          "Clip range of the probability ratio (Schulman et al. 2017)."),
    FLOAT("ppo.value_clip", ppo.value_clip, "0.2", 0, 1e9, NULL,
          "Clip range of the value around the old value; 0: none."),
    FLOAT("ppo.value_coef", ppo.value_coef, "0.1", 0, 1e6, NULL, "Weight of the value loss."),
    FLOAT("ppo.entropy_coef", ppo.entropy_coef, "0", 0, 1e6, NULL, "Weight of an entropy bonus."),
    FLOAT("ppo.target_kl", ppo.target_kl, "0", 0, 1e6, "nats a token",
          "The passes of an iteration end when the new policy's KL to the sampling policy "
          "exceeds 1.5 times this; 0: never."),
    FLOAT("ppo.ratio_threshold", ppo.ratio_threshold, "10", 0, 1e9, NULL,
          "A minibatch whose mean ratio is above this is skipped (TRL); 0: never."),
    FLOAT("ppo.ptx_coef", ppo.ptx_coef, "0", 0, 1e6, NULL,
          "Weight of the pre-training loss on data.ptx (PPO-ptx; Ouyang et al. 2022: 27.8); 0: "
          "none."),
    INT("ppo.ptx_batch", ppo.ptx_batch, "0", 0, 1e6, "records",
        "Records of data.ptx a minibatch; 0: as many as it has completions."),
    INT("ppo.rollout_rows", ppo.rollout_rows, "0", 0, 65536, "sequences",
        "Completions decoded at once; 0: all of an iteration, at most 64."),
    INT("ppo.evaluation_prompts", ppo.evaluation_prompts, "64", 1, 1e6, "prompts",
        "First prompts of data.evaluation (or of the share that data.validation_share keeps "
        "aside) that an evaluation uses."),
    INT("ppo.best_of", ppo.best_of, "0", 0, 1024, "completions",
        "Baseline of the report: best of 1, 2, 4, ... completions of the first policy by the "
        "reward; 0: none."),
    TEXT("ppo.judge", ppo.judge,
         "Folder of a second reward model, trained on other records, that evaluations ask too."),
    CHOICE("ppo.select", ppo.select, "\"auto\"", selections,
           "Which policy is the result: the best by the judge or by the score on held-out "
           "prompts, or the last; \"auto\": the judge if there is one, else the score."),
    FLOAT("ppo.select_max_kl", ppo.select_max_kl, "0", 0, 1e6, "nats a sequence",
          "Policies farther than this from the reference are not selected; 0: no limit."),
    FLOAT("ppo.stop_kl", ppo.stop_kl, "0", 0, 1e6, "nats a sequence",
          "The run ends (exit 81) when the KL of an iteration's samples exceeds this; 0: never."),
    TEXT("ppo.dump_rollouts", ppo.dump,
         "File for all rollouts, as JSON lines: tokens, log-probs, values, rewards, advantages, "
         "returns."),
};

static const OptionTable own_tables[] = {
    {shared_rows, sizeof shared_rows / sizeof *shared_rows},
    {reward_rows, sizeof reward_rows / sizeof *reward_rows},
    {ppo_rows,    sizeof ppo_rows / sizeof *ppo_rows      },
};

/* --data means prompts here. */
static const OptionFlag own_flags[] = {
    {"--data",          'd', "data.prompts",      "FILE"},
    {"--reward-model",  0,   "reward.model",      "DIR" },
    {"--dump-rollouts", 0,   "ppo.dump_rollouts", "FILE"},
    {NULL,              0,   NULL,                NULL  },
};

static const OptionTable *const tables[] = {&settings_table, &own_tables[0], &own_tables[1],
                                            &own_tables[2]};
static const OptionFlag *const flags[] = {settings_flags, own_flags};

const OptionProgram ppo_program = {
    .name = "rlhf-ppo",
    .summary = "Trains a policy by PPO on the scores of a reward model.",
    .examples = "rlhf-ppo --config configs/demo-ppo.json\n"
                "rlhf-ppo --model runs/sft/model --reward-model runs/reward/model --data "
                "prompts.jsonl --output runs/ppo",
    .table = tables,
    .tables = sizeof tables / sizeof *tables,
    .flag = flags,
    .flag_lists = sizeof flags / sizeof *flags,
};

int ppo_reward_estimator(const PpoConfig *config) {
    return config->ppo.kl_estimator == 0 ? KL_K1 : KL_K3;
}

static bool check_sampling(const Settings *settings, Error *err) {
    const char *key = settings->generation.top_k != 0                ? "top_k"
                      : settings->generation.top_p < 1               ? "top_p"
                      : settings->generation.min_p > 0               ? "min_p"
                      : settings->generation.repetition_penalty != 1 ? "repetition_penalty"
                      : settings->generation.greedy                  ? "greedy"
                      : settings->generation.stop.count > 0          ? "stop"
                                                                     : NULL;
    if (key != NULL) {
        return error_set(err, ERROR_CONFIG,
                         "generation.%s is set, but PPO must sample from the policy itself, whose "
                         "log-probabilities it compares; leave it at its default (only "
                         "generation.temperature may change)",
                         key);
    }
    if (settings->generation.temperature <= 0) {
        return error_set(err, ERROR_CONFIG, "generation.temperature is %g, expected more than 0",
                         settings->generation.temperature);
    }
    return true;
}

bool ppo_config_check(const PpoConfig *config, Error *err) {
    const Settings *settings = &config->settings;
    if (!check_sampling(settings, err)) {
        return false;
    }
    if (settings->model.path == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "no policy is given; name the folder of a trained model with --model DIR");
    }
    if (settings->data.prompts.count == 0 && settings->data.train.count == 0) {
        return error_set(err, ERROR_CONFIG,
                         "no prompts are given; name a file with --data FILE or data.prompts");
    }
    if (settings->train.dropout > 0) {
        return error_set(err, ERROR_CONFIG,
                         "train.dropout is %g, but PPO compares log-probabilities and runs "
                         "without dropout; set it to 0",
                         settings->train.dropout);
    }
    if (config->reward.model == NULL && config->reward.sources == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "no reward is given; name a reward model with --reward-model DIR, or list "
                         "reward.sources");
    }
    if (config->reward.model != NULL && config->reward.sources != NULL) {
        return error_set(err, ERROR_CONFIG,
                         "reward.model and reward.sources are both given; keep one of them (a "
                         "source may be {\"type\": \"model\", \"path\": DIR})");
    }
    if (config->ppo.ptx_coef > 0 && settings->data.ptx.count == 0) {
        return error_set(err, ERROR_CONFIG,
                         "ppo.ptx_coef is %g but data.ptx names no file to mix in",
                         config->ppo.ptx_coef);
    }
    if (config->ppo.select == SELECT_JUDGE && config->ppo.judge == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "ppo.select is \"judge\" but ppo.judge names no reward model");
    }
    if (config->ppo.critic == CRITIC_SHARED && config->ppo.critic_path != NULL) {
        return error_set(
            err, ERROR_CONFIG,
            "ppo.critic is \"shared\", so ppo.critic_path can not be used; remove one");
    }
    return true;
}
