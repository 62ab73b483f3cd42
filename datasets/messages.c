/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/form.h"

bool form_add_message(Record *record, Role role, const char *text, size_t n, Error *err) {
    size_t capacity = record->messages;
    if (!mem_reserve(&record->message, &capacity, record->messages + 1, sizeof *record->message,
                     err)) {
        return false;
    }
    char *copy = mem_strndup(text, n, err);
    if (copy == NULL) {
        return false;
    }
    record->message[record->messages++] = (Message){role, copy};
    return true;
}

/* The content of a message: a string, or a list of {"type": "text", "text": ...}. */
static bool content_text(const Source *source, const cJSON *content, const char *path, Str *text,
                         Error *err) {
    char found[128];
    const char *plain = json_string(content);
    if (plain != NULL) {
        str_append(text, plain);
        return str_ok(text, err);
    }
    const cJSON *part = cJSON_IsArray(content) ? content->child : NULL;
    for (; part != NULL; part = part->next) {
        const char *type = json_string(json_member(part, "type"));
        plain = json_string(json_member(part, "text"));
        if (type == NULL || strcmp(type, "text") != 0 || plain == NULL) {
            break;
        }
        str_append(text, plain);
    }
    if (part != NULL || !cJSON_IsArray(content)) {
        return row_error(source->row, path, err,
                         "%s; expected the message's text in \"%s\" (other content is not read)",
                         content == NULL ? "nothing" : json_describe(content, found, sizeof found),
                         path);
    }
    return str_ok(text, err);
}

static bool role_of(const char *name, Role *role) {
    static const struct {
        const char *name;
        Role role;
    } table[] = {
        {"system",    ROLE_SYSTEM   },
        {"developer", ROLE_SYSTEM   },
        {"user",      ROLE_USER     },
        {"human",     ROLE_USER     },
        {"assistant", ROLE_ASSISTANT},
        {"gpt",       ROLE_ASSISTANT},
        {"model",     ROLE_ASSISTANT}
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *role = table[i].role;
            return true;
        }
    }
    return false;
}

bool form_read_messages(const Source *source, const cJSON *list, const char *path, Record *record,
                        Error *err) {
    char found[128], place[256];
    if (!cJSON_IsArray(list) || list->child == NULL) {
        return row_error(source->row, path, err, "%s; expected a list of messages in \"%s\"",
                         json_describe(list, found, sizeof found), path);
    }
    size_t i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++) {
        bool shared = json_member(item, "from") != NULL; /* ShareGPT */
        const char *role_key = shared ? "from" : "role", *text_key = shared ? "value" : "content";
        const cJSON *name = json_member(item, role_key);
        Role role;
        if (json_string(name) == NULL || !role_of(json_string(name), &role)) {
            snprintf(place, sizeof place, name == NULL ? "%s[%zu]" : "%s[%zu].%s", path, i,
                     role_key);
            return row_error(source->row, place, err,
                             "%s as role of a message; expected \"system\", \"user\" or "
                             "\"assistant\"",
                             name == NULL ? "nothing" : json_describe(name, found, sizeof found));
        }
        snprintf(place, sizeof place, "%s[%zu].%s", path, i, text_key);
        Str text = {0};
        bool ok = content_text(source, json_member(item, text_key), place, &text, err) &&
                  form_add_message(record, role, str_text(&text), text.size, err);
        str_done(&text);
        if (!ok) {
            return false;
        }
    }
    return true;
}

char *form_completion_text(const Source *source, const cJSON *item, const char *path, Error *err) {
    char found[128];
    const char *text = json_string(item);
    if (text != NULL) {
        return mem_strdup(text, err);
    }
    Record turns = {0};
    if (!cJSON_IsArray(item)) {
        row_error(source->row, path, err,
                  "%s; expected a completion (a string or one assistant message) in \"%s\"",
                  json_describe(item, found, sizeof found), path);
        return NULL;
    }
    char *copy = NULL;
    if (form_read_messages(source, item, path, &turns, err)) {
        if (turns.messages == 1 && turns.message[0].role == ROLE_ASSISTANT) {
            copy = mem_strdup(turns.message[0].text, err);
        } else {
            row_error(source->row, path, err,
                      "a completion of %zu messages in \"%s\"; expected one of the assistant",
                      turns.messages, path);
        }
    }
    record_done(&turns);
    return copy;
}
