/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/model/family.h"
#include "sft/sft.h"

static const unsigned trainable_kinds =
    1u << RECORD_TEXT | 1u << RECORD_DEMONSTRATION | 1u << RECORD_CONVERSATION;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t sequence_limit(const Sft *sft) {
    size_t context = sft->model.config.context;
    size_t wanted = (size_t)sft->config->settings.data.max_tokens;
    return wanted == 0 ? context : smaller(wanted, context);
}

static EncodeOptions encode_options(const Sft *sft) {
    const Settings *settings = &sft->config->settings;
    return (EncodeOptions){
        .max_tokens = sft->encoder ? masked_window(&sft->masked) : sequence_limit(sft),
        .over_length = (OverLength)settings->data.over_length,
        .append_eos = true,
        .loss_on_all = sft->config->sft.loss_on == 1,
    };
}

/* Drops what an encoder cannot learn from. */
static bool keep_usable(Sft *sft, const char *what, ExampleSet *set, Error *err) {
    size_t before = set->examples, least = sft->config->sft.next_sentence ? 2 : 1;
    examples_filter(set, masked_is_usable, &sft->masked);
    if (set->examples < before) {
        log_info(sft->log, "%s: %zu of %zu sequences have nothing to hide (dropped)", what,
                 before - set->examples, before);
    }
    return set->examples >= least ||
           error_set(err, ERROR_DATA,
                     "%zu sequences are left that an encoder can learn from; expected %zu or more, "
                     "each with a token that is not special%s",
                     set->examples, least, least == 2 ? " in its first half" : "");
}

static bool encode(Sft *sft, const char *what, const DataSet *data, ExampleSet *set, Error *err) {
    EncodeOptions options = encode_options(sft);
    if (!examples_encode(set, data, sft->tokenizer, &sft->layout, &options, err) ||
        (sft->encoder && !keep_usable(sft, what, set, err))) {
        return error_wrap(err, "%s", what);
    }
    Str text = {0};
    examples_describe(&set->counts, &text);
    log_info(sft->log, "%s: %s", what, str_text(&text));
    str_done(&text);
    return true;
}

/* Prompts whose completions are shown during the run: data.evaluation, else the validation data. */
static bool read_prompts(Sft *sft, Error *err) {
    const Settings *settings = &sft->config->settings;
    if (settings->log.samples == 0) {
        return true;
    }
    if (sft->encoder) {
        log_info(sft->log, "the model is an encoder: no samples are generated");
        return true;
    }
    const DataSet *source = &sft->validation_data;
    if (settings->data.evaluation.count > 0) {
        DataOptions options = stage_data_options(settings, ~0u);
        if (!dataset_read(&sft->prompt_data, &settings->data.evaluation, &options, err)) {
            return false;
        }
        source = &sft->prompt_data;
    }
    if (source->records == 0) {
        return true;
    }
    EncodeOptions options = encode_options(sft);
    return examples_encode(&sft->prompts, source, sft->tokenizer, &sft->layout, &options, err);
}

static size_t most_rows(const ExampleSet *set, size_t most) {
    for (size_t i = 0; i < set->examples; i++) {
        size_t rows = example_rows(&set->example[i], false);
        most = rows > most ? rows : most;
    }
    return most;
}

/* Next sentences need a head of their own: a new model's, or the folder's. */
static bool check_next_sentence(const Sft *sft, bool fresh_head, Error *err) {
    const Settings *settings = &sft->config->settings;
    const ModelFamily *family = sft->model.config.family;
    const char *path = settings->model.path;
    if (!sft->encoder || family->both_architecture == NULL || (path != NULL && fresh_head)) {
        return error_set(err, ERROR_CONFIG,
                         "sft.next_sentence needs a model with a next-sentence head "
                         "(BertForPreTraining), and %s has none; leave sft.next_sentence out",
                         path != NULL ? path : family->name);
    }
    return sft->model.config.adapter.rank == 0 ||
           error_set(err, ERROR_CONFIG,
                     "sft.next_sentence trains all weights; leave lora.rank and model.adapter out");
}

