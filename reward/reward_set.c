/* SPDX-License-Identifier: MIT
 *
 * Examples to prompts, groups and judgments.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "reward/reward.h"

/* One usable record of the prompt at hand; equal signatures saw the same set of texts. */
typedef struct Draft {
    const Example *example;
    size_t pairs;
    uint64_t signature;
} Draft;

typedef struct Builder {
    RewardSet *set;
    const RewardSetOptions *options;
    Draft *draft; /* [examples] */
    size_t drafts, usable;
    uint64_t *hash;                          /* [most completions of a record] */
    size_t text_capacity, judgment_capacity; /* of the group under construction */
} Builder;

static uint64_t tokens_hash(const Tokens *tokens) {
    return hash_bytes(tokens->id, tokens->count * sizeof *tokens->id);
}

static bool tokens_equal(const Tokens *a, const Tokens *b) {
    return a->count == b->count && memcmp(a->id, b->id, a->count * sizeof *a->id) == 0;
}

static bool has_prompt(const Example *example) {
    const Record *record = example->record;
    for (size_t i = 0; record != NULL && i < record->messages; i++) {
        if (record->message[i].text[0] != '\0') {
            return true;
        }
    }
    return record == NULL;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int compare_examples(const void *a, const void *b) {
    const Example *x = *(const Example *const *)a, *y = *(const Example *const *)b;
    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    return (x > y) - (x < y); /* places in one array: as in the file */
}

static int compare_drafts(const void *a, const void *b) {
    const Draft *x = a, *y = b;
    if (x->signature != y->signature) {
        return x->signature < y->signature ? -1 : 1;
    }
    return (x->example > y->example) - (x->example < y->example);
}

static size_t record_pairs(const Example *example) {
    const Record *record = example->record;
    return record == NULL || record->kind != RECORD_RANKING
               ? 1
               : preference_pairs(record->rank, record->completions);
}

static void add_draft(Builder *builder, const Example *example) {
    RewardCounts *counts = &builder->set->counts;
    size_t pairs = record_pairs(example);
    counts->records++;
    counts->tied += pairs == 0;
    if (pairs == 0 && !builder->options->keep_tied) {
        return;
    }
    for (size_t i = 0; i < example->completions; i++) {
        builder->hash[i] = tokens_hash(&example->completion[i]);
    }
    qsort(builder->hash, example->completions, sizeof *builder->hash, compare_u64);
    builder->draft[builder->drafts++] = (Draft){
        example, pairs, hash_bytes(builder->hash, example->completions * sizeof *builder->hash)};
    builder->usable += pairs > 0;
}

/* Index of a completion among the group's texts; group->texts if it is not there yet. */
static size_t find_text(const RewardGroup *group, const Tokens *completion, uint64_t key) {
    for (size_t i = 0; i < group->texts; i++) {
        if (group->text[i].key == key && tokens_equal(group->text[i].completion, completion)) {
            return i;
        }
    }
    return group->texts;
}

static uint64_t text_key(const RewardGroup *group, const Tokens *completion) {
    return random_mix(group->key, tokens_hash(completion));
}

/* Rows of the prompt before each completion: all of it, or behind a prefix its last one. */
static size_t rows_before(const RewardGroup *group) {
    return group->apart ? group->prompt->count : 1;
}

static size_t group_rows(const RewardGroup *group) {
    size_t prompt = group->prompt->count;
    if (group->texts == 1) {
        const Tokens *completion = group->text[0].completion;
        return prompt + (completion == NULL ? 0 : completion->count);
    }
    size_t rows = group->apart ? 0 : prompt - 1;
    for (size_t i = 0; i < group->texts; i++) {
        rows += rows_before(group) + group->text[i].completion->count;
    }
    return rows;
}

static bool add_text(Builder *builder, RewardGroup *group, const Tokens *completion, uint64_t key,
                     Error *err) {
    if (!mem_reserve(&group->text, &builder->text_capacity, group->texts + 1, sizeof *group->text,
                     err)) {
        return false;
    }
    group->text[group->texts++] = (RewardText){completion, key};
    return true;
}

static bool add_judgment(Builder *builder, RewardGroup *group, const Draft *draft, size_t screen,
                         Error *err) {
    const Example *example = draft->example;
    size_t texts = example->completions == 0 ? 1 : example->completions;
    if (!mem_reserve(&group->judgment, &builder->judgment_capacity, group->judgments + 1,
                     sizeof *group->judgment, err)) {
        return false;
    }
    uint32_t *index = mem_alloc(texts, sizeof *index, err);
    if (index == NULL) {
        return false;
    }
    group->judgment[group->judgments++] = (RewardJudgment){
        .example = example,
        .text = index,
        .texts = texts,
        .pairs = draft->pairs,
        .weight = draft->pairs == 0 ? 0 : 1 / (double)builder->usable,
        .screen = screen,
    };
    if (example->completions == 0) {
        return add_text(builder, group, NULL, group->key, err);
    }
    for (size_t i = 0; i < texts; i++) {
        const Tokens *completion = &example->completion[i];
        uint64_t key = text_key(group, completion);
        index[i] = (uint32_t)find_text(group, completion, key);
        if (index[i] == group->texts && !add_text(builder, group, completion, key, err)) {
            return false;
        }
    }
    return true;
}

/* Rows that a record's texts would add to the group. */
static size_t new_rows(const RewardGroup *group, const Example *example) {
    size_t rows = 0;
    for (size_t i = 0; i < example->completions; i++) {
        const Tokens *completion = &example->completion[i];
        if (find_text(group, completion, text_key(group, completion)) == group->texts) {
            rows += rows_before(group) + completion->count;
        }
    }
    return rows;
}

static void end_group(Builder *builder, RewardGroup *group) {
    RewardSet *set = builder->set;
    group->rows = group_rows(group);
    group->score = set->texts;
    set->texts += group->texts;
    set->most_rows = group->rows > set->most_rows ? group->rows : set->most_rows;
    set->most_texts = group->texts > set->most_texts ? group->texts : set->most_texts;
    for (size_t i = 0; i < group->judgments;
         i++) { /* more than the group's if a record repeats one */
        size_t texts = group->judgment[i].texts;
        set->most_texts = texts > set->most_texts ? texts : set->most_texts;
    }
    set->counts.rows += group->rows;
}

static RewardGroup *begin_group(Builder *builder, const Example *example) {
    RewardSet *set = builder->set;
    builder->text_capacity = builder->judgment_capacity = 0;
    RewardGroup *group = &set->group[set->groups++];
    *group = (RewardGroup){.prompt = &example->prompt,
                           .apart = builder->options->apart,
                           .key = builder->options->by_prompt ? example->group : example->key};
    return group;
}

/* Turns the drafts of one prompt into an item of one or more groups. */
static bool end_item(Builder *builder, Error *err) {
    RewardSet *set = builder->set;
    if (builder->usable == 0) {
        return true;
    }
    qsort(builder->draft, builder->drafts, sizeof *builder->draft, compare_drafts);
    RewardItem *item = &set->item[set->items++];
    *item = (RewardItem){.group = set->groups};
    RewardGroup *group = NULL;
    size_t raters = 0;
    for (size_t i = 0; i < builder->drafts; i++) {
        const Draft *draft = &builder->draft[i];
        bool fresh = i == 0 || draft->signature != builder->draft[i - 1].signature;
        raters = fresh ? 1 : raters + 1;
        set->counts.screens += fresh;
        set->counts.raters = raters > set->counts.raters ? raters : set->counts.raters;
        set->counts.pairs += draft->pairs;
        if (group != NULL && fresh &&
            group_rows(group) + new_rows(group, draft->example) > builder->options->rows) {
            end_group(builder, group);
            group = NULL;
        }
        if (group == NULL) {
            group = begin_group(builder, draft->example);
        }
        if (!add_judgment(builder, group, draft, set->counts.screens, err)) {
            return false;
        }
    }
    end_group(builder, group);
    item->groups = set->groups - item->group;
    set->counts.prompts++;
    return true;
}

static bool build(Builder *builder, const Example **order, size_t examples, Error *err) {
    for (size_t i = 0; i < examples; i++) {
        const Example *example = order[i];
        bool same = i > 0 && builder->options->by_prompt && has_prompt(example) &&
                    order[i - 1]->group == example->group &&
                    tokens_equal(&order[i - 1]->prompt, &example->prompt);
        if (!same) {
            if (i > 0 && !end_item(builder, err)) {
                return false;
            }
            builder->drafts = builder->usable = 0;
        }
        add_draft(builder, example);
    }
    return examples == 0 || end_item(builder, err);
}

bool reward_set_build(RewardSet *set, const ExampleSet *examples, const RewardSetOptions *options,
                      const char *what, Error *err) {
    size_t n = examples->examples, most = 0;
    *set = (RewardSet){0};
    for (size_t i = 0; i < n; i++) {
        size_t completions = examples->example[i].completions;
        most = completions > most ? completions : most;
    }
    Builder builder = {.set = set, .options = options};
    const Example **order = mem_alloc(n, sizeof *order, err);
    builder.draft = mem_alloc(n, sizeof *builder.draft, err);
    builder.hash = mem_alloc(most, sizeof *builder.hash, err);
    set->group = mem_alloc(n, sizeof *set->group, err);
    set->item = mem_alloc(n, sizeof *set->item, err);
    bool ok = order != NULL && builder.draft != NULL && builder.hash != NULL &&
              set->group != NULL && set->item != NULL;
    if (ok) {
        for (size_t i = 0; i < n; i++) {
            order[i] = &examples->example[i];
        }
        if (options->by_prompt) {
            qsort(order, n, sizeof *order, compare_examples);
        }
        ok = build(&builder, order, n, err);
    }
    free(order);
    free(builder.draft);
    free(builder.hash);
    if (ok && set->items == 0 && what != NULL) {
        ok = error_set(err, ERROR_DATA,
                       "the %s holds %zu records, none of which prefers one completion to another; "
                       "check the column of ranks",
                       what, set->counts.records);
    }
    if (ok) {
        set->counts.texts = set->texts;
        set->score = mem_alloc_aligned(mem_mul(set->texts, options->labels), sizeof(float), err);
        ok = set->score != NULL;
    }
    if (!ok) {
        reward_set_done(set);
    }
    return ok;
}

void reward_set_done(RewardSet *set) {
    for (size_t i = 0; i < set->groups; i++) {
        RewardGroup *group = &set->group[i];
        for (size_t j = 0; j < group->judgments; j++) {
            free(group->judgment[j].text);
        }
        free(group->judgment);
        free(group->text);
    }
    free(set->group);
    free(set->item);
    free(set->score);
    *set = (RewardSet){0};
}

void reward_set_describe(const RewardSet *set, Str *out) {
    const RewardCounts *counts = &set->counts;
    str_appendf(out,
                "%zu records (%zu without a preference) on %zu prompts: %zu distinct completions, "
                "%zu strict pairs, at most %zu raters of the same completions",
                counts->records, counts->tied, counts->prompts, counts->texts, counts->pairs,
                counts->raters);
}
