/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "tests/support/support.h"

/* What a function writes to stderr, which is a file here and no terminal. */
static Str captured(void (*write_it)(Log *), LogLevel level) {
    char path[700];
    snprintf(path, sizeof path, "%s/stderr", test_folder());
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0);
    assert_non_null(freopen(path, "w", stderr));
    Log log;
    log_init(&log, level);
    write_it(&log);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    Error err = {0};
    Str text = {0};
    assert_ok(file_read(path, 100000, &text, &err), &err);
    return text;
}

static void say_some(Log *log) {
    log_info(log, "read %d records", 12);
    log_detail(log, "a detail");
    log_warn(log, "odd name \033[31m\n\x7f\xc2\x9b\xc3\xa9");
    log_warn(log, "odd name \033[31m\n\x7f\xc2\x9b\xc3\xa9");
    log_warn(log, "another");
    log_warn(log, "another");
    log_finish(log);
}

static void messages_depend_on_the_level(void **state) {
    (void)state;
#define WARNED                                                                                     \
    "warning: odd name \\x1b[31m\\x0a\\x7f\\u009b\xc3\xa9\n"                                       \
    "warning: another\n"                                                                           \
    "2 different warnings, repeated 2 more times\n"
    static const char *const want[] = {WARNED, "read 12 records\n" WARNED,
                                       "read 12 records\na detail\n" WARNED};
    for (int level = LOG_QUIET; level <= LOG_VERBOSE; level++) {
        Str text = captured(say_some, (LogLevel)level);
        assert_string_equal(str_text(&text), want[level]);
        str_done(&text);
    }
    log_info(NULL, "silent");
    log_warn(NULL, "silent");
    log_finish(NULL);
}

static void show_progress(Log *log) {
    Progress progress;
    progress_begin(&progress, "step", 2);
    for (uint64_t i = 3; i <= 10; i++) {
        progress_show(log, &progress, i, 10, "loss %.1f\r", 0.5);
    }
    log_finish(log);
}

/* Without a terminal: the first and the last line only, since no interval passed between them. */
static void plain_progress_has_times_and_no_returns(void **state) {
    (void)state;
    Str text = captured(show_progress, LOG_NORMAL);
    assert_null(strchr(str_text(&text), '\r'));
    int year, month, day, hour, minute, second, end = 0;
    assert_int_equal(sscanf(str_text(&text),
                            "%4d-%2d-%2dT%2d:%2d:%2dZ step 3/10 (30%%) 0:00 elapsed 0:00 left  "
                            "loss 0.5\\x0d\n%n",
                            &year, &month, &day, &hour, &minute, &second, &end),
                     6);
    assert_true(end > 0);
    const char *second_line = strchr(str_text(&text), '\n');
    assert_non_null(second_line);
    assert_non_null(strstr(second_line, "step 10/10 (100%)"));
    assert_int_equal(strchr(second_line + 1, '\n')[1], '\0');
    str_done(&text);
    text = captured(show_progress, LOG_QUIET);
    assert_int_equal(text.size, 0);
    str_done(&text);
}

/* In a child: the signals to raise, then the exit code it wants to see. */
static int with_signals(const int *number) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool quiet = freopen("/dev/null", "w", stderr) != NULL;
        signal(SIGHUP, SIG_DFL); /* whoever runs the tests may ignore it */
        signals_install("test");
        bool early = signals_stop() != 0 || signals_take_checkpoint();
        for (; *number != 0; number++) {
            raise(*number);
        }
        bool wanted = signals_take_checkpoint(), again = signals_take_checkpoint();
        _exit(!quiet || early || again ? 1 : signals_stop() + (wanted ? 64 : 0));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void signals_ask_once_and_end_twice(void **state) {
    (void)state;
    assert_int_equal(with_signals((int[]){0}), 0);
    assert_int_equal(with_signals((int[]){SIGINT, 0}), SIGINT);
    assert_int_equal(with_signals((int[]){SIGTERM, 0}), SIGTERM);
    assert_int_equal(with_signals((int[]){SIGHUP, 0}), SIGHUP);
    assert_int_equal(with_signals((int[]){SIGUSR1, SIGUSR1, 0}), 64);
    assert_int_equal(with_signals((int[]){SIGPIPE, SIGXFSZ, 0}), 0);
    assert_int_equal(with_signals((int[]){SIGINT, SIGINT, 0}), 128 + SIGINT);
    assert_int_equal(with_signals((int[]){SIGINT, SIGTERM, 0}), 128 + SIGTERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_depend_on_the_level),
        cmocka_unit_test(plain_progress_has_times_and_no_returns),
        cmocka_unit_test(signals_ask_once_and_end_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
