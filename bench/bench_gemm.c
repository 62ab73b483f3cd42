/* SPDX-License-Identifier: MIT
 *
 * Matrix products on the shapes of training, small models, decoding and attention, by every kernel that
 * the CPU can run. In quick runs the best one alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm_block.h"

/* Decoding reads its weights from memory, not from a cache: it walks through copies as large as this. */
enum { COPIES_BYTES = 256 << 20, COPIES_MOST = 256 };

typedef enum Use {
    ONCE,     /* both operands are new: gradients of weights */
    WEIGHTS,  /* B meets many products: also packed beforehand */
    DECODING, /* packed weights out of memory */
    HEADS,    /* many small products, each on one thread */
} Use;

typedef struct Shape {
    const char *name;
    Use use;
    Transpose ta, tb;
    size_t m, n, k;
    size_t count; /* products of one call */
    bool full;
} Shape;

static const Shape shapes[] = {
    {"124M qkv",         WEIGHTS,  PLAIN,      PLAIN,      1024, 2304,  768,  1,  true },
    {"124M up",          WEIGHTS,  PLAIN,      PLAIN,      1024, 3072,  768,  1,  false},
    {"124M down",        WEIGHTS,  PLAIN,      PLAIN,      1024, 768,   3072, 1,  true },
    {"124M head",        WEIGHTS,  PLAIN,      TRANSPOSED, 1024, 50257, 768,  1,  true },
    {"124M up dx",       WEIGHTS,  PLAIN,      TRANSPOSED, 1024, 768,   3072, 1,  true },
    {"124M up dw",       ONCE,     TRANSPOSED, PLAIN,      768,  3072,  1024, 1,  false},
    {"small up",         WEIGHTS,  PLAIN,      PLAIN,      4096, 1536,  384,  1,  false},
    {"small up dw",      ONCE,     TRANSPOSED, PLAIN,      384,  1536,  4096, 1,  true },
    {"small head",       WEIGHTS,  PLAIN,      TRANSPOSED, 4096, 4096,  384,  1,  true },
    {"tiny up",          WEIGHTS,  PLAIN,      PLAIN,      3840, 512,   128,  1,  false},
    {"tiny up dw",       ONCE,     TRANSPOSED, PLAIN,      128,  512,   3840, 1,  true },
    {"tiny qkv dw",      ONCE,     TRANSPOSED, PLAIN,      128,  384,   3840, 1,  true },
    {"tiny down dw",     ONCE,     TRANSPOSED, PLAIN,      512,  128,   3840, 1,  true },
    {"tiny head",        WEIGHTS,  PLAIN,      TRANSPOSED, 1920, 800,   128,  1,  true },
    {"decoding 1 row",   DECODING, PLAIN,      PLAIN,      1,    3072,  768,  1,  false},
    {"decoding 3 rows",  DECODING, PLAIN,      PLAIN,      3,    3072,  768,  1,  true },
    {"decoding 4 rows",  DECODING, PLAIN,      PLAIN,      4,    3072,  768,  1,  true },
    {"decoding 8 rows",  DECODING, PLAIN,      PLAIN,      8,    3072,  768,  1,  false},
    {"decoding 16 rows", DECODING, PLAIN,      PLAIN,      16,   3072,  768,  1,  true },
    {"decoding 32 rows", DECODING, PLAIN,      PLAIN,      32,   3072,  768,  1,  false},
    {"decoding down",    DECODING, PLAIN,      PLAIN,      8,    768,   3072, 1,  true },
    {"decoding head",    DECODING, PLAIN,      TRANSPOSED, 8,    50257, 768,  1,  true },
    {"decoding tiny",    DECODING, PLAIN,      PLAIN,      64,   512,   128,  1,  true },
    {"attention scores", HEADS,    PLAIN,      TRANSPOSED, 256,  256,   64,   48, false},
    {"attention values", HEADS,    PLAIN,      PLAIN,      256,  64,    256,  48, true },
};

typedef struct Work {
    const Shape *shape;
    Product product;
    PackedMatrix packed[COPIES_MOST];
    size_t copies, next;
    float *a, *b, *c;
} Work;

static void *memory(size_t n, size_t size) {
    Error err = {0};
    void *x = mem_alloc_aligned(n, size, &err);
    if (x == NULL) {
        bench_fail(&err);
    }
    return x;
}

static float *numbers(size_t n) {
    float *x = memory(n, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
    }
    return x;
}

