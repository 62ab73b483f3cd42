/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/signals.h"
#include "common/train/checkpoint.h"
#include "common/train/trainer.h"
#include "tests/support/support.h"
#include "tests/train/fault.h"
#include "tests/train/tree.h"

/* A stage whose weights are one number, and whose evaluation goes up and down. */
typedef struct Toy {
    double x;
    int64_t samples;
    int64_t raise_at; /* step in which a signal arrives, -1: never */
    int raise_number;
    int64_t diverge_at, finish_at;
    int loads;
} Toy;

static const int64_t never = -1;

static bool toy_step(void *context, int64_t step, Metrics *metrics, Metrics *timing, bool *finished,
                     Error *err) {
    (void)err;
    Toy *toy = context;
    toy->x = 0.75 * toy->x + sin((double)step);
    metrics_put(metrics, "train/loss", step == toy->diverge_at ? NAN : toy->x * toy->x);
    metrics_put(timing, "tokens_per_second", 1000);
    if (step == toy->raise_at) {
        raise(toy->raise_number);
    }
    *finished = step == toy->finish_at;
    return true;
}

static bool toy_evaluate(void *context, int64_t done, Run *run, Metrics *metrics, bool *eligible,
                         Error *err) {
    Toy *toy = context;
    Str sample = {0};
    str_appendf(&sample, "{\"step\":%lld,\"n\":%lld}", (long long)done, (long long)toy->samples++);
    bool ok = run_sample(run, &sample, err);
    str_done(&sample);
    metrics_put(metrics, "eval/loss", fabs(toy->x) + 0.01 * (double)done);
    *eligible = done != 9; /* its value would be the best */
    return ok;
}

static bool toy_save(void *context, const char *folder, cJSON *state, Error *err) {
    const Toy *toy = context;
    char *model = file_join(folder, "model", err), *weights = NULL, *extra = NULL;
    bool ok = model != NULL && file_make_folders(model, err) &&
              (weights = file_join(model, "weights", err)) != NULL &&
              file_write(weights, &toy->x, sizeof toy->x, err) &&
              (extra = file_join(folder, "optimizer", err)) != NULL &&
              file_write(extra, "momentum", 8, err);
    cJSON_AddNumberToObject(state, "samples", (double)toy->samples);
    free(model);
    free(weights);
    free(extra);
    return ok;
}

static bool toy_load(void *context, const char *folder, const cJSON *state, Error *err) {
    Toy *toy = context;
    Str bytes = {0};
    char *path = file_join(folder, "model/weights", err);
    bool ok = path != NULL && file_read(path, sizeof toy->x, &bytes, err) &&
              json_integer(json_member(state, "samples"), 0, 1000, &toy->samples);
    if (ok) {
        memcpy(&toy->x, bytes.data, sizeof toy->x);
    }
    toy->loads++;
    str_done(&bytes);
    free(path);
    return ok;
}

static bool toy_report(void *context, const Run *run, int64_t best_step, Str *out, Error *err) {
    (void)run, (void)err;
    const Toy *toy = context;
    str_appendf(out, "\nbest %lld, %lld samples\n", (long long)best_step, (long long)toy->samples);
    return true;
}

static const char *const published[] = {"model", NULL};
static const TrainerOptions plain = {.steps = 12,
                                     .evaluate_every = 3,
                                     .evaluate_first = true,
                                     .checkpoint_every = 4,
                                     .keep = 2,
                                     .best_metric = "eval/loss",
                                     .checkpoint_bytes = 1000};

/* For the tests that try every call of a run. */
static const TrainerOptions brief = {.steps = 5,
                                     .evaluate_every = 2,
                                     .evaluate_first = true,
                                     .checkpoint_every = 2,
                                     .keep = 1,
                                     .best_metric = "eval/loss",
                                     .checkpoint_bytes = 1000};

static bool train(const char *folder, const TrainerOptions *options, Toy *toy, bool resume,
                  Error *err) {
    TrainerStage stage = {toy,      toy_step,   toy_evaluate, toy_save,
                          toy_load, toy_report, published,    "step"};
    Run run;
    if (!run_open(&run, folder, resume, "{}", err)) {
        return false;
    }
    bool ok = trainer_run(options, &stage, &run, NULL, err);
    run_close(&run);
    return ok;
}

