/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "common/stage/stage.h"

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
