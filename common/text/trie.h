/* SPDX-License-Identifier: MIT
 *
 * Trie: a fixed set of byte strings with a value each, found by walking a text byte by byte.
 *
 * A double array (Aoe 1989): the child of node s for byte c is base[s] + c + 1 where check of that
 * place is s; the place base[s] itself, if its check is s, says that a string ends at s.
 */
#ifndef RLHF_TEXT_TRIE_H
#define RLHF_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

typedef struct TrieKey {
    const char *text; /* borrowed while building */
    size_t n;         /* at least 1 */
    int32_t value;    /* >= 0 */
} TrieKey;

typedef struct TrieNode {
    int32_t base;  /* at a string's end: -1 - value */
    int32_t check; /* -1: free */
} TrieNode;

/* Initialize with {0}: no strings. */
typedef struct Trie {
    TrieNode *node; /* owned; [count] and 257 more places that are free */
    size_t count;
} Trie;

/* Sorts the keys. Of equal keys the one with the smallest value counts. */
bool trie_build(Trie *trie, TrieKey *key, size_t keys, Error *err);
void trie_done(Trie *trie);

enum { TRIE_ROOT = 0 };

/* The node that a byte leads to, -1 if no string goes on so. */
static inline int32_t trie_step(const Trie *trie, int32_t node, unsigned char byte) {
    int32_t next = trie->node[node].base + byte + 1;
    return trie->node[next].check == node ? next : -1;
}

/* The value of the string that ends at a node, -1 if none does. */
static inline int32_t trie_value(const Trie *trie, int32_t node) {
    int32_t end = trie->node[node].base;
    return trie->node[end].check == node ? -1 - trie->node[end].base : -1;
}

/* The longest string at the start of n bytes of text: its value, and its bytes through *length; -1
 * and 0 if there is none. An empty trie has none. */
static inline int32_t trie_longest(const Trie *trie, int32_t node, const char *text, size_t n,
                                   size_t *length) {
    int32_t found = -1;
    *length = 0;
    for (size_t i = 0; i < n && trie->count > 0; i++) {
        node = trie_step(trie, node, (unsigned char)text[i]);
        if (node < 0) {
            break;
        }
        int32_t value = trie_value(trie, node);
        if (value >= 0) {
            found = value;
            *length = i + 1;
        }
    }
    return found;
}

#endif
