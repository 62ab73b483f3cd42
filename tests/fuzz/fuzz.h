/* SPDX-License-Identifier: MIT
 *
 * What fuzz targets share: files in memory, so that an execution makes no system call and a read behind a
 * file's last byte is one behind a block of the heap. The linker gives targets (meson.build) these
 * functions in place of common/base/file.h's for every path that begins with "memory:": file_read (without
 * gzip), file_map, file_write, FileWriter, file_exists, file_is_folder, file_remove_tree, and realpath. Other
 * paths can be read, not written. And patterns are not compiled to machine code, which would take most of the
 * time. One thread.
 */
#ifndef RLHF_TESTS_FUZZ_H
#define RLHF_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void demand(bool condition); /* abort otherwise: a finding */

/* Puts a copy of the bytes where `path` (it begins with "memory:") says, in place of what was there. */
void memory_file_put(const char *path, const void *data, size_t size);
/* A file's bytes, NULL when there is none. Borrowed. */
const uint8_t *memory_file(const char *path, size_t *size);
void memory_files_clear(void);

/* Cuts the bytes before the first `separator` off *data, or all when there is none. */
typedef struct FuzzPart {
    const uint8_t *data;
    size_t size;
} FuzzPart;
FuzzPart fuzz_cut(FuzzPart *rest, uint8_t separator);

#endif
