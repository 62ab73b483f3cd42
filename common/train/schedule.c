/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "common/train/optimizer.h"

double schedule_factor(ScheduleKind kind, int64_t step, int64_t steps, int64_t warmup,
                       double floor) {
    if (step < warmup) {
        return (double)(step + 1) / (double)warmup;
    }
    if (kind == SCHEDULE_CONSTANT) {
        return 1;
    }
    if (step >= steps) {
        return kind == SCHEDULE_COSINE ? floor : 0;
    }
    double left = (double)(steps - step) / (double)(steps - warmup);
    return kind == SCHEDULE_LINEAR ? left : floor + (1 - floor) * (1 - cos(M_PI * left)) / 2;
}
