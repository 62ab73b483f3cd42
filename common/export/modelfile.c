/* SPDX-License-Identifier: MIT
 *
 * Ollama's Modelfile. Its TEMPLATE is Go's text/template; braces and triple quotes of a literal are put
 * as actions, so that they stand for themselves.
 */
#include <string.h>

#include "common/export/export.h"

static void put_literal(Str *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '{' || *text == '"') {
            str_append(out, *text == '{' ? "{{ \"{\" }}" : "{{ \"\\\"\" }}");
        } else {
            str_append_char(out, *text);
        }
    }
}

static void put_template(const Layout *layout, Str *out) {
    bool chat = strcmp(layout->prefix, layout->turn_before[ROLE_USER]) == 0;
    str_append(out, "TEMPLATE \"\"\"");
    if (chat) {
        str_append(out, "{{ if .System }}");
        put_literal(out, layout->turn_before[ROLE_SYSTEM]);
        str_append(out, "{{ .System }}");
        put_literal(out, layout->turn_after[ROLE_SYSTEM]);
        str_append(out, "{{ end }}");
    }
    put_literal(out, layout->prefix);
    put_literal(out, layout->lead);
    str_append(out, "{{ .Prompt }}");
    put_literal(out, layout->separator);
    str_append(out, "{{ .Response }}\"\"\"\n");
}

/* A PARAMETER's text, in quotes with Go's escapes. */
static void put_stop(Str *out, const char *text) {
    if (*text == '\0') {
        return;
    }
    str_append(out, "PARAMETER stop \"");
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            str_append(out, "\\n");
        } else {
            str_append(out, *text == '"' || *text == '\\' ? "\\" : "");
            str_append_char(out, *text);
        }
    }
    str_append(out, "\"\n");
}

bool export_modelfile(const ExportSource *source, const char *from, Str *out, Error *err) {
    const Layout *layout = source->layout;
    int32_t eos = tokenizer_eos(source->tokenizer);
    if (layout != NULL && !layout_eos(layout, source->tokenizer, &eos, err)) {
        return false;
    }
    str_appendf(out, "FROM %s\n", from);
    if (layout != NULL && layout->template == NULL) { /* else Ollama takes it from the GGUF file */
        put_template(layout, out);
        if (layout->system != NULL && strcmp(layout->prefix, layout->turn_before[ROLE_USER]) == 0) {
            str_appendf(out, "SYSTEM \"\"\"%s\"\"\"\n", layout->system);
        }
        /* A model may open the next turn itself. */
        put_stop(out, layout->turn_before[ROLE_USER]);
    }
    put_stop(out, eos >= 0 ? tokenizer_text(source->tokenizer, eos) : "");
    size_t ends;
    const int32_t *end = config_ends(&source->model->config, &ends);
    for (size_t i = 0; i < ends; i++) {
        const char *text = end[i] == eos ? NULL : tokenizer_text(source->tokenizer, end[i]);
        put_stop(out, text != NULL ? text : "");
    }
    str_appendf(out, "PARAMETER num_ctx %zu\n", source->model->config.context);
    return str_ok(out, err);
}
