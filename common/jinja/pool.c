/* SPDX-License-Identifier: MIT */
#include "common/jinja/pool.h"

#include <stdlib.h>

#include "common/base/memory.h"

enum { CHUNK = 32 << 10, ALIGN = 16 };

typedef struct PoolChunk {
    struct PoolChunk *next;
    size_t size, used;
    _Alignas(ALIGN) char data[];
} PoolChunk;

static PoolChunk *new_chunk(size_t size) {
    PoolChunk *chunk = mem_alloc(1, mem_add(sizeof *chunk, size), NULL);
    if (chunk != NULL) {
        chunk->size = size;
    }
    return chunk;
}

void *pool_take(Pool *pool, size_t count, size_t size, bool *exhausted) {
    size_t need = mem_mul(count, size);
    *exhausted = need > pool->limit;
    if (*exhausted) {
        return NULL;
    }
    need = (need + ALIGN - 1) / ALIGN * ALIGN;
    PoolChunk *chunk = pool->chunk;
    if (chunk == NULL || chunk->size - chunk->used < need) {
        size_t fresh = need > CHUNK ? need : CHUNK;
        *exhausted = fresh > pool->limit - pool->used;
        chunk = *exhausted ? NULL : new_chunk(fresh);
        if (chunk == NULL) {
            return NULL;
        }
        pool->used += fresh;
        /* A big block goes behind the chunk in use, so that its rest is not lost. */
        if (need > CHUNK / 2 && pool->chunk != NULL) {
            chunk->next = pool->chunk->next;
            pool->chunk->next = chunk;
        } else {
            chunk->next = pool->chunk;
            pool->chunk = chunk;
        }
    }
    void *block = chunk->data + chunk->used;
    chunk->used += need;
    return block;
}

void pool_done(Pool *pool) {
    while (pool->chunk != NULL) {
        PoolChunk *next = pool->chunk->next;
        free(pool->chunk);
        pool->chunk = next;
    }
    pool->used = 0;
}
