/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/train/checkpoint.h"
#include "tests/support/support.h"
#include "tests/train/fault.h"
#include "tests/train/tree.h"

static bool put(const char *folder, const char *name, const char *text, Error *err) {
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && file_write(path, text, strlen(text), err);
    free(path);
    return ok;
}

/* A checkpoint with a folder in it; content depends on the step. */
static bool make(const char *run, int64_t step, Error *err) {
    CheckpointWriter writer;
    char text[64];
    snprintf(text, sizeof text, "state of step %lld", (long long)step);
    if (!checkpoint_begin(&writer, run, step, 1000, err)) {
        return false;
    }
    char *model = file_join(writer.folder, "model", err);
    bool ok = model != NULL && file_make_folders(model, err) && put(model, "weights", text, err) &&
              put(writer.folder, "state.json", text, err) && checkpoint_commit(&writer, err);
    checkpoint_abort(&writer);
    free(model);
    return ok;
}

static void check_found(const char *run, int64_t want) {
    Error err = {0};
    char *folder = NULL;
    int64_t step = -1;
    assert_ok(checkpoint_find(run, NULL, &folder, &step, &err), &err);
    if (want < 0) {
        assert_null(folder);
        return;
    }
    assert_non_null(folder);
    assert_int_equal(step, want);
    char *path = file_join(folder, "model/weights", &err), wanted[64];
    Str text = {0};
    assert_ok(file_read(path, 100, &text, &err), &err);
    snprintf(wanted, sizeof wanted, "state of step %lld", (long long)want);
    assert_string_equal(str_text(&text), wanted);
    str_done(&text);
    free(path);
    free(folder);
}

static bool has(const char *run, const char *name) {
    char path[800];
    snprintf(path, sizeof path, "%s/checkpoints/%s", run, name);
    return file_exists(path);
}

static void newest_complete_one_is_found(void **state) {
    (void)state;
    Error err = {0};
    const char *run = test_folder();
    check_found(run, -1);
    static const int64_t steps[] = {5, 100, 99999999, 100000000, 20};
    int64_t largest = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_ok(make(run, steps[i], &err), &err);
        largest = steps[i] > largest ? steps[i] : largest;
        check_found(run, largest);
    }
    assert_true(has(run, "step-00000005") && has(run, "step-100000000"));
    assert_ok(make(run, 5, &err), &err); /* replaces the older one */
    assert_ok(checkpoint_remove(run, 100000000, &err), &err);
    assert_ok(checkpoint_remove(run, 100000000, &err), &err);
    check_found(run, 99999999);
}

static void pruning_keeps_the_newest_and_the_best(void **state) {
    (void)state;
    Error err = {0};
    const char *run = test_folder();
    for (int64_t step = 1; step <= 6; step++) {
        assert_ok(make(run, step, &err), &err);
    }
    assert_ok(checkpoint_prune(run, 2, 3, &err), &err);
    for (int64_t step = 1; step <= 6; step++) {
        char name[64];
        snprintf(name, sizeof name, "step-%08lld", (long long)step);
        assert_int_equal(has(run, name), step == 3 || step >= 5);
    }
    assert_ok(checkpoint_prune(run, 1, -1, &err), &err);
    assert_false(has(run, "step-00000003"));
    assert_false(has(run, "step-00000005"));
    check_found(run, 6);
    assert_ok(checkpoint_prune(test_folder(), 1, -1, &err), &err); /* nothing there */
}

