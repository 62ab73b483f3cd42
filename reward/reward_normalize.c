/* SPDX-License-Identifier: MIT
 *
 * Where scores have their zero and their unit: the mean and the deviation over demonstrations or over
 * samples of a reference model, put into bias and head of the published model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/random.h"
#include "reward/reward.h"

enum { ROWS_AT_ONCE = 64 };

static RewardSetOptions set_options(const Reward *reward) {
    return (RewardSetOptions){.by_prompt = true,
                              .apart = family_is_encoder(&reward->model.config),
                              .rows = (size_t)reward->config->settings.train.micro_tokens,
                              .labels = reward->labels};
}

static bool demonstrations(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    DataOptions options = stage_data_options(settings, 1u << RECORD_DEMONSTRATION);
    EncodeOptions encode = reward_encode_options(reward);
    if (!dataset_read(&reward->normalize_data, &settings->data.normalize, &options, err) ||
        !examples_encode(&reward->normalize_examples, &reward->normalize_data, reward->tokenizer,
                         &reward->layout, &encode, err)) {
        return error_wrap(err, "data.normalize");
    }
    log_info(reward->log, "%s", str_text(&reward->normalize_data.description));
    return true;
}

static bool keep_text(ExampleSet *set, const Example *from, const Tokens *completion, uint64_t key,
                      Error *err) {
    if (!mem_reserve(&set->example, &set->capacity, set->examples + 1, sizeof *set->example, err)) {
        return false;
    }
    Example *to = &set->example[set->examples++];
    *to = (Example){.key = key, .group = from->group};
    to->completion = mem_alloc(1, sizeof *to->completion, err);
    if (to->completion == NULL) {
        return false;
    }
    to->completions = 1;
    return tokens_append(&to->prompt, from->prompt.id, from->prompt.count, err) &&
           tokens_append(to->completion, completion->id, completion->count, err);
}

/* Without data.normalize: the best completions of each training record. */
static bool preferred(Reward *reward, Error *err) {
    for (size_t i = 0; i < reward->train_examples.examples; i++) {
        const Example *example = &reward->train_examples.example[i];
        const double *rank = example->record->rank;
        double best = rank[0];
        for (size_t k = 1; k < example->completions; k++) {
            best = fmin(best, rank[k]);
        }
        for (size_t k = 0; k < example->completions; k++) {
            if (rank[k] == best && !keep_text(&reward->normalize_examples, example,
                                              &example->completion[k], example->key, err)) {
                return false;
            }
        }
    }
    return true;
}

/* The samples drawn from the reference model, one Example each. */
typedef struct Draw {
    ExampleSet prompts;
    size_t *chosen; /* [prompts to sample] indices among prompts.example */
    Prompt *prompt;
    Generator *generator;
    const Completion *completion; /* the generator's */
    size_t count, each, context;
} Draw;

static void draw_done(Draw *draw) {
    generator_free(draw->generator);
    free(draw->prompt);
    free(draw->chosen);
    examples_done(&draw->prompts);
}

/* Chooses prompts that leave room for an answer, in a random order. */
static bool choose_prompts(const Reward *reward, Draw *draw, size_t wanted, Error *err) {
    size_t all = draw->prompts.examples, room = draw->context;
    Random random =
        random_stream((uint64_t)reward->config->settings.train.seed, RANDOM_NORMALIZE, 0, 0);
    draw->chosen = mem_alloc(wanted, sizeof *draw->chosen, err);
    draw->prompt = mem_alloc(wanted, sizeof *draw->prompt, err);
    if (draw->chosen == NULL || draw->prompt == NULL) {
        return false;
    }
    for (size_t i = 0; i < all && draw->count < wanted; i++) {
        size_t at = random_permute(&random, all, i);
        const Example *example = &draw->prompts.example[at];
        if (example->prompt.count + 2 <= room) {
            draw->chosen[draw->count] = at;
            draw->prompt[draw->count++] =
                (Prompt){example->prompt.id, example->prompt.count, example->key};
        }
    }
    return draw->count > 0 ||
           error_set(err, ERROR_DATA,
                     "none of the %zu prompts of data.prompts leaves room for an answer in a "
                     "context of %zu tokens",
                     all, room);
}

