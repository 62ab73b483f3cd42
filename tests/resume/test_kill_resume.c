/* SPDX-License-Identifier: MIT
 *
 * Kill -9 at random moments, resume, and compare with the undisturbed run: every file of the run folder
 * (weights, optimizer, metrics, samples, report) must be the same, byte for byte, but for timing.jsonl,
 * run.json (it says whether --resume was given) and the lock.
 * RLHF_TEST_SLOW=1 makes it 67 kills of each run; otherwise a few.
 */
#include "tests/support/support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"

enum { ARGUMENTS = 64 };

static const char *source(const char *name) {
    static char paths[16][1024];
    static int next;
    char *path = paths[next++ % 16];
    const char *root = getenv("RLHF_TEST_SOURCE");
    assert_non_null(root);
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

/* Starts the program; its words go to a file beside. */
static pid_t start(const char *program, const char *const *options, const char *output) {
    char path[1100];
    snprintf(path, sizeof path, "%s/%s/%s", getenv("RLHF_TEST_BUILD"), program + 5, program);
    const char *argv[ARGUMENTS] = {path, "--output", output, "--threads", "1"};
    size_t n = 5;
    for (size_t i = 0; options[i] != NULL; i++) {
        argv[n++] = options[i];
    }
    if (file_exists(test_path(output, "run.json"))) {
        argv[n++] = "--resume";
    }
    CHECK(n < ARGUMENTS);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char words[1100];
        snprintf(words, sizeof words, "%s.log", output);
        if (freopen(words, "a", stderr) == NULL || freopen(words, "a", stdout) == NULL) {
            _exit(126);
        }
        execv(path, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child;
}

static void show_log(const char *output) {
    char words[1100];
    snprintf(words, sizeof words, "%s.log", output);
    Str text = {0};
    Error err = {0};
    if (file_read(words, 1 << 24, &text, &err)) {
        print_message("%s", str_text(&text) + (text.size > 2000 ? text.size - 2000 : 0));
    }
    str_done(&text);
}

static void finish(pid_t child, const char *output) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        show_log(output);
        fail_msg("the run in %s ended with status %d", output, status);
    }
}

static bool skipped(const char *name) {
    return strcmp(name, "timing.jsonl") == 0 || strcmp(name, "run.json") == 0 ||
           strcmp(name, "run.lock") == 0;
}

static void same_tree(const char *a, const char *b) {
    Error err = {0};
    char **names = NULL, **others = NULL;
    size_t n, m;
    assert_ok(file_list(a, &names, &n, &err), &err);
    assert_ok(file_list(b, &others, &m, &err), &err);
    for (size_t i = 0; i < n || i < m; i++) {
        if (i >= n || i >= m || strcmp(names[i], others[i]) != 0) {
            fail_msg("%s and %s hold different files (%s, %s)", a, b, i < n ? names[i] : "-",
                     i < m ? others[i] : "-");
        }
        const char *left = test_path(a, names[i]), *right = test_path(b, names[i]);
        if (file_is_folder(left)) {
            char l[1200], r[1200];
            snprintf(l, sizeof l, "%s", left);
            snprintf(r, sizeof r, "%s", right);
            same_tree(l, r);
        } else if (!skipped(names[i])) {
            Str x = {0}, y = {0};
            assert_ok(file_read(left, 1 << 28, &x, &err), &err);
            assert_ok(file_read(right, 1 << 28, &y, &err), &err);
            if (x.size != y.size || memcmp(str_text(&x), str_text(&y), x.size) != 0) {
                fail_msg("%s differs from the undisturbed run's", right);
            }
            str_done(&x);
            str_done(&y);
        }
    }
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
        free(others[i]);
    }
    free(names);
    free(others);
}

static void sleep_seconds(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

/* Kills at random moments of a run's life, several times in a row, until `kills` have hit. */
static void disturb(const char *program, const char *const *options, uint64_t seed) {
    const char *slow = getenv("RLHF_TEST_SLOW");
    int wanted = slow != NULL && slow[0] == '1' ? 67 : 6, kills = 0;
    const char *folder = test_folder();
    char calm[1100];
    snprintf(calm, sizeof calm, "%s/calm", folder);
    double begin = clock_seconds();
    finish(start(program, options, calm), calm);
    double whole = clock_seconds() - begin;
    Random random = random_stream(seed, RANDOM_TEST, 0, 0);
    uint64_t draw = 0;
    for (int round = 0; kills < wanted; round++) {
        char shaken[1100];
        snprintf(shaken, sizeof shaken, "%s/shaken-%d", folder, round);
        int most = 1 + (int)random_below(&random, draw++, 6);
        for (int i = 0; i < most && kills < wanted; i++) {
            double begun = clock_seconds(), wait = random_uniform(&random, draw++) * whole * 1.1;
            pid_t child = start(program, options, shaken), ended = 0;
            int status = 0;
            while (ended == 0 && clock_seconds() - begun < wait) {
                sleep_seconds(0.001);
                ended = waitpid(child, &status, WNOHANG);
            }
            if (ended == 0) {
                kill(child, SIGKILL);
                ended = waitpid(child, &status, 0);
            } else if (i == 0) { /* the machine is less busy than when the calm run was timed */
                whole = fmin(whole, fmax(clock_seconds() - begun, 0.05));
            }
            assert_int_equal(ended, child);
            kills += WIFSIGNALED(status);
        }
        finish(start(program, options, shaken), shaken);
        same_tree(calm, shaken);
        Error err = {0};
        assert_ok(file_remove_tree(shaken, &err), &err);
    }
    print_message("%s: %d kills in a run of %.2f s, every resumed run equal\n", program, kills,
                  whole);
}

#define TINY                                                                                       \
    "--set", "model.new.layers=1", "--set", "model.new.heads=2", "--set", "model.new.width=16",    \
        "--set", "model.new.context=160", "--set", "tokenizer.vocabulary=300"

static const char *sft_folder(void) {
    static char folder[1100], model[1200];
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/sft", test_folder());
        const char *options[] = {"--data", source("datasets/samples/demonstrations.csv"),
                                 "--set",  "data.limit=200",
                                 "--set",  "train.steps=10",
                                 TINY,     NULL};
        finish(start("rlhf-sft", options, folder), folder);
    }
    snprintf(model, sizeof model, "%s/model", folder);
    return model;
}