/* Conversations have no layout with a frame, and of a template nobody knows the halves. */
static bool check_kinds(const DataSet *data, Error *err) {
    for (size_t i = 0; i < data->records; i++) {
        const Record *record = &data->record[i];
        if (record->kind == RECORD_CONVERSATION) {
            return error_at(err, ERROR_DATA, record->file, record->line, 0,
                            "an encoder is trained on texts and on prompts with a completion, not "
                            "on conversations");
        }
    }
    return true;
}

static bool prepare_masked(Sft *sft, bool fresh_head, Error *err) {
    const Settings *settings = &sft->config->settings;
    bool next_sentence = sft->config->sft.next_sentence;
    sft->encoder = family_is_encoder(&sft->model.config);
    if (next_sentence && !check_next_sentence(sft, fresh_head, err)) {
        return false;
    }
    if (!sft->encoder) {
        return true;
    }
    MaskedOptions options = {.share = sft->config->sft.mask_share,
                             .next_sentence = next_sentence,
                             .segments = sft->model.config.segments > 1,
                             .seed = (uint64_t)settings->train.seed,
                             .max_tokens = sequence_limit(sft)};
    return check_kinds(&sft->train_data, err) && check_kinds(&sft->validation_data, err) &&
           masked_init(&sft->masked, sft->tokenizer, &sft->layout, &options, err);
}

static size_t longest(const Sft *sft) {
    if (sft->encoder) {
        size_t train = masked_most_rows(&sft->masked, &sft->train);
        size_t validation = masked_most_rows(&sft->masked, &sft->validation);
        return train > validation ? train : validation;
    }
    return most_rows(&sft->validation, most_rows(&sft->train, 1));
}

static bool prepare(Sft *sft, Error *err) {
    const Settings *settings = &sft->config->settings;
    bool next_sentence = sft->config->sft.next_sentence, fresh_head = false;
    if (!stage_read_data(settings, trainable_kinds, &sft->train_data, &sft->validation_data,
                         sft->log, err) ||
        !stage_load_text(settings, &sft->train_data, &sft->tokenizer, &sft->layout, sft->log,
                         err) ||
        !stage_load_model(settings, sft->tokenizer, &sft->layout,
                          next_sentence ? HEAD_BOTH : HEAD_LM, next_sentence ? SFT_NEXT_LABELS : 0,
                          &sft->model, &fresh_head, sft->log, err) ||
        !prepare_masked(sft, fresh_head, err)) {
        return false;
    }
    stage_show_example(&sft->train_data, sft->log);
    if (!encode(sft, "training data", &sft->train_data, &sft->train, err) ||
        (sft->validation_data.records > 0 &&
         !encode(sft, "validation data", &sft->validation_data, &sft->validation, err)) ||
        !read_prompts(sft, err)) {
        return false;
    }
    sft->steps = stage_steps(settings, sft->train.examples);
    sft->rows = stage_rows(settings, longest(sft));
    return true;
}

bool sft_prepare(Sft *sft, const SftConfig *config, Log *log, Error *err) {
    *sft = (Sft){.config = config, .log = log};
    if (!prepare(sft, err)) {
        sft_done(sft);
        return false;
    }
    return true;
}

/* Samples are few and rare: a second copy of the weights would be a high price for their speed. */
static GeneratorPlan generator_plan(const Sft *sft) {
    size_t longest = 0, tokens = (size_t)sft->config->settings.generation.max_tokens;
    for (size_t i = 0; i < sft->prompts.examples; i++) {
        size_t count = sft->prompts.example[i].prompt.count;
        longest = count > longest ? count : longest;
    }
    size_t context = sft->model.config.context;
    return (GeneratorPlan){.rows = (size_t)sft->config->settings.log.samples,
                           .context = longest + tokens < context ? longest + tokens : context,
                           .completions = (size_t)sft->config->settings.log.samples,
                           .tokens = tokens,
                           .type = (GemmType)sft->config->settings.compute.dtype};
}

