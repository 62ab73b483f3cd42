/* SPDX-License-Identifier: MIT
 *
 * A layout as templates of other programs: Jinja for llama.cpp, Go's text/template for Ollama.
 */
#include <string.h>

#include "common/export/export.h"

/* A literal of Jinja. */
static void put_quoted(Str *out, const char *text) {
    str_append_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            str_append(out, "\\n");
        } else {
            str_append(out, *text == '\'' || *text == '\\' ? "\\" : "");
            str_append_char(out, *text);
        }
    }
    str_append_char(out, '\'');
}

/* {{ 'before' + content + 'after' }} */
static void put_turn(Str *out, const Layout *layout, Role role, const char *before,
                     const char *after) {
    str_append(out, "{{ ");
    put_quoted(out, before);
    str_append(out, " + ");
    if (role != ROLE_SYSTEM && *layout->lead != '\0') {
        str_append_char(out, '(');
        put_quoted(out, layout->lead);
        str_append(out, " + content if content else '')");
    } else {
        str_append(out, "content");
    }
    str_append(out, " + ");
    put_quoted(out, after);
    str_append(out, " }}");
}

/* Whether a prompt that is no conversation is the same text as a conversation of one message. */
static bool is_one_turn(const Layout *layout) {
    const char *after = layout->turn_after[ROLE_USER];
    size_t n = strlen(after);
    return layout->system == NULL && strcmp(layout->prefix, layout->turn_before[ROLE_USER]) == 0 &&
           strncmp(layout->separator, after, n) == 0 &&
           strcmp(layout->separator + n, layout->turn_before[ROLE_ASSISTANT]) == 0;
}

static const char *content(const Layout *layout) {
    return layout->trim ? "{%- set content = message['content'] | trim -%}"
                        : "{%- set content = message['content'] -%}";
}

void export_chat_template(const Layout *layout, const char *eos, Str *out) {
    if (layout->template != NULL) {
        size_t n = 0;
        const char *source = layout_template(layout, &n);
        str_append_bytes(out, source, n);
        return;
    }
    bool special = !is_one_turn(layout);
    if (special) {
        str_append(out, "{%- if messages | length == 1 and messages[0]['role'] == 'user' and "
                        "add_generation_prompt -%}{%- set message = messages[0] -%}");
        str_append(out, content(layout));
        put_turn(out, layout, ROLE_USER, layout->prefix, layout->separator);
        str_append(out, "{%- else -%}");
    }
    if (layout->system != NULL) {
        str_append(out, "{%- if not messages or messages[0]['role'] != 'system' -%}{{ ");
        put_quoted(out, layout->turn_before[ROLE_SYSTEM]);
        str_append(out, " + ");
        put_quoted(out, layout->system);
        str_append(out, " + ");
        put_quoted(out, layout->turn_after[ROLE_SYSTEM]);
        str_append(out, " }}{%- endif -%}");
    }
    str_append(out, "{%- for message in messages -%}");
    str_append(out, content(layout));
    str_append(out, "{%- if message['role'] == 'system' -%}");
    put_turn(out, layout, ROLE_SYSTEM, layout->turn_before[ROLE_SYSTEM],
             layout->turn_after[ROLE_SYSTEM]);
    str_append(out, "{%- elif message['role'] == 'assistant' -%}");
    put_turn(out, layout, ROLE_ASSISTANT, layout->turn_before[ROLE_ASSISTANT], eos);
    str_append(out, "{%- if not loop.last -%}{{ ");
    put_quoted(out, layout->turn_after[ROLE_ASSISTANT]);
    str_append(out, " }}{%- endif -%}{%- else -%}");
    put_turn(out, layout, ROLE_USER, layout->turn_before[ROLE_USER], layout->turn_after[ROLE_USER]);
    str_append(out, "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{ ");
    put_quoted(out, layout->turn_before[ROLE_ASSISTANT]);
    str_append(out, " }}{%- endif -%}");
    str_append(out, special ? "{%- endif -%}" : "");
}
