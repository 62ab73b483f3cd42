/* SPDX-License-Identifier: MIT
 *
 * Chat templates from and to the files of a model folder.
 */
#include "common/text/layout_template.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"

void chat_template_free(ChatTemplate *chat) {
    if (chat != NULL) {
        jinja_free(chat->jinja);
        cJSON_Delete(chat->context);
        cJSON_Delete(chat->own);
        free(chat->date);
        free(chat->origin);
        free(chat->tail);
        free(chat);
    }
}

bool chat_template_date(const char *text) {
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int number[3] = {0};
    if (text == NULL || strlen(text) != 10) {
        return false;
    }
    for (int i = 0; i < 10; i++) {
        bool dash = i == 4 || i == 7;
        if (dash ? text[i] != '-' : text[i] < '0' || text[i] > '9') {
            return false;
        }
        int *part = &number[i < 4 ? 0 : i < 7 ? 1 : 2];
        *part = dash ? *part : *part * 10 + (text[i] - '0');
    }
    int year = number[0], month = number[1], day = number[2];
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1900 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
           (month != 2 || day < 29 || leap);
}

/* A JSON file of the folder; *tree = NULL if there is none. */
static bool read_beside(const char *folder, const char *name, char **path, cJSON **tree,
                        Error *err) {
    *tree = NULL;
    *path = file_join(folder, name, err);
    if (*path == NULL) {
        return false;
    }
    if (!file_exists(*path)) {
        return true;
    }
    *tree = json_read_file(*path, &json_limits_document, err);
    return *tree != NULL;
}

/* chat_template: a string, or a list of {name, template} whose default counts; NULL: none. */
static bool config_template(const cJSON *tree, const char *path, const char **text, Error *err) {
    const cJSON *item = json_member(tree, "chat_template");
    *text = json_string(item);
    if (item == NULL || cJSON_IsNull(item) || *text != NULL) {
        return true;
    }
    for (const cJSON *named = cJSON_IsArray(item) ? item->child : NULL; named != NULL;
         named = named->next) {
        const char *name = json_string(json_member(named, "name"));
        if (name != NULL && strcmp(name, "default") == 0) {
            *text = json_string(json_member(named, "template"));
        }
    }
    char found[64];
    return *text != NULL ||
           error_at(err, ERROR_DATA, path, 0, 0,
                    "chat_template is %s, expected a string or a list with a template named "
                    "default",
                    json_describe(item, found, sizeof found));
}

/* The folder's template; *origin = NULL if it has none. */
static bool find_template(const char *folder, Str *text, char **origin, Error *err) {
    char *path = file_join(folder, "chat_template.jinja", err);
    *origin = NULL;
    if (path == NULL) {
        return false;
    }
    if (file_exists(path)) {
        *origin = path;
        return file_read(path, JINJA_TEMPLATE_MAX, text, err);
    }
    free(path);
    cJSON *tree = NULL;
    const char *found = NULL;
    bool ok = read_beside(folder, "tokenizer_config.json", &path, &tree, err) &&
              config_template(tree, path, &found, err);
    if (ok && found != NULL) {
        str_append(text, found);
        *origin = path;
        path = NULL;
        ok = str_ok(text, err);
    }
    cJSON_Delete(tree);
    free(path);
    return ok;
}

static bool add(cJSON *object, const char *name, cJSON *value, Error *err) {
    if (value != NULL && cJSON_AddItemToObject(object, name, value)) {
        return true;
    }
    cJSON_Delete(value);
    return error_set(err, ERROR_OS, "out of memory while reading a chat template");
}

/* The special tokens that transformers hands to a template. */
static bool add_tokens(cJSON *context, const cJSON *tree, Error *err) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *item = json_member(tree, names[i]);
        const char *content =
            json_string(cJSON_IsObject(item) ? json_member(item, "content") : item);
        if (content != NULL && json_member(context, names[i]) == NULL &&
            !add(context, names[i], cJSON_CreateString(content), err)) {
            return false;
        }
    }
    return true;
}

