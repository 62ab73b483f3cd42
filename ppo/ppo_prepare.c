/* SPDX-License-Identifier: MIT */
#include "ppo/ppo_prepare.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/model/adapter_io.h"
#include "common/model/family.h"
#include "ppo/ppo_sizes.h"

void ppo_inputs_done(PpoInputs *inputs) {
    reward_source_free(inputs->source);
    reward_source_free(inputs->judge);
    model_done(&inputs->policy);
    model_done(&inputs->reference);
    model_done(&inputs->critic);
    examples_done(&inputs->ptx);
    dataset_done(&inputs->prompt_data);
    dataset_done(&inputs->evaluation_data);
    dataset_done(&inputs->ptx_data);
    tokens_done(&inputs->ids);
    free(inputs->prompt);
    free(inputs->held_out);
    layout_done(&inputs->layout);
    tokenizer_free(inputs->tokenizer);
    *inputs = (PpoInputs){0};
}

static bool read_data(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err) {
    const Settings *settings = &config->settings;
    unsigned prompts = 1u << RECORD_PROMPT | 1u << RECORD_DEMONSTRATION | 1u << RECORD_RANKING;
    unsigned texts = 1u << RECORD_TEXT | 1u << RECORD_DEMONSTRATION | 1u << RECORD_CONVERSATION;
    DataOptions options = stage_data_options(settings, prompts);
    const StringList *files =
        settings->data.prompts.count > 0 ? &settings->data.prompts : &settings->data.train;
    if (!dataset_read(&inputs->prompt_data, files, &options, err)) {
        return false;
    }
    log_info(log, "prompts: %s", str_text(&inputs->prompt_data.description));
    if (settings->data.evaluation.count > 0) {
        if (!dataset_read(&inputs->evaluation_data, &settings->data.evaluation, &options, err)) {
            return false;
        }
        log_info(log, "held-out prompts: %s", str_text(&inputs->evaluation_data.description));
    } else if (settings->data.validation_share > 0) {
        if (!dataset_split(&inputs->prompt_data, settings->data.validation_share,
                           (uint64_t)settings->train.seed, &inputs->evaluation_data, err)) {
            return false;
        }
        log_info(log, "held-out prompts: %zu, kept aside", inputs->evaluation_data.records);
    }
    if (config->ppo.ptx_coef > 0) {
        options.accept = texts;
        if (!dataset_read(&inputs->ptx_data, &settings->data.ptx, &options, err)) {
            return false;
        }
        log_info(log, "pre-training mix: %s", str_text(&inputs->ptx_data.description));
    }
    return true;
}

/* An encoder does not say one token after another. What else is wrong with the folder is told by its
 * loader. */
static bool refuse_encoder(const char *what, const char *folder, Error *err) {
    ModelConfig config;
    if (!model_config_read(&config, folder, NULL)) {
        return true;
    }
    bool encoder = family_is_encoder(&config);
    const char *family = config.family->name;
    model_config_done(&config);
    return !encoder || error_set(err, ERROR_CONFIG,
                                 "the %s %s is an encoder (%s), which reads whole texts and cannot "
                                 "generate; an encoder can be the reward: reward.model",
                                 what, folder, family);
}

static bool describe_model(const char *what, const char *folder, const Model *model, Log *log) {
    log_info(log, "%s: %s, %zu layers, width %zu, vocabulary %zu, context %zu, %.2f M parameters",
             what, folder, model->config.layers, model->config.width, model->config.vocabulary,
             model->config.context, (double)model_weights(model) / 1e6);
    return true;
}

static bool check_vocabulary(const Model *model, const char *folder, const Tokenizer *tokenizer,
                             Error *err) {
    if (tokenizer_vocabulary(tokenizer) <= model->config.vocabulary) {
        return true;
    }
    return error_set(err, ERROR_CONFIG,
                     "the tokenizer has %zu ids but the model %s only %zu rows of embeddings; use "
                     "the tokenizer that the model was trained with",
                     tokenizer_vocabulary(tokenizer), folder, model->config.vocabulary);
}

