/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/adapter_io.h"
#include "ppo/ppo.h"

/* Copies the weights that both models have, by name; not those that they share. */
static void copy_weights(Model *to, const Model *from) {
    for (size_t i = 0; i < to->parameters; i++) {
        Parameter *parameter = &to->parameter[i];
        const Parameter *source = model_find(from, parameter->name);
        if (source != NULL && source->held == COMPACT_NONE) {
            CHECK(source->count == parameter->count);
            const float *values = parameter_data(from, source);
            float *place = parameter_data(to, parameter);
            if (place != values) {
                memcpy(place, values, parameter->count * sizeof(float));
            }
        }
    }
    model_touch(to);
}

/* The policy or the critic of a shared trunk, as a model of its own. */
static bool part_of(const Model *both, HeadKind head, Model *out, Error *err) {
    ModelConfig config = {0};
    if (!model_config_copy(&config, &both->config, err)) {
        return false;
    }
    config.head = head;
    config.labels = head == HEAD_LM ? 0 : 1;
    bool ok = both->config.adapter.rank > 0 ? model_share(out, both, &config, err)
                                            : model_create(out, &config, err);
    model_config_done(&config);
    if (ok) {
        copy_weights(out, both);
    }
    return ok;
}

static bool save_model(const Ppo *ppo, const Model *model, HeadKind head, const char *folder,
                       const char *name, Error *err) {
    Model part = {0};
    char *path = file_join(folder, name, err);
    bool split = model->config.head == HEAD_BOTH;
    bool ok = path != NULL && (!split || part_of(model, head, &part, err));
    const Model *whole = split ? &part : model;
    if (ok) {
        ok = ppo->part.tokenizer == NULL
                 ? file_make_folders(path, err) && model_save(whole, path, err)
                 : stage_save_model(whole, ppo->part.tokenizer, ppo->part.layout, path, err);
    }
    model_done(&part);
    free(path);
    return ok;
}

static bool save_optimizer(const Optimizer *optimizer, const Model *model, const char *folder,
                           const char *name, Error *err) {
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && optimizer_save(optimizer, model, path, err);
    free(path);
    return ok;
}

static bool put_state(const Ppo *ppo, cJSON *state, Error *err) {
    bool ok = cJSON_AddNumberToObject(state, "beta", ppo->beta) != NULL &&
              cJSON_AddNumberToObject(state, "score_count", ppo->statistics.count) != NULL &&
              cJSON_AddNumberToObject(state, "score_mean", ppo->statistics.mean) != NULL &&
              cJSON_AddNumberToObject(state, "score_squares", ppo->statistics.squares) != NULL &&
              cJSON_AddNumberToObject(state, "dump_size", (double)ppo->dump_size) != NULL;
    cJSON *before = ok ? cJSON_AddArrayToObject(state, "before") : NULL;
    for (size_t i = 0; before != NULL && i < ppo->befores && ppo->before[i].text != NULL; i++) {
        cJSON *item = cJSON_CreateObject();
        ok = ok && item != NULL && cJSON_AddItemToArray(before, item) &&
             cJSON_AddStringToObject(item, "text", ppo->before[i].text) != NULL &&
             cJSON_AddNumberToObject(item, "score", ppo->before[i].score) != NULL;
    }
    if (!ok || before == NULL) {
        return error_set(err, ERROR_OS, "out of memory while saving the state of PPO");
    }
    return true;
}

bool ppo_save(const Ppo *ppo, const char *folder, cJSON *state, Error *err) {
    const PpoParts *part = &ppo->part;
    const Model *critic = part->critic != NULL ? part->critic : part->policy;
    return save_model(ppo, ppo_result(ppo), HEAD_LM, folder, "model", err) &&
           (ppo->ema.data == NULL ||
            save_model(ppo, part->policy, HEAD_LM, folder, "policy", err)) &&
           save_model(ppo, critic, HEAD_SCORES, folder, "critic", err) &&
           save_optimizer(&ppo->policy_optimizer, part->policy, folder,
                          "optimizer-policy.safetensors", err) &&
           (part->critic == NULL || save_optimizer(&ppo->critic_optimizer, part->critic, folder,
                                                   "optimizer-critic.safetensors", err)) &&
           put_state(ppo, state, err);
}

