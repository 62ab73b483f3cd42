/* SPDX-License-Identifier: MIT */
#include "ppo/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { FLOAT_ARRAYS = 9 };

size_t rollout_bytes(size_t groups, size_t per_group, size_t most_tokens) {
    size_t samples = mem_mul(groups, per_group), actions = mem_mul(samples, most_tokens);
    return mem_add(mem_mul(actions, FLOAT_ARRAYS * sizeof(float) + sizeof(int32_t)),
                   mem_mul(samples, 2 * sizeof(double) + sizeof(size_t) + sizeof(char *) +
                                        sizeof(Str) + sizeof(RewardItem) + 1));
}

bool rollout_init(Rollout *rollout, size_t groups, size_t per_group, size_t most_tokens,
                  Error *err) {
    *rollout = (Rollout){0};
    size_t samples = mem_mul(groups, per_group), actions = mem_mul(samples, most_tokens);
    rollout->most_groups = groups;
    rollout->most_samples = samples;
    rollout->most_actions = actions;
    rollout->prompt = mem_alloc(groups, sizeof *rollout->prompt, err);
    rollout->asked = mem_alloc(groups, sizeof *rollout->asked, err);
    rollout->start = mem_alloc(mem_add(samples, 1), sizeof *rollout->start, err);
    rollout->finished = mem_alloc(samples, sizeof *rollout->finished, err);
    rollout->text = mem_alloc(samples, sizeof *rollout->text, err);
    rollout->texts = mem_alloc(samples, sizeof *rollout->texts, err);
    rollout->item = mem_alloc(samples, sizeof *rollout->item, err);
    rollout->raw_score = mem_alloc(samples, sizeof *rollout->raw_score, err);
    rollout->score = mem_alloc(samples, sizeof *rollout->score, err);
    rollout->action = mem_alloc(actions, sizeof *rollout->action, err);
    rollout->slab = mem_alloc(mem_mul(actions, FLOAT_ARRAYS), sizeof(float), err);
    if (rollout->prompt == NULL || rollout->asked == NULL || rollout->start == NULL ||
        rollout->finished == NULL || rollout->text == NULL || rollout->texts == NULL ||
        rollout->item == NULL || rollout->raw_score == NULL || rollout->score == NULL ||
        rollout->action == NULL || rollout->slab == NULL) {
        rollout_done(rollout);
        return false;
    }
    float **array[FLOAT_ARRAYS] = {
        &rollout->sampled, &rollout->old,       &rollout->reference,
        &rollout->entropy, &rollout->value,     &rollout->kl,
        &rollout->reward,  &rollout->advantage, &rollout->returns,
    };
    for (size_t i = 0; i < FLOAT_ARRAYS; i++) {
        *array[i] = rollout->slab + i * actions;
    }
    return true;
}

void rollout_done(Rollout *rollout) {
    for (size_t s = 0; rollout->texts != NULL && s < rollout->most_samples; s++) {
        str_done(&rollout->texts[s]);
    }
    free(rollout->prompt);
    free(rollout->asked);
    free(rollout->start);
    free(rollout->finished);
    free(rollout->text);
    free(rollout->texts);
    free(rollout->item);
    free(rollout->raw_score);
    free(rollout->score);
    free(rollout->action);
    free(rollout->slab);
    *rollout = (Rollout){0};
}

bool rollout_sample(Rollout *rollout, Generator *generator, const Model *model,
                    const RolloutPrompt *const *prompt, size_t n, size_t per_group,
                    const Sampling *sampling, int32_t eos, Error *err) {
    size_t samples = n * per_group;
    CHECK(n <= rollout->most_groups && samples <= rollout->most_samples);
    for (size_t i = 0; i < n; i++) {
        rollout->prompt[i] = prompt[i];
        rollout->asked[i] =
            (Prompt){.id = prompt[i]->id, .count = prompt[i]->count, .record = prompt[i]->key};
    }
    Sampling how = *sampling;
    how.stop = eos >= 0 ? &eos : NULL;
    how.stops = eos >= 0 ? 1 : 0;
    const Completion *completion =
        generate(generator, model, rollout->asked, n, per_group, &how, NULL, err);
    if (completion == NULL) {
        return false;
    }
    rollout->groups = n;
    rollout->per_group = per_group;
    rollout->samples = samples;
    size_t at = 0;
    for (size_t s = 0; s < samples; s++) {
        size_t count = completion[s].count;
        CHECK(count > 0 && at + count <= rollout->most_actions);
        rollout->start[s] = at;
        memcpy(rollout->action + at, completion[s].id, count * sizeof(int32_t));
        memcpy(rollout->sampled + at, completion[s].logprob, count * sizeof(float));
        memcpy(rollout->entropy + at, completion[s].entropy, count * sizeof(float));
        rollout->text[s] = NULL;
        at += count;
        rollout->finished[s] = completion[s].finish == FINISH_EOS;
    }
    rollout->start[samples] = at;
    rollout->actions = at;
    return true;
}

bool rollout_decode(Rollout *rollout, const Tokenizer *tokenizer, Error *err) {
    for (size_t s = 0; s < rollout->samples; s++) {
        Str *text = &rollout->texts[s];
        size_t from = rollout->start[s];
        size_t count = rollout->start[s + 1] - from - rollout->finished[s];
        str_clear(text);
        if (!tokenizer_decode(tokenizer, rollout->action + from, count, true, true, text, err) ||
            !str_ok(text, err)) {
            return false;
        }
        rollout->text[s] = str_text(text);
    }
    return true;
}