static bool same_tokenizer(const char *folder, const Tokenizer *tokenizer, const char *what,
                           Error *err) {
    Tokenizer *other = model_path_check(folder, err) ? tokenizer_load(folder, err) : NULL;
    if (other == NULL) {
        return false;
    }
    bool same = tokenizer_fingerprint(other) == tokenizer_fingerprint(tokenizer);
    tokenizer_free(other);
    if (!same) {
        return error_set(err, ERROR_CONFIG,
                         "%s %s has another tokenizer than the policy, whose ids it must read; set "
                         "ppo.critic to \"policy\" or \"shared\", or name another folder",
                         what, folder);
    }
    return true;
}

/* The folder of the only reward model among the sources, or NULL. */
static const char *reward_folder(const PpoConfig *config) {
    if (config->reward.model != NULL) {
        return config->reward.model;
    }
    const char *folder = NULL;
    for (const cJSON *item = config->reward.sources->child; item != NULL; item = item->next) {
        const char *type = json_string(json_member(item, "type"));
        if (type != NULL && strcmp(type, "model") == 0) {
            if (folder != NULL) {
                return NULL;
            }
            folder = json_string(json_member(item, "path"));
        }
    }
    return folder;
}

/* The policy with a score head, on the policy's base where that is frozen: its adapter begins as the
 * policy's. */
static bool critic_of_policy(PpoInputs *inputs, const Settings *settings, Error *err) {
    const Model *policy = &inputs->policy;
    bool fresh;
    if (policy->config.adapter.rank == 0) {
        return model_load(&inputs->critic, settings->model.path, HEAD_SCORES, 1, &fresh, err);
    }
    ModelConfig config;
    if (!model_config_copy(&config, &policy->config, err)) {
        return false;
    }
    model_config_set_head(&config, HEAD_SCORES, 1);
    bool ok = model_share(&inputs->critic, policy, &config, err);
    model_config_done(&config);
    for (size_t i = 0; ok && i < inputs->critic.parameters; i++) {
        const Parameter *to = &inputs->critic.parameter[i];
        const Parameter *from = to->own ? model_find(policy, to->name) : NULL;
        if (from != NULL) {
            memcpy(parameter_data(&inputs->critic, to), parameter_data(policy, from),
                   to->count * sizeof(float));
        }
    }
    return ok;
}

/* A critic from a folder: an adapter goes on training, on the policy's base if it is the same; a whole
 * model gets one where the policy has a new one. */
static bool open_critic(PpoInputs *inputs, const Settings *settings, const char *folder,
                        bool *fresh, Error *err) {
    Model *critic = &inputs->critic;
    if (settings->lora.rank == 0 || adapter_is_folder(folder)) {
        return model_load_beside(critic, &inputs->policy, folder, HEAD_SCORES, 1, fresh, err);
    }
    return model_load_compact(critic, folder, inputs->policy.held, HEAD_SCORES, 1, fresh, err) &&
           stage_adapt(settings, critic, folder, err);
}

static bool load_critic(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err) {
    const char *folder = config->ppo.critic_path;
    bool fresh = false;
    if (folder == NULL && config->ppo.critic == CRITIC_POLICY) {
        folder = config->settings.model.path;
        if (!critic_of_policy(inputs, &config->settings, err)) {
            return false;
        }
        model_initialize_scores(&inputs->critic, (uint64_t)config->settings.train.seed, true);
    } else {
        folder = folder == NULL ? reward_folder(config) : folder;
        if (folder == NULL) {
            return error_set(err, ERROR_CONFIG,
                             "ppo.critic is \"reward\", but the reward is not one reward model to "
                             "start from; set ppo.critic to \"policy\" or \"shared\", or name a "
                             "folder in ppo.critic_path");
        }
        if (!refuse_encoder("critic", folder, err) ||
            !same_tokenizer(folder, inputs->tokenizer, "the critic's model", err) ||
            !open_critic(inputs, &config->settings, folder, &fresh, err)) {
            return false;
        }
        if (fresh) {
            return error_set(err, ERROR_DATA,
                             "the critic's model %s has no score head, expected a "
                             "sequence-classification model of one label",
                             folder);
        }
    }
    inputs->own_critic = true;
    return check_vocabulary(&inputs->critic, folder, inputs->tokenizer, err) &&
           describe_model("critic", folder, &inputs->critic, log);
}

