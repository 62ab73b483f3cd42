/* SPDX-License-Identifier: MIT
 *
 * Expressions to values.
 */
#include <string.h>

#include "common/jinja/ast.h"

static bool truth_of(Machine *machine, const Node *node, bool *out) {
    Value value;
    if (!evaluate(machine, node, &value)) {
        return false;
    }
    *out = value_truth(value);
    return true;
}

static bool eval_name(Machine *machine, const Node *node, Value *out) {
    size_t looked = 0;
    const Value *found = scope_find(machine->scope, node->text, &looked);
    if (!machine_spend(machine, looked / 16)) {
        return false;
    }
    if (found != NULL) {
        *out = *found;
        return true;
    }
    return find_global(machine, node->text, out);
}

static bool eval_list(Machine *machine, const Node *node, Value *out) {
    List *list = list_make(machine, node->children);
    for (size_t i = 0; list != NULL && i < node->children; i++) {
        if (!evaluate(machine, node->child[i], &list->item[i])) {
            return false;
        }
    }
    *out = value_list(node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, list);
    return list != NULL;
}

static bool eval_dict(Machine *machine, const Node *node, Value *out) {
    Dict *dict = machine_take(machine, 1, sizeof *dict);
    for (size_t i = 0; dict != NULL && i + 1 < node->children; i += 2) {
        Value key, value;
        if (!evaluate(machine, node->child[i], &key) ||
            !evaluate(machine, node->child[i + 1], &value)) {
            return false;
        }
        machine->at = node;
        if (!value_hashable(machine, key) || !dict_put(machine, dict, key, value)) {
            return false;
        }
    }
    *out = (Value){.kind = VALUE_DICT, .dict = dict};
    return dict != NULL;
}

/* The first operand that decides, or the last one. */
static bool eval_words(Machine *machine, const Node *node, Value *out) {
    for (size_t i = 0; i < node->children; i++) {
        if (!evaluate(machine, node->child[i], out)) {
            return false;
        }
        if (value_truth(*out) == (node->kind == NODE_OR)) {
            break;
        }
    }
    return true;
}

static bool eval_compare(Machine *machine, const Node *node, Value *out) {
    Value left, right;
    bool truth = true;
    if (!evaluate(machine, node->child[0], &left)) {
        return false;
    }
    for (size_t i = 1; truth && i < node->children; i++) {
        if (!evaluate(machine, node->child[i], &right)) {
            return false;
        }
        machine->at = node;
        if (!compare(machine, node->operators[i - 1], left, right, &truth)) {
            return false;
        }
        left = right;
    }
    *out = value_bool(truth);
    return true;
}

static bool eval_arithmetic(Machine *machine, const Node *node, Value *out) {
    if (!evaluate(machine, node->child[0], out)) {
        return false;
    }
    for (size_t i = 1; i < node->children; i++) {
        Value right, left = *out;
        if (!evaluate(machine, node->child[i], &right)) {
            return false;
        }
        machine->at = node;
        if (!arithmetic(machine, node->operators[i - 1], left, right, out)) {
            return false;
        }
    }
    return true;
}

static bool eval_concat(Machine *machine, const Node *node, Value *out) {
    Builder builder = {.machine = machine};
    for (size_t i = 0; i < node->children; i++) {
        Value value;
        if (!evaluate(machine, node->child[i], &value)) {
            return false;
        }
        machine->at = node;
        if (!value_print(machine, value, &builder)) {
            return false;
        }
    }
    const Text *text = builder_finish(&builder);
    *out = value_text(text);
    return text != NULL;
}

static bool eval_sign(Machine *machine, const Node *node, Value *out) {
    Value value;
    int64_t integer = 0;
    if (!evaluate(machine, node->child[0], &value)) {
        return false;
    }
    machine->at = node;
    if (!value_is_number(value)) {
        return machine_fault(machine, "a %s has no sign", value_type(value));
    }
    if (value_integer(value, &integer)) {
        value = value_int(integer);
        return node->kind == NODE_POSITIVE
                   ? (*out = value, true)
                   : arithmetic(machine, OPERATOR_SUBTRACT, value_int(0), value, out);
    }
    *out = value_float(node->kind == NODE_POSITIVE ? value.real : -value.real);
    return true;
}

