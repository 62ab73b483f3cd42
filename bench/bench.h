/* SPDX-License-Identifier: MIT
 *
 * What the benchmark programs share: rows, rounds, and the machine's limits beside every figure.
 *
 * A program walks its rows: bench_wants(name), set-up, bench_measure, clean-up. Alone it prints a
 * table, each row as median [min..max], as a rate and as a share of its floor, with the limits measured
 * between the rounds. Driven by bench/run it serves one row, round by round, so that other programs doing
 * the same work can take turns.
 *   bench_NAME [list] [full] [only=TEXT] [row=NAME] [rounds=N] [threads=N] [serve]
 */
#ifndef RLHF_BENCH_H
#define RLHF_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

/* The floor of a row is flops / peak + bytes / bandwidth, or the larger of the two where the bytes
 * can stream while the multiplications run (overlapped). */
typedef struct BenchRow {
    const char *name; /* "sft 124M 4x256 fp32" */
    const char *unit; /* of work: "tokens", "flops", "bytes" */
    double work;      /* of one call */
    double flops;     /* multiplications and additions that it cannot do without */
    double bytes;     /* memory that it must read and write */
    double memory;    /* bytes that it must hold: the floor of its peak, or 0 */
    bool bf16;        /* flops are counted against the BF16 peak */
    bool overlapped;
    const char *peer; /* JSON object that tells the scripts of bench/peers the same work, or NULL */
} BenchRow;

/* Parses the arguments above and starts the threads. Exits 2 on an argument it does not know. */
void bench_begin(int argc, char **argv, const char *program);
/* Whether to measure this row; prints it when listing. full: only in full runs. */
bool bench_wants(const char *name, bool full);
/* Measures body(context), which must leave everything ready for another call. */
void bench_measure(const BenchRow *row, void (*body)(void *), void *context);
/* The exit status; says so when no row was wanted. */
int bench_end(void);
/* Prints the error and exits with its code: a benchmark does not go on. */
_Noreturn void bench_fail(const Error *err);

/* Median seconds of one call of body(context), over `rounds` rounds of at least `least` seconds. */
double bench_time(void (*body)(void *), void *context, int rounds, double least);

#endif
