/* SPDX-License-Identifier: MIT
 *
 * T39: the peak of memory that --dry-run predicts is not below what the run then takes, and at most a
 * twentieth above it; for the three programs, with a model somewhat larger than the demo's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/support.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { ARGUMENTS = 64 };

static const char *source(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", getenv("RLHF_TEST_SOURCE"), name);
    return path;
}

/* "  predicted peak    114.7 MiB": MiB. */
static double predicted(const char *const *argv) {
    const char *all[ARGUMENTS + 1];
    size_t n = 0;
    for (; argv[n] != NULL; n++) {
        all[n] = argv[n];
    }
    all[n++] = "--dry-run";
    all[n] = NULL;
    TestRun run;
    test_run(&run, all);
    if (run.status != 0) {
        fail_msg("--dry-run ended with %d: %s", run.status, str_text(&run.err));
    }
    const char *line = strstr(str_text(&run.out), "predicted peak");
    assert_non_null(line);
    char unit[8] = "";
    double value = 0;
    assert_int_equal(sscanf(line, "predicted peak %lf %7s", &value, unit), 2);
    assert_string_equal(unit, "MiB");
    test_run_done(&run);
    return value;
}

/* Peak resident MiB of a run. */
static double actual(const char *const *argv) {
    char program[1100];
    snprintf(program, sizeof program, "%s/%s/%s", getenv("RLHF_TEST_BUILD"), argv[0] + 5, argv[0]);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL) {
            _exit(126);
        }
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return (double)usage.ru_maxrss / 1024;
}

static void check(const char *const *argv) {
    double before = predicted(argv), after = actual(argv);
    print_message("%s: predicted %.1f MiB, taken %.1f MiB\n", argv[0], before, after);
    assert_true(before >= after && before <= 1.05 * after);
}

static void test_memory(void **state) {
    (void)state;
#ifdef SANITIZED
    print_message("skipped: a sanitizer's own memory is not in the plan\n");
    skip();
#endif
    unsetenv("MALLOC_PERTURB_"); /* it touches memory that programs only reserve */
    if (getenv("RLHF_TEST_VALGRIND") != NULL) {
        print_message("skipped: valgrind's own memory is not in the plan\n");
        skip();
    }
    const char *folder = test_folder();
    char sft[700], reward[700], ppo[700], model[720], scorer[720], evaluation[1100];
    snprintf(sft, sizeof sft, "%s/sft", folder);
    snprintf(reward, sizeof reward, "%s/reward", folder);
    snprintf(ppo, sizeof ppo, "%s/ppo", folder);
    snprintf(model, sizeof model, "%s/model", sft);
    snprintf(scorer, sizeof scorer, "%s/model", reward);
    snprintf(evaluation, sizeof evaluation, "data.evaluation=%s",
             source("datasets/samples/prompts.validation.jsonl"));
    check((const char *const[]){"rlhf-sft",  "--quiet",
                                "--threads", "1",
                                "--output",  sft,
                                "--data",    source("datasets/samples/demonstrations.csv"),
                                "--set",     "data.validation_share=0.05",
                                "--set",     "tokenizer.vocabulary=600",
                                "--set",     "model.new.layers=4",
                                "--set",     "model.new.heads=4",
                                "--set",     "model.new.width=256",
                                "--set",     "model.new.context=160",
                                "--set",     "train.steps=4",
                                "--set",     "train.evaluate_every=2",
                                "--set",     "train.ema=0.9",
                                NULL});
    check((const char *const[]){
        "rlhf-reward", "--quiet", "--threads", "1", "--output", reward, "--model", model, "--data",
        source("datasets/samples/rankings.jsonl"), "--set", "data.validation_share=0.05", "--set",
        "data.limit=200", "--set", "train.batch=16", "--set", "train.steps=2", NULL});
    check((const char *const[]){"rlhf-ppo",
                                "--quiet",
                                "--threads",
                                "1",
                                "--output",
                                ppo,
                                "--model",
                                model,
                                "--reward-model",
                                scorer,
                                "--data",
                                source("datasets/samples/prompts.jsonl"),
                                "--set",
                                evaluation,
                                "--set",
                                "train.steps=2",
                                "--set",
                                "train.batch=32",
                                "--set",
                                "train.evaluate_every=1",
                                "--set",
                                "generation.max_tokens=48",
                                "--set",
                                "ppo.evaluation_prompts=20",
                                NULL});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
