/* SPDX-License-Identifier: MIT
 *
 * Matrix product on one thread after Goto and van de Geijn ("Anatomy of high-performance matrix
 * multiplication", 2008): blocks of A and B are packed into panels, and a kernel multiplies a panel of
 * TILE_ROWS rows of A with a panel of two vectors' columns of B, keeping the tile of C in registers.
 *
 * Why not a BLAS: the serial build of OpenBLAS may not be called from two threads at once, the threaded
 * ones bring threads of their own.
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
typedef struct RowPanel {
    const float *data;
    size_t row_step;
} RowPanel;

/* TILE_COLUMNS columns of B: packed (step = TILE_COLUMNS), or as they lie (then A is packed). */
typedef struct ColumnPanel {
    const float *data;
    size_t step;
} ColumnPanel;

/* A whole tile: C[TILE_ROWS, TILE_COLUMNS] = alpha a b + beta C, over a depth of k. */
static inline __attribute__((always_inline)) void multiply(size_t k, const float *restrict a,
                                                           size_t row_step, size_t depth_step,
                                                           const float *restrict b, size_t b_step,
                                                           float *restrict c, size_t ldc,
                                                           float alpha, float beta) {
#define DECLARE(r) Vector x##r = {0}, y##r = {0};
    EACH_ROW(DECLARE)
    for (size_t p = 0; p < k; p++) {
        Vector b0 = *(const Loose *)b, b1 = *(const Loose *)(b + VECTOR);
#define STEP(r)                                                                                    \
    x##r += a[r * row_step] * b0;                                                                  \
    y##r += a[r * row_step] * b1;
        EACH_ROW(STEP)
        a += depth_step;
        b += b_step;
    }
#define STORE(r) store(c + r * ldc, x##r, y##r, alpha, beta);
    EACH_ROW(STORE)
}

static void tile(size_t k, RowPanel a, ColumnPanel b, float *c, size_t ldc, float alpha,
                 float beta) {
    if (a.row_step != 1) {
        multiply(k, a.data, a.row_step, 1, b.data, TILE_COLUMNS, c, ldc, alpha, beta);
    } else if (b.step == TILE_COLUMNS) {
        multiply(k, a.data, 1, TILE_ROWS, b.data, TILE_COLUMNS, c, ldc, alpha, beta);
    } else {
        multiply(k, a.data, 1, TILE_ROWS, b.data, b.step, c, ldc, alpha, beta);
    }
}

