/* SPDX-License-Identifier: MIT
 *
 * Memory: checked sizes, allocations that fail with an Error, arenas for everything a step needs.
 *
 * Sizes from files or configurations go through mem_mul and mem_add, which never wrap. The training
 * loop allocates nothing: what a step needs is taken from an Arena that was sized beforehand.
 */
#ifndef RLHF_BASE_MEMORY_H
#define RLHF_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum { MEM_ALIGN = 64 }; /* bytes: a cache line, and the widest vector */

/* a * b and a + b; SIZE_MAX when it does not fit (no allocation of that size succeeds). */
size_t mem_mul(size_t a, size_t b);
size_t mem_add(size_t a, size_t b);

/* count * size zeroed bytes, aligned for any type; release with free. NULL and *err (ERROR_OS, with
 * the bytes wanted) on failure. count * size == 0 gives a valid pointer. */
void *mem_alloc(size_t count, size_t size, Error *err);

/* The same aligned to MEM_ALIGN, for floats that kernels read; release with free. Big blocks
 * (>= 2 MiB) are aligned to, and advised to use, huge pages. */
void *mem_alloc_aligned(size_t count, size_t size, Error *err);

/* A copy of text (or of its first n bytes, NUL-terminated); release with free. */
char *mem_strdup(const char *text, Error *err);
char *mem_strndup(const char *text, size_t n, Error *err);

/* Makes *array hold at least `need` items of `size` bytes, doubling *capacity; new items are zeroed.
 * On failure the old array is intact. `array` is the address of a pointer of any object type. */
bool mem_reserve(void *array, size_t *capacity, size_t need, size_t size, Error *err);

/* A block from which pieces are taken one after another and given back all at once. */
typedef struct Arena {
    char *base; /* owned */
    size_t size, used, peak;
} Arena;

bool arena_init(Arena *arena, size_t size, Error *err);
void arena_done(Arena *arena);

/* count * size bytes aligned to MEM_ALIGN, not zeroed. The arena was planned: running out is a
 * programmer's fault and fails a CHECK. */
void *arena_take(Arena *arena, size_t count, size_t size);

/* Bytes that arena_take(count, size) uses, alignment included: what planners add up. */
size_t arena_cost(size_t count, size_t size);

/* mark = arena.used; arena_reset(&arena, mark) gives back all that was taken since. */
void arena_reset(Arena *arena, size_t mark);

/* Bytes that mem_alloc_aligned(count, size) takes, alignment included: what planners add up. */
size_t mem_aligned_cost(size_t count, size_t size);

/* Resident memory of this process in bytes, now; the peak where the system does not tell. */
size_t mem_rss(void);

/* Peak resident memory of this process in bytes (getrusage). */
size_t mem_peak_rss(void);

#endif
