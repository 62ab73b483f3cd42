/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"

enum { ROUNDS_MOST = 99 };

static struct {
    const char *program, *only, *row;
    bool list, full, serve;
    int rounds, threads, wanted;
} options;

static const char *value_of(const char *argument, const char *name) {
    size_t n = strlen(name);
    return strncmp(argument, name, n) == 0 && argument[n] == '=' ? argument + n + 1 : NULL;
}

static bool set_number(const char *argument, const char *name, int *number) {
    const char *text = value_of(argument, name);
    char *end = NULL;
    long value = text != NULL ? strtol(text, &end, 10) : -1;
    if (text == NULL || *text == 0 || *end != 0 || value < 0 || value > 10000) {
        return false;
    }
    *number = (int)value;
    return true;
}

static bool set_text(const char *argument, const char *name, const char **text) {
    const char *value = value_of(argument, name);
    *text = value != NULL ? value : *text;
    return value != NULL;
}

static bool set_flag(const char *argument, const char *name, bool *flag) {
    bool is = strcmp(argument, name) == 0;
    *flag = *flag || is;
    return is;
}

void bench_begin(int argc, char **argv, const char *program) {
    options.program = program;
    options.rounds = 7;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!set_flag(a, "list", &options.list) && !set_flag(a, "full", &options.full) &&
            !set_flag(a, "serve", &options.serve) && !set_text(a, "only", &options.only) &&
            !set_text(a, "row", &options.row) && !set_number(a, "rounds", &options.rounds) &&
            !set_number(a, "threads", &options.threads)) {
            fprintf(stderr,
                    "%s: unknown argument %s; known: list, full, serve, only=TEXT, row=NAME, "
                    "rounds=N, threads=N\n",
                    program, a);
            exit(2);
        }
    }
    options.rounds = options.rounds < 1             ? 1
                     : options.rounds > ROUNDS_MOST ? ROUNDS_MOST
                                                    : options.rounds;
    parallel_init(options.threads);
}

bool bench_wants(const char *name, bool full) {
    bool wanted = options.row != NULL ? strcmp(name, options.row) == 0
                                      : (options.full || !full) &&
                                            (options.only == NULL || strstr(name, options.only));
    options.wanted += wanted;
    if (wanted && options.list) {
        puts(name);
    }
    return wanted && !options.list;
}

int bench_end(void) {
    if (options.wanted == 0) {
        fprintf(stderr, "%s: no such row; `%s list full` names all\n", options.program,
                options.program);
    }
    return options.wanted == 0 ? 2 : 0;
}

void bench_fail(const Error *err) {
    error_print(err, options.program, stderr);
    exit(err->code);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one call, from as many as last `least` seconds together. */
static double round_seconds(void (*body)(void *), void *context, double least) {
    double start = clock_seconds(), now;
    int calls = 0;
    do {
        body(context);
        calls++;
        now = clock_seconds();
    } while (now - start < least);
    return (now - start) / calls;
}

double bench_time(void (*body)(void *), void *context, int rounds, double least) {
    double seconds[ROUNDS_MOST];
    rounds = rounds > ROUNDS_MOST ? ROUNDS_MOST : rounds;
    body(context);
    for (int r = 0; r < rounds; r++) {
        seconds[r] = round_seconds(body, context, least);
    }
    qsort(seconds, (size_t)rounds, sizeof *seconds, ascending);
    return seconds[rounds / 2];
}

/* The other side of bench/run: a line describes the row, then each line read is answered by a round. */
static void serve(const BenchRow *row, void (*body)(void *), void *context) {
    char line[64];
    body(context);
    printf("{\"row\":\"%s\",\"unit\":\"%s\",\"work\":%.17g,\"flops\":%.17g,\"bytes\":%.17g,"
           "\"memory\":%.17g,\"bf16\":%s,\"overlapped\":%s,\"peer\":%s}\n",
           row->name, row->unit, row->work, row->flops, row->bytes, row->memory,
           row->bf16 ? "true" : "false", row->overlapped ? "true" : "false",
           row->peer != NULL ? row->peer : "null");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        double seconds = round_seconds(body, context, strtod(line, NULL));
        printf("{\"seconds\":%.9g,\"peak_rss\":%zu}\n", seconds, mem_peak_rss());
        fflush(stdout);
    }
}

static double median(double *value, int n) {
    qsort(value, (size_t)n, sizeof *value, ascending);
    return value[n / 2];
}

static void raise_to(double *best, double value) {
    *best = value > *best ? value : *best;
}

static const char *scaled(double *value) {
    static const char *const prefix[] = {"", "k", "M", "G", "T"};
    int i = 0;
    for (; *value >= 1000 && i < 4; i++) {
        *value /= 1000;
    }
    return prefix[i];
}

void bench_measure(const BenchRow *row, void (*body)(void *), void *context) {
    if (options.serve) {
        serve(row, body, context);
        return;
    }
    /* Limits are the best of the whole run: what slows a burst down is no limit. */
    static double peak[2], bandwidth;
    double seconds[ROUNDS_MOST];
    body(context);
    int rounds = options.rounds;
    for (int r = 0; r < rounds; r++) {
        raise_to(&peak[row->bf16], row->bf16 ? machine_bf16_flops() : machine_fp32_flops());
        raise_to(&bandwidth, row->bytes > 0 ? machine_read_bandwidth() : 1);
        seconds[r] = round_seconds(body, context, 0.05);
    }
    double multiply = row->flops / peak[row->bf16];
    double move = row->bytes / bandwidth;
    double least = row->overlapped ? (multiply > move ? multiply : move) : multiply + move;
    double middle = median(seconds, rounds), rate = row->work / middle;
    const char *prefix = scaled(&rate);
    printf("%-58s %10.4g ms [%.4g..%.4g] %7.4g %s%s/s", row->name, middle * 1e3, seconds[0] * 1e3,
           seconds[rounds - 1] * 1e3, rate, prefix, row->unit);
    if (least > 0) {
        printf(", floor %.4g ms, %.0f %% of it", least * 1e3, 100 * least / middle);
    }
    putchar('\n');
    fflush(stdout);
}
