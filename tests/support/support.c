/* SPDX-License-Identifier: MIT */
#include "tests/support/support.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void assert_close(const char *name, const float *got, const float *want, size_t n, double rtol,
                  double atol) {
    double largest = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        double distance = fabs((double)got[i] - (double)want[i]);
        if (!(distance <= worst)) { /* catches NaN too */
            worst = distance;
            at = i;
        }
    }
    if (n > 0 && !(worst <= atol + rtol * largest)) {
        fail_msg("%s[%zu] of %zu: got %.9g, wanted %.9g; distance %.3g, largest %.3g, allowed %.3g",
                 name, at, n, (double)got[at], (double)want[at], worst, largest,
                 atol + rtol * largest);
    }
}

void assert_close_double(const char *name, double got, double want, double rtol, double atol) {
    if (!(fabs(got - want) <= atol + rtol * fabs(want))) {
        fail_msg("%s: got %.17g, wanted %.17g", name, got, want);
    }
}

void assert_ok(bool ok, const Error *err) {
    if (!ok) {
        fail_msg("unexpected error %d: %s:%ld:%ld: %s", (int)err->code, err->file, err->line,
                 err->column, err->text);
    }
}

void assert_error(bool ok, const Error *err, ErrorCode code, const char *part) {
    if (ok) {
        fail_msg("expected an error with \"%s\"", part);
    }
    if (err->code != code || strstr(err->text, part) == NULL) {
        fail_msg("expected code %d and \"%s\", got code %d: %s", (int)code, part, (int)err->code,
                 err->text);
    }
}

static char folder[512];

static void remove_folder(void) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) {
        fprintf(stderr, "could not remove %s\n", folder);
    }
}

const char *test_folder(void) {
    const char *top = getenv("TMPDIR");
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/rlhf-test-XXXXXX", top == NULL ? "/tmp" : top);
        if (mkdtemp(folder) == NULL) {
            fail_msg("cannot create %s", folder);
        }
        atexit(remove_folder);
    }
    static int counter;
    static char name[64][600];
    char *path = name[counter % 64];
    snprintf(path, sizeof name[0], "%s/%d", folder, counter++);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

const char *test_file(const char *in, const char *name, const void *data, size_t n) {
    static int counter;
    static char paths[256][700];
    char *path = paths[counter++ % 256];
    snprintf(path, sizeof paths[0], "%s/%s", in, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    return path;
}

const char *test_path(const char *in, const char *name) {
    static char *paths[256];
    static size_t counter;
    char **path = &paths[counter++ % 256], *made = NULL;
    assert_true(asprintf(&made, "%s/%s", in, name) > 0);
    free(*path);
    *path = made;
    return made;
}

const char *test_fixtures(void) {
    const char *path = getenv("RLHF_TEST_FIXTURES");
    assert_non_null(path); /* set by tests/meson.build */
    return path;
}

const char *test_data(void) {
    const char *path = getenv("RLHF_TEST_DATA");
    if (path == NULL || path[0] == '\0') {
        print_message("skipped: RLHF_TEST_DATA does not name the folder with real data\n");
        return NULL;
    }
    return path;
}

void test_run(TestRun *run, const char *const argv[]) {
    *run = (TestRun){0};
    char program[1024];
    const char *build = getenv("RLHF_TEST_BUILD");
    if (strchr(argv[0], '/') == NULL) {
        assert_non_null(build); /* set by tests/meson.build */
        const char *stage = strncmp(argv[0], "rlhf-", 5) == 0 ? argv[0] + 5 : argv[0];
        snprintf(program, sizeof program, "%s/%s/%s", build, stage, argv[0]);
        if (access(program, X_OK) != 0) {
            snprintf(program, sizeof program, "%s/tools/%s", build, argv[0]);
        }
    } else {
        snprintf(program, sizeof program, "%s", argv[0]);
    }
    int out[2], err[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(out[1], 1);
        dup2(err[1], 2);
        close(out[0]), close(out[1]), close(err[0]), close(err[1]);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]), close(err[1]);
    struct pollfd poller[2] = {
        {.fd = out[0], .events = POLLIN},
        {.fd = err[0], .events = POLLIN}
    };
    int open = 2;
    while (open > 0 && poll(poller, 2, -1) > 0) {
        for (int i = 0; i < 2; i++) {
            if (poller[i].fd >= 0 && poller[i].revents != 0) {
                char buffer[4096];
                ssize_t n = read(poller[i].fd, buffer, sizeof buffer);
                if (n <= 0) {
                    close(poller[i].fd);
                    poller[i].fd = -1;
                    open--;
                } else {
                    str_append_bytes(i == 0 ? &run->out : &run->err, buffer, (size_t)n);
                }
            }
        }
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void test_run_done(TestRun *run) {
    str_done(&run->out);
    str_done(&run->err);
}

void test_shell(const char *format, ...) {
    char command[4000];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    assert_in_range(n, 1, sizeof command - 1);
    TestRun run;
    test_run(&run, (const char *const[]){"/bin/sh", "-c", command, NULL});
    if (run.status != 0) {
        fail_msg("%s: %s%s", command, str_text(&run.out), str_text(&run.err));
    }
    test_run_done(&run);
}

void test_copy_run(const char *from, const char *to, int step) {
    test_shell("cp -r '%s' '%s' && cd '%s' && rm -rf model critic report.md && "
               "for s in checkpoints/*; do "
               "test \"${s#checkpoints/step-0000000}\" -le %d || rm -r $s; done",
               from, to, to, step);
}
