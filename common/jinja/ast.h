/* SPDX-License-Identifier: MIT
 *
 * The tree of a template, and the tokens it is made of.
 */
#ifndef RLHF_JINJA_AST_H
#define RLHF_JINJA_AST_H

#include "common/jinja/value.h"

typedef enum TokenKind {
    TOKEN_DATA, /* text between tags, white space control done */
    TOKEN_PRINT_BEGIN,
    TOKEN_PRINT_END,
    TOKEN_TAG_BEGIN,
    TOKEN_TAG_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_REAL,
    TOKEN_OPERATOR,
    TOKEN_END,
} TokenKind;

typedef struct Token {
    TokenKind kind;
    uint32_t at;      /* offset in the source */
    const Text *text; /* DATA, NAME, STRING; OPERATOR: its characters */
    int64_t integer;
    double real;
} Token;

typedef enum NodeKind {
    /* Statements. */
    NODE_BODY,       /* children: statements */
    NODE_DATA,       /* text */
    NODE_PRINT,      /* [expression] */
    NODE_IF,         /* [condition, body]..., perhaps an else body */
    NODE_FOR,        /* [target, iterable, condition or NULL, body, else body or NULL] */
    NODE_SET,        /* [target, expression] */
    NODE_SET_BLOCK,  /* [target, body, filters over NODE_CAPTURED or NULL] */
    NODE_MACRO,      /* text: name; names: parameters; [body, defaults of the last ones...] */
    NODE_GENERATION, /* [body] */
    NODE_BREAK,
    NODE_CONTINUE,
    /* Expressions. */
    NODE_CONSTANT,   /* value */
    NODE_NAME,       /* text */
    NODE_MEMBER,     /* text.names[0]: a namespace's attribute as the target of set */
    NODE_CAPTURED,   /* what a block set has rendered */
    NODE_LIST,       /* children */
    NODE_TUPLE,      /* children */
    NODE_DICT,       /* key, value, key, value, ... */
    NODE_AND,        /* children, two or more */
    NODE_OR,         /* children, two or more */
    NODE_NOT,        /* [x] */
    NODE_NEGATIVE,   /* [x] */
    NODE_POSITIVE,   /* [x] */
    NODE_COMPARE,    /* children, operators between them */
    NODE_ARITHMETIC, /* children, operators of one rank between them, from left to right */
    NODE_CONCAT,     /* children: ~ */
    NODE_CONDITION,  /* [value, condition, else or NULL] */
    NODE_ATTRIBUTE,  /* [x], text: name */
    NODE_ITEM,       /* [x, index] */
    NODE_SLICE,      /* [x, begin or NULL, end or NULL, step or NULL] */
    NODE_CALL,       /* [function, arguments...], names of the last ones */
    NODE_FILTER,     /* [x, arguments...], text: name, names of the last ones */
    NODE_TEST,       /* the same */
} NodeKind;

typedef enum Operator {
    OPERATOR_ADD,
    OPERATOR_SUBTRACT,
    OPERATOR_MULTIPLY,
    OPERATOR_DIVIDE,
    OPERATOR_FLOOR,
    OPERATOR_MODULO,
    OPERATOR_POWER,
    OPERATOR_EQUAL,
    OPERATOR_UNEQUAL,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_IN,
    OPERATOR_NOT_IN,
} Operator;

typedef struct Node {
    NodeKind kind;
    uint32_t at;     /* offset in the source */
    uint32_t height; /* of the tree below, at most JINJA_NESTING_MAX for expressions */
    const Text *text;
    Value value;
    struct Node **child;
    size_t children;
    const Text **name; /* [names] */
    size_t names;
    Operator *operators; /* [children - 1] */
} Node;

extern const Text captured_name; /* the variable that NODE_CAPTURED looks up: no template's name */

struct Jinja {
    Pool pool;
    char *file;   /* for messages; owned, may be NULL */
    char *source; /* as given; owned */
    size_t source_size;
    const char *text; /* newlines are \n; what offsets refer to */
    size_t size;
    Token *token;
    size_t tokens, capacity;
    Node *root;
    bool generation;
    const Node *beyond; /* the first filter or test that is not in the subset */
};

/* Splits the template into tokens. */
bool jinja_lex(Jinja *jinja, Machine *machine);
/* The tree of the tokens: statements, and from them expressions. */
bool jinja_parse_tokens(Jinja *jinja, Machine *machine);

