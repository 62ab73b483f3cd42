/* SPDX-License-Identifier: MIT
 *
 * Matrix products on the shapes of a training step: our kernels on all threads and on one, and OpenBLAS
 * on one.   bench_gemm [threads=N] [rows=N] [width=C] [vocabulary=V]
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm.h"

typedef struct Shape {
    Transpose ta, tb;
    size_t m, n, k;
    const float *a, *b;
    float *c;
} Shape;

static size_t lda(const Shape *p) {
    return p->ta == PLAIN ? p->k : p->m;
}

static size_t ldb(const Shape *p) {
    return p->tb == PLAIN ? p->n : p->k;
}

static void ours(void *context) {
    const Shape *p = context;
    gemm(p->ta, p->tb, p->m, p->n, p->k, 1, p->a, lda(p), p->b, ldb(p), 0, p->c, p->n);
}

static void ours_serial(void *context) {
    const Shape *p = context;
    gemm_serial(p->ta, p->tb, p->m, p->n, p->k, 1, p->a, lda(p), p->b, ldb(p), 0, p->c, p->n);
}

static void openblas_serial(void *context) {
    const Shape *p = context;
    cblas_sgemm(CblasRowMajor, p->ta == PLAIN ? CblasNoTrans : CblasTrans,
                p->tb == PLAIN ? CblasNoTrans : CblasTrans, (blasint)p->m, (blasint)p->n,
                (blasint)p->k, 1, p->a, (blasint)lda(p), p->b, (blasint)ldb(p), 0, p->c,
                (blasint)p->n);
}

int main(int argc, char **argv) {
    parallel_init((int)bench_argument(argc, argv, "threads", 0));
    size_t n = (size_t)bench_argument(argc, argv, "rows", 2048);
    size_t c = (size_t)bench_argument(argc, argv, "width", 256);
    size_t v = (size_t)bench_argument(argc, argv, "vocabulary", 800);
    const struct {
        const char *name;
        Transpose ta, tb;
        size_t m, n, k;
    } shape[] = {
        {"qkv forward",          PLAIN,      PLAIN,      n,     3 * c, c    },
        {"qkv input gradient",   PLAIN,      TRANSPOSED, n,     c,     3 * c},
        {"qkv weight gradient",  TRANSPOSED, PLAIN,      c,     3 * c, n    },
        {"projection forward",   PLAIN,      PLAIN,      n,     c,     c    },
        {"up forward",           PLAIN,      PLAIN,      n,     4 * c, c    },
        {"down forward",         PLAIN,      PLAIN,      n,     c,     4 * c},
        {"down input gradient",  PLAIN,      TRANSPOSED, n,     4 * c, c    },
        {"down weight gradient", TRANSPOSED, PLAIN,      4 * c, c,     n    },
        {"head forward",         PLAIN,      TRANSPOSED, 512,   v,     c    },
        {"head input gradient",  PLAIN,      PLAIN,      512,   c,     v    },
        {"head weight gradient", TRANSPOSED, PLAIN,      v,     c,     512  },
        {"attention scores",     PLAIN,      TRANSPOSED, 32,    64,    32   },
    };
    size_t most = (n > 512 ? n : 512) * 4 * c + v * (c + 512) + 4 * c * c;
    Error err = {0};
    float *x = mem_alloc_aligned(3 * most, sizeof *x, &err);
    if (x == NULL) {
        error_print(&err, "bench_gemm", stderr);
        return err.code;
    }
    for (size_t i = 0; i < 3 * most; i++) {
        x[i] = (float)(i % 17) - 8;
    }
    double peak = bench_peak();
    printf("%d threads, 1024^3 at %.1f GFLOP/s\n", parallel_threads(), peak * 1e-9);
    printf("%-22s %18s %9s %9s %9s  (GFLOP/s)\n", "product", "M x N x K", "all", "one", "OpenBLAS");
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        Shape p = {shape[i].ta, shape[i].tb, shape[i].m, shape[i].n,
                   shape[i].k,  x,           x + most,   x + 2 * most};
        double flops = 2e-9 * (double)p.m * (double)p.n * (double)p.k;
        char size[64];
        snprintf(size, sizeof size, "%zu x %zu x %zu", p.m, p.n, p.k);
        printf("%-22s %18s %9.1f %9.1f %9.1f\n", shape[i].name, size,
               flops / bench_time(ours, &p, 5, 0.02), flops / bench_time(ours_serial, &p, 5, 0.02),
               flops / bench_time(openblas_serial, &p, 5, 0.02));
    }
    free(x);
    return 0;
}
