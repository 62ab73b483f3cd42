/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/family.h"
#include "common/stage/stage.h"

static const char *end_of_text = "<|endoftext|>";

static bool feed(TokenizerTrainer *trainer, const char *text, Error *err) {
    return tokenizer_trainer_feed(trainer, text, strlen(text), err);
}

static bool feed_records(TokenizerTrainer *trainer, const DataSet *data, const Layout *layout,
                         Error *err) {
    for (size_t i = 0; i < data->records; i++) {
        const Record *record = &data->record[i];
        for (size_t j = 0; j < record->messages; j++) {
            if (!feed(trainer, record->message[j].text, err)) {
                return false;
            }
        }
        for (size_t j = 0; j < record->completions; j++) {
            if (!feed(trainer, record->completion[j], err)) {
                return false;
            }
        }
        if (record->messages == 1 && layout->separator != NULL &&
            !feed(trainer, layout->separator, err)) {
            return false;
        }
    }
    return true;
}

enum { SPECIALS = 32 };

typedef struct Specials {
    char *text[SPECIALS]; /* owned */
    size_t count;
} Specials;

static bool add_special(Specials *specials, const char *text, size_t n, Error *err) {
    for (size_t i = 0; i < specials->count; i++) {
        if (strlen(specials->text[i]) == n && memcmp(specials->text[i], text, n) == 0) {
            return true;
        }
    }
    if (specials->count == SPECIALS) {
        return error_set(err, ERROR_CONFIG, "the layout names more than %d special tokens",
                         SPECIALS);
    }
    char *copy = mem_strndup(text, n, err);
    if (copy != NULL) {
        specials->text[specials->count++] = copy;
    }
    return copy != NULL;
}

/* Every <|name|> of a layout's literal. */
static bool add_specials(Specials *specials, const char *literal, Error *err) {
    const char *begin = literal == NULL ? NULL : strstr(literal, "<|");
    while (begin != NULL) {
        const char *end = strstr(begin, "|>");
        if (end == NULL) {
            return true;
        }
        if (!add_special(specials, begin, (size_t)(end + 2 - begin), err)) {
            return false;
        }
        begin = strstr(end + 2, "<|");
    }
    return true;
}

/* The end of text first, then what the layout's literals and its end token are made of. */
static bool collect_specials(const Layout *layout, Specials *specials, Error *err) {
    bool ok =
        add_special(specials, end_of_text, strlen(end_of_text), err) &&
        (layout->eos == NULL || add_special(specials, layout->eos, strlen(layout->eos), err)) &&
        add_specials(specials, layout->prefix, err) &&
        add_specials(specials, layout->separator, err);
    for (size_t role = 0; ok && role < 3; role++) {
        ok = add_specials(specials, layout->turn_before[role], err) &&
             add_specials(specials, layout->turn_after[role], err);
    }
    return ok;
}

static Tokenizer *finish_tokenizer(TokenizerTrainer *trainer, const Settings *settings,
                                   const Layout *layout, Error *err) {
    Specials specials = {0};
    Tokenizer *tokenizer = NULL;
    if (collect_specials(layout, &specials, err)) {
        const char *special[SPECIALS];
        for (size_t i = 0; i < specials.count; i++) {
            special[i] = specials.text[i];
        }
        TokenizerTraining training = {
            .vocabulary = (size_t)settings->tokenizer.vocabulary,
            .minimum_count = (size_t)settings->tokenizer.minimum_count,
            .special = special,
            .specials = specials.count,
            .eos = layout->eos == NULL ? end_of_text : layout->eos,
        };
        tokenizer = tokenizer_trainer_finish(trainer, &training, err);
    }
    for (size_t i = 0; i < specials.count; i++) {
        free(specials.text[i]);
    }
    return tokenizer;
}

