/* SPDX-License-Identifier: MIT
 *
 * Faults on demand, for tests: built with -Dfault_injection=true, the environment variable RLHF_FAULT
 * makes one chosen call fail. "malloc:137": the 137th allocation; "write:12:ENOSPC": the 12th write of a
 * file; "fsync:3:kill": the process ends at the third sync with exit code 99. Other builds hold nothing
 * of it.
 */
#ifndef RLHF_BASE_FAULT_H
#define RLHF_BASE_FAULT_H

#include <stdbool.h>

typedef enum FaultKind { FAULT_MALLOC, FAULT_WRITE, FAULT_FSYNC } FaultKind;

#ifdef RLHF_FAULT_INJECTION
/* Counts the call; true, with errno set, if it shall fail. */
bool fault_strikes(FaultKind kind);
#else
static inline bool fault_strikes(FaultKind kind) {
    (void)kind;
    return false;
}
#endif

#endif