static void flip(const char *path, long at) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(c ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void every_flipped_bit_is_found(void **state) {
    (void)state;
    Error err = {0};
    static const char *const names[] = {"model/weights", "state.json"};
    for (size_t i = 0; i < 2; i++) {
        for (long at = 0; at < 15; at++) {
            const char *run = test_folder();
            char path[900];
            assert_ok(make(run, 1, &err), &err);
            assert_ok(make(run, 2, &err), &err);
            snprintf(path, sizeof path, "%s/checkpoints/step-00000002/%s", run, names[i]);
            flip(path, at);
            snprintf(path, sizeof path, "%s/checkpoints/step-00000002", run);
            assert_error(checkpoint_verify(path, &err), &err, ERROR_DATA, "content changed");
            check_found(run, 1);
            assert_true(has(run, "step-00000002.damaged"));
            assert_ok(make(run, 2, &err), &err);
            check_found(run, 2);
        }
    }
}

static void wrong_manifests_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *manifest, *part;
    } each[] = {
        {"",                                                                                   "JSON"               },
        {"[]",                                                                                 "is not the manifest"},
        {"{\"format\":1,\"step\":7}",                                                          "is not the manifest"},
        {"{\"format\":2,\"step\":7,\"files\":[]}",                                             "format 2"           },
        {"{\"format\":1,\"step\":8,\"files\":[]}",                                             "step 8"             },
        {"{\"format\":1,\"step\":7,\"files\":[{}]}",                                           "an entry of"        },
        {"{\"format\":1,\"step\":7,\"files\":[{\"name\":\"../x\",\"size\":1,\"xxh3\":\"\"}]}",
         "an entry of"                                                                                              },
        {"{\"format\":1,\"step\":7,\"files\":[{\"name\":\"a/..\",\"size\":1,\"xxh3\":\"\"}]}",
         "an entry of"                                                                                              },
        {"{\"format\":1,\"step\":7,\"files\":[{\"name\":\"/etc/"
         "passwd\",\"size\":1,\"xxh3\":\"\"}]}",                                      "an entry of"        },
        {"{\"format\":1,\"step\":7,\"files\":[{\"name\":\"a\",\"size\":-1,\"xxh3\":\"\"}]}",
         "an entry of"                                                                                              },
    };
    for (size_t i = 1; i < sizeof each / sizeof *each; i++) {
        const char *run = test_folder();
        Error err = {0};
        char folder[800];
        snprintf(folder, sizeof folder, "%s/checkpoints/step-00000007", run);
        assert_ok(file_make_folders(folder, &err), &err);
        assert_ok(put(folder, "manifest.json", each[i].manifest, &err), &err);
        assert_error(checkpoint_verify(folder, &err), &err, ERROR_DATA, each[i].part);
        check_found(run, -1);
    }
    const char *run = test_folder();
    Error err = {0};
    char path[900];
    assert_ok(make(run, 3, &err), &err);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000003/state.json", run);
    assert_int_equal(unlink(path), 0);
    check_found(run, -1);
}

/* Runs make(run, 2) in a child with a fault at call `at`; its exit code. */
static int make_with_fault(const char *run, long at, int number) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Error err = {0};
        fault.armed = true, fault.at = at, fault.number = number;
        bool ok = make(run, 2, &err);
        _exit(fault.calls <= at ? 1 : ok ? 2 : 3); /* 1: there were fewer calls */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Whatever the call at which a writer dies: the old checkpoint is there, or the new one, whole. */
static void killed_writers_leave_the_old_or_the_new(void **state) {
    (void)state;
    Error err = {0};
    long points = 0;
    int old = 0;
    for (;; points++) {
        const char *run = test_folder();
        assert_ok(make(run, 1, &err), &err);
        int code = make_with_fault(run, points, 0);
        if (code == 1) {
            break;
        }
        assert_int_equal(code, FAULT_KILLED);
        bool renamed = has(run, "step-00000002");
        old += !renamed;
        check_found(run, renamed ? 2 : 1);
        assert_ok(make(run, 3, &err), &err); /* clears what the dead one left */
        Str tree = {0};
        tree_text(run, "", &tree);
        assert_null(strstr(str_text(&tree), "tmp"));
        str_done(&tree);
        check_found(run, 3);
    }
    assert_true(points >= 10);
    assert_true(old >= 8 && old < points);
}

/* A full disk at any call: an error, nothing left behind, the old checkpoint intact. */
static void failed_writers_leave_nothing(void **state) {
    (void)state;
    Error err = {0};
    for (long at = 0;; at++) {
        const char *run = test_folder();
        assert_ok(make(run, 1, &err), &err);
        int code = make_with_fault(run, at, ENOSPC);
        if (code == 1) {
            break;
        }
        assert_int_equal(code, 3);
        Str tree = {0};
        tree_text(run, "", &tree);
        assert_null(strstr(str_text(&tree), "tmp"));
        str_done(&tree);
        check_found(run, has(run, "step-00000002") ? 2 : 1);
    }
}

static void missing_room_is_told_before_writing(void **state) {
    (void)state;
    Error err = {0};
    CheckpointWriter writer;
    const char *run = test_folder();
    assert_error(checkpoint_begin(&writer, run, 1, (uint64_t)1 << 60, &err), &err, ERROR_IO,
                 "make room");
    checkpoint_abort(&writer);
    Str tree = {0};
    tree_text(run, "", &tree);
    assert_int_equal(tree.size, 0);
}

int main(void) {
    fault_prefer_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_complete_one_is_found),
        cmocka_unit_test(pruning_keeps_the_newest_and_the_best),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(wrong_manifests_are_refused),
        cmocka_unit_test(killed_writers_leave_the_old_or_the_new),
        cmocka_unit_test(failed_writers_leave_nothing),
        cmocka_unit_test(missing_room_is_told_before_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
