/* SPDX-License-Identifier: MIT */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "common/base/hash.h"

enum { MESSAGE = 4096, LINE = 2 * MESSAGE, REDRAWS = 10 /* a second */ };

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void log_init(Log *log, LogLevel level) {
    *log = (Log){.level = level, .plain_interval = 10};
    const char *no_color = getenv("NO_COLOR"), *kind = getenv("TERM");
    bool dumb = kind == NULL || strcmp(kind, "dumb") == 0;
    bool terminal = isatty(STDERR_FILENO) == 1;
    log->terminal = terminal && !dumb;
    log->color = log->terminal && (no_color == NULL || no_color[0] == '\0');
}

/* Untrusted text may hold escape sequences: only printable bytes reach the terminal. */
static void escape(const char *text, char out[LINE]) {
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0' && n + 8 < LINE; p++) {
        if (*p < 0x20 || *p == 0x7F) {
            n += (size_t)snprintf(out + n, LINE - n, "\\x%02x", *p);
        } else if (p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0) {
            n += (size_t)snprintf(out + n, LINE - n, "\\u%04x", p[1]);
            p++;
        } else {
            out[n++] = (char)*p;
        }
    }
    out[n] = '\0';
}

static void clear_line(Log *log) {
    if (log->line_open) {
        fputs("\r\033[K", stderr);
        log->line_open = false;
    }
}

__attribute__((format(printf, 3, 0))) static void say(Log *log, const char *prefix,
                                                      const char *format, va_list arguments) {
    char text[MESSAGE], line[LINE];
    vsnprintf(text, sizeof text, format, arguments);
    escape(text, line);
    clear_line(log);
    fprintf(stderr, "%s%s\n", prefix, line);
}

void log_info(Log *log, const char *format, ...) {
    if (log != NULL && log->level >= LOG_NORMAL) {
        va_list arguments;
        va_start(arguments, format);
        say(log, "", format, arguments);
        va_end(arguments);
    }
}

void log_detail(Log *log, const char *format, ...) {
    if (log != NULL && log->level >= LOG_VERBOSE) {
        va_list arguments;
        va_start(arguments, format);
        say(log, "", format, arguments);
        va_end(arguments);
    }
}

void log_warn(Log *log, const char *format, ...) {
    if (log == NULL) {
        return;
    }
    char text[MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const size_t room = sizeof log->warned / sizeof *log->warned;
    uint64_t hash = hash_bytes(text, strlen(text));
    size_t known = log->warnings < room ? log->warnings : room;
    for (size_t i = 0; i < known; i++) {
        if (log->warned[i] == hash) {
            log->repeated++;
            return;
        }
    }
    log->warned[log->warnings++ % room] = hash;
    char line[LINE];
    escape(text, line);
    clear_line(log);
    fprintf(stderr, "%s%s\n", log->color ? "\033[33mwarning:\033[0m " : "warning: ", line);
}

void progress_begin(Progress *progress, const char *what, uint64_t done) {
    *progress = (Progress){.what = what, .start_done = done, .start_time = clock_seconds()};
}

static void duration(double seconds, char out[32]) {
    if (!(seconds < 1e7)) {
        snprintf(out, 32, "?");
        return;
    }
    long s = (long)(seconds + 0.5);
    if (s >= 3600) {
        snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
    }
}

static size_t terminal_width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Cuts a line to `width` characters, a UTF-8 sequence counting as one. */
static void cut(char *line, size_t width) {
    size_t characters = 0;
    for (char *p = line; *p != '\0'; p++) {
        characters += ((unsigned char)*p & 0xC0) != 0x80;
        if (characters > width) {
            *p = '\0';
            return;
        }
    }
}

void progress_show(Log *log, const Progress *progress, uint64_t done, uint64_t total,
                   const char *format, ...) {
    if (log == NULL || log->level < LOG_NORMAL) {
        return;
    }
    double now = clock_seconds();
    double *last = log->terminal ? &log->last_redraw : &log->last_plain;
    double pause = log->terminal ? 1.0 / REDRAWS : log->plain_interval;
    if (done<total && * last> 0 && now - *last < pause) {
        return;
    }
    *last = now;
    char text[MESSAGE], line[LINE], escaped[LINE], elapsed[32], left[32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    double seconds = now - progress->start_time;
    duration(seconds, elapsed);
    bool known = done > progress->start_done && total >= done;
    duration(known ? seconds / (double)(done - progress->start_done) * (double)(total - done) : 1e9,
             left);
    double share = total == 0 ? 100 : 100.0 * (double)done / (double)total;
    snprintf(line, sizeof line, "%s %llu/%llu (%.0f%%) %s elapsed %s left%s%s", progress->what,
             (unsigned long long)done, (unsigned long long)total, share, elapsed, left,
             text[0] == '\0' ? "" : "  ", text);
    escape(line, escaped);
    if (log->terminal) {
        cut(escaped, terminal_width() - 1);
        fprintf(stderr, "\r%s\033[K", escaped);
        fflush(stderr);
        log->line_open = true;
    } else {
        char stamp[64];
        time_t wall = time(NULL);
        struct tm utc;
        gmtime_r(&wall, &utc);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
        fprintf(stderr, "%s %s\n", stamp, escaped);
    }
}

void log_finish(Log *log) {
    if (log == NULL) {
        return;
    }
    clear_line(log);
    if (log->repeated > 0) {
        fprintf(stderr, "%zu different warnings, repeated %zu more times\n", log->warnings,
                log->repeated);
    }
    log->warnings = log->repeated = 0;
}
