/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/text/internal.h"

/* Open addressing with linear probing; at most half full. */

void name_map_done(NameMap *map) {
    free(map->slot);
    *map = (NameMap){0};
}

static struct NameSlot *name_slot(const NameMap *map, const char *key, size_t n) {
    size_t i = hash_bytes(key, n) & (map->capacity - 1);
    while (map->slot[i].key != NULL &&
           (map->slot[i].n != n || memcmp(map->slot[i].key, key, n) != 0)) {
        i = (i + 1) & (map->capacity - 1);
    }
    return &map->slot[i];
}

static bool name_map_grow(NameMap *map, Error *err) {
    NameMap bigger = {.capacity = map->capacity == 0 ? 64 : 2 * map->capacity, .count = map->count};
    bigger.slot = mem_alloc(bigger.capacity, sizeof *bigger.slot, err);
    if (bigger.slot == NULL) {
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slot[i].key != NULL) {
            *name_slot(&bigger, map->slot[i].key, map->slot[i].n) = map->slot[i];
        }
    }
    free(map->slot);
    *map = bigger;
    return true;
}

bool name_map_add(NameMap *map, const char *key, size_t n, int32_t fresh, int32_t *value,
                  Error *err) {
    if (2 * (map->count + 1) > map->capacity && !name_map_grow(map, err)) {
        return false;
    }
    struct NameSlot *slot = name_slot(map, key, n);
    if (slot->key == NULL) {
        *slot = (struct NameSlot){.key = key, .n = n, .value = fresh};
        map->count++;
    }
    if (value != NULL) {
        *value = slot->value;
    }
    return true;
}

int32_t name_map_find(const NameMap *map, const char *key, size_t n) {
    if (map->count == 0) {
        return -1;
    }
    const struct NameSlot *slot = name_slot(map, key, n);
    return slot->key == NULL ? -1 : slot->value;
}

void pair_map_done(PairMap *map) {
    free(map->slot);
    *map = (PairMap){0};
}

static PairSlot *pair_slot(const PairMap *map, int32_t a, int32_t b) {
    uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    key *= UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (key ^ key >> 32) & (map->capacity - 1);
    while (map->slot[i].a >= 0 && (map->slot[i].a != a || map->slot[i].b != b)) {
        i = (i + 1) & (map->capacity - 1);
    }
    return &map->slot[i];
}

static bool pair_map_grow(PairMap *map, Error *err) {
    PairMap bigger = {.capacity = map->capacity == 0 ? 64 : 2 * map->capacity, .count = map->count};
    bigger.slot = mem_alloc(bigger.capacity, sizeof *bigger.slot, err);
    if (bigger.slot == NULL) {
        return false;
    }
    for (size_t i = 0; i < bigger.capacity; i++) {
        bigger.slot[i].a = -1;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slot[i].a >= 0) {
            *pair_slot(&bigger, map->slot[i].a, map->slot[i].b) = map->slot[i];
        }
    }
    free(map->slot);
    *map = bigger;
    return true;
}

bool pair_map_add(PairMap *map, int32_t a, int32_t b, PairSlot **slot, bool *added, Error *err) {
    if (2 * (map->count + 1) > map->capacity && !pair_map_grow(map, err)) {
        return false;
    }
    *slot = pair_slot(map, a, b);
    *added = (*slot)->a < 0;
    if (*added) {
        **slot = (PairSlot){.a = a, .b = b, .rank = -1, .result = -1};
        map->count++;
    }
    return true;
}

const PairSlot *pair_map_find(const PairMap *map, int32_t a, int32_t b) {
    if (map->count == 0) {
        return NULL;
    }
    const PairSlot *slot = pair_slot(map, a, b);
    return slot->a < 0 ? NULL : slot;
}
