/* SPDX-License-Identifier: MIT
 *
 * Threads: a pool with a fixed partition. A range is cut the same way whenever its length and the
 * number of threads are the same, so results do not depend on timing.
 */
#ifndef RLHF_BASE_PARALLEL_H
#define RLHF_BASE_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

/* n = 0: all processors this process may use. Also keeps OpenBLAS at one thread: our own partition
 * spreads its calls. Call once, before any kernel. */
void parallel_init(int n);
int parallel_threads(void);

/* Whether the caller is a body that parallel_for or parallel_each runs. */
bool parallel_is_inside(void);

typedef void ParallelBody(void *context, size_t begin, size_t end, int thread);

/* Calls body over [0, n) cut into at most parallel_threads() contiguous pieces, each a multiple of
 * `grain` (but the last). Runs inline when one piece suffices, or inside another parallel region. One
 * thread of the process calls this, and the bodies it runs. */
void parallel_for(size_t n, size_t grain, ParallelBody *body, void *context);

/* Calls body(context, i, i + 1, thread) for each i in [0, n), handed out one by one in the order of i:
 * for uneven tasks whose results do not depend on who does them. */
void parallel_each(size_t n, ParallelBody *body, void *context);

#endif
