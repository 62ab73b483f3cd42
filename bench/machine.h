/* SPDX-License-Identifier: MIT
 *
 * The machine's limits, each the best of a few short bursts on all threads of the pool.
 *
 * Multiply peaks come from multiply-add loops on registers alone (AVX2, AVX-512, AVX-512 BF16, whichever
 * the CPU has); elsewhere the best product of 1024 x 1024 x 1024 stands in.
 */
#ifndef RLHF_BENCH_MACHINE_H
#define RLHF_BENCH_MACHINE_H

#include <stdbool.h>

const char *machine_fp32_name(void);
const char *machine_bf16_name(void); /* says that FP32 stands in where the CPU multiplies no BF16 */
double machine_fp32_flops(void);     /* FLOP/s */
double machine_bf16_flops(void);

/* Bytes a second of reading 256 MiB, and of a[i] = b[i] + s c[i] over three such arrays (write-allocation
 * not counted). The arrays are allocated at the first call and stay. */
double machine_read_bandwidth(void);
double machine_triad_bandwidth(void);

#endif
