/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/pipeline.h"

const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* The White_Space property. PCRE2's own \s also has U+180E, which lost the property in Unicode
 * 6.3. */
static const char white_space[] = "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}"
                                  "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

typedef struct Translation {
    const char *pattern, *at;
    const char *file;
    Str out;
} Translation;

static bool refuse(const Translation *t, size_t n, const char *why, Error *err) {
    return error_at(err, ERROR_DATA, t->file, 0, 0,
                    "pattern %s: \"%.*s\" at byte %zu is not supported (%s)", t->pattern, (int)n,
                    t->at, (size_t)(t->at - t->pattern) + 1, why);
}

static void keep(Translation *t, size_t n) {
    str_append_bytes(&t->out, t->at, n);
    t->at += n;
}

/* A general category with what newer versions of Unicode added to it. */
static void category(Translation *t, const char *name, size_t n, bool negative, bool in_class) {
    str_appendf(&t->out, "%s\\p{%.*s}", in_class ? "" : negative ? "[^" : "[", (int)n, name);
    for (size_t i = 0; i < unicode_additions_count; i++) {
        if (strncmp(unicode_additions[i].category, name, n) == 0) {
            str_append(&t->out, unicode_additions[i].codes);
        }
    }
    str_append(&t->out, in_class ? "" : "]");
}

/* \p{Name}, \P{Name}, \p{^Name}: a general category, or a script. */
static bool property(Translation *t, bool in_class, Error *err) {
    const char *name = t->at + 3;
    const char *end = t->at[2] == '{' ? strchr(name, '}') : NULL;
    if (end == NULL || end == name || end - name > 40) {
        return refuse(t, 2, "expected a property name in braces", err);
    }
    bool negative = t->at[1] == 'P';
    if (*name == '^') {
        negative = !negative;
        name++;
    }
    size_t n = (size_t)(end - name);
    for (size_t i = 0; i < n; i++) {
        if (!isalpha((unsigned char)name[i]) && name[i] != '_') {
            return refuse(t, (size_t)(end + 1 - t->at), "unknown property", err);
        }
    }
    t->at = end + 1;
    if (n > 2 || (negative && in_class)) {
        /* A bare script name would mean Script_Extensions in PCRE2, but Script elsewhere. */
        str_appendf(&t->out, "\\%c{%s%.*s}", negative ? 'P' : 'p', n > 2 ? "sc:" : "", (int)n,
                    name);
        return true;
    }
    category(t, name, n, negative, in_class);
    return true;
}

static bool escape(Translation *t, bool in_class, Error *err) {
    char c = t->at[1];
    if (c == 's' || c == 'S') {
        const char *form =
            in_class ? (c == 's' ? "%s" : "\\P{White_Space}") : (c == 's' ? "[%s]" : "[^%s]");
        str_appendf(&t->out, form, white_space);
        t->at += 2;
        return true;
    }
    if (c == 'p' || c == 'P') {
        return property(t, in_class, err);
    }
    if (c == 'd' || (c == 'D' && !in_class)) {
        category(t, "Nd", 2, c == 'D', in_class);
        t->at += 2;
        return true;
    }
    if (c == 'u') {
        for (int i = 2; i < 6; i++) {
            if (!isxdigit((unsigned char)t->at[i])) {
                return refuse(t, 2, "expected four hexadecimal digits", err);
            }
        }
        str_appendf(&t->out, "\\x{%.4s}", t->at + 2);
        t->at += 6;
        return true;
    }
    if (c != '\0' && (strchr("rntfdDx", c) != NULL || ispunct((unsigned char)c))) {
        keep(t, 2);
        return true;
    }
    return refuse(t, c == '\0' ? 1 : 2, "unknown escape", err);
}

