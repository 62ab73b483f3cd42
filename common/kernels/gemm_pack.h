/* SPDX-License-Identifier: MIT
 *
 * Operands of products laid out as panels, for the kernels of the same compilation (gemm_block.c
 * includes this): GemmKernels.pack_rows and pack_columns.
 */
#ifndef RLHF_KERNELS_GEMM_PACK_H
#define RLHF_KERNELS_GEMM_PACK_H

#include <string.h>

#include "common/kernels/gemm_vector.h"

enum { AHEAD = 8 }; /* rows that are fetched before they are read */

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

/* to[p][l] = from[l][p] for lines l < n and depths p < k; rows of `to` are `width` apart. Eight lines at a
 * time: more of them could fight for the same places of the cache. */
static inline void transpose(float *restrict to, size_t width, const float *restrict from,
                             size_t ld, size_t n, size_t k) {
    size_t depth = n < 4 ? 0 : k - k % 4;
    for (size_t first = 0; depth > 0 && first < n; first += 8) {
        size_t end = first + 8 < n ? first + 8 : n;
        for (size_t p = 0; p < depth; p += 4) {
            for (size_t l = first; l < end; l += 4) {
                size_t line =
                    l + 4 <= n ? l : n - 4; /* some of the last four for the second time */
                transpose_quad(to + p * width + line, width, from + line * ld + p, ld);
            }
        }
    }
    for (size_t p = depth; p < k; p++) {
        for (size_t l = 0; l < n; l++) {
            to[p * width + l] = from[l * ld + p];
        }
    }
}

INLINE Bits bf16_vector(Bits x) {
    Bits quiet = x | 0x400000, rounded = x + 0x7fff + (x >> 16 & 1);
    Bits nan = (Bits)((Signed)(x & 0x7fffffff) > 0x7f800000);
    return (quiet & nan) | (rounded & ~nan);
}

/* A step of a BF16 panel from TILE_COLUMNS floats (pairs: from two rows of them). A word holds in its low
 * half column l, in its high half column l + VECTOR; or two depths, of which the high half is the first,
 * because VDPBF16PS adds the product of the high halves before that of the low ones (Intel, "Software
 * Developer's Manual", volume 2): so sums have the same bits with and without the instruction. */
INLINE void narrow(Word *to, const float *x, size_t ld) {
    const Word *low = (const Word *)x + (PAIRS ? ld : 0);
    const Word *high = (const Word *)x + (PAIRS ? 0 : VECTOR);
    for (size_t l = 0; l < STEP_WORDS; l += VECTOR) {
        *(LooseBits *)(to + l) = bf16_vector(*(const LooseBits *)(low + l)) >> 16 |
                                 (bf16_vector(*(const LooseBits *)(high + l)) & 0xffff0000);
    }
}

/* A panel of columns that depth runs along, or that the edge of B cuts, or of odd depth: by way of
 * floats, zero where nothing is. */
static void pack_panel(GemmType type, Lines c, Word *to) {
    float wide[(BLOCK_K + 1) * TILE_COLUMNS] __attribute__((aligned(64)));
    float *x = type == GEMM_FP32 ? (float *)to : wide;
    if (c.count < TILE_COLUMNS) {
        memset(x, 0, c.k * TILE_COLUMNS * sizeof *x);
    }
    if (c.depth_along) {
        transpose(x, TILE_COLUMNS, c.x, c.ld, c.count, c.k);
    } else {
        for (size_t p = 0; p < c.k; p++) {
            memcpy(x + p * TILE_COLUMNS, c.x + p * c.ld, c.count * sizeof *x);
        }
    }
    if (type == GEMM_BF16) {
        memset(x + c.k * TILE_COLUMNS, 0, TILE_COLUMNS * sizeof *x);
        for (size_t p = 0; p < c.k + c.k % 2; p += 1 + PAIRS) {
            narrow(to, x + p * TILE_COLUMNS, TILE_COLUMNS);
            to += STEP_WORDS;
        }
    }
}

/* Whole panels of columns that lie side by side, of even depth with BF16. Some panels at once: the memory
 * runs ahead along a row, and the lines written stay in the first cache until they are full. */
