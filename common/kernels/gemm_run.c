/* SPDX-License-Identifier: MIT
 *
 * A product cut into blocks, and those over threads.
 */
#include <sys/mman.h>

#include "common/base/error.h"
#include "common/base/parallel.h"
#include "common/kernels/gemm.h"
#include "common/kernels/gemm_block.h"

enum {
    SMALL_PRODUCT = 1 << 18, /* below this a second thread costs more than it gives, */
    SMALL_PACKING = 1 << 15, /* and below so many elements of a thread's part when packing */
    SLAB_COLUMNS = 1024,     /* of B at once, which then comes from a cache for every block of A */
    FINISH_COLUMNS = 256,    /* of a finished block: it is in the second cache */
    NEAR = 128,              /* rows of A whose distance makes them fight for places of the cache */
    FEW_COLUMNS = 256,       /* are read in place up to this depth, or for so few columns */
    WIDE_COLUMNS = 128, /* of a compact B that become floats at once where they lie side by side, */
    WIDE_LINES = 32,    /* or each along a row; whole panels */
    HUGE_PAGE = 1 << 21,
};

/* Words of B that are packed at once. */
enum {
    OWN_WORDS = 256 * BLOCK_K,                 /* in product_serial */
    TEAM_WORDS = 1 << 22,                      /* in product_run, by all threads: */
    MOST_WORDS = 2 * SLAB_COLUMNS * BLOCK_K,   /* at most so many each for its own columns, */
    SHARED_WORDS = 4 * SLAB_COLUMNS * BLOCK_K, /* or so many for what all read */
};

_Static_assert(SHARED_WORDS <= TEAM_WORDS, "it is cut out of the team's");

static _Thread_local Word own_rows[MOST_ROWS * BLOCK_K] __attribute__((aligned(64)));
static _Thread_local Word own_columns[OWN_WORDS] __attribute__((aligned(64)));
static _Thread_local float own_wide[WIDE_COLUMNS * BLOCK_K] __attribute__((aligned(64)));

/* Of the one product_run at a time; its pages are touched as far as they are used. */
static Word team_columns[TEAM_WORDS] __attribute__((aligned(HUGE_PAGE)));

/* A part of C. */
typedef struct Part {
    size_t row, rows, column, columns;
} Part;

/* Columns and depths of op(B) as panels: by blocks of BLOCK_K depths, then by panels; each block is
 * `wide` columns. Or as they lie (loose), whole panels only. */
typedef struct Slab {
    size_t column, columns, depth, k, wide;
    const Word *panels;
    bool loose;
} Slab;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* Words from a step of a packed panel to the next. */
static size_t panel_step(GemmType type) {
    const GemmKernels *kernels = gemm_kernels();
    bool halves = type == GEMM_BF16 && !kernels->pairs;
    return kernels->tile_columns / (halves ? 2 : 1);
}

static Slab slab_at(size_t column, size_t columns, size_t depth, size_t k, const void *panels) {
    size_t wide = round_up(columns, gemm_kernels()->tile_columns);
    return (Slab){column, columns, depth, k, wide, panels, false};
}

/* B as it is stored. */
typedef struct Stored {
    GemmType type; /* that it is packed as */
    Transpose transpose;
    const float *b;
    size_t ldb;
    CompactMatrix compact;
} Stored;

static Stored stored_of(const Product *p) {
    return (Stored){p->type, p->tb, p->b, p->ldb, p->compact};
}

/* Packs `columns` columns of k depths of a compact matrix, some at a time by way of floats. */
static void pack_compact(const Stored *b, size_t column, size_t columns, size_t depth, size_t k,
                         Word *to) {
    bool plain = b->transpose == PLAIN;
    size_t most = plain ? WIDE_COLUMNS : WIDE_LINES;
    for (size_t j = 0; j < columns; j += most) {
        size_t n = least(most, columns - j), ld = plain ? n : k;
        if (plain) {
            compact_read(&b->compact, depth, k, column + j, n, own_wide, ld);
        } else {
            compact_read(&b->compact, column + j, n, depth, k, own_wide, ld);
        }
        Lines lines = {own_wide, ld, !plain, n, k};
        gemm_kernels()->pack_columns(b->type, lines, to + j * packed_steps(b->type, k));
    }
}

