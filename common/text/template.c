/* SPDX-License-Identifier: MIT
 *
 * A text or a pair of texts in its frame of special tokens.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"

bool template_put(Template *template, int sequence, int64_t type, const int32_t *id, size_t ids,
                  Error *err) {
    if (!mem_reserve(&template->part, &template->capacity, template->parts + 1,
                     sizeof *template->part, err)) {
        return false;
    }
    TemplatePart *part = &template->part[template->parts++];
    *part = (TemplatePart){.sequence = sequence, .type = (int32_t)type, .ids = ids};
    if (ids > 0) {
        part->id = mem_alloc(ids, sizeof *id, err);
        if (part->id == NULL) {
            return false;
        }
        memcpy(part->id, id, ids * sizeof *id);
    }
    return true;
}

void template_done(Template *template) {
    for (size_t i = 0; i < template->parts; i++) {
        free(template->part[i].id);
    }
    free(template->part);
    *template = (Template){0};
}

bool tokenizer_encode_framed(const Tokenizer *tokenizer, const TextPart *text, size_t texts,
                             bool special, Tokens *out, Tokens *types, Error *err) {
    CHECK(texts == 1 || texts == 2);
    const Template *template = texts == 1 ? &tokenizer->single : &tokenizer->pair_template;
    size_t before = out->count, types_before = types == NULL ? 0 : types->count;
    bool ok = true;
    for (size_t i = 0; ok && i < template->parts; i++) {
        const TemplatePart *part = &template->part[i];
        size_t start = out->count;
        ok = part->sequence < 0 ? tokens_append(out, part->id, part->ids, err)
                                : tokenizer_encode(tokenizer, text[part->sequence].text,
                                                   text[part->sequence].n, special, out, err);
        for (size_t j = start; ok && types != NULL && j < out->count; j++) {
            ok = tokens_push(types, part->type, err);
        }
    }
    if (!ok) {
        out->count = before;
        if (types != NULL) {
            types->count = types_before;
        }
    }
    return ok;
}

bool template_seal(Tokenizer *tokenizer, Error *err) {
    Template *pair = &tokenizer->pair_template;
    return tokenizer->single.parts > 0 ||
           (template_put(&tokenizer->single, 0, 0, NULL, 0, err) &&
            template_put(pair, 0, 0, NULL, 0, err) && template_put(pair, 1, 1, NULL, 0, err));
}
