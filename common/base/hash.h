/* SPDX-License-Identifier: MIT
 *
 * Fingerprints: XXH3 of libxxhash, 128 bits for files, 64 bits for keys. Not cryptographic.
 */
#ifndef RLHF_BASE_HASH_H
#define RLHF_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { HASH_TEXT = 33 }; /* 32 hexadecimal digits and NUL */

uint64_t hash_bytes(const void *data, size_t n);
void hash_hex(const void *data, size_t n, char out[HASH_TEXT]);
bool hash_file(const char *path, char out[HASH_TEXT], uint64_t *size, Error *err);

#endif
