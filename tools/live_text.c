/* SPDX-License-Identifier: MIT */
#include "tools/live_text.h"

#include <string.h>

size_t stop_text_at(const StringList *stop, const char *text, size_t size) {
    size_t end = size;
    for (size_t i = 0; i < stop->count && end > 0; i++) {
        const char *at = memmem(text, size, stop->item[i], strlen(stop->item[i]));
        size_t offset = at != NULL ? (size_t)(at - text) : end;
        end = offset < end ? offset : end;
    }
    return end;
}

bool live_text_init(LiveText *live, const Tokenizer *tokenizer, const StringList *stop,
                    Error *err) {
    *live = (LiveText){.stop = stop};
    live->stream = token_stream_create(tokenizer, true, true, err);
    return live->stream != NULL;
}

/* Bytes at the end of the text that may be the beginning of a stop text. */
static size_t begun(const StringList *stop, const char *text, size_t size) {
    size_t longest = 0;
    for (size_t i = 0; i < stop->count; i++) {
        size_t n = strlen(stop->item[i]);
        n = n > 0 ? n - 1 : 0;
        for (n = n < size ? n : size; n > longest; n--) {
            if (memcmp(text + size - n, stop->item[i], n) == 0) {
                longest = n;
            }
        }
    }
    return longest;
}

/* Hands out the new text up to a stop text, or as far as none may begin. A stop text that ends in the
 * new text begins in what was not handed out. */
static bool give(LiveText *live, bool last, Str *out, Error *err) {
    if (!str_ok(&live->text, err)) {
        return false;
    }
    const char *fresh = str_text(&live->text) + live->given;
    size_t size = live->text.size - live->given, end = stop_text_at(live->stop, fresh, size);
    live->stopped = end < size;
    if (!live->stopped && !last) {
        end = size - begun(live->stop, fresh, size);
    }
    str_append_bytes(out, fresh, end);
    live->given += end;
    return str_ok(out, err);
}

bool live_text_put(LiveText *live, const Tokenizer *tokenizer, int32_t id, Str *out, Error *err) {
    if (live->stopped || tokenizer_text(tokenizer, id) == NULL) {
        return true;
    }
    return token_stream_put(live->stream, id, &live->text, err) && give(live, false, out, err);
}

bool live_text_end(LiveText *live, Str *out, Error *err) {
    return live->stopped ||
           (token_stream_end(live->stream, &live->text, err) && give(live, true, out, err));
}

void live_text_done(LiveText *live) {
    token_stream_free(live->stream);
    str_done(&live->text);
    *live = (LiveText){0};
}
