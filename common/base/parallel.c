/* SPDX-License-Identifier: MIT */
#include "common/base/parallel.h"

#include <cblas.h>
#include <omp.h>
#include <stdatomic.h>

static int threads = 1;

void parallel_init(int n) {
    threads = n > 0 ? n : omp_get_num_procs();
    openblas_set_num_threads(1);
}

int parallel_threads(void) {
    return threads;
}

void parallel_for(size_t n, size_t grain, ParallelBody *body, void *context) {
    if (n == 0) {
        return;
    }
    size_t unit = grain == 0 ? 1 : grain;
    size_t units = n / unit + (n % unit != 0);
    size_t pieces = units < (size_t)threads ? units : (size_t)threads;
    if (omp_in_parallel()) {
        body(context, 0, n, omp_get_thread_num());
        return;
    }
    if (pieces == 1) {
        body(context, 0, n, 0);
        return;
    }
#pragma omp parallel num_threads((int)pieces)
    {
        /* A system short of threads may give fewer than asked for: the pieces stay the same. */
        size_t team = (size_t)omp_get_num_threads();
        for (size_t p = (size_t)omp_get_thread_num(); p < pieces; p += team) {
            size_t begin = (units / pieces * p + units % pieces * p / pieces) * unit;
            size_t last = units / pieces * (p + 1) + units % pieces * (p + 1) / pieces;
            size_t end = p + 1 == pieces ? n : last * unit;
            body(context, begin, end, (int)p);
        }
    }
}

void parallel_each(size_t n, ParallelBody *body, void *context) {
    size_t team = n < (size_t)threads ? n : (size_t)threads;
    if (team <= 1 || omp_in_parallel()) {
        int thread = omp_in_parallel() ? omp_get_thread_num() : 0;
        for (size_t i = 0; i < n; i++) {
            body(context, i, i + 1, thread);
        }
        return;
    }
    atomic_size_t next = 0;
#pragma omp parallel num_threads((int)team)
    {
        int thread = omp_get_thread_num();
        for (size_t i; (i = atomic_fetch_add(&next, 1)) < n;) {
            body(context, i, i + 1, thread);
        }
    }
}
