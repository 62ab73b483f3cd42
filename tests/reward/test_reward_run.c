/* SPDX-License-Identifier: MIT
 *
 * The program: a run and its files, resuming, classifiers and regressors, bad input.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/reward/fixture.h"

static void run(TestRun *result, const char *const *more) {
    const char *argv[80] = {"rlhf-reward", "--quiet", "--threads", "1"};
    int argc = 4;
    for (int list = 0; list < 2; list++) {
        for (const char *const *set = list == 0 ? small : more; *set != NULL; set++) {
            if (list == 0 || (*set)[0] != '-') {
                argv[argc++] = "--set";
            }
            argv[argc++] = *set;
            if (list == 1 && (*set)[0] == '-' && set[1] != NULL && strcmp(*set, "--resume") != 0 &&
                strcmp(*set, "--dry-run") != 0) {
                argv[argc++] = *++set;
            }
        }
    }
    test_run(result, argv);
}

static void run_ok(const char *const *more) {
    TestRun result;
    run(&result, more);
    if (result.status != 0) {
        fail_msg("exit %d: %s", result.status, str_text(&result.err));
    }
    test_run_done(&result);
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    Error err = {0};
    char one[HASH_TEXT], two[HASH_TEXT];
    uint64_t size;
    char *first = file_join(a, name, &err), *second = file_join(b, name, &err);
    assert_ok(hash_file(first, one, &size, &err), &err);
    assert_ok(hash_file(second, two, &size, &err), &err);
    if (strcmp(one, two) != 0) {
        fail_msg("%s and %s differ", first, second);
    }
    free(first);
    free(second);
}

/* The epochs that a run had seen after step 3. */
static double epochs_at_checkpoint(const char *folder) {
    Error err = {0};
    Str text = {0};
    double epochs = 0;
    char *path = file_join(folder, "metrics.jsonl", &err);
    assert_ok(file_read(path, 1 << 20, &text, &err), &err);
    const char *line = strstr(str_text(&text), "\"step\":3,");
    assert_non_null(line);
    assert_int_equal(sscanf(strstr(line, "\"train/epoch\":"), "\"train/epoch\":%lf", &epochs), 1);
    str_done(&text);
    free(path);
    return epochs;
}

/* A run that was stopped after its checkpoint at step 3, and one that was not: the same bytes. */
static void resume_equals(const char *const *settings, bool epoch_ends) {
    const char *folder = test_folder(), *path = write_rankings(folder, 2);
    char whole[700], part[700], command[4096];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(part, sizeof part, "%s/part", folder);
    const char *more[32] = {"--data",
                            path,
                            "--output",
                            whole,
                            "train.steps=6",
                            "data.validation_share=0.3",
                            "train.evaluate_every=2",
                            "checkpoint.keep=10"};
    int n = 8;
    while (*settings != NULL) {
        more[n++] = *settings++;
    }
    run_ok(more);
    double epochs = epochs_at_checkpoint(whole);
    assert_true((epochs == floor(epochs)) == epoch_ends);
    snprintf(command, sizeof command,
             "cp -r '%s' '%s' && cd '%s' && rm -r model report.md && "
             "find checkpoints -mindepth 1 -maxdepth 1 ! -name step-00000003 -exec rm -r {} +",
             whole, part, part);
    assert_int_equal(system(command), 0);
    more[3] = part;
    more[n] = "--resume";
    run_ok(more);
    assert_same_file(whole, part, "model/model.safetensors");
    assert_same_file(whole, part, "model/config.json");
    assert_same_file(whole, part, "metrics.jsonl");
    assert_same_file(whole, part, "samples.jsonl");
    assert_same_file(whole, part, "report.md");
    assert_same_file(whole, part, "checkpoints/step-00000006/optimizer.safetensors");
}

static void test_resume(void **state) {
    (void)state;
    const char *const plain[] = {"train.dropout=0.1", "checkpoint.best=null", NULL};
    resume_equals(plain, true);
    const char *const average[] = {"train.ema=0.9", "checkpoint.best=null", NULL};
    resume_equals(average, true);
    const char *const inside[] = {"train.batch=5", "checkpoint.best=null", NULL};
    resume_equals(inside, false);
}