/* Packs columns [begin, end) of a slab, counted in it, all depths. */
static void pack_slab(const Stored *b, const Slab *s, size_t begin, size_t end, Word *panels) {
    bool plain = b->transpose == PLAIN;
    for (size_t d = 0; d < s->k; d += BLOCK_K) {
        size_t k = least(BLOCK_K, s->k - d), depth = s->depth + d, column = s->column + begin;
        Word *to = panels + s->wide * packed_steps(b->type, d) + begin * packed_steps(b->type, k);
        if (b->compact.type != COMPACT_NONE) {
            pack_compact(b, column, end - begin, depth, k, to);
            continue;
        }
        const float *x = b->b + (plain ? depth * b->ldb + column : column * b->ldb + depth);
        gemm_kernels()->pack_columns(b->type, (Lines){x, b->ldb, !plain, end - begin, k}, to);
    }
}

/* Rows of A as a block reads them: in place, or packed into the thread's buffer. */
static void place_rows(const Product *p, GemmBlock *block, size_t row, size_t depth,
                       size_t columns) {
    const GemmKernels *kernels = gemm_kernels();
    bool plain = p->ta == PLAIN;
    const float *a = p->a + (plain ? row * p->lda + depth : depth * p->lda + row);
    bool near = block->k <= NEAR || columns <= FEW_COLUMNS || p->lda % 256 != 0;
    if (p->type == GEMM_FP32 && kernels->in_place && plain && near) {
        block->a = (const Word *)a;
        block->a_panel = 0;
        block->a_row = p->lda;
        block->a_step = 1;
        return;
    }
    Lines lines = {a, p->lda, plain, block->m, block->k};
    kernels->pack_rows(p->type, lines, own_rows);
    block->a = own_rows;
    block->a_panel = kernels->tile_rows * block->k;
    block->a_row = 1;
    block->a_step = kernels->tile_rows;
}

/* A block of rows of C, over the depths and columns of a slab that the part has. */
static void multiply_rows(const Product *p, const Slab *s, Part part) {
    const GemmKernels *kernels = gemm_kernels();
    for (size_t d = 0; d < s->k; d += BLOCK_K) {
        GemmBlock g = {.type = p->type, .m = part.rows, .alpha = p->alpha, .ldc = p->ldc};
        g.k = least(BLOCK_K, s->k - d);
        g.beta = s->depth + d == 0 ? p->beta : 1;
        place_rows(p, &g, part.row, s->depth + d, part.columns);
        size_t steps = packed_steps(p->type, g.k);
        g.b_panel = s->loose ? kernels->tile_columns : kernels->tile_columns * steps;
        g.b_step = s->loose ? p->ldb : panel_step(p->type);
        const Word *b = s->panels + (s->loose ? d * p->ldb : s->wide * packed_steps(p->type, d));
        bool finish = p->finish != NULL && s->depth + d + g.k == p->k;
        size_t width = finish ? FINISH_COLUMNS : part.columns;
        for (size_t j = part.column; j < part.column + part.columns; j += width) {
            g.n = least(width, part.column + part.columns - j);
            g.b = b + (j - s->column) * (s->loose ? 1 : steps);
            g.c = p->c + part.row * p->ldc + j;
            kernels->multiply(&g);
            if (finish) {
                p->finish(p->context, part.row, g.m, j, g.n, g.c, p->ldc);
            }
        }
    }
}

/* The columns of a part that the slab holds, over the slab's depth. */
static void multiply_part(const Product *p, const Slab *s, Part part) {
    const GemmKernels *kernels = gemm_kernels();
    size_t blocks = (part.rows + kernels->block_rows - 1) / kernels->block_rows;
    size_t height = round_up((part.rows + blocks - 1) / blocks, kernels->tile_rows);
    for (size_t j = 0; j < part.columns; j += SLAB_COLUMNS) {
        for (size_t i = 0; i < part.rows; i += height) {
            Part block = {part.row + i, least(height, part.rows - i), part.column + j,
                          least(SLAB_COLUMNS, part.columns - j)};
            multiply_rows(p, s, block);
        }
    }
}

/* How much of op(B), of which n columns are wanted, fits into a buffer. */
static Slab slab_size(size_t n, size_t words) {
    size_t unit = gemm_kernels()->tile_columns, fit = words / BLOCK_K / unit * unit;
    size_t columns = least(least(SLAB_COLUMNS, fit), round_up(n, unit));
    return (Slab){.columns = columns, .k = words / columns / BLOCK_K * BLOCK_K};
}