static const char *reward_folder(void) {
    static char folder[1100], model[1200];
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/reward", test_folder());
        const char *options[] = {"--data",  source("datasets/samples/rankings.jsonl"),
                                 "--model", sft_folder(),
                                 "--set",   "data.limit=60",
                                 "--set",   "train.steps=5",
                                 NULL};
        finish(start("rlhf-reward", options, folder), folder);
    }
    snprintf(model, sizeof model, "%s/model", folder);
    return model;
}

#define SFT_RUN                                                                                    \
    "--data", source("datasets/samples/demonstrations.csv"), "--set", "data.limit=120", "--set",   \
        "data.validation_share=0.1", "--set", "train.batch=8", "--set", "train.evaluate_every=4",  \
        "--set", "train.ema=0.9", "--set", "checkpoint.every=2", "--set",                          \
        "generation.max_tokens=16"

#define PPO_RUN                                                                                    \
    "--data", source("datasets/samples/prompts.jsonl"), "--model", sft_folder(), "--reward-model", \
        reward_folder(), "--set", "train.batch=8", "--set", "checkpoint.every=1", "--set",         \
        "generation.max_tokens=16", "--set", "ppo.minibatches=2"

static void test_sft(void **state) {
    (void)state;
    const char *options[] = {SFT_RUN, "--set", "train.steps=16", "--set", "train.dropout=0.1",
                             TINY,    NULL};
    disturb("rlhf-sft", options, 1);
}

static void test_reward(void **state) {
    (void)state;
    const char *options[] = {"--data",  source("datasets/samples/rankings.jsonl"),
                             "--model", sft_folder(),
                             "--set",   "data.limit=60",
                             "--set",   "data.validation_share=0.2",
                             "--set",   "train.steps=12",
                             "--set",   "train.batch=4",
                             "--set",   "train.evaluate_every=4",
                             "--set",   "checkpoint.every=2",
                             "--set",   "train.dropout=0.1",
                             NULL};
    disturb("rlhf-reward", options, 2);
}

static void test_ppo(void **state) {
    (void)state;
    char evaluation[1100];
    snprintf(evaluation, sizeof evaluation, "data.evaluation=%s",
             source("datasets/samples/prompts.validation.jsonl"));
    const char *options[] = {
        PPO_RUN, "--set",    "train.steps=6", "--set",           "train.evaluate_every=2",
        "--set", evaluation, "--set",         "ppo.kl_target=3", NULL};
    disturb("rlhf-ppo", options, 3);
}

/* Adapters: checkpoints hold them alone, and an average of them. */
static void test_adapter_sft(void **state) {
    (void)state;
    const char *options[] = {
        SFT_RUN,       "--model", sft_folder(),       "--set", "train.steps=12",  "--set",
        "lora.rank=3", "--set",   "lora.dropout=0.1", "--set", "lora.merge=true", NULL};
    disturb("rlhf-sft", options, 4);
}

static void test_adapter_ppo(void **state) {
    (void)state;
    const char *options[] = {PPO_RUN,       "--set", "train.steps=5",     "--set",
                             "lora.rank=3", "--set", "ppo.critic=policy", NULL};
    disturb("rlhf-ppo", options, 5);
}

/* On a base in blocks of bytes: policy, reference, critic share it; the program asserts the KL of 0. */
static void test_compact_ppo(void **state) {
    (void)state;
    const char *options[] = {PPO_RUN,           "--set", "train.steps=4",     "--set",
                             "lora.rank=3",     "--set", "lora.base=int8",    "--set",
                             "lora.merge=true", "--set", "ppo.critic=policy", NULL};
    disturb("rlhf-ppo", options, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sft),         cmocka_unit_test(test_reward),
        cmocka_unit_test(test_ppo),         cmocka_unit_test(test_adapter_sft),
        cmocka_unit_test(test_adapter_ppo), cmocka_unit_test(test_compact_ppo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
