/* SPDX-License-Identifier: MIT */
#include "bench/machine.h"

#include <stdint.h>

#include "bench/bench.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm.h"

/* A burst runs `rounds` multiply-adds on each of 12 registers: enough to hide a latency of four or
 * five cycles on two units. */
enum { REGISTERS = 12, ROUNDS = 1000000, BURSTS = 8 };
typedef void Burst(size_t rounds);

#if defined(__x86_64__)
#include <immintrin.h>

#define BURST(name, features, vector, one, multiply_add)                                           \
    __attribute__((target(features))) static void name(size_t rounds) {                            \
        vector sum[REGISTERS] = {0}, x = one, y = one;                                             \
        for (size_t r = 0; r < rounds; r++) {                                                      \
            _Pragma("GCC unroll 12") for (int i = 0; i < REGISTERS; i++) {                         \
                sum[i] = multiply_add;                                                             \
                __asm__ volatile("" : "+v"(sum[i]));                                               \
            }                                                                                      \
        }                                                                                          \
    }
BURST(burst_avx2, "avx2,fma", __m256, _mm256_set1_ps(1), _mm256_fmadd_ps(x, y, sum[i]))
BURST(burst_avx512, "avx512f", __m512, _mm512_set1_ps(1), _mm512_fmadd_ps(x, y, sum[i]))
BURST(burst_bf16, "avx512f,avx512bf16", __m512, _mm512_set1_ps(1),
      _mm512_dpbf16_ps(sum[i], (__m512bh)x, (__m512bh)y))
#undef BURST
#endif

typedef struct Unit {
    const char *name;
    Burst *burst;
    double flops; /* of one instruction */
} Unit;

static Unit fp32_unit(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        return (Unit){"AVX-512 FMA", burst_avx512, 32};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (Unit){"AVX2 FMA", burst_avx2, 16};
    }
#endif
    return (Unit){"product of 1024^3", NULL, 0};
}

static Unit bf16_unit(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bf16")) {
        return (Unit){"AVX-512 BF16 dot", burst_bf16, 64};
    }
#endif
    Unit unit = fp32_unit();
    unit.name = "no BF16 multiply: FP32's";
    return unit;
}

const char *machine_fp32_name(void) {
    return fp32_unit().name;
}

const char *machine_bf16_name(void) {
    return bf16_unit().name;
}

static void run_burst(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        (*(Burst *const *)context)(ROUNDS);
    }
}

static double product_flops(void) {
    enum { N = 1024 };
    static float *x;
    Error err = {0};
    if (x == NULL && (x = mem_alloc_aligned(3 * N * N, sizeof *x, &err)) == NULL) {
        bench_fail(&err);
    }
    double start = clock_seconds();
    gemm(PLAIN, PLAIN, N, N, N, 1, x, N, x + N * N, N, 0, x + 2 * N * N, N);
    return 2.0 * N * N * N / (clock_seconds() - start);
}

static double unit_flops(Unit unit) {
    if (unit.burst == NULL) {
        return product_flops();
    }
    /* A limit is what the best of some bursts reaches: threads that slept may begin late. */
    double best = 0;
    for (int i = 0; i < BURSTS; i++) {
        double start = clock_seconds();
        parallel_for((size_t)parallel_threads(), 1, run_burst, &unit.burst);
        double flops = parallel_threads() * unit.flops * REGISTERS * ROUNDS;
        double rate = flops / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

double machine_fp32_flops(void) {
    return unit_flops(fp32_unit());
}

double machine_bf16_flops(void) {
    return unit_flops(bf16_unit());
}

enum { FLOATS = 64 << 20 };
typedef struct Arrays {
    float *a, *b, *c;
    float sum[256]; /* of each thread: reading must have a use */
} Arrays;

static float *array(void) {
    Error err = {0};
    float *x = mem_alloc_aligned(FLOATS, sizeof *x, &err);
    if (x == NULL) {
        bench_fail(&err);
    }
    return x;
}

static void fill(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        ((float *)context)[i] = 1;
    }
}

/* Reads several streams at once and asks for them ahead: one stream does not fill the memory's queues.
 * An OR of integers, because the compiler may make vectors of it, unlike of a sum of floats. */
static void read_part(void *context, size_t begin, size_t end, int thread) {
    enum { STREAMS = 8, LINE = 16, AHEAD = 16 * LINE };
    Arrays *arrays = context;
    const uint32_t *x = (const uint32_t *)(const void *)arrays->a + begin;
    size_t part = (end - begin) / STREAMS;
    uint32_t some[LINE] = {0};
    for (size_t i = 0; i + LINE <= part; i += LINE) {
        for (size_t s = 0; s < STREAMS; s++) {
            const uint32_t *line = x + s * part + i;
            __builtin_prefetch(line + AHEAD);
            for (size_t j = 0; j < LINE; j++) {
                some[j] |= line[j];
            }
        }
    }
    for (size_t j = 0; j < LINE; j++) {
        arrays->sum[thread] += (float)some[j];
    }
}

static void triad_part(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const Arrays *arrays = context;
    float *restrict a = arrays->a;
    const float *restrict b = arrays->b, *restrict c = arrays->c;
    for (size_t i = begin; i < end; i++) {
        a[i] = b[i] + 0.5f * c[i];
    }
}

static double best_bandwidth(ParallelBody *body, Arrays *arrays, double bytes) {
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double start = clock_seconds();
        parallel_for(FLOATS, 4096, body, arrays);
        double rate = bytes / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

double machine_read_bandwidth(void) {
    static Arrays arrays;
    if (arrays.a == NULL) {
        arrays.a = array();
        parallel_for(FLOATS, 4096, fill, arrays.a);
    }
    return best_bandwidth(read_part, &arrays, FLOATS * sizeof(float));
}

double machine_triad_bandwidth(void) {
    static Arrays arrays;
    if (arrays.a == NULL) {
        arrays = (Arrays){array(), array(), array(), {0}};
        parallel_for(FLOATS, 4096, fill, arrays.a);
        parallel_for(FLOATS, 4096, fill, arrays.b);
        parallel_for(FLOATS, 4096, fill, arrays.c);
    }
    return best_bandwidth(triad_part, &arrays, 3 * FLOATS * sizeof(float));
}