static bool sample_reference(const Reward *reward, const Model *model, Draw *draw, Error *err) {
    const Settings *settings = &reward->config->settings;
    int32_t eos;
    if (!layout_eos(&reward->layout, reward->tokenizer, &eos, err)) {
        return false;
    }
    size_t longest = 0, most = (size_t)settings->generation.max_tokens;
    for (size_t i = 0; i < draw->count; i++) {
        longest = draw->prompt[i].count > longest ? draw->prompt[i].count : longest;
    }
    /* One place stays free for the EOS that an unfinished sample is read with. */
    most = most < draw->context - longest - 1 ? most : draw->context - longest - 1;
    Sampling sampling = {
        .temperature = (float)settings->generation.temperature,
        .top_p = 1,
        .repetition_penalty = 1,
        .max_tokens = most,
        .stop = &eos,
        .stops = 1,
        .seed = (uint64_t)settings->train.seed,
        .purpose = RANDOM_NORMALIZE,
    };
    GeneratorPlan plan = {.rows = ROWS_AT_ONCE,
                          .context = longest + most,
                          .completions = draw->count * draw->each,
                          .tokens = most,
                          .packed = true,
                          .type = (GemmType)settings->compute.dtype};
    draw->generator = generator_create(&model->config, &plan, err);
    draw->completion = draw->generator == NULL
                           ? NULL
                           : generate(draw->generator, model, draw->prompt, draw->count, draw->each,
                                      &sampling, NULL, err);
    return draw->completion != NULL;
}

static bool keep_samples(Reward *reward, const Draw *draw, Error *err) {
    int32_t eos;
    if (!layout_eos(&reward->layout, reward->tokenizer, &eos, err)) {
        return false;
    }
    for (size_t i = 0; i < draw->count * draw->each; i++) {
        const Completion *completion = &draw->completion[i];
        const Example *from = &draw->prompts.example[draw->chosen[completion->prompt]];
        Tokens tokens = {0};
        /* Whatever ended it, it is read with the reward model's EOS. */
        size_t said = completion->count - (completion->finish == FINISH_EOS);
        bool ok =
            tokens_append(&tokens, completion->id, said, err) && tokens_push(&tokens, eos, err) &&
            keep_text(&reward->normalize_examples, from, &tokens, random_mix(from->key, i), err);
        tokens_done(&tokens);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool same_tokenizer(const Reward *reward, const char *folder, Error *err) {
    Tokenizer *other = tokenizer_load(folder, err);
    if (other == NULL) {
        return false;
    }
    bool same = tokenizer_fingerprint(other) == tokenizer_fingerprint(reward->tokenizer);
    tokenizer_free(other);
    return same || error_set(err, ERROR_CONFIG,
                             "the reference model %s has another tokenizer than the reward model; "
                             "set reward.reference to a model that shares it",
                             folder);
}

static bool reference_samples(Reward *reward, Error *err) {
    const Settings *settings = &reward->config->settings;
    const char *folder = reward->config->reward.reference != NULL ? reward->config->reward.reference
                                                                  : settings->model.path;
    size_t wanted = (size_t)reward->config->reward.normalize_samples;
    DataOptions options = stage_data_options(settings, ~0u);
    EncodeOptions encode = reward_encode_options(reward);
    DataSet data = {0};
    Model model = {0};
    Draw draw = {0};
    bool ok =
        same_tokenizer(reward, folder, err) &&
        dataset_read(&data, &settings->data.prompts, &options, err) &&
        examples_encode(&draw.prompts, &data, reward->tokenizer, &reward->layout, &encode, err) &&
        model_load(&model, folder, HEAD_LM, 0, NULL, err);
    if (ok) {
        draw.context = model.config.context < reward->model.config.context
                           ? model.config.context
                           : reward->model.config.context;
        ok = choose_prompts(reward, &draw, wanted, err);
    }
    if (ok) {
        draw.each = (wanted + draw.count - 1) / draw.count;
        log_info(reward->log, "normalization: sampling %zu completions from %s",
                 draw.count * draw.each, folder);
        ok = sample_reference(reward, &model, &draw, err) && keep_samples(reward, &draw, err);
    }
    draw_done(&draw);
    model_done(&model);
    dataset_done(&data);
    return ok || error_wrap(err, "reward.normalize \"reference\"");
}

bool reward_normalize_prepare(Reward *reward, Error *err) {
    RewardSetOptions options = set_options(reward);
    switch (reward_normalization(reward)) {
    case NORMALIZE_NONE:
        return true;
    case NORMALIZE_DEMONSTRATIONS:
        if (reward->config->settings.data.normalize.count > 0 ? !demonstrations(reward, err)
                                                              : !preferred(reward, err)) {
            return false;
        }
        break;
    case NORMALIZE_REFERENCE:
        if (!reference_samples(reward, err)) {
            return false;
        }
        break;
    }
    return reward_set_build(&reward->normalize, &reward->normalize_examples, &options,
                            "normalization data", err);
}

/* Moments over judgments: a text that was written or sampled twice counts twice. */
static void moments(const RewardSet *set, RewardScale *scale) {
    double sum = 0, squares = 0;
    scale->texts = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < set->groups; i++) {
            const RewardGroup *group = &set->group[i];
            for (size_t k = 0; k < group->judgments; k++) {
                double score = (double)set->score[group->score + group->judgment[k].text[0]];
                sum += pass == 0 ? score : 0;
                squares += pass == 0 ? 0 : (score - scale->mean) * (score - scale->mean);
                scale->texts += pass == 0;
            }
        }
        scale->mean = sum / (double)scale->texts;
    }
    scale->deviation = sqrt(squares / (double)scale->texts);
}