static void run_heads(void *context, size_t begin, size_t end, int thread) {
    const Work *work = context;
    const Shape *s = work->shape;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        Product product = work->product;
        product.a += i * s->m * s->k;
        product.b += i * s->k * s->n;
        product.c += i * s->m * s->n;
        product_serial(&product);
    }
}

static void run(void *context) {
    Work *work = context;
    if (work->shape->use == HEADS) {
        parallel_for(work->shape->count, 1, run_heads, work);
        return;
    }
    if (work->copies > 0) {
        work->product.packed = &work->packed[work->next];
        work->next = (work->next + 1) % work->copies;
    }
    product_run(&work->product);
}

static void prepare(Work *work, const Shape *s, GemmType type, bool packed) {
    *work = (Work){.shape = s};
    work->a = numbers(s->count * s->m * s->k);
    work->b = numbers(s->count * s->k * s->n);
    work->c = memory(s->count * s->m * s->n, sizeof *work->c);
    bool a_plain = s->ta == PLAIN, b_plain = s->tb == PLAIN;
    work->product = (Product){.type = type,
                              .ta = s->ta,
                              .tb = s->tb,
                              .m = s->m,
                              .n = s->n,
                              .k = s->k,
                              .alpha = 1,
                              .a = work->a,
                              .lda = a_plain ? s->k : s->m,
                              .b = packed ? NULL : work->b,
                              .ldb = b_plain ? s->n : s->k,
                              .c = work->c,
                              .ldc = s->n};
    if (packed) {
        size_t bytes = packed_matrix_bytes(type, s->k, s->n);
        size_t copies = s->use == DECODING ? COPIES_BYTES / bytes + 1 : 1;
        work->copies = copies < COPIES_MOST ? copies : COPIES_MOST;
        for (size_t i = 0; i < work->copies; i++) {
            work->packed[i] = packed_matrix(type, s->tb, s->k, s->n, work->b, work->product.ldb,
                                            memory(bytes, 1));
        }
    }
}

static void finish(Work *work) {
    for (size_t i = 0; i < work->copies; i++) {
        free((void *)(uintptr_t)work->packed[i].data);
    }
    free(work->a);
    free(work->b);
    free(work->c);
}

/* threads: how many of the pool's take part. */
static void measure(const Shape *s, const char *engine, GemmType type, bool packed, bool full,
                    int threads) {
    static Work work;
    char name[96];
    snprintf(name, sizeof name, "gemm %s %zux%zux%zu%s %s %s%s", s->name, s->m, s->n, s->k,
             s->use == HEADS ? " a head" : "", engine, type == GEMM_BF16 ? "bf16" : "fp32",
             packed ? " packed" : "");
    if (!bench_wants(name, full || s->full)) {
        return;
    }
    prepare(&work, s, type, packed);
    double flops = 2.0 * (double)(s->count * s->m * s->n * s->k);
    size_t bytes = s->use == DECODING ? packed_matrix_bytes(type, s->k, s->n) : 0;
    bench_measure(&(BenchRow){.name = name,
                              .unit = "flops",
                              .work = flops,
                              .flops = flops * parallel_threads() / threads,
                              .bytes = (double)bytes,
                              .bf16 = type == GEMM_BF16,
                              .overlapped = true},
                  run, &work);
    finish(&work);
}

static void measure_own(const GemmKernels *kernels, bool full) {
    CHECK(gemm_use(kernels->name));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const Shape *s = &shapes[i];
        for (GemmType type = GEMM_FP32; type <= GEMM_BF16; type++) {
            if (s->use != DECODING) {
                measure(s, kernels->name, type, false, full || s->use == WEIGHTS,
                        parallel_threads());
            }
            if (s->use == WEIGHTS || s->use == DECODING) {
                measure(s, kernels->name, type, true, full, parallel_threads());
            }
        }
    }
}

/* OpenBLAS multiplies on one thread: it is held against one thread's part of the peak. */
static void measure_openblas(void) {
    gemm_select(GEMM_OPENBLAS);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (shapes[i].use == ONCE || shapes[i].use == WEIGHTS) {
            measure(&shapes[i], "openblas-1", GEMM_FP32, false, false, 1);
        }
    }
    gemm_select(GEMM_OWN);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_gemm");
    measure_openblas();
    const char *best = gemm_kernels()->name;
    const GemmKernels *kernels;
    for (size_t i = 0; (kernels = gemm_kernels_at(i)) != NULL; i++) {
        measure_own(kernels, kernels->name != best);
    }
    return bench_end();
}