static bool allocate_masked(Sft *sft, Error *err) {
    sft->label = mem_alloc(sft->rows, sizeof *sft->label, err);
    sft->dlogprob = mem_alloc_aligned(sft->rows, sizeof(float), err);
    if (sft->label == NULL || sft->dlogprob == NULL || !sft->config->sft.next_sentence) {
        return sft->label != NULL && sft->dlogprob != NULL;
    }
    size_t scores = mem_mul(sft->rows, SFT_NEXT_LABELS);
    sft->score = mem_alloc_aligned(scores, sizeof(float), err);
    sft->dscore = mem_alloc_aligned(scores, sizeof(float), err);
    return sft->score != NULL && sft->dscore != NULL;
}

bool sft_allocate(Sft *sft, Error *err) {
    const Settings *settings = &sft->config->settings;
    WorkspacePlan plan = stage_training_plan(settings, sft->rows);
    OptimizerOptions options = stage_optimizer_options(settings);
    sft->workspace = workspace_create(&sft->model.config, &plan, err);
    if (sft->workspace == NULL || !gradients_init(&sft->gradients, &sft->model, err) ||
        !optimizer_init(&sft->optimizer, &options, &sft->gradients, err) ||
        !batch_init(&sft->batch, sft->rows, sft->rows, err) ||
        (settings->train.ema > 0 && !model_copy(&sft->ema, &sft->model, err))) {
        return false;
    }
    sft->logprob = mem_alloc_aligned(sft->rows, sizeof(float), err);
    sft->correct = mem_alloc_aligned(sft->rows, sizeof(float), err);
    if (sft->logprob == NULL || sft->correct == NULL ||
        (sft->encoder && !allocate_masked(sft, err))) {
        return false;
    }
    if (sft->prompts.examples > 0) {
        GeneratorPlan sampling = generator_plan(sft);
        sft->generator = generator_create(&sft->model.config, &sampling, err);
        return sft->generator != NULL;
    }
    return true;
}

bool sft_plan(const Sft *sft, Str *plan, Error *err) {
    const Settings *settings = &sft->config->settings;
    WorkspacePlan workspace = stage_training_plan(settings, sft->rows);
    GeneratorPlan generator = generator_plan(sft);
    size_t weights = model_bytes(&sft->model);
    size_t optimizer = optimizer_bytes(&sft->model);
    size_t pass = workspace_bytes(&sft->model.config, &workspace);
    size_t sampling =
        sft->prompts.examples == 0 ? 0 : generator_bytes(&sft->model.config, &generator);
    size_t average = settings->train.ema > 0 ? model_changing(&sft->model) * sizeof(float) : 0;
    str_append(plan, "plan\n");
    stage_plan_line(plan, "records", "%zu", sft->train.examples);
    stage_plan_line(plan, "tokens an epoch", "%zu, %zu trained", sft->train.counts.tokens,
                    sft->train.counts.trained_tokens);
    stage_plan_line(plan, "steps", "%lld of %lld records", (long long)sft->steps,
                    (long long)settings->train.batch);
    str_append(plan, "memory\n");
    stage_plan_bytes(plan, "weights", weights + average);
    stage_plan_bytes(plan, "gradients", optimizer / 2);
    stage_plan_bytes(plan, "optimizer", optimizer);
    stage_plan_bytes(plan, "activations", pass);
    stage_plan_bytes(plan, "sampling", sampling);
    size_t moment = mem_aligned_cost(optimizer / 2, 1); /* as long as the gradients */
    const size_t block[] = {mem_aligned_cost(average, 1), moment, moment, moment, pass, sampling};
    stage_plan_peak(plan, block, sizeof block / sizeof *block);
    return str_ok(plan, err);
}

void sft_done(Sft *sft) {
    generator_free(sft->generator);
    workspace_free(sft->workspace);
    optimizer_done(&sft->optimizer);
    gradients_done(&sft->gradients);
    model_done(&sft->model);
    model_done(&sft->ema);
    batch_done(&sft->batch);
    free(sft->logprob);
    free(sft->correct);
    free(sft->label);
    free(sft->dlogprob);
    free(sft->score);
    free(sft->dscore);
    masked_done(&sft->masked);
    examples_done(&sft->train);
    examples_done(&sft->validation);
    examples_done(&sft->prompts);
    dataset_done(&sft->train_data);
    dataset_done(&sft->validation_data);
    dataset_done(&sft->prompt_data);
    layout_done(&sft->layout);
    tokenizer_free(sft->tokenizer);
    *sft = (Sft){0};
}
