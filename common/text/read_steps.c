/* SPDX-License-Identifier: MIT
 *
 * The normalizer and the pre-tokenizer of a tokenizer.json: each step is computed or refused by its
 * name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

enum { NESTING_MAX = 8 };

static bool is_absent(const cJSON *item) {
    return item == NULL || cJSON_IsNull(item);
}

const char *tokenizer_type(const cJSON *item) {
    const char *type = json_string(json_member(item, "type"));
    return type == NULL ? "" : type;
}

bool tokenizer_unsupported(const Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                           const char *known, Error *err) {
    char found[64];
    const char *type = tokenizer_type(item);
    bool named = *type != '\0';
    return tokenizer_fault(
        tokenizer, dotted, err, "%s%s%s is not supported, only %s", named ? "type \"" : "",
        named ? type : json_describe(item, found, sizeof found), named ? "\"" : "", known);
}

static bool read_nested(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                        const char *list, StepReader *read, int depth, Error *err) {
    if (strcmp(tokenizer_type(item), "Sequence") != 0) {
        return read(tokenizer, item, dotted, err);
    }
    const cJSON *steps = json_member(item, list);
    if (!cJSON_IsArray(steps) || depth == NESTING_MAX) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "expected a Sequence with an array \"%s\", nested at most %d deep",
                               list, NESTING_MAX);
    }
    size_t i = 0;
    for (const cJSON *step = steps->child; step != NULL; step = step->next) {
        Str path = {0};
        str_appendf(&path, "%s.%s[%zu]", dotted, list, i++);
        bool ok = str_ok(&path, err) &&
                  read_nested(tokenizer, step, str_text(&path), list, read, depth + 1, err);
        str_done(&path);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool tokenizer_read_steps(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                          const char *list, StepReader *read, Error *err) {
    return is_absent(item) || read_nested(tokenizer, item, dotted, list, read, 0, err);
}

bool tokenizer_copy_content(const Tokenizer *tokenizer, const char *dotted, const char *content,
                            char **out, Error *err) {
    if (strlen(content) > CONTENT_MAX) {
        return tokenizer_fault(tokenizer, dotted, err, "puts in %zu bytes, at most %d are allowed",
                               strlen(content), CONTENT_MAX);
    }
    *out = mem_strdup(content, err);
    return *out != NULL;
}

bool tokenizer_read_pattern(Tokenizer *tokenizer, const cJSON *object, const char *dotted,
                            Matcher *out, Error *err) {
    const cJSON *pattern = json_member(object, "pattern");
    const char *regex = json_string(json_member(pattern, "Regex"));
    const char *literal = json_string(json_member(pattern, "String"));
    if (literal != NULL && *literal != '\0') {
        return matcher_literal(out, literal, strlen(literal), err);
    }
    if (regex == NULL || *regex == '\0') {
        return tokenizer_fault(tokenizer, dotted, err, "expected a pattern, Regex or String");
    }
    return matcher_compile(out, regex, tokenizer->source, err);
}

/* Base 64 (RFC 4648) with padding; false if it is anything else. */
static bool decode_base64(const char *text, Str *out) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int8_t value[256];
    memset(value, -1, sizeof value);
    for (int i = 0; i < 64; i++) {
        value[(unsigned char)alphabet[i]] = (int8_t)i;
    }
    size_t n = strlen(text), padding = n > 0 && text[n - 1] == '=' ? 1 : 0;
    padding += padding == 1 && n > 1 && text[n - 2] == '=' ? 1 : 0;
    if (n % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits = 0;
        size_t used = i + 4 == n ? 4 - padding : 4;
        for (size_t j = 0; j < 4; j++) {
            int8_t digit = j < used ? value[(unsigned char)text[i + j]] : 0;
            if (digit < 0) {
                return false;
            }
            bits = bits << 6 | (uint32_t)digit;
        }
        const char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        str_append_bytes(out, bytes, used - 1);
    }
    return true;
}

static bool read_precompiled(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                             Normalizer *step, Error *err) {
    const char *text = NULL;
    Str bytes = {0};
    if (!tokenizer_read_string(tokenizer, item, dotted, "precompiled_charsmap", &text, err)) {
        return false;
    }
    bool ok = decode_base64(text, &bytes) ||
              tokenizer_fault(tokenizer, dotted, err, "precompiled_charsmap is not base 64");
    ok = ok && str_ok(&bytes, err) &&
         charsmap_read(&step->map, str_text(&bytes), bytes.size, tokenizer->source, err);
    str_done(&bytes);
    return ok;
}

