/* SPDX-License-Identifier: MIT */
#include "common/text/vocabulary.h"

#include <string.h>

#include "common/text/internal.h"

VocabularyKind vocabulary_kind(const Tokenizer *tokenizer) {
    switch (tokenizer->kind) {
    case MODEL_UNIGRAM:
        return VOCABULARY_UNIGRAM;
    case MODEL_WORDPIECE:
        return VOCABULARY_WORDPIECE;
    case MODEL_BPE:
        break;
    }
    bool bytes = tokenizer->stages > 0 && tokenizer->stage[tokenizer->stages - 1].byte_level;
    return bytes && tokenizer->prefix == NULL && tokenizer->suffix == NULL ? VOCABULARY_BYTES
                                                                           : VOCABULARY_CHARACTERS;
}

const char *vocabulary_kind_name(VocabularyKind kind) {
    static const char *const names[] = {"byte-level BPE", "BPE on characters", "Unigram",
                                        "WordPiece"};
    return names[kind];
}

static const AddedToken *added_token(const Tokenizer *tokenizer, int32_t id) {
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        if (tokenizer->added[i].id == id) {
            return &tokenizer->added[i];
        }
    }
    return NULL;
}

/* A symbol that SentencePiece takes as it is. */
static bool is_whole(const Tokenizer *tokenizer, const char *text) {
    size_t n = strlen(text), length = 0;
    return trie_longest(&tokenizer->whole, TRIE_ROOT, text, n, &length) >= 0 && length == n;
}

static bool is_byte(const Tokenizer *tokenizer, int32_t id) {
    const char *text = tokenizer->token[id].text;
    if (!tokenizer->byte_fallback || strlen(text) != 6 || strncmp(text, "<0x", 3) != 0) {
        return false;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (tokenizer->fallback[byte] == id) {
            return true;
        }
    }
    return false;
}

TokenClass vocabulary_class(const Tokenizer *tokenizer, int32_t id) {
    if (id < 0 || (size_t)id >= tokenizer->vocabulary || tokenizer->token[id].text == NULL) {
        return TOKEN_CLASS_HOLE;
    }
    uint8_t flags = tokenizer->token[id].flags;
    if ((flags & TOKEN_SPECIAL) != 0) {
        return TOKEN_CLASS_CONTROL;
    }
    if (id == tokenizer->unknown) {
        return TOKEN_CLASS_UNKNOWN;
    }
    if ((flags & TOKEN_ADDED) != 0 || is_whole(tokenizer, tokenizer->token[id].text)) {
        return TOKEN_CLASS_USER;
    }
    return is_byte(tokenizer, id) ? TOKEN_CLASS_BYTE : TOKEN_CLASS_NORMAL;
}

bool vocabulary_is_greedy(const Tokenizer *tokenizer, int32_t id) {
    const AddedToken *added = added_token(tokenizer, id);
    return added != NULL && (added->lstrip || added->rstrip || added->single_word);
}

size_t vocabulary_merges(const Tokenizer *tokenizer) {
    return tokenizer->merges;
}

void vocabulary_merge(const Tokenizer *tokenizer, size_t rank, int32_t *left, int32_t *right) {
    *left = tokenizer->merge[rank][0];
    *right = tokenizer->merge[rank][1];
}

int32_t vocabulary_merged(const Tokenizer *tokenizer, int32_t left, int32_t right) {
    const PairSlot *slot = pair_map_find(&tokenizer->pair, left, right);
    return slot != NULL ? slot->result : -1;
}

bool vocabulary_ignores_merges(const Tokenizer *tokenizer) {
    return tokenizer->ignore_merges;
}

bool vocabulary_score(const Tokenizer *tokenizer, int32_t id, double *score) {
    if (id < 0 || (size_t)id >= tokenizer->scores) {
        return false;
    }
    *score = tokenizer->score[id];
    return true;
}

bool vocabulary_falls_back(const Tokenizer *tokenizer) {
    bool all = tokenizer->byte_fallback && tokenizer->fuse_unknown;
    for (int byte = 0; byte < 256; byte++) {
        all = all && tokenizer->fallback[byte] >= 0;
    }
    return all;
}

