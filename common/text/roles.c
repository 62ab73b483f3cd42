/* SPDX-License-Identifier: MIT
 *
 * Which token ends a text, begins it, pads, or stands for a hidden one: what the files beside the
 * tokenizer say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/text/internal.h"

enum { ROLES = 4, REQUIRED_ROLES = 3, NUMBERED_ROLES = 2 };

static const char *const role_names[] = {"eos_token", "bos_token", "pad_token", "mask_token"};

static int32_t *role(Tokenizer *tokenizer, size_t i) {
    int32_t *const place[] = {&tokenizer->eos, &tokenizer->bos, &tokenizer->pad, &tokenizer->mask};
    return place[i];
}

/* *tree = NULL when the folder has no such file. */
static bool read_beside(const char *folder, const char *name, KeptFile *keep, char **path,
                        cJSON **tree, Error *err) {
    *tree = NULL;
    *path = file_join(folder, name, err);
    if (*path == NULL) {
        return false;
    }
    if (!file_exists(*path)) {
        return true;
    }
    if (!file_read(*path, json_limits_document.bytes, &keep->content, err)) {
        return false;
    }
    *tree = json_parse(str_text(&keep->content), keep->content.size, *path, 1,
                       &json_limits_document, err);
    if (*tree == NULL) {
        return false;
    }
    keep->present = true;
    return cJSON_IsObject(*tree) || error_at(err, ERROR_DATA, *path, 1, 1, "expected an object");
}

/* "eos_token": "</s>", or an object with the string as its content, or null. */
static bool read_names(Tokenizer *tokenizer, const cJSON *tree, const char *path, Error *err) {
    for (size_t i = 0; i < ROLES; i++) {
        const cJSON *item = json_member(tree, role_names[i]);
        if (item == NULL || cJSON_IsNull(item) || *role(tokenizer, i) >= 0) {
            continue;
        }
        const char *content =
            json_string(cJSON_IsObject(item) ? json_member(item, "content") : item);
        if (content == NULL) {
            char found[64];
            return error_at(err, ERROR_DATA, path, 0, 0, "%s is %s, expected a token's content",
                            role_names[i], json_describe(item, found, sizeof found));
        }
        int32_t id = tokenizer_find(tokenizer, content);
        if (id < 0 && i < REQUIRED_ROLES) { /* nobody but masked training misses a mask */
            return error_at(err, ERROR_DATA, path, 0, 0,
                            "%s \"%.100s\" is not in the vocabulary of %s", role_names[i], content,
                            tokenizer->source);
        }
        *role(tokenizer, i) = id;
    }
    return true;
}

/* "added_tokens_decoder": {"50256": {"content": …}}. tokenizer.json has them all; the older pair
 * of files gets them from here. */
static bool read_decoder(Tokenizer *tokenizer, const cJSON *tree, const char *path, Error *err) {
    const cJSON *decoder = json_member(tree, "added_tokens_decoder");
    bool complete = tokenizer->kept[KEPT_TOKENIZER].present && !tokenizer->is_pieces;
    for (const cJSON *item = cJSON_IsObject(decoder) ? decoder->child : NULL; item != NULL;
         item = item->next) {
        char *end = NULL;
        long id = strtol(item->string, &end, 10);
        const char *content = json_string(json_member(item, "content"));
        if (end == item->string || *end != '\0' || id < 0 || id >= VOCABULARY_MAX ||
            content == NULL) {
            return error_at(err, ERROR_DATA, path, 0, 0,
                            "added_tokens_decoder: \"%.40s\" is not an id with a token",
                            item->string);
        }
        int32_t known = tokenizer_find(tokenizer, content);
        bool added = name_map_find(&tokenizer->contents, content, strlen(content)) >= 0;
        if ((known >= 0 && known != id) || (known < 0 && complete)) {
            return error_at(err, ERROR_DATA, path, 0, 0,
                            "added_tokens_decoder gives \"%.100s\" id %ld, but %s has %s%d",
                            content, id, tokenizer->source, known < 0 ? "no such token, " : "",
                            known);
        }
        if (!added && !complete &&
            !tokenizer_read_added(tokenizer, item, "added_tokens_decoder", id, err)) {
            return false;
        }
    }
    return true;
}

/* config.json numbers EOS and BOS: "eos_token_id": 2, or a list whose first counts. Its pad is a place in
 * other programs' batches, which a reward model has where its tokenizer has none. */
static bool read_numbers(Tokenizer *tokenizer, const char *folder, Error *err) {
    KeptFile unused = {0};
    char *path = NULL;
    cJSON *tree = NULL;
    bool ok = read_beside(folder, "config.json", &unused, &path, &tree, err);
    for (size_t i = 0; ok && i < NUMBERED_ROLES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_id", role_names[i]);
        const cJSON *item = json_member(tree, name);
        item = cJSON_IsArray(item) ? item->child : item;
        int64_t id = 0;
        if (*role(tokenizer, i) < 0 && json_integer(item, 0, VOCABULARY_MAX - 1, &id) &&
            (size_t)id < tokenizer->vocabulary && tokenizer->token[id].text != NULL) {
            *role(tokenizer, i) = (int32_t)id;
        }
    }
    cJSON_Delete(tree);
    free(path);
    str_done(&unused.content);
    return ok;
}

static bool read_template(Tokenizer *tokenizer, const char *folder, Error *err) {
    char *path = file_join(folder, "chat_template.jinja", err);
    if (path == NULL) {
        return false;
    }
    KeptFile *keep = &tokenizer->kept[KEPT_TEMPLATE];
    keep->present = file_exists(path);
    bool ok = !keep->present || file_read(path, 16 << 20, &keep->content, err);
    free(path);
    return ok;
}

bool tokenizer_read_roles(Tokenizer *tokenizer, const char *folder, Error *err) {
    bool prefix_space = false, ok = true;
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};
    for (int i = 0; ok && i < 2; i++) {
        char *path = NULL;
        cJSON *tree = NULL;
        ok = read_beside(folder, names[i], &tokenizer->kept[KEPT_CONFIG + i], &path, &tree, err);
        if (ok && tree != NULL) {
            ok = (i == 1 || read_decoder(tokenizer, tree, path, err)) &&
                 read_names(tokenizer, tree, path, err) &&
                 tokenizer_read_flag(tokenizer, tree, names[i], "add_prefix_space", &prefix_space,
                                     err);
        }
        cJSON_Delete(tree);
        free(path);
    }
    if (!ok || !read_numbers(tokenizer, folder, err) || !read_template(tokenizer, folder, err)) {
        return false;
    }
    bool pair = !tokenizer->kept[KEPT_TOKENIZER].present && !tokenizer->is_pieces;
    bool silent = !tokenizer->kept[KEPT_CONFIG].present &&
                  !tokenizer->kept[KEPT_SPECIAL_MAP].present && tokenizer->eos < 0 &&
                  tokenizer->bos < 0;
    if (silent) {
        int32_t id = tokenizer_find(tokenizer, "<|endoftext|>");
        if (id >= 0 && (pair || (tokenizer->token[id].flags & TOKEN_ADDED) != 0)) {
            tokenizer->eos = tokenizer->bos = id;
        }
    }
    return !pair || tokenizer_put_gpt2(tokenizer, prefix_space, err);
}
