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

_Static_assert((int)BLOCK_ROWS <= (int)MOST_ROWS, "packed rows fit");

/* Where the operands and results of tiles lie. */
typedef struct Place {
    const Word *a, *b;
    size_t a_tile; /* words from a tile's rows to the next */
    float *c;
    size_t ldc;
    const Word *ahead; /* the next panels of B, */
    size_t ahead_step; /* of which a tile asks for so many words a step */
} Place;

INLINE size_t steps_of(GemmType type, size_t k) {
    return PAIRS ? packed_steps(type, k) : k;
}

/* C[rows, panels * TILE_COLUMNS] = alpha A B + beta C. The numbers in front are constants. */
INLINE void tile(const int rows, const int panels, const GemmType type, const GemmBlock *g,
                 Place at) {
    Vector sum[TILE_ROWS][MOST_VECTORS], y[MOST_VECTORS];
    const Word *restrict a = at.a, *restrict b = at.b, *ahead = at.ahead;
    const size_t a_row = IN_PLACE ? g->a_row : 1, a_step = g->a_step, b_panel = g->b_panel,
                 b_step = g->b_step;
    const size_t steps = steps_of(type, g->k);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2 * panels; v++) {
            sum[r][v] = (Vector){0};
        }
        /* what the tile below writes, a whole tile ahead: memory may be busy */
        __builtin_prefetch(at.c + (size_t)(rows + r) * at.ldc, 1);
        __builtin_prefetch(at.c + (size_t)(rows + r) * at.ldc + TILE_COLUMNS - 1, 1);
    }
    for (size_t p = 0; p < steps; p++, a += a_step, b += b_step, ahead += at.ahead_step) {
        UNROLL
        for (int v = 0; v < 2 * panels; v += 2) {
            const Word *from = b + (size_t)(v / 2) * b_panel;
            if (panels == 1) { /* several streams run ahead by themselves */
                __builtin_prefetch(ahead, 0, 2);
            }
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
    const Vector alpha = g->alpha - (Vector){0}, beta = g->beta - (Vector){0};
    if (g->beta == 0) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < 2 * panels; v++) {
                *(Loose *)(at.c + (size_t)r * at.ldc + v * VECTOR) = sum[r][v] * alpha;
            }
        }
        return;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2 * panels; v++) {
            Loose *to = (Loose *)(at.c + (size_t)r * at.ldc + v * VECTOR);
            *to = fused(*to, beta, sum[r][v] * alpha);
        }
    }
}

/* Tiles below each other. */
typedef void Tiles(const GemmBlock *g, const Place *first, size_t count);

INLINE void tiles_of(const int rows, const int panels, const GemmType type, const GemmBlock *g,
                     const Place *first, size_t count) {
    Place at = *first;
    for (; count > 0; count--) {
        tile(rows, panels, type, g, at);
        at.ahead += steps_of(type, g->k) * at.ahead_step;
        at.a += at.a_tile;
        at.c += (size_t)rows * at.ldc;
    }
}

#if defined __AVX512F__
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
#define FUNCTIONS(rows)                                                                            \
    static void fp32_##rows(const GemmBlock *g, const Place *at, size_t count) {                   \
        tiles_of(rows, 1, GEMM_FP32, g, at, count);                                                \
    }                                                                                              \
    static void bf16_##rows(const GemmBlock *g, const Place *at, size_t count) {                   \
        tiles_of(rows, 1, GEMM_BF16, g, at, count);                                                \
    }
EACH_HEIGHT(FUNCTIONS)

/* Low tiles are as wide as it takes for eight sums, which hide how long an addition takes. */
#define LOW_FUNCTIONS(rows, panels)                                                                \
    static void fp32_low_##rows(const GemmBlock *g, const Place *at, size_t count) {               \
        tiles_of(rows, panels, GEMM_FP32, g, at, count);                                           \
    }                                                                                              \
    static void bf16_low_##rows(const GemmBlock *g, const Place *at, size_t count) {               \
        tiles_of(rows, panels, GEMM_BF16, g, at, count);                                           \
    }
LOW_FUNCTIONS(1, 4)
LOW_FUNCTIONS(2, 2)
LOW_FUNCTIONS(3, 2)

