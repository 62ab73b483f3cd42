/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/train/run.h"
#include "tests/support/support.h"

static void check_file(const char *folder, const char *name, const char *want) {
    Error err = {0};
    Str text = {0};
    char path[900];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(file_read(path, 10000, &text, &err), &err);
    assert_string_equal(str_text(&text), want);
    str_done(&text);
}

static void fresh_name(char out[800]) {
    snprintf(out, 800, "%s/below/run", test_folder());
}

static void a_run_is_not_overwritten(void **state) {
    (void)state;
    Error err = {0};
    Run run, second;
    char folder[800];
    fresh_name(folder);
    assert_ok(run_open(&run, folder, false, "{\"a\": 1}", &err), &err);
    assert_false(run.existed || run.finished);
    check_file(folder, "run.json", "{\"a\": 1}");
    assert_error(run_open(&second, folder, true, "{}", &err), &err, ERROR_TEMPORARY,
                 "another process");
    run_close(&second); /* safe after a failure */
    run_close(&run);
    run_close(&run);
    assert_error(run_open(&run, folder, false, "{}", &err), &err, ERROR_CANNOT_CREATE, "--resume");
    assert_ok(run_open(&run, folder, true, "{}", &err), &err);
    assert_true(run.existed);
    assert_false(run.finished);
    check_file(folder, "run.json", "{\"a\": 1}");
    Str report = {0};
    str_append(&report, "# Report\n");
    assert_ok(run_finish(&run, &report, &err), &err);
    str_done(&report);
    run_close(&run);
    assert_ok(run_open(&run, folder, true, "{}", &err), &err);
    assert_true(run.finished);
    run_close(&run);

    const char *remains = test_folder();
    char path[900];
    snprintf(path, sizeof path, "%s/checkpoints", remains);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_error(run_open(&run, remains, false, "{}", &err), &err, ERROR_CANNOT_CREATE, "--resume");
    snprintf(path, sizeof path, "%s/run.json", remains);
    assert_false(file_exists(path));

    const char *file = test_file(test_folder(), "f", "x", 1);
    assert_error(run_open(&run, file, false, "{}", &err), &err, ERROR_CANNOT_CREATE, "folder");
    Run zero = {0};
    run_close(&zero); /* must not close descriptor 0 */
    assert_true(fcntl(0, F_GETFD) >= 0);
}

static void lines_are_cut_at_the_recorded_size(void **state) {
    (void)state;
    Error err = {0};
    Run run;
    char folder[800];
    fresh_name(folder);
    assert_ok(run_open(&run, folder, false, "{}", &err), &err);
    Metrics metrics = {0};
    metrics_put(&metrics, "train/loss", 1.5);
    metrics_put(&metrics, "b", NAN);
    metrics_put(&metrics, "c", 0.1);
    metrics_put(&metrics, "b", INFINITY);
    double value;
    assert_true(metrics_get(&metrics, "c", &value) && value == 0.1);
    assert_false(metrics_get(&metrics, "d", &value));
    assert_ok(run_metrics(&run, 1, &metrics, &err), &err);
    const char *first = "{\"step\":1,\"train/loss\":1.5,\"b\":\"Infinity\",\"c\":0.1}\n";
    check_file(folder, "metrics.jsonl", first);
    assert_int_equal(run.metrics_size, strlen(first));
    Str sample = {0};
    str_append(&sample, "{\"prompt\":\"x\"}");
    assert_ok(run_sample(&run, &sample, &err), &err);
    assert_ok(run_sync(&run, &err), &err);
    uint64_t metrics_size = run.metrics_size, samples_size = run.samples_size;
    metrics_clear(&metrics);
    assert_ok(run_metrics(&run, 2, &metrics, &err), &err);
    assert_ok(run_sample(&run, &sample, &err), &err);
    assert_ok(run_timing(&run, 2, &metrics, &err), &err);
    str_done(&sample);
    run_close(&run);

    assert_ok(run_open(&run, folder, true, "{}", &err), &err);
    assert_true(run.metrics_size > metrics_size);
    assert_ok(run_rewind(&run, metrics_size, samples_size, &err), &err);
    check_file(folder, "metrics.jsonl", first);
    check_file(folder, "samples.jsonl", "{\"prompt\":\"x\"}\n");
    assert_ok(run_metrics(&run, 9, &metrics, &err), &err);
    char both[200];
    snprintf(both, sizeof both, "%s{\"step\":9}\n", first);
    check_file(folder, "metrics.jsonl", both);
    assert_error(run_rewind(&run, 10000, 0, &err), &err, ERROR_DATA, "was changed");
    check_file(folder, "timing.jsonl", "{\"step\":2}\n");
    run_close(&run);
}

static void folders_are_published_whole(void **state) {
    (void)state;
    Error err = {0};
    Run run;
    char folder[800], path[900];
    fresh_name(folder);
    assert_ok(run_open(&run, folder, false, "{}", &err), &err);
    const char *from = test_folder();
    test_file(from, "config.json", "1", 1);
    test_file(from, "empty", "", 0);
    snprintf(path, sizeof path, "%s/inner", from);
    assert_int_equal(mkdir(path, 0777), 0);
    test_file(path, "deep", "2", 1);
    assert_ok(run_publish(&run, from, "model", &err), &err);
    check_file(folder, "model/config.json", "1");
    check_file(folder, "model/inner/deep", "2");
    const char *other = test_folder();
    test_file(other, "config.json", "3", 1);
    assert_ok(run_publish(&run, other, "model", &err), &err);
    check_file(folder, "model/config.json", "3");
    snprintf(path, sizeof path, "%s/model/inner", folder);
    assert_false(file_exists(path));
    snprintf(path, sizeof path, "%s/absent", from);
    assert_error(run_publish(&run, path, "model", &err), &err, ERROR_NO_INPUT, "absent");
    check_file(folder, "model/config.json", "3");
    snprintf(path, sizeof path, "%s/model.tmp-123", folder);
    assert_int_equal(mkdir(path, 0777), 0); /* of a killed process */
    run_close(&run);
    assert_ok(run_open(&run, folder, true, "{}", &err), &err);
    assert_false(file_exists(path));
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_not_overwritten),
        cmocka_unit_test(lines_are_cut_at_the_recorded_size),
        cmocka_unit_test(folders_are_published_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
