/* SPDX-License-Identifier: MIT
 *
 * The decoder and the post-processor of a tokenizer.json: each step is computed, has no effect on
 * ids, or is refused by its name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

enum { STRIP_MAX = 1 << 20 };

static bool read_strip(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                       Decoder *decoder, Error *err) {
    const char *content = NULL;
    int64_t start = 0, stop = 0;
    if (!tokenizer_read_string(tokenizer, item, dotted, "content", &content, err)) {
        return false;
    }
    if (*content == '\0' || utf8_decode(content, strlen(content), NULL) != strlen(content) ||
        !json_integer(json_member(item, "start"), 0, STRIP_MAX, &start) ||
        !json_integer(json_member(item, "stop"), 0, STRIP_MAX, &stop)) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "expected one character as \"content\", and how many of them to "
                               "strip at most as \"start\" and \"stop\"");
    }
    decoder->start = (size_t)start;
    decoder->stop = (size_t)stop;
    return tokenizer_copy_content(tokenizer, dotted, content, &decoder->text, err);
}

static bool read_decoder(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Error *err) {
    static const struct {
        const char *name;
        DecoderKind kind;
        const char *member;  /* its text */
        const char *usually; /* when that is absent; NULL: it has to be there */
    } kinds[] = {
        {"ByteLevel",    DECODER_BYTE_LEVEL,    NULL,          NULL  },
        {"Metaspace",    DECODER_METASPACE,     "replacement", NULL  },
        {"WordPiece",    DECODER_WORDPIECE,     "prefix",      NULL  },
        {"ByteFallback", DECODER_BYTE_FALLBACK, NULL,          NULL  },
        {"Fuse",         DECODER_FUSE,          NULL,          NULL  },
        {"Strip",        DECODER_STRIP,         NULL,          NULL  },
        {"Replace",      DECODER_REPLACE,       NULL,          NULL  },
        {"BPEDecoder",   DECODER_SUFFIX,        "suffix",      "</w>"},
    };
    const char *type = tokenizer_type(item), *text = NULL;
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && strcmp(type, kinds[i].name) != 0) {
        i++;
    }
    if (i == sizeof kinds / sizeof *kinds) {
        return tokenizer_unsupported(tokenizer, item, dotted,
                                     "ByteLevel, Metaspace, WordPiece, ByteFallback, Fuse, Strip, "
                                     "Replace, BPEDecoder and Sequence",
                                     err);
    }
    Decoder *decoder = NULL;
    if (!tokenizer_put_decoder(tokenizer, kinds[i].kind, &decoder, err)) {
        return false;
    }
    if (kinds[i].member != NULL) {
        text = kinds[i].usually;
        if ((text == NULL || json_member(item, kinds[i].member) != NULL) &&
            !tokenizer_read_string(tokenizer, item, dotted, kinds[i].member, &text, err)) {
            return false;
        }
        if (!tokenizer_copy_content(tokenizer, dotted, text, &decoder->text, err)) {
            return false;
        }
    }
    switch (decoder->kind) {
    case DECODER_WORDPIECE:
        decoder->flag = true;
        return tokenizer_read_flag(tokenizer, item, dotted, "cleanup", &decoder->flag, err);
    case DECODER_METASPACE: {
        const char *scheme = json_string(json_member(item, "prepend_scheme"));
        decoder->flag = true;
        if (!tokenizer_read_flag(tokenizer, item, dotted, "add_prefix_space", &decoder->flag,
                                 err)) {
            return false;
        }
        decoder->flag = scheme == NULL ? decoder->flag : strcmp(scheme, "never") != 0;
        return *decoder->text != '\0' ||
               tokenizer_fault(tokenizer, dotted, err, "the replacement is empty");
    }
    case DECODER_STRIP:
        return read_strip(tokenizer, item, dotted, decoder, err);
    case DECODER_REPLACE:
        return tokenizer_read_string(tokenizer, item, dotted, "content", &text, err) &&
               tokenizer_copy_content(tokenizer, dotted, text, &decoder->content, err) &&
               tokenizer_read_pattern(tokenizer, item, dotted, &decoder->matcher, err);
    default:
        return true;
    }
}

bool tokenizer_read_decoder(Tokenizer *tokenizer, const cJSON *item, Error *err) {
    if (!tokenizer_read_steps(tokenizer, item, "decoder", "decoders", read_decoder, err)) {
        return false;
    }
    Decoder *spaces = NULL;
    bool none = item == NULL || cJSON_IsNull(item);
    return !none || tokenizer_put_decoder(tokenizer, DECODER_SPACES, &spaces, err);
}

/* ["[SEP]", 102]: BertProcessing and RobertaProcessing name their tokens so. */
static bool read_named(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                       const char *name, int32_t *out, Error *err) {
    const cJSON *pair = json_member(item, name);
    const cJSON *content = cJSON_IsArray(pair) ? pair->child : NULL;
    int64_t id = 0;
    if (json_string(content) == NULL ||
        !json_integer(content->next, 0, (int64_t)tokenizer->vocabulary - 1, &id)) {
        return tokenizer_fault(tokenizer, dotted, err, "expected \"%s\": [\"token\", id]", name);
    }
    *out = (int32_t)id;
    return true;
}