uint64_t ppo_checkpoint_bytes(const Ppo *ppo) {
    const PpoParts *part = &ppo->part;
    uint64_t policy = model_changing(part->policy);
    uint64_t critic = part->critic == NULL ? 0 : model_changing(part->critic);
    uint64_t shared = part->critic == NULL ? policy : 0;
    uint64_t average = ppo->ema.data == NULL ? 0 : policy;
    return (3 * policy + 3 * critic + shared + average) * sizeof(float);
}

/* Weights of folder/name into a model that exists; a shared trunk takes only what the folder
 * has. */
static bool load_weights(Model *model, const char *folder, const char *name, HeadKind head,
                         Error *err) {
    Model saved = {0};
    bool fresh = false;
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && model_load_beside(&saved, model, path, (int)head,
                                                head == HEAD_LM ? 0 : 1, &fresh, err);
    if (ok) {
        copy_weights(model, &saved);
    }
    model_done(&saved);
    free(path);
    return ok;
}

static bool load_optimizer(Optimizer *optimizer, const Model *model, const char *folder,
                           const char *name, Error *err) {
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && optimizer_load(optimizer, model, path, err);
    free(path);
    return ok;
}

static bool take_number(const cJSON *state, const char *key, double *value, const char *folder,
                        Error *err) {
    const cJSON *item = json_member(state, key);
    if (!cJSON_IsNumber(item)) {
        return error_set(
            err, ERROR_DATA,
            "the checkpoint %s lacks the number \"%s\" in its state; it was not written "
            "by rlhf-ppo",
            folder, key);
    }
    *value = item->valuedouble;
    return true;
}

static bool take_state(Ppo *ppo, const cJSON *state, const char *folder, Error *err) {
    double dump = 0;
    if (!take_number(state, "beta", &ppo->beta, folder, err) ||
        !take_number(state, "score_count", &ppo->statistics.count, folder, err) ||
        !take_number(state, "score_mean", &ppo->statistics.mean, folder, err) ||
        !take_number(state, "score_squares", &ppo->statistics.squares, folder, err) ||
        !take_number(state, "dump_size", &dump, folder, err)) {
        return false;
    }
    const cJSON *before = json_member(state, "before");
    size_t i = 0;
    for (const cJSON *item = before == NULL ? NULL : before->child;
         item != NULL && i < ppo->befores; item = item->next, i++) {
        const char *text = json_string(json_member(item, "text"));
        if (text == NULL || !take_number(item, "score", &ppo->before[i].score, folder, err)) {
            return error_set(err, ERROR_DATA, "the checkpoint %s has a broken list \"before\"",
                             folder);
        }
        free(ppo->before[i].text);
        ppo->before[i].text = mem_strdup(text, err);
        if (ppo->before[i].text == NULL) {
            return false;
        }
    }
    return ppo_dump_rewind(ppo, (uint64_t)dump, err);
}

bool ppo_load(Ppo *ppo, const char *folder, const cJSON *state, Error *err) {
    const PpoParts *part = &ppo->part;
    bool averaged = ppo->ema.data != NULL;
    Model *critic = part->critic != NULL ? part->critic : part->policy;
    /* The critic first: a shared trunk is then that of the policy. */
    return load_weights(critic, folder, "critic", HEAD_SCORES, err) &&
           load_weights(part->policy, folder, averaged ? "policy" : "model", HEAD_LM, err) &&
           (!averaged || load_weights(&ppo->ema, folder, "model", HEAD_LM, err)) &&
           load_optimizer(&ppo->policy_optimizer, part->policy, folder,
                          "optimizer-policy.safetensors", err) &&
           (part->critic == NULL || load_optimizer(&ppo->critic_optimizer, part->critic, folder,
                                                   "optimizer-critic.safetensors", err)) &&
           take_state(ppo, state, folder, err);
}
