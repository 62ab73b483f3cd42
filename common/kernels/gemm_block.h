/* SPDX-License-Identifier: MIT
 *
 * GemmKernels: products of packed blocks on one thread, compiled once for every instruction set
 * (gemm_block.c, gemm_pack.c). gemm_run.c cuts a product into these blocks.
 *
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): a block of A
 * and one of B lie in memory as panels, tile_rows high and tile_columns wide, and a kernel keeps a tile
 * of C in registers while it runs along the depth of two panels. Every element of C is summed over k in
 * the same order wherever its tile lies: a result depends neither on the other rows and columns of a
 * product nor on how it is cut over threads.
 */
#ifndef RLHF_KERNELS_GEMM_BLOCK_H
#define RLHF_KERNELS_GEMM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/kernels/gemm.h"

enum {
    BLOCK_K = 384,   /* the deepest block, even; the same everywhere, so that all kernels with fused
                        multiply-add sum alike */
    MOST_ROWS = 224, /* the highest block of A that is packed, in rows */
};

/* What packed operands are made of: 4 bytes, a float or two BF16. */
typedef uint32_t __attribute__((may_alias)) Word;

/* C[m, n] = alpha A B + beta C for a depth of k <= BLOCK_K.
 * The rows of A are cut into tiles by tile_begin. Tile t, row i, depth p is word
 *     packed:   t a_panel + i a_row + p a_step    (i counted in the tile)
 *     in place: (tile_begin + i) a_row + p a_step (a_panel = 0)
 * Column j of B is in panel j / tile_columns; panels are b_panel words apart, the steps along a panel
 * b_step words. In place b_panel = tile_columns and n is a multiple of it. With BF16 both are packed. */
typedef struct GemmBlock {
    GemmType type;
    size_t m, n, k;
    const Word *a;
    size_t a_panel, a_row, a_step;
    const Word *b;
    size_t b_panel, b_step;
    float alpha, beta;
    float *c;
    size_t ldc;
} GemmBlock;

/* Lines (rows of A or columns of B) in memory: element (line, p) is x[line ld + p] if depth runs along
 * the rows as stored, else x[p ld + line]. */
typedef struct Lines {
    const float *x;
    size_t ld;
    bool depth_along;
    size_t count, k; /* k <= BLOCK_K */
} Lines;

typedef struct GemmKernels {
    const char *name;
    const char *text[2]; /* by GemmType: what multiplies */
    size_t tile_rows, tile_columns;
    size_t block_rows; /* of A: a packed block stays in the second cache */
    bool in_place;     /* whether reading FP32 rows of A as they lie is as fast as packed ones */
    bool pairs;        /* BF16 operands hold two depths in a word, else B holds two columns */
    void (*multiply)(const GemmBlock *block);
    /* Packs rows into tiles, tile_rows * k words apart. */
    void (*pack_rows)(GemmType type, Lines rows, Word *to);
    /* Packs columns into panels, tile_columns * packed_steps(type, k) words apart; absent columns of the
     * last one are zero. */
    void (*pack_columns)(GemmType type, Lines columns, Word *to);
} GemmKernels;

/* Words of a column of packed B, by depth. */
static inline size_t packed_steps(GemmType type, size_t k) {
    return type == GEMM_BF16 ? (k + 1) / 2 : k;
}

/* First row of tile t of m rows. The last two share what is left, so that neither is low. */
static inline size_t tile_begin(size_t tile_rows, size_t m, size_t t) {
    size_t tiles = (m + tile_rows - 1) / tile_rows;
    if (t == 0 || t + 1 < tiles) {
        return t * tile_rows;
    }
    size_t left = m - (t - 1) * tile_rows;
    return t == tiles ? m : m - left / 2;
}

/* The bits of a float rounded to BF16 in their upper half (ties to even; NaN stays NaN). */
static inline uint32_t bf16_bits(uint32_t bits) {
    uint32_t quiet = bits | 0x400000, rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded;
}

/* The kernels that run, and all that this CPU can run (NULL past the end; the last one is the
 * default). */
const GemmKernels *gemm_kernels(void);
const GemmKernels *gemm_kernels_at(size_t i);

/* product_run by our own kernels. */
void product_own(const Product *product);

#endif
