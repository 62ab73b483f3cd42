/* SPDX-License-Identifier: MIT */
#include "ppo/reward_pass.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/model/adapter_io.h"
#include "common/model/family.h"

static bool open_text(RewardPass *pass, const RewardContext *context, Error *err) {
    bool encoder = family_is_encoder(&pass->model.config);
    pass->tokenizer = tokenizer_load(pass->folder, err);
    if (pass->tokenizer == NULL) {
        return false;
    }
    if (!encoder && tokenizer_fingerprint(pass->tokenizer) == context->fingerprint) {
        tokenizer_free(pass->tokenizer);
        pass->tokenizer = NULL;
        pass->eos = context->eos;
        return true;
    }
    return layout_open(&pass->layout, NULL, pass->folder, err) &&
           layout_frame(&pass->layout, pass->tokenizer, encoder, err) &&
           layout_eos(&pass->layout, pass->tokenizer, &pass->eos, err);
}

/* Room for micro-batches of the budget, and for the longest item. */
static void choose_rows(RewardPass *pass, const RewardContext *context) {
    const ModelConfig *config = &pass->model.config;
    size_t longest = pass->tokenizer != NULL || context->most_tokens > config->context
                         ? config->context
                         : context->most_tokens;
    pass->rows = context->pass.tokens > longest ? context->pass.tokens : longest;
    pass->plan = context->pass;
    pass->plan.tokens = pass->plan.sequences = pass->rows;
}

bool reward_pass_open(RewardPass *pass, const char *folder, size_t labels,
                      const RewardContext *context, Error *err) {
    *pass = (RewardPass){.eos = -1};
    bool fresh = false;
    pass->folder = mem_strdup(folder, err);
    bool ok = pass->folder != NULL &&
              model_load_beside(&pass->model, context->near, folder, labels == 1 ? HEAD_SCORES : -1,
                                labels, &fresh, err);
    if (ok && (fresh || pass->model.config.labels == 0)) {
        ok = error_set(err, ERROR_DATA,
                       "%s has no score head, expected a sequence-classification model such as "
                       "rlhf-reward writes",
                       folder);
    }
    ok = ok && open_text(pass, context, err);
    if (!ok) {
        reward_pass_close(pass);
        return false;
    }
    choose_rows(pass, context);
    return true;
}

bool reward_pass_take(RewardPass *pass, Model *model, const RewardContext *context, Error *err) {
    CHECK(model->config.head == HEAD_SCORES);
    *pass = (RewardPass){.model = *model, .eos = context->eos};
    *model = (Model){0};
    pass->folder = mem_strdup("in memory", err);
    choose_rows(pass, context);
    return pass->folder != NULL;
}

void reward_pass_close(RewardPass *pass) {
    workspace_free(pass->workspace);
    model_done(&pass->model);
    tokenizer_free(pass->tokenizer);
    layout_done(&pass->layout);
    batch_done(&pass->batch);
    tokens_done(&pass->prompt);
    tokens_done(&pass->completion);
    free(pass->score);
    free(pass->row);
    free(pass->folder);
    *pass = (RewardPass){0};
}

size_t reward_pass_weights(const RewardPass *pass) {
    return model_bytes(&pass->model);
}

size_t reward_pass_work(const RewardPass *pass) {
    return workspace_bytes(&pass->model.config, &pass->plan);
}

size_t reward_pass_longest(const RewardPass *pass) {
    return pass->tokenizer == NULL ? pass->model.config.context - 1 : 0;
}

static bool reserve(Tokens *tokens, size_t count, Error *err) {
    return mem_reserve(&tokens->id, &tokens->capacity, count, sizeof *tokens->id, err);
}

bool reward_pass_prepare(RewardPass *pass, Error *err) {
    if (pass->workspace != NULL) {
        return true;
    }
    size_t longest = pass->model.config.context + 1;
    pass->score = mem_alloc(mem_mul(pass->rows, pass->model.config.labels), sizeof(float), err);
    pass->row = mem_alloc(pass->rows, sizeof *pass->row, err);
    pass->items = pass->rows;
    if (pass->score == NULL || pass->row == NULL || !reserve(&pass->prompt, longest, err) ||
        !reserve(&pass->completion, longest, err) ||
        !batch_init(&pass->batch, pass->rows, pass->rows, err)) {
        return false;
    }
    pass->workspace = workspace_create(&pass->model.config, &pass->plan, err);
    return pass->workspace != NULL;
}

