/* SPDX-License-Identifier: MIT
 *
 * Conversations through a chat template: which bytes of the rendered text are content, which ones
 * are trained, and their ids.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"
#include "common/text/layout_template.h"

static const char *const advice = "name a built-in layout with layout.name, or change the template";

static bool fault(const ChatTemplate *chat, Error *err, const char *text) {
    return error_at(err, ERROR_DATA, chat->origin, 0, 0, "%s; %s", text, advice);
}

static bool render(const ChatTemplate *chat, const JinjaMessage *message, size_t messages,
                   bool generation, JinjaText *out, Error *err) {
    static const JinjaMessage none = {.role = "", .content = ""};
    JinjaContext context = {.variables = chat->context,
                            .message = messages == 0 ? &none : message,
                            .messages = messages,
                            .add_generation_prompt = generation,
                            .date = chat->date};
    return jinja_render(chat->jinja, &context, out, err);
}

static bool begins_with(const JinjaText *text, const JinjaText *prefix) {
    return prefix->size <= text->size && memcmp(text->text, prefix->text, prefix->size) == 0;
}

static size_t span_begin(const JinjaText *text, size_t i) {
    return i == 0 ? 0 : text->span[i - 1].end;
}

/* From the first to the last byte of a message's content; begin > end: it is nowhere. Content of
 * another message in between is a fault. */
static bool find_content(const ChatTemplate *chat, const JinjaText *text, size_t message,
                         size_t *begin, size_t *end, Error *err) {
    *begin = SIZE_MAX;
    *end = 0;
    for (size_t i = 0; i < text->spans; i++) {
        if (text->span[i].source == (int32_t)message) {
            *begin = *end == 0 ? span_begin(text, i) : *begin;
            *end = text->span[i].end;
        }
    }
    for (size_t i = 0; i < text->spans; i++) {
        int32_t source = text->span[i].source;
        if (source >= 0 && source != (int32_t)message && span_begin(text, i) >= *begin &&
            span_begin(text, i) < *end) {
            return fault(chat, err,
                         "the template writes other messages between parts of the assistant's, so "
                         "it cannot be told what the assistant says");
        }
    }
    return true;
}

/* Where the content of any message begins, at or behind `at`. */
static size_t next_content(const JinjaText *text, size_t at) {
    for (size_t i = 0; i < text->spans; i++) {
        if (text->span[i].source >= 0 && span_begin(text, i) >= at) {
            return span_begin(text, i);
        }
    }
    return text->size;
}

/* One assistant's turn in a rendered text: what it says begins where the prompt before it ends,
 * behind that the content, then literals, the end token among them. */
typedef struct Turn {
    size_t begin, content_end, end;
} Turn;

/* end == NULL: the end token is not looked for. */
static bool find_turn(const ChatTemplate *chat, const JinjaMessage *message, size_t messages,
                      size_t turn, const JinjaText *text, const char *end, Turn *out, Error *err) {
    size_t content = 0, content_end = 0;
    if (!find_content(chat, text, turn, &content, &content_end, err)) {
        return false;
    }
    JinjaText prompt = {0};
    Error unused = {0};
    bool last = turn + 1 == messages && turn > 0;
    bool rendered = render(chat, message, turn, true, &prompt, last ? err : &unused);
    bool prefix = rendered && begins_with(text, &prompt) && prompt.size <= content;
    size_t prompt_end = prompt.size;
    if (rendered) {
        jinja_text_done(&prompt);
    }
    if (last && !prefix) {
        return rendered && fault(chat, err,
                                 "the template writes the turns before an answer in another way "
                                 "once the answer is there, so prompt and completion cannot be "
                                 "tokenized apart");
    }
    if (!prefix && content > content_end) {
        return fault(chat, err, "it cannot be told where an assistant's turn without text begins");
    }
    out->begin = prefix ? prompt_end : content;
    out->content_end = content > content_end ? out->begin : content_end;
    if (end == NULL) {
        out->end = out->content_end;
        return true;
    }
    size_t stop = next_content(text, out->content_end), n = strlen(end);
    const char *found = str_find(text->text + out->content_end, stop - out->content_end, end, n);
    if (found == NULL) {
        error_at(err, ERROR_DATA, chat->origin, 0, 0,
                 "the template does not write the end token \"%.60s\" behind what the assistant "
                 "says; name the token that it writes with layout.eos, or a built-in layout with "
                 "layout.name",
                 end);
        return false;
    }
    out->end = (size_t)(found - text->text) + n;
    return true;
}

