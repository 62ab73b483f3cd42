/* SPDX-License-Identifier: MIT */
#include "common/kernels/compact.h"

#include <math.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm_block.h"
#include "common/kernels/grain.h"
#include "common/kernels/rows.h"

enum { LARGEST_CODE = 127 };

const char *const compact_type_name[] = {"f32", "bf16", "int8", NULL};

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static size_t blocks_of(size_t n) {
    return n / COMPACT_BLOCK + (n % COMPACT_BLOCK != 0);
}

size_t compact_bytes(CompactType type, bool down, size_t rows, size_t columns) {
    if (type == COMPACT_BF16) {
        return mem_mul(mem_mul(rows, columns), sizeof(uint16_t));
    }
    CHECK(type == COMPACT_INT8);
    return down ? mem_add(mem_mul(rows, columns),
                          mem_mul(mem_mul(blocks_of(rows), columns), sizeof(uint16_t)))
                : mem_mul(mem_mul(rows, blocks_of(columns)), sizeof(CompactBlock));
}

size_t compact_refused(CompactType type, const float *x, size_t n) {
    size_t i = 0;
    while (i < n && (type != COMPACT_BF16 || (bf16_bits(bits_of(x[i])) >> 16 & 0x7fff) < 0x7f80)) {
        i++;
    }
    return i;
}

/* Weights or codes of a block lie `stride` apart. */
static uint16_t write_block(int8_t *code, const float *x, size_t stride, size_t n) {
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
        float magnitude = fabsf(x[i * stride]);
        largest = magnitude > largest ? magnitude : largest;
    }
    uint32_t bits = bits_of(largest / LARGEST_CODE);
    bits = bits == 0 && largest > 0 ? 1 : bits;
    uint16_t scale = (uint16_t)((bits + 0xffff) >> 16);
    double unit =
        scale == 0 ? 1 : (double)bf16_value(scale); /* double: the quotient's half is exact */
    for (size_t i = 0; i < n; i++) {
        code[i * stride] = (int8_t)nearbyint((double)x[i * stride] / unit);
    }
    return scale;
}

/* Where the band of 32 rows that holds a row begins, and how many rows it has. */
static unsigned char *band_at(const CompactMatrix *m, size_t row, size_t *rows) {
    size_t band = row / COMPACT_BLOCK, left = m->rows - band * COMPACT_BLOCK;
    *rows = left < COMPACT_BLOCK ? left : COMPACT_BLOCK;
    return (unsigned char *)m->data +
           band * m->columns * (sizeof(uint16_t) + COMPACT_BLOCK * sizeof(int8_t));
}

static CompactBlock *block_row(const CompactMatrix *m, size_t row) {
    return (CompactBlock *)m->data + row * blocks_of(m->columns);
}

typedef struct Writing {
    const CompactMatrix *matrix;
    const float *x;
} Writing;

static void write_row(const CompactMatrix *m, size_t row, const float *x) {
    if (m->type == COMPACT_BF16) {
        uint16_t *to = (uint16_t *)m->data + row * m->columns;
        for (size_t j = 0; j < m->columns; j++) {
            to[j] = (uint16_t)(bf16_bits(bits_of(x[j])) >> 16);
        }
        return;
    }
    CompactBlock *block = block_row(m, row);
    for (size_t j = 0; j < m->columns; j += COMPACT_BLOCK, block++) {
        size_t n = m->columns - j < COMPACT_BLOCK ? m->columns - j : COMPACT_BLOCK;
        memset(block->code, 0, sizeof block->code);
        block->scale = write_block(block->code, x + j, 1, n);
    }
}

static void write_rows(void *context, size_t begin, size_t end, int thread) {
    const Writing *w = context;
    const CompactMatrix *m = w->matrix;
    (void)thread;
    if (m->type == COMPACT_BF16 || !m->down) {
        for (size_t row = begin; row < end; row++) {
            write_row(m, row, w->x + row * m->columns);
        }
        return;
    }
    for (size_t row = begin; row < end; row += COMPACT_BLOCK) {
        size_t rows;
        uint16_t *scale = (uint16_t *)band_at(m, row, &rows);
        int8_t *code = (int8_t *)(scale + m->columns);
        for (size_t j = 0; j < m->columns; j++) {
            scale[j] = write_block(code + j, w->x + row * m->columns + j, m->columns, rows);
        }
    }
}

void compact_write(const CompactMatrix *matrix, const float *x) {
    Writing w = {matrix, x};
    size_t grain = COMPACT_BLOCK * blocks_of(row_grain(matrix->columns));
    parallel_for(matrix->rows, grain, write_rows, &w);
}

static void read_row(const CompactMatrix *m, size_t row, size_t column, size_t columns,
                     float *out) {
    const RowKernels *kernels = row_kernels();
    if (m->type == COMPACT_BF16) {
        const uint16_t *from = (const uint16_t *)m->data + row * m->columns;
        kernels->widen_bf16(out, from + column, columns);
    } else if (!m->down) {
        kernels->widen_blocks(out, block_row(m, row) + column / COMPACT_BLOCK,
                              column % COMPACT_BLOCK, columns);
    } else {
        size_t rows;
        const uint16_t *scale = (const uint16_t *)band_at(m, row, &rows);
        const int8_t *code =
            (const int8_t *)(scale + m->columns) + row % COMPACT_BLOCK * m->columns;
        kernels->widen_codes(out, code + column, scale + column, columns);
    }
}

void compact_read(const CompactMatrix *matrix, size_t row, size_t rows, size_t column,
                  size_t columns, float *out, size_t ld) {
    CHECK(row + rows <= matrix->rows && column + columns <= matrix->columns);
    for (size_t i = 0; i < rows; i++) {
        read_row(matrix, row + i, column, columns, out + i * ld);
    }
}
