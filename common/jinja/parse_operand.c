/* SPDX-License-Identifier: MIT
 *
 * Operands of expressions: names, literals, brackets, and what stands behind them: attributes,
 * indices, calls, filters, tests.
 */
#include <string.h>

#include "common/jinja/ast.h"

enum { PARSER_DEPTH = 2 * JINJA_NESTING_MAX }; /* brackets enter an expression and an operand */

/* Guards the parser's own recursion: an expression within brackets within brackets. */
bool parser_enter(Parser *parser) {
    if (parser->machine->depth >= PARSER_DEPTH) {
        return parser_fault(parser, parser->token->at, "the expression nests deeper than %d levels",
                            JINJA_NESTING_MAX);
    }
    parser->machine->depth++;
    return true;
}

Node *parser_leave(Parser *parser, Node *node) {
    parser->machine->depth--;
    return node;
}

static Node *text_node(Parser *parser, NodeKind kind, const Token *token) {
    Node *node = parser_node(parser, kind, token->at);
    if (node != NULL) {
        node->text = token->text;
    }
    return node;
}

Node *parser_unary(Parser *parser, NodeKind kind, uint32_t at, Node *child) {
    size_t capacity = 0;
    Node *node = child == NULL ? NULL : parser_node(parser, kind, at);
    return node != NULL && parser_child(parser, node, &capacity, child) ? node : NULL;
}

static Node *constant(Parser *parser, uint32_t at, Value value) {
    Node *node = parser_node(parser, NODE_CONSTANT, at);
    if (node != NULL) {
        node->value = value;
    }
    return node;
}

static bool any_name(const Parser *parser, const char *const *names) {
    for (size_t i = 0; names[i] != NULL; i++) {
        if (parser_is_name(parser, names[i])) {
            return true;
        }
    }
    return false;
}

static Node *parse_name(Parser *parser, bool member) {
    static const char *const yes[] = {"true", "True", NULL}, *const no[] = {"false", "False", NULL},
                             *const nothing[] = {"none", "None", NULL},
                             *const collected[] = {"varargs", "kwargs", NULL};
    const Token *token = parser->token;
    bool truth = any_name(parser, yes);
    if (truth || any_name(parser, no)) {
        parser->token++;
        return constant(parser, token->at, value_bool(truth));
    }
    if (any_name(parser, nothing)) {
        parser->token++;
        return constant(parser, token->at, value_none());
    }
    if (parser->macros > 0 && any_name(parser, collected)) {
        parser_fault(parser, token->at, "%.*s of a macro is not supported", (int)token->text->size,
                     token->text->data);
        return NULL;
    }
    parser->token++;
    Node *node = text_node(parser, NODE_NAME, token);
    if (node == NULL || !member || !parser_skip(parser, ".")) {
        return node;
    }
    if (parser->token->kind != TOKEN_NAME) {
        parser_unexpected(parser, "an attribute's name");
        return NULL;
    }
    node->kind = NODE_MEMBER;
    node->name = machine_take(parser->machine, 1, sizeof *node->name);
    node->names = 1;
    if (node->name == NULL) {
        return NULL;
    }
    node->name[0] = parser->token++->text;
    return node;
}

/* Texts that follow one another are one. */
static Node *parse_string(Parser *parser) {
    const Token *first = parser->token++;
    const Text *text = first->text;
    if (parser->token->kind == TOKEN_STRING) {
        Builder out = {.machine = parser->machine};
        bool ok = builder_text(&out, text);
        while (ok && parser->token->kind == TOKEN_STRING) {
            ok = builder_text(&out, parser->token++->text);
        }
        text = ok ? builder_finish(&out) : NULL;
    }
    return text == NULL ? NULL : constant(parser, first->at, value_text(text));
}

static Node *parse_list(Parser *parser) {
    Node *node = parser_node(parser, NODE_LIST, parser->token++->at);
    size_t capacity = 0;
    while (node != NULL && !parser_is(parser, "]")) {
        if (node->children > 0 && !parser_expect(parser, ",")) {
            return NULL;
        }
        if (parser_is(parser, "]")) {
            break;
        }
        Node *item = parse_expression(parser);
        if (item == NULL || !parser_child(parser, node, &capacity, item)) {
            return NULL;
        }
    }
    parser->token++;
    return node;
}

static Node *parse_dict(Parser *parser) {
    Node *node = parser_node(parser, NODE_DICT, parser->token++->at);
    size_t capacity = 0;
    while (node != NULL && !parser_is(parser, "}")) {
        if (node->children > 0 && !parser_expect(parser, ",")) {
            return NULL;
        }
        if (parser_is(parser, "}")) {
            break;
        }
        Node *key = parse_expression(parser);
        if (key == NULL || !parser_child(parser, node, &capacity, key) ||
            !parser_expect(parser, ":")) {
            return NULL;
        }
        Node *value = parse_expression(parser);
        if (value == NULL || !parser_child(parser, node, &capacity, value)) {
            return NULL;
        }
    }
    parser->token++;
    return node;
}

