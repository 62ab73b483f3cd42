/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/jinja/ast.h"

enum { DEPTH_MAX = 1000 }; /* calls of C functions on one another, all together */

static bool fault_at(const Jinja *jinja, size_t at, Error *err, const char *text) {
    long line = 1, column = 1;
    for (size_t i = 0; i < at && i < jinja->size; i++) {
        column = jinja->text[i] == '\n' ? 1 : column + 1;
        line += jinja->text[i] == '\n';
    }
    return error_at(err, ERROR_DATA, jinja->file, line, column, "%s", text);
}

bool machine_fault(Machine *machine, const char *format, ...) {
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fault_at(machine->jinja, machine->at == NULL ? 0 : machine->at->at, machine->err, text);
}

bool machine_refuse(Machine *machine, const char *what, const Text *name) {
    return machine_fault(machine,
                         "%s \"%.*s\" is not supported; use a built-in layout, or write the "
                         "template without it",
                         what, (int)(name->size < 60 ? name->size : 60), name->data);
}

bool parser_fault(const Parser *parser, uint32_t at, const char *format, ...) {
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fault_at(parser->jinja, at, parser->machine->err, text);
}

bool machine_spend(Machine *machine, size_t n) {
    machine->steps += n < JINJA_STEPS_MAX ? n : JINJA_STEPS_MAX;
    return machine->steps <= JINJA_STEPS_MAX ||
           machine_fault(machine, "the template takes more than %d steps", JINJA_STEPS_MAX);
}

bool machine_spend_bytes(Machine *machine, size_t bytes) {
    return machine_spend(machine, bytes >> 10);
}

bool machine_enter(Machine *machine) {
    if (machine->depth >= DEPTH_MAX) {
        return machine_fault(machine, "the template nests deeper than %d levels as it runs",
                             DEPTH_MAX);
    }
    machine->depth++;
    return true;
}

void machine_leave(Machine *machine) {
    machine->depth--;
}

void *machine_take(Machine *machine, size_t count, size_t size) {
    bool exhausted = false;
    void *block = pool_take(&machine->pool, count, size, &exhausted);
    if (block == NULL && exhausted) {
        machine_fault(machine, "the template needs more than %d MiB of memory",
                      (int)(machine->pool.limit >> 20));
    } else if (block == NULL) {
        error_set(machine->err, ERROR_OS, "out of memory while rendering a template");
    }
    return block;
}

Scope *scope_push(Machine *machine, Scope *outer) {
    Scope *scope = machine_take(machine, 1, sizeof *scope);
    if (scope != NULL) {
        scope->outer = outer;
    }
    return scope;
}

bool scope_set(Machine *machine, Scope *scope, const Text *name, Value value) {
    for (size_t i = 0; i < scope->count; i++) {
        if (text_equal(scope->variable[i].name, name)) {
            scope->variable[i].value = value;
            return machine_spend(machine, i / 16);
        }
    }
    if (scope->count == scope->capacity) {
        size_t capacity = scope->capacity == 0 ? 4 : 2 * scope->capacity;
        struct Variable *grown = machine_take(machine, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (scope->count > 0) {
            memcpy(grown, scope->variable, scope->count * sizeof *grown);
        }
        scope->variable = grown;
        scope->capacity = capacity;
    }
    scope->variable[scope->count++] = (struct Variable){name, value};
    return machine_spend(machine, scope->count / 16);
}

const Value *scope_find(const Scope *scope, const Text *name, size_t *looked) {
    for (; scope != NULL; scope = scope->outer) {
        for (size_t i = 0; i < scope->count; i++) {
            if (text_equal(scope->variable[i].name, name)) {
                *looked += i;
                return &scope->variable[i].value;
            }
        }
        *looked += scope->count + 1;
    }
    return NULL;
}
