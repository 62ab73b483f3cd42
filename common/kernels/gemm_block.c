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

#include <stdbool.h>
#include <string.h>

#if defined __AVX512F__
enum { VECTOR = 16, TILE_ROWS = 14, DIRECT = 0 };
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif defined __AVX2__
enum { VECTOR = 8, TILE_ROWS = 6, DIRECT = 1 };
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
enum { VECTOR = 4, TILE_ROWS = 6, DIRECT = 1 };
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

static inline void store(float *c, Vector x, Vector y, float alpha, float beta) {
    Loose *to = (Loose *)c;
    x *= alpha;
    y *= alpha;
    if (beta == 0) {
        to[0] = x;
        to[1] = y;
    } else {
        to[0] = to[0] * beta + x;
        to[1] = to[1] * beta + y;
    }
}

/* TILE_ROWS rows of A: packed (row_step = 1, then depth by depth), or as they lie in memory. */
typedef struct Panel {
    const float *data;
    size_t row_step;
} Panel;

/* A whole tile: C[TILE_ROWS, TILE_COLUMNS] = alpha a b + beta C, over a depth of k. */
static inline __attribute__((always_inline)) void
multiply(size_t k, const float *restrict a, size_t row_step, size_t depth_step,
         const float *restrict b, float *restrict c, size_t ldc, float alpha, float beta) {
#define DECLARE(r) Vector x##r = {0}, y##r = {0};
    EACH_ROW(DECLARE)
    for (size_t p = 0; p < k; p++) {
        Vector b0 = *(const Vector *)b, b1 = *(const Vector *)(b + VECTOR);
#define STEP(r)                                                                                    \
    x##r += a[r * row_step] * b0;                                                                  \
    y##r += a[r * row_step] * b1;
        EACH_ROW(STEP)
        a += depth_step;
        b += TILE_COLUMNS;
    }
#define STORE(r) store(c + r * ldc, x##r, y##r, alpha, beta);
    EACH_ROW(STORE)
}

static void tile(size_t k, Panel a, const float *b, float *c, size_t ldc, float alpha, float beta) {
    if (a.row_step == 1) { /* packed */
        multiply(k, a.data, 1, TILE_ROWS, b, c, ldc, alpha, beta);
    } else { /* rows as they lie */
        multiply(k, a.data, a.row_step, 1, b, c, ldc, alpha, beta);
    }
}

/* A tile cut by the edge of C. */
static void edge_tile(size_t k, Panel a, const float *b, float *c, size_t ldc, float alpha,
                      float beta, size_t rows, size_t columns) {
    float whole[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
    tile(k, a, b, whole, TILE_COLUMNS, alpha, 0);
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
static inline __attribute__((always_inline)) void pack(float *restrict to, const float *restrict x,
                                                       size_t ld, bool along, size_t lines,
                                                       size_t k, size_t width) {
    for (size_t first = 0; first < lines; first += width, to += width * k) {
        const float *from = x + (along ? first * ld : first);
        size_t n = least(width, lines - first);
        if (n < width) {
            memset(to, 0, width * k * sizeof *to);
            for (size_t p = 0; p < k; p++) {
                for (size_t l = 0; l < n; l++) {
                    to[p * width + l] = along ? from[l * ld + p] : from[p * ld + l];
                }
            }
        } else if (along) {
            for (size_t p = 0; p < k; p++) {
                for (size_t l = 0; l < width; l++) {
                    to[p * width + l] = from[l * ld + p];
                }
            }
        } else {
            for (size_t p = 0; p < k; p++) {
                memcpy(to + p * width, from + p * ld, width * sizeof *to);
            }
        }
    }
}

/* C[m, n] = alpha a b + beta C of one block. Rows of A that lie as they are wanted are read in place;
 * only those that the edge cuts are packed then. */
static void multiply_block(Transpose ta, const float *a, size_t lda, size_t m, size_t n, size_t k,
                           float *c, size_t ldc, float alpha, float beta) {
    bool in_place = DIRECT && ta == PLAIN && lda > 1;
    size_t whole = m - m % TILE_ROWS;
    size_t first = in_place ? whole : 0; /* of the packed rows */
    pack(packed_a, ta == PLAIN ? a + first * lda : a + first, lda, ta == PLAIN, m - first, k,
         TILE_ROWS);
    for (size_t j = 0; j < n; j += TILE_COLUMNS) {
        const float *b = packed_b + j * k;
        for (size_t i = 0; i < m; i += TILE_ROWS) {
            Panel rows =
                i < first ? (Panel){a + i * lda, lda} : (Panel){packed_a + (i - first) * k, 1};
            float *corner = c + i * ldc + j;
            if (i < whole && j + TILE_COLUMNS <= n) {
                tile(k, rows, b, corner, ldc, alpha, beta);
            } else {
                edge_tile(k, rows, b, corner, ldc, alpha, beta, least(TILE_ROWS, m - i),
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
            if (tb == PLAIN) {
                pack(packed_b, b + p * ldb + j, ldb, false, columns, depth, TILE_COLUMNS);
            } else {
                pack(packed_b, b + j * ldb + p, ldb, true, columns, depth, TILE_COLUMNS);
            }
            for (size_t i = 0; i < m; i += BLOCK_ROWS) {
                multiply_block(ta, a + (ta == PLAIN ? i * lda + p : p * lda + i), lda,
                               least(BLOCK_ROWS, m - i), columns, depth, c + i * ldc + j, ldc,
                               alpha, p == 0 ? beta : 1);
            }
        }
    }
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
extern const GemmKernels GEMM;
const GemmKernels GEMM = {TEXT(GEMM), serial};
