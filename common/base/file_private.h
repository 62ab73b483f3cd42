/* SPDX-License-Identifier: MIT
 *
 * What the sources behind file.h share.
 */
#ifndef RLHF_BASE_FILE_PRIVATE_H
#define RLHF_BASE_FILE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

/* Opens a regular file for reading, anything else is an error; -1 on failure. */
int file_open_regular(const char *path, uint64_t *size, Error *err);

/* From errno, as error_errno; a missing folder is ERROR_CANNOT_CREATE here. Returns false. */
bool file_cannot_create(const char *what, const char *path, Error *err);

/* fsync and write, EINTR retried; -1 and errno on failure. */
int file_sync(int descriptor);
ssize_t file_write_some(int descriptor, const void *data, size_t n);

/* fsync of the folder in which path stands. */
bool file_sync_parent(const char *path, Error *err);

#endif