Node *parse_primary(Parser *parser, bool member) {
    const Token *token = parser->token;
    switch (token->kind) {
    case TOKEN_NAME:
        return parse_name(parser, member);
    case TOKEN_STRING:
        return parse_string(parser);
    case TOKEN_INTEGER:
        parser->token++;
        return constant(parser, token->at, value_int(token->integer));
    case TOKEN_REAL:
        parser->token++;
        return constant(parser, token->at, value_float(token->real));
    default:
        break;
    }
    if (parser_is(parser, "[")) {
        return parse_list(parser);
    }
    if (parser_is(parser, "{")) {
        return parse_dict(parser);
    }
    if (!parser_skip(parser, "(")) {
        parser_unexpected(parser, "an expression");
        return NULL;
    }
    Node *node = parse_comma_list(parser, parse_expression, NULL, true);
    return node != NULL && parser_expect(parser, ")") ? node : NULL;
}

/* One bound of a slice: an expression unless a colon or the end stands here. */
static bool parse_bound(Parser *parser, Node *node, size_t *capacity) {
    bool absent = parser_is(parser, ":") || parser_is(parser, "]");
    Node *bound = absent ? NULL : parse_expression(parser);
    return (absent || bound != NULL) && parser_child(parser, node, capacity, bound);
}

static Node *parse_subscript(Parser *parser, Node *self) {
    uint32_t at = parser->token++->at;
    Node *node = parser_node(parser, NODE_ITEM, at);
    size_t capacity = 0;
    if (node == NULL || !parser_child(parser, node, &capacity, self)) {
        return NULL;
    }
    if (!parser_is(parser, ":")) {
        Node *index = parse_expression(parser);
        if (index == NULL || !parser_child(parser, node, &capacity, index)) {
            return NULL;
        }
    } else if (!parser_child(parser, node, &capacity, NULL)) {
        return NULL;
    }
    if (parser_skip(parser, ":")) {
        node->kind = NODE_SLICE;
        if (!parse_bound(parser, node, &capacity)) {
            return NULL;
        }
        bool step = parser_skip(parser, ":");
        if (step ? !parse_bound(parser, node, &capacity)
                 : !parser_child(parser, node, &capacity, NULL)) {
            return NULL;
        }
    }
    if (parser_is(parser, ",")) {
        parser_fault(parser, parser->token->at, "a tuple as an index is not supported");
        return NULL;
    }
    return parser_expect(parser, "]") ? node : NULL;
}

static Node *parse_attribute(Parser *parser, Node *self) {
    uint32_t at = parser->token++->at;
    const Token *token = parser->token;
    Node *node = NULL;
    if (token->kind == TOKEN_NAME) {
        parser->token++;
        node = parser_unary(parser, NODE_ATTRIBUTE, token->at, self);
        if (node != NULL) {
            node->text = token->text;
        }
        return node;
    }
    if (token->kind != TOKEN_INTEGER) {
        parser_unexpected(parser, "a name or a number behind the dot");
        return NULL;
    }
    parser->token++;
    Node *index = constant(parser, token->at, value_int(token->integer));
    size_t capacity = 0;
    node = index == NULL ? NULL : parser_node(parser, NODE_ITEM, at);
    return node != NULL && parser_child(parser, node, &capacity, self) &&
                   parser_child(parser, node, &capacity, index)
               ? node
               : NULL;
}

