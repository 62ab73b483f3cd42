/* SPDX-License-Identifier: MIT
 *
 * Statements of a template.
 */
#include "common/jinja/ast.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"

Node *parser_node(Parser *parser, NodeKind kind, uint32_t at) {
    Node *node = machine_take(parser->machine, 1, sizeof *node);
    if (node != NULL) {
        *node = (Node){.kind = kind, .at = at, .height = 1};
    }
    return node;
}

bool parser_child(Parser *parser, Node *node, size_t *capacity, Node *child) {
    if (node->children == *capacity) {
        size_t wanted = *capacity == 0 ? 4 : 2 * *capacity;
        Node **grown = machine_take(parser->machine, wanted, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (node->children > 0) {
            memcpy(grown, node->child, node->children * sizeof *grown);
        }
        node->child = grown;
        *capacity = wanted;
    }
    node->child[node->children++] = child;
    if (child != NULL && child->height >= node->height) {
        node->height = child->height + 1;
    }
    return node->height <= JINJA_NESTING_MAX || node->kind <= NODE_CONTINUE ||
           parser_fault(parser, node->at, "the expression nests deeper than %d levels",
                        JINJA_NESTING_MAX);
}

bool parser_is(const Parser *parser, const char *operation) {
    return parser->token->kind == TOKEN_OPERATOR && text_is(parser->token->text, operation);
}

bool parser_is_name(const Parser *parser, const char *name) {
    return parser->token->kind == TOKEN_NAME && text_is(parser->token->text, name);
}

bool parser_skip(Parser *parser, const char *operation) {
    bool found = parser_is(parser, operation);
    parser->token += found;
    return found;
}

bool parser_skip_name(Parser *parser, const char *name) {
    bool found = parser_is_name(parser, name);
    parser->token += found;
    return found;
}

bool parser_unexpected(const Parser *parser, const char *expected) {
    const Token *token = parser->token;
    static const char *const kinds[] = {
        [TOKEN_DATA] = "text",
        [TOKEN_PRINT_BEGIN] = "{{",
        [TOKEN_PRINT_END] = "}}",
        [TOKEN_TAG_BEGIN] = "{%",
        [TOKEN_TAG_END] = "%}",
        [TOKEN_STRING] = "a text in quotes",
        [TOKEN_INTEGER] = "a number",
        [TOKEN_REAL] = "a number",
        [TOKEN_END] = "the template's end",
    };
    const Text *text =
        token->kind == TOKEN_NAME || token->kind == TOKEN_OPERATOR ? token->text : NULL;
    size_t n = text == NULL ? 0 : text->size < 60 ? text->size : 60;
    return parser_fault(parser, token->at, "unexpected %s%.*s%s, expected %s",
                        text == NULL ? kinds[token->kind] : "\"", (int)n,
                        text == NULL ? "" : text->data, text == NULL ? "" : "\"", expected);
}

bool parser_expect(Parser *parser, const char *operation) {
    return parser_skip(parser, operation) || parser_unexpected(parser, operation);
}

static bool expect_end(Parser *parser) {
    if (parser->token->kind != TOKEN_TAG_END) {
        return parser_unexpected(parser, "%}");
    }
    parser->token++;
    return true;
}

static Node *parse_body(Parser *parser, const char *const *ends);

/* The body of a block, up to a tag that begins with one of `ends`, whose name is the next token. */
static Node *parse_block(Parser *parser, const char *const *ends) {
    parser_skip(parser, ":");
    if (parser->blocks >= JINJA_NESTING_MAX) {
        parser_fault(parser, parser->token->at, "blocks nest deeper than %d levels",
                     JINJA_NESTING_MAX);
        return NULL;
    }
    if (!expect_end(parser)) {
        return NULL;
    }
    parser->blocks++;
    Node *body = parse_body(parser, ends);
    parser->blocks--;
    return body;
}

static const char *const if_ends[] = {"elif", "else", "endif", NULL};
static const char *const endif_end[] = {"endif", NULL};
static const char *const for_ends[] = {"endfor", "else", NULL};
static const char *const endfor_end[] = {"endfor", NULL};
static const char *const set_end[] = {"endset", NULL};
static const char *const macro_end[] = {"endmacro", NULL};
static const char *const generation_end[] = {"endgeneration", NULL};

static bool add_block(Parser *parser, Node *node, size_t *capacity, const char *const *ends) {
    Node *body = parse_block(parser, ends);
    return body != NULL && parser_child(parser, node, capacity, body);
}

static Node *parse_if(Parser *parser, uint32_t at) {
    Node *node = parser_node(parser, NODE_IF, at);
    size_t capacity = 0;
    for (bool more = true; node != NULL && more;) {
        Node *condition = parse_tuple(parser, false, NULL);
        if (condition == NULL || !parser_child(parser, node, &capacity, condition) ||
            !add_block(parser, node, &capacity, if_ends)) {
            return NULL;
        }
        more = parser_skip_name(parser, "elif");
    }
    if (node != NULL && parser_skip_name(parser, "else") &&
        !add_block(parser, node, &capacity, endif_end)) {
        return NULL;
    }
    parser->token++;
    return node;
}

static Node *parse_for(Parser *parser, uint32_t at) {
    Node *node = parser_node(parser, NODE_FOR, at);
    parser->loops++;
    Node *target = node == NULL ? NULL : parse_target(parser, false);
    if (target == NULL) {
        return NULL;
    }
    if (!parser_skip_name(parser, "in")) {
        parser_unexpected(parser, "in");
        return NULL;
    }
    size_t capacity = 0;
    Node *items = parse_tuple(parser, false, "recursive"), *condition = NULL;
    if (items == NULL) {
        return NULL;
    }
    if (parser_skip_name(parser, "if")) {
        condition = parse_expression(parser);
        if (condition == NULL) {
            return NULL;
        }
    }
    if (parser_is_name(parser, "recursive")) {
        parser_fault(parser, parser->token->at, "recursive loops are not supported");
        return NULL;
    }
    bool ok = parser_child(parser, node, &capacity, target) &&
              parser_child(parser, node, &capacity, items) &&
              parser_child(parser, node, &capacity, condition);
    ok = ok && add_block(parser, node, &capacity, for_ends);
    parser->loops--;
    if (ok && parser_skip_name(parser, "else")) {
        ok = add_block(parser, node, &capacity, endfor_end);
    } else {
        ok = ok && parser_child(parser, node, &capacity, NULL);
    }
    parser->token += ok;
    return ok ? node : NULL;
}

const Text captured_name = {.data = ""};

static Node *parse_set(Parser *parser, uint32_t at) {
    Node *node = parser_node(parser, NODE_SET, at);
    Node *target = node == NULL ? NULL : parse_target(parser, true);
    size_t capacity = 0;
    if (target == NULL || !parser_child(parser, node, &capacity, target)) {
        return NULL;
    }
    if (parser_skip(parser, "=")) {
        Node *value = parse_tuple(parser, true, NULL);
        return value != NULL && parser_child(parser, node, &capacity, value) ? node : NULL;
    }
    node->kind = NODE_SET_BLOCK;
    Node *filters = NULL;
    if (parser_is(parser, "|")) {
        filters = parser_node(parser, NODE_CAPTURED, at);
        if (filters != NULL) {
            filters->text = &captured_name;
            filters = parse_filters(parser, filters);
        }
        if (filters == NULL) {
            return NULL;
        }
    }
    if (!add_block(parser, node, &capacity, set_end)) {
        return NULL;
    }
    parser->token++;
    return parser_child(parser, node, &capacity, filters) ? node : NULL;
}

/* (a, b, c=1): names into the node, defaults into the children behind the body's place. */
static bool parse_parameters(Parser *parser, Node *node, size_t *capacity) {
    size_t room = 0;
    while (!parser_is(parser, ")")) {
        if (node->names > 0 && !parser_expect(parser, ",")) {
            return false;
        }
        if (parser->token->kind != TOKEN_NAME) {
            return parser_unexpected(parser, "a parameter's name");
        }
        if (node->names == room) {
            room = room == 0 ? 8 : 2 * room;
            const Text **grown = machine_take(parser->machine, room, sizeof *grown);
            if (grown == NULL) {
                return false;
            }
            if (node->names > 0) {
                memcpy(grown, node->name, node->names * sizeof *grown);
            }
            node->name = grown;
        }
        node->name[node->names++] = parser->token++->text;
        if (parser_skip(parser, "=")) {
            Node *value = parse_expression(parser);
            if (value == NULL || !parser_child(parser, node, capacity, value)) {
                return false;
            }
        } else if (node->children > 1) {
            return parser_fault(parser, parser->token->at,
                                "a parameter without a default stands behind one that has it");
        }
    }
    parser->token++;
    return true;
}

static Node *parse_macro(Parser *parser, uint32_t at) {
    Node *node = parser_node(parser, NODE_MACRO, at);
    size_t capacity = 0;
    if (node == NULL || parser->token->kind != TOKEN_NAME) {
        parser_unexpected(parser, "the macro's name");
        return NULL;
    }
    node->text = parser->token++->text;
    if (!parser_child(parser, node, &capacity, NULL) || !parser_expect(parser, "(") ||
        !parse_parameters(parser, node, &capacity)) {
        return NULL;
    }
    size_t loops = parser->loops;
    parser->loops = 0;
    parser->macros++;
    node->child[0] = parse_block(parser, macro_end);
    parser->macros--;
    parser->loops = loops;
    parser->token++;
    return node->child[0] == NULL ? NULL : node;
}

static Node *parse_generation(Parser *parser, uint32_t at) {
    Node *node = parser_node(parser, NODE_GENERATION, at);
    size_t capacity = 0;
    parser->jinja->generation = true;
    size_t loops = parser->loops;
    parser->loops = 0; /* its body is a function of its own in Jinja2 */
    bool ok = node != NULL && add_block(parser, node, &capacity, generation_end);
    parser->loops = loops;
    parser->token += ok;
    return ok ? node : NULL;
}

static Node *refuse_tag(const Parser *parser, const Token *token) {
    static const char *const known[] = {"include", "import", "from",       "extends", "block",
                                        "filter",  "call",   "autoescape", "with",    "do",
                                        "debug",   "trans",  "print"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (text_is(token->text, known[i])) {
            parser_fault(parser, token->at,
                         "{%% %s %%} is not supported; use a built-in layout, or write the "
                         "template without it",
                         known[i]);
            return NULL;
        }
    }
    parser_fault(parser, token->at, "unknown tag \"%.*s\"%s", (int)token->text->size,
                 token->text->data,
                 token->text->size > 3 && memcmp(token->text->data, "end", 3) == 0
                     ? ", or the end of a block that is not open here"
                     : "");
    return NULL;
}

static Node *parse_statement(Parser *parser) {
    const Token *token = parser->token;
    if (token->kind != TOKEN_NAME) {
        parser_unexpected(parser, "the name of a tag");
        return NULL;
    }
    parser->token++;
    static const struct {
        const char *name;
        Node *(*parse)(Parser *parser, uint32_t at);
    } tags[] = {
        {"if",         parse_if        },
        {"for",        parse_for       },
        {"set",        parse_set       },
        {"macro",      parse_macro     },
        {"generation", parse_generation},
    };
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (text_is(token->text, tags[i].name)) {
            return tags[i].parse(parser, token->at);
        }
    }
    bool ends = text_is(token->text, "break");
    if (!ends && !text_is(token->text, "continue")) {
        return refuse_tag(parser, token);
    }
    if (parser->loops == 0) {
        parser_fault(parser, token->at, "%s stands outside of a loop", ends ? "break" : "continue");
        return NULL;
    }
    return parser_node(parser, ends ? NODE_BREAK : NODE_CONTINUE, token->at);
}

