/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "sft/sft.h"

static const unsigned trainable_kinds =
    1u << RECORD_TEXT | 1u << RECORD_DEMONSTRATION | 1u << RECORD_CONVERSATION;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static EncodeOptions encode_options(const Sft *sft) {
    const Settings *settings = &sft->config->settings;
    size_t context = sft->model.config.context;
    size_t wanted = (size_t)settings->data.max_tokens;
    return (EncodeOptions){
        .max_tokens = wanted == 0 ? context : smaller(wanted, context),
        .over_length = (OverLength)settings->data.over_length,
        .append_eos = true,
        .loss_on_all = sft->config->sft.loss_on == 1,
    };
}

static bool encode(Sft *sft, const char *what, const DataSet *data, ExampleSet *set, Error *err) {
    EncodeOptions options = encode_options(sft);
    if (!examples_encode(set, data, sft->tokenizer, &sft->layout, &options, err)) {
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

static bool prepare(Sft *sft, Error *err) {
    const Settings *settings = &sft->config->settings;
    if (!stage_read_data(settings, trainable_kinds, &sft->train_data, &sft->validation_data,
                         sft->log, err) ||
        !stage_load_text(settings, &sft->train_data, &sft->tokenizer, &sft->layout, sft->log,
                         err) ||
        !stage_load_model(settings, sft->tokenizer, &sft->layout, HEAD_LM, 0, &sft->model, NULL,
                          sft->log, err)) {
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
    sft->rows = stage_rows(settings, most_rows(&sft->validation, most_rows(&sft->train, 1)));
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
    if (sft->logprob == NULL || sft->correct == NULL) {
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
    size_t weights = model_held(&sft->model) * sizeof(float);
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
