/* SPDX-License-Identifier: MIT
 *
 * Tiles of C, kept in registers while a kernel runs along the depth of a block.
 *
 * Compiled several times; GEMM is the table that this compilation defines, NAME its name.
 */
#include "common/kernels/gemm_block.h"

#include "common/kernels/gemm_pack.h"
#include "common/kernels/gemm_vector.h"

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { MOST_VECTORS = 8 };

/* Where a tile's operands and results lie. */
typedef struct Place {
    const Word *a, *b;
    float *c;
    size_t ldc;
} Place;

/* C[rows, panels * TILE_COLUMNS] = alpha A B + beta C. The numbers in front are constants. */
INLINE void tile(const int rows, const int panels, const GemmType type, const GemmBlock *g,
                 Place at) {
    Vector sum[TILE_ROWS][MOST_VECTORS], y[MOST_VECTORS];
    const Word *restrict a = at.a, *restrict b = at.b;
    const size_t a_row = g->a_row, a_step = g->a_step, b_panel = g->b_panel, b_step = g->b_step;
    const size_t steps = PAIRS ? packed_steps(type, g->k) : g->k;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2 * panels; v++) {
            sum[r][v] = (Vector){0};
        }
    }
    for (size_t p = 0; p < steps; p++, a += a_step, b += b_step) {
        UNROLL
        for (int v = 0; v < 2 * panels; v += 2) {
            const Word *from = b + (size_t)(v / 2) * b_panel;
            if (type == GEMM_FP32 || PAIRS) {
                y[v] = *(const Loose *)from;
                y[v + 1] = *(const Loose *)(from + VECTOR);
            } else {
                Bits both = *(const LooseBits *)from;
                y[v] = (Vector)(both << 16);
                y[v + 1] = (Vector)(both & 0xffff0000);
            }
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const Word *x = a + (size_t)r * a_row;
            UNROLL
            for (int v = 0; v < 2 * panels; v++) {
                sum[r][v] = type == GEMM_BF16 && PAIRS
                                ? fused_pairs(*x - (Bits){0}, (Bits)y[v], sum[r][v])
                                : fused(*(const float *)x - (Vector){0}, y[v], sum[r][v]);
            }
        }
    }
    Vector alpha = g->alpha - (Vector){0}, beta = g->beta - (Vector){0};
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2 * panels; v++) {
            Loose *to = (Loose *)(at.c + (size_t)r * at.ldc + v * VECTOR);
            Vector x = sum[r][v] * alpha;
            *to = g->beta == 0 ? x : fused(*to, beta, x);
        }
    }
}

typedef void Tile(const GemmBlock *g, Place at);

#if defined __AVX512F__
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
#define FUNCTIONS(rows)                                                                            \
    static void fp32_##rows(const GemmBlock *g, Place at) {                                        \
        tile(rows, 1, GEMM_FP32, g, at);                                                           \
    }                                                                                              \
    static void bf16_##rows(const GemmBlock *g, Place at) {                                        \
        tile(rows, 1, GEMM_BF16, g, at);                                                           \
    }
EACH_HEIGHT(FUNCTIONS)

/* Low tiles are as wide as it takes for eight sums, which hide how long an addition takes. */
#define LOW_FUNCTIONS(rows, panels)                                                                \
    static void fp32_low_##rows(const GemmBlock *g, Place at) {                                    \
        tile(rows, panels, GEMM_FP32, g, at);                                                      \
    }                                                                                              \
    static void bf16_low_##rows(const GemmBlock *g, Place at) {                                    \
        tile(rows, panels, GEMM_BF16, g, at);                                                      \
    }
LOW_FUNCTIONS(1, 4)
LOW_FUNCTIONS(2, 2)
LOW_FUNCTIONS(3, 2)

#define FP32_NAME(rows) fp32_##rows,
#define BF16_NAME(rows) bf16_##rows,
enum { LOW = 3 };
static Tile *const one_panel[2][TILE_ROWS + 1] = {
    {NULL, EACH_HEIGHT(FP32_NAME)},
    {NULL, EACH_HEIGHT(BF16_NAME)}
};
static Tile *const low[2][LOW + 1] = {
    {NULL, fp32_low_1, fp32_low_2, fp32_low_3},
    {NULL, bf16_low_1, bf16_low_2, bf16_low_3}
};
static const size_t low_panels[LOW + 1] = {0, 4, 2, 2};

static void copy(size_t rows, size_t columns, float *to, size_t ld_to, const float *from,
                 size_t ld_from) {
    for (size_t i = 0; i < rows; i++) {
        memcpy(to + i * ld_to, from + i * ld_from, columns * sizeof *to);
    }
}

/* Rows [row, end) of a panel that the edge of C cuts: by way of a whole tile. */
static void edge_tile(const GemmBlock *g, Place at, size_t rows, size_t columns) {
    float whole[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64))) = {0};
    Place inner = {at.a, at.b, whole, TILE_COLUMNS};
    if (g->beta != 0) {
        copy(rows, columns, whole, TILE_COLUMNS, at.c, at.ldc);
    }
    one_panel[g->type][rows](g, inner);
    copy(rows, columns, at.c, at.ldc, whole, TILE_COLUMNS);
}

/* All rows of one panel. */
static void panel(const GemmBlock *g, Place at, size_t columns) {
    size_t row = 0;
    for (size_t t = 0; row < g->m; t++) {
        size_t next = tile_begin(TILE_ROWS, g->m, t + 1);
        at.a = g->a + (g->a_panel == 0 ? row * g->a_row : t * g->a_panel);
        if (columns == TILE_COLUMNS) {
            one_panel[g->type][next - row](g, at);
        } else {
            edge_tile(g, at, next - row, columns);
        }
        at.c += (next - row) * g->ldc;
        row = next;
    }
}

static void multiply(const GemmBlock *g) {
    Place at = {g->a, g->b, g->c, g->ldc};
    for (size_t j = 0; j < g->n;) {
        size_t left = g->n - j, panels = g->m <= LOW ? low_panels[g->m] : 1;
        if (panels > 1 && left >= panels * TILE_COLUMNS) {
            low[g->type][g->m](g, at);
        } else {
            panels = 1;
            panel(g, at, left < TILE_COLUMNS ? left : TILE_COLUMNS);
        }
        j += panels * TILE_COLUMNS;
        at.b += panels * g->b_panel;
        at.c += panels * TILE_COLUMNS;
    }
}

extern const GemmKernels GEMM;
const GemmKernels GEMM = {
    .name = NAME,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
    .block_rows = BLOCK_ROWS,
    .in_place = IN_PLACE,
    .pairs = PAIRS,
    .multiply = multiply,
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
};
