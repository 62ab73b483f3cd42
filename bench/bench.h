/* SPDX-License-Identifier: MIT
 *
 * What the benchmarks share. A rate is only worth something beside the machine's own limit measured in
 * the same minute, so every program prints both.
 */
#ifndef RLHF_BENCH_H
#define RLHF_BENCH_H

#include <stddef.h>

/* Median seconds of one call of body(context), over `rounds` rounds of at least `least` seconds. */
double bench_time(void (*body)(void *), void *context, int rounds, double least);

/* FP32 rate of this machine in FLOP/s: the best product of 1024 x 1024 x 1024 on all threads. */
double bench_peak(void);

/* The argument after "name=" among argv, or the default. */
double bench_argument(int argc, char **argv, const char *name, double otherwise);

#endif
