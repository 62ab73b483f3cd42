/* SPDX-License-Identifier: MIT
 *
 * Model folders: configuration, weights, tokenizer, layout, memory, and where they can go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/str.h"
#include "common/export/architecture.h"
#include "common/export/export.h"
#include "common/jinja/jinja.h"
#include "common/model/adapter.h"
#include "common/model/generate.h"
#include "common/model/parameters.h"
#include "common/text/layout.h"
#include "common/text/vocabulary.h"
#include "common/train/optimizer.h"
#include "tools/inspect.h"

static void put_token(Inspection *in, cJSON *object, const char *key, const Tokenizer *tokenizer,
                      int32_t id) {
    if (id >= 0) {
        const char *text = tokenizer_text(tokenizer, id);
        inspect_put(in, object, key, "%d %s", id, text != NULL ? text : "");
    }
}

static void put_template(Inspection *in, cJSON *object, const Tokenizer *tokenizer) {
    Str text = {0};
    Error err = {0};
    if (vocabulary_chat_template(tokenizer, &text, &err) && text.size > 0) {
        inspect_number(in, object, "chat_template_bytes", (double)text.size);
        Jinja *jinja = jinja_parse(text.data, text.size, "chat template", &err);
        bool renders = jinja != NULL && jinja_check(jinja, &err);
        inspect_flag(in, object, "chat_template_renders", renders);
        jinja_free(jinja);
    }
    if (err.code != ERROR_NONE) {
        inspect_refuse(in, &err);
    }
    str_done(&text);
}

static void put_steps(Inspection *in, cJSON *object, const Tokenizer *tokenizer) {
    Str steps = {0};
    Error err = {0};
    if (!vocabulary_steps(tokenizer, &steps, &err)) {
        inspect_refuse(in, &err);
        return;
    }
    cJSON *list = inspect_array(in, object, "steps");
    for (char *line = steps.data; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        *end = '\0';
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        line = end + 1;
    }
    if (vocabulary_kind(tokenizer) == VOCABULARY_BYTES) {
        str_clear(&steps);
        vocabulary_steps(tokenizer, &steps, &err);
        const char *name =
            export_pre_tokenizer(str_text(&steps), vocabulary_ignores_merges(tokenizer));
        inspect_put(in, object, "llama_cpp_name", "%s", name != NULL ? name : "none");
    }
    str_done(&steps);
}

static void put_tokenizer(Inspection *in, const Tokenizer *tokenizer) {
    cJSON *object = inspect_object(in, in->root, "tokenizer");
    size_t n = tokenizer_vocabulary(tokenizer), special = 0, user = 0;
    for (size_t i = 0; i < n; i++) {
        TokenClass kind = vocabulary_class(tokenizer, (int32_t)i);
        special += kind == TOKEN_CLASS_CONTROL;
        user += kind == TOKEN_CLASS_USER;
    }
    inspect_put(in, object, "kind", "%s", vocabulary_kind_name(vocabulary_kind(tokenizer)));
    inspect_number(in, object, "vocabulary", (double)n);
    inspect_number(in, object, "merges", (double)vocabulary_merges(tokenizer));
    inspect_number(in, object, "special_tokens", (double)special);
    inspect_number(in, object, "added_words", (double)user);
    put_token(in, object, "bos", tokenizer, tokenizer_bos(tokenizer));
    put_token(in, object, "eos", tokenizer, tokenizer_eos(tokenizer));
    put_token(in, object, "pad", tokenizer, tokenizer_pad(tokenizer));
    put_token(in, object, "unknown", tokenizer, tokenizer_unknown(tokenizer));
    inspect_flag(in, object, "adds_bos", vocabulary_adds_bos(tokenizer));
    put_template(in, object, tokenizer);
    put_steps(in, object, tokenizer);
}

void inspect_tokenizer(Inspection *in, const char *path) {
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    if (tokenizer == NULL) {
        inspect_refuse(in, &err);
        return;
    }
    put_tokenizer(in, tokenizer);
    tokenizer_free(tokenizer);
}

/* bare: its score head is a new one. */
static void put_config(Inspection *in, const Model *model, bool bare) {
    const ModelConfig *c = &model->config;
    cJSON *object = inspect_object(in, in->root, "model");
    size_t count = 0, trainable = 0;
    for (size_t i = 0; i < model->parameters; i++) {
        count += model->parameter[i].count;
        trainable += model->parameter[i].trainable ? model->parameter[i].count : 0;
    }
    inspect_put(in, object, "family", "%s", c->family->name);
    inspect_put(in, object, "head", "%s",
                bare                     ? "none; rlhf-reward puts a score head on it"
                : c->head == HEAD_LM     ? "language model"
                : c->head == HEAD_SCORES ? "scores"
                                         : "language model and scores");
    inspect_number(in, object, "parameters", (double)count);
    inspect_number(in, object, "trainable", (double)trainable);
    inspect_number(in, object, "layers", (double)c->layers);
    inspect_number(in, object, "width", (double)c->width);
    inspect_number(in, object, "feed_forward_width", (double)c->inner);
    inspect_number(in, object, "heads", (double)c->heads);
    inspect_number(in, object, "key_value_heads", (double)config_kv_heads(c));
    inspect_number(in, object, "head_size", (double)config_head_size(c));
    inspect_number(in, object, "vocabulary", (double)c->vocabulary);
    inspect_number(in, object, "context", (double)c->context);
    inspect_flag(in, object, "tied", c->tied);
    if (c->labels > 0) {
        inspect_number(in, object, "labels", (double)c->labels);
    }
    if (c->window > 0) {
        inspect_number(in, object, "window", (double)c->window);
    }
    if (c->adapter.rank > 0) {
        inspect_number(in, object, "adapter_rank", (double)c->adapter.rank);
    }
}

