/* SPDX-License-Identifier: MIT
 *
 * Pool: many small blocks that are released at once, up to a limit.
 */
#ifndef RLHF_JINJA_POOL_H
#define RLHF_JINJA_POOL_H

#include <stdbool.h>
#include <stddef.h>

/* Initialize with {.limit = bytes}. */
typedef struct Pool {
    struct PoolChunk *chunk; /* owned, the newest first */
    size_t used, limit;      /* bytes of all chunks */
} Pool;

/* count * size zeroed bytes, aligned for any type; NULL when the limit or the memory is reached
 * (*exhausted tells them apart). */
void *pool_take(Pool *pool, size_t count, size_t size, bool *exhausted);
void pool_done(Pool *pool);

#endif
