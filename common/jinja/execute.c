/* SPDX-License-Identifier: MIT
 *
 * Statements, and macros. An if has no variables of its own; a loop's turn, a macro, a block set
 * and a {% generation %} have.
 */
#include <string.h>

#include "common/jinja/ast.h"

/* What is printed within {% generation %} carries its mark. */
typedef struct Capture {
    Builder builder;
    Builder *outer;
} Capture;

static void capture_begin(Machine *machine, Capture *capture) {
    *capture = (Capture){.builder = {.machine = machine}, .outer = machine->out};
    machine->out = &capture->builder;
}

static const Text *capture_end(Machine *machine, Capture *capture) {
    machine->out = capture->outer;
    return builder_finish(&capture->builder);
}

static bool assign(Machine *machine, const Node *target, Value value);

static bool assign_tuple(Machine *machine, const Node *target, Value value) {
    List *list = NULL;
    if (!value_items(machine, value, &list)) {
        return false;
    }
    if (list->count != target->children) {
        return machine_fault(machine, "%zu values are assigned to %zu names", list->count,
                             target->children);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!assign(machine, target->child[i], list->item[i])) {
            return false;
        }
    }
    return true;
}

static bool assign_member(Machine *machine, const Node *target, Value value) {
    size_t looked = 0;
    const Value *found = scope_find(machine->scope, target->text, &looked);
    if (found == NULL || found->kind != VALUE_NAMESPACE) {
        return machine_fault(machine, "\"%.*s\" is no namespace, so nothing in it can be set",
                             (int)target->text->size, target->text->data);
    }
    machine->namespace_writes++;
    return machine_spend(machine, (looked + found->dict->count) / 16) &&
           dict_put(machine, found->dict, value_text(target->name[0]), value);
}

static bool assign(Machine *machine, const Node *target, Value value) {
    machine->at = target;
    return target->kind == NODE_TUPLE    ? assign_tuple(machine, target, value)
           : target->kind == NODE_MEMBER ? assign_member(machine, target, value)
                                         : scope_set(machine, machine->scope, target->text, value);
}

static bool execute_body(Machine *machine, const Node *node, Flow *flow) {
    for (size_t i = 0; *flow == FLOW_ON && i < node->children; i++) {
        if (!execute(machine, node->child[i], flow)) {
            return false;
        }
    }
    return true;
}

static bool execute_print(Machine *machine, const Node *node) {
    Value value;
    if (!evaluate(machine, node->child[0], &value)) {
        return false;
    }
    machine->at = node->child[0];
    return value_print(machine, value, machine->out);
}

static bool execute_if(Machine *machine, const Node *node, Flow *flow) {
    size_t i = 0;
    for (; i + 1 < node->children; i += 2) {
        Value condition;
        if (!evaluate(machine, node->child[i], &condition)) {
            return false;
        }
        if (value_truth(condition)) {
            return execute(machine, node->child[i + 1], flow);
        }
    }
    return i == node->children || execute(machine, node->child[i], flow);
}

/* The items that pass the loop's own condition, each with its names in a scope that ends here. */
static bool filter_items(Machine *machine, const Node *node, List **list) {
    List *kept = list_make(machine, 0);
    size_t capacity = 0;
    Scope *outer = machine->scope;
    bool ok = kept != NULL;
    for (size_t i = 0; ok && i < (*list)->count; i++) {
        Value condition;
        machine->scope = scope_push(machine, outer);
        ok = machine->scope != NULL && assign(machine, node->child[0], (*list)->item[i]) &&
             evaluate(machine, node->child[2], &condition) &&
             (!value_truth(condition) || list_push(machine, kept, &capacity, (*list)->item[i]));
    }
    machine->scope = outer;
    *list = kept;
    return ok;
}

static bool run_loop(Machine *machine, const Node *node, const List *list) {
    static const Text name = {.data = "loop", .size = 4};
    Scope *outer = machine->scope;
    Loop *loop = machine_take(machine, 1, sizeof *loop);
    if (loop == NULL) {
        return false;
    }
    *loop = (Loop){.list = list};
    bool ok = true;
    Flow flow = FLOW_ON;
    for (size_t i = 0; ok && flow != FLOW_BREAK && i < list->count; i++) {
        loop->index = i;
        flow = FLOW_ON;
        machine->at = node;
        machine->scope = scope_push(machine, outer);
        ok = machine->scope != NULL && machine_spend(machine, 1) &&
             scope_set(machine, machine->scope, &name, (Value){.kind = VALUE_LOOP, .loop = loop}) &&
             assign(machine, node->child[0], list->item[i]) &&
             execute(machine, node->child[3], &flow);
    }
    machine->scope = outer;
    return ok;
}

static bool execute_inner(Machine *machine, const Node *body, Flow *flow) {
    Scope *outer = machine->scope;
    machine->scope = scope_push(machine, outer);
    bool ok = machine->scope != NULL && execute(machine, body, flow);
    machine->scope = outer;
    return ok;
}

