/* SPDX-License-Identifier: MIT */
#include "common/base/batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

static bool grow(void *array, size_t capacity, size_t need, size_t size, Error *err) {
    return mem_reserve(array, &capacity, need, size, err);
}

static bool reserve_tokens(Batch *batch, size_t need, Error *err) {
    if (need <= batch->token_capacity) {
        return true;
    }
    size_t doubled = mem_mul(batch->token_capacity, 2);
    size_t wanted = doubled != SIZE_MAX && doubled > need ? doubled : need;
    if (!grow(&batch->id, batch->token_capacity, wanted, sizeof *batch->id, err) ||
        !grow(&batch->target, batch->token_capacity, wanted, sizeof *batch->target, err) ||
        !grow(&batch->segment, batch->token_capacity, wanted, sizeof *batch->segment, err)) {
        return false;
    }
    batch->token_capacity = wanted;
    return true;
}

static bool reserve_sequences(Batch *batch, size_t need, Error *err) {
    if (need <= batch->sequence_capacity && batch->start != NULL) {
        return true;
    }
    size_t doubled = mem_mul(batch->sequence_capacity, 2);
    size_t wanted = doubled != SIZE_MAX && doubled > need ? doubled : need;
    size_t starts = batch->start == NULL ? 0 : batch->sequence_capacity + 1;
    if (!grow(&batch->start, starts, mem_add(wanted, 1), sizeof *batch->start, err) ||
        !grow(&batch->prefix, batch->sequence_capacity, wanted, sizeof *batch->prefix, err) ||
        !grow(&batch->key, batch->sequence_capacity, wanted, sizeof *batch->key, err)) {
        return false;
    }
    batch->sequence_capacity = wanted;
    return true;
}

bool batch_init(Batch *batch, size_t tokens, size_t sequences, Error *err) {
    *batch = (Batch){0};
    if (!reserve_tokens(batch, tokens, err) || !reserve_sequences(batch, sequences, err)) {
        batch_done(batch);
        return false;
    }
    return true;
}

void batch_done(Batch *batch) {
    free(batch->id);
    free(batch->target);
    free(batch->segment);
    free(batch->start);
    free(batch->prefix);
    free(batch->key);
    *batch = (Batch){0};
}

void batch_clear(Batch *batch) {
    batch->tokens = batch->sequences = 0;
}

bool batch_append(Batch *batch, size_t n, int32_t prefix, uint64_t key, size_t *index, Error *err) {
    CHECK(n >= 1);
    CHECK(batch->sequences < INT32_MAX);
    if (!reserve_tokens(batch, mem_add(batch->tokens, n), err) ||
        !reserve_sequences(batch, batch->sequences + 1, err)) {
        return false;
    }
    size_t s = batch->sequences++;
    batch->start[s] = batch->tokens;
    batch->tokens += n;
    batch->start[s + 1] = batch->tokens;
    batch->prefix[s] = prefix;
    batch->key[s] = key;
    for (size_t t = batch->start[s]; t < batch->tokens; t++) {
        batch->id[t] = 0;
        batch->target[t] = BATCH_NO_TARGET;
        batch->segment[t] = 0;
    }
    *index = s;
    return true;
}

bool batch_add(Batch *batch, const int32_t *id, const int32_t *target, size_t n, int32_t prefix,
               uint64_t key, size_t *index, Error *err) {
    size_t s;
    if (!batch_append(batch, n, prefix, key, &s, err)) {
        return false;
    }
    memcpy(batch->id + batch->start[s], id, n * sizeof *id);
    if (target != NULL) {
        memcpy(batch->target + batch->start[s], target, n * sizeof *target);
    }
    if (index != NULL) {
        *index = s;
    }
    return true;
}

void batch_set_segments(Batch *batch, size_t s, size_t first) {
    for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
        batch->segment[t] = t - batch->start[s] >= first;
    }
}

size_t batch_length(const Batch *batch, size_t s) {
    return batch->start[s + 1] - batch->start[s];
}

size_t batch_first_position(const Batch *batch, size_t s) {
    return batch->prefix[s] == BATCH_NO_PREFIX ? 0 : batch_length(batch, (size_t)batch->prefix[s]);
}

/* A child follows its prefix or another child of it, so a group is always adjacent. */
static bool prefix_is_valid(const Batch *batch, size_t s) {
    int32_t prefix = batch->prefix[s];
    if (prefix == BATCH_NO_PREFIX) {
        return true;
    }
    if (prefix < 0 || (size_t)prefix >= s || batch->prefix[prefix] != BATCH_NO_PREFIX) {
        return false;
    }
    return (size_t)prefix == s - 1 || batch->prefix[s - 1] == prefix;
}

bool batch_is_valid(const Batch *batch, size_t vocabulary, size_t context) {
    if (batch->sequences > 0 &&
        (batch->start[0] != 0 || batch->start[batch->sequences] != batch->tokens)) {
        return false;
    }
    for (size_t s = 0; s < batch->sequences; s++) {
        if (batch->start[s] >= batch->start[s + 1] || !prefix_is_valid(batch, s) ||
            batch_first_position(batch, s) + batch_length(batch, s) > context) {
            return false;
        }
    }
    for (size_t t = 0; t < batch->tokens; t++) {
        if (batch->id[t] < 0 || (size_t)batch->id[t] >= vocabulary ||
            batch->target[t] < BATCH_NO_TARGET ||
            (batch->target[t] >= 0 && (size_t)batch->target[t] >= vocabulary)) {
            return false;
        }
    }
    return true;
}
