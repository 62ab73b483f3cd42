/* SPDX-License-Identifier: MIT */
#include "common/base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/fault.h"

static const size_t huge_page = (size_t)2 << 20;

size_t mem_mul(size_t a, size_t b) {
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t mem_add(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

static void *out_of_memory(size_t bytes, Error *err) {
    if (bytes == SIZE_MAX) {
        error_set(err, ERROR_OS, "out of memory: more bytes wanted than can be addressed");
    } else {
        error_set(err, ERROR_OS, "out of memory: %zu bytes wanted", bytes);
    }
    return NULL;
}

void *mem_alloc(size_t count, size_t size, Error *err) {
    size_t bytes = mem_mul(count, size);
    if (bytes >= PTRDIFF_MAX) {
        return out_of_memory(bytes, err);
    }
    void *block = fault_strikes(FAULT_MALLOC) ? NULL : calloc(bytes == 0 ? 1 : bytes, 1);
    return block != NULL ? block : out_of_memory(bytes, err);
}

void *mem_alloc_aligned(size_t count, size_t size, Error *err) {
    size_t bytes = mem_mul(count, size);
    size_t alignment = bytes >= huge_page ? huge_page : MEM_ALIGN;
    size_t rounded = mem_add(bytes, alignment - 1);
    if (rounded >= PTRDIFF_MAX) {
        return out_of_memory(bytes, err);
    }
    rounded -= rounded % alignment;
    void *block = fault_strikes(FAULT_MALLOC)
                      ? NULL
                      : aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
    if (block == NULL) {
        return out_of_memory(bytes, err);
    }
    if (bytes >= huge_page) {
        madvise(block, rounded, MADV_HUGEPAGE); /* a wish: refusal costs nothing */
    }
    memset(block, 0, bytes);
    return block;
}

char *mem_strndup(const char *text, size_t n, Error *err) {
    char *copy = mem_alloc(mem_add(n, 1), 1, err);
    if (copy != NULL && n > 0) {
        memcpy(copy, text, n);
    }
    return copy;
}

char *mem_strdup(const char *text, Error *err) {
    return mem_strndup(text, strlen(text), err);
}

bool mem_reserve(void *array, size_t *capacity, size_t need, size_t size, Error *err) {
    if (need <= *capacity) {
        return true;
    }
    size_t wanted = *capacity < 8 ? 8 : mem_mul(*capacity, 2);
    if (wanted < need || wanted == SIZE_MAX) {
        wanted = need;
    }
    size_t bytes = mem_mul(wanted, size);
    if (bytes >= PTRDIFF_MAX) {
        out_of_memory(bytes, err);
        return false;
    }
    void *old;
    memcpy(&old, array, sizeof old);
    char *grown = fault_strikes(FAULT_MALLOC) ? NULL : realloc(old, bytes);
    if (grown == NULL) {
        out_of_memory(bytes, err);
        return false;
    }
    memset(grown + *capacity * size, 0, bytes - *capacity * size);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

bool arena_init(Arena *arena, size_t size, Error *err) {
    *arena = (Arena){0};
    arena->base = mem_alloc_aligned(size, 1, err);
    arena->size = arena->base == NULL ? 0 : size;
    return arena->base != NULL;
}

void arena_done(Arena *arena) {
    free(arena->base);
    *arena = (Arena){0};
}

size_t arena_cost(size_t count, size_t size) {
    size_t bytes = mem_mul(count, size);
    size_t padded = mem_add(bytes, MEM_ALIGN - 1);
    return padded == SIZE_MAX ? SIZE_MAX : padded - padded % MEM_ALIGN;
}

void *arena_take(Arena *arena, size_t count, size_t size) {
    size_t cost = arena_cost(count, size);
    CHECK(cost <= arena->size - arena->used);
    void *piece = arena->base + arena->used;
    arena->used += cost;
    if (arena->used > arena->peak) {
        arena->peak = arena->used;
    }
    return piece;
}

void arena_reset(Arena *arena, size_t mark) {
    CHECK(mark <= arena->used);
    arena->used = mark;
}

size_t mem_aligned_cost(size_t count, size_t size) {
    size_t bytes = mem_mul(count, size);
    size_t alignment = bytes >= huge_page ? huge_page : MEM_ALIGN;
    size_t rounded = mem_add(bytes, alignment - 1);
    return rounded == SIZE_MAX ? SIZE_MAX : rounded - rounded % alignment;
}

size_t mem_rss(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    long all, resident = 0;
    bool known = file != NULL && fscanf(file, "%ld %ld", &all, &resident) == 2;
    if (file != NULL) {
        fclose(file);
    }
    return known ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : mem_peak_rss();
}

size_t mem_peak_rss(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}