/* What the two halves of the parser share. */
typedef struct Parser {
    Jinja *jinja;
    Machine *machine;
    const Token *token; /* the next one */
    size_t blocks;      /* nesting */
    size_t loops;       /* for loops around */
    size_t macros;
} Parser;
bool parser_fault(const Parser *parser, uint32_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
Node *parser_node(Parser *parser, NodeKind kind, uint32_t at);
bool parser_child(Parser *parser, Node *node, size_t *capacity, Node *child);
bool parser_is(const Parser *parser, const char *operation);
bool parser_is_name(const Parser *parser, const char *name);
bool parser_skip(Parser *parser, const char *operation); /* true if it was there */
bool parser_skip_name(Parser *parser, const char *name);
bool parser_expect(Parser *parser, const char *operation);
bool parser_unexpected(const Parser *parser, const char *expected); /* always false */
/* Guards the parser's own recursion: brackets within brackets. leave gives its node back. */
bool parser_enter(Parser *parser);
Node *parser_leave(Parser *parser, Node *node);
/* A node over one child; NULL if the child is. */
Node *parser_unary(Parser *parser, NodeKind kind, uint32_t at, Node *child);
Node *parse_primary(Parser *parser, bool member); /* a name, literal, or bracket */
Node *parse_operand(Parser *parser);              /* with what stands before and behind it */
/* Items with commas between them, up to a bracket, the end of the tag or the name `end`. */
Node *parse_comma_list(Parser *parser, Node *(*item)(Parser *parser), const char *end,
                       bool parentheses);
Node *parse_expression(Parser *parser);
Node *parse_no_condition(Parser *parser); /* without if ... else */
/* Expressions with commas between them are a tuple; end: a name that ends it, or NULL. */
Node *parse_tuple(Parser *parser, bool condition, const char *end);
Node *parse_target(Parser *parser, bool member);
Node *parse_filters(Parser *parser, Node *node);

/* Evaluation. */
bool evaluate(Machine *machine, const Node *node, Value *out);
typedef enum Flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } Flow;
bool execute(Machine *machine, const Node *node, Flow *flow);
Scope *scope_push(Machine *machine, Scope *outer);
bool scope_set(Machine *machine, Scope *scope, const Text *name, Value value);
const Value *scope_find(const Scope *scope, const Text *name, size_t *looked);

/* Arguments of a call, filter or test, evaluated. */
typedef struct Arguments {
    Value *value; /* [count]; the last `names` have names */
    size_t count;
    const Text **name;
    size_t names;
} Arguments;
/* The argument at a position (-1: by name only) or with a name, if it is there. */
const Value *argument(const Arguments *arguments, int position, const char *name);
/* Fault unless there are from `least` to `most` arguments, the named ones being among `names`
 * (separated by spaces). */
bool arguments_fit(Machine *machine, const Arguments *arguments, const char *what, size_t least,
                   size_t most, const char *names);
bool call_value(Machine *machine, Value function, const Arguments *arguments, Value *out);
bool call_macro(Machine *machine, const Macro *macro, const Arguments *arguments, Value *out);
bool call_global(Machine *machine, const char *name, const Arguments *arguments, Value *out);
bool call_method(Machine *machine, const Method *method, const Arguments *arguments, Value *out);
bool call_text_method(Machine *machine, const Text *self, const Text *name,
                      const Arguments *arguments, Value *out);
bool call_filter(Machine *machine, const Text *name, Value self, const Arguments *arguments,
                 Value *out);
bool call_test(Machine *machine, const Text *name, Value self, const Arguments *arguments,
               bool *out);
bool filter_known(const Text *name);
bool test_known(const Text *name);
/* A name that no variable has. */
bool find_global(Machine *machine, const Text *name, Value *out);
/* x.name and x[index]. */
bool get_attribute(Machine *machine, Value self, const Text *name, Value *out);
bool get_item(Machine *machine, Value self, Value index, Value *out);
bool get_slice(Machine *machine, Value self, const Value bound[3], Value *out);
bool arithmetic(Machine *machine, Operator operation, Value a, Value b, Value *out);
bool compare(Machine *machine, Operator operation, Value a, Value b, bool *out);

#endif
