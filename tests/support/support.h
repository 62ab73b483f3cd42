/* SPDX-License-Identifier: MIT
 *
 * What every test program shares: cmocka with its includes, closeness of arrays, temporary folders,
 * the folder of real data, and running a program with its output captured.
 */
#ifndef RLHF_TESTS_SUPPORT_H
#define RLHF_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/str.h"

/* max|got - want| <= atol + rtol * max|want|; prints the worst place and both values otherwise. */
void assert_close(const char *name, const float *got, const float *want, size_t n, double rtol,
                  double atol);
void assert_close_double(const char *name, double got, double want, double rtol, double atol);

/* ok must be true; prints the error otherwise. Usage: assert_ok(f(..., &err), &err). */
void assert_ok(bool ok, const Error *err);
/* ok must be false with this code and a text that holds `part`. */
void assert_error(bool ok, const Error *err, ErrorCode code, const char *part);

/* A fresh folder under $TMPDIR, removed at exit of the program; borrowed. */
const char *test_folder(void);
/* Writes a file into a folder; returns its path (released at exit). */
const char *test_file(const char *folder, const char *name, const void *data, size_t n);
/* folder/name, of any length; one of the last 256. */
const char *test_path(const char *folder, const char *name);

/* The folder with committed fixtures (tests/fixtures). */
const char *test_fixtures(void);
/* Folder of real data from RLHF_TEST_DATA, or NULL: the test prints why and calls skip(). */
const char *test_data(void);

typedef struct TestRun {
    int status;   /* exit code, or 128 + signal */
    Str out, err; /* what it wrote */
} TestRun;
/* Runs argv[0] (a program of the build folder by bare name, else a path); NULL-terminated argv. */
void test_run(TestRun *run, const char *const argv[]);
void test_run_done(TestRun *run);

/* Runs a line of /bin/sh, below 4,000 bytes, that must succeed. */
void test_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Copies the folder of a finished run as it was when the checkpoint of `step` was its newest. */
void test_copy_run(const char *from, const char *to, int step);

#endif
