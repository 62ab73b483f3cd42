/* SPDX-License-Identifier: MIT */
#include "tests/ppo/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/model/family.h"

static void build_model(Model *model, const WorldOptions *options, HeadKind head, uint64_t seed) {
    Error err = {0};
    ModelConfig config = {
        .family = family_find("gpt2"),
        .layers = options->layers,
        .heads = 2,
        .width = options->width,
        .inner = 4 * options->width,
        .vocabulary = options->vocabulary,
        .context = options->context,
        .norm_epsilon = 1e-5f,
        .tied = true,
        .head = head,
        .labels = head == HEAD_LM ? 0 : 1,
        .eos = options->eos,
        .bos = -1,
        .pad = -1,
    };
    assert_ok(model_create(model, &config, &err), &err);
    model_initialize(model, seed);
    float scale = options->scale > 0 ? options->scale : 8;
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *parameter = &model->parameter[i];
        for (size_t j = 0; parameter->rank > 1 && j < parameter->count; j++) {
            model->data[parameter->offset + j] *= scale;
        }
    }
    if (head != HEAD_LM) {
        model_initialize_scores(model, seed, true);
    }
    model_touch(model);
}

static void build_prompts(World *world, const WorldOptions *options) {
    for (size_t p = 0; p < 2 * options->prompts; p++) {
        size_t n = options->prompt_length > 0 ? options->prompt_length : 1 + p % WORLD_PROMPT_MOST;
        for (size_t t = 0; t < n; t++) {
            world->id[p][t] = (int32_t)((p * 7 + t * 3 + 1) % options->vocabulary);
        }
        world->prompt[p] = (RolloutPrompt){.id = world->id[p], .count = n, .key = 1000 + p};
    }
}

static RewardSource *build_source(const WorldOptions *options, const Settings *settings) {
    Error err = {0};
    Model judge;
    RewardSource *source;
    if (options->reward != NULL) {
        source = reward_function_source(options->reward, options->reward_context, &err);
    } else {
        RewardContext context = {
            .eos = options->eos,
            .pass = stage_reading_plan(settings, (size_t)settings->train.micro_tokens),
            .most_tokens = options->context,
        };
        build_model(&judge, options, HEAD_SCORES, 7);
        model_initialize_scores(&judge, 7, false);
        source = reward_memory_source(&judge, &context, &err);
    }
    assert_non_null(source);
    return source;
}

void world_init(World *world, const WorldOptions *options, const char *const *set) {
    *world = (World){0};
    Error err = {0};
    char *argv[128] = {(char *)(uintptr_t) "rlhf-ppo"};
    int argc = 1;
    static const char *const defaults[] = {"generation.max_tokens=4",
                                           "train.batch=4",
                                           "train.steps=8",
                                           "train.micro_tokens=64",
                                           "compute.threads=2",
                                           "ppo.critic=policy",
                                           "train.learning_rate=1e-3",
                                           NULL};
    for (const char *const *s = defaults; *s != NULL; s++) {
        argv[argc++] = (char *)(uintptr_t) "--set";
        argv[argc++] = (char *)(uintptr_t)*s;
    }
    for (const char *const *s = set; s != NULL && *s != NULL; s++) {
        argv[argc++] = (char *)(uintptr_t) "--set";
        argv[argc++] = (char *)(uintptr_t)*s;
    }
    OptionAction action;
    assert_ok(options_parse(&ppo_program, argc, argv, &world->config, &world->origins, NULL, NULL,
                            &action, &err),
              &err);
    build_model(&world->policy, options, options->shared ? HEAD_BOTH : HEAD_LM, 5);
    build_model(&world->reference, options, HEAD_LM, 5);
    if (!options->shared) {
        build_model(&world->critic, options, HEAD_SCORES, 5);
    }
    build_prompts(world, options);
    world->source = build_source(options, &world->config.settings);
    world->parts = (PpoParts){
        .config = &world->config,
        .policy = &world->policy,
        .reference = &world->reference,
        .critic = options->shared ? NULL : &world->critic,
        .source = world->source,
        .eos = options->eos,
        .prompt = world->prompt,
        .prompts = options->prompts,
        .held_out = world->prompt + options->prompts,
        .held_outs = options->prompts,
    };
    assert_ok(ppo_init(&world->ppo, &world->parts, &err), &err);
}

void world_done(World *world) {
    ppo_done(&world->ppo);
    reward_source_free(world->source);
    model_done(&world->policy);
    model_done(&world->reference);
    model_done(&world->critic);
    options_done(&ppo_program, &world->config, world->origins);
}

void world_step(World *world, int64_t iteration, Metrics *metrics) {
    Error err = {0};
    Metrics timing = {0};
    bool finished = false;
    metrics_clear(metrics);
    assert_ok(ppo_step(&world->ppo, iteration, metrics, &timing, &finished, &err), &err);
}

double metric(const Metrics *metrics, const char *name) {
    double value = 0;
    if (!metrics_get(metrics, name, &value)) {
        fail_msg("no metric %s", name);
    }
    return value;
}

void world_logprobs(const Model *model, const int32_t *id, const int32_t *target, size_t n,
                    float *logprob) {
    Error err = {0};
    Batch batch = {0};
    assert_ok(batch_init(&batch, n, 1, &err), &err);
    assert_ok(batch_add(&batch, id, target, n, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    WorkspacePlan plan = {.tokens = n, .sequences = 1};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_non_null(workspace);
    PerToken out = {.logprob = logprob};
    model_forward(model, workspace, &batch, &out);
    workspace_free(workspace);
    batch_done(&batch);
}

void world_distribution(const Model *model, const int32_t *id, size_t n, double *logp) {
    Error err = {0};
    size_t V = model->config.vocabulary;
    Batch batch = {0};
    assert_ok(batch_init(&batch, V * n, V, &err), &err);
    int32_t target[64];
    float logprob[1024];
    assert_true(n <= 64 && V * n <= 1024);
    for (size_t v = 0; v < V; v++) {
        for (size_t t = 0; t < n; t++) {
            target[t] = t + 1 == n ? (int32_t)v : BATCH_NO_TARGET;
        }
        assert_ok(batch_add(&batch, id, target, n, BATCH_NO_PREFIX, v, NULL, &err), &err);
    }
    WorkspacePlan plan = {.tokens = V * n, .sequences = V};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_non_null(workspace);
    PerToken out = {.logprob = logprob};
    model_forward(model, workspace, &batch, &out);
    for (size_t v = 0; v < V; v++) {
        logp[v] = logprob[v * n + n - 1];
    }
    workspace_free(workspace);
    batch_done(&batch);
}