static bool read_bert(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Normalizer *step,
                      Error *err) {
    step->clean = step->chinese = step->lower = true;
    if (!tokenizer_read_flag(tokenizer, item, dotted, "clean_text", &step->clean, err) ||
        !tokenizer_read_flag(tokenizer, item, dotted, "handle_chinese_chars", &step->chinese,
                             err) ||
        !tokenizer_read_flag(tokenizer, item, dotted, "lowercase", &step->lower, err)) {
        return false;
    }
    step->accents = step->lower;
    return tokenizer_read_flag(tokenizer, item, dotted, "strip_accents", &step->accents, err);
}

static bool read_normalizer(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                            Error *err) {
    static const struct {
        const char *name;
        NormalizerKind kind;
        NormalForm form;
    } kinds[] = {
        {"NFC",            NORMALIZER_FORM,          FORM_NFC },
        {"NFD",            NORMALIZER_FORM,          FORM_NFD },
        {"NFKC",           NORMALIZER_FORM,          FORM_NFKC},
        {"NFKD",           NORMALIZER_FORM,          FORM_NFKD},
        {"Lowercase",      NORMALIZER_LOWERCASE,     FORM_NFC },
        {"StripAccents",   NORMALIZER_STRIP_ACCENTS, FORM_NFC },
        {"BertNormalizer", NORMALIZER_BERT,          FORM_NFC },
        {"Nmt",            NORMALIZER_NMT,           FORM_NFC },
        {"ByteLevel",      NORMALIZER_BYTE_LEVEL,    FORM_NFC },
        {"Strip",          NORMALIZER_STRIP,         FORM_NFC },
        {"Prepend",        NORMALIZER_PREPEND,       FORM_NFC },
        {"Replace",        NORMALIZER_REPLACE,       FORM_NFC },
        {"Precompiled",    NORMALIZER_CHARSMAP,      FORM_NFC },
    };
    const char *type = tokenizer_type(item), *content = NULL;
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && strcmp(type, kinds[i].name) != 0) {
        i++;
    }
    if (i == sizeof kinds / sizeof *kinds) {
        return tokenizer_unsupported(
            tokenizer, item, dotted,
            "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, BertNormalizer, Nmt, ByteLevel, Strip, "
            "Prepend, Replace, Precompiled and Sequence",
            err);
    }
    Normalizer *step = NULL;
    if (!tokenizer_put_normalizer(tokenizer, kinds[i].kind, &step, err)) {
        return false;
    }
    step->form = kinds[i].form;
    switch (step->kind) {
    case NORMALIZER_BERT:
        return read_bert(tokenizer, item, dotted, step, err);
    case NORMALIZER_CHARSMAP:
        return read_precompiled(tokenizer, item, dotted, step, err);
    case NORMALIZER_STRIP:
        step->left = step->right = true;
        return tokenizer_read_flag(tokenizer, item, dotted, "strip_left", &step->left, err) &&
               tokenizer_read_flag(tokenizer, item, dotted, "strip_right", &step->right, err);
    case NORMALIZER_PREPEND:
    case NORMALIZER_REPLACE: {
        bool replace = step->kind == NORMALIZER_REPLACE;
        if (!tokenizer_read_string(tokenizer, item, dotted, replace ? "content" : "prepend",
                                   &content, err) ||
            (replace && !tokenizer_read_pattern(tokenizer, item, dotted, &step->matcher, err))) {
            return false;
        }
        return tokenizer_copy_content(tokenizer, dotted, content, &step->content, err);
    }
    default:
        return true;
    }
}

bool tokenizer_read_normalizer(Tokenizer *tokenizer, const cJSON *item, Error *err) {
    return tokenizer_read_steps(tokenizer, item, "normalizer", "normalizers", read_normalizer, err);
}

static bool read_behavior(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                          SplitBehavior *out, Error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = json_string(json_member(item, "behavior"));
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (SplitBehavior)i;
            return true;
        }
    }
    return tokenizer_fault(tokenizer, dotted, err,
                           "behavior \"%s\" is not supported, only Removed, Isolated, "
                           "MergedWithPrevious, MergedWithNext and Contiguous",
                           name == NULL ? "" : name);
}

