/* SPDX-License-Identifier: MIT */
#include "common/jinja/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/jinja/ast.h"
#include "common/jinja/tojson.h"

/* Newlines of all kinds become \n, and the last one goes. */
static bool normalize(Jinja *jinja, Machine *machine) {
    char *text = machine_take(machine, jinja->source_size + 1, 1);
    size_t n = 0;
    for (size_t i = 0; text != NULL && i < jinja->source_size; i++) {
        char c = jinja->source[i];
        bool pair = c == '\r' && i + 1 < jinja->source_size && jinja->source[i + 1] == '\n';
        if (!pair) {
            text[n++] = c == '\r' ? '\n' : c;
        }
    }
    jinja->text = text;
    jinja->size = n > 0 && text[n - 1] == '\n' ? n - 1 : n;
    return text != NULL;
}

static bool parse(Jinja *jinja, Error *err) {
    Machine machine = {.jinja = jinja, .pool = {.limit = JINJA_MEMORY_MAX}, .err = err};
    bool ok = normalize(jinja, &machine) && jinja_lex(jinja, &machine) &&
              jinja_parse_tokens(jinja, &machine);
    jinja->pool = machine.pool;
    free(jinja->token);
    jinja->token = NULL;
    return ok;
}

Jinja *jinja_parse(const char *text, size_t n, const char *name, Error *err) {
    if (n > JINJA_TEMPLATE_MAX) {
        error_at(err, ERROR_DATA, name, 0, 0, "the template has %zu bytes, at most %d are allowed",
                 n, JINJA_TEMPLATE_MAX);
        return NULL;
    }
    size_t invalid = utf8_invalid_at(text, n);
    if (invalid < n) {
        error_at(err, ERROR_DATA, name, 0, 0, "the template is not valid UTF-8 at byte %zu",
                 invalid);
        return NULL;
    }
    Jinja *jinja = mem_alloc(1, sizeof *jinja, err);
    if (jinja == NULL) {
        return NULL;
    }
    jinja->file = name == NULL ? NULL : mem_strdup(name, err);
    jinja->source = mem_strndup(text, n, err);
    jinja->source_size = n;
    if (jinja->source == NULL || (name != NULL && jinja->file == NULL) || !parse(jinja, err)) {
        jinja_free(jinja);
        return NULL;
    }
    return jinja;
}

void jinja_free(Jinja *jinja) {
    if (jinja != NULL) {
        pool_done(&jinja->pool);
        free(jinja->token);
        free(jinja->file);
        free(jinja->source);
        free(jinja);
    }
}

const char *jinja_source(const Jinja *jinja, size_t *n) {
    *n = jinja->source_size;
    return jinja->source;
}

bool jinja_has_generation(const Jinja *jinja) {
    return jinja->generation;
}

bool jinja_check(const Jinja *jinja, Error *err) {
    if (jinja->beyond == NULL) {
        return true;
    }
    Machine machine = {.jinja = jinja, .at = jinja->beyond, .err = err};
    return machine_refuse(&machine, jinja->beyond->kind == NODE_FILTER ? "the filter" : "the test",
                          jinja->beyond->text);
}

void jinja_text_done(JinjaText *text) {
    free(text->text);
    free(text->span);
    *text = (JinjaText){0};
}

static bool set_variable(Machine *machine, const char *name, Value value) {
    const Text *text = text_make(machine, name, strlen(name), 0);
    return text != NULL && scope_set(machine, machine->scope, text, value);
}

static bool put_string(Machine *machine, Dict *dict, const char *key, const char *text, size_t n,
                       Tag tag) {
    const Text *name = text_string(machine, key);
    const Text *value = text_make(machine, text, n, tag);
    return name != NULL && value != NULL &&
           dict_put(machine, dict, value_text(name), value_text(value));
}

static bool set_messages(Machine *machine, const JinjaContext *context) {
    List *list = list_make(machine, context->messages);
    for (size_t i = 0; list != NULL && i < context->messages; i++) {
        const JinjaMessage *message = &context->message[i];
        Dict *dict = machine_take(machine, 1, sizeof *dict);
        size_t n = message->content_size, invalid = utf8_invalid_at(message->content, n);
        if (invalid < n) {
            return machine_fault(machine, "message %zu is not valid UTF-8 at byte %zu", i + 1,
                                 invalid);
        }
        if (dict == NULL ||
            !put_string(machine, dict, "role", message->role, strlen(message->role), 0) ||
            !put_string(machine, dict, "content", message->content, n, (Tag)i + 1)) {
            return false;
        }
        list->item[i] = (Value){.kind = VALUE_DICT, .dict = dict};
    }
    return list != NULL && set_variable(machine, "messages", value_list(VALUE_LIST, list));
}

static bool set_context(Machine *machine, const JinjaContext *context) {
    const cJSON *item = context->variables == NULL ? NULL : context->variables->child;
    for (; item != NULL; item = item->next) {
        Value value;
        if (!value_from_json(machine, item, &value) ||
            !set_variable(machine, item->string, value)) {
            return false;
        }
    }
    bool given = context->message != NULL || context->messages > 0;
    return (!given || set_messages(machine, context)) &&
           set_variable(machine, "add_generation_prompt",
                        value_bool(context->add_generation_prompt));
}

static bool take_result(const Builder *builder, JinjaText *out, Error *err) {
    *out = (JinjaText){.size = builder->size, .spans = builder->runs};
    out->text = mem_strndup(builder->data == NULL ? "" : builder->data, builder->size, err);
    out->span = mem_alloc(builder->runs, sizeof *out->span, err);
    if (out->text == NULL || out->span == NULL) {
        jinja_text_done(out);
        return false;
    }
    for (size_t i = 0; i < builder->runs; i++) {
        Tag tag = builder->run[i].tag;
        out->span[i] = (JinjaSpan){.end = builder->run[i].end,
                                   .source = (int32_t)(tag & ~TAG_GENERATED) - 1,
                                   .generated = (tag & TAG_GENERATED) != 0};
    }
    return true;
}

bool jinja_render(const Jinja *jinja, const JinjaContext *context, JinjaText *out, Error *err) {
    Machine machine = {
        .jinja = jinja, .pool = {.limit = JINJA_MEMORY_MAX}, .date = context->date, .err = err};
    Builder builder = {.machine = &machine};
    Flow flow = FLOW_ON;
    machine.out = &builder;
    machine.scope = scope_push(&machine, NULL);
    Scope *top = NULL;
    bool ok = machine.scope != NULL && set_context(&machine, context) &&
              (top = scope_push(&machine, machine.scope)) != NULL;
    machine.scope = top;
    ok = ok && execute(&machine, jinja->root, &flow) && take_result(&builder, out, err);
    pool_done(&machine.pool);
    return ok;
}