/* The policy as it is now, without weights of its own but those of an adapter that it begins with. */
static bool reference_of_policy(PpoInputs *inputs, const Settings *settings, Log *log, Error *err) {
    const Model *policy = &inputs->policy;
    bool bare = settings->lora.rank > 0;
    log_info(log, "reference: the policy's base%s", bare ? "" : ", with its adapter as it is now");
    if (!bare) {
        return model_copy(&inputs->reference, policy, err);
    }
    ModelConfig config;
    if (!model_config_copy(&config, &policy->config, err)) {
        return false;
    }
    config.adapter = (AdapterConfig){0};
    bool ok = model_share(&inputs->reference, policy, &config, err);
    model_config_done(&config);
    return ok;
}

static bool load_models(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err) {
    const Settings *settings = &config->settings;
    const char *path = settings->model.path;
    const char *reference = config->ppo.reference == NULL ? path : config->ppo.reference;
    bool shared = config->ppo.critic == CRITIC_SHARED && config->ppo.critic_path == NULL;
    bool fresh = false;
    if (!refuse_encoder("policy", path, err) || !refuse_encoder("reference", reference, err) ||
        !stage_open_model(settings, shared ? HEAD_BOTH : HEAD_LM, shared ? 1 : 0, &inputs->policy,
                          &fresh, err) ||
        !check_vocabulary(&inputs->policy, path, inputs->tokenizer, err) ||
        !describe_model("policy", path, &inputs->policy, log)) {
        return false;
    }
    if (shared && fresh) {
        model_initialize_scores(&inputs->policy, (uint64_t)settings->train.seed, true);
    }
    if (settings->model.freeze >= 0) {
        model_freeze(&inputs->policy, (size_t)settings->model.freeze);
    }
    stage_say_adapter(&inputs->policy, log);
    if (config->ppo.reference == NULL && inputs->policy.config.adapter.rank > 0) {
        if (!reference_of_policy(inputs, settings, log, err)) {
            return false;
        }
    } else if (!model_load(&inputs->reference, reference, HEAD_LM, 0, NULL, err) ||
               !describe_model("reference", reference, &inputs->reference, log)) {
        return false;
    }
    if (config->ppo.reference != NULL &&
        !same_tokenizer(reference, inputs->tokenizer, "the reference model", err)) {
        return false;
    }
    return shared || load_critic(inputs, config, log, err);
}

static bool load_rewards(PpoInputs *inputs, const PpoConfig *config, Error *err) {
    const Settings *settings = &config->settings;
    RewardContext context = {
        .fingerprint = tokenizer_fingerprint(inputs->tokenizer),
        .eos = inputs->eos,
        .near = inputs->policy.config.adapter.rank > 0 ? &inputs->policy : NULL,
        .pass = stage_reading_plan(settings, (size_t)settings->train.micro_tokens),
        .most_tokens = inputs->policy.config.context + 1,
        .timeout = config->reward.timeout,
    };
    inputs->source = config->reward.model != NULL
                         ? reward_model_source(config->reward.model, &context, err)
                         : reward_sources_parse(config->reward.sources, &context, err);
    if (inputs->source == NULL) {
        return false;
    }
    if (config->ppo.judge != NULL) {
        inputs->judge = reward_model_source(config->ppo.judge, &context, err);
        return inputs->judge != NULL;
    }
    return true;
}

/* Ids of a data set's prompts; those longer than `limit` are dropped. The ids lie in
 * inputs->ids, whose place may move: prompts get their pointers when all are there. */
