/* SPDX-License-Identifier: MIT
 *
 * Renders templates that come as JSON lines, for tests against Jinja2: {"template", "variables",
 * "messages": [{"role", "content"}], "add_generation_prompt", "date"} gives {"text", "spans": [[end,
 * source, generated]...]} or {"error", "line", "column"}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/jinja/jinja.h"

enum { MESSAGES = 64 };

static const char *string_of(const cJSON *object, const char *name) {
    const char *text = json_string(json_member(object, name));
    return text == NULL ? "" : text;
}

static bool render(const cJSON *line, JinjaText *out, Error *err) {
    const char *source = string_of(line, "template");
    JinjaMessage message[MESSAGES];
    JinjaContext context = {.variables = json_member(line, "variables"),
                            .date = json_string(json_member(line, "date"))};
    const cJSON *list = json_member(line, "messages");
    for (const cJSON *item = list == NULL ? NULL : list->child; item != NULL; item = item->next) {
        if (context.messages < MESSAGES) {
            const char *content = string_of(item, "content");
            message[context.messages++] =
                (JinjaMessage){string_of(item, "role"), content, strlen(content)};
        }
    }
    context.message = list == NULL ? NULL : message;
    context.add_generation_prompt = cJSON_IsTrue(json_member(line, "add_generation_prompt"));
    Jinja *jinja = jinja_parse(source, strlen(source), NULL, err);
    bool ok = jinja != NULL && jinja_render(jinja, &context, out, err);
    jinja_free(jinja);
    return ok;
}

static void answer(const cJSON *line, Str *out) {
    Error err = {0};
    JinjaText text = {0};
    if (!render(line, &text, &err)) {
        str_append(out, "{\"error\":");
        json_put_string(out, err.text, strlen(err.text));
        str_appendf(out, ",\"line\":%ld,\"column\":%ld}\n", err.line, err.column);
        return;
    }
    str_append(out, "{\"text\":");
    json_put_string(out, text.text, text.size);
    str_append(out, ",\"spans\":[");
    for (size_t i = 0; i < text.spans; i++) {
        str_appendf(out, "%s[%zu,%d,%d]", i == 0 ? "" : ",", text.span[i].end, text.span[i].source,
                    text.span[i].generated);
    }
    str_append(out, "]}\n");
    jinja_text_done(&text);
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    Str out = {0};
    for (long number = 1; (n = getline(&line, &capacity, stdin)) >= 0; number++) {
        Error err = {0};
        cJSON *tree =
            json_parse(line, (size_t)n, "standard input", number, &json_limits_line, &err);
        if (tree == NULL) {
            error_print(&err, "jinja_lines", stderr);
            return (int)err.code;
        }
        str_clear(&out);
        answer(tree, &out);
        fwrite(str_text(&out), 1, out.size, stdout);
        fflush(stdout);
        cJSON_Delete(tree);
    }
    str_done(&out);
    free(line);
    return 0;
}
