/* SPDX-License-Identifier: MIT
 *
 * The steps around the model in a tokenizer.json: each is computed, has no effect on ids, or is
 * refused by its name.
 */
#include <string.h>

#include "common/text/internal.h"

enum { NESTING_MAX = 8 };

static bool is_absent(const cJSON *item) {
    return item == NULL || cJSON_IsNull(item);
}

static const char *type_of(const cJSON *item) {
    const char *type = json_string(json_member(item, "type"));
    return type == NULL ? "" : type;
}

static bool unsupported(const Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                        const char *known, Error *err) {
    char found[64];
    const char *type = type_of(item);
    return tokenizer_fault(tokenizer, dotted, err, "%s%s%s is not supported, only %s",
                           *type == '\0' ? "" : "type \"",
                           *type == '\0' ? json_describe(item, found, sizeof found) : type,
                           *type == '\0' ? "" : "\"", known);
}

static bool read_split(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Error *err) {
    const cJSON *pattern = json_member(item, "pattern");
    const char *regex = json_string(json_member(pattern, "Regex"));
    const char *literal = json_string(json_member(pattern, "String"));
    const char *behavior = json_string(json_member(item, "behavior"));
    bool invert = false;
    if (!tokenizer_read_flag(tokenizer, item, dotted, "invert", &invert, err)) {
        return false;
    }
    bool removed = behavior != NULL && strcmp(behavior, "Removed") == 0;
    if (behavior == NULL || (!removed && strcmp(behavior, "Isolated") != 0)) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "behavior \"%s\" is not supported, only Isolated and Removed",
                               behavior == NULL ? "" : behavior);
    }
    Str escaped = {0};
    if (regex == NULL && literal != NULL) {
        for (const char *c = literal; *c != '\0'; c++) {
            str_append(&escaped, strchr("\\^$.[]|()?*+{}&-#", *c) != NULL ? "\\" : "");
            str_append_char(&escaped, *c);
        }
        regex = str_text(&escaped);
    }
    Stage *stage = NULL;
    bool ok = str_ok(&escaped, err);
    if (ok && (regex == NULL || *regex == '\0')) {
        ok = tokenizer_fault(tokenizer, dotted, err, "expected a pattern, Regex or String");
    }
    ok = ok && tokenizer_put_stage(tokenizer, regex, false, &stage, err);
    if (ok && removed) {
        stage->drop_matches = !invert;
        stage->drop_rest = invert;
    }
    str_done(&escaped);
    return ok;
}

static bool read_byte_level(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                            Error *err) {
    bool prefix = true, regex = true;
    return tokenizer_read_flag(tokenizer, item, dotted, "add_prefix_space", &prefix, err) &&
           tokenizer_read_flag(tokenizer, item, dotted, "use_regex", &regex, err) &&
           tokenizer_put_stage(tokenizer, regex ? gpt2_pattern : NULL, prefix, NULL, err);
}

static bool read_pre_tokenizer(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                               int depth, bool *byte_level, Error *err) {
    const char *type = type_of(item);
    if (*byte_level) {
        return tokenizer_fault(tokenizer, dotted, err, "a step after ByteLevel is not supported");
    }
    if (strcmp(type, "ByteLevel") == 0) {
        *byte_level = true;
        return read_byte_level(tokenizer, item, dotted, err);
    }
    if (strcmp(type, "Split") == 0) {
        return read_split(tokenizer, item, dotted, err);
    }
    if (strcmp(type, "Digits") == 0) {
        bool single = false;
        return tokenizer_read_flag(tokenizer, item, dotted, "individual_digits", &single, err) &&
               tokenizer_put_stage(tokenizer, single ? "\\p{N}" : "\\p{N}+", false, NULL, err);
    }
    const cJSON *list = json_member(item, "pretokenizers");
    if (strcmp(type, "Sequence") != 0 || !cJSON_IsArray(list) || depth == NESTING_MAX) {
        return unsupported(tokenizer, item, dotted, "ByteLevel, Split, Digits and Sequence", err);
    }
    size_t i = 0;
    for (const cJSON *step = list->child; step != NULL; step = step->next) {
        Str path = {0};
        str_appendf(&path, "%s.pretokenizers[%zu]", dotted, i++);
        bool ok = str_ok(&path, err) &&
                  read_pre_tokenizer(tokenizer, step, str_text(&path), depth + 1, byte_level, err);
        str_done(&path);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* Post-processors add special tokens around a text; we encode texts without them. */
static bool check_post_processor(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                                 int depth, Error *err) {
    static const char *const known[] = {"ByteLevel", "TemplateProcessing", "RobertaProcessing",
                                        "BertProcessing"};
    const char *type = type_of(item);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(type, known[i]) == 0) {
            return true;
        }
    }
    const cJSON *list = json_member(item, "processors");
    if (strcmp(type, "Sequence") != 0 || !cJSON_IsArray(list) || depth == NESTING_MAX) {
        return unsupported(tokenizer, item, dotted, "ByteLevel and TemplateProcessing", err);
    }
    size_t i = 0;
    for (const cJSON *step = list->child; step != NULL; step = step->next) {
        Str path = {0};
        str_appendf(&path, "%s.processors[%zu]", dotted, i++);
        bool ok = str_ok(&path, err) &&
                  check_post_processor(tokenizer, step, str_text(&path), depth + 1, err);
        str_done(&path);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool tokenizer_read_pipeline(Tokenizer *tokenizer, const cJSON *tree, Error *err) {
    const cJSON *normalizer = json_member(tree, "normalizer");
    const cJSON *steps = json_member(normalizer, "normalizers");
    bool nothing = strcmp(type_of(normalizer), "Sequence") == 0 && cJSON_IsArray(steps) &&
                   steps->child == NULL;
    if (!is_absent(normalizer) && !nothing) {
        return unsupported(tokenizer, normalizer, "normalizer", "null", err);
    }
    const cJSON *pre = json_member(tree, "pre_tokenizer");
    bool byte_level = false;
    if (is_absent(pre)) {
        return tokenizer_fault(tokenizer, "pre_tokenizer", err, "expected ByteLevel, found null");
    }
    if (!read_pre_tokenizer(tokenizer, pre, "pre_tokenizer", 0, &byte_level, err)) {
        return false;
    }
    if (!byte_level) {
        return tokenizer_fault(tokenizer, "pre_tokenizer", err,
                               "expected ByteLevel among its steps");
    }
    const cJSON *post = json_member(tree, "post_processor");
    if (!is_absent(post) && !check_post_processor(tokenizer, post, "post_processor", 0, err)) {
        return false;
    }
    const cJSON *decoder = json_member(tree, "decoder");
    if (strcmp(type_of(decoder), "ByteLevel") != 0) {
        return is_absent(decoder)
                   ? tokenizer_fault(tokenizer, "decoder", err, "expected ByteLevel, found null")
                   : unsupported(tokenizer, decoder, "decoder", "ByteLevel", err);
    }
    return true;
}
