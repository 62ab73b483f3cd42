/* SPDX-License-Identifier: MIT
 *
 * What a tokenizer derives from its tables before it is used, and the check that text cannot become
 * a special token.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

static bool find_fallback(Tokenizer *tokenizer) {
    bool all = true;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        tokenizer->fallback[byte] = name_map_find(&tokenizer->model, text, 6);
        all = all && tokenizer->fallback[byte] >= 0;
    }
    return all;
}

static void reach(Tokenizer *tokenizer, int32_t id) {
    if (id >= 0) {
        tokenizer->token[id].flags |= TOKEN_REACHED;
    }
}

/* Are all bytes of the byte-level alphabet tokens? Then pieces need not be spelled in it. */
static bool find_alphabet(Tokenizer *tokenizer) {
    bool all = true;
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t n = utf8_encode(byte_level_code((unsigned char)byte), text);
        tokenizer->byte_id[byte] = name_map_find(&tokenizer->model, text, n);
        all = all && tokenizer->byte_id[byte] >= 0;
    }
    return all;
}

/* A token that has U+2581 behind another character; runs of U+2581 are words' beginnings. */
static bool goes_on_behind_space(const char *text) {
    static const char sign[] = "\xe2\x96\x81";
    const char *at = text;
    while (strncmp(at, sign, 3) == 0) {
        at += 3;
    }
    return strstr(at, sign) != NULL;
}

static void seal_bpe(Tokenizer *tokenizer) {
    bool spelled = tokenizer->stages > 0 && tokenizer->stage[tokenizer->stages - 1].byte_level;
    bool affixed = tokenizer->prefix != NULL || tokenizer->suffix != NULL;
    tokenizer->bytes_are_symbols = spelled && !affixed && find_alphabet(tokenizer);
    if (tokenizer->bytes_are_symbols) {
        for (int byte = 0; byte < 256; byte++) {
            reach(tokenizer, tokenizer->byte_id[byte]);
        }
        return;
    }
    for (int byte = 0; byte < 256; byte++) {
        char text = (char)byte;
        tokenizer->byte_id[byte] =
            byte == 0 || byte >= 0x80 ? -1 : name_map_find(&tokenizer->model, &text, 1);
        if (tokenizer->byte_fallback) {
            reach(tokenizer, tokenizer->fallback[byte]);
        }
    }
    tokenizer->words_begin = !affixed && name_map_find(&tokenizer->model, "\xe2\x96\x81", 3) >= 0;
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        const char *text = tokenizer->token[i].text;
        if (text == NULL || (tokenizer->token[i].flags & TOKEN_MODEL) == 0) {
            continue;
        }
        size_t length = 0, n = strlen(text);
        bool whole =
            trie_longest(&tokenizer->whole, TRIE_ROOT, text, n, &length) >= 0 && length == n;
        if (whole || (utf8_decode(text, n, NULL) == n &&
                      (tokenizer->token[i].flags & TOKEN_UNSPELLED) == 0)) {
            reach(tokenizer, (int32_t)i);
        }
        bool merged = (tokenizer->token[i].flags & TOKEN_REACHED) != 0;
        if (whole && strstr(text, "\xe2\x96\x81") != NULL) {
            tokenizer->words_begin = false;
        }
        if (merged && goes_on_behind_space(text)) {
            tokenizer->words_begin = false;
        }
    }
}

static bool seal_pieces(Tokenizer *tokenizer, Error *err) {
    TrieKey *key = mem_alloc(tokenizer->vocabulary, sizeof *key, err);
    size_t keys = 0;
    if (key == NULL) {
        return false;
    }
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        const Token *token = &tokenizer->token[i];
        if ((token->flags & (TOKEN_MODEL | TOKEN_UNSPELLED)) != TOKEN_MODEL) {
            continue;
        }
        size_t n = strlen(token->text);
        if (n > PIECE_BYTES_MAX) {
            free(key);
            return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                            "token %zu has %zu bytes, a piece has at most %d", i, n,
                            PIECE_BYTES_MAX);
        }
        key[keys++] = (TrieKey){token->text, n, (int32_t)i};
    }
    bool ok = trie_build(&tokenizer->pieces, key, keys, err);
    free(key);
    int32_t node = tokenizer->pieces.count > 0 ? TRIE_ROOT : -1;
    for (const char *c = tokenizer->prefix; ok && c != NULL && *c != '\0' && node >= 0; c++) {
        node = trie_step(&tokenizer->pieces, node, (unsigned char)*c);
    }
    tokenizer->continuation_node = node;
    return ok;
}

/* The first of equal contents counts; special tokens come before others, as in Hugging Face's. */
static bool plant(Tokenizer *tokenizer, int phase, Error *err) {
    TrieKey *key = mem_alloc(tokenizer->added_count, sizeof *key, err);
    char **content = mem_alloc(tokenizer->added_count, sizeof *content, err);
    size_t keys = 0;
    bool ok = key != NULL && content != NULL;
    Encoder encoder;
    Tokens none = {0};
    ok = ok && encoder_init(&encoder, tokenizer, &none, err);
    if (!ok) {
        free(key);
        free(content);
        return false;
    }
    for (size_t i = 0; ok && i < tokenizer->added_count; i++) {
        const AddedToken *added = &tokenizer->added[i];
        if (added->normalized != (phase == 1)) {
            continue;
        }
        Span text = {added->content, added->n, 0}, normal = text;
        ok = phase == 0 || encoder_normalize(&encoder, text, &normal, err);
        if (ok && normal.n == 0) {
            ok = error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                          "added token %d is empty behind the normalizer", added->id);
        }
        content[keys] = ok ? mem_strndup(normal.text, normal.n, err) : NULL;
        ok = ok && content[keys] != NULL;
        if (ok) {
            size_t order = added->special ? i : i + tokenizer->added_count;
            tokenizer->begins[phase][(unsigned char)*content[keys]] = 1;
            key[keys] = (TrieKey){content[keys], normal.n, (int32_t)order};
            keys++;
        }
    }
    encoder_done(&encoder);
    ok = ok && trie_build(&tokenizer->tree[phase], key, keys, err);
    for (size_t i = 0; content != NULL && i < keys; i++) {
        free(content[i]);
    }
    free(content);
    free(key);
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

