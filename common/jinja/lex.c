/* SPDX-License-Identifier: MIT
 *
 * Templates to tokens, white space control included: trim_blocks and lstrip_blocks are on, the last
 * newline of the template is dropped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/jinja/ast.h"
#include "common/jinja/strings.h"

typedef struct Lexer {
    Jinja *jinja;
    Machine *machine;
    Parser place; /* for messages */
    const char *text;
    size_t size, at;
    bool line_starting; /* the last tag ended in a newline */
    char *open;         /* brackets that wait for their partners */
    size_t opened, open_capacity;
} Lexer;

static bool fault(const Lexer *lexer, size_t at, const char *text) {
    return parser_fault(&lexer->place, (uint32_t)at, "%s", text);
}

static Token *push(Lexer *lexer, TokenKind kind, size_t at) {
    Jinja *jinja = lexer->jinja;
    if (!mem_reserve(&jinja->token, &jinja->capacity, jinja->tokens + 1, sizeof *jinja->token,
                     lexer->machine->err)) {
        return NULL;
    }
    Token *token = &jinja->token[jinja->tokens++];
    *token = (Token){.kind = kind, .at = (uint32_t)at};
    return token;
}

static bool push_text(Lexer *lexer, TokenKind kind, size_t at, const char *text, size_t n) {
    Token *token = push(lexer, kind, at);
    if (token == NULL) {
        return false;
    }
    Text *slice = machine_take(lexer->machine, 1, sizeof *slice);
    if (slice == NULL) {
        return false;
    }
    *slice = (Text){.data = text, .size = (uint32_t)n};
    token->text = slice;
    return true;
}

static bool looking_at(const Lexer *lexer, size_t at, const char *what) {
    size_t n = strlen(what);
    return lexer->size - at >= n && memcmp(lexer->text + at, what, n) == 0;
}

static size_t skip_space(const Lexer *lexer, size_t at) {
    return at + space_before(lexer->text + at, lexer->size - at, NULL);
}

/* The data before a tag, cut as the tag's sign and lstrip_blocks want. */
static bool push_data(Lexer *lexer, size_t begin, size_t end, char sign, bool print) {
    const char *text = lexer->text;
    if (sign == '-') {
        end -= space_after(text + begin, end - begin, NULL);
    } else if (sign != '+' && !print) {
        size_t line = end;
        while (line > begin && text[line - 1] != '\n') {
            line--;
        }
        if ((line > begin || lexer->line_starting) &&
            space_before(text + line, end - line, NULL) == end - line) {
            end = line;
        }
    }
    return end == begin || push_text(lexer, TOKEN_DATA, begin, text + begin, end - begin);
}

/* Moves behind the end of a tag, which begins at `at` with perhaps a sign. */
static void end_tag(Lexer *lexer, size_t at, bool trim_newline) {
    bool strip = lexer->text[at] == '-', keep = lexer->text[at] == '+';
    at += strip || keep ? 3 : 2;
    if (strip) {
        at = skip_space(lexer, at);
    } else if (!keep && trim_newline && at < lexer->size && lexer->text[at] == '\n') {
        at++;
    }
    lexer->at = at;
    lexer->line_starting = lexer->text[at - 1] == '\n';
}

static bool lex_comment(Lexer *lexer, size_t begin, size_t inside) {
    size_t at = inside;
    while (at < lexer->size && !looking_at(lexer, at, "#}")) {
        at++;
    }
    if (at >= lexer->size) {
        return fault(lexer, begin, "the comment has no end, expected #}");
    }
    bool sign = at > inside && (lexer->text[at - 1] == '-' || lexer->text[at - 1] == '+');
    end_tag(lexer, sign ? at - 1 : at, true);
    return true;
}

/* Whether a tag of one word such as {%- raw -%} stands at `at`; *end is where its %} begins, its
 * sign included. */
static bool word_tag(const Lexer *lexer, size_t at, const char *word, bool plus, char *sign,
                     size_t *end) {
    if (!looking_at(lexer, at, "{%")) {
        return false;
    }
    at += 2;
    *sign = at < lexer->size && (lexer->text[at] == '-' || lexer->text[at] == '+')
                ? lexer->text[at++]
                : '\0';
    at = skip_space(lexer, at);
    if (!looking_at(lexer, at, word)) {
        return false;
    }
    *end = skip_space(lexer, at + strlen(word));
    return looking_at(lexer, *end, "%}") || looking_at(lexer, *end, "-%}") ||
           (plus && looking_at(lexer, *end, "+%}"));
}