static void pack_side_by_side(GemmType type, Lines c, Word *to) {
    enum { GROUP = 4 * TILE_COLUMNS };
    size_t panel = TILE_COLUMNS * packed_steps(type, c.k);
    size_t rows = type == GEMM_BF16 && PAIRS ? 2 : 1;
    size_t step = type == GEMM_BF16 ? STEP_WORDS : TILE_COLUMNS;
    for (size_t first = 0; first < c.count; first += GROUP) {
        size_t end = first + GROUP < c.count ? first + GROUP : c.count;
        for (size_t p = 0; p < c.k; p += rows) {
            const float *row = c.x + p * c.ld;
            Word *at = to + first / TILE_COLUMNS * panel + p / rows * step;
            for (size_t j = first; j < end; j += TILE_COLUMNS) {
                __builtin_prefetch(row + AHEAD * c.ld + j);
                if (type == GEMM_FP32) {
                    memcpy(at, row + j, TILE_COLUMNS * sizeof *row);
                } else {
                    narrow(at, row + j, c.ld);
                }
                at += panel;
            }
        }
    }
}

static void pack_columns(GemmType type, Lines c, Word *to) {
    size_t panel = TILE_COLUMNS * packed_steps(type, c.k), first = 0;
    if (!c.depth_along && (type == GEMM_FP32 || c.k % 2 == 0)) {
        Lines whole = c;
        first = whole.count = c.count - c.count % TILE_COLUMNS;
        pack_side_by_side(type, whole, to);
    }
    for (; first < c.count; first += TILE_COLUMNS) {
        size_t left = c.count - first;
        Lines part = {c.x + first * (c.depth_along ? c.ld : 1), c.ld, c.depth_along,
                      left < TILE_COLUMNS ? left : TILE_COLUMNS, c.k};
        pack_panel(type, part, to + first / TILE_COLUMNS * panel);
    }
}

/* Floats of a packed tile of A, rounded in place; with pairs two depths become one word, as in narrow. */
static void narrow_rows(float *x, size_t k) {
    static const Word zero[TILE_ROWS];
    Word *word = (Word *)x;
    for (size_t i = 0; !PAIRS && i < k * TILE_ROWS; i++) {
        word[i] = bf16_bits(word[i]) & 0xffff0000;
    }
    for (size_t p = 0; PAIRS && p < k; p += 2) {
        const Word *first = word + p * TILE_ROWS;
        const Word *second = p + 1 < k ? first + TILE_ROWS : zero;
        Word step[TILE_ROWS];
        for (size_t i = 0; i < TILE_ROWS; i++) {
            step[i] = (bf16_bits(first[i]) & 0xffff0000) | bf16_bits(second[i]) >> 16;
        }
        memcpy(word + p / 2 * TILE_ROWS, step, sizeof step);
    }
}

/* Rows that lie side by side. */
static void pack_rows_side_by_side(Lines r, float *to) {
    size_t tiles = (r.count + TILE_ROWS - 1) / TILE_ROWS;
    size_t last = tile_begin(TILE_ROWS, r.count, tiles - 1), rest = r.count - last;
    for (size_t p = 0; p < r.k; p++) {
        const float *row = r.x + p * r.ld;
        float *step = to + p * TILE_ROWS;
        for (size_t i = 0; i < r.count; i += 16) {
            __builtin_prefetch(row + AHEAD * r.ld + i);
        }
        for (size_t t = 0; t + 1 < tiles; t++) { /* all of the same size, maybe more than is used */
            memcpy(step + t * TILE_ROWS * r.k, row + t * TILE_ROWS, TILE_ROWS * sizeof *row);
        }
        memcpy(step + (tiles - 1) * TILE_ROWS * r.k, row + last, rest * sizeof *row);
    }
}

static void pack_rows(GemmType type, Lines rows, Word *to) {
    size_t tiles = (rows.count + TILE_ROWS - 1) / TILE_ROWS, k = rows.k;
    float *x = (float *)to;
    if (!rows.depth_along) {
        pack_rows_side_by_side(rows, x);
    }
    for (size_t t = 0; t < tiles; t++) {
        if (rows.depth_along) {
            size_t begin = tile_begin(TILE_ROWS, rows.count, t);
            size_t end = tile_begin(TILE_ROWS, rows.count, t + 1);
            transpose(x + t * TILE_ROWS * k, TILE_ROWS, rows.x + begin * rows.ld, rows.ld,
                      end - begin, k);
        }
        if (type == GEMM_BF16) {
            narrow_rows(x + t * TILE_ROWS * k, k);
        }
    }
}

#endif