/* A rendered conversation, with a mark for every byte that is trained. */
typedef struct Marked {
    JinjaText text;
    uint8_t *trained; /* [text.size + 1]; owned */
    Turn last;        /* the last assistant's turn */
} Marked;

static void marked_done(Marked *marked) {
    jinja_text_done(&marked->text);
    free(marked->trained);
    *marked = (Marked){0};
}

static bool mark_turns(const ChatTemplate *chat, const JinjaMessage *message, size_t messages,
                       const char *end, Marked *out, Error *err) {
    bool own = jinja_has_generation(chat->jinja);
    for (size_t i = 0; own && i < out->text.spans; i++) {
        size_t begin = span_begin(&out->text, i);
        memset(out->trained + begin, out->text.span[i].generated, out->text.span[i].end - begin);
    }
    for (size_t i = 0; i < messages; i++) {
        if (strcmp(message[i].role, "assistant") != 0 || (own && i + 1 < messages)) {
            continue;
        }
        if (!find_turn(chat, message, messages, i, &out->text, end, &out->last, err)) {
            return false;
        }
        if (!own) {
            memset(out->trained + out->last.begin, 1, out->last.end - out->last.begin);
        }
    }
    return true;
}

static bool render_marked(const ChatTemplate *chat, const JinjaMessage *message, size_t messages,
                          bool generation, const char *end, Marked *out, Error *err) {
    *out = (Marked){0};
    if (!render(chat, message, messages, generation, &out->text, err)) {
        return false;
    }
    out->trained = mem_alloc(out->text.size + 1, 1, err);
    if (out->trained == NULL || !mark_turns(chat, message, messages, end, out, err)) {
        marked_done(out);
        return false;
    }
    return true;
}

/* Ids under construction and which of them are trained. */
typedef struct Encoding {
    const Tokenizer *tokenizer;
    Tokens *out;
    size_t start; /* out->count at the beginning */
    uint8_t *trained;
    size_t capacity;
} Encoding;

static bool encode_part(Encoding *encoding, const char *text, size_t n, bool literal, bool trained,
                        Error *err) {
    size_t before = encoding->out->count - encoding->start;
    if (!tokenizer_encode(encoding->tokenizer, text, n, literal, encoding->out, err)) {
        return false;
    }
    size_t count = encoding->out->count - encoding->start;
    if (!mem_reserve(&encoding->trained, &encoding->capacity, count + 1, 1, err)) {
        return false;
    }
    memset(encoding->trained + before, trained, count - before);
    return true;
}

/* Bytes [from, to), in parts that are literal or content, trained or not; `cut` ends one too. */
static bool encode_range(Encoding *encoding, const Marked *marked, size_t from, size_t to,
                         size_t cut, Error *err) {
    const JinjaText *text = &marked->text;
    size_t begin = from, span = 0;
    bool literal = true;
    for (size_t at = from; at < to; at++) {
        while (text->span[span].end <= at) {
            span++;
        }
        bool is_literal = text->span[span].source < 0;
        if (at > begin &&
            (is_literal != literal || at == cut || marked->trained[at] != marked->trained[begin])) {
            if (!encode_part(encoding, text->text + begin, at - begin, literal,
                             marked->trained[begin] != 0, err)) {
                return false;
            }
            begin = at;
        }
        literal = is_literal;
    }
    return to == begin || encode_part(encoding, text->text + begin, to - begin, literal,
                                      marked->trained[begin] != 0, err);
}

