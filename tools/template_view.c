/* SPDX-License-Identifier: MIT */
#include "tools/template_view.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/text/layout_template.h"

static void put_quoted(Str *out, const char *label, const char *text) {
    str_appendf(out, "%s: ", label);
    json_put_string(out, text, strlen(text));
    str_append_char(out, '\n');
}

static bool show(const Layout *layout, const Tokenizer *tokenizer, Str *out, Error *err) {
    const ChatTemplate *chat = layout->template;
    int32_t eos = -1;
    if (!layout_eos(layout, tokenizer, &eos, err)) {
        return false;
    }
    put_quoted(out, "layout", layout->name);
    put_quoted(out, "end token", tokenizer_text(tokenizer, eos));
    if (chat == NULL) {
        return str_ok(out, err);
    }
    Error refused = {0};
    put_quoted(out, "from", chat->origin == NULL ? "built in" : chat->origin);
    put_quoted(out, "behind an answer", chat->tail);
    str_appendf(out, "trained: %s\n",
                jinja_has_generation(chat->jinja)
                    ? "what the template marks with {% generation %}"
                    : "from the end of the prompt to the end token of each answer");
    if (jinja_check(chat->jinja, &refused)) {
        str_append(out, "refused: nothing\n");
    } else {
        str_appendf(out, "refused if it comes by: line %ld, column %ld: %s\n", refused.line,
                    refused.column, refused.text);
    }
    return str_ok(out, err);
}

static bool check(const Layout *layout, const Tokenizer *tokenizer, Str *out, Error *err) {
    int32_t eos = -1;
    if (!layout_eos(layout, tokenizer, &eos, err) ||
        (layout->template != NULL && !jinja_check(layout->template->jinja, err))) {
        return false;
    }
    str_append(out, "ok\n");
    return str_ok(out, err);
}

enum { MESSAGES = 1000 };

static bool read_message(const cJSON *item, const char *path, size_t number, Message *out,
                         Error *err) {
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = json_string(json_member(item, "role"));
    const char *content = json_string(json_member(item, "content"));
    for (size_t i = 0; role != NULL && content != NULL && i < 3; i++) {
        if (strcmp(role, roles[i]) == 0) {
            *out = (Message){(Role)i, mem_strdup(content, err)};
            return out->text != NULL;
        }
    }
    return error_at(err, ERROR_DATA, path, 0, 0,
                    "message %zu: expected {\"role\": system, user or assistant, \"content\": a "
                    "string}",
                    number);
}

/* An array of messages, or an object with one as its "messages". */
static bool read_messages(const char *path, Message *message, size_t *count, Error *err) {
    cJSON *tree = json_read_file(path, &json_limits_line, err);
    if (tree == NULL) {
        return false;
    }
    const cJSON *list = cJSON_IsObject(tree) ? json_member(tree, "messages") : tree;
    bool ok = (cJSON_IsArray(list) && list->child != NULL) ||
              error_at(err, ERROR_DATA, path, 0, 0, "expected an array of messages");
    for (const cJSON *item = ok ? list->child : NULL; ok && item != NULL; item = item->next) {
        ok = *count < MESSAGES
                 ? read_message(item, path, *count + 1, &message[*count], err)
                 : error_at(err, ERROR_DATA, path, 0, 0, "more than %d messages", MESSAGES);
        *count += ok;
    }
    cJSON_Delete(tree);
    return ok;
}

static bool read_example(Message *message, size_t *count, Error *err) {
    static const char *const texts[] = {"How far is it to the lake?", "About 12 minutes on foot.",
                                        "And back? <|im_end|></s>", "The same."};
    for (size_t i = 0; i < 4; i++) {
        message[i] = (Message){i % 2 == 0 ? ROLE_USER : ROLE_ASSISTANT, mem_strdup(texts[i], err)};
        *count = i + 1;
        if (message[i].text == NULL) {
            return false;
        }
    }
    return true;
}

/* A line for each id, trained ones with a star. A conversation that waits for an answer is shown as
 * the prompt. */
static bool render(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                   size_t messages, Str *out, Error *err) {
    Tokens ids = {0};
    uint8_t *trained = NULL;
    bool answered = message[messages - 1].role == ROLE_ASSISTANT;
    bool ok = answered
                  ? layout_conversation(layout, tokenizer, message, messages, &ids, &trained, err)
                  : layout_prompt(layout, tokenizer, message, messages, &ids, err);
    for (size_t i = 0; ok && i < ids.count; i++) {
        size_t n = 0;
        const char *bytes = tokenizer_bytes(tokenizer, ids.id[i], &n);
        Str text = {0};
        if (tokenizer_is_special(tokenizer, ids.id[i])) {
            str_append(&text, tokenizer_text(tokenizer, ids.id[i]));
        } else {
            str_append_bytes(&text, bytes, n);
        }
        str_appendf(out, "%c %7d  %s", trained != NULL && trained[i] ? '*' : ' ', ids.id[i],
                    tokenizer_is_special(tokenizer, ids.id[i]) ? "special " : "");
        json_put_string(out, str_text(&text), text.size);
        str_append_char(out, '\n');
        ok = str_ok(&text, err);
        str_done(&text);
    }
    tokens_done(&ids);
    free(trained);
    return ok && str_ok(out, err);
}

static bool render_file(const Layout *layout, const Tokenizer *tokenizer, const char *path,
                        Str *out, Error *err) {
    Message *message = mem_alloc(MESSAGES, sizeof *message, err);
    size_t count = 0;
    bool ok = message != NULL && (path == NULL ? read_example(message, &count, err)
                                               : read_messages(path, message, &count, err));
    ok = ok && render(layout, tokenizer, message, count, out, err);
    for (size_t i = 0; i < count; i++) {
        free(message[i].text);
    }
    free(message);
    return ok;
}

bool template_view(const char *command, const char *folder, const char *name, const char *messages,
                   Str *out, Error *err) {
    Layout layout = {0};
    if (!layout_open(&layout, name, folder, err)) {
        return false;
    }
    Tokenizer *tokenizer = tokenizer_load(folder, err);
    bool ok = tokenizer != NULL;
    if (ok && strcmp(command, "show") == 0) {
        ok = show(&layout, tokenizer, out, err);
    } else if (ok && strcmp(command, "check") == 0) {
        ok = check(&layout, tokenizer, out, err);
    } else if (ok && strcmp(command, "render") == 0) {
        ok = render_file(&layout, tokenizer, messages, out, err);
    } else if (ok) {
        ok = error_set(err, ERROR_USAGE,
                       "unknown command \"template %.40s\": expected show, render "
                       "or check",
                       command);
    }
    tokenizer_free(tokenizer);
    layout_done(&layout);
    return ok;
}