/* What the model takes as a base under an adapter (lora.base). */
static void put_held(Inspection *in, cJSON *object, const Model *model) {
    ModelConfig config = model->config; /* shallow */
    config.adapter = (AdapterConfig){0};
    for (CompactType type = COMPACT_BF16; compact_type_name[type] != NULL; type++) {
        char key[32];
        Model held;
        if (!parameters_layout(&held, &config, type, NULL)) {
            in->failed = true;
            return;
        }
        snprintf(key, sizeof key, "lora_base_%s_bytes", compact_type_name[type]);
        inspect_number(in, object, key, (double)model_bytes(&held));
        model_done(&held);
    }
}

static void put_memory(Inspection *in, const Model *model) {
    const ModelConfig *config = &model->config;
    size_t context = in->context < config->context ? in->context : config->context;
    WorkspacePlan train = {.tokens = in->tokens, .sequences = in->tokens, .training = true};
    WorkspacePlan read = {.tokens = in->tokens, .sequences = in->tokens};
    GeneratorPlan generator = {
        .rows = 64, .context = context, .completions = 64, .tokens = context - 1, .packed = true};
    ModelConfig scores = *config; /* shallow: sizes are all that is asked for */
    scores.head = HEAD_SCORES;
    scores.labels = scores.labels > 0 ? scores.labels : 1;
    double weights = (double)model_bytes(model), optimizer = (double)optimizer_bytes(model);
    double trained = weights + 1.5 * optimizer; /* gradients, as large as each of its two moments */
    double pass = (double)workspace_bytes(config, &train);
    double judge = (double)workspace_bytes(&scores, &train);
    cJSON *object = inspect_object(in, in->root, "memory");
    inspect_put(in, object, "for",
                "micro-batches of %zu tokens, 64 completions within %zu tokens, %s trained in F32",
                in->tokens, context, config->adapter.rank > 0 ? "the adapter" : "all weights");
    inspect_number(in, object, "weights_bytes", weights);
    put_held(in, object, model);
    if (config->head != HEAD_SCORES) {
        inspect_number(in, object, "sft_bytes", trained + pass);
    }
    inspect_number(in, object, "reward_bytes", trained + judge);
    if (config->head == HEAD_SCORES || config->family->block.bidirectional) {
        inspect_number(in, object, "score_bytes",
                       weights + (double)workspace_bytes(&scores, &read));
        return;
    }
    double sampler = (double)generator_bytes(config, &generator);
    inspect_number(in, object, "ppo_bytes",
                   2 * weights + 2 * trained + pass + judge +
                       2 * (double)workspace_bytes(config, &read) + sampler);
    inspect_put(in, object, "ppo_holds", "policy, reference, reward model and critic of this size");
    inspect_number(in, object, "generate_bytes", weights + sampler);
}

static void put_export(Inspection *in, const Model *model) {
    Error err = {0};
    const Architecture *architecture = architecture_find(&model->config, &err);
    if (architecture != NULL) {
        inspect_put(in, in->root, "gguf_architecture", "%s", architecture->name);
    } else {
        inspect_put(in, in->root, "gguf_architecture", "none: %s", err.text);
    }
}

static void put_layout(Inspection *in, const char *folder) {
    Error err = {0};
    Layout layout = {0};
    bool found = false;
    if (!layout_load(&layout, folder, &found, &err)) {
        inspect_refuse(in, &err);
    } else if (found) {
        inspect_put(in, in->root, "layout", "%s", layout.name);
    }
    layout_done(&layout);
}

/* Headers of all files of weights. */
static void put_weights(Inspection *in, const char *folder) {
    char **name = NULL;
    size_t names = 0;
    Error err = {0};
    if (!file_list(folder, &name, &names, &err)) {
        inspect_refuse(in, &err);
        return;
    }
    for (size_t i = 0; i < names; i++) {
        char *path =
            str_ends_with(name[i], ".safetensors") ? file_join(folder, name[i], &err) : NULL;
        if (path != NULL) {
            inspect_safetensors(in, path);
        }
        free(path);
        free(name[i]);
    }
    free(name);
}

/* The model with its weights, or where only headers are wanted its layout. */
static bool open_model(Inspection *in, const char *path, Model *model, Error *err) {
    if (!in->quick || !file_is_folder(path)) {
        return model_load(model, path, -1, 0, NULL, err);
    }
    ModelConfig config;
    if (!model_config_read(&config, path, err)) {
        return false;
    }
    bool ok = parameters_layout(model, &config, COMPACT_NONE, err);
    model_config_done(&config);
    return ok;
}

void inspect_model(Inspection *in, const char *path) {
    Model model;
    Error err = {0};
    bool folder = file_is_folder(path);
    bool bare = false, open = open_model(in, path, &model, &err);
    if (!open) {
        inspect_refuse(in, &err); /* as what config.json says; a trunk may still be there */
        open = folder && !in->quick && model_load(&model, path, HEAD_SCORES, 1, &bare, NULL);
    }
    if (open) {
        put_config(in, &model, bare);
        put_export(in, &model);
        put_memory(in, &model);
        model_done(&model);
    }
    if (folder) {
        put_weights(in, path);
        inspect_tokenizer(in, path);
        put_layout(in, path);
    }
}