static void put_normalizer(const Normalizer *step, Str *out) {
    static const char *const names[] = {
        [NORMALIZER_LOWERCASE] = "Lowercase",  [NORMALIZER_STRIP_ACCENTS] = "StripAccents",
        [NORMALIZER_BERT] = "BertNormalizer",  [NORMALIZER_NMT] = "Nmt",
        [NORMALIZER_BYTE_LEVEL] = "ByteLevel", [NORMALIZER_STRIP] = "Strip",
        [NORMALIZER_PREPEND] = "Prepend",      [NORMALIZER_REPLACE] = "Replace",
        [NORMALIZER_CHARSMAP] = "Precompiled", [NORMALIZER_SENTENCEPIECE] = "SentencePiece",
    };
    static const char *const forms[] = {
        [FORM_NFC] = "NFC", [FORM_NFD] = "NFD", [FORM_NFKC] = "NFKC", [FORM_NFKD] = "NFKD"};
    str_append(out, "normalize ");
    str_append(out, step->kind == NORMALIZER_FORM ? forms[step->form] : names[step->kind]);
    if (step->kind == NORMALIZER_BERT) {
        str_appendf(out, "%s%s%s%s", step->clean ? " clean" : "", step->chinese ? " chinese" : "",
                    step->accents ? " accents" : "", step->lower ? " lower" : "");
    }
    if (step->kind == NORMALIZER_STRIP || step->kind == NORMALIZER_SENTENCEPIECE) {
        str_appendf(out, "%s%s", step->left ? " left" : "", step->right ? " right" : "");
    }
    if (step->kind == NORMALIZER_SENTENCEPIECE) {
        str_appendf(out, "%s%s%s", step->squeeze ? " squeeze" : "", step->escape ? " escape" : "",
                    step->map.unit != NULL ? " map" : "");
    }
    if (step->kind == NORMALIZER_REPLACE) {
        str_appendf(out, " %s %s by", step->matcher.kind == MATCH_LITERAL ? "text" : "pattern",
                    step->matcher.text);
    }
    if (step->content != NULL) {
        str_appendf(out, " %s", step->content);
    }
    str_append_char(out, '\n');
}

static void put_matcher(const Matcher *matcher, Str *out) {
    switch (matcher->kind) {
    case MATCH_NOTHING:
        break;
    case MATCH_PATTERN:
        str_appendf(out, " pattern %s", matcher->text);
        break;
    case MATCH_LITERAL:
        str_appendf(out, " text %s", matcher->text);
        break;
    case MATCH_CLASS:
        str_append(out, matcher->is_member == is_number        ? " numbers"
                        : matcher->is_member == is_punctuation ? " punctuation"
                                                               : " white space");
        break;
    case MATCH_WORDS:
        str_append(out, " words");
        break;
    }
}

static void put_stage(const Stage *stage, Str *out) {
    static const char *const behaviors[] = {"removed", "isolated", "merged with previous",
                                            "merged with next", "contiguous"};
    static const char *const schemes[] = {"never", "first", "always"};
    if (stage->prefix_space) {
        str_append(out, "space in front\n");
    }
    if (stage->replacement[0] != '\0') {
        str_appendf(out, "spaces to %s, in front %s\n", stage->replacement,
                    schemes[stage->prepend]);
    }
    if (stage->matcher.kind != MATCH_NOTHING) {
        str_appendf(out, "split %s%s", behaviors[stage->behavior],
                    stage->invert ? " inverted" : "");
        put_matcher(&stage->matcher, out);
        str_append_char(out, '\n');
    }
    if (stage->byte_level) {
        str_append(out, "bytes\n");
    }
}

bool vocabulary_steps(const Tokenizer *tokenizer, Str *out, Error *err) {
    for (size_t i = 0; i < tokenizer->normalizers; i++) {
        put_normalizer(&tokenizer->normalizer[i], out);
    }
    for (size_t i = 0; i < tokenizer->stages; i++) {
        put_stage(&tokenizer->stage[i], out);
    }
    return str_ok(out, err);
}

/* "chat_template": a text, or a list of named ones. */
static const char *named_template(const cJSON *item) {
    const char *text = json_string(item);
    for (const cJSON *each = cJSON_IsArray(item) ? item->child : NULL; each != NULL;
         each = each->next) {
        const char *name = json_string(json_member(each, "name"));
        if (name != NULL && strcmp(name, "default") == 0) {
            text = json_string(json_member(each, "template"));
        }
    }
    return text;
}

static cJSON *parse_config(const Tokenizer *tokenizer, Error *err) {
    const KeptFile *file = &tokenizer->kept[KEPT_CONFIG];
    return file->present ? json_parse(str_text(&file->content), file->content.size,
                                      "tokenizer_config.json", 1, &json_limits_document, err)
                         : NULL;
}

bool vocabulary_chat_template(const Tokenizer *tokenizer, Str *out, Error *err) {
    if (tokenizer->kept[KEPT_TEMPLATE].present) {
        const Str *content = &tokenizer->kept[KEPT_TEMPLATE].content;
        str_append_bytes(out, str_text(content), content->size);
        return str_ok(out, err);
    }
    if (!tokenizer->kept[KEPT_CONFIG].present) {
        return true;
    }
    cJSON *config = parse_config(tokenizer, err);
    if (config == NULL) {
        return false;
    }
    const char *text = named_template(json_member(config, "chat_template"));
    str_append(out, text != NULL ? text : "");
    cJSON_Delete(config);
    return str_ok(out, err);
}

bool vocabulary_adds_bos(const Tokenizer *tokenizer) {
    const Template *single = &tokenizer->single;
    if (tokenizer->bos < 0) {
        return false;
    }
    if (!tokenizer->is_pieces) {
        return single->parts > 0 && single->part[0].sequence < 0 && single->part[0].ids == 1 &&
               single->part[0].id[0] == tokenizer->bos;
    }
    /* A tokenizer.model says nothing; readers of Llama's put it in front unless told not to. */
    cJSON *config = parse_config(tokenizer, NULL);
    bool adds = !cJSON_IsFalse(json_member(config, "add_bos_token"));
    cJSON_Delete(config);
    return adds;
}
