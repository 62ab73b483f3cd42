/* SPDX-License-Identifier: MIT
 *
 * Which compilation of the kernels runs: decided by what the CPU has.
 */
#include <stdbool.h>
#include <string.h>

#include "common/kernels/attention_block.h"
#include "common/kernels/gemm_block.h"
#include "common/kernels/pages.h"
#include "common/kernels/rows.h"

extern const RowKernels rows_portable;
extern const AttentionKernels attention_portable;
extern const PageKernels pages_portable[2];
extern const GemmKernels gemm_portable;
#ifdef KERNELS_X86
extern const RowKernels rows_avx2, rows_avx512;
extern const AttentionKernels attention_avx2, attention_avx512;
extern const PageKernels pages_avx2[2], pages_avx512[2];
extern const GemmKernels gemm_avx2, gemm_avx512;
static const RowKernels *const rows_table[] = {&rows_portable, &rows_avx2, &rows_avx512};
static const AttentionKernels *const attention_table[] = {&attention_portable, &attention_avx2,
                                                          &attention_avx512};
static const PageKernels *const pages_table[] = {pages_portable, pages_avx2, pages_avx512};
#ifdef KERNELS_AVX512BF16
extern const GemmKernels gemm_avx512bf16;
static const GemmKernels *const gemm_table[] = {&gemm_portable, &gemm_avx2, &gemm_avx512,
                                                &gemm_avx512bf16};
#else
static const GemmKernels *const gemm_table[] = {&gemm_portable, &gemm_avx2, &gemm_avx512};
#endif

static size_t rows_level(void) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return 0;
    }
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    return wide ? 2 : 1;
}

static size_t gemm_level(void) {
    size_t level = rows_level();
#ifdef KERNELS_AVX512BF16
    if (level == 2 && __builtin_cpu_supports("avx512bf16")) {
        return 3;
    }
#endif
    return level;
}
#else
static const RowKernels *const rows_table[] = {&rows_portable};
static const AttentionKernels *const attention_table[] = {&attention_portable};
static const PageKernels *const pages_table[] = {pages_portable};
static const GemmKernels *const gemm_table[] = {&gemm_portable};

static size_t rows_level(void) {
    return 0;
}

static size_t gemm_level(void) {
    return 0;
}
#endif

const RowKernels *row_kernels(void) {
    return rows_table[rows_level()];
}

const RowKernels *row_kernels_at(size_t i) {
    return i <= rows_level() ? rows_table[i] : NULL;
}

const AttentionKernels *attention_kernels(void) {
    return attention_table[rows_level()];
}

const AttentionKernels *attention_kernels_at(size_t i) {
    return i <= rows_level() ? attention_table[i] : NULL;
}

static const GemmKernels *used; /* NULL: the best */

const PageKernels *page_kernels(GemmType type) {
    return &pages_table[rows_level()][type];
}

const PageKernels *page_kernels_at(GemmType type, size_t i) {
    return i <= rows_level() ? &pages_table[i][type] : NULL;
}

const GemmKernels *gemm_kernels(void) {
    return used != NULL ? used : gemm_table[gemm_level()];
}

const GemmKernels *gemm_kernels_at(size_t i) {
    return i <= gemm_level() ? gemm_table[i] : NULL;
}

bool gemm_use(const char *name) {
    for (size_t i = 0; i <= gemm_level(); i++) {
        if (strcmp(gemm_table[i]->name, name) == 0) {
            used = gemm_table[i];
            return true;
        }
    }
    return false;
}