bool rollout_score(Rollout *rollout, RewardSource *source, double *score, Error *err) {
    for (size_t s = 0; s < rollout->samples; s++) {
        const RolloutPrompt *prompt = rollout->prompt[s / rollout->per_group];
        rollout->item[s] = (RewardItem){
            .message = prompt->message,
            .messages = prompt->messages,
            .prompt = prompt->id,
            .prompt_count = prompt->count,
            .completion = rollout->action + rollout->start[s],
            .completion_count = rollout->start[s + 1] - rollout->start[s],
            .text = rollout->text[s],
            .finished = rollout->finished[s],
            .group = s / rollout->per_group,
        };
    }
    return reward_score(source, rollout->item, rollout->samples, score, err);
}

bool pack_init(Pack *pack, size_t rows, Error *err) {
    *pack = (Pack){.rows = rows};
    pack->action = mem_alloc(rows, sizeof *pack->action, err);
    pack->id = mem_alloc(rows, sizeof *pack->id, err);
    pack->target = mem_alloc(rows, sizeof *pack->target, err);
    if (pack->action == NULL || pack->id == NULL || pack->target == NULL ||
        !batch_init(&pack->batch, rows, rows, err)) {
        pack_done(pack);
        return false;
    }
    return true;
}

void pack_done(Pack *pack) {
    batch_done(&pack->batch);
    free(pack->action);
    free(pack->id);
    free(pack->target);
    *pack = (Pack){0};
}

/* Rows [skip, prompt + completion - 1) of a completion's sequence. */
static bool add_completion(Pack *pack, const Rollout *rollout, size_t s, size_t skip,
                           int32_t prefix, Error *err) {
    const RolloutPrompt *prompt = rollout->prompt[s / rollout->per_group];
    size_t from = rollout->start[s], T = rollout->start[s + 1] - from;
    size_t head = prompt->count - skip, n = head + T - 1, row = pack->batch.tokens;
    for (size_t t = 0; t < n; t++) {
        bool acts = t + 1 >= head;
        size_t action = from + t + 1 - head;
        pack->id[t] = t < head ? prompt->id[skip + t] : rollout->action[from + t - head];
        pack->target[t] = acts ? rollout->action[action] : BATCH_NO_TARGET;
        pack->action[row + t] = acts ? action : PACK_NO_ACTION;
    }
    return batch_add(&pack->batch, pack->id, pack->target, n, prefix, random_mix(prompt->key, s),
                     NULL, err);
}

static size_t sample_at(const size_t *order, size_t i) {
    return order == NULL ? i : order[i];
}

/* Rows that sample number i of the order adds behind number i - 1 of the same pack. */
static size_t rows_after(const Rollout *rollout, const size_t *order, size_t i, bool first) {
    size_t s = sample_at(order, i), g = s / rollout->per_group;
    size_t T = rollout->start[s + 1] - rollout->start[s], P = rollout->prompt[g]->count;
    bool follows = !first && P > 1 && g == sample_at(order, i - 1) / rollout->per_group;
    return follows ? T : P + T - 1;
}

/* Rows of a pack when the samples from `next` are shared evenly among as few packs as hold them. */
static size_t even_share(const Pack *pack, const Rollout *rollout, const size_t *order, size_t n,
                         size_t next) {
    size_t rows = 0;
    for (size_t i = next; i < n; i++) {
        rows += rows_after(rollout, order, i, i == next);
    }
    size_t packs = (rows + pack->rows - 1) / pack->rows;
    return (rows + packs - 1) / packs;
}

/* Adds sample s; *prefix is the sequence of its prompt if the one before it shares that. */
static bool add_sample(Pack *pack, const Rollout *rollout, size_t s, bool follows, size_t *prefix,
                       Error *err) {
    const RolloutPrompt *prompt = rollout->prompt[s / rollout->per_group];
    bool shared = rollout->per_group > 1 && prompt->count > 1;
    if (shared && !follows) {
        size_t row = pack->batch.tokens;
        for (size_t t = 0; t + 1 < prompt->count; t++) {
            pack->action[row + t] = PACK_NO_ACTION;
        }
        if (!batch_add(&pack->batch, prompt->id, NULL, prompt->count - 1, BATCH_NO_PREFIX,
                       prompt->key, prefix, err)) {
            return false;
        }
    }
    return add_completion(pack, rollout, s, shared ? prompt->count - 1 : 0,
                          shared ? (int32_t)*prefix : BATCH_NO_PREFIX, err);
}

bool pack_fill(Pack *pack, const Rollout *rollout, const size_t *order, size_t n, size_t *next,
               Error *err) {
    batch_clear(&pack->batch);
    pack->batch.only_targets = true;
    size_t share = *next < n ? even_share(pack, rollout, order, n, *next) : 0;
    size_t group = SIZE_MAX, prefix = 0;
    for (; *next < n; *next += 1) {
        size_t s = sample_at(order, *next), g = s / rollout->per_group;
        size_t rows = pack->batch.tokens;
        if (rows + rows_after(rollout, order, *next, rows == 0) > pack->rows ||
            (rows >= share && g != group)) {
            CHECK(rows > 0);
            break;
        }
        if (!add_sample(pack, rollout, s, g == group, &prefix, err)) {
            return false;
        }
        group = g;
    }
    return true;
}
