/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/kernels/gemm.h"
#include "common/kernels/gemm_block.h"

enum { MOST = 40 * 330 }; /* floats of an operand */

typedef struct Operands {
    float a[MOST], b[MOST], c[MOST], old[MOST], want[MOST], rounded[2][MOST];
    char packed[2 * MOST * sizeof(float)] __attribute__((aligned(64)));
} Operands;

/* Numbers in [-1, 1) that look random. */
static void fill(float *x, uint32_t state) {
    for (size_t i = 0; i < MOST; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static void add_place(const void *context, size_t row, size_t rows, size_t column, size_t columns,
                      float *c, size_t ldc) {
    (void)context;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            c[i * ldc + j] += (float)(row + i) - (float)(column + j);
        }
    }
}

static void expect(Operands *o, const Product *p) {
    for (size_t i = 0; i < MOST; i++) {
        o->rounded[0][i] = p->type == GEMM_BF16 ? round_bf16(o->a[i]) : o->a[i];
        o->rounded[1][i] = p->type == GEMM_BF16 ? round_bf16(o->b[i]) : o->b[i];
    }
    memcpy(o->want, o->old, sizeof o->want);
    gemm_reference(p->ta, p->tb, p->m, p->n, p->k, p->alpha, o->rounded[0], p->lda, o->rounded[1],
                   p->ldb, p->beta, o->want, p->ldc);
}

/* Sums of k numbers in [-1, 1] that look random are far from k: rounding stays far below the bound, and
 * a missing or strange number far above it. */
static bool compare(const Operands *o, const Product *p, Error *err) {
    for (size_t i = 0; i < p->m * p->ldc; i++) {
        size_t row = i / p->ldc, column = i % p->ldc;
        bool inside = column < p->n;
        float more = inside && p->finish != NULL ? (float)row - (float)column : 0;
        double bound = inside ? ((double)p->k + 4 + fabsf(more)) * 0x1p-22 : 0;
        double want = (double)o->want[i] + (double)more;
        if (!(fabs((double)o->c[i] - want) <= bound)) {
            return error_set(
                err, ERROR_UNAVAILABLE,
                "Matrix products are wrong on this machine: %s gave %g instead of %g in "
                "a product %s%s of %zu x %zu x %zu; choose other kernels with "
                "compute.gemm.",
                gemm_describe(p->type), (double)o->c[i], want, p->ta == PLAIN ? "N" : "T",
                p->tb == PLAIN ? "N" : "T", p->m, p->n, p->k);
        }
    }
    return true;
}

/* One product: unpacked, packed and finished, serial. */
static bool check(Operands *o, Product p, Error *err) {
    expect(o, &p);
    PackedMatrix packed = packed_matrix(p.type, p.tb, p.k, p.n, p.b, p.ldb, o->packed);
    Product with = p;
    with.packed = &packed;
    with.b = NULL;
    with.finish = add_place;
    memcpy(o->c, o->old, sizeof o->c);
    product_run(&p);
    if (!compare(o, &p, err)) {
        return false;
    }
    memcpy(o->c, o->old, sizeof o->c);
    product_run(&with);
    if (!compare(o, &with, err)) {
        return false;
    }
    memcpy(o->c, o->old, sizeof o->c);
    product_serial(&p);
    return compare(o, &p, err);
}

bool gemm_self_check(Error *err) {
    static const size_t sizes[][3] = {
        {1,  67,  139},
        {2,  100, 70 },
        {5,  31,  300},
        {37, 33,  259},
        {39, 190, 41 },
        {9,  1,   7  }
    };
    Operands *o = mem_alloc_aligned(1, sizeof *o, err);
    if (o == NULL) {
        return false;
    }
    fill(o->a, 1);
    fill(o->b, 2);
    fill(o->old, 3);
    bool right = true;
    for (size_t i = 0; right && i < 8 * (sizeof sizes / sizeof *sizes); i++) {
        const size_t *size = sizes[i / 8];
        Product p = {
            .type = (GemmType)(i % 2),
            .ta = (Transpose)(i / 2 % 2),
            .tb = (Transpose)(i / 4 % 2),
            .m = size[0],
            .n = size[1],
            .k = size[2],
            .alpha = 0.75f,
            .beta = i / 8 % 2 == 0 ? 0 : 1,
            .a = o->a,
            .b = o->b,
            .c = o->c,
            .ldc = size[1] + 2,
        };
        p.lda = (p.ta == PLAIN ? p.k : p.m) + 1;
        p.ldb = (p.tb == PLAIN ? p.n : p.k) + 1;
        right = check(o, p, err);
    }
    free(o);
    return right;
}
