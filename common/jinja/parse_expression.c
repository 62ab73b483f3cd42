/* SPDX-License-Identifier: MIT
 *
 * Operators of expressions. Those of one rank make one node with many children, so that a long
 * chain is no deep tree.
 */
#include <string.h>

#include "common/jinja/ast.h"

typedef struct Symbol {
    const char *text;
    Operator operation;
} Symbol;

static const Symbol *find_symbol(const Parser *parser, const Symbol *symbols) {
    for (; symbols->text != NULL; symbols++) {
        if (parser_is(parser, symbols->text)) {
            return symbols;
        }
    }
    return NULL;
}

/* An operation joined to the node that is being built: the first one makes the node. */
static bool add_operator(Parser *parser, Node **node, size_t *capacity, NodeKind kind,
                         Operator operation, uint32_t at, Node *right) {
    if (right == NULL) {
        return false;
    }
    if (*capacity == 0) {
        Node *first = *node;
        *node = parser_node(parser, kind, at);
        if (*node == NULL || !parser_child(parser, *node, capacity, first)) {
            return false;
        }
    }
    size_t count = (*node)->children, before = *capacity;
    if (!parser_child(parser, *node, capacity, right)) {
        return false;
    }
    if ((*node)->operators == NULL || before != *capacity) {
        Operator *grown = machine_take(parser->machine, *capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if ((*node)->operators != NULL) {
            memcpy(grown, (*node)->operators, (count - 1) * sizeof *grown);
        }
        (*node)->operators = grown;
    }
    (*node)->operators[count - 1] = operation;
    return true;
}

static Node *parse_chain(Parser *parser, const Symbol *symbols, Node *(*operand)(Parser *parser)) {
    uint32_t at = parser->token->at;
    Node *node = operand(parser);
    size_t capacity = 0;
    const Symbol *symbol = NULL;
    while (node != NULL && (symbol = find_symbol(parser, symbols)) != NULL) {
        parser->token++;
        NodeKind kind = *symbol->text == '~' ? NODE_CONCAT : NODE_ARITHMETIC;
        if (!add_operator(parser, &node, &capacity, kind, symbol->operation, at, operand(parser))) {
            return NULL;
        }
    }
    return node;
}

static Node *parse_power(Parser *parser) {
    static const Symbol symbols[] = {
        {"**", OPERATOR_POWER},
        {NULL, 0             }
    };
    return parse_chain(parser, symbols, parse_operand);
}

static Node *parse_product(Parser *parser) {
    static const Symbol symbols[] = {
        {"*",  OPERATOR_MULTIPLY},
        {"/",  OPERATOR_DIVIDE  },
        {"//", OPERATOR_FLOOR   },
        {"%",  OPERATOR_MODULO  },
        {NULL, 0                }
    };
    return parse_chain(parser, symbols, parse_power);
}

static Node *parse_concat(Parser *parser) {
    static const Symbol symbols[] = {
        {"~",  OPERATOR_ADD},
        {NULL, 0           }
    };
    return parse_chain(parser, symbols, parse_product);
}

static Node *parse_sum(Parser *parser) {
    static const Symbol symbols[] = {
        {"+",  OPERATOR_ADD     },
        {"-",  OPERATOR_SUBTRACT},
        {NULL, 0                }
    };
    return parse_chain(parser, symbols, parse_concat);
}

static bool comparison(Parser *parser, Operator *operation) {
    static const Symbol symbols[] = {
        {"==", OPERATOR_EQUAL        },
        {"!=", OPERATOR_UNEQUAL      },
        {"<=", OPERATOR_LESS_EQUAL   },
        {"<",  OPERATOR_LESS         },
        {">=", OPERATOR_GREATER_EQUAL},
        {">",  OPERATOR_GREATER      },
        {NULL, 0                     }
    };
    const Symbol *symbol = find_symbol(parser, symbols);
    if (symbol != NULL) {
        *operation = symbol->operation;
        parser->token++;
        return true;
    }
    *operation = OPERATOR_IN;
    if (parser_skip_name(parser, "in")) {
        return true;
    }
    if (parser_is_name(parser, "not") && parser->token[1].kind == TOKEN_NAME &&
        text_is(parser->token[1].text, "in")) {
        *operation = OPERATOR_NOT_IN;
        parser->token += 2;
        return true;
    }
    return false;
}

static Node *parse_comparison(Parser *parser) {
    uint32_t at = parser->token->at;
    Node *node = parse_sum(parser);
    size_t capacity = 0;
    Operator operation;
    while (node != NULL && comparison(parser, &operation)) {
        if (!add_operator(parser, &node, &capacity, NODE_COMPARE, operation, at,
                          parse_sum(parser))) {
            return NULL;
        }
    }
    return node;
}

static Node *parse_not(Parser *parser) {
    uint32_t at = parser->token->at;
    if (!parser_skip_name(parser, "not")) {
        return parse_comparison(parser);
    }
    return parser_enter(parser)
               ? parser_leave(parser, parser_unary(parser, NODE_NOT, at, parse_not(parser)))
               : NULL;
}

static Node *parse_words(Parser *parser, const char *word, NodeKind kind,
                         Node *(*operand)(Parser *parser)) {
    uint32_t at = parser->token->at;
    Node *node = operand(parser);
    size_t capacity = 0;
    while (node != NULL && parser_skip_name(parser, word)) {
        if (!add_operator(parser, &node, &capacity, kind, OPERATOR_ADD, at, operand(parser))) {
            return NULL;
        }
    }
    return node;
}

static Node *parse_and(Parser *parser) {
    return parse_words(parser, "and", NODE_AND, parse_not);
}

Node *parse_no_condition(Parser *parser) {
    return parse_words(parser, "or", NODE_OR, parse_and);
}

Node *parse_expression(Parser *parser) {
    if (!parser_enter(parser)) {
        return NULL;
    }
    Node *node = parse_no_condition(parser);
    while (node != NULL && parser_is_name(parser, "if")) {
        Node *choice = parser_node(parser, NODE_CONDITION, parser->token++->at);
        size_t capacity = 0;
        Node *condition = choice == NULL ? NULL : parse_no_condition(parser);
        if (condition == NULL || !parser_child(parser, choice, &capacity, node) ||
            !parser_child(parser, choice, &capacity, condition)) {
            return parser_leave(parser, NULL);
        }
        bool otherwise = parser_skip_name(parser, "else");
        Node *other = otherwise ? parse_expression(parser) : NULL;
        node = (otherwise && other == NULL) || !parser_child(parser, choice, &capacity, other)
                   ? NULL
                   : choice;
    }
    return parser_leave(parser, node);
}

static bool at_end(const Parser *parser, const char *end) {
    return parser->token->kind == TOKEN_PRINT_END || parser->token->kind == TOKEN_TAG_END ||
           parser_is(parser, ")") || (end != NULL && parser_is_name(parser, end));
}

Node *parse_comma_list(Parser *parser, Node *(*item)(Parser *parser), const char *end,
                       bool parentheses) {
    Node *first = NULL, *tuple = NULL;
    size_t capacity = 0;
    uint32_t at = parser->token->at;
    if (!at_end(parser, end)) {
        first = item(parser);
        if (first == NULL || !parser_is(parser, ",")) {
            return first;
        }
    } else if (!parentheses) {
        parser_unexpected(parser, "an expression");
        return NULL;
    }
    tuple = parser_node(parser, NODE_TUPLE, at);
    if (tuple == NULL || first == NULL || !parser_child(parser, tuple, &capacity, first)) {
        return first == NULL ? tuple : NULL;
    }
    while (parser_skip(parser, ",") && !at_end(parser, end)) {
        Node *next = item(parser);
        if (next == NULL || !parser_child(parser, tuple, &capacity, next)) {
            return NULL;
        }
    }
    return tuple;
}

Node *parse_tuple(Parser *parser, bool condition, const char *end) {
    return parse_comma_list(parser, condition ? parse_expression : parse_no_condition, end, false);
}

static Node *target_item(Parser *parser) {
    return parser_enter(parser) ? parser_leave(parser, parse_primary(parser, false)) : NULL;
}

static Node *member_item(Parser *parser) {
    return parser_enter(parser) ? parser_leave(parser, parse_primary(parser, true)) : NULL;
}

static bool can_assign(const Parser *parser, const Node *node) {
    bool ok = node->kind == NODE_NAME || node->kind == NODE_MEMBER || node->kind == NODE_TUPLE;
    for (size_t i = 0; ok && node->kind == NODE_TUPLE && i < node->children; i++) {
        if (!can_assign(parser, node->child[i])) {
            return false;
        }
    }
    if (node->kind == NODE_NAME && parser->loops > 0 && text_is(node->text, "loop")) {
        return parser_fault(parser, node->at, "the variable loop cannot be set within a loop");
    }
    return ok || parser_fault(parser, node->at, "nothing can be assigned to this expression");
}

Node *parse_target(Parser *parser, bool member) {
    Node *node =
        parse_comma_list(parser, member ? member_item : target_item, member ? NULL : "in", false);
    return node != NULL && can_assign(parser, node) ? node : NULL;
}
