/* SPDX-License-Identifier: MIT
 *
 * Matrix product on one thread after Goto and van de Geijn ("Anatomy of high-performance matrix
 * multiplication", 2008): blocks of A and B are packed into panels, and a kernel multiplies a panel of
 * TILE_ROWS rows of A with a panel of two vectors' columns of B, keeping the tile of C in registers.
 *
 * Every element of C is summed over k in the same order wherever its tile lies, so a result depends
 * neither on the other rows and columns of a product nor on how it is cut over threads.
 *
 * Compiled several times; GEMM names the table that this compilation defines.
 */
#include "common/kernels/gemm_block.h"

#include <string.h>

#if defined __AVX512F__
enum { VECTOR = 16, TILE_ROWS = 14 };
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif defined __AVX2__
enum { VECTOR = 8, TILE_ROWS = 6 };
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
enum { VECTOR = 4, TILE_ROWS = 6 };
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif
enum {
    TILE_COLUMNS = 2 * VECTOR,
    BLOCK_K = 256,               /* a panel of B stays in the first cache */
    BLOCK_ROWS = 16 * TILE_ROWS, /* a block of A stays in the second one */
    BLOCK_COLUMNS = 512,         /* a multiple of TILE_COLUMNS */
};

typedef float Vector __attribute__((vector_size(4 * VECTOR)));
typedef float Loose __attribute__((vector_size(4 * VECTOR), aligned(4)));

/* Packed blocks of the calling thread. */
static _Thread_local float packed_a[BLOCK_ROWS * BLOCK_K] __attribute__((aligned(64)));
static _Thread_local float packed_b[BLOCK_COLUMNS * BLOCK_K] __attribute__((aligned(64)));

static inline void store(float *c, Vector x, Vector y, float beta) {
    Loose *to = (Loose *)c;
    if (beta == 0) {
        to[0] = x;
        to[1] = y;
    } else if (beta == 1) {
        to[0] = to[0] + x;
        to[1] = to[1] + y;
    } else {
        to[0] = to[0] * beta + x;
        to[1] = to[1] * beta + y;
    }
}

/* A whole tile: C[TILE_ROWS, TILE_COLUMNS] = a b + beta C, from packed panels of depth k. */
static void tile(size_t k, const float *restrict a, const float *restrict b, float *restrict c,
                 size_t ldc, float beta) {
#define DECLARE(r) Vector x##r = {0}, y##r = {0};
    EACH_ROW(DECLARE)
    for (size_t p = 0; p < k; p++) {
        Vector b0 = *(const Vector *)b, b1 = *(const Vector *)(b + VECTOR);
#define STEP(r)                                                                                    \
    x##r += a[r] * b0;                                                                             \
    y##r += a[r] * b1;
        EACH_ROW(STEP)
        a += TILE_ROWS;
        b += TILE_COLUMNS;
    }
#define STORE(r) store(c + r * ldc, x##r, y##r, beta);
    EACH_ROW(STORE)
}

/* A tile cut by the edge of C. */
static void edge_tile(size_t k, const float *a, const float *b, float *c, size_t ldc, float beta,
                      size_t rows, size_t columns) {
    float whole[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
    tile(k, a, b, whole, TILE_COLUMNS, 0);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            float old = beta == 0 ? 0 : beta * c[i * ldc + j];
            c[i * ldc + j] = old + whole[i * TILE_COLUMNS + j];
        }
    }
}

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Panels of `width` lines: element (line, p) goes to [line / width][p][line % width]; missing lines are
 * zero. along: p runs along the rows of x as stored, else lines do. */
static inline void pack(float *restrict to, const float *restrict x, size_t ld, int along,
                        size_t lines, size_t k, size_t width, float alpha) {
    for (size_t first = 0; first < lines; first += width, to += width * k) {
        size_t n = least(width, lines - first);
        if (n < width) {
            memset(to, 0, width * k * sizeof *to);
        }
        if (along) {
            const float *from = x + first * ld;
            for (size_t p = 0; p < k; p++) {
                for (size_t l = 0; l < n; l++) {
                    to[p * width + l] = alpha * from[l * ld + p];
                }
            }
        } else {
            for (size_t p = 0; p < k; p++) {
                const float *from = x + p * ld + first;
                for (size_t l = 0; l < n; l++) {
                    to[p * width + l] = alpha * from[l];
                }
            }
        }
    }
}

static void multiply_block(size_t m, size_t n, size_t k, float *c, size_t ldc, float beta) {
    for (size_t j = 0; j < n; j += TILE_COLUMNS) {
        for (size_t i = 0; i < m; i += TILE_ROWS) {
            const float *a = packed_a + i * k, *b = packed_b + j * k;
            float *corner = c + i * ldc + j;
            if (i + TILE_ROWS <= m && j + TILE_COLUMNS <= n) {
                tile(k, a, b, corner, ldc, beta);
            } else {
                edge_tile(k, a, b, corner, ldc, beta, least(TILE_ROWS, m - i),
                          least(TILE_COLUMNS, n - j));
            }
        }
    }
}

static void scale(size_t m, size_t n, float beta, float *c, size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        }
    }
}

static void serial(Transpose ta, Transpose tb, size_t m, size_t n, size_t k, float alpha,
                   const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                   size_t ldc) {
    if (k == 0) {
        scale(m, n, beta, c, ldc);
        return;
    }
    for (size_t j = 0; j < n; j += BLOCK_COLUMNS) {
        size_t columns = least(BLOCK_COLUMNS, n - j);
        for (size_t p = 0; p < k; p += BLOCK_K) {
            size_t depth = least(BLOCK_K, k - p);
            pack(packed_b, tb == PLAIN ? b + p * ldb + j : b + j * ldb + p, ldb, tb == TRANSPOSED,
                 columns, depth, TILE_COLUMNS, 1);
            for (size_t i = 0; i < m; i += BLOCK_ROWS) {
                size_t rows = least(BLOCK_ROWS, m - i);
                pack(packed_a, ta == PLAIN ? a + i * lda + p : a + p * lda + i, lda, ta == PLAIN,
                     rows, depth, TILE_ROWS, alpha);
                multiply_block(rows, columns, depth, c + i * ldc + j, ldc, p == 0 ? beta : 1);
            }
        }
    }
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
extern const GemmKernels GEMM;
const GemmKernels GEMM = {TEXT(GEMM), serial};