static bool seal_model(Tokenizer *tokenizer, Error *err) {
    bool all = find_fallback(tokenizer);
    tokenizer->byte_fallback = tokenizer->byte_fallback && (all || tokenizer->unknown >= 0);
    if (tokenizer->kind != MODEL_BPE) {
        return seal_pieces(tokenizer, err);
    }
    seal_bpe(tokenizer);
    return true;
}

static void put_matcher(Str *all, const Matcher *matcher) {
    str_appendf(all, " %d %zu ", matcher->kind, matcher->n);
    str_append_bytes(all, matcher->text == NULL ? "" : matcher->text, matcher->n);
}

/* Steps that change ids, beyond GPT-2's. */
static void put_steps(const Tokenizer *tokenizer, Str *all) {
    for (size_t i = 0; i < tokenizer->normalizers; i++) {
        const Normalizer *n = &tokenizer->normalizer[i];
        str_appendf(all, "n%d %d %d%d%d%d%d%d%d%d", n->kind, n->form, n->clean, n->chinese,
                    n->accents, n->lower, n->left, n->right, n->squeeze, n->escape);
        put_matcher(all, &n->matcher);
        str_append(all, n->content == NULL ? "" : n->content);
        str_append_bytes(all, n->map.unit == NULL ? (const void *)"" : n->map.unit,
                         n->map.units * sizeof *n->map.unit);
        str_append_bytes(all, n->map.text == NULL ? "" : n->map.text, n->map.n);
    }
    for (size_t i = 0; i < tokenizer->stages; i++) {
        const Stage *stage = &tokenizer->stage[i];
        bool plain = stage->replacement[0] == '\0' &&
                     (stage->matcher.kind == MATCH_PATTERN || stage->matcher.kind == MATCH_NOTHING);
        if (plain && (stage->matcher.kind == MATCH_PATTERN || stage->prefix_space)) {
            bool removed = stage->behavior == SPLIT_REMOVED;
            str_appendf(all, "%d %d %d %s\n", stage->prefix_space, removed && !stage->invert,
                        removed && stage->invert,
                        stage->matcher.text == NULL ? "" : stage->matcher.text);
        }
        if (!plain || (stage->behavior != SPLIT_REMOVED && stage->behavior != SPLIT_ISOLATED)) {
            str_appendf(all, "s%d %s %d %d", stage->behavior, stage->replacement, stage->prepend,
                        stage->invert);
            put_matcher(all, &stage->matcher);
        }
    }
}

static bool seal_fingerprint(Tokenizer *tokenizer, Error *err) {
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
    put_steps(tokenizer, &all);
    str_appendf(&all, "%d\n", tokenizer->ignore_merges);
    if (!tokenizer->bytes_are_symbols) {
        str_appendf(&all, "m%d %d %d %d %zu %s %s\n", tokenizer->kind, tokenizer->unknown,
                    tokenizer->byte_fallback, tokenizer->fuse_unknown, tokenizer->characters_max,
                    tokenizer->prefix == NULL ? "" : tokenizer->prefix,
                    tokenizer->suffix == NULL ? "" : tokenizer->suffix);
        for (size_t i = 0; i < tokenizer->scores; i++) {
            json_put_double(&all, tokenizer->score[i]);
            str_append(&all, (tokenizer->token[i].flags & TOKEN_UNSPELLED) != 0 ? "u" : " ");
        }
    }
    bool ok = str_ok(&all, err);
    tokenizer->fingerprint = ok ? hash_bytes(all.data, all.size) : 0;
    str_done(&all);
    return ok;
}

bool tokenizer_seal(Tokenizer *tokenizer, Error *err) {
    if (tokenizer->vocabulary == 0) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0, "the vocabulary is empty");
    }
    if (!seal_model(tokenizer, err) || !seal_role(tokenizer, tokenizer->eos, err) ||
        !seal_role(tokenizer, tokenizer->bos, err) || !seal_role(tokenizer, tokenizer->pad, err) ||
        !decoder_seal(tokenizer, err)) {
        return false;
    }
    if (tokenizer->added_count > 0) {
        qsort(tokenizer->added, tokenizer->added_count, sizeof *tokenizer->added, by_id);
    }
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const AddedToken *added = &tokenizer->added[i];
        if (added->special && (tokenizer->token[added->id].flags & TOKEN_REACHED) != 0) {
            return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                            "special token \"%.60s\" is also a byte or the result of a merge: text "
                            "could become it; give it another content",
                            added->content);
        }
    }
    for (size_t i = 0; i < tokenizer->stages; i++) {
        tokenizer->asks_first |= tokenizer->stage[i].prepend == PREPEND_FIRST;
    }
    return plant(tokenizer, 0, err) && plant(tokenizer, 1, err) && template_seal(tokenizer, err) &&
           seal_fingerprint(tokenizer, err);
}