bool reward_scale(Reward *reward, const Model *model, RewardScale *scale, Error *err) {
    double bias = (double)model->config.reward_bias;
    *scale = (RewardScale){.gain = 1, .bias = bias};
    if (reward_normalization(reward) == NORMALIZE_NONE) {
        return true;
    }
    if (!reward_score(&reward->pass, model, &reward->normalize, err)) {
        return false;
    }
    moments(&reward->normalize, scale);
    if (reward_normalization(reward) == NORMALIZE_REFERENCE) {
        if (scale->deviation > 0) {
            scale->gain = 1 / scale->deviation;
        } else {
            log_warn(reward->log, "all samples of the reference model have the same score; only "
                                  "the mean is normalized");
        }
    }
    scale->bias = scale->gain * (bias - scale->mean);
    return true;
}

enum { HEAD_PARTS = 2 };
static const Part head_part[HEAD_PARTS] = {PART_SCORE, PART_SCORE_BIAS};

static const Parameter *find_part(const Model *model, Part part) {
    size_t i = family_index(&model->config, part, 0);
    return i == SIZE_MAX ? NULL : &model->parameter[i];
}

/* Multiplies a part of the score head, if the model has it; *kept is what it was. */
static bool scale_part(Model *model, Part part, double gain, float **kept, Error *err) {
    const Parameter *parameter = find_part(model, part);
    if (parameter == NULL) {
        return true;
    }
    float *weight = parameter_data(model, parameter);
    *kept = mem_alloc(parameter->count, sizeof **kept, err);
    if (*kept == NULL) {
        return false;
    }
    memcpy(*kept, weight, parameter->count * sizeof **kept);
    for (size_t i = 0; gain != 1 && i < parameter->count; i++) {
        weight[i] = (float)(gain * (double)weight[i]);
    }
    return true;
}

static void restore_part(Model *model, Part part, float *kept) {
    if (kept != NULL) {
        const Parameter *parameter = find_part(model, part);
        memcpy(parameter_data(model, parameter), kept, parameter->count * sizeof *kept);
        free(kept);
    }
}

bool reward_save_scaled(const Reward *reward, Model *model, const RewardScale *scale,
                        const char *folder, Error *err) {
    float bias = model->config.reward_bias;
    float *kept[HEAD_PARTS] = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < HEAD_PARTS; i++) {
        ok = scale_part(model, head_part[i], scale->gain, &kept[i], err);
    }
    model->config.reward_bias = (float)scale->bias;
    ok = ok && stage_save_model(model, reward->tokenizer, &reward->layout, folder, err);
    model->config.reward_bias = bias;
    for (size_t i = 0; i < HEAD_PARTS; i++) {
        restore_part(model, head_part[i], kept[i]);
    }
    return ok;
}