static bool add_files(cJSON *context, const char *folder, Error *err) {
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    bool ok = true;
    for (size_t i = 0; ok && i < 2; i++) {
        char *path = NULL;
        cJSON *tree = NULL;
        ok = read_beside(folder, files[i], &path, &tree, err) && add_tokens(context, tree, err);
        cJSON_Delete(tree);
        free(path);
    }
    return ok;
}

static bool add_own(cJSON *context, const cJSON *variables, Error *err) {
    for (const cJSON *item = variables == NULL ? NULL : variables->child; item != NULL;
         item = item->next) {
        cJSON_DeleteItemFromObjectCaseSensitive(context, item->string);
        if (!add(context, item->string, cJSON_Duplicate(item, true), err)) {
            return false;
        }
    }
    return true;
}

static bool fill(ChatTemplate *chat, const char *folder, const Str *source, const char *date,
                 const cJSON *variables, const char *name, Error *err) {
    chat->date = date == NULL ? NULL : mem_strdup(date, err);
    chat->own = variables == NULL ? NULL : cJSON_Duplicate(variables, true);
    chat->context = cJSON_CreateObject();
    if ((date != NULL && chat->date == NULL) || chat->context == NULL ||
        (variables != NULL && chat->own == NULL)) {
        return error_set(err, ERROR_OS, "out of memory while reading a chat template");
    }
    if (!add(chat->context, "tools", cJSON_CreateNull(), err) ||
        !add(chat->context, "documents", cJSON_CreateNull(), err) ||
        (folder != NULL && !add_files(chat->context, folder, err)) ||
        !add_own(chat->context, variables, err)) {
        return false;
    }
    chat->jinja = jinja_parse(str_text(source), source->size, name, err);
    return chat->jinja != NULL && chat_template_probe(chat, err);
}

bool chat_template_read(ChatTemplate **out, const char *folder, const char *date,
                        const cJSON *variables, bool *found, Error *err) {
    Str source = {0};
    char *origin = NULL;
    ChatTemplate *chat = NULL;
    bool ok = find_template(folder, &source, &origin, err);
    *found = origin != NULL;
    if (ok && origin != NULL) {
        chat = mem_alloc(1, sizeof *chat, err);
        if (chat != NULL) {
            chat->origin = origin;
            origin = NULL;
        }
        ok = chat != NULL && fill(chat, folder, &source, date, variables, chat->origin, err);
    }
    if (!ok) {
        chat_template_free(chat);
        chat = NULL;
    }
    *out = chat;
    free(origin);
    str_done(&source);
    return ok;
}

ChatTemplate *chat_template_built_in(const char *source, const char *name, Error *err) {
    Str text = {0};
    ChatTemplate *chat = mem_alloc(1, sizeof *chat, err);
    str_append(&text, source);
    if (chat != NULL && (!str_ok(&text, err) || !fill(chat, NULL, &text, NULL, NULL, name, err))) {
        chat_template_free(chat);
        chat = NULL;
    }
    str_done(&text);
    return chat;
}

void chat_template_put(const ChatTemplate *chat, Str *out) {
    if (chat->date != NULL) {
        str_appendf(out, ",\n  \"date\": \"%s\"", chat->date);
    }
    if (chat->own != NULL) {
        str_append(out, ",\n  \"variables\": ");
        json_put_tree(out, chat->own, false);
    }
}

bool chat_template_save(const ChatTemplate *chat, const char *folder, Error *err) {
    if (chat->origin == NULL) {
        return true;
    }
    Str there = {0};
    char *origin = NULL;
    size_t n = 0;
    const char *source = jinja_source(chat->jinja, &n);
    bool ok = find_template(folder, &there, &origin, err);
    if (ok && (origin == NULL || there.size != n || memcmp(there.data, source, n) != 0)) {
        char *path = file_join(folder, "chat_template.jinja", err);
        ok = path != NULL && file_write(path, source, n, err);
        free(path);
    }
    free(origin);
    str_done(&there);
    return ok;
}

const char *layout_template(const Layout *layout, size_t *n) {
    return layout->template == NULL ? NULL : jinja_source(layout->template->jinja, n);
}
