/* SPDX-License-Identifier: MIT */
#include "common/kernels/rows.h"

extern const RowKernels rows_portable;
#ifdef ROWS_X86
extern const RowKernels rows_avx2, rows_avx512;
#endif

const RowKernels *row_kernels_at(size_t i) {
    const RowKernels *table[4] = {&rows_portable};
#ifdef ROWS_X86
    size_t n = 1;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        table[n++] = &rows_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
            table[n] = &rows_avx512;
        }
    }
#endif
    return i < 4 ? table[i] : NULL;
}

const RowKernels *row_kernels(void) {
#ifdef ROWS_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
                   ? &rows_avx512
                   : &rows_avx2;
    }
#endif
    return &rows_portable;
}
