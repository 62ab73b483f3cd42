/* SPDX-License-Identifier: MIT
 *
 * How a tokenizer comes into being: tokens, merges, added tokens and stages one by one, then a
 * seal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/text/internal.h"

Tokenizer *tokenizer_new(const char *source, Error *err) {
    Tokenizer *tokenizer = mem_alloc(1, sizeof *tokenizer, err);
    if (tokenizer == NULL) {
        return NULL;
    }
    tokenizer->eos = tokenizer->bos = tokenizer->pad = -1;
    tokenizer->source = mem_strdup(source, err);
    if (tokenizer->source == NULL) {
        tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}

void tokenizer_free(Tokenizer *tokenizer) {
    if (tokenizer == NULL) {
        return;
    }
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        free(tokenizer->token[i].text);
        free(tokenizer->token[i].bytes);
    }
    free(tokenizer->token);
    name_map_done(&tokenizer->model);
    name_map_done(&tokenizer->contents);
    free(tokenizer->merge);
    pair_map_done(&tokenizer->pair);
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        free(tokenizer->added[i].content);
    }
    free(tokenizer->added);
    pair_map_done(&tokenizer->tree[0]);
    pair_map_done(&tokenizer->tree[1]);
    pcre2_code_free(tokenizer->word);
    for (size_t i = 0; i < tokenizer->stages; i++) {
        stage_done(&tokenizer->stage[i]);
    }
    free(tokenizer->source);
    for (size_t i = 0; i < sizeof tokenizer->kept / sizeof *tokenizer->kept; i++) {
        str_done(&tokenizer->kept[i].content);
    }
    free(tokenizer);
}

enum { SHOWN = 400 };

/* "text" as JSON, shortened: for messages. */
static const char *quoted(const char *text, size_t n, char buffer[SHOWN]) {
    size_t cut = n;
    if (cut > 48) {
        for (cut = 48; ((unsigned char)text[cut] & 0xc0) == 0x80; cut--) {
        }
    }
    Str out = {0};
    json_put_string(&out, text, cut);
    snprintf(buffer, SHOWN, "%s%s", str_text(&out), cut < n ? "..." : "");
    str_done(&out);
    return buffer;
}

static Token *token_at(Tokenizer *tokenizer, const char *text, int64_t id, Error *err) {
    char shown[SHOWN];
    if (id < 0 || id >= VOCABULARY_MAX) {
        error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "token %s has id %lld, expected 0 to %d",
                 quoted(text, strlen(text), shown), (long long)id, VOCABULARY_MAX - 1);
        return NULL;
    }
    size_t i = (size_t)id;
    if (i < tokenizer->vocabulary && tokenizer->token[i].text != NULL) {
        char other[SHOWN];
        const char *taken = tokenizer->token[i].text;
        error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "id %zu is given to both %s and %s", i,
                 quoted(taken, strlen(taken), other), quoted(text, strlen(text), shown));
        return NULL;
    }
    if (!mem_reserve(&tokenizer->token, &tokenizer->capacity, i + 1, sizeof(Token), err)) {
        return NULL;
    }
    tokenizer->vocabulary = i >= tokenizer->vocabulary ? i + 1 : tokenizer->vocabulary;
    tokenizer->token[i].text = mem_strdup(text, err);
    return tokenizer->token[i].text == NULL ? NULL : &tokenizer->token[i];
}

bool tokenizer_put_token(Tokenizer *tokenizer, const char *text, int64_t id, Error *err) {
    char shown[SHOWN];
    size_t n = strlen(text);
    if (n == 0) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "token %lld is empty",
                        (long long)id);
    }
    if (name_map_find(&tokenizer->model, text, n) >= 0) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                        "token %s is twice in the vocabulary", quoted(text, n, shown));
    }
    Token *token = token_at(tokenizer, text, id, err);
    if (token == NULL) {
        return false;
    }
    token->flags = TOKEN_MODEL;
    return name_map_add(&tokenizer->model, token->text, n, (int32_t)id, NULL, err);
}