#define FP32_NAME(rows) fp32_##rows,
#define BF16_NAME(rows) bf16_##rows,
enum { LOW = 3 };
static Tiles *const one_panel[2][TILE_ROWS + 1] = {
    {NULL, EACH_HEIGHT(FP32_NAME)},
    {NULL, EACH_HEIGHT(BF16_NAME)}
};
static Tiles *const low[2][LOW + 1] = {
    {NULL, fp32_low_1, fp32_low_2, fp32_low_3},
    {NULL, bf16_low_1, bf16_low_2, bf16_low_3}
};
/* Three rows of two panels leave sixteen registers none to take BF16 apart. */
static const size_t low_panels[2][LOW + 1] = {
    {0, 4, 2, 2                   },
    {0, 4, 2, VECTOR == 16 ? 2 : 1}
};

static void copy(size_t rows, size_t columns, float *to, size_t ld_to, const float *from,
                 size_t ld_from) {
    for (size_t i = 0; i < rows; i++) {
        memcpy(to + i * ld_to, from + i * ld_from, columns * sizeof *to);
    }
}

/* A tile that the edge of C cuts: by way of a whole one. */
static void edge_tile(const GemmBlock *g, const Place *at, size_t rows, size_t columns) {
    float whole[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64))) = {0};
    Place inner = {at->a, at->b, 0, whole, TILE_COLUMNS, NULL, 0};
    if (g->beta != 0) {
        copy(rows, columns, whole, TILE_COLUMNS, at->c, at->ldc);
    }
    one_panel[g->type][rows](g, &inner, 1);
    copy(rows, columns, at->c, at->ldc, whole, TILE_COLUMNS);
}

/* `count` tiles of the same height of one panel; moves on to the tile below them. */
static void tiles(const GemmBlock *g, Place *at, size_t count, size_t rows, size_t columns) {
    at->a_tile = g->a_panel != 0 ? g->a_panel : rows * g->a_row;
    if (columns == TILE_COLUMNS) {
        one_panel[g->type][rows](g, at, count);
    }
    for (size_t t = 0; t < count; t++) {
        if (columns < TILE_COLUMNS) {
            edge_tile(g, at, rows, columns);
        }
        at->a += at->a_tile;
        at->c += rows * at->ldc;
        at->ahead += steps_of(g->type, g->k) * at->ahead_step;
    }
}

/* Heights of the tiles of m rows: `whole` of TILE_ROWS, then two or less that share the rest. */
typedef struct Heights {
    size_t count, whole, rest[2];
} Heights;

static Heights heights_of(size_t m) {
    size_t count = (m + TILE_ROWS - 1) / TILE_ROWS;
    size_t whole = m % TILE_ROWS == 0 ? count : count < 2 ? 0 : count - 2;
    Heights h = {
        count, whole, {0, 0}
    };
    for (size_t t = whole; t < count; t++) {
        h.rest[t - whole] = tile_begin(TILE_ROWS, m, t + 1) - tile_begin(TILE_ROWS, m, t);
    }
    return h;
}

static void multiply(const GemmBlock *g) {
    const Heights h = heights_of(g->m);
    size_t ahead_step = (g->b_step + h.count - 1) / h.count;
    for (size_t j = 0; j < g->n;) {
        size_t left = g->n - j, panels = g->m <= LOW ? low_panels[g->type][g->m] : 1;
        panels = left < panels * TILE_COLUMNS ? 1 : panels;
        Place at = {.b = g->b + j / TILE_COLUMNS * g->b_panel, .c = g->c + j, .ldc = g->ldc};
        at.a = g->a;
        at.ahead = at.b + panels * g->b_panel;
        at.ahead_step = ahead_step;
        if (panels > 1) {
            low[g->type][g->m](g, &at, 1);
            j += panels * TILE_COLUMNS;
            continue;
        }
        size_t columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
        if (h.whole > 0) {
            tiles(g, &at, h.whole, TILE_ROWS, columns);
        }
        if (h.rest[0] > 0) {
            size_t alike = 1 + (h.rest[0] == h.rest[1]);
            tiles(g, &at, alike, h.rest[0], columns);
            if (alike == 1 && h.rest[1] > 0) {
                tiles(g, &at, 1, h.rest[1], columns);
            }
        }
        j += TILE_COLUMNS;
    }
}

extern const GemmKernels GEMM;
const GemmKernels GEMM = {
    .name = NAME,
    .text = {FP32_TEXT, BF16_TEXT},
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
    .block_rows = BLOCK_ROWS,
    .in_place = IN_PLACE,
    .pairs = PAIRS,
    .multiply = multiply,
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
};