/* A tile cut by the edge of C. */
static void edge_tile(size_t k, RowPanel a, ColumnPanel b, float *c, size_t ldc, float alpha,
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

typedef float Quad __attribute__((vector_size(16)));
typedef float LooseQuad __attribute__((vector_size(16), aligned(4)));

/* to[p][l] = from[l][p] for 4 x 4 elements. */
static inline void transpose_quad(float *to, size_t width, const float *from, size_t ld) {
    Quad a = *(const LooseQuad *)from, b = *(const LooseQuad *)(from + ld);
    Quad c = *(const LooseQuad *)(from + 2 * ld), d = *(const LooseQuad *)(from + 3 * ld);
    Quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
         ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    Quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5),
         cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(LooseQuad *)to = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    *(LooseQuad *)(to + width) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    *(LooseQuad *)(to + 2 * width) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
    *(LooseQuad *)(to + 3 * width) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

/* to[p][l] = from[l][p] for lines l < n and depths p < k; rows of `to` are `width` apart. */
static inline void transpose(float *restrict to, size_t width, const float *restrict from,
                             size_t ld, size_t n, size_t k) {
    size_t depth = n < 4 ? 0 : k - k % 4;
    for (size_t p = 0; p < depth; p += 4) {
        size_t l = 0;
        for (; l + 4 <= n; l += 4) {
            transpose_quad(to + p * width + l, width, from + l * ld + p, ld);
        }
        if (l < n) { /* the last four lines once more, some of them for the second time */
            transpose_quad(to + p * width + n - 4, width, from + (n - 4) * ld + p, ld);
        }
    }
    for (size_t p = depth; p < k; p++) {
        for (size_t l = 0; l < n; l++) {
            to[p * width + l] = from[l * ld + p];
        }
    }
}

/* Panels of `width` lines: element (line, p) goes to [line / width][p][line % width]; missing lines are
 * zero. along: p runs along the rows of x as stored, else lines do; then x is read row by row, which
 * lets the memory run ahead. */
static inline __attribute__((always_inline)) void pack(float *restrict to, const float *restrict x,
                                                       size_t ld, bool along, size_t lines,
                                                       size_t k, size_t width) {
    size_t whole = lines - lines % width, left = lines - whole;
    float *last = to + whole * k;
    if (left > 0) {
        memset(last, 0, width * k * sizeof *to);
    }
    if (along) {
        for (size_t first = 0; first < lines; first += width) {
            transpose(to + first * k, width, x + first * ld, ld, least(width, lines - first), k);
        }
        return;
    }
    for (size_t p = 0; p < k; p++) {
        const float *row = x + p * ld;
        for (size_t first = 0; first < whole; first += width) { /* copies of a constant size */
            memcpy(to + first * k + p * width, row + first, width * sizeof *to);
        }
        memcpy(last + p * width, row + whole, left * sizeof *to);
    }
}

/* C[m, n] = alpha a b + beta C of one block, b packed or (loose, rows ldb apart) as it lies but for the
 * columns that the edge cuts. Rows of A that lie as they are wanted are read in place too, unless their
 * distance would make them fight for the same places of the cache; only those that the edge cuts are
 * packed then. */
static void multiply_block(Transpose ta, const float *a, size_t lda, const float *loose, size_t ldb,
                           size_t m, size_t n, size_t k, float *c, size_t ldc, float alpha,
                           float beta) {
    bool in_place =
        DIRECT && ta == PLAIN && lda > 1 && loose == NULL && (k <= 128 || lda % 256 != 0);
    size_t whole = m - m % TILE_ROWS;
    size_t first = in_place ? whole : 0; /* of the packed rows */
    pack(packed_a, ta == PLAIN ? a + first * lda : a + first, lda, ta == PLAIN, m - first, k,
         TILE_ROWS);
    for (size_t j = 0; j < n; j += TILE_COLUMNS) {
        bool cut = j + TILE_COLUMNS > n;
        ColumnPanel columns = {packed_b + j * k, TILE_COLUMNS};
        if (loose != NULL && !cut) {
            columns = (ColumnPanel){loose + j, ldb};
        }
        for (size_t i = 0; i < m; i += TILE_ROWS) {
            RowPanel rows = {packed_a + (i - first) * k, 1};
            if (i < first) {
                rows = (RowPanel){a + i * lda, lda};
            }
            float *corner = c + i * ldc + j;
            if (i < whole && !cut) {
                tile(k, rows, columns, corner, ldc, alpha, beta);
            } else {
                edge_tile(k, rows, columns, corner, ldc, alpha, beta, least(TILE_ROWS, m - i),
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
    /* B is read once: packing it would only pay for rows so long that each begins on another page. */
    bool once = tb == PLAIN && m <= TILE_ROWS && ldb <= 1024;
    for (size_t j = 0; j < n; j += BLOCK_COLUMNS) {
        size_t columns = least(BLOCK_COLUMNS, n - j);
        for (size_t p = 0; p < k; p += BLOCK_K) {
            size_t depth = least(BLOCK_K, k - p);
            const float *corner = tb == PLAIN ? b + p * ldb + j : b + j * ldb + p;
            size_t packed = once ? columns - columns % TILE_COLUMNS : 0;
            if (tb == PLAIN) {
                pack(packed_b + packed * depth, corner + packed, ldb, false, columns - packed,
                     depth, TILE_COLUMNS);
            } else {
                pack(packed_b, corner, ldb, true, columns, depth, TILE_COLUMNS);
            }
            for (size_t i = 0; i < m; i += BLOCK_ROWS) {
                multiply_block(ta, a + (ta == PLAIN ? i * lda + p : p * lda + i), lda,
                               once ? corner : NULL, ldb, least(BLOCK_ROWS, m - i), columns, depth,
                               c + i * ldc + j, ldc, alpha, p == 0 ? beta : 1);
            }
        }
    }
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
extern const GemmKernels GEMM;
const GemmKernels GEMM = {TEXT(GEMM), serial};
