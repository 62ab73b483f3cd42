/* SPDX-License-Identifier: MIT */
#include "common/kernels/gemm.h"

#include <cblas.h>
#include <stdint.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm_block.h"

static GemmEngine selected = GEMM_OWN;

void gemm_select(GemmEngine engine) {
    selected = engine;
}

void gemm_reference(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++) {
                double x = ta == PLAIN ? a[i * lda + p] : a[p * lda + i];
                double y = tb == PLAIN ? b[p * ldb + j] : b[j * ldb + p];
                sum += x * y;
            }
            double old = beta == 0 ? 0 : (double)beta * c[i * ldc + j];
            c[i * ldc + j] = (float)(alpha * sum + old);
        }
    }
}

void gemm_serial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc) {
    gemm_kernels()->serial(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

typedef struct Gemm {
    Transpose ta, tb;
    size_t m, n, k;
    float alpha;
    const float *a;
    size_t lda;
    const float *b;
    size_t ldb;
    float beta;
    float *c;
    size_t ldc;
} Gemm;

static void gemm_rows(void *context, size_t begin, size_t end, int thread) {
    const Gemm *g = context;
    (void)thread;
    gemm_serial(g->ta, g->tb, end - begin, g->n, g->k, g->alpha,
                g->a + (g->ta == PLAIN ? begin * g->lda : begin), g->lda, g->b, g->ldb, g->beta,
                g->c + begin * g->ldc, g->ldc);
}

static void gemm_columns(void *context, size_t begin, size_t end, int thread) {
    const Gemm *g = context;
    (void)thread;
    gemm_serial(g->ta, g->tb, g->m, end - begin, g->k, g->alpha, g->a, g->lda,
                g->b + (g->tb == PLAIN ? begin : begin * g->ldb), g->ldb, g->beta, g->c + begin,
                g->ldc);
}

enum {
    ROW_GRAIN = 24, /* a multiple of what micro-kernels take in one row direction */
    COLUMN_GRAIN = 32,
    SMALL_PRODUCT = 1 << 18, /* below this a second thread costs more than it gives */
};

static void gemm_openblas(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                          const float *a, size_t lda, const float *b, size_t ldb, float beta,
                          float *c, size_t ldc) {
    CHECK(m <= INT32_MAX && n <= INT32_MAX && k <= INT32_MAX && lda <= INT32_MAX &&
          ldb <= INT32_MAX && ldc <= INT32_MAX);
    cblas_sgemm(CblasRowMajor, ta == PLAIN ? CblasNoTrans : CblasTrans,
                tb == PLAIN ? CblasNoTrans : CblasTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void gemm(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha, const float *a,
          size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    if (m * n * k <= SMALL_PRODUCT) {
        gemm_serial(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    if (selected == GEMM_OPENBLAS && !parallel_is_inside()) {
        gemm_openblas(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    Gemm g = {ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc};
    if (m >= n) {
        parallel_for(m, ROW_GRAIN, gemm_rows, &g);
    } else {
        parallel_for(n, COLUMN_GRAIN, gemm_columns, &g);
    }
}

float round_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        bits |= 0x400000;
    } else {
        bits += 0x7fff + (bits >> 16 & 1);
    }
    bits &= 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

size_t packed_matrix_bytes(GemmType type, size_t k, size_t n) {
    (void)type;
    return k * n * sizeof(float);
}

PackedMatrix packed_matrix(GemmType type, Transpose tb, size_t k, size_t n, const float *b,
                           size_t ldb, void *memory) {
    float *to = memory;
    for (size_t p = 0; p < k; p++) {
        for (size_t j = 0; j < n; j++) {
            float x = tb == PLAIN ? b[p * ldb + j] : b[j * ldb + p];
            to[p * n + j] = type == GEMM_BF16 ? round_bf16(x) : x;
        }
    }
    return (PackedMatrix){type, k, n, memory};
}

void product_run(const Product *p) {
    if (p->packed != NULL) {
        gemm(p->ta, PLAIN, p->m, p->n, p->k, p->alpha, p->a, p->lda, p->packed->data, p->n, p->beta,
             p->c, p->ldc);
    } else {
        gemm(p->ta, p->tb, p->m, p->n, p->k, p->alpha, p->a, p->lda, p->b, p->ldb, p->beta, p->c,
             p->ldc);
    }
    if (p->finish != NULL) {
        p->finish(p->context, 0, p->m, 0, p->n, p->c, p->ldc);
    }
}

void product_serial(const Product *p) {
    product_run(p);
}