static bool eval_condition(Machine *machine, const Node *node, Value *out) {
    bool truth = false;
    if (!truth_of(machine, node->child[1], &truth)) {
        return false;
    }
    if (!truth && node->child[2] == NULL) {
        *out = value_undefined(NULL);
        return true;
    }
    return evaluate(machine, node->child[truth ? 0 : 2], out);
}

static bool eval_access(Machine *machine, const Node *node, Value *out) {
    Value self, operand[3] = {value_none(), value_none(), value_none()};
    if (!evaluate(machine, node->child[0], &self)) {
        return false;
    }
    for (size_t i = 1; i < node->children; i++) {
        if (node->child[i] != NULL && !evaluate(machine, node->child[i], &operand[i - 1])) {
            return false;
        }
    }
    machine->at = node;
    return node->kind == NODE_ATTRIBUTE ? get_attribute(machine, self, node->text, out)
           : node->kind == NODE_ITEM    ? get_item(machine, self, operand[0], out)
                                        : get_slice(machine, self, operand, out);
}

/* Calls, filters and tests: what they work on, then their arguments. */
static bool eval_call(Machine *machine, const Node *node, Value *out) {
    Value self;
    Arguments arguments = {.count = node->children - 1, .name = node->name, .names = node->names};
    if (!evaluate(machine, node->child[0], &self)) {
        return false;
    }
    if (arguments.count > 0) {
        arguments.value = machine_take(machine, arguments.count, sizeof *arguments.value);
        if (arguments.value == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < arguments.count; i++) {
        if (!evaluate(machine, node->child[i + 1], &arguments.value[i])) {
            return false;
        }
    }
    machine->at = node;
    if (node->kind == NODE_CALL) {
        return call_value(machine, self, &arguments, out);
    }
    if (node->kind == NODE_FILTER) {
        return call_filter(machine, node->text, self, &arguments, out);
    }
    bool truth = false;
    bool ok = call_test(machine, node->text, self, &arguments, &truth);
    *out = value_bool(truth);
    return ok;
}

static bool eval_node(Machine *machine, const Node *node, Value *out) {
    bool truth = false;
    switch (node->kind) {
    case NODE_CONSTANT:
        *out = node->value;
        return true;
    case NODE_CAPTURED:
    case NODE_NAME:
        return eval_name(machine, node, out);
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_list(machine, node, out);
    case NODE_DICT:
        return eval_dict(machine, node, out);
    case NODE_AND:
    case NODE_OR:
        return eval_words(machine, node, out);
    case NODE_NOT:
        *out = value_bool(false);
        if (!truth_of(machine, node->child[0], &truth)) {
            return false;
        }
        *out = value_bool(!truth);
        return true;
    case NODE_NEGATIVE:
    case NODE_POSITIVE:
        return eval_sign(machine, node, out);
    case NODE_COMPARE:
        return eval_compare(machine, node, out);
    case NODE_ARITHMETIC:
        return eval_arithmetic(machine, node, out);
    case NODE_CONCAT:
        return eval_concat(machine, node, out);
    case NODE_CONDITION:
        return eval_condition(machine, node, out);
    case NODE_ATTRIBUTE:
    case NODE_ITEM:
    case NODE_SLICE:
        return eval_access(machine, node, out);
    default:
        return eval_call(machine, node, out);
    }
}

bool evaluate(Machine *machine, const Node *node, Value *out) {
    machine->at = node;
    if (!machine_spend(machine, 1) || !machine_enter(machine)) {
        return false;
    }
    bool ok = eval_node(machine, node, out);
    machine_leave(machine);
    return ok;
}