static void test_files(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = write_rankings(folder, 3);
    char output[700], name[800];
    snprintf(output, sizeof output, "%s/run", folder);
    const char *more[] = {"--data",
                          path,
                          "--output",
                          output,
                          "train.steps=4",
                          "data.validation_share=0.3",
                          "train.evaluate_every=2",
                          NULL};
    TestRun result;
    run(&result, more);
    assert_int_equal(result.status, 0);
    snprintf(name, sizeof name, "%s/model\n", output);
    assert_string_equal(str_text(&result.out), name);
    test_run_done(&result);

    Error err = {0};
    Str text = {0};
    snprintf(name, sizeof name, "%s/report.md", output);
    assert_ok(file_read(name, 1 << 20, &text, &err), &err);
    assert_non_null(strstr(str_text(&text), "unanimous"));
    assert_non_null(strstr(str_text(&text), "longer wins"));
    assert_non_null(strstr(str_text(&text), "Calibration"));
    str_clear(&text);
    snprintf(name, sizeof name, "%s/metrics.jsonl", output);
    assert_ok(file_read(name, 1 << 20, &text, &err), &err);
    assert_non_null(strstr(str_text(&text), "\"eval/accuracy_majority\""));
    assert_non_null(strstr(str_text(&text), "\"eval/calibration_error\""));
    str_clear(&text);
    snprintf(name, sizeof name, "%s/samples.jsonl", output);
    assert_ok(file_read(name, 1 << 20, &text, &err), &err);
    cJSON *sample = json_parse(str_text(&text), strcspn(str_text(&text), "\n"), name, 1,
                               &json_limits_line, &err);
    assert_non_null(sample);
    assert_int_equal(cJSON_GetArraySize(json_member(sample, "scores")), 4);
    assert_int_equal(cJSON_GetArraySize(json_member(sample, "ranks")), 4);
    cJSON_Delete(sample);
    str_done(&text);

    /* The finished run: again is refused, resuming it is nothing to do. */
    run(&result, more);
    assert_int_equal(result.status, ERROR_CANNOT_CREATE);
    test_run_done(&result);
    const char *again[] = {"--data", path, "--output", output, "--resume", NULL};
    run_ok(again);

    /* The result is a reward model that can be trained on; its head is kept. */
    char start[800], next[700];
    snprintf(start, sizeof start, "%s/model", output);
    snprintf(next, sizeof next, "%s/next", folder);
    const char *onward[] = {"--data",
                            path,
                            "--output",
                            next,
                            "--model",
                            start,
                            "model.new.layers=0",
                            "train.steps=1",
                            "train.learning_rate=0",
                            "reward.normalize=none",
                            NULL};
    run_ok(onward);
    snprintf(name, sizeof name, "%s/model", next);
    assert_same_file(start, name, "model.safetensors");
    assert_same_file(start, name, "config.json");
}

static void test_dry_run(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = write_rankings(folder, 2);
    char output[700];
    snprintf(output, sizeof output, "%s/run", folder);
    const char *more[] = {"--data", path, "--output", output, "train.epochs=3", "--dry-run", NULL};
    TestRun result;
    run(&result, more);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(str_text(&result.out), "6 of 4 prompts"));
    assert_non_null(strstr(str_text(&result.out), "predicted peak"));
    assert_true(access(output, F_OK) != 0);
    test_run_done(&result);
}

static const char *write_labels(const char *folder, bool numbers) {
    Str text = {0};
    str_append(&text, "text,label\n");
    for (int i = 0; i < 8; i++) {
        str_appendf(&text, "the %s %s,", colors[i % 4], animals[i / 4]);
        if (numbers) {
            str_appendf(&text, "%g\n", 10 + i % 4 + 0.5 * (i / 4));
        } else {
            str_appendf(&text, "%s\n", colors[i % 4]);
        }
    }
    const char *path =
        test_file(folder, numbers ? "numbers.csv" : "labels.csv", text.data, text.size);
    str_done(&text);
    return path;
}

static double last_metric(const char *output, const char *name) {
    Error err = {0};
    char path[800];
    Str text = {0};
    snprintf(path, sizeof path, "%s/metrics.jsonl", output);
    assert_ok(file_read(path, 1 << 22, &text, &err), &err);
    char key[100];
    snprintf(key, sizeof key, "\"%s\":", name);
    double value = -1;
    for (const char *at = strstr(str_text(&text), key); at != NULL; at = strstr(at + 1, key)) {
        value = strtod(at + strlen(key), NULL);
    }
    str_done(&text);
    return value;
}