static bool applies(const Layout *layout, Error *err) {
    return (layout->prefix == NULL && layout->separator == NULL) ||
           error_set(err, ERROR_CONFIG,
                     "layout.prefix and layout.separator do not go with the layout \"%s\", which "
                     "is a chat template",
                     layout->name);
}

/* The first special token that stands behind an answer. */
static bool special_in_tail(const Layout *layout, const Tokenizer *tokenizer, int32_t *eos,
                            Error *err) {
    const char *tail = layout->template->tail;
    Tokens ids = {0};
    bool ok = tokenizer_encode(tokenizer, tail, strlen(tail), true, &ids, err);
    *eos = -1;
    for (size_t i = 0; ok && *eos < 0 && i < ids.count; i++) {
        *eos = tokenizer_is_special(tokenizer, ids.id[i]) ? ids.id[i] : -1;
    }
    tokens_done(&ids);
    return ok &&
           (*eos >= 0 ||
            error_at(err, ERROR_DATA, layout->template->origin, 0, 0,
                     "the template writes no special token of the tokenizer behind what the "
                     "assistant says, only \"%.60s\"; name the token that ends an answer with "
                     "layout.eos, or a built-in layout with layout.name",
                     tail));
}

bool chat_template_eos(const Layout *layout, const Tokenizer *tokenizer, int32_t *eos, Error *err) {
    if (!applies(layout, err)) {
        return false;
    }
    *eos = tokenizer_eos(tokenizer);
    if (*eos >= 0 && strstr(layout->template->tail, tokenizer_text(tokenizer, *eos)) != NULL) {
        return true;
    }
    return special_in_tail(layout, tokenizer, eos, err);
}

static bool end_text(const Layout *layout, const Tokenizer *tokenizer, const char **text,
                     Error *err) {
    int32_t eos = -1;
    if (!applies(layout, err) || !layout_eos(layout, tokenizer, &eos, err)) {
        return false;
    }
    *text = tokenizer_text(tokenizer, eos);
    return true;
}

/* The messages as the template gets them; a plain prompt is the user's. Release with free. */
static JinjaMessage *convert(const Message *message, size_t messages, Error *err) {
    static const char *const roles[] = {"system", "user", "assistant", "user"};
    JinjaMessage *out = mem_alloc(messages, sizeof *out, err);
    for (size_t i = 0; out != NULL && i < messages; i++) {
        if (message[i].role == ROLE_PLAIN && messages > 1) {
            error_set(err, ERROR_DATA,
                      "message %zu of %zu has no role, expected system, user or assistant", i + 1,
                      messages);
            free(out);
            return NULL;
        }
        out[i] = (JinjaMessage){roles[message[i].role], message[i].text, strlen(message[i].text)};
    }
    return out;
}

static bool finish(Encoding *encoding, bool ok, uint8_t **trained) {
    if (ok && trained != NULL) {
        *trained = encoding->trained;
    } else {
        free(encoding->trained);
    }
    if (!ok) {
        encoding->out->count = encoding->start;
    }
    return ok;
}

bool chat_template_prompt(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                          size_t messages, Tokens *out, Error *err) {
    Encoding encoding = {.tokenizer = tokenizer, .out = out, .start = out->count};
    const char *end = NULL;
    if (messages > 0 && message[messages - 1].role == ROLE_ASSISTANT) {
        return error_set(err, ERROR_DATA,
                         "the prompt's last message is the assistant's, expected a user's");
    }
    JinjaMessage *given = convert(message, messages, err);
    Marked marked = {0};
    bool ok = given != NULL && end_text(layout, tokenizer, &end, err) &&
              render_marked(layout->template, given, messages, true, end, &marked, err) &&
              encode_range(&encoding, &marked, 0, marked.text.size, SIZE_MAX, err);
    marked_done(&marked);
    free(given);
    return finish(&encoding, ok, NULL);
}