static bool ends_here(const Parser *parser, const char *const *ends) {
    for (size_t i = 0; ends != NULL && ends[i] != NULL; i++) {
        if (parser_is_name(parser, ends[i])) {
            return true;
        }
    }
    return false;
}

static Node *parse_print(Parser *parser) {
    Node *node = parser_node(parser, NODE_PRINT, parser->token[-1].at);
    size_t capacity = 0;
    Node *value = node == NULL ? NULL : parse_tuple(parser, true, NULL);
    if (value == NULL || !parser_child(parser, node, &capacity, value)) {
        return NULL;
    }
    if (parser->token->kind != TOKEN_PRINT_END) {
        parser_unexpected(parser, "}}");
        return NULL;
    }
    parser->token++;
    return node;
}

static bool parse_end_of_body(Parser *parser, const char *const *ends) {
    if (ends == NULL) {
        return true;
    }
    return parser_fault(parser, parser->token->at,
                        "the template ends within a block, expected %s%s%s", ends[0],
                        ends[1] == NULL ? "" : " or ", ends[1] == NULL ? "" : ends[1]);
}

/* Statements up to a tag of `ends` (NULL: to the end of the template). */
static Node *parse_body(Parser *parser, const char *const *ends) {
    Node *body = parser_node(parser, NODE_BODY, parser->token->at);
    size_t capacity = 0;
    while (body != NULL) {
        const Token *token = parser->token;
        Node *node = NULL;
        if (token->kind == TOKEN_END) {
            return parse_end_of_body(parser, ends) ? body : NULL;
        }
        parser->token++;
        if (token->kind == TOKEN_DATA) {
            node = parser_node(parser, NODE_DATA, token->at);
            if (node != NULL) {
                node->text = token->text;
            }
        } else if (token->kind == TOKEN_PRINT_BEGIN) {
            node = parse_print(parser);
        } else {
            if (ends_here(parser, ends)) {
                return body;
            }
            node = parse_statement(parser);
            if (node == NULL || !expect_end(parser)) {
                return NULL;
            }
        }
        if (node == NULL || !parser_child(parser, body, &capacity, node)) {
            return NULL;
        }
    }
    return NULL;
}

bool jinja_parse_tokens(Jinja *jinja, Machine *machine) {
    Parser parser = {.jinja = jinja, .machine = machine, .token = jinja->token};
    jinja->root = parse_body(&parser, NULL);
    return jinja->root != NULL;
}