/* A class, with classes in it as unions: their brackets are left out. */
static bool class(Translation *t, Error *err) {
    size_t depth = 1;
    keep(t, 1);
    if (*t->at == '^') {
        keep(t, 1);
    }
    if (*t->at == ']') {
        return refuse(t, 1, "an empty class", err);
    }
    while (depth > 0) {
        if (*t->at == '\0') {
            return refuse(t, 0, "a class that does not end", err);
        }
        bool border = t->at[0] == '[' || (t->at[0] == ']' && depth > 1);
        if (t->at[0] == '&' && t->at[1] == '&') {
            return refuse(t, 2, "an intersection of classes", err);
        }
        if (border && (t->at[-1] == '-' || t->at[1] == '-' || t->at[1] == ':' || t->at[1] == '^' ||
                       (t->at[0] == '[' && t->at[1] == ']'))) {
            return refuse(t, 2, "a class within a class that is more than a union", err);
        }
        if (border) {
            depth += *t->at == '[' ? 1 : (size_t)-1;
            t->at++;
        } else if (*t->at == '\\') {
            if (!escape(t, true, err)) {
                return false;
            }
        } else {
            depth -= *t->at == ']';
            keep(t, 1);
        }
    }
    return true;
}

static bool group(Translation *t, Error *err) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    if (t->at[1] != '?') {
        if (t->at[1] == '*') {
            return refuse(t, 2, "unknown group", err);
        }
        keep(t, 1);
        return true;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(t->at, known[i], strlen(known[i])) == 0) {
            keep(t, strlen(known[i]));
            return true;
        }
    }
    return refuse(t, 3, "unknown group", err);
}

/* {n}, {n,} or {n,m}; a plus sign behind it would be possessive here and a repetition there. */
static bool repetition(Translation *t, Error *err) {
    size_t i = 1;
    while (isdigit((unsigned char)t->at[i])) {
        i++;
    }
    bool ok = i > 1;
    if (t->at[i] == ',') {
        i++;
        while (isdigit((unsigned char)t->at[i])) {
            i++;
        }
    }
    if (!ok || t->at[i] != '}' || t->at[i + 1] == '+') {
        return refuse(t, 1, "expected {n}, {n,} or {n,m}", err);
    }
    keep(t, i + 1);
    return true;
}

static bool translate(Translation *t, Error *err) {
    while (*t->at != '\0') {
        bool ok = true;
        switch (*t->at) {
        case '\\':
            ok = escape(t, false, err);
            break;
        case '[':
            ok = class(t, err);
            break;
        case '(':
            ok = group(t, err);
            break;
        case '{':
            ok = repetition(t, err);
            break;
        case '^': /* of a line, there */
        case '$':
            str_appendf(&t->out, "(?m:%c)", *t->at++);
            break;
        default:
            keep(t, 1);
        }
        if (!ok) {
            return false;
        }
    }
    return str_ok(&t->out, err);
}

static pcre2_code *compile(const char *pattern, const char *shown, const char *file, Error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        error_set(err, ERROR_OS, "out of memory compiling a pattern");
        return NULL;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code = 0;
    size_t offset = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (compiled == NULL) {
        char text[256];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        error_at(err, ERROR_DATA, file, 0, 0, "pattern %s: %s", shown, text);
        return NULL;
    }
    /* Without a compiler for this processor the interpreter gives the same matches. */
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    return compiled;
}

bool matcher_compile(Matcher *matcher, const char *pattern, const char *file, Error *err) {
    if (strlen(pattern) > PATTERN_MAX) {
        return error_at(err, ERROR_DATA, file, 0, 0, "a pattern of %zu bytes, at most %d are read",
                        strlen(pattern), PATTERN_MAX);
    }
    Translation t = {.pattern = pattern, .at = pattern, .file = file};
    if (translate(&t, err)) {
        matcher->code = compile(str_text(&t.out), pattern, file, err);
    }
    str_done(&t.out);
    if (matcher->code == NULL) {
        return false;
    }
    uint32_t empty = 0;
    pcre2_pattern_info(matcher->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty != 0) {
        return error_at(err, ERROR_DATA, file, 0, 0, "pattern %s can match an empty text", pattern);
    }
    matcher->kind = MATCH_PATTERN;
    matcher->n = strlen(pattern);
    matcher->text = mem_strdup(pattern, err);
    return matcher->text != NULL;
}

bool matcher_literal(Matcher *matcher, const char *text, size_t n, Error *err) {
    matcher->kind = MATCH_LITERAL;
    matcher->n = n;
    matcher->text = mem_strndup(text, n, err);
    return matcher->text != NULL;
}

void matcher_done(Matcher *matcher) {
    free(matcher->text);
    pcre2_code_free(matcher->code);
    *matcher = (Matcher){0};
}