static bool lex_raw(Lexer *lexer, size_t begin) {
    size_t from = lexer->at, end = 0;
    char sign = '\0';
    for (size_t at = from; at < lexer->size; at++) {
        if (lexer->text[at] == '{' && word_tag(lexer, at, "endraw", true, &sign, &end)) {
            if (!push_data(lexer, from, at, sign, false)) {
                return false;
            }
            end_tag(lexer, end, true);
            return true;
        }
    }
    return fault(lexer, begin, "{% raw %} has no {% endraw %}");
}

static size_t name_size(const Lexer *lexer, size_t at) {
    size_t end = at;
    while (end < lexer->size) {
        unsigned char c = (unsigned char)lexer->text[end];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (c < '0' || c > '9' || end == at)) {
            break;
        }
        end++;
    }
    return end - at;
}

static int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

/* Digits of a base with single underscores between them (and before the first, if `after`);
 * copied without them. */
static size_t digits(const Lexer *lexer, size_t at, int base, bool after, char *out, size_t room,
                     size_t *n) {
    size_t begin = at;
    while (at < lexer->size) {
        size_t next = at + (lexer->text[at] == '_' && (after || at > begin));
        if (next >= lexer->size || digit(lexer->text[next]) >= base) {
            break;
        }
        if (*n + 1 < room) {
            out[(*n)++] = lexer->text[next];
        }
        at = next + 1;
    }
    out[*n] = '\0';
    return at - begin;
}

/* A float, if one stands here; returns its bytes. */
static size_t lex_real(Lexer *lexer, size_t at, char out[128]) {
    size_t n = 0, end = at + digits(lexer, at, 10, false, out, 100, &n);
    bool real = false;
    if (end < lexer->size && lexer->text[end] == '.' && end + 1 < lexer->size &&
        digit(lexer->text[end + 1]) < 10) {
        out[n++] = '.';
        end++;
        end += digits(lexer, end, 10, false, out, 110, &n);
        real = true;
    }
    size_t e = end;
    if (e < lexer->size && (lexer->text[e] == 'e' || lexer->text[e] == 'E')) {
        size_t sign =
            e + 1 < lexer->size && (lexer->text[e + 1] == '+' || lexer->text[e + 1] == '-');
        if (e + 1 + sign < lexer->size && digit(lexer->text[e + 1 + sign]) < 10) {
            out[n++] = 'e';
            if (sign > 0) {
                out[n++] = lexer->text[e + 1];
            }
            end = e + 1 + sign;
            end += digits(lexer, end, 10, false, out, 127, &n);
            real = true;
        }
    }
    return real ? end - at : 0;
}

static bool lex_number(Lexer *lexer) {
    size_t at = lexer->at, n = 0;
    char text[128];
    size_t size = at > 0 && lexer->text[at - 1] == '.' ? 0 : lex_real(lexer, at, text);
    if (size > 0) {
        Token *token = push(lexer, TOKEN_REAL, at);
        if (token != NULL) {
            token->real = strtod(text, NULL);
        }
        lexer->at += size;
        return token != NULL;
    }
    int base = 10;
    char prefix = at + 1 < lexer->size && lexer->text[at] == '0' ? lexer->text[at + 1] : '\0';
    if (prefix != '\0' && strchr("bBoOxX", prefix) != NULL) {
        base = prefix == 'b' || prefix == 'B' ? 2 : prefix == 'o' || prefix == 'O' ? 8 : 16;
        size = digits(lexer, at + 2, base, true, text, sizeof text, &n);
        size = size > 0 ? size + 2 : 0;
    }
    if (size == 0) { /* 0 stands alone: 012 are two numbers */
        n = 0;
        base = 10;
        size = digits(lexer, at, lexer->text[at] == '0' ? 1 : 10, false, text, sizeof text, &n);
    }
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, base);
    if (n > 63 || value > INT64_MAX) {
        return fault(lexer, at, "the number does not fit 64 bits");
    }
    Token *token = push(lexer, TOKEN_INTEGER, at);
    if (token != NULL) {
        token->integer = (int64_t)value;
    }
    lexer->at += size;
    return token != NULL;
}

