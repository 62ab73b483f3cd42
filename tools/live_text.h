/* SPDX-License-Identifier: MIT
 *
 * LiveText: the text of a completion while it is made. What it hands out is never taken back: bytes that
 * a later id may change, and the beginning of what may become a stop text, wait.
 */
#ifndef RLHF_TOOLS_LIVE_TEXT_H
#define RLHF_TOOLS_LIVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/options.h"
#include "common/text/tokenizer.h"

typedef struct LiveText {
    const StringList *stop; /* borrowed */
    TokenStream *stream;
    Str text;     /* all that is decoded */
    size_t given; /* bytes of it that were handed out */
    bool stopped; /* a stop text has begun: nothing follows */
} LiveText;

/* Where the first of the stop texts begins; the text's size if there is none. */
size_t stop_text_at(const StringList *stop, const char *text, size_t size);

bool live_text_init(LiveText *live, const Tokenizer *tokenizer, const StringList *stop, Error *err);
/* The next id; appends the text that is certain now: whole characters, valid UTF-8. Ids beyond the
 * tokenizer's vocabulary have no text. */
bool live_text_put(LiveText *live, const Tokenizer *tokenizer, int32_t id, Str *out, Error *err);
/* What waits at the end. */
bool live_text_end(LiveText *live, Str *out, Error *err);
void live_text_done(LiveText *live);

#endif
