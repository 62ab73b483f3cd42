/* SPDX-License-Identifier: MIT
 *
 * CompactMatrix: a matrix of weights that nobody trains, in fewer bytes than floats. Products (gemm.h)
 * and embedding rows read it as it lies; their results have the bits that they have with the floats that
 * compact_read gives.
 *
 * COMPACT_BF16: the nearest BF16, ties to even; 2 bytes a weight. |x - value| <= 2^-8 |x| where x is a
 * normal number; a matrix that was BF16 in its file comes back as it was.
 *
 * COMPACT_INT8: blocks of 32 weights, a scale s and a code q of a byte for each, |q| <= 127; value q s;
 * 34 bytes a block. s is the least BF16 number that is not below max |x| / 127 of the block as a float (of
 * a block that is not zero at least the least BF16 number above 0), q the integer nearest to x / s. As s
 * has 8 significant bits and q 7, value is exact in FP32, and |x - value| <= s / 2: of a block of normal
 * numbers max |x| (1 + 2^-7) / 254. (Q8_0 of ggml has an F16 scale instead, of a smaller range.)
 * Blocks run along the dimension that y = x W sums over: along the rows of W^T [out, in], down the columns
 * of W [in, out].
 */
#ifndef RLHF_KERNELS_COMPACT_H
#define RLHF_KERNELS_COMPACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { COMPACT_BLOCK = 32 };

typedef enum CompactType { COMPACT_NONE, COMPACT_BF16, COMPACT_INT8 } CompactType;

/* "f32", "bf16", "int8", NULL */
extern const char *const compact_type_name[];

/* The value of a BF16 number: it is the upper half of a float. */
static inline float bf16_value(uint16_t number) {
    uint32_t bits = (uint32_t)number << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A block along a row. Of the last one of a row codes may be behind the row's end; they are 0. */
typedef struct CompactBlock {
    uint16_t scale; /* BF16 */
    int8_t code[COMPACT_BLOCK];
} CompactBlock;

/* A matrix [rows, columns], row-major. Data: BF16, rows of numbers; INT8, rows of CompactBlock; INT8 with
 * `down`, bands of 32 rows (the last one may have fewer), each a row of scales and then rows of codes.
 * Matrices without `down` that lie behind each other, of as many columns, are one. */
typedef struct CompactMatrix {
    CompactType type; /* NONE: there is no matrix */
    bool down;
    size_t rows, columns;
    void *data; /* borrowed; compact_bytes of it, aligned to 2 bytes */
} CompactMatrix;

/* SIZE_MAX when it does not fit. */
size_t compact_bytes(CompactType type, bool down, size_t rows, size_t columns);

/* Index of the first of n finite numbers that the type cannot hold (BF16: it would round to infinity);
 * n: there is none. */
size_t compact_refused(CompactType type, const float *x, size_t n);

/* Fills the matrix from x [rows, columns], which the type can hold. Spread over threads. */
void compact_write(const CompactMatrix *matrix, const float *x);

/* out[i][j] = element (row + i, column + j) of the matrix, rows of out `ld` apart; on the calling
 * thread. */
void compact_read(const CompactMatrix *matrix, size_t row, size_t rows, size_t column,
                  size_t columns, float *out, size_t ld);

#endif
