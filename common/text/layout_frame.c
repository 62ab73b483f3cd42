/* SPDX-License-Identifier: MIT
 *
 * A layout that nobody chose, from the frame that a tokenizer's file puts around texts.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"
#include "common/text/layout.h"
#include "common/text/vocabulary.h"

/* What the file puts before, between and behind two texts, as literals. */
typedef struct Frame {
    Str text[3];
    size_t ids[3];
    bool in_order; /* the texts, each once */
} Frame;

static void read_frame(const Tokenizer *tokenizer, Frame *frame) {
    const Template *pair = &tokenizer->pair_template;
    int place = 0;
    frame->in_order = true;
    for (size_t i = 0; i < pair->parts; i++) {
        const TemplatePart *part = &pair->part[i];
        if (part->sequence >= 0) {
            frame->in_order = frame->in_order && part->sequence == place && place < 2;
            place += place < 2;
        }
        for (size_t k = 0; k < part->ids; k++) {
            str_append(&frame->text[place], tokenizer_text(tokenizer, part->id[k]));
            frame->ids[place]++;
        }
    }
    frame->in_order = frame->in_order && place == 2;
}

static bool take(Str *text, char **out, Error *err) {
    char *copy = str_ok(text, err) ? mem_strdup(str_text(text), err) : NULL;
    if (copy != NULL) {
        free(*out);
        *out = copy;
    }
    return copy != NULL;
}

bool layout_frame(Layout *layout, const Tokenizer *tokenizer, bool encoder, Error *err) {
    if (!layout->assumed) {
        return true;
    }
    if (!encoder) {
        layout->bos = vocabulary_adds_bos(tokenizer);
        return true;
    }
    Frame frame = {0};
    read_frame(tokenizer, &frame);
    bool ok = frame.in_order && frame.ids[0] > 0 && frame.ids[1] > 0 && frame.ids[2] == 1;
    if (!ok) {
        error_set(
            err, ERROR_DATA,
            "the model is an encoder, but its tokenizer puts no tokens before, between and one "
            "behind two texts (post_processor of tokenizer.json); choose layout.name plain, "
            "layout.prefix, layout.separator and layout.eos");
    }
    layout->framed = true;
    ok = ok && take(&frame.text[0], &layout->prefix, err) &&
         take(&frame.text[1], &layout->separator, err) && take(&frame.text[2], &layout->eos, err);
    for (size_t i = 0; i < 3; i++) {
        str_done(&frame.text[i]);
    }
    return ok;
}
