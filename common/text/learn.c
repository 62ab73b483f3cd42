/* SPDX-License-Identifier: MIT
 *
 * Training by byte-pair encoding (Sennrich et al. 2016, "Neural machine translation of rare words
 * with subword units"), with counts kept up to date merge by merge. The most frequent pair is
 * merged first; of equals the one with the lower ids. A pair waits in a heap together with the
 * words in which it was seen when it was put there; its count there may be too old and is then
 * renewed. Hugging Face's BpeTrainer does the same, so the same text gives the same merges.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/trainer.h"

typedef struct Places {
    uint32_t *word; /* owned */
    size_t count, capacity;
} Places;

typedef struct Pair {
    int32_t left, right;
    int64_t count;
    Places fresh; /* words in which the current merge made it */
} Pair;

typedef struct Waiting {
    int64_t count;
    uint32_t pair;
    Places places;
} Waiting;

typedef struct Merging {
    TokenizerTrainer *trainer;
    Tokenizer *tokenizer;
    PairMap map; /* ids to index in `pair` */
    Pair *pair;
    size_t pairs, pair_capacity;
    Waiting *heap;
    size_t heap_size, heap_capacity;
    uint32_t *touched; /* pairs with fresh places */
    size_t touches, touch_capacity;
    uint32_t *merged; /* pairs in the order of their merges */
    size_t merges, merge_capacity;
} Merging;

