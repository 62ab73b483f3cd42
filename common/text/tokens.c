/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/tokenizer.h"

void tokens_done(Tokens *tokens) {
    free(tokens->id);
    *tokens = (Tokens){0};
}

bool tokens_push(Tokens *tokens, int32_t id, Error *err) {
    if (tokens->count == tokens->capacity &&
        !mem_reserve(&tokens->id, &tokens->capacity, tokens->count + 1, sizeof id, err)) {
        return false;
    }
    tokens->id[tokens->count++] = id;
    return true;
}

bool tokens_append(Tokens *tokens, const int32_t *id, size_t n, Error *err) {
    if (n == 0) {
        return true;
    }
    if (!mem_reserve(&tokens->id, &tokens->capacity, mem_add(tokens->count, n), sizeof *id, err)) {
        return false;
    }
    memcpy(tokens->id + tokens->count, id, n * sizeof *id);
    tokens->count += n;
    return true;
}
