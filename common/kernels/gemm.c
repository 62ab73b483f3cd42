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

float round_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bf16_bits(bits) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

const char *gemm_describe(GemmType type) {
    if (type == GEMM_FP32 && selected == GEMM_OPENBLAS) {
        return "OpenBLAS, FP32";
    }
    return gemm_kernels()->text[type];
}

static void openblas(const Product *p) {
    CHECK(p->m <= INT32_MAX && p->n <= INT32_MAX && p->k <= INT32_MAX && p->lda <= INT32_MAX &&
          p->ldb <= INT32_MAX && p->ldc <= INT32_MAX);
    cblas_sgemm(CblasRowMajor, p->ta == PLAIN ? CblasNoTrans : CblasTrans,
                p->tb == PLAIN ? CblasNoTrans : CblasTrans, (blasint)p->m, (blasint)p->n,
                (blasint)p->k, p->alpha, p->a, (blasint)p->lda, p->b, (blasint)p->ldb, p->beta,
                p->c, (blasint)p->ldc);
    if (p->finish != NULL) {
        p->finish(p->context, 0, p->m, 0, p->n, p->c, p->ldc);
    }
}

void product_run(const Product *p) {
    if (selected == GEMM_OPENBLAS && p->type == GEMM_FP32 && p->packed == NULL &&
        p->compact.type == COMPACT_NONE && p->m > 0 && p->n > 0 && p->k > 0 &&
        !parallel_is_inside()) {
        openblas(p);
    } else {
        product_own(p);
    }
}

void gemm(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha, const float *a,
          size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    product_run(&(Product){
        GEMM_FP32, ta, tb, m, n, k, alpha, beta, a, lda, b, ldb, NULL, c, ldc, NULL, NULL, {0}});
}

void gemm_serial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc) {
    product_serial(&(Product){
        GEMM_FP32, ta, tb, m, n, k, alpha, beta, a, lda, b, ldb, NULL, c, ldc, NULL, NULL, {0}});
}
