/* SPDX-License-Identifier: MIT */
#include "common/base/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "common/base/file.h"

uint64_t hash_bytes(const void *data, size_t n) {
    return XXH3_64bits(data, n);
}

static void hexadecimal(XXH128_hash_t hash, char out[HASH_TEXT]) {
    snprintf(out, HASH_TEXT, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void hash_hex(const void *data, size_t n, char out[HASH_TEXT]) {
    hexadecimal(XXH3_128bits(data, n), out);
}

bool hash_file(const char *path, char out[HASH_TEXT], uint64_t *size, Error *err) {
    FileMap map;
    if (!file_map(&map, path, err)) {
        return false;
    }
    XXH3_state_t *state = XXH3_createState();
    bool ok = state != NULL || error_set(err, ERROR_OS, "out of memory while hashing %s", path);
    if (ok) {
        XXH3_128bits_reset(state);
        for (size_t at = 0; at < map.size; at += FILE_PIECE) {
            size_t n = map.size - at < FILE_PIECE ? map.size - at : FILE_PIECE;
            XXH3_128bits_update(state, map.data + at, n);
            file_map_release(&map, at, n);
        }
        hexadecimal(XXH3_128bits_digest(state), out);
        *size = map.size;
    }
    XXH3_freeState(state);
    file_unmap(&map);
    return ok;
}