static bool add_name(Parser *parser, Node *node, size_t *capacity, const Text *name) {
    if (node->names == *capacity) {
        size_t wanted = *capacity == 0 ? 4 : 2 * *capacity;
        const Text **grown = machine_take(parser->machine, wanted, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (node->names > 0) {
            memcpy(grown, node->name, node->names * sizeof *grown);
        }
        node->name = grown;
        *capacity = wanted;
    }
    for (size_t i = 0; i < node->names; i++) {
        if (text_equal(node->name[i], name)) {
            return parser_fault(parser, parser->token->at, "the argument \"%.*s\" is given twice",
                                (int)(name->size < 60 ? name->size : 60), name->data);
        }
    }
    node->name[node->names++] = name;
    return machine_spend(parser->machine, node->names / 16);
}

/* (a, b, name=c): behind the children that the node has. */
static bool parse_arguments(Parser *parser, Node *node, size_t *capacity) {
    size_t names = 0, before = node->children;
    parser->token++;
    while (!parser_is(parser, ")")) {
        if (node->children > before && (!parser_expect(parser, ",") || parser_is(parser, ")"))) {
            break;
        }
        if (parser_is(parser, "*") || parser_is(parser, "**")) {
            return parser_fault(parser, parser->token->at,
                                "arguments from a list or dict (* and **) are not supported");
        }
        bool named = parser->token->kind == TOKEN_NAME && parser->token[1].kind == TOKEN_OPERATOR &&
                     text_is(parser->token[1].text, "=");
        if (named) {
            if (!add_name(parser, node, &names, parser->token->text)) {
                return false;
            }
            parser->token += 2;
        } else if (node->names > 0) {
            return parser_fault(parser, parser->token->at,
                                "an argument without a name stands behind one with a name");
        }
        Node *value = parse_expression(parser);
        if (value == NULL || !parser_child(parser, node, capacity, value)) {
            return false;
        }
    }
    return parser_expect(parser, ")");
}

static Node *parse_call(Parser *parser, Node *function) {
    Node *node = parser_node(parser, NODE_CALL, parser->token->at);
    size_t capacity = 0;
    return node != NULL && parser_child(parser, node, &capacity, function) &&
                   parse_arguments(parser, node, &capacity)
               ? node
               : NULL;
}

static Node *parse_postfix(Parser *parser, Node *node) {
    while (node != NULL) {
        if (parser_is(parser, ".")) {
            node = parse_attribute(parser, node);
        } else if (parser_is(parser, "[")) {
            node = parse_subscript(parser, node);
        } else if (parser_is(parser, "(")) {
            node = parse_call(parser, node);
        } else {
            break;
        }
    }
    return node;
}

/* The name of a filter or test; what is not in the subset is remembered, and refused when a render
 * comes by. */
static Node *parse_named(Parser *parser, NodeKind kind, Node *self, size_t *capacity) {
    const Token *token = parser->token;
    if (token->kind != TOKEN_NAME) {
        parser_unexpected(parser, kind == NODE_FILTER ? "a filter's name" : "a test's name");
        return NULL;
    }
    parser->token++;
    if (parser_is(parser, ".")) {
        parser_unexpected(parser, "a name without dots");
        return NULL;
    }
    Node *node = text_node(parser, kind, token);
    if (node == NULL || !parser_child(parser, node, capacity, self)) {
        return NULL;
    }
    bool known = kind == NODE_FILTER ? filter_known(token->text) : test_known(token->text);
    if (!known && parser->jinja->beyond == NULL) {
        parser->jinja->beyond = node;
    }
    return node;
}

Node *parse_filters(Parser *parser, Node *node) {
    while (node != NULL && parser_skip(parser, "|")) {
        size_t capacity = 0;
        node = parse_named(parser, NODE_FILTER, node, &capacity);
        if (node != NULL && parser_is(parser, "(") && !parse_arguments(parser, node, &capacity)) {
            return NULL;
        }
    }
    return node;
}

/* What may stand behind a test's name without brackets: one argument. */
static bool at_operand(const Parser *parser) {
    static const char *const no[] = {"else", "or", "and", NULL};
    switch (parser->token->kind) {
    case TOKEN_NAME:
        return !any_name(parser, no);
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_REAL:
        return true;
    default:
        return parser_is(parser, "[") || parser_is(parser, "{");
    }
}

static Node *parse_test(Parser *parser, Node *self) {
    uint32_t at = parser->token++->at;
    bool negated = parser_skip_name(parser, "not");
    size_t capacity = 0;
    Node *node = parse_named(parser, NODE_TEST, self, &capacity);
    if (node == NULL) {
        return NULL;
    }
    if (parser_is(parser, "(")) {
        if (!parse_arguments(parser, node, &capacity)) {
            return NULL;
        }
    } else if (at_operand(parser)) {
        if (parser_is_name(parser, "is")) {
            parser_fault(parser, parser->token->at, "tests cannot be chained with is");
            return NULL;
        }
        Node *operand = parse_postfix(parser, parse_primary(parser, false));
        if (operand == NULL || !parser_child(parser, node, &capacity, operand)) {
            return NULL;
        }
    }
    return negated ? parser_unary(parser, NODE_NOT, at, node) : node;
}

static Node *parse_unary(Parser *parser, bool filters) {
    Node *node = NULL;
    uint32_t at = parser->token->at;
    if (!parser_enter(parser)) {
        return NULL;
    }
    if (parser_skip(parser, "-")) {
        node = parser_unary(parser, NODE_NEGATIVE, at, parse_unary(parser, false));
    } else if (parser_skip(parser, "+")) {
        node = parser_unary(parser, NODE_POSITIVE, at, parse_unary(parser, false));
    } else {
        node = parse_primary(parser, false);
    }
    node = parse_postfix(parser, node);
    while (filters && node != NULL) {
        if (parser_is(parser, "|")) {
            node = parse_filters(parser, node);
        } else if (parser_is_name(parser, "is")) {
            node = parse_test(parser, node);
        } else if (parser_is(parser, "(")) {
            node = parse_call(parser, node);
        } else {
            break;
        }
    }
    return parser_leave(parser, node);
}

Node *parse_operand(Parser *parser) {
    return parse_unary(parser, true);
}