static bool read_fixed(Tokenizer *tokenizer, const cJSON *item, const char *dotted, bool roberta,
                       Error *err) {
    int32_t cls = 0, sep = 0;
    if (!read_named(tokenizer, item, dotted, "cls", &cls, err) ||
        !read_named(tokenizer, item, dotted, "sep", &sep, err)) {
        return false;
    }
    Template *one = &tokenizer->single, *two = &tokenizer->pair_template;
    int second = roberta ? 0 : 1;
    bool ok = template_put(one, -1, 0, &cls, 1, err) && template_put(one, 0, 0, NULL, 0, err) &&
              template_put(one, -1, 0, &sep, 1, err) && template_put(two, -1, 0, &cls, 1, err) &&
              template_put(two, 0, 0, NULL, 0, err) && template_put(two, -1, 0, &sep, 1, err);
    ok = ok && (!roberta || template_put(two, -1, 0, &sep, 1, err));
    return ok && template_put(two, 1, second, NULL, 0, err) &&
           template_put(two, -1, second, &sep, 1, err);
}

/* {"SpecialToken": {"id": "[CLS]", "type_id": 0}} or {"Sequence": {"id": "A", "type_id": 0}} */
static bool read_part(Tokenizer *tokenizer, const cJSON *item, const cJSON *tokens,
                      const char *dotted, Template *template, Error *err) {
    const cJSON *sequence = json_member(item, "Sequence");
    const cJSON *token = json_member(item, "SpecialToken");
    const cJSON *inner = sequence != NULL ? sequence : token;
    const char *name = json_string(json_member(inner, "id"));
    int64_t type = 0, id = 0;
    if (name == NULL || !json_integer(json_member(inner, "type_id"), 0, INT32_MAX, &type)) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "expected a Sequence or a SpecialToken with \"id\" and \"type_id\"");
    }
    if (sequence != NULL) {
        bool second = strcmp(name, "B") == 0;
        return (second || strcmp(name, "A") == 0 ||
                tokenizer_fault(tokenizer, dotted, err, "a Sequence is A or B, not \"%.20s\"",
                                name)) &&
               template_put(template, second ? 1 : 0, type, NULL, 0, err);
    }
    const cJSON *list = json_member(json_member(tokens, name), "ids");
    if (!cJSON_IsArray(list)) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "\"%.60s\" is not among its special_tokens with \"ids\"", name);
    }
    for (const cJSON *one = list->child; one != NULL; one = one->next) {
        int32_t value = 0;
        if (!json_integer(one, 0, (int64_t)tokenizer->vocabulary - 1, &id)) {
            return tokenizer_fault(tokenizer, dotted, err,
                                   "an id of \"%.60s\" is not in the vocabulary", name);
        }
        value = (int32_t)id;
        if (!template_put(template, -1, type, &value, 1, err)) {
            return false;
        }
    }
    return true;
}

static bool read_template(Tokenizer *tokenizer, const cJSON *item, const char *dotted, Error *err) {
    static const char *const names[] = {"single", "pair"};
    for (int i = 0; i < 2; i++) {
        const cJSON *list = json_member(item, names[i]);
        Template *template = i == 0 ? &tokenizer->single : &tokenizer->pair_template;
        if (!cJSON_IsArray(list)) {
            return tokenizer_fault(tokenizer, dotted, err, "expected an array \"%s\"", names[i]);
        }
        for (const cJSON *part = list->child; part != NULL; part = part->next) {
            if (!read_part(tokenizer, part, json_member(item, "special_tokens"), dotted, template,
                           err)) {
                return false;
            }
        }
        for (size_t j = 0; i == 0 && j < template->parts; j++) {
            if (template->part[j].sequence == 1) {
                return tokenizer_fault(tokenizer, dotted, err, "\"single\" has a second text, B");
            }
        }
    }
    return true;
}

static bool read_post_processor(Tokenizer *tokenizer, const cJSON *item, const char *dotted,
                                Error *err) {
    const char *type = tokenizer_type(item);
    bool template = strcmp(type, "TemplateProcessing") == 0;
    bool roberta = strcmp(type, "RobertaProcessing") == 0;
    if (strcmp(type, "ByteLevel") == 0) {
        return true; /* it trims offsets, which we have none of */
    }
    if (!template && !roberta && strcmp(type, "BertProcessing") != 0) {
        return tokenizer_unsupported(tokenizer, item, dotted,
                                     "ByteLevel, TemplateProcessing, BertProcessing, "
                                     "RobertaProcessing and Sequence",
                                     err);
    }
    if (tokenizer->single.parts > 0) {
        return tokenizer_fault(tokenizer, dotted, err,
                               "a second step that adds special tokens is not supported");
    }
    return template ? read_template(tokenizer, item, dotted, err)
                    : read_fixed(tokenizer, item, dotted, roberta, err);
}

bool tokenizer_read_post_processor(Tokenizer *tokenizer, const cJSON *item, Error *err) {
    return tokenizer_read_steps(tokenizer, item, "post_processor", "processors",
                                read_post_processor, err);
}
