/* SPDX-License-Identifier: MIT
 *
 * Error: what went wrong, where, and with which exit code the program ends.
 *
 * A function that can fail returns bool (or a pointer) and takes `Error *err` as its last argument.
 * On failure it fills *err exactly once and returns false (NULL); on success it leaves *err alone.
 * A layer in between may add context with error_wrap but never replaces the message. Only a main
 * prints. The text is one sentence: what was found, what was expected, what to do.
 */
#ifndef RLHF_BASE_ERROR_H
#define RLHF_BASE_ERROR_H

#include <stdbool.h>
#include <stdio.h>

/* The values are the exit codes of the programs (sysexits.h, and our own from 80). */
typedef enum ErrorCode {
    ERROR_NONE = 0,
    ERROR_USAGE = 64,       /* a wrong command line */
    ERROR_DATA = 65,        /* a file's content is wrong */
    ERROR_NO_INPUT = 66,    /* a file that should be read does not exist */
    ERROR_UNAVAILABLE = 69, /* an outside program (reward source) does not answer */
    ERROR_INTERNAL = 70,    /* a bug of ours */
    ERROR_OS = 71,          /* out of memory, out of descriptors */
    ERROR_CANNOT_CREATE = 73,
    ERROR_IO = 74, /* reading or writing failed: disk full, short read */
    ERROR_TEMPORARY = 75,
    ERROR_PERMISSION = 77,
    ERROR_CONFIG = 78,       /* a configuration value is wrong */
    ERROR_DIVERGED = 80,     /* a loss or gradient is not finite */
    ERROR_STOPPED = 81,      /* a rule ended the run early */
    ERROR_INTERRUPTED = 130, /* SIGINT, after a clean checkpoint */
    ERROR_TERMINATED = 143,  /* SIGTERM, after a clean checkpoint */
} ErrorCode;

enum { ERROR_TEXT_SIZE = 2048, ERROR_FILE_SIZE = 512 };

/* Lives on the caller's stack; initialize with {0}. */
typedef struct Error {
    ErrorCode code;
    long line;                  /* 1-based; 0: no line */
    long column;                /* 1-based, in bytes; 0: no column */
    char file[ERROR_FILE_SIZE]; /* empty: no file; a longer path keeps its end */
    char text[ERROR_TEXT_SIZE];
} Error;

/* Fills *err; always returns false, so that callers can
 * `return error_set(...)`. err may be NULL. */
bool error_set(Error *err, ErrorCode code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a place. file may be NULL; line or column 0 means unknown. */
bool error_at(Error *err, ErrorCode code, const char *file, long line, long column,
              const char *format, ...) __attribute__((format(printf, 6, 7)));

/* From errno: "<what> <path>: <reason>", with ERROR_NO_INPUT for ENOENT/ENOTDIR, ERROR_PERMISSION
 * for EACCES/EPERM/EROFS, ERROR_OS for ENOMEM/EMFILE/ENFILE, else ERROR_IO. */
bool error_errno(Error *err, const char *what, const char *path);

/* Puts "context: " before the text. Always returns false. */
bool error_wrap(Error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "program: file:line:column: text\n", control characters of the text escaped. The gathered
 * problems of a command line or configuration (ERROR_USAGE, ERROR_CONFIG) stand in lines of the
 * text; each is printed as a line "program: text\n" of its own. For mains only. */
void error_print(const Error *err, const char *program, FILE *to);

/* A programmer's fault: prints file, line and condition and aborts; stays in release builds. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : error_check_failed(#condition, __FILE__, __LINE__))
_Noreturn void error_check_failed(const char *condition, const char *file, int line);

#endif