/* A run from scratch trains its tokenizer on its own data: tokenizer.train, or the run's records. */
static Tokenizer *train_tokenizer(const Settings *settings, const DataSet *data,
                                  const Layout *layout, Log *log, Error *err) {
    TokenizerTrainer *trainer = tokenizer_trainer_create(err);
    if (trainer == NULL) {
        return NULL;
    }
    DataSet own = {0};
    const DataSet *source = data;
    bool ok = true;
    if (settings->tokenizer.train.count > 0) {
        DataOptions options = stage_data_options(settings, ~0u);
        ok = dataset_read(&own, &settings->tokenizer.train, &options, err);
        source = &own;
    }
    Tokenizer *tokenizer = ok && feed_records(trainer, source, layout, err)
                               ? finish_tokenizer(trainer, settings, layout, err)
                               : NULL;
    if (tokenizer != NULL) {
        log_info(log, "tokenizer: trained on %zu records, %zu tokens in the vocabulary",
                 source->records, tokenizer_vocabulary(tokenizer));
    }
    dataset_done(&own);
    tokenizer_trainer_free(trainer);
    return tokenizer;
}

/* Whether the model of the settings is an encoder; what is wrong with the folder is told by its loader. */
static bool is_encoder(const Settings *settings) {
    ModelConfig config;
    if (settings->model.path == NULL) {
        const char *name = settings->model.fresh.family;
        const ModelFamily *family = name == NULL ? NULL : family_find(name);
        return family != NULL && family->block.bidirectional;
    }
    if (!model_config_read(&config, settings->model.path, NULL)) {
        return false;
    }
    bool encoder = family_is_encoder(&config);
    model_config_done(&config);
    return encoder;
}

/* tokenizer NULL: one is yet to be trained, on what the layout gives. */
static bool load_layout(const Settings *settings, const Tokenizer *tokenizer, Layout *layout,
                        Error *err) {
    return layout_open(layout, settings->layout.name, settings->model.path, err) &&
           (tokenizer == NULL || layout_frame(layout, tokenizer, is_encoder(settings), err)) &&
           layout_replace(layout, settings->layout.prefix, settings->layout.separator,
                          settings->layout.eos, err);
}

bool stage_load_text(const Settings *settings, const DataSet *data, Tokenizer **tokenizer,
                     Layout *layout, Log *log, Error *err) {
    if (settings->model.path != NULL && !model_path_check(settings->model.path, err)) {
        return false;
    }
    if (settings->model.path != NULL && settings->tokenizer.path == NULL &&
        !file_is_folder(settings->model.path)) {
        return error_set(err, ERROR_DATA,
                         "%s is not a folder; a model folder with config.json and "
                         "model.safetensors was expected, or for a checkpoint of llama2.c "
                         "tokenizer.path beside it",
                         settings->model.path);
    }
    const char *path =
        settings->tokenizer.path != NULL ? settings->tokenizer.path : settings->model.path;
    *tokenizer = NULL;
    if (path != NULL && (*tokenizer = tokenizer_load(path, err)) == NULL) {
        return false;
    }
    if (path == NULL && is_encoder(settings)) {
        return error_set(err, ERROR_CONFIG,
                         "a new encoder needs a tokenizer with tokens around texts; name its "
                         "folder or file in tokenizer.path");
    }
    bool ok = load_layout(settings, *tokenizer, layout, err);
    if (ok && *tokenizer == NULL) {
        *tokenizer = train_tokenizer(settings, data, layout, log, err);
    }
    int32_t eos;
    if (!ok || *tokenizer == NULL || !layout_eos(layout, *tokenizer, &eos, err)) {
        tokenizer_free(*tokenizer);
        *tokenizer = NULL;
        layout_done(layout);
        return false;
    }
    return true;
}

/* Four times the width, or with gated units, which have three matrices, as many weights as that. */
static size_t usual_inner(const ModelFamily *family, size_t width) {
    return family->block.gated ? (8 * width / 3 + 31) / 32 * 32 : 4 * width;
}

static const ModelFamily *fresh_family(const char *name, Error *err) {
    const ModelFamily *family = family_find(name == NULL ? "gpt2" : name);
    if (family == NULL) {
        Str known = {0};
        for (size_t i = 0; family_at(i) != NULL; i++) {
            str_appendf(&known, "%s%s", i > 0 ? ", " : "", family_at(i)->name);
        }
        error_set(err, ERROR_CONFIG, "model.new.family is '%s'; one of %s was expected", name,
                  str_text(&known));
        str_done(&known);
    }
    return family;
}