static bool read_metaspace(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                           Stage *stage, Error *err) {
    static const char *const schemes[] = {"never", "first", "always"};
    const char *sign = NULL;
    bool add = true, split = true;
    if (!tokenizer_read_string(tokenizer, item, dotted, "replacement", &sign, err) ||
        !tokenizer_read_flag(tokenizer, item, dotted, "add_prefix_space", &add, err) ||
        !tokenizer_read_flag(tokenizer, item, dotted, "split", &split, err)) {
        return false;
    }
    if (*sign == '\0' || utf8_decode(sign, strlen(sign), NULL) != strlen(sign)) {
        return tokenizer_fault(tokenizer, dotted, err, "the replacement has to be one character");
    }
    const cJSON *scheme = json_member(item, "prepend_scheme");
    const char *name = scheme == NULL ? (add ? "always" : "never") : json_string(scheme);
    size_t i = 0;
    while (i < 3 && (name == NULL || strcmp(name, schemes[i]) != 0)) {
        i++;
    }
    if (i == 3 || (!add && i != PREPEND_NEVER)) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "expected a prepend_scheme \"never\", \"first\" or \"always\" that "
                               "agrees with add_prefix_space");
    }
    stage->prepend = (PrependScheme)i;
    snprintf(stage->replacement, sizeof stage->replacement, "%s", sign);
    stage->behavior = SPLIT_MERGED_WITH_NEXT;
    return !split || matcher_literal(&stage->matcher, sign, strlen(sign), err);
}

static bool read_byte_level(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                            Stage *stage, Error *err) {
    bool regex = true;
    for (size_t i = 0; i + 1 < tokenizer->stages; i++) {
        if (tokenizer->stage[i].byte_level) {
            return tokenizer_fault(tokenizer, dotted, err, "a second ByteLevel is not supported");
        }
    }
    stage->prefix_space = stage->byte_level = true;
    stage->behavior = SPLIT_ISOLATED;
    return tokenizer_read_flag(tokenizer, item, dotted, "add_prefix_space", &stage->prefix_space,
                               err) &&
           tokenizer_read_flag(tokenizer, item, dotted, "use_regex", &regex, err) &&
           (!regex || matcher_compile(&stage->matcher, gpt2_pattern, tokenizer->source, err));
}

static void split_class(Stage *stage, bool (*is_member)(uint32_t code), SplitBehavior behavior) {
    stage->matcher.kind = MATCH_CLASS;
    stage->matcher.is_member = is_member;
    stage->behavior = behavior;
}

static bool read_split(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Stage *stage,
                       Error *err) {
    return tokenizer_read_flag(tokenizer, item, dotted, "invert", &stage->invert, err) &&
           read_behavior(tokenizer, item, dotted, &stage->behavior, err) &&
           tokenizer_read_pattern(tokenizer, item, dotted, &stage->matcher, err);
}

static bool read_pre_tokenizer(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                               Error *err) {
    const char *type = tokenizer_type(item), *delimiter = NULL;
    Stage *stage = NULL;
    if (!tokenizer_put_stage(tokenizer, &stage, err)) {
        return false;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        return read_byte_level(tokenizer, item, dotted, stage, err);
    }
    if (strcmp(type, "Split") == 0) {
        return read_split(tokenizer, item, dotted, stage, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace(tokenizer, item, dotted, stage, err);
    }
    if (strcmp(type, "Digits") == 0) {
        bool single = false;
        bool ok = tokenizer_read_flag(tokenizer, item, dotted, "individual_digits", &single, err);
        split_class(stage, is_number, single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
        return ok;
    }
    if (strcmp(type, "Punctuation") == 0) {
        split_class(stage, is_punctuation, SPLIT_ISOLATED);
        return json_member(item, "behavior") == NULL ||
               read_behavior(tokenizer, item, dotted, &stage->behavior, err);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        split_class(stage, is_white_space, SPLIT_REMOVED);
        return true;
    }
    if (strcmp(type, "Whitespace") == 0) {
        stage->matcher.kind = MATCH_WORDS;
        stage->invert = true;
        stage->behavior = SPLIT_REMOVED;
        return true;
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        split_class(stage, is_white_space, SPLIT_REMOVED);
        if (!tokenizer_put_stage(tokenizer, &stage, err)) {
            return false;
        }
        split_class(stage, is_punctuation, SPLIT_ISOLATED);
        return true;
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        stage->behavior = SPLIT_REMOVED;
        return tokenizer_read_string(tokenizer, item, dotted, "delimiter", &delimiter, err) &&
               (*delimiter != '\0' ||
                tokenizer_fault(tokenizer, dotted, err, "the delimiter is empty")) &&
               matcher_literal(&stage->matcher, delimiter, strlen(delimiter), err);
    }
    return tokenizer_unsupported(tokenizer, item, dotted,
                                 "ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, "
                                 "WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit and "
                                 "Sequence",
                                 err);
}

bool tokenizer_read_pre_tokenizer(Tokenizer *tokenizer, const cJSON *item, Error *err) {
    return tokenizer_read_steps(tokenizer, item, "pre_tokenizer", "pretokenizers",
                                read_pre_tokenizer, err);
}