bool tokenizer_put_merge(Tokenizer *tokenizer, const char *left, size_t left_n, const char *right,
                         size_t right_n, Error *err) {
    char a[SHOWN], b[SHOWN];
    const char *file = tokenizer->source;
    size_t rank = tokenizer->merges;
    int32_t left_id = name_map_find(&tokenizer->model, left, left_n);
    int32_t right_id = name_map_find(&tokenizer->model, right, right_n);
    if (left_id < 0 || right_id < 0) {
        return error_at(err, ERROR_DATA, file, 0, 0,
                        "merge %zu joins %s and %s, but %s is not in the vocabulary", rank,
                        quoted(left, left_n, a), quoted(right, right_n, b), left_id < 0 ? a : b);
    }
    if (memchr(left, ' ', left_n) != NULL || memchr(right, ' ', right_n) != NULL) {
        return error_at(err, ERROR_DATA, file, 0, 0,
                        "merge %zu joins %s and %s, but a byte-level token holds no space", rank,
                        quoted(left, left_n, a), quoted(right, right_n, b));
    }
    Str whole = {0};
    str_append_bytes(&whole, left, left_n);
    str_append_bytes(&whole, right, right_n);
    bool ok = str_ok(&whole, err);
    int32_t result = ok ? name_map_find(&tokenizer->model, whole.data, whole.size) : -1;
    str_done(&whole);
    if (!ok) {
        return false;
    }
    if (result < 0) {
        return error_at(err, ERROR_DATA, file, 0, 0,
                        "merge %zu joins %s and %s to a token that is not in the vocabulary", rank,
                        quoted(left, left_n, a), quoted(right, right_n, b));
    }
    PairSlot *slot = NULL;
    bool added = false;
    if (!pair_map_add(&tokenizer->pair, left_id, right_id, &slot, &added, err)) {
        return false;
    }
    if (!added) {
        return error_at(err, ERROR_DATA, file, 0, 0, "merge %zu repeats merge %d, %s and %s", rank,
                        slot->rank, quoted(left, left_n, a), quoted(right, right_n, b));
    }
    if (!mem_reserve(&tokenizer->merge, &tokenizer->merge_capacity, rank + 1,
                     sizeof *tokenizer->merge, err)) {
        return false;
    }
    slot->rank = (int32_t)rank;
    slot->result = result;
    tokenizer->merge[rank][0] = left_id;
    tokenizer->merge[rank][1] = right_id;
    tokenizer->merges++;
    tokenizer->token[result].flags |= TOKEN_REACHED;
    return true;
}

bool tokenizer_put_added(Tokenizer *tokenizer, const AddedToken *added, Error *err) {
    char shown[SHOWN];
    const char *file = tokenizer->source;
    quoted(added->content, added->n, shown);
    if (added->n == 0) {
        return error_at(err, ERROR_DATA, file, 0, 0, "added token %d is empty", added->id);
    }
    if (name_map_find(&tokenizer->contents, added->content, added->n) >= 0) {
        return error_at(err, ERROR_DATA, file, 0, 0, "added token %s is there twice", shown);
    }
    int32_t id = name_map_find(&tokenizer->model, added->content, added->n);
    if (id >= 0 && id != added->id) {
        return error_at(err, ERROR_DATA, file, 0, 0,
                        "added token %s has id %d, but the vocabulary gives it %d", shown,
                        added->id, id);
    }
    if (id < 0 && token_at(tokenizer, added->content, added->id, err) == NULL) {
        return false;
    }
    if (!mem_reserve(&tokenizer->added, &tokenizer->added_capacity, tokenizer->added_count + 1,
                     sizeof *added, err)) {
        return false;
    }
    char *content = mem_strdup(added->content, err);
    if (content == NULL) {
        return false;
    }
    AddedToken *mine = &tokenizer->added[tokenizer->added_count++];
    *mine = *added;
    mine->content = content;
    tokenizer->token[mine->id].flags |= TOKEN_ADDED | (mine->special ? TOKEN_SPECIAL : 0);
    return name_map_add(&tokenizer->contents, content, mine->n, mine->id, NULL, err);
}

bool tokenizer_put_stage(Tokenizer *tokenizer, const char *pattern, bool prefix_space,
                         Stage **stage, Error *err) {
    if (tokenizer->stages == STAGES_MAX) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                        "the pre_tokenizer has more than %d steps", STAGES_MAX);
    }
    Stage *mine = &tokenizer->stage[tokenizer->stages++];
    mine->prefix_space = prefix_space;
    if (stage != NULL) {
        *stage = mine;
    }
    return pattern == NULL || stage_compile(mine, pattern, tokenizer->source, err);
}

static bool decode_tokens(Tokenizer *tokenizer, Error *err) {
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        Token *token = &tokenizer->token[i];
        if (token->text == NULL || token->bytes != NULL) {
            continue;
        }
        Str bytes = {0};
        byte_level_read(token->text, strlen(token->text), &bytes);
        token->size = bytes.size;
        token->bytes = str_take(&bytes, err);
        if (token->bytes == NULL) {
            return false;
        }
    }
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        Str text = {0};
        byte_level_write(&c, 1, &text);
        if (!str_ok(&text, err)) {
            str_done(&text);
            return false;
        }
        tokenizer->byte_id[byte] = name_map_find(&tokenizer->model, text.data, text.size);
        str_done(&text);
        if (tokenizer->byte_id[byte] >= 0) {
            tokenizer->token[tokenizer->byte_id[byte]].flags |= TOKEN_REACHED;
        }
    }
    return true;
}

