/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/kernels/gemm.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_time(void (*body)(void *), void *context, int rounds, double least) {
    enum { MOST = 99 };
    double seconds[MOST];
    rounds = rounds > MOST ? MOST : rounds;
    body(context);
    for (int r = 0; r < rounds; r++) {
        double start = clock_seconds(), now = start;
        int calls = 0;
        do {
            body(context);
            calls++;
            now = clock_seconds();
        } while (now - start < least);
        seconds[r] = (now - start) / calls;
    }
    qsort(seconds, (size_t)rounds, sizeof *seconds, ascending);
    return seconds[rounds / 2];
}

enum { PEAK = 1024 };

static void peak_product(void *context) {
    float *x = context;
    gemm(PLAIN, PLAIN, PEAK, PEAK, PEAK, 1, x, PEAK, x + PEAK * PEAK, PEAK, 0, x + 2 * PEAK * PEAK,
         PEAK);
}

double bench_peak(void) {
    Error err = {0};
    float *x = mem_alloc_aligned(3 * PEAK * PEAK, sizeof *x, &err);
    if (x == NULL) {
        error_print(&err, "bench", stderr);
        exit(err.code);
    }
    double best = 1e30;
    for (int i = 0; i < 10; i++) {
        double seconds = bench_time(peak_product, x, 1, 0);
        best = seconds < best ? seconds : best;
    }
    free(x);
    return 2.0 * PEAK * PEAK * PEAK / best;
}

double bench_argument(int argc, char **argv, const char *name, double otherwise) {
    size_t n = strlen(name);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=') {
            return strtod(argv[i] + n + 1, NULL);
        }
    }
    return otherwise;
}