/* \x, \u, \U with their digits, or up to three octal ones. */
static size_t escaped_code(const Lexer *lexer, size_t at, size_t end, uint32_t *code) {
    char kind = lexer->text[at];
    size_t wanted = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    *code = 0;
    if (wanted > 0) {
        for (size_t i = 1; i <= wanted; i++) {
            if (at + i >= end || digit(lexer->text[at + i]) >= 16 || *code > 0x10FFFFF) {
                return 0;
            }
            *code = *code * 16 + (uint32_t)digit(lexer->text[at + i]);
        }
        return wanted + 1;
    }
    size_t n = 0;
    while (n < 3 && at + n < end && digit(lexer->text[at + n]) < 8) {
        *code = *code * 8 + (uint32_t)digit(lexer->text[at + n++]);
    }
    return n;
}

/* One escape behind its backslash, at `at`; returns its bytes, 0 if it is none of Python's. */
static bool put_escape(Lexer *lexer, Builder *out, size_t *at, size_t end) {
    static const char from[] = "\n\\'\"abfnrtv";
    static const char to[] = {0, '\\', '\'', '"', '\a', '\b', '\f', '\n', '\r', '\t', '\v'};
    char c = lexer->text[*at];
    const char *simple = c == '\0' ? NULL : strchr(from, c);
    if (simple != NULL) {
        ++*at;
        return simple == from || builder_bytes(out, &to[simple - from], 1, 0);
    }
    if (c == 'N') {
        return fault(lexer, *at, "\\N{...} in a text is not supported");
    }
    if (strchr("xuU01234567", c) == NULL || c == '\0') {
        return builder_bytes(out, "\\", 1, 0); /* an unknown escape stays as it is */
    }
    uint32_t code;
    size_t n = escaped_code(lexer, *at, end, &code);
    if (n == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
        return fault(lexer, *at, "the escape in the text is not that of a character");
    }
    *at += n;
    return builder_code(out, code, 0);
}

static bool lex_string(Lexer *lexer) {
    size_t begin = lexer->at, end = begin + 1;
    char quote = lexer->text[begin];
    while (end < lexer->size && lexer->text[end] != quote) {
        end += lexer->text[end] == '\\' ? 2 : 1;
    }
    if (end >= lexer->size) {
        return fault(lexer, begin, "the text has no end, expected its quote");
    }
    Builder out = {.machine = lexer->machine};
    bool ok = true;
    for (size_t at = begin + 1; ok && at < end;) {
        const char *stop = memchr(lexer->text + at, '\\', end - at);
        size_t plain = stop == NULL ? end : (size_t)(stop - lexer->text);
        ok = builder_bytes(&out, lexer->text + at, plain - at, 0);
        at = plain;
        if (ok && at < end) {
            at++;
            ok = put_escape(lexer, &out, &at, end);
        }
    }
    Token *token = ok ? push(lexer, TOKEN_STRING, begin) : NULL;
    if (token != NULL) {
        token->text = builder_finish(&out);
    }
    lexer->at = end + 1;
    return token != NULL && token->text != NULL;
}

static bool lex_operator(Lexer *lexer) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t at = lexer->at, n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        n = looking_at(lexer, at, two[i]) ? 2 : n;
    }
    char c = lexer->text[at];
    if (n == 1 && (c == '\0' || strchr("+-/*%~[](){}<>=.:|,;", c) == NULL)) {
        return fault(lexer, at,
                     (unsigned char)c < 0x80
                         ? "unexpected character in a tag"
                         : "unexpected character in a tag; names are ASCII here");
    }
    if (strchr("([{", c) != NULL) {
        if (!mem_reserve(&lexer->open, &lexer->open_capacity, lexer->opened + 1, 1,
                         lexer->machine->err)) {
            return false;
        }
        lexer->open[lexer->opened++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c) != NULL) {
        if (lexer->opened == 0 || lexer->open[--lexer->opened] != c) {
            return fault(lexer, at, "the bracket closes none");
        }
    }
    lexer->at += n;
    return push_text(lexer, TOKEN_OPERATOR, at, lexer->text + at, n);
}

