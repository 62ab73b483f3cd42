/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"
#include "common/text/layout.h"
#include "common/text/layout_template.h"

/* A conversation under construction. Literals that follow one another are encoded as one text. */
typedef struct Render {
    const Layout *layout;
    const Tokenizer *tokenizer;
    Tokens *out;
    size_t start; /* out->count at the beginning */
    Str literal, content;
    uint8_t *trained; /* [capacity]; the first `marked` are set */
    size_t marked, capacity;
} Render;

/* Everything appended since the last mark is trained, or is not. */
static bool mark(Render *r, bool trained, Error *err) {
    size_t count = r->out->count - r->start;
    if (!mem_reserve(&r->trained, &r->capacity, count + 1, 1, err)) {
        return false;
    }
    memset(r->trained + r->marked, trained, count - r->marked);
    r->marked = count;
    return true;
}

static bool flush(Render *r, Error *err) {
    bool ok =
        str_ok(&r->literal, err) &&
        tokenizer_encode(r->tokenizer, str_text(&r->literal), r->literal.size, true, r->out, err) &&
        mark(r, false, err);
    str_clear(&r->literal);
    return ok;
}

static bool put_content(Render *r, const char *text, size_t n, bool lead, Error *err) {
    const Layout *layout = r->layout;
    if (layout->trim) {
        size_t before = white_space_before(text, n);
        text += before;
        n -= before;
        n -= white_space_after(text, n);
    }
    if (n == 0) {
        return true;
    }
    if (!lead || *layout->lead == '\0') {
        return tokenizer_encode(r->tokenizer, text, n, false, r->out, err);
    }
    str_clear(&r->content);
    str_append(&r->content, layout->lead);
    str_append_bytes(&r->content, text, n);
    return str_ok(&r->content, err) &&
           tokenizer_encode(r->tokenizer, r->content.data, r->content.size, false, r->out, err);
}

static bool begin(Render *r, Error *err) {
    if (!r->layout->bos) {
        return true;
    }
    int32_t bos = tokenizer_bos(r->tokenizer);
    if (bos < 0) {
        return error_set(err, ERROR_CONFIG,
                         "layout \"%s\" begins with BOS, but the tokenizer names none",
                         r->layout->name);
    }
    return tokens_push(r->out, bos, err) && mark(r, false, err);
}

static bool put_turn(Render *r, Role role, const char *text, bool last, Error *err) {
    str_append(&r->literal, r->layout->turn_before[role]);
    if (!flush(r, err) || !put_content(r, text, strlen(text), role != ROLE_SYSTEM, err)) {
        return false;
    }
    if (role == ROLE_ASSISTANT) {
        int32_t eos = -1;
        if (!layout_eos(r->layout, r->tokenizer, &eos, err) || !tokens_push(r->out, eos, err)) {
            return false;
        }
    }
    if (!mark(r, role == ROLE_ASSISTANT, err)) {
        return false;
    }
    if (role != ROLE_ASSISTANT || !last) {
        str_append(&r->literal, r->layout->turn_after[role]);
    }
    return true;
}

static bool put_turns(Render *r, const Message *message, size_t messages, Error *err) {
    if (!begin(r, err)) {
        return false;
    }
    if (r->layout->system != NULL && (messages == 0 || message[0].role != ROLE_SYSTEM) &&
        !put_turn(r, ROLE_SYSTEM, r->layout->system, false, err)) {
        return false;
    }
    for (size_t i = 0; i < messages; i++) {
        if (message[i].role == ROLE_PLAIN) {
            return error_set(err, ERROR_DATA,
                             "message %zu of %zu has no role, expected system, user or assistant",
                             i + 1, messages);
        }
        if (!put_turn(r, message[i].role, message[i].text, i + 1 == messages, err)) {
            return false;
        }
    }
    return true;
}

static bool put_prompt(Render *r, const Message *message, size_t messages, Error *err) {
    const Layout *layout = r->layout;
    if (messages == 1 && message[0].role == ROLE_PLAIN) {
        str_append(&r->literal, layout->prefix);
        bool ok = begin(r, err) && flush(r, err) &&
                  put_content(r, message[0].text, strlen(message[0].text), true, err);
        str_append(&r->literal, layout->separator);
        return ok && flush(r, err);
    }
    if (messages > 0 && message[messages - 1].role == ROLE_ASSISTANT) {
        return error_set(err, ERROR_DATA,
                         "the prompt's last message is the assistant's, expected a user's");
    }
    if (!put_turns(r, message, messages, err)) {
        return false;
    }
    str_append(&r->literal, layout->turn_before[ROLE_ASSISTANT]);
    return flush(r, err);
}

static bool finish(Render *r, bool ok) {
    str_done(&r->literal);
    str_done(&r->content);
    if (!ok) {
        r->out->count = r->start;
    }
    return ok;
}

bool layout_eos(const Layout *layout, const Tokenizer *tokenizer, int32_t *eos, Error *err) {
    if (layout->template != NULL && layout->eos == NULL) {
        return chat_template_eos(layout, tokenizer, eos, err);
    }
    int32_t id =
        layout->eos == NULL ? tokenizer_eos(tokenizer) : tokenizer_find(tokenizer, layout->eos);
    if (id < 0 && layout->eos != NULL) {
        return error_set(err, ERROR_CONFIG,
                         "layout \"%s\" ends completions with \"%s\", which is no token of the "
                         "vocabulary; train the tokenizer with it as a special token, or choose "
                         "another layout or layout.eos",
                         layout->name, layout->eos);
    }
    if (id < 0) {
        return error_set(err, ERROR_CONFIG,
                         "the tokenizer names no EOS; name one in tokenizer_config.json "
                         "(\"eos_token\") or as layout.eos");
    }
    *eos = id;
    return true;
}

bool layout_prompt(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                   size_t messages, Tokens *out, Error *err) {
    if (layout->template != NULL) {
        return chat_template_prompt(layout, tokenizer, message, messages, out, err);
    }
    Render r = {.layout = layout, .tokenizer = tokenizer, .out = out, .start = out->count};
    bool ok = put_prompt(&r, message, messages, err);
    if (ok && out->count == r.start) {
        int32_t id = tokenizer_bos(tokenizer);
        ok = (id >= 0 || layout_eos(layout, tokenizer, &id, err)) && tokens_push(out, id, err);
    }
    free(r.trained);
    return finish(&r, ok);
}

bool layout_completion(const Layout *layout, const Tokenizer *tokenizer, const char *text, size_t n,
                       bool eos, Tokens *out, Error *err) {
    if (layout->template != NULL) {
        return chat_template_completion(layout, tokenizer, text, n, eos, out, err);
    }
    Render r = {.layout = layout, .tokenizer = tokenizer, .out = out, .start = out->count};
    bool ok = put_content(&r, text, n, true, err);
    if (ok && eos) {
        int32_t id = -1;
        ok = layout_eos(layout, tokenizer, &id, err) && tokens_push(out, id, err);
    }
    return finish(&r, ok);
}

bool layout_conversation(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                         size_t messages, Tokens *out, uint8_t **trained, Error *err) {
    if (layout->template != NULL) {
        return chat_template_conversation(layout, tokenizer, message, messages, out, trained, err);
    }
    Render r = {.layout = layout, .tokenizer = tokenizer, .out = out, .start = out->count};
    bool ok = put_turns(&r, message, messages, err) && flush(&r, err);
    if (ok && trained != NULL) {
        *trained = r.trained;
    } else {
        free(r.trained);
    }
    return finish(&r, ok);
}