static bool execute_for(Machine *machine, const Node *node, Flow *flow) {
    Value value;
    List *list = NULL;
    if (!evaluate(machine, node->child[1], &value)) {
        return false;
    }
    machine->at = node;
    size_t reads = machine->namespace_reads, writes = machine->namespace_writes;
    if (!value_items(machine, value, &list) ||
        (node->child[2] != NULL && !filter_items(machine, node, &list))) {
        return false;
    }
    bool reading = node->child[2] != NULL && machine->namespace_reads != reads;
    if (list->count > 0) {
        if (!run_loop(machine, node, list)) {
            return false;
        }
        /* Jinja2 asks the condition turn by turn, here it was asked for all turns first. */
        machine->at = node;
        return !reading || machine->namespace_writes == writes ||
               machine_fault(machine, "the loop's condition reads a namespace while namespaces "
                                      "change, which is not supported");
    }
    return node->child[4] == NULL || execute_inner(machine, node->child[4], flow);
}

static bool execute_set_block(Machine *machine, const Node *node) {
    Capture capture;
    Flow flow = FLOW_ON;
    capture_begin(machine, &capture);
    bool ok = execute_inner(machine, node->child[1], &flow);
    const Text *text = capture_end(machine, &capture);
    if (!ok || text == NULL) {
        return false;
    }
    Value value = value_text(text);
    if (node->child[2] != NULL) {
        Scope *outer = machine->scope;
        machine->scope = scope_push(machine, outer);
        ok = machine->scope != NULL && scope_set(machine, machine->scope, &captured_name, value) &&
             evaluate(machine, node->child[2], &value);
        machine->scope = outer;
    }
    return ok && assign(machine, node->child[0], value);
}

static bool execute_macro(Machine *machine, const Node *node) {
    Macro *macro = machine_take(machine, 1, sizeof *macro);
    if (macro == NULL) {
        return false;
    }
    *macro = (Macro){node, machine->scope};
    return scope_set(machine, machine->scope, node->text,
                     (Value){.kind = VALUE_MACRO, .macro = macro});
}

static bool execute_generation(Machine *machine, const Node *node) {
    Capture capture;
    Flow flow = FLOW_ON;
    capture_begin(machine, &capture);
    bool ok = execute_inner(machine, node->child[0], &flow);
    const Text *text = capture_end(machine, &capture);
    return ok && text != NULL && builder_slice(machine->out, text, 0, text->size, TAG_GENERATED);
}

static bool execute_node(Machine *machine, const Node *node, Flow *flow) {
    switch (node->kind) {
    case NODE_BODY:
        return execute_body(machine, node, flow);
    case NODE_DATA:
        return builder_text(machine->out, node->text);
    case NODE_PRINT:
        return execute_print(machine, node);
    case NODE_IF:
        return execute_if(machine, node, flow);
    case NODE_FOR:
        return execute_for(machine, node, flow);
    case NODE_SET_BLOCK:
        return execute_set_block(machine, node);
    case NODE_MACRO:
        return execute_macro(machine, node);
    case NODE_GENERATION:
        return execute_generation(machine, node);
    case NODE_BREAK:
    case NODE_CONTINUE:
        *flow = node->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
        return true;
    default: {
        Value value;
        return evaluate(machine, node->child[1], &value) && assign(machine, node->child[0], value);
    }
    }
}

bool execute(Machine *machine, const Node *node, Flow *flow) {
    machine->at = node;
    if (!machine_spend(machine, 1) || !machine_enter(machine)) {
        return false;
    }
    bool ok = execute_node(machine, node, flow);
    machine_leave(machine);
    return ok;
}

/* The parameters become variables: arguments by place, by name, defaults, else undefined. */
static bool bind_parameters(Machine *machine, const Node *macro, const Arguments *arguments) {
    size_t by_place = arguments->count - arguments->names, used = 0;
    size_t without = macro->names - (macro->children - 1);
    if (by_place > macro->names) {
        return machine_fault(machine, "the macro \"%.*s\" takes %zu arguments, not %zu",
                             (int)macro->text->size, macro->text->data, macro->names, by_place);
    }
    for (size_t i = 0; i < macro->names; i++) {
        Value value = value_undefined(NULL);
        size_t named = 0;
        while (named < arguments->names && !text_equal(arguments->name[named], macro->name[i])) {
            named++;
        }
        if (i < by_place) {
            value = arguments->value[i];
        } else if (named < arguments->names) {
            value = arguments->value[by_place + named];
            used++;
        } else if (i >= without && !evaluate(machine, macro->child[1 + i - without], &value)) {
            return false;
        }
        if (!scope_set(machine, machine->scope, macro->name[i], value)) {
            return false;
        }
    }
    return used == arguments->names ||
           machine_fault(machine,
                         "the macro \"%.*s\" is given an argument by a name that it does "
                         "not have, or twice",
                         (int)macro->text->size, macro->text->data);
}

bool call_macro(Machine *machine, const Macro *macro, const Arguments *arguments, Value *out) {
    if (machine->calls >= JINJA_NESTING_MAX) {
        return machine_fault(machine, "calls of macros nest deeper than %d levels",
                             JINJA_NESTING_MAX);
    }
    Scope *outer = machine->scope;
    Capture capture;
    Flow flow = FLOW_ON;
    capture_begin(machine, &capture);
    machine->calls++;
    machine->scope = scope_push(machine, macro->scope);
    bool ok = machine->scope != NULL && bind_parameters(machine, macro->node, arguments) &&
              execute(machine, macro->node->child[0], &flow);
    machine->scope = outer;
    machine->calls--;
    const Text *text = capture_end(machine, &capture);
    *out = value_text(text);
    return ok && text != NULL;
}
