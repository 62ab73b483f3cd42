/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/text/internal.h"
#include "common/text/sentencepiece.h"

bool tokenizer_fault(const Tokenizer *tokenizer, const char *dotted, Error *err, const char *format,
                     ...) {
    long line = 0, column = 0;
    const Str *text = &tokenizer->kept[KEPT_TOKENIZER].content;
    if (text->size > 0 && !tokenizer->is_pieces) {
        json_locate(text->data, text->size, dotted, false, &line, &column);
    }
    Str message = {0};
    va_list arguments;
    va_start(arguments, format);
    str_vappendf(&message, format, arguments);
    va_end(arguments);
    error_at(err, ERROR_DATA, tokenizer->source, line, column, "%s: %s", dotted,
             str_text(&message));
    str_done(&message);
    return false;
}

bool tokenizer_read_flag(const Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                         const char *name, bool *out, Error *err) {
    const cJSON *item = json_member(object, name);
    if (item == NULL || cJSON_IsNull(item)) {
        return true;
    }
    if (!cJSON_IsBool(item)) {
        char found[64], path[128];
        snprintf(path, sizeof path, "%s.%s", dotted, name);
        return tokenizer_fault(tokenizer, path, err, "expected true or false, found %s",
                               json_describe(item, found, sizeof found));
    }
    *out = cJSON_IsTrue(item);
    return true;
}

bool tokenizer_read_string(const Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                           const char *name, const char **out, Error *err) {
    const cJSON *item = json_member(object, name);
    *out = json_string(item);
    if (*out == NULL) {
        char found[64], path[128];
        snprintf(path, sizeof path, "%s.%s", dotted, name);
        return tokenizer_fault(tokenizer, path, err, "expected a string, found %s",
                               item == NULL ? "none" : json_describe(item, found, sizeof found));
    }
    return true;
}

bool tokenizer_read_added(Tokenizer *tokenizer, const cJSON *object, const char *dotted, int64_t id,
                          Error *err) {
    const char *content = json_string(json_member(object, "content"));
    if (content == NULL) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "expected an object with a string as its \"content\"");
    }
    AddedToken added = {.n = strlen(content), .id = (int32_t)id};
    added.content = mem_strdup(content, err);
    bool ok =
        added.content != NULL &&
        tokenizer_read_flag(tokenizer, object, dotted, "special", &added.special, err) &&
        tokenizer_read_flag(tokenizer, object, dotted, "lstrip", &added.lstrip, err) &&
        tokenizer_read_flag(tokenizer, object, dotted, "rstrip", &added.rstrip, err) &&
        tokenizer_read_flag(tokenizer, object, dotted, "single_word", &added.single_word, err) &&
        tokenizer_read_flag(tokenizer, object, dotted, "normalized", &added.normalized, err) &&
        tokenizer_put_added(tokenizer, &added, err);
    free(added.content);
    return ok;
}

static bool read_added_tokens(Tokenizer *tokenizer, const cJSON *list, Error *err) {
    if (list == NULL || cJSON_IsNull(list)) {
        return true;
    }
    if (!cJSON_IsArray(list)) {
        return tokenizer_fault(tokenizer, "added_tokens", err, "expected an array");
    }
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        char path[64];
        int64_t id = 0;
        snprintf(path, sizeof path, "added_tokens[%zu]", tokenizer->added_count);
        if (!json_integer(json_member(item, "id"), 0, VOCABULARY_MAX - 1, &id)) {
            return tokenizer_fault(tokenizer, path, err, "expected an \"id\" from 0 to %d",
                                   VOCABULARY_MAX - 1);
        }
        if (!tokenizer_read_added(tokenizer, item, path, id, err)) {
            return false;
        }
    }
    return true;
}

static bool read_tokenizer_json(Tokenizer *tokenizer, Error *err) {
    KeptFile *file = &tokenizer->kept[KEPT_TOKENIZER];
    if (!file_read(tokenizer->source, json_limits_document.bytes, &file->content, err)) {
        return false;
    }
    file->present = true;
    cJSON *tree = json_parse(str_text(&file->content), file->content.size, tokenizer->source, 1,
                             &json_limits_document, err);
    if (tree == NULL) {
        return false;
    }
    bool ok = cJSON_IsObject(tree) ||
              error_at(err, ERROR_DATA, tokenizer->source, 1, 1, "expected an object");
    const cJSON *version = json_member(tree, "version");
    if (ok && version != NULL &&
        (json_string(version) == NULL || strcmp(json_string(version), "1.0") != 0)) {
        ok = tokenizer_fault(tokenizer, "version", err, "expected \"1.0\"");
    }
    ok = ok && tokenizer_read_model(tokenizer, json_member(tree, "model"), err) &&
         read_added_tokens(tokenizer, json_member(tree, "added_tokens"), err) &&
         tokenizer_read_normalizer(tokenizer, json_member(tree, "normalizer"), err) &&
         tokenizer_read_pre_tokenizer(tokenizer, json_member(tree, "pre_tokenizer"), err) &&
         tokenizer_read_post_processor(tokenizer, json_member(tree, "post_processor"), err) &&
         tokenizer_read_decoder(tokenizer, json_member(tree, "decoder"), err);
    cJSON_Delete(tree);
    return ok;
}

