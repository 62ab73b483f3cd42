/* SPDX-License-Identifier: MIT
 *
 * A small world for the reward stage: prompts that name a color and an animal, and rankings of what is
 * said about them. Runs of the stage are prepared from command lines, as the program does.
 */
#ifndef RLHF_TESTS_REWARD_FIXTURE_H
#define RLHF_TESTS_REWARD_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "reward/reward.h"
#include "tests/support/support.h"

static const char *const colors[] = {"red", "blue", "green", "white"};
static const char *const animals[] = {"fox", "owl"};

/* Eight prompts with four completions each that differ by their last word; the order in the record
 * rotates. `raters` records a prompt, all of one mind. */
static inline const char *write_rankings(const char *folder, int raters) {
    static const char *const last[4] = {"Enjoy", "Well", "So", "No"};
    static const int rank[4] = {1, 2, 2, 3};
    Str text = {0};
    for (int p = 0; p < 8; p++) {
        const char *color = colors[p % 4], *animal = animals[p / 4];
        for (int r = 0; r < raters; r++) {
            str_appendf(&text, "{\"prompt\":\"color[%s], animal[%s]\",\"completions\":[", color,
                        animal);
            for (int i = 0; i < 4; i++) {
                str_appendf(&text, "%s\"A %s %s. %s\"", i == 0 ? "" : ",", color, animal,
                            last[(i + p + r) % 4]);
            }
            str_append(&text, "],\"ranks\":[");
            for (int i = 0; i < 4; i++) {
                str_appendf(&text, "%s%d", i == 0 ? "" : ",", rank[(i + p + r) % 4]);
            }
            str_appendf(&text, "],\"annotator\":\"r%d\"}\n", r);
        }
    }
    const char *path = test_file(folder, "rankings.jsonl", text.data, text.size);
    str_done(&text);
    return path;
}

static const char *const small[] = {
    "model.new.layers=2",    "model.new.heads=2",        "model.new.width=32",
    "model.new.context=64",  "model.new.dropout=0",      "tokenizer.vocabulary=300",
    "train.micro_tokens=96", "train.learning_rate=0.01", "train.schedule=constant",
    "train.batch=4",         "checkpoint.every=3",       NULL};

typedef struct World {
    RewardConfig config;
    OptionOrigins *origins;
    Log log;
    Reward reward;
} World;

/* Prepares and allocates a run over `data` with the small model and further settings. */
static inline void world_open(World *world, const char *data, const char *const *more) {
    Error err = {0};
    const char *argv[64] = {"rlhf-reward", "--data", data, "--quiet"};
    int argc = 4;
    for (int list = 0; list < 2; list++) {
        for (const char *const *set = list == 0 ? small : more; set != NULL && *set != NULL;
             set++) {
            argv[argc++] = "--set";
            argv[argc++] = *set;
        }
    }
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action;
    *world = (World){0};
    parallel_init(1);
    assert_ok(options_parse(&reward_program, argc, (char **)(uintptr_t)argv, &world->config,
                            &world->origins, &operand, &operands, &action, &err),
              &err);
    log_init(&world->log, LOG_QUIET);
    assert_ok(reward_prepare(&world->reward, &world->config, &world->log, &err), &err);
    assert_ok(reward_allocate(&world->reward, &err), &err);
}

static inline void world_close(World *world) {
    reward_done(&world->reward);
    options_done(&reward_program, &world->config, world->origins);
}

static inline void world_train(World *world, int64_t from, int64_t to) {
    Error err = {0};
    for (int64_t i = from; i < to; i++) {
        Metrics metrics = {0}, timing = {0};
        bool finished = false;
        assert_ok(reward_stage.step(&world->reward, i, &metrics, &timing, &finished, &err), &err);
    }
}

/* Reads and encodes another file with the run's tokenizer. */
typedef struct Other {
    DataSet data;
    ExampleSet examples;
    RewardSet set;
} Other;

static inline void other_open(Other *other, const Reward *reward, const char *path,
                              const RewardSetOptions *options) {
    Error err = {0};
    char *item = (char *)(uintptr_t)path;
    StringList list = {&item, 1};
    DataOptions data = stage_data_options(&reward->config->settings, ~0u);
    EncodeOptions encode = reward_encode_options(reward);
    *other = (Other){0};
    assert_ok(dataset_read(&other->data, &list, &data, &err), &err);
    assert_ok(examples_encode(&other->examples, &other->data, reward->tokenizer, &reward->layout,
                              &encode, &err),
              &err);
    assert_ok(reward_set_build(&other->set, &other->examples, options, "test data", &err), &err);
}

static inline void other_close(Other *other) {
    reward_set_done(&other->set);
    examples_done(&other->examples);
    dataset_done(&other->data);
}

static inline size_t in_order(const void *context, size_t i) {
    (void)context;
    return i;
}

#endif
