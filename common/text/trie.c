/* SPDX-License-Identifier: MIT */
#include "common/text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { LABELS = 257 }; /* the end, and 256 bytes */

typedef struct Range {
    size_t first, last; /* keys [first, last) share `depth` bytes */
    size_t depth;
    int32_t node;
} Range;

typedef struct Builder {
    const TrieKey *key;
    Trie *trie;
    size_t capacity;
    int32_t hint; /* where free places are not rare */
    Range *work;  /* a stack */
    size_t works, work_capacity;
} Builder;

static int by_text(const void *a, const void *b) {
    const TrieKey *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    order = order != 0 ? order : (x->n > y->n) - (x->n < y->n);
    return order != 0 ? order : (x->value > y->value) - (x->value < y->value);
}

static bool grow(Builder *b, size_t need, Error *err) {
    Trie *trie = b->trie;
    size_t old = trie->count;
    if (need <= old) {
        return true;
    }
    if (need >= INT32_MAX / 2) {
        return error_set(err, ERROR_DATA, "a vocabulary too large for its tree of bytes");
    }
    size_t count = need > old + old / 4 ? need : old + old / 4;
    if (!mem_reserve(&trie->node, &b->capacity, count + LABELS, sizeof *trie->node, err)) {
        return false;
    }
    for (size_t i = old == 0 ? 0 : old + LABELS; i < count + LABELS; i++) {
        trie->node[i].check = -1;
    }
    trie->count = count;
    return true;
}

/* A base whose places for all labels are free. label: ascending, 0 is the end. */
static bool place(Builder *b, const int *label, size_t labels, int32_t *base, Error *err) {
    size_t taken = 0, seen = 0;
    for (int32_t at = b->hint > label[0] + 1 ? b->hint : label[0] + 1;; at++) {
        if (!grow(b, (size_t)at + LABELS, err)) {
            return false;
        }
        seen++;
        if (b->trie->node[at].check >= 0) {
            taken++;
            continue;
        }
        int32_t candidate = at - label[0];
        size_t i = 1;
        while (i < labels && b->trie->node[candidate + label[i]].check < 0) {
            i++;
        }
        if (i == labels) {
            /* Where 19 of 20 places were taken, the next search need not look again; nor where a
             * wide node went by thousands. */
            if (taken >= seen - seen / 20 || seen > 4096) {
                b->hint = at;
            }
            *base = candidate;
            return true;
        }
    }
}

static bool push(Builder *b, Range range, Error *err) {
    if (!mem_reserve(&b->work, &b->work_capacity, b->works + 1, sizeof range, err)) {
        return false;
    }
    b->work[b->works++] = range;
    return true;
}

static int label_of(const TrieKey *key, size_t depth) {
    return key->n == depth ? 0 : 1 + (unsigned char)key->text[depth];
}

static bool expand(Builder *b, Range range, Error *err) {
    int label[LABELS];
    size_t start[LABELS + 1], labels = 0;
    for (size_t i = range.first; i < range.last; i++) {
        int mine = label_of(&b->key[i], range.depth);
        if (labels == 0 || label[labels - 1] != mine) {
            start[labels] = i;
            label[labels++] = mine;
        }
    }
    start[labels] = range.last;
    int32_t base = 0;
    if (!place(b, label, labels, &base, err)) {
        return false;
    }
    TrieNode *node = b->trie->node;
    node[range.node].base = base;
    for (size_t i = 0; i < labels; i++) {
        node[base + label[i]].check = range.node;
        if (label[i] == 0) {
            node[base].base = -1 - b->key[start[i]].value;
        } else if (!push(b,
                         (Range){start[i], start[i + 1], range.depth + 1, base + (int32_t)label[i]},
                         err)) {
            return false;
        }
    }
    return true;
}

bool trie_build(Trie *trie, TrieKey *key, size_t keys, Error *err) {
    *trie = (Trie){0};
    if (keys == 0) {
        return true;
    }
    qsort(key, keys, sizeof *key, by_text);
    Builder b = {.key = key, .trie = trie, .hint = 1};
    bool ok = grow(&b, LABELS, err);
    if (ok) {
        trie->node[0].check = 0; /* the root is nobody's child, and its place is taken */
        ok = push(&b, (Range){0, keys, 0, TRIE_ROOT}, err);
    }
    while (ok && b.works > 0) {
        ok = expand(&b, b.work[--b.works], err);
    }
    free(b.work);
    if (!ok) {
        trie_done(trie);
    }
    return ok;
}

void trie_done(Trie *trie) {
    free(trie->node);
    *trie = (Trie){0};
}
