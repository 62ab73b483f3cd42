/* SPDX-License-Identifier: MIT */
#include "ppo/ppo_sizes.h"

#include "common/base/memory.h"

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t ppo_prompt_limit(const PpoConfig *config, const Model *policy, const Model *reference,
                        const Model *critic, const RewardSource *source,
                        const RewardSource *judge) {
    size_t context = smaller(policy->config.context, reference->config.context);
    if (critic != NULL) {
        context = smaller(context, critic->config.context);
    }
    const RewardSource *reader[] = {source, judge};
    for (size_t i = 0; i < 2; i++) {
        if (reader[i] != NULL && reader[i]->longest > 0) {
            context = smaller(context, reader[i]->longest);
        }
    }
    int64_t wanted = config->settings.data.max_tokens;
    if (wanted > 0) {
        context = smaller(context, (size_t)wanted);
    }
    size_t answer = (size_t)config->settings.generation.max_tokens;
    return context > answer ? context - answer : 0;
}

bool ppo_sizes(const PpoParts *parts, PpoSizes *sizes, Error *err) {
    const PpoConfig *config = parts->config;
    const Settings *settings = &config->settings;
    *sizes = (PpoSizes){
        .batch = (size_t)settings->train.batch,
        .per_group = (size_t)settings->generation.samples,
        .max_tokens = (size_t)settings->generation.max_tokens,
        .trials = larger(smaller(parts->held_outs, (size_t)config->ppo.evaluation_prompts), 1),
    };
    sizes->befores = smaller(parts->held_outs == 0 ? 0 : sizes->trials,
                             (size_t)(settings->log.samples > 0 ? settings->log.samples : 0));
    if (config->ppo.minibatches > settings->train.batch) {
        return error_set(
            err, ERROR_CONFIG,
            "ppo.minibatches is %lld but train.batch only %lld prompts; a minibatch is "
            "at least one prompt",
            (long long)config->ppo.minibatches, (long long)settings->train.batch);
    }
    for (size_t i = 0; i < parts->prompts; i++) {
        sizes->longest_prompt = larger(sizes->longest_prompt, parts->prompt[i].count);
    }
    for (size_t i = 0; i < parts->held_outs; i++) {
        sizes->longest_prompt = larger(sizes->longest_prompt, parts->held_out[i].count);
    }
    size_t limit = ppo_prompt_limit(config, parts->policy, parts->reference, parts->critic,
                                    parts->source, parts->judge);
    if (sizes->longest_prompt > limit) {
        return error_set(err, ERROR_CONFIG,
                         "a prompt has %zu tokens and generation.max_tokens is %zu, but the models "
                         "only leave room for prompts of %zu tokens; lower generation.max_tokens",
                         sizes->longest_prompt, sizes->max_tokens, limit);
    }
    size_t samples = larger(sizes->batch * sizes->per_group, sizes->trials);
    size_t longest = sizes->longest_prompt + sizes->max_tokens;
    sizes->rows =
        larger(smaller((size_t)settings->train.micro_tokens, mem_mul(samples, longest)), longest);
    if (parts->ptx != NULL) {
        sizes->rows = larger(sizes->rows, parts->ptx->counts.longest);
    }
    sizes->training = stage_training_plan(settings, sizes->rows);
    sizes->reading = stage_reading_plan(settings, sizes->rows);
    size_t trials = mem_mul(sizes->trials, larger((size_t)config->ppo.best_of, 1));
    sizes->generator = (GeneratorPlan){
        .rows =
            config->ppo.rollout_rows > 0 ? (size_t)config->ppo.rollout_rows : smaller(samples, 64),
        .context = longest,
        .completions = larger(samples, trials),
        .tokens = sizes->max_tokens,
        .packed = true,
        .type = (GemmType)settings->compute.dtype,
    };
    return true;
}

bool ppo_plan(const PpoParts *parts, Str *plan, Error *err) {
    PpoSizes sizes;
    if (!ppo_sizes(parts, &sizes, err)) {
        return false;
    }
    const PpoConfig *config = parts->config;
    size_t average =
        config->settings.train.ema > 0 ? model_changing(parts->policy) * sizeof(float) : 0;
    size_t policy = optimizer_bytes(parts->policy) / 2; /* gradients, and each moment of Adam */
    size_t critic = parts->critic == NULL ? 0 : optimizer_bytes(parts->critic) / 2;
    size_t pass[3] = {
        workspace_bytes(&parts->policy->config, &sizes.training),
        parts->reference->borrowed ? 0 : workspace_bytes(&parts->reference->config, &sizes.reading),
        parts->critic == NULL ? 0 : workspace_bytes(&parts->critic->config, &sizes.training),
    };
    size_t decoding = generator_bytes(&parts->policy->config, &sizes.generator);
    size_t rollouts = rollout_bytes(sizes.batch, sizes.per_group, sizes.max_tokens) +
                      rollout_bytes(sizes.trials, 1, sizes.max_tokens);
    size_t reward = parts->source->work, judge = parts->judge == NULL ? 0 : parts->judge->work;
    size_t models = model_bytes(parts->policy) + model_bytes(parts->reference) +
                    parts->source->weights +
                    (parts->critic == NULL ? 0 : model_bytes(parts->critic)) +
                    (parts->judge == NULL ? 0 : parts->judge->weights);
    stage_plan_line(plan, "prompts", "%zu to train on, %zu held out, longest %zu tokens",
                    parts->prompts, parts->held_outs, sizes.longest_prompt);
    stage_plan_line(plan, "iterations", "%lld of %zu completions of at most %zu tokens",
                    (long long)ppo_iterations(config, parts->prompts),
                    sizes.batch * sizes.per_group, sizes.max_tokens);
    stage_plan_line(plan, "updates", "%lld passes of %lld minibatches an iteration",
                    (long long)config->ppo.epochs, (long long)config->ppo.minibatches);
    stage_plan_line(plan, "micro-batch", "%zu tokens", sizes.rows);
    stage_plan_bytes(plan, "models", models);
    stage_plan_bytes(plan, "training the policy", average + 3 * policy);
    stage_plan_bytes(plan, "training the critic", 3 * critic);
    stage_plan_bytes(plan, "passes", pass[0] + pass[1] + pass[2]);
    stage_plan_bytes(plan, "reward passes", reward + judge);
    stage_plan_bytes(plan, "decoding", decoding);
    stage_plan_bytes(plan, "rollouts", rollouts);
    size_t allocated = mem_aligned_cost(average, 1) + 3 * mem_aligned_cost(policy, 1) +
                       3 * mem_aligned_cost(critic, 1);
    const size_t block[] = {allocated, pass[0], pass[1],  pass[2],
                            reward,    judge,   decoding, rollouts};
    stage_plan_peak(plan, block, sizeof block / sizeof *block);
    return str_ok(plan, err);
}