static bool read_merges_txt(Tokenizer *tokenizer, const char *path, Error *err) {
    LineReader reader;
    if (!line_reader_open(&reader, path, 1 << 20, err)) {
        return false;
    }
    bool ok = true, got = true;
    while (ok && (ok = line_reader_next(&reader, &got, err)) && got) {
        const Str *line = &reader.line;
        if (line->size >= 8 && memcmp(line->data, "#version", 8) == 0) {
            continue;
        }
        ok = tokenizer_read_merge(tokenizer, str_text(line), line->size, err);
        if (!ok && err != NULL && err->code == ERROR_DATA) {
            err->line = reader.number;
            snprintf(err->file, sizeof err->file, "%s", path);
        }
    }
    line_reader_close(&reader);
    return ok;
}

/* NAMEvocab.json and NAMEmerges.txt: GPT-2's older pair of files. */
static bool read_pair(Tokenizer *tokenizer, Error *err) {
    cJSON *tree = json_read_file(tokenizer->source, &json_limits_document, err);
    if (tree == NULL) {
        return false;
    }
    bool ok = tokenizer_read_vocabulary(tokenizer, tree, "vocabulary", err);
    cJSON_Delete(tree);
    if (!ok) {
        return false;
    }
    Str merges = {0};
    str_append_bytes(&merges, tokenizer->source, strlen(tokenizer->source) - strlen("vocab.json"));
    str_append(&merges, "merges.txt");
    ok = str_ok(&merges, err) && read_merges_txt(tokenizer, str_text(&merges), err);
    str_done(&merges);
    return ok;
}

/* tokenizer.model as it is; llama2.c's tokenizer.bin as the tokenizer.model that means the same. */
static bool read_pieces(Tokenizer *tokenizer, const char *folder, Error *err) {
    KeptFile *file = &tokenizer->kept[KEPT_TOKENIZER];
    tokenizer->is_pieces = true;
    Str bytes = {0};
    PieceRoles roles;
    bool ok = file_read(tokenizer->source, json_limits_document.bytes, &bytes, err);
    if (ok && str_ends_with(tokenizer->source, ".bin")) {
        ok = llama2c_convert(str_text(&bytes), bytes.size, tokenizer->source, &file->content, err);
        str_done(&bytes);
    } else {
        file->content = bytes;
    }
    ok = ok &&
         sentencepiece_read(tokenizer, str_text(&file->content), file->content.size, &roles, err) &&
         tokenizer_read_roles(tokenizer, folder, err);
    file->present = ok;
    if (ok) {
        tokenizer->eos = tokenizer->eos < 0 ? (int32_t)roles.eos : tokenizer->eos;
        tokenizer->bos = tokenizer->bos < 0 ? (int32_t)roles.bos : tokenizer->bos;
        tokenizer->pad = tokenizer->pad < 0 ? (int32_t)roles.pad : tokenizer->pad;
    }
    return ok;
}

static char *folder_of(const char *path, Error *err) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return mem_strdup(".", err);
    }
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path), err);
}

/* The file to read: `path` itself, or one of the two known names in it. */
static char *choose_file(const char *path, Error *err) {
    if (!file_is_folder(path)) {
        return mem_strdup(path, err);
    }
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json",
                                        "tokenizer.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = file_join(path, names[i], err);
        if (file == NULL || file_exists(file)) {
            return file;
        }
        free(file);
    }
    error_set(err, ERROR_NO_INPUT,
              "%s holds no tokenizer: expected tokenizer.json, tokenizer.model, vocab.json and "
              "merges.txt, or tokenizer.bin",
              path);
    return NULL;
}

Tokenizer *tokenizer_load(const char *path, Error *err) {
    char *file = choose_file(path, err);
    if (file == NULL) {
        return NULL;
    }
    Tokenizer *tokenizer = tokenizer_new(file, err);
    char *folder = folder_of(file, err);
    bool ok = tokenizer != NULL && folder != NULL;
    if (ok && str_ends_with(file, "vocab.json")) {
        ok = read_pair(tokenizer, err) && tokenizer_read_roles(tokenizer, folder, err);
    } else if (ok && (str_ends_with(file, ".model") || str_ends_with(file, ".bin"))) {
        ok = read_pieces(tokenizer, folder, err);
    } else if (ok) {
        ok = read_tokenizer_json(tokenizer, err) && tokenizer_read_roles(tokenizer, folder, err);
    }
    ok = ok && tokenizer_seal(tokenizer, err);
    free(folder);
    free(file);
    if (!ok) {
        tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}