static Toy fresh(void) {
    return (Toy){.x = 1, .raise_at = never, .diverge_at = never, .finish_at = never};
}

static void fresh_name(char out[800]) {
    snprintf(out, 800, "%s/run", test_folder());
}

/* Listing of an undisturbed run; the caller releases it. */
static Str undisturbed(const TrainerOptions *options) {
    Error err = {0};
    char folder[800];
    fresh_name(folder);
    Toy toy = fresh();
    assert_ok(train(folder, options, &toy, false, &err), &err);
    Str tree = {0};
    tree_text(folder, "", &tree);
    return tree;
}

static void check_tree(const char *folder, const Str *want) {
    Str tree = {0};
    tree_text(folder, "", &tree);
    assert_string_equal(str_text(&tree), str_text(want));
    str_done(&tree);
}

static size_t count_lines(const char *folder, const char *name, Str *text) {
    Error err = {0};
    char path[900];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    str_clear(text);
    assert_ok(file_read(path, 100000, text, &err), &err);
    size_t lines = 0;
    for (size_t i = 0; i < text->size; i++) {
        lines += text->data[i] == '\n';
    }
    return lines;
}

static void a_run_leaves_what_it_should(void **state) {
    (void)state;
    Error err = {0};
    char folder[800];
    fresh_name(folder);
    Toy toy = fresh();
    assert_ok(train(folder, &plain, &toy, false, &err), &err);
    Str text = {0};
    assert_int_equal(count_lines(folder, "metrics.jsonl", &text), 13);
    assert_true(str_starts_with(str_text(&text), "{\"step\":0,\"eval/loss\":1}\n{\"step\":1,"));
    assert_int_equal(count_lines(folder, "samples.jsonl", &text), 5); /* 0 3 6 9 12 */
    assert_int_equal(count_lines(folder, "timing.jsonl", &text), 12);
    assert_int_equal(count_lines(folder, "report.md", &text) > 5, 1);

    /* The best by hand, from the same recurrence; step 9 is not eligible. */
    double x = 1, best = 1, best_x = 1;
    int64_t best_step = 0;
    for (int64_t step = 0; step < 12; step++) {
        x = 0.75 * x + sin((double)step);
        double value = fabs(x) + 0.01 * (double)(step + 1);
        if ((step + 1) % 3 == 0 && step + 1 != 9 && value < best) {
            best = value, best_x = x, best_step = step + 1;
        }
    }
    char wanted[64], path[900];
    snprintf(wanted, sizeof wanted, "\nbest %lld, 5 samples\n", (long long)best_step);
    assert_non_null(strstr(str_text(&text), wanted));
    assert_non_null(strstr(str_text(&text), "| train/loss | "));
    str_clear(&text);
    snprintf(path, sizeof path, "%s/model/weights", folder);
    assert_ok(file_read(path, 100, &text, &err), &err);
    assert_memory_equal(str_text(&text), &best_x, sizeof best_x);
    static const int64_t kept[] = {8, 12}; /* the newest two; and the best */
    for (int64_t step = 0; step <= 12; step++) {
        snprintf(path, sizeof path, "%s/checkpoints/step-%08lld", folder, (long long)step);
        assert_int_equal(file_exists(path),
                         step == kept[0] || step == kept[1] || step == best_step);
    }
    str_done(&text);
}