static Slab next_slab(const Product *p, Slab most, Part part, size_t column, size_t depth,
                      const Word *panels) {
    return slab_at(column, least(most.columns, part.column + part.columns - column), depth,
                   least(most.k, p->k - depth), panels);
}

/* Where a thread packs B. */
typedef struct Buffer {
    Word *data;
    size_t words;
} Buffer;

/* A part of C on the calling thread. */
static void pack_and_multiply(const Product *p, Part part, Buffer buffer) {
    Slab most = slab_size(part.columns, buffer.words);
    const Stored b = stored_of(p);
    for (size_t j = part.column; j < part.column + part.columns; j += most.columns) {
        for (size_t d = 0; d < p->k; d += most.k) {
            Slab s = next_slab(p, most, part, j, d, buffer.data);
            pack_slab(&b, &s, 0, s.columns, buffer.data);
            multiply_part(p, &s, (Part){part.row, part.rows, s.column, s.columns});
        }
    }
}

/* A part of C on the calling thread. */
static void run_part(const Product *p, Part part, Buffer buffer) {
    size_t unit = gemm_kernels()->tile_columns;
    if (p->packed != NULL) {
        Slab whole = slab_at(0, p->n, 0, p->k, p->packed->data);
        multiply_part(p, &whole, part);
        return;
    }
    /* B is read once: packing it only pays for more rows than a low tile has and rows of B so long that
     * each begins on another page. */
    size_t few = p->ldb <= 1024 ? gemm_kernels()->tile_rows : 3;
    if (p->type == GEMM_FP32 && p->tb == PLAIN && part.rows <= few && part.columns >= unit &&
        p->compact.type == COMPACT_NONE) {
        Part loose = part;
        loose.columns -= part.columns % unit;
        Slab s = {part.column, loose.columns, 0, p->k, 0, NULL, true};
        s.panels = (const Word *)(p->b + part.column);
        multiply_part(p, &s, loose);
        part.column += loose.columns;
        part.columns -= loose.columns;
    }
    if (part.columns > 0) {
        pack_and_multiply(p, part, buffer);
    }
}

/* The part of the team's buffer that is a thread's; its own, if that is larger. */
static Buffer thread_buffer(int thread) {
    size_t share = TEAM_WORDS / (size_t)parallel_threads() / BLOCK_K * BLOCK_K;
    if (share < OWN_WORDS) {
        return (Buffer){own_columns, OWN_WORDS};
    }
    return (Buffer){team_columns + (size_t)thread * share, least(share, MOST_WORDS)};
}

/* A part of the rows, B being packed already. */
static void run_rows(void *context, size_t begin, size_t end, int thread) {
    const Product *p = context;
    (void)thread;
    run_part(p, (Part){begin, end - begin, 0, p->n}, (Buffer){NULL, 0});
}

static void run_columns(void *context, size_t begin, size_t end, int thread) {
    const Product *p = context;
    run_part(p, (Part){0, p->m, begin, end - begin}, thread_buffer(thread));
}

typedef struct Shared {
    const Product *product;
    Slab slab;
} Shared;

static void pack_shared(void *context, size_t begin, size_t end, int thread) {
    const Shared *w = context;
    const Stored b = stored_of(w->product);
    (void)thread;
    pack_slab(&b, &w->slab, begin, end, team_columns);
}

static void multiply_shared(void *context, size_t begin, size_t end, int thread) {
    const Shared *w = context;
    (void)thread;
    multiply_part(w->product, &w->slab,
                  (Part){begin, end - begin, w->slab.column, w->slab.columns});
}

/* Cut by rows: the threads pack B together and then read all of it. */
static void run_shared(const Product *p) {
    const GemmKernels *kernels = gemm_kernels();
    Slab most = slab_size(p->n, SHARED_WORDS);
    Part whole = {0, p->m, 0, p->n};
    for (size_t j = 0; j < p->n; j += most.columns) {
        for (size_t d = 0; d < p->k; d += most.k) {
            Shared w = {p, next_slab(p, most, whole, j, d, team_columns)};
            parallel_for(w.slab.columns, kernels->tile_columns, pack_shared, &w);
            parallel_for(p->m, kernels->tile_rows, multiply_shared, &w);
        }
    }
}

