/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/stage/stage.h"

/* What a run takes besides its planned blocks: code that was not run before and buffers of files, as
 * measured; the panels that matrix products pack, and a stack, for each thread. */
enum { SMALL = 5 << 20, SMALL_EACH_THREAD = 5 << 19 };

void stage_plan_line(Str *plan, const char *what, const char *format, ...) {
    str_appendf(plan, "  %-24s ", what);
    va_list arguments;
    va_start(arguments, format);
    str_vappendf(plan, format, arguments);
    va_end(arguments);
    str_append_char(plan, '\n');
}

void stage_plan_bytes(Str *plan, const char *what, size_t bytes) {
    if (bytes < (size_t)1 << 20) {
        stage_plan_line(plan, what, "%8.1f KiB", (double)bytes / 1024);
    } else {
        stage_plan_line(plan, what, "%8.1f MiB", (double)bytes / (1 << 20));
    }
}

void stage_plan_peak(Str *plan, const size_t *block, size_t blocks) {
    size_t now = mem_rss(), after = now;
    for (size_t i = 0; i < blocks; i++) {
        after = mem_add(after, block[i]);
    }
    after = mem_add(after, SMALL + (size_t)parallel_threads() * SMALL_EACH_THREAD);
    size_t peak = mem_peak_rss();
    stage_plan_bytes(plan, "process now", now);
    stage_plan_bytes(plan, "predicted peak", after > peak ? after : peak);
}
