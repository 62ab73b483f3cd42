/* SPDX-License-Identifier: MIT
 *
 * What a program says while it works: messages, warnings and progress, all to stderr, all escaped.
 *
 * Library code never prints by itself; it is handed a Log (or NULL: silent). On a terminal progress is
 * one line rewritten at most ten times a second, as wide as the window; elsewhere it is one plain line
 * with the ISO time at each interval, without carriage returns. Warnings are counted, repeated ones
 * shown once, and summarized at the end.
 */
#ifndef RLHF_BASE_LOG_H
#define RLHF_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum LogLevel { LOG_QUIET = 0, LOG_NORMAL = 1, LOG_VERBOSE = 2 } LogLevel;

typedef struct Log {
    LogLevel level;
    bool terminal;       /* stderr is one */
    bool color;          /* terminal, and neither NO_COLOR nor TERM=dumb */
    bool line_open;      /* a progress line stands on the screen */
    double last_redraw;  /* seconds */
    double last_plain;
    double plain_interval; /* seconds between plain lines; default 10 */
    uint64_t warned[64]; /* hashes of warnings already shown */
    size_t warnings, repeated;
} Log;

void log_init(Log *log, LogLevel level);
void log_info(Log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));    /* NORMAL */
void log_detail(Log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));  /* VERBOSE */
void log_warn(Log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));    /* always */

/* Progress of `done` of `total` units; text says the rest ("loss 1.23, 12,000 tokens/s"). The line gets
 * share, elapsed time and ETA, the latter from progress since `start_done` at `start_time`. */
typedef struct Progress {
    const char *what; /* "step", "prompt" */
    uint64_t start_done;
    double start_time;
} Progress;
void progress_begin(Progress *progress, const char *what, uint64_t done);
void progress_show(Log *log, const Progress *progress, uint64_t done, uint64_t total,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
void log_finish(Log *log); /* clears the progress line, says how often warnings were repeated */

double clock_seconds(void); /* monotonic */

#endif
