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
#include "common/base/utf8.h"
#include "common/text/internal.h"

Tokenizer *tokenizer_new(const char *source, Error *err) {
    Tokenizer *tokenizer = mem_alloc(1, sizeof *tokenizer, err);
    if (tokenizer == NULL) {
        return NULL;
    }
    tokenizer->eos = tokenizer->bos = tokenizer->pad = tokenizer->mask = tokenizer->unknown = -1;
    for (int i = 0; i < 256; i++) {
        tokenizer->byte_id[i] = tokenizer->fallback[i] = -1;
    }
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
    trie_done(&tokenizer->tree[0]);
    trie_done(&tokenizer->tree[1]);
    trie_done(&tokenizer->pieces);
    trie_done(&tokenizer->whole);
    free(tokenizer->score);
    free(tokenizer->prefix);
    free(tokenizer->suffix);
    for (size_t i = 0; i < STEPS_MAX; i++) {
        normalizer_done(&tokenizer->normalizer[i]);
        stage_done(&tokenizer->stage[i]);
        decoder_done(&tokenizer->decoder[i]);
    }
    template_done(&tokenizer->single);
    template_done(&tokenizer->pair_template);
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
        for (cut = 48; utf8_continues(text[cut]); cut--) {
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
    size_t skipped = tokenizer->prefix == NULL ? 0 : strlen(tokenizer->prefix);
    skipped = skipped < right_n ? skipped : right_n;
    Str whole = {0};
    str_append_bytes(&whole, left, left_n);
    str_append_bytes(&whole, right + skipped, right_n - skipped);
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

static bool too_many(const Tokenizer *tokenizer, const char *what, Error *err) {
    return error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "the %s has more than %d steps", what,
                    STEPS_MAX);
}

bool tokenizer_put_normalizer(Tokenizer *tokenizer, NormalizerKind kind, Normalizer **out,
                              Error *err) {
    if (tokenizer->normalizers == STEPS_MAX) {
        return too_many(tokenizer, "normalizer", err);
    }
    *out = &tokenizer->normalizer[tokenizer->normalizers++];
    (*out)->kind = kind;
    return true;
}

bool tokenizer_put_stage(Tokenizer *tokenizer, Stage **out, Error *err) {
    if (tokenizer->stages == STEPS_MAX) {
        return too_many(tokenizer, "pre_tokenizer", err);
    }
    *out = &tokenizer->stage[tokenizer->stages++];
    return true;
}

bool tokenizer_put_decoder(Tokenizer *tokenizer, DecoderKind kind, Decoder **out, Error *err) {
    if (tokenizer->decoders == STEPS_MAX) {
        return too_many(tokenizer, "decoder", err);
    }
    *out = &tokenizer->decoder[tokenizer->decoders++];
    (*out)->kind = kind;
    return true;
}

bool tokenizer_put_gpt2(Tokenizer *tokenizer, bool prefix_space, Error *err) {
    Stage *stage = NULL;
    Decoder *decoder = NULL;
    if (!tokenizer_put_stage(tokenizer, &stage, err) ||
        !tokenizer_put_decoder(tokenizer, DECODER_BYTE_LEVEL, &decoder, err)) {
        return false;
    }
    stage->prefix_space = prefix_space;
    stage->byte_level = true;
    stage->behavior = SPLIT_ISOLATED;
    return matcher_compile(&stage->matcher, gpt2_pattern, tokenizer->source, err);
}