bool chat_template_completion(const Layout *layout, const Tokenizer *tokenizer, const char *text,
                              size_t n, bool eos, Tokens *out, Error *err) {
    Encoding encoding = {.tokenizer = tokenizer, .out = out, .start = out->count};
    const JinjaMessage given[] = {
        {"user",      "?",  1},
        {"assistant", text, n}
    };
    const char *end = NULL;
    Marked marked = {0};
    bool ok = (!eos || end_text(layout, tokenizer, &end, err)) && applies(layout, err) &&
              render_marked(layout->template, given, 2, false, end, &marked, err) &&
              encode_range(&encoding, &marked, marked.last.begin, marked.last.end, SIZE_MAX, err);
    marked_done(&marked);
    return finish(&encoding, ok, NULL);
}

bool chat_template_conversation(const Layout *layout, const Tokenizer *tokenizer,
                                const Message *message, size_t messages, Tokens *out,
                                uint8_t **trained, Error *err) {
    Encoding encoding = {.tokenizer = tokenizer, .out = out, .start = out->count};
    bool answered = messages > 0 && message[messages - 1].role == ROLE_ASSISTANT;
    const char *end = NULL;
    Marked marked = {0};
    JinjaMessage *given = convert(message, messages, err);
    bool ok = given != NULL && end_text(layout, tokenizer, &end, err) &&
              render_marked(layout->template, given, messages, false, end, &marked, err) &&
              encode_range(&encoding, &marked, 0, answered ? marked.last.end : marked.text.size,
                           answered ? marked.last.begin : SIZE_MAX, err);
    if (ok && out->count == encoding.start) {
        ok = mem_reserve(&encoding.trained, &encoding.capacity, 1, 1, err);
    }
    marked_done(&marked);
    free(given);
    return finish(&encoding, ok, trained);
}

/* What stands before an answer's content and behind it, in a conversation that ends in it. */
static bool probe_answer(const ChatTemplate *chat, const JinjaMessage *message, size_t messages,
                         Str *lead, Str *tail, Error *err) {
    JinjaText text = {0};
    Turn turn = {0};
    size_t content = 0, content_end = 0;
    bool ok = render(chat, message, messages, false, &text, err) &&
              find_turn(chat, message, messages, messages - 1, &text, NULL, &turn, err) &&
              find_content(chat, &text, messages - 1, &content, &content_end, err);
    if (ok && content > content_end) {
        ok = fault(chat, err, "the template does not write what the assistant says");
    }
    if (ok) {
        str_append_bytes(lead, text.text + turn.begin, content - turn.begin);
        str_append_bytes(tail, text.text + content_end, text.size - content_end);
        ok = str_ok(lead, err) && str_ok(tail, err);
    }
    jinja_text_done(&text);
    return ok;
}

static bool same(const Str *a, const Str *b) {
    return a->size == b->size && memcmp(str_text(a), str_text(b), a->size) == 0;
}

bool chat_template_probe(ChatTemplate *chat, Error *err) {
    const JinjaMessage system = {"system", "Be brief.", 9}, user = {"user", "How far?", 8},
                       assistant = {"assistant", "12 minutes.", 11};
    const JinjaMessage first[] = {user, assistant};
    const JinjaMessage others[][4] = {
        {system,     user, assistant},
        { user, assistant, user, assistant}
    };
    static const size_t counts[] = {3, 4};
    Str lead = {0}, tail = {0};
    bool ok = probe_answer(chat, first, 2, &lead, &tail, err);
    for (size_t i = 0; ok && i < 2; i++) {
        JinjaText rendered = {0};
        Error unused = {0};
        if (!render(chat, others[i], counts[i], false, &rendered, &unused)) {
            continue; /* the template does not take such conversations */
        }
        jinja_text_done(&rendered);
        Str other_lead = {0}, other_tail = {0};
        ok = probe_answer(chat, others[i], counts[i], &other_lead, &other_tail, err) &&
             ((same(&lead, &other_lead) && same(&tail, &other_tail)) ||
              fault(chat, err,
                    "the template writes an answer in another way after a system text or in a "
                    "later turn, so prompt and completion cannot be tokenized apart"));
        str_done(&other_lead);
        str_done(&other_tail);
    }
    str_done(&lead);
    chat->tail = ok ? str_take(&tail, err) : NULL;
    str_done(&tail);
    return chat->tail != NULL;
}