static bool fresh_config(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                         int head, size_t labels, ModelConfig *config, Error *err) {
    int32_t eos, pad = tokenizer_pad(tokenizer);
    const ModelFamily *family = fresh_family(settings->model.fresh.family, err);
    if (family == NULL || !layout_eos(layout, tokenizer, &eos, err)) {
        return false;
    }
    size_t width = (size_t)settings->model.fresh.width;
    *config = (ModelConfig){
        .family = family,
        .layers = (size_t)settings->model.fresh.layers,
        .heads = (size_t)settings->model.fresh.heads,
        .kv_heads = (size_t)settings->model.fresh.kv_heads,
        .head_size = (size_t)settings->model.fresh.head_size,
        .width = width,
        .inner = settings->model.fresh.inner > 0 ? (size_t)settings->model.fresh.inner
                                                 : usual_inner(family, width),
        .vocabulary = tokenizer_vocabulary(tokenizer),
        .context = (size_t)settings->model.fresh.context,
        .head = head < 0 ? HEAD_LM : (HeadKind)head,
        .labels = labels,
    };
    if (!model_config_complete(config, err)) {
        return false;
    }
    model_config_set_dropout(config, (float)settings->model.fresh.dropout);
    config->tied = settings->model.fresh.tied;
    config->eos = eos;
    config->bos = tokenizer_bos(tokenizer);
    if (!family->positions_behind_pad) {
        config->pad = pad;
    }
    if (settings->model.fresh.rope_theta > 0 && config->rope.dimensions > 0) {
        config->rope.theta = settings->model.fresh.rope_theta;
    }
    return model_config_check(config, err);
}

static void set_dropout(const Settings *settings, Model *model) {
    if (settings->train.dropout >= 0) {
        float dropout = (float)settings->train.dropout;
        model->config.dropout_embedding = dropout;
        model->config.dropout_residual = dropout;
        model->config.dropout_attention = dropout;
        model->config.dropout_head = dropout;
    }
}

bool stage_load_model(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                      int head, size_t labels, Model *model, bool *fresh_head, Log *log,
                      Error *err) {
    if (settings->model.path != NULL) {
        if (!stage_open_model(settings, head, labels, model, fresh_head, err)) {
            return false;
        }
        if (tokenizer_vocabulary(tokenizer) > model->config.vocabulary) {
            error_set(err, ERROR_CONFIG,
                      "the tokenizer has %zu ids but the model %s only %zu rows of embeddings; "
                      "use the tokenizer that the model was trained with",
                      tokenizer_vocabulary(tokenizer), settings->model.path,
                      model->config.vocabulary);
            model_done(model);
            return false;
        }
    } else if (settings->lora.rank > 0 || settings->model.adapter != NULL) {
        return error_set(err, ERROR_CONFIG,
                         "an adapter needs a trained model under it; name its folder with --model "
                         "DIR");
    } else if (settings->model.fresh.layers > 0) {
        ModelConfig config = {0};
        if (!stage_check_base(settings, err) ||
            !fresh_config(settings, tokenizer, layout, head, labels, &config, err) ||
            !model_create(model, &config, err)) {
            return false;
        }
        model_initialize(model, (uint64_t)settings->train.seed);
        if (fresh_head != NULL) {
            *fresh_head = true;
        }
    } else {
        return error_set(err, ERROR_CONFIG,
                         "no model is given; name a folder with --model DIR, or an architecture "
                         "with --set model.new.layers=… and its companions");
    }
    set_dropout(settings, model);
    if (settings->model.freeze > 0) {
        model_freeze(model, (size_t)settings->model.freeze);
    }
    const ModelConfig *c = &model->config;
    log_info(log,
             "model: %s, %zu layers, width %zu, %zu heads, vocabulary %zu, context %zu, "
             "%.2f M parameters",
             settings->model.path == NULL ? "new" : settings->model.path, c->layers, c->width,
             c->heads, c->vocabulary, c->context, (double)model_weights(model) / 1e6);
    stage_say_adapter(model, log);
    return true;
}

bool stage_save_model(const Model *model, const Tokenizer *tokenizer, const Layout *layout,
                      const char *folder, Error *err) {
    return file_make_folders(folder, err) && model_save(model, folder, err) &&
           tokenizer_save(tokenizer, folder, err) && layout_save(layout, folder, err);
}

bool stage_render_completion(const Tokenizer *tokenizer, const Completion *completion, Str *text,
                             Error *err) {
    size_t said = completion->count - (completion->finish == FINISH_EOS);
    return tokenizer_decode(tokenizer, completion->id, said, true, true, text, err) &&
           str_ok(text, err);
}
