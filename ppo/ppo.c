/* SPDX-License-Identifier: MIT */
#include "ppo/ppo.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/memory.h"
#include "common/model/family.h"
#include "ppo/ppo_sizes.h"

int64_t ppo_iterations(const PpoConfig *config, size_t prompts) {
    return stage_steps(&config->settings, prompts);
}

const Model *ppo_result(const Ppo *ppo) {
    return ppo->ema.data != NULL ? &ppo->ema : ppo->part.policy;
}

static bool is_zero(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (x[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Of a compact base, which is never changed: that it is the same one, or made of the same weights. */
static bool same_values(const Model *a, const Parameter *left, const Model *b,
                        const Parameter *right) {
    return left->held != COMPACT_NONE
               ? memcmp(left->digest, right->digest, sizeof left->digest) == 0
               : memcmp(parameter_data(a, left), parameter_data(b, right),
                        right->count * sizeof(float)) == 0;
}

/* Whether what both models have is the same, and an adapter that only the first has does nothing yet. */
static bool same_weights(const Model *a, const Model *b) {
    for (size_t i = 0; i < b->parameters; i++) {
        const Parameter *right = &b->parameter[i], *left = model_find(a, right->name);
        if (left == NULL || left->count != right->count || left->held != right->held ||
            !same_values(a, left, b, right)) {
            return false;
        }
    }
    size_t base = family_parameters(&a->config);
    for (size_t i = base; b->config.adapter.rank == 0 && i < a->parameters; i++) {
        bool second = (i - base) % 2 == 1;
        if (second && !is_zero(parameter_data(a, &a->parameter[i]), a->parameter[i].count)) {
            return false;
        }
    }
    return true;
}

static bool init_models(Ppo *ppo, const PpoSizes *sizes, Error *err) {
    const PpoParts *part = &ppo->part;
    const Settings *settings = &ppo->config->settings;
    OptimizerOptions options = stage_optimizer_options(settings);
    float temperature = (float)settings->generation.temperature;
    if (!gradients_init(&ppo->policy_gradients, part->policy, err) ||
        !optimizer_init(&ppo->policy_optimizer, &options, &ppo->policy_gradients, err) ||
        (ppo->policy_space = workspace_create(&part->policy->config, &sizes->training, err)) ==
            NULL) {
        return false;
    }
    workspace_set_temperature(ppo->policy_space, temperature);
    if (!part->reference->borrowed) {
        ppo->reference_space = workspace_create(&part->reference->config, &sizes->reading, err);
        if (ppo->reference_space == NULL) {
            return false;
        }
        workspace_set_temperature(ppo->reference_space, temperature);
    }
    workspace_set_dropout(ppo->policy_space, false, 0, 0);
    if (part->critic != NULL) {
        if (!gradients_init(&ppo->critic_gradients, part->critic, err) ||
            !optimizer_init(&ppo->critic_optimizer, &options, &ppo->critic_gradients, err) ||
            (ppo->critic_space = workspace_create(&part->critic->config, &sizes->training, err)) ==
                NULL) {
            return false;
        }
        workspace_set_dropout(ppo->critic_space, false, 0, 0);
    }
    return settings->train.ema <= 0 || model_copy(&ppo->ema, part->policy, err);
}

static bool init_arrays(Ppo *ppo, const PpoSizes *sizes, Error *err) {
    size_t samples = sizes->batch * sizes->per_group;
    size_t most = samples > sizes->trials ? samples : sizes->trials;
    size_t batch = sizes->batch > sizes->trials ? sizes->batch : sizes->trials;
    ppo->generator = generator_create(&ppo->part.policy->config, &sizes->generator, err);
    ppo->row_logprob = mem_alloc(ppo->rows, sizeof(float), err);
    ppo->row_score = mem_alloc(ppo->rows, sizeof(float), err);
    ppo->chosen = mem_alloc(batch, sizeof *ppo->chosen, err);
    ppo->keyed = mem_alloc(sizes->batch, sizeof *ppo->keyed, err);
    ppo->order = mem_alloc(most, sizeof *ppo->order, err);
    ppo->judged = mem_alloc(most, sizeof *ppo->judged, err);
    ppo->befores = sizes->befores;
    ppo->before = mem_alloc(sizes->befores, sizeof *ppo->before, err);
    return ppo->generator != NULL && ppo->row_logprob != NULL && ppo->row_score != NULL &&
           ppo->chosen != NULL && ppo->keyed != NULL && ppo->order != NULL && ppo->judged != NULL &&
           ppo->before != NULL &&
           rollout_init(&ppo->rollout, sizes->batch, sizes->per_group, sizes->max_tokens, err) &&
           rollout_init(&ppo->trial, sizes->trials, 1, sizes->max_tokens, err) &&
           pack_init(&ppo->pack, ppo->rows, err) && batch_init(&ppo->ptx_batch, ppo->rows, 1, err);
}

bool ppo_init(Ppo *ppo, const PpoParts *parts, Error *err) {
    *ppo = (Ppo){.part = *parts, .config = parts->config, .dump = -1};
    PpoSizes sizes;
    if (!ppo_sizes(parts, &sizes, err)) {
        return false;
    }
    ppo->iterations = ppo_iterations(parts->config, parts->prompts);
    ppo->rows = sizes.rows;
    ppo->beta = parts->config->ppo.kl_coef;
    ppo->same_start = same_weights(parts->policy, parts->reference);
    if (!init_models(ppo, &sizes, err) || !init_arrays(ppo, &sizes, err) ||
        !reward_prepare(parts->source, sizes.generator.completions, err) ||
        (parts->judge != NULL && !reward_prepare(parts->judge, sizes.generator.completions, err))) {
        ppo_done(ppo);
        return false;
    }
    return true;
}

void ppo_done(Ppo *ppo) {
    for (size_t i = 0; ppo->before != NULL && i < ppo->befores; i++) {
        free(ppo->before[i].text);
    }
    free(ppo->before);
    gradients_done(&ppo->policy_gradients);
    gradients_done(&ppo->critic_gradients);
    optimizer_done(&ppo->policy_optimizer);
    optimizer_done(&ppo->critic_optimizer);
    model_done(&ppo->ema);
    workspace_free(ppo->policy_space);
    workspace_free(ppo->reference_space);
    workspace_free(ppo->critic_space);
    generator_free(ppo->generator);
    rollout_done(&ppo->rollout);
    rollout_done(&ppo->trial);
    pack_done(&ppo->pack);
    batch_done(&ppo->ptx_batch);
    free(ppo->row_logprob);
    free(ppo->row_score);
    free(ppo->chosen);
    free(ppo->keyed);
    free(ppo->order);
    free(ppo->judged);
    if (ppo->dump >= 0) {
        close(ppo->dump);
    }
    *ppo = (Ppo){.dump = -1};
}

static bool step(void *context, int64_t number, Metrics *metrics, Metrics *timing, bool *finished,
                 Error *err) {
    return ppo_step(context, number, metrics, timing, finished, err);
}

static bool evaluate(void *context, int64_t done, Run *run, Metrics *metrics, bool *eligible,
                     Error *err) {
    Ppo *ppo = context;
    double begin = clock_seconds();
    bool ok = ppo_evaluate(ppo, done, run, metrics, eligible, err);
    ppo->spent[TIME_EVALUATE] += clock_seconds() - begin;
    return ok;
}

static bool save(void *context, const char *folder, cJSON *state, Error *err) {
    Ppo *ppo = context;
    double begin = clock_seconds();
    bool ok = ppo_save(ppo, folder, state, err);
    ppo->spent[TIME_SAVE] += clock_seconds() - begin;
    return ok;
}

static bool load(void *context, const char *folder, const cJSON *state, Error *err) {
    return ppo_load(context, folder, state, err);
}

static bool report(void *context, const Run *run, int64_t best_step, Str *out, Error *err) {
    return ppo_report(context, run, best_step, out, err);
}

static const char *const publish[] = {"model", "critic", NULL};

const TrainerStage ppo_stage = {
    .step = step,
    .evaluate = evaluate,
    .save = save,
    .load = load,
    .report = report,
    .publish = publish,
    .progress_what = "iteration",
};