/* Runs one process of a run in a child; its exit code. */
static int process(const char *folder, const TrainerOptions *options, Toy toy, bool resume) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Error err = {0};
        signal(SIGHUP, SIG_DFL); /* whoever runs the tests may ignore it */
        signals_install("test");
        bool quiet = freopen("/dev/null", "w", stderr) != NULL;
        bool ok = train(folder, options, &toy, resume, &err);
        _exit(!quiet || (resume && toy.loads > 1) ? 1 : ok ? 0 : (int)err.code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void interrupted_at_any_step_leaves_the_same_bytes(void **state) {
    (void)state;
    Str want = undisturbed(&plain);
    static const struct {
        int number, code;
    } signals[] = {
        {SIGINT,  130},
        {SIGTERM, 143},
        {SIGHUP,  143}
    };
    for (int64_t step = 0; step < 12; step++) {
        char folder[800];
        fresh_name(folder);
        Toy toy = fresh();
        toy.raise_at = step;
        toy.raise_number = signals[step % 3].number;
        int code = process(folder, &plain, toy, false);
        /* A signal in the last step finds nothing left to stop. */
        assert_int_equal(code, step == 11 ? 0 : signals[step % 3].code);
        if (code != 0) {
            assert_int_equal(process(folder, &plain, fresh(), true), 0);
        }
        check_tree(folder, &want);
    }
    str_done(&want);
}

static void stopped_after_every_step_leaves_the_same_bytes(void **state) {
    (void)state;
    static const TrainerOptions variants[] = {
        {.steps = 12,
         .evaluate_every = 3,
         .evaluate_first = true,
         .checkpoint_every = 4,
         .keep = 2,
         .best_metric = "eval/loss"                                                               },
        {.steps = 7,            .evaluate_every = 0, .checkpoint_every = 0, .keep = 1},
        {.steps = 5,
         .evaluate_every = 1,
         .checkpoint_every = 1,
         .keep = 3,
         .best_metric = "eval/loss",
         .best_is_largest = true},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        Str want = undisturbed(&variants[i]);
        char folder[800];
        fresh_name(folder);
        TrainerOptions options = variants[i];
        options.max_seconds = 1e-9; /* one step a process */
        int processes = 0, code;
        do {
            code = process(folder, &options, fresh(), processes > 0);
            assert_true(code == 75 || code == 0);
            processes++;
        } while (code != 0);
        assert_int_equal(processes, options.steps);
        check_tree(folder, &want);
        str_done(&want);
    }
}

static void a_wanted_checkpoint_changes_nothing_in_the_end(void **state) {
    (void)state;
    Str want = undisturbed(&plain);
    for (int64_t step = 0; step < 12; step += 2) {
        char folder[800];
        fresh_name(folder);
        Toy toy = fresh();
        toy.raise_at = step;
        toy.raise_number = SIGUSR1;
        assert_int_equal(process(folder, &plain, toy, false), 0);
        check_tree(folder, &want);
    }
    str_done(&want);
}

static int process_with_fault(const char *folder, const TrainerOptions *options, bool resume,
                              long at, int number, bool lasting) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Error err = {0};
        Toy toy = fresh();
        fault.armed = true, fault.at = at, fault.number = number, fault.lasting = lasting;
        bool ok = train(folder, options, &toy, resume, &err);
        _exit(fault.calls <= at ? 200 : ok ? 0 : (int)err.code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void killed_at_any_call_leaves_the_same_bytes(void **state) {
    (void)state;
    Str want = undisturbed(&brief);
    long points = 0;
    for (;; points++) {
        char folder[800];
        fresh_name(folder);
        int code = process_with_fault(folder, &brief, false, points, 0, false);
        if (code == 200) {
            check_tree(folder, &want);
            break;
        }
        assert_int_equal(code, FAULT_KILLED);
        assert_int_equal(process(folder, &brief, fresh(), true), 0);
        check_tree(folder, &want);
    }
    assert_true(points > 50);
    str_done(&want);
}

/* The same for a process that goes on from a checkpoint which a signal made after step 3: it stands
 * between the scheduled ones of steps 2 and 4, which are to be kept. */
static void killed_after_going_on_leaves_the_same_bytes(void **state) {
    (void)state;
    TrainerOptions options = brief;
    options.keep = 3;
    Str want = undisturbed(&options);
    for (long at = 0;; at++) {
        char folder[800];
        fresh_name(folder);
        Toy toy = fresh();
        toy.raise_at = 2;
        toy.raise_number = SIGINT;
        assert_int_equal(process(folder, &options, toy, false), ERROR_INTERRUPTED);
        int code = process_with_fault(folder, &options, true, at, 0, false);
        if (code != 200) {
            assert_int_equal(code, FAULT_KILLED);
            assert_int_equal(process(folder, &options, fresh(), true), 0);
        }
        check_tree(folder, &want);
        if (code == 200) {
            break;
        }
    }
    str_done(&want);
}

/* A disk that is full once: the run goes on, or ends with 74 and can be continued. */
static void a_full_disk_costs_nothing(void **state) {
    (void)state;
    int survived = 0, stopped = 0;
    Str want = undisturbed(&brief);
    for (long at = 0;; at++) {
        char folder[800];
        fresh_name(folder);
        int code = process_with_fault(folder, &brief, false, at, ENOSPC, false);
        if (code == 200) {
            break;
        }
        assert_true(code == 0 || code == ERROR_IO || code == ERROR_CANNOT_CREATE);
        survived += code == 0;
        stopped += code != 0;
        if (code != 0) {
            assert_int_equal(process(folder, &brief, fresh(), true), 0);
        }
        Str tree = {0};
        tree_text(folder, "", &tree);
        assert_null(strstr(str_text(&tree), "tmp"));
        str_done(&tree);
        char path[900];
        snprintf(path, sizeof path, "%s/report.md", folder);
        assert_true(file_exists(path));
    }
    assert_true(survived > 10 && stopped > 10);
    str_done(&want);
}

static void a_disk_that_stays_full_ends_the_run(void **state) {
    (void)state;
    for (long at = 10; at < 60; at += 7) {
        char folder[800];
        fresh_name(folder);
        assert_int_equal(process_with_fault(folder, &brief, false, at, ENOSPC, true), ERROR_IO);
        assert_int_equal(process(folder, &brief, fresh(), true), 0);
    }
}

static void nothing_that_diverged_is_saved(void **state) {
    (void)state;
    Error err = {0};
    char folder[800];
    fresh_name(folder);
    Toy toy = fresh();
    toy.diverge_at = 6;
    assert_error(train(folder, &plain, &toy, false, &err), &err, ERROR_DIVERGED, "step 7");
    char *found = NULL;
    int64_t step = 0;
    assert_ok(checkpoint_find(folder, NULL, &found, &step, &err), &err);
    assert_non_null(found);
    assert_true(step <= 6);
    free(found);
}

static void a_rule_ends_a_run_with_its_result(void **state) {
    (void)state;
    Error err = {0};
    char folder[800];
    fresh_name(folder);
    Toy toy = fresh();
    toy.finish_at = 4;
    assert_error(train(folder, &plain, &toy, false, &err), &err, ERROR_STOPPED, "step 5 of 12");
    Str text = {0};
    assert_int_equal(count_lines(folder, "metrics.jsonl", &text), 6);
    assert_non_null(strstr(str_text(&text), "{\"step\":5,"));
    count_lines(folder, "report.md", &text);
    assert_non_null(strstr(str_text(&text), "ended by a rule"));
    str_done(&text);
    Run run;
    assert_ok(run_open(&run, folder, true, "{}", &err), &err);
    assert_true(run.finished);
    run_close(&run);
}

static void a_damaged_checkpoint_costs_only_steps(void **state) {
    (void)state;
    Error err = {0};
    char folder[800], path[900];
    fresh_name(folder);
    Toy toy = fresh();
    toy.raise_at = 9;
    toy.raise_number = SIGINT;
    Str want = undisturbed(&plain);
    assert_int_equal(process(folder, &plain, toy, false), 130);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000010/model/weights", folder);
    assert_ok(file_write(path, "rubbish!", 8, &err), &err);
    assert_int_equal(process(folder, &plain, fresh(), true), 0);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000010.damaged", folder);
    assert_true(file_exists(path));
    assert_ok(file_remove_tree(path, &err), &err);
    check_tree(folder, &want);
    str_done(&want);
}

static void an_unknown_best_metric_is_told(void **state) {
    (void)state;
    Error err = {0};
    char folder[800];
    fresh_name(folder);
    Toy toy = fresh();
    TrainerOptions options = plain;
    options.best_metric = "eval/none";
    assert_error(train(folder, &options, &toy, false, &err), &err, ERROR_CONFIG, "eval/none");
}

int main(void) {
    fault_prefer_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_what_it_should),
        cmocka_unit_test(interrupted_at_any_step_leaves_the_same_bytes),
        cmocka_unit_test(stopped_after_every_step_leaves_the_same_bytes),
        cmocka_unit_test(a_wanted_checkpoint_changes_nothing_in_the_end),
        cmocka_unit_test(killed_at_any_call_leaves_the_same_bytes),
        cmocka_unit_test(killed_after_going_on_leaves_the_same_bytes),
        cmocka_unit_test(a_full_disk_costs_nothing),
        cmocka_unit_test(a_disk_that_stays_full_ends_the_run),
        cmocka_unit_test(nothing_that_diverged_is_saved),
        cmocka_unit_test(a_rule_ends_a_run_with_its_result),
        cmocka_unit_test(a_damaged_checkpoint_costs_only_steps),
        cmocka_unit_test(an_unknown_best_metric_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