static void test_classifier(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder(), *path = write_labels(folder, false);
    char output[700], name[800], validation[800];
    snprintf(output, sizeof output, "%s/run", folder);
    snprintf(validation, sizeof validation, "data.validation=\"%s\"", path);
    const char *more[] = {"--data",
                          path,
                          "--output",
                          output,
                          validation,
                          "train.steps=40",
                          "reward.objective=classification",
                          "train.evaluate_every=0",
                          NULL};
    run_ok(more);
    assert_true(last_metric(output, "eval/accuracy") == 1);
    assert_true(last_metric(output, "eval/macro_f1") == 1);
    snprintf(name, sizeof name, "%s/model", output);
    ModelConfig config = {0};
    assert_ok(model_config_read(&config, name, &err), &err);
    assert_int_equal(config.labels, 4);
    assert_string_equal(config.label_name[0], "blue");
    assert_string_equal(config.label_name[3], "white");
    model_config_done(&config);

    /* Trained on, it keeps its classes and refuses others, by name and place. */
    const char *other = "text,label\nthe red fox,red\nthe black fox,black\n";
    const char *bad = test_file(folder, "bad.csv", other, strlen(other));
    char next[700];
    snprintf(next, sizeof next, "%s/next", folder);
    const char *onward[] = {
        "--data",  bad,  "--output",           next,
        "--model", name, "model.new.layers=0", "reward.objective=classification",
        NULL};
    TestRun result;
    run(&result, onward);
    assert_int_equal(result.status, ERROR_DATA);
    assert_non_null(strstr(str_text(&result.err), "black"));
    assert_non_null(strstr(str_text(&result.err), "bad.csv:3"));
    test_run_done(&result);
}

static void test_regressor(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = write_labels(folder, true);
    char output[700], validation[800];
    snprintf(output, sizeof output, "%s/run", folder);
    snprintf(validation, sizeof validation, "data.validation=\"%s\"", path);
    const char *more[] = {"--data",
                          path,
                          "--output",
                          output,
                          validation,
                          "train.steps=80",
                          "train.learning_rate=0.003",
                          "reward.objective=regression",
                          "train.evaluate_every=20",
                          NULL};
    run_ok(more);
    assert_true(last_metric(output, "eval/squared_error") < 0.1);
    assert_true(last_metric(output, "eval/correlation") > 0.95);
}

static void assert_fails(const char *const *more, int status, const char *part) {
    TestRun result;
    run(&result, more);
    if (result.status != status || strstr(str_text(&result.err), part) == NULL) {
        fail_msg("expected exit %d and \"%s\", got %d: %s", status, part, result.status,
                 str_text(&result.err));
    }
    assert_int_equal(result.out.size, 0);
    test_run_done(&result);
}

static void test_bad_input(void **state) {
    (void)state;
    const char *folder = test_folder();
    char output[700];
    snprintf(output, sizeof output, "%s/run", folder);
    const char *nothing[] = {"--output", output, NULL};
    assert_fails(nothing, ERROR_CONFIG, "--data");
    const char *absent[] = {"--output", output, "--data", "absent.jsonl", NULL};
    assert_fails(absent, ERROR_NO_INPUT, "absent.jsonl");
    const char *tied = "{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranks\":[1,1]}\n";
    const char *even[] = {"--output", output, "--data",
                          test_file(folder, "tied.jsonl", tied, strlen(tied)), NULL};
    assert_fails(even, ERROR_DATA, "none of which prefers");
    const char *path = write_rankings(folder, 1);
    const char *reference[] = {"--output", output, "--data", path, "reward.normalize=reference",
                               NULL};
    assert_fails(reference, ERROR_CONFIG, "reward.reference");
    const char *typo[] = {"--output", output, "--data", path, "reward.label_smothing=0.1", NULL};
    assert_fails(typo, ERROR_CONFIG, "reward.label_smoothing");
    const char *wrong[] = {"--output", output, "--data", path, "reward.objective=classification",
                           NULL};
    assert_fails(wrong, ERROR_DATA, "rankings.jsonl");
    assert_true(access(output, F_OK) != 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),    cmocka_unit_test(test_files),
        cmocka_unit_test(test_dry_run),   cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_regressor), cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