/* The end of the tag, if it stands here: its sign may stand before it. */
static bool lex_end(Lexer *lexer, bool print, bool *found) {
    const char *ends[] = {"-}}", "}}", "-%}", "+%}", "%}"};
    *found = false;
    for (size_t i = print ? 0 : 2; lexer->opened == 0 && i < (print ? 2 : 5) && !*found; i++) {
        *found = looking_at(lexer, lexer->at, ends[i]);
    }
    if (!*found) {
        return true;
    }
    Token *token = push(lexer, print ? TOKEN_PRINT_END : TOKEN_TAG_END, lexer->at);
    end_tag(lexer, lexer->at, !print);
    return token != NULL;
}

static bool lex_inside(Lexer *lexer, size_t begin, bool print) {
    bool found = false;
    lexer->opened = 0;
    while (lexer->at < lexer->size) {
        if (!lex_end(lexer, print, &found)) {
            return false;
        }
        if (found) {
            return true;
        }
        size_t next = skip_space(lexer, lexer->at);
        if (next > lexer->at) {
            lexer->at = next;
            continue;
        }
        char c = lexer->text[lexer->at];
        size_t name = name_size(lexer, lexer->at);
        bool ok = true;
        if (name > 0) {
            ok = push_text(lexer, TOKEN_NAME, lexer->at, lexer->text + lexer->at, name);
            lexer->at += name;
        } else if (c >= '0' && c <= '9') {
            ok = lex_number(lexer);
        } else {
            ok = c == '\'' || c == '"' ? lex_string(lexer) : lex_operator(lexer);
        }
        if (!ok) {
            return false;
        }
    }
    return fault(lexer, begin,
                 print ? "the tag has no end, expected }}" : "the tag has no end, expected %}");
}

/* One tag at `at`, data before it from `begin`. */
static bool lex_tag(Lexer *lexer, size_t begin, size_t at) {
    char kind = lexer->text[at + 1], sign = '\0';
    size_t end = 0;
    if (kind == '%' && word_tag(lexer, at, "raw", false, &sign, &end)) {
        if (!push_data(lexer, begin, at, sign, false)) {
            return false;
        }
        end_tag(lexer, end, false);
        return lex_raw(lexer, at);
    }
    size_t inside = at + 2;
    sign = inside < lexer->size && (lexer->text[inside] == '-' || lexer->text[inside] == '+')
               ? lexer->text[inside++]
               : '\0';
    if (!push_data(lexer, begin, at, sign, kind == '{')) {
        return false;
    }
    if (kind == '#') {
        return lex_comment(lexer, at, inside);
    }
    lexer->at = inside;
    return push(lexer, kind == '{' ? TOKEN_PRINT_BEGIN : TOKEN_TAG_BEGIN, at) != NULL &&
           lex_inside(lexer, at, kind == '{');
}

static bool lex_all(Lexer *lexer) {
    while (lexer->at < lexer->size) {
        size_t begin = lexer->at, at = begin;
        while (at + 1 < lexer->size &&
               !(lexer->text[at] == '{' && strchr("{%#", lexer->text[at + 1]) != NULL &&
                 lexer->text[at + 1] != '\0')) {
            at++;
        }
        if (at + 1 >= lexer->size) {
            size_t n = lexer->size - begin;
            lexer->at = lexer->size;
            return push_text(lexer, TOKEN_DATA, begin, lexer->text + begin, n) &&
                   push(lexer, TOKEN_END, lexer->size) != NULL;
        }
        if (!lex_tag(lexer, begin, at)) {
            return false;
        }
    }
    return push(lexer, TOKEN_END, lexer->size) != NULL;
}

bool jinja_lex(Jinja *jinja, Machine *machine) {
    Lexer lexer = {
        .jinja = jinja,
        .machine = machine,
        .place = {.jinja = jinja, .machine = machine},
        .text = jinja->text,
        .size = jinja->size,
        .line_starting = true
    };
    bool ok = lex_all(&lexer);
    free(lexer.open);
    return ok;
}
