/* SPDX-License-Identifier: MIT
 *
 * Counts calls of malloc and its kin. A test program that depends on `allocations` of meson.build has
 * those calls wrapped by the linker, in all code but the C library's own.
 */
#ifndef RLHF_TESTS_ALLOCATIONS_H
#define RLHF_TESTS_ALLOCATIONS_H

#include <stddef.h>

/* Calls so far, of all threads. */
size_t test_allocations(void);

#endif
