/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/batch.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "tests/support/support.h"

static const char text[] = "{\"a\": [1, 2.5, \"three\"], \"b\": {\"c\": null}}\n";

/* A little of everything that allocates, reads and writes. */
static bool work(const char *folder, Error *err) {
    char *path = file_join(folder, "a.json", err);
    Batch batch = {0};
    Str out = {0};
    LineReader reader = {0};
    cJSON *tree = NULL;
    const int32_t id[3] = {1, 2, 3};
    bool got, ok = path != NULL && file_write(path, text, strlen(text), err) &&
                   (tree = json_read_file(path, &json_limits_config, err)) != NULL &&
                   batch_init(&batch, 1, 1, err);
    for (int i = 0; ok && i < 20; i++) {
        ok = batch_add(&batch, id, id, 3, BATCH_NO_PREFIX, 0, NULL, err);
    }
    if (ok) {
        json_put_tree(&out, tree, true);
        ok = str_ok(&out, err) && line_reader_open(&reader, path, 1000, err) &&
             line_reader_next(&reader, &got, err);
        line_reader_close(&reader);
    }
    cJSON_Delete(tree);
    batch_done(&batch);
    str_done(&out);
    free(path);
    return ok;
}

/* Exit code of this program doing work() under a fault: 0, or an error's. */
static int with_fault(const char *folder, const char *spec) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("RLHF_FAULT", spec, 1);
        execl("/proc/self/exe", "test", folder, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status)); /* no crash */
    return WEXITSTATUS(status);
}

static size_t files_in(const char *folder) {
    char **name;
    size_t count;
    Error err = {0};
    assert_ok(file_list(folder, &name, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        free(name[i]);
    }
    free(name);
    return count;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int failed = 0, code;
    for (int n = 1;; n++) {
        char spec[32];
        snprintf(spec, sizeof spec, "malloc:%d", n);
        const char *folder = test_folder();
        code = with_fault(folder, spec);
        if (code == 0) {
            break;
        }
        assert_int_equal(code, ERROR_OS);
        assert_true(files_in(folder) <= 1); /* no temporary file */
        failed++;
    }
    assert_true(failed >= 10);
}

static void failed_writes_leave_nothing(void **state) {
    (void)state;
    const char *folder = test_folder();
    assert_int_equal(with_fault(folder, "write:1:ENOSPC"), ERROR_IO);
    assert_int_equal(files_in(folder), 0);
    assert_int_equal(with_fault(folder, "fsync:1:EIO"), ERROR_IO);
    assert_int_equal(files_in(folder), 0);
    assert_int_equal(with_fault(folder, "fsync:1:kill"), 99);
    assert_int_equal(files_in(folder), 1); /* the temporary one */
    assert_int_equal(with_fault(folder, "write:2:ENOSPC"), 0);
}

static void wrong_descriptions_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "malloc", "malloc:0", "read:1", "write:1:EFOO"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(with_fault(test_folder(), wrong[i]), 99);
    }
}

int main(int argc, char **argv) {
    if (argc == 2) {
        Error err = {0};
        bool ok = work(argv[1], &err);
        return ok ? 0 : err.code == ERROR_NONE ? 1 : (int)err.code;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(failed_writes_leave_nothing),
        cmocka_unit_test(wrong_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