static bool plant(Tokenizer *tokenizer, int32_t index, int32_t nodes[2], Error *err) {
    const AddedToken *added = &tokenizer->added[index];
    int phase = added->normalized ? 1 : 0;
    PairSlot *slot = NULL;
    bool fresh = false;
    int32_t node = 0;
    for (size_t i = 0; i < added->n; i++) {
        if (!pair_map_add(&tokenizer->tree[phase], node, (unsigned char)added->content[i], &slot,
                          &fresh, err)) {
            return false;
        }
        if (fresh) {
            slot->result = ++nodes[phase];
        }
        node = slot->result;
    }
    tokenizer->begins[phase][(unsigned char)added->content[0]] = 1;
    if (!pair_map_add(&tokenizer->tree[phase], node, NODE_END, &slot, &fresh, err)) {
        return false;
    }
    slot->rank = index;
    return true;
}

static bool fingerprint(Tokenizer *tokenizer, Error *err) {
    Str all = {0};
    bool both = tokenizer->tree[0].count > 0 && tokenizer->tree[1].count > 0;
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        const Token *token = &tokenizer->token[i];
        if (token->text != NULL) {
            json_put_string(&all, token->text, strlen(token->text));
            str_appendf(&all, " %zu %d\n", i, token->flags & (TOKEN_MODEL | TOKEN_SPECIAL));
        }
    }
    for (size_t i = 0; i < tokenizer->merges; i++) {
        str_appendf(&all, "%d %d\n", tokenizer->merge[i][0], tokenizer->merge[i][1]);
    }
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const AddedToken *added = &tokenizer->added[i];
        str_appendf(&all, "+%d %d %d %d %d %d\n", added->id, added->special, added->lstrip,
                    added->rstrip, added->single_word, both && added->normalized);
    }
    for (size_t i = 0; i < tokenizer->stages; i++) {
        const Stage *stage = &tokenizer->stage[i];
        if (stage->pattern != NULL || stage->prefix_space) {
            str_appendf(&all, "%d %d %d %s\n", stage->prefix_space, stage->drop_matches,
                        stage->drop_rest, stage->pattern == NULL ? "" : stage->pattern);
        }
    }
    str_appendf(&all, "%d\n", tokenizer->ignore_merges);
    bool ok = str_ok(&all, err);
    tokenizer->fingerprint = ok ? hash_bytes(all.data, all.size) : 0;
    str_done(&all);
    return ok;
}

static int by_id(const void *a, const void *b) {
    int32_t x = ((const AddedToken *)a)->id, y = ((const AddedToken *)b)->id;
    return (x > y) - (x < y);
}

/* A token that plays a role is special, unless ordinary text makes it (a pad token "!"). */
static bool seal_role(Tokenizer *tokenizer, int32_t id, Error *err) {
    if (id < 0 || (tokenizer->token[id].flags & (TOKEN_ADDED | TOKEN_REACHED)) != 0) {
        return true;
    }
    char *text = tokenizer->token[id].text;
    AddedToken added = {.content = text, .n = strlen(text), .id = id, .special = true};
    return tokenizer_put_added(tokenizer, &added, err);
}

bool tokenizer_seal(Tokenizer *tokenizer, Error *err) {
    if (tokenizer->vocabulary == 0) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "the vocabulary is empty");
    }
    if (!decode_tokens(tokenizer, err) || !seal_role(tokenizer, tokenizer->eos, err) ||
        !seal_role(tokenizer, tokenizer->bos, err) || !seal_role(tokenizer, tokenizer->pad, err)) {
        return false;
    }
    if (tokenizer->added_count > 0) {
        qsort(tokenizer->added, tokenizer->added_count, sizeof *tokenizer->added, by_id);
    }
    int32_t nodes[2] = {0, 0};
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const AddedToken *added = &tokenizer->added[i];
        if (added->special && (tokenizer->token[added->id].flags & TOKEN_REACHED) != 0) {
            char shown[SHOWN];
            return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                            "special token %s is also a byte or the result of a merge: text could "
                            "become it; give it another content",
                            quoted(added->content, added->n, shown));
        }
        if (!plant(tokenizer, (int32_t)i, nodes, err)) {
            return false;
        }
        if (added->single_word && tokenizer->word == NULL) {
            tokenizer->word = word_compile(err);
            if (tokenizer->word == NULL) {
                return false;
            }
        }
    }
    return fingerprint(tokenizer, err);
}