/* Whether cutting by rows leaves the largest part smaller than cutting by columns. If there is little
 * between them: by columns, where each thread packs or reads its own columns of B and waits for nobody,
 * unless rows of A are packed, which each thread then does for all, and its columns are too few for it. */
static bool cut_by_rows(const Product *p) {
    const GemmKernels *kernels = gemm_kernels();
    size_t threads = (size_t)parallel_threads();
    size_t rows = round_up(p->m, kernels->tile_rows) / kernels->tile_rows;
    size_t columns = round_up(p->n, kernels->tile_columns) / kernels->tile_columns;
    size_t by_rows = round_up(rows, threads) * columns;
    size_t by_columns = round_up(columns, threads) * rows;
    bool packs = p->ta == TRANSPOSED || p->type == GEMM_BF16 || !kernels->in_place;
    bool prefer_rows = packs && (p->packed == NULL ? 2 * p->n < p->m * threads : p->m >= p->n);
    return prefer_rows ? by_rows <= by_columns + by_columns / 32 : by_rows < by_columns;
}

static bool empty_depth(const Product *p) {
    if (p->k > 0 || p->n == 0) {
        return p->n == 0;
    }
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            float *c = p->c + i * p->ldc + j;
            *c = p->beta == 0 ? 0 : p->beta * *c;
        }
    }
    if (p->finish != NULL && p->m > 0) {
        p->finish(p->context, 0, p->m, 0, p->n, p->c, p->ldc);
    }
    return true;
}

static void check_operand(const Product *p) {
    CHECK(p->packed == NULL ||
          (p->packed->type == p->type && p->packed->k == p->k && p->packed->n == p->n));
    CHECK(p->compact.type == COMPACT_NONE ||
          (p->compact.rows == (p->tb == PLAIN ? p->k : p->n) &&
           p->compact.columns == (p->tb == PLAIN ? p->n : p->k)));
}

void product_serial(const Product *p) {
    check_operand(p);
    if (!empty_depth(p) && p->m > 0) {
        run_part(p, (Part){0, p->m, 0, p->n}, (Buffer){own_columns, OWN_WORDS});
    }
}

static void advise_huge_pages(void) {
    static bool advised;
    if (!advised) {
        madvise(team_columns, sizeof team_columns, MADV_HUGEPAGE);
        advised = true;
    }
}

void product_own(const Product *p) {
    if (parallel_is_inside() || p->m * p->n * p->k <= SMALL_PRODUCT) {
        product_serial(p);
        return;
    }
    check_operand(p);
    advise_huge_pages();
    Product copy = *p;
    if (!cut_by_rows(p)) {
        parallel_for(p->n, gemm_kernels()->tile_columns, run_columns, &copy);
    } else if (p->packed != NULL) {
        parallel_for(p->m, gemm_kernels()->tile_rows, run_rows, &copy);
    } else {
        run_shared(p);
    }
}

size_t packed_matrix_bytes(GemmType type, size_t k, size_t n) {
    return round_up(n, gemm_kernels()->tile_columns) * packed_steps(type, k) * sizeof(Word);
}

typedef struct Packing {
    Stored b;
    Slab slab;
    Word *to;
} Packing;

static void pack_whole(void *context, size_t begin, size_t end, int thread) {
    const Packing *w = context;
    (void)thread;
    pack_slab(&w->b, &w->slab, begin, end, w->to);
}

static PackedMatrix pack_matrix(Stored b, size_t k, size_t n, void *memory) {
    Packing w = {b, slab_at(0, n, 0, k, memory), memory};
    size_t grain = round_up(SMALL_PACKING / (k + 1) + 1, gemm_kernels()->tile_columns);
    parallel_for(n, grain, pack_whole, &w);
    return (PackedMatrix){b.type, k, n, memory};
}

PackedMatrix packed_matrix(GemmType type, Transpose tb, size_t k, size_t n, const float *b,
                           size_t ldb, void *memory) {
    return pack_matrix((Stored){type, tb, b, ldb, {0}}, k, n, memory);
}

PackedMatrix packed_compact(GemmType type, Transpose tb, const CompactMatrix *b, void *memory) {
    size_t k = tb == PLAIN ? b->rows : b->columns, n = tb == PLAIN ? b->columns : b->rows;
    return pack_matrix((Stored){type, tb, NULL, 0, *b}, k, n, memory);
}
