/* SPDX-License-Identifier: MIT
 *
 * Which compilation of the kernels runs: decided by what the CPU has.
 */
#include <stdbool.h>

#include "common/kernels/gemm_block.h"
#include "common/kernels/rows.h"

extern const RowKernels rows_portable;
extern const GemmKernels gemm_portable;
#ifdef KERNELS_X86
extern const RowKernels rows_avx2, rows_avx512;
extern const GemmKernels gemm_avx2, gemm_avx512;
static const RowKernels *const rows_table[] = {&rows_portable, &rows_avx2, &rows_avx512};
static const GemmKernels *const gemm_table[] = {&gemm_portable, &gemm_avx2, &gemm_avx512};

static size_t level(void) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return 0;
    }
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    return wide ? 2 : 1;
}
#else
static const RowKernels *const rows_table[] = {&rows_portable};
static const GemmKernels *const gemm_table[] = {&gemm_portable};

static size_t level(void) {
    return 0;
}
#endif

const RowKernels *row_kernels(void) {
    return rows_table[level()];
}

const RowKernels *row_kernels_at(size_t i) {
    return i <= level() ? rows_table[i] : NULL;
}

const GemmKernels *gemm_kernels(void) {
    return gemm_table[level()];
}

const GemmKernels *gemm_kernels_at(size_t i) {
    return i <= level() ? gemm_table[i] : NULL;
}