/* Prompt and completion in the model's ids, the completion ending in EOS. */
static bool encode(RewardPass *pass, const RewardItem *item, Error *err) {
    pass->prompt.count = pass->completion.count = 0;
    if (pass->tokenizer == NULL) {
        /* Whatever ended it, it is read with the model's EOS. */
        bool replaced = item->finished && pass->eos >= 0;
        size_t said = item->completion_count - replaced;
        if (!tokens_append(&pass->prompt, item->prompt, item->prompt_count, err) ||
            !tokens_append(&pass->completion, item->completion, said, err) ||
            (pass->eos >= 0 && !tokens_push(&pass->completion, pass->eos, err))) {
            return false;
        }
    } else {
        if (item->text == NULL || item->message == NULL) {
            return error_set(err, ERROR_INTERNAL, "%s reads text, but there is none", pass->folder);
        }
        if (!layout_prompt(&pass->layout, pass->tokenizer, item->message, item->messages,
                           &pass->prompt, err) ||
            !layout_completion(&pass->layout, pass->tokenizer, item->text, strlen(item->text), true,
                               &pass->completion, err)) {
            return false;
        }
    }
    size_t n = pass->prompt.count + pass->completion.count;
    if (n > pass->model.config.context) {
        return error_set(
            err, ERROR_DATA,
            "prompt and completion have %zu tokens for the reward model %s, which reads "
            "at most %zu; lower generation.max_tokens, or leave out the longest prompts "
            "with data.max_tokens",
            n, pass->folder, pass->model.config.context);
    }
    return true;
}

/* Runs the batch and hands out the numbers of the items in it. */
static void flush(RewardPass *pass, size_t items, float *out) {
    size_t labels = pass->model.config.labels;
    PerToken values = {.score = pass->score};
    model_forward(&pass->model, pass->workspace, &pass->batch, &values);
    float bias = labels == 1 ? pass->model.config.reward_bias : 0;
    for (size_t i = 0; i < items; i++) {
        for (size_t j = 0; j < labels; j++) {
            out[i * labels + j] = pass->score[pass->row[i] * labels + j] + bias;
        }
    }
    batch_clear(&pass->batch);
}

bool reward_pass_run(RewardPass *pass, const RewardItem *item, size_t n, float *out, Error *err) {
    if (!reward_pass_prepare(pass, err)) {
        return false;
    }
    const ModelConfig *config = &pass->model.config;
    size_t labels = config->labels;
    size_t waiting = 0, prefix = 0, s;
    batch_clear(&pass->batch);
    pass->batch.only_targets = true;
    for (size_t i = 0; i < n; i++) {
        if (!encode(pass, &item[i], err)) {
            return false;
        }
        size_t P = pass->prompt.count, T = pass->completion.count;
        bool follows = waiting > 0 && item[i - 1].group == item[i].group;
        bool shared = P > 1 && !family_is_encoder(config) &&
                      (follows || (i + 1 < n && item[i + 1].group == item[i].group));
        size_t need = shared && follows ? 1 + T : P + T;
        if (pass->batch.tokens + need > pass->rows) {
            flush(pass, waiting, out + (i - waiting) * labels);
            waiting = 0;
            follows = false;
        }
        const int32_t *id = pass->prompt.id;
        if (shared && !follows &&
            !batch_add(&pass->batch, id, NULL, P - 1, BATCH_NO_PREFIX, 0, &prefix, err)) {
            return false;
        }
        size_t skip = shared ? P - 1 : 0;
        if (!tokens_append(&pass->prompt, pass->completion.id, T, err) ||
            !batch_add(&pass->batch, pass->prompt.id + skip, NULL, P + T - skip,
                       shared ? (int32_t)prefix : BATCH_NO_PREFIX, 0, &s, err)) {
            return false;
        }
        if (config->segments > 1) {
            batch_set_segments(&pass->batch, s, P);
        }
        size_t row = family_score_row(config, pass->batch.start[s], pass->batch.start[s + 1]);
        pass->row[waiting++] = row;
        pass->batch.target[row] = 0; /* any: the row that is read */
    }
    if (waiting > 0) {
        flush(pass, waiting, out + (n - waiting) * labels);
    }
    return true;
}