static bool encode_prompts(PpoInputs *inputs, const DataSet *data, size_t limit,
                           RolloutPrompt **prompt, size_t *prompts, size_t *dropped, Error *err) {
    *prompt = mem_alloc(data->records, sizeof **prompt, err);
    if (*prompt == NULL) {
        return false;
    }
    for (size_t i = 0; i < data->records; i++) {
        const Record *record = &data->record[i];
        size_t before = inputs->ids.count;
        if (!layout_prompt(&inputs->layout, inputs->tokenizer, record->message, record->messages,
                           &inputs->ids, err)) {
            return false;
        }
        size_t count = inputs->ids.count - before;
        if (count > limit) {
            inputs->ids.count = before;
            *dropped += 1;
            continue;
        }
        (*prompt)[(*prompts)++] = (RolloutPrompt){
            .count = count,
            .key = random_mix(record_prompt_hash(record), i),
            .message = record->message,
            .messages = record->messages,
        };
    }
    if (*prompts == 0) {
        return error_set(
            err, ERROR_DATA,
            "all %zu prompts of %s are too long: with generation.max_tokens the models "
            "leave room for %zu tokens",
            data->records, data->paths > 0 ? data->path[0] : "the held-out share", limit);
    }
    return true;
}

static bool encode_data(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err) {
    size_t limit = ppo_prompt_limit(config, &inputs->policy, &inputs->reference,
                                    inputs->own_critic ? &inputs->critic : NULL, inputs->source,
                                    inputs->judge);
    if (limit == 0) {
        return error_set(err, ERROR_CONFIG,
                         "generation.max_tokens is %lld, which leaves no room for a prompt in the "
                         "models' context; lower it",
                         (long long)config->settings.generation.max_tokens);
    }
    size_t dropped = 0, held_dropped = 0;
    if (!encode_prompts(inputs, &inputs->prompt_data, limit, &inputs->prompt, &inputs->prompts,
                        &dropped, err) ||
        (inputs->evaluation_data.records > 0 &&
         !encode_prompts(inputs, &inputs->evaluation_data, limit, &inputs->held_out,
                         &inputs->held_outs, &held_dropped, err))) {
        return false;
    }
    const int32_t *id = inputs->ids.id;
    for (size_t i = 0; i < inputs->prompts; i++) {
        inputs->prompt[i].id = id;
        id += inputs->prompt[i].count;
    }
    for (size_t i = 0; i < inputs->held_outs; i++) {
        inputs->held_out[i].id = id;
        id += inputs->held_out[i].count;
    }
    inputs->dropped = dropped + held_dropped;
    if (inputs->dropped > 0) {
        log_warn(log,
                 "%zu prompts have more than %zu tokens, which leaves no room for an answer of "
                 "%lld; dropped",
                 inputs->dropped, limit, (long long)config->settings.generation.max_tokens);
    }
    if (config->ppo.ptx_coef <= 0) {
        return true;
    }
    EncodeOptions options = {
        .max_tokens = inputs->policy.config.context,
        .over_length = (OverLength)config->settings.data.over_length,
        .append_eos = true,
    };
    return examples_encode(&inputs->ptx, &inputs->ptx_data, inputs->tokenizer, &inputs->layout,
                           &options, err);
}

bool ppo_prepare(PpoInputs *inputs, const PpoConfig *config, Log *log, Error *err) {
    *inputs = (PpoInputs){.eos = -1};
    bool ok = ppo_config_check(config, err) && read_data(inputs, config, log, err) &&
              stage_load_text(&config->settings, &inputs->prompt_data, &inputs->tokenizer,
                              &inputs->layout, log, err) &&
              layout_eos(&inputs->layout, inputs->tokenizer, &inputs->eos, err) &&
              load_models(inputs, config, log, err) && load_rewards(inputs, config, err) &&
              encode_data(inputs, config, log, err);
    if (!ok) {
        ppo_inputs_done(inputs);
    }
    return ok;
}

PpoParts ppo_parts(PpoInputs *inputs, const PpoConfig *config, Log *log) {
    return (PpoParts){
        .config = config,
        .log = log,
        .policy = &inputs->policy,
        .reference = &inputs->reference,
        .critic = inputs->own_critic ? &inputs->critic : NULL,
        .source = inputs->source,
        .judge = inputs->judge,
        .tokenizer = inputs->tokenizer,
        .layout = &inputs->layout,
        .eos = inputs->eos,
        .prompt = inputs->prompt,
        .prompts = inputs->prompts,
        .held_out = inputs->held_out,
        .held_outs = inputs->held_outs,
        .ptx = config->ppo.ptx_coef > 0 ? &inputs->ptx : NULL,
    };
}