static bool first(const Merging *m, const Waiting *a, const Waiting *b) {
    if (a->count != b->count) {
        return a->count > b->count;
    }
    const Pair *x = &m->pair[a->pair], *y = &m->pair[b->pair];
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static bool wait(Merging *m, Waiting waiting, Error *err) {
    if (!mem_reserve(&m->heap, &m->heap_capacity, m->heap_size + 1, sizeof waiting, err)) {
        free(waiting.places.word);
        return false;
    }
    size_t i = m->heap_size++;
    while (i > 0 && first(m, &waiting, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = waiting;
    return true;
}

static Waiting take(Merging *m) {
    Waiting top = m->heap[0], last = m->heap[--m->heap_size];
    size_t i = 0;
    for (size_t child = 1; child < m->heap_size; child = 2 * i + 1) {
        if (child + 1 < m->heap_size && first(m, &m->heap[child + 1], &m->heap[child])) {
            child++;
        }
        if (!first(m, &m->heap[child], &last)) {
            break;
        }
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

/* Adds to a pair's count; a pair that came into being in a word remembers the word. */
static bool count_pair(Merging *m, int32_t left, int32_t right, int64_t change, uint32_t word,
                       Error *err) {
    PairSlot *slot = NULL;
    bool added = false;
    if (!pair_map_add(&m->map, left, right, &slot, &added, err)) {
        return false;
    }
    if (added) {
        if (m->pairs == INT32_MAX) {
            return error_set(err, ERROR_DATA, "the text has too many different pairs to train on");
        }
        if (!mem_reserve(&m->pair, &m->pair_capacity, m->pairs + 1, sizeof(Pair), err)) {
            return false;
        }
        slot->result = (int32_t)m->pairs;
        m->pair[m->pairs++] = (Pair){.left = left, .right = right};
    }
    uint32_t index = (uint32_t)slot->result;
    Pair *pair = &m->pair[index];
    pair->count += change;
    Places *fresh = &pair->fresh;
    if (change < 0 || (fresh->count > 0 && fresh->word[fresh->count - 1] == word)) {
        return true;
    }
    if (fresh->count == 0) {
        if (!mem_reserve(&m->touched, &m->touch_capacity, m->touches + 1, sizeof index, err)) {
            return false;
        }
        m->touched[m->touches++] = index;
    }
    if (!mem_reserve(&fresh->word, &fresh->capacity, fresh->count + 1, sizeof word, err)) {
        return false;
    }
    fresh->word[fresh->count++] = word;
    return true;
}

/* Puts what was touched into the heap. */
static bool wait_for_touched(Merging *m, Error *err) {
    for (size_t i = 0; i < m->touches; i++) {
        Pair *pair = &m->pair[m->touched[i]];
        Places places = pair->fresh;
        pair->fresh = (Places){0};
        if (pair->count <= 0) {
            free(places.word);
        } else if (!wait(m, (Waiting){pair->count, m->touched[i], places}, err)) {
            return false;
        }
    }
    m->touches = 0;
    return true;
}

static bool spell_words(Merging *m, Error *err) {
    int32_t byte_id[256];
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t n = utf8_encode(byte_level_code((unsigned char)byte), text);
        byte_id[byte] = name_map_find(&m->tokenizer->model, text, n);
    }
    for (size_t i = 0; i < m->trainer->words; i++) {
        Word *word = &m->trainer->word[i];
        free(word->symbol);
        word->n = word->bytes;
        word->symbol = mem_alloc(word->n, sizeof *word->symbol, err);
        if (word->symbol == NULL) {
            return false;
        }
        for (size_t j = 0; j < word->n; j++) {
            word->symbol[j] = byte_id[(unsigned char)word->text[j]];
        }
        for (size_t j = 0; j + 1 < word->n; j++) {
            if (!count_pair(m, word->symbol[j], word->symbol[j + 1], word->count, (uint32_t)i,
                            err)) {
                return false;
            }
        }
    }
    return wait_for_touched(m, err);
}

/* Merges a pair in one word, from left to right, and counts what disappears and what appears. */
static bool merge_word(Merging *m, uint32_t index, int32_t left, int32_t right, int32_t merged,
                       Error *err) {
    Word *word = &m->trainer->word[index];
    int32_t *symbol = word->symbol;
    size_t out = 0, n = word->n;
    bool ok = true;
    for (size_t i = 0; i < n;) {
        if (symbol[i] != left || i + 1 == n || symbol[i + 1] != right) {
            symbol[out++] = symbol[i++];
            continue;
        }
        if (out > 0) {
            ok = ok && count_pair(m, symbol[out - 1], left, -word->count, index, err) &&
                 count_pair(m, symbol[out - 1], merged, word->count, index, err);
        }
        if (i + 2 < n) {
            ok = ok && count_pair(m, right, symbol[i + 2], -word->count, index, err) &&
                 count_pair(m, merged, symbol[i + 2], word->count, index, err);
        }
        symbol[out++] = merged;
        i += 2;
    }
    word->n = out;
    return ok;
}

/* The id of a merged token; a new one unless another merge made the same text. */
static bool merged_id(Merging *m, const Pair *pair, int32_t *id, Error *err) {
    Str text = {0};
    str_append(&text, m->tokenizer->token[pair->left].text);
    str_append(&text, m->tokenizer->token[pair->right].text);
    bool ok = str_ok(&text, err);
    if (ok) {
        *id = name_map_find(&m->tokenizer->model, text.data, text.size);
        if (*id < 0) {
            *id = (int32_t)m->tokenizer->vocabulary;
            ok = tokenizer_put_token(m->tokenizer, text.data, *id, err);
        }
    }
    str_done(&text);
    return ok;
}

static bool merge_pairs(Merging *m, size_t vocabulary, int64_t minimum, Error *err) {
    while (m->tokenizer->vocabulary < vocabulary && m->heap_size > 0) {
        Waiting top = take(m);
        if (top.count != m->pair[top.pair].count) {
            top.count = m->pair[top.pair].count;
            if (!wait(m, top, err)) {
                return false;
            }
            continue;
        }
        bool ok = true, enough = top.count < minimum;
        if (!enough) {
            Pair pair = m->pair[top.pair];
            int32_t id = -1;
            ok = merged_id(m, &pair, &id, err) &&
                 mem_reserve(&m->merged, &m->merge_capacity, m->merges + 1, sizeof *m->merged, err);
            if (ok) {
                m->merged[m->merges++] = top.pair;
            }
            for (size_t i = 0; ok && i < top.places.count; i++) {
                ok = merge_word(m, top.places.word[i], pair.left, pair.right, id, err);
            }
            ok = ok && wait_for_touched(m, err);
        }
        free(top.places.word);
        if (!ok || enough) {
            return ok;
        }
    }
    return true;
}

/* A pair whose token is made again by other merges can come up twice; its last rank counts. */
static bool put_merges(Merging *m, Error *err) {
    for (size_t i = 0; i < m->merges; i++) {
        m->pair[m->merged[i]].count = (int64_t)i;
    }
    for (size_t i = 0; i < m->merges; i++) {
        const Pair *pair = &m->pair[m->merged[i]];
        const char *left = m->tokenizer->token[pair->left].text;
        const char *right = m->tokenizer->token[pair->right].text;
        if (pair->count == (int64_t)i &&
            !tokenizer_put_merge(m->tokenizer, left, strlen(left), right, strlen(right), err)) {
            return false;
        }
    }
    return true;
}

static void merging_done(Merging *m) {
    for (size_t i = 0; i < m->pairs; i++) {
        free(m->pair[i].fresh.word);
    }
    for (size_t i = 0; i < m->heap_size; i++) {
        free(m->heap[i].places.word);
    }
    pair_map_done(&m->map);
    free(m->pair);
    free(m->heap);
    free(m->touched);
    free(m->merged);
}

bool trainer_learn(TokenizerTrainer *trainer, Tokenizer *tokenizer, size_t vocabulary,
                   int64_t minimum_count, Error *err) {
    Merging m = {.trainer = trainer, .tokenizer = tokenizer};
    bool ok = spell_words(&m, err) && merge_pairs(&m, vocabulary, minimum_count, err) &&
              put_merges(&m, err);
    merging_done(&m);
    return ok;
}
