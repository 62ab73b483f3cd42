/* SPDX-License-Identifier: MIT
 *
 * Splitting: what a matcher finds in a text are delimiters, and a behavior says which pieces they
 * and what lies between them become.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

enum { JIT_STACK_MAX = 64 << 20 };

static bool find_pattern(Encoder *encoder, const Matcher *matcher, const char *text, size_t n,
                         size_t at, size_t *begin, size_t *end, Error *err) {
    int found = 0;
    for (;;) {
        found = pcre2_match(matcher->code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK,
                            encoder->match, encoder->context);
        if (found != PCRE2_ERROR_JIT_STACKLIMIT || encoder->stack != NULL) {
            break;
        }
        encoder->stack = pcre2_jit_stack_create(64 << 10, JIT_STACK_MAX, NULL);
        if (encoder->stack == NULL) {
            break;
        }
        pcre2_jit_stack_assign(encoder->context, NULL, encoder->stack);
    }
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
        char reason[256];
        pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
        return error_set(err, ERROR_DATA, "splitting a text of %zu bytes by pattern %s: %s", n,
                         matcher->text, reason);
    }
    const size_t *bounds = pcre2_get_ovector_pointer(encoder->match);
    *begin = found < 0 ? n : bounds[0];
    *end = found < 0 ? n : bounds[1];
    return true;
}

static inline size_t decode(const char *text, size_t n, uint32_t *code) {
    *code = (unsigned char)*text;
    return *code < 0x80 ? 1 : utf8_decode(text, n, code);
}

static void find_class(const Matcher *matcher, const char *text, size_t n, size_t at, size_t *begin,
                       size_t *end) {
    size_t size = 0;
    for (size_t i = at; i < n; i += size) {
        uint32_t code = 0;
        size = decode(text + i, n - i, &code);
        if (matcher->is_member(code)) {
            *begin = i;
            *end = i + size;
            return;
        }
    }
}

static void find_words(const char *text, size_t n, size_t at, size_t *begin, size_t *end) {
    int run = 0; /* 1: word characters, 2: others */
    size_t size = 0;
    for (size_t i = at; i < n; i += size) {
        uint32_t code = 0;
        size = decode(text + i, n - i, &code);
        int kind = is_word(code) ? 1 : is_white_space(code) ? 0 : 2;
        if (run != 0 && kind != run) {
            *end = i;
            return;
        }
        if (run == 0 && kind != 0) {
            *begin = i;
            run = kind;
        }
    }
}

bool encoder_find(Encoder *encoder, const Matcher *matcher, const char *text, size_t n, size_t at,
                  size_t *begin, size_t *end, Error *err) {
    *begin = *end = n;
    switch (matcher->kind) {
    case MATCH_PATTERN:
        return find_pattern(encoder, matcher, text, n, at, begin, end, err);
    case MATCH_LITERAL: {
        const char *found = str_find(text + at, n - at, matcher->text, matcher->n);
        if (found != NULL) {
            *begin = (size_t)(found - text);
            *end = *begin + matcher->n;
        }
        return true;
    }
    case MATCH_CLASS:
        find_class(matcher, text, n, at, begin, end);
        return true;
    case MATCH_WORDS:
        find_words(text, n, at, begin, end);
        return true;
    case MATCH_NOTHING:
        break;
    }
    return true;
}

typedef struct Walk {
    Encoder *encoder;
    PieceFunction *piece;
    void *context;
} Walk;

static bool walk(const Walk *w, size_t depth, Span text, Error *err);

/* A part that waits to learn whether the next one belongs to it. */
typedef struct Pending {
    size_t begin, end;
    bool any, delimiter; /* delimiter: the last part was one */
} Pending;

static bool hand_on(const Walk *w, size_t depth, Span text, size_t begin, size_t end, Error *err) {
    if (begin == end) {
        return true;
    }
    const Stage *stage = &w->encoder->tokenizer->stage[depth];
    Span part = {text.text + begin, end - begin, text.first > begin ? text.first - begin : 0};
    part.first = part.first < part.n ? part.first : part.n;
    bool last = depth + 1 == w->encoder->tokenizer->stages;
    if (stage->byte_level && !(last && w->encoder->tokenizer->bytes_are_symbols)) {
        Str alphabet = {0};
        byte_level_write(part.text, part.n, &alphabet);
        Span spelled = {str_text(&alphabet), alphabet.size, part.first};
        bool ok = str_ok(&alphabet, err) && walk(w, depth + 1, spelled, err);
        str_done(&alphabet);
        return ok;
    }
    return walk(w, depth + 1, part, err);
}

static bool put_part(const Walk *w, size_t depth, Span text, Pending *pending, size_t begin,
                     size_t end, bool delimiter, Error *err) {
    SplitBehavior behavior = w->encoder->tokenizer->stage[depth].behavior;
    bool joins = false;
    switch (behavior) {
    case SPLIT_REMOVED:
        return delimiter || hand_on(w, depth, text, begin, end, err);
    case SPLIT_ISOLATED:
        return hand_on(w, depth, text, begin, end, err);
    case SPLIT_CONTIGUOUS:
        joins = delimiter == pending->delimiter;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        joins = delimiter && !pending->delimiter;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        joins = pending->delimiter && !delimiter;
        break;
    }
    if (pending->any && !joins && !hand_on(w, depth, text, pending->begin, pending->end, err)) {
        return false;
    }
    pending->begin = pending->any && joins ? pending->begin : begin;
    pending->end = end;
    pending->any = true;
    pending->delimiter = delimiter;
    return true;
}

static bool split(const Walk *w, size_t depth, Span text, Error *err) {
    const Stage *stage = &w->encoder->tokenizer->stage[depth];
    Pending pending = {0};
    size_t at = 0;
    while (at < text.n) {
        size_t begin = 0, end = 0;
        if (!encoder_find(w->encoder, &stage->matcher, text.text, text.n, at, &begin, &end, err) ||
            (begin > at && !put_part(w, depth, text, &pending, at, begin, stage->invert, err)) ||
            (end > begin && !put_part(w, depth, text, &pending, begin, end, !stage->invert, err))) {
            return false;
        }
        at = end;
    }
    return !pending.any || hand_on(w, depth, text, pending.begin, pending.end, err);
}

/* Spaces replaced, and the replacement put in front: in a text of the encoder's. */
static bool change_spaces(Encoder *encoder, size_t depth, Span *text, Error *err) {
    const Stage *stage = &encoder->tokenizer->stage[depth];
    size_t n = strlen(stage->replacement), taken = 0;
    Str *to = &encoder->staged[depth];
    str_clear(to);
    if (n == 0) {
        str_append_char(to, ' ');
        str_append_bytes(to, text->text, text->n);
        text->first += text->first > 0 ? 1 : 0;
    } else {
        bool there = text->text[0] == ' ' ||
                     (text->n >= n && memcmp(text->text, stage->replacement, n) == 0);
        bool wanted = stage->prepend == PREPEND_ALWAYS ||
                      (stage->prepend == PREPEND_FIRST && text->first > 0);
        str_append(to, wanted && !there ? stage->replacement : "");
        size_t first = text->first > 0 ? to->size : 0;
        while (taken < text->n) {
            const char *space = memchr(text->text + taken, ' ', text->n - taken);
            size_t end = space == NULL ? text->n : (size_t)(space - text->text);
            str_append_bytes(to, text->text + taken, end - taken);
            str_append(to, space == NULL ? "" : stage->replacement);
            taken = end + (space != NULL);
        }
        for (size_t i = 0; i < text->first; i++) {
            first += text->text[i] == ' ' ? n : 1;
        }
        text->first = first;
    }
    text->text = str_text(to);
    text->n = to->size;
    return str_ok(to, err);
}

static bool walk(const Walk *w, size_t depth, Span text, Error *err) {
    const Tokenizer *tokenizer = w->encoder->tokenizer;
    if (depth == tokenizer->stages) {
        return w->piece(w->context, text.text, text.n, err);
    }
    const Stage *stage = &tokenizer->stage[depth];
    bool changes = stage->replacement[0] != '\0' || (stage->prefix_space && text.text[0] != ' ');
    if (changes && !change_spaces(w->encoder, depth, &text, err)) {
        return false;
    }
    return stage->matcher.kind == MATCH_NOTHING ? hand_on(w, depth, text, 0, text.n, err)
                                                : split(w, depth, text, err);
}

bool encoder_pieces(Encoder *encoder, Span text, PieceFunction *piece, void *context, Error *err) {
    /* The limit grows with the text: a step back over each of its bytes is no runaway pattern. */
    size_t limit = 10000000 + 16 * (text.n < (1u << 27) ? text.n : (1u << 27));
    pcre2_set_match_limit(encoder->context, (uint32_t)limit);
    Walk w = {encoder, piece, context};
    return text.n == 0 || walk(&w, 0, text, err);
}

bool encoder_init(Encoder *encoder, const Tokenizer *tokenizer, Tokens *out, Error *err) {
    *encoder = (Encoder){.tokenizer = tokenizer, .out = out};
    encoder->context = pcre2_match_context_create(NULL);
    encoder->match = pcre2_match_data_create(1, NULL);
    if (encoder->context == NULL || encoder->match == NULL) {
        encoder_done(encoder);
        return error_set(err, ERROR_OS, "out of memory preparing to split text");
    }
    pcre2_set_heap_limit(encoder->context, 64 << 10);
    return true;
}

void encoder_done(Encoder *encoder) {
    for (size_t i = 0; i < STEPS_MAX; i++) {
        str_done(&encoder->staged[i]);
    }
    str_done(&encoder->normal[0]);
    str_done(&encoder->normal[1]);
    free(encoder->codes.code);
    pcre2_match_data_free(encoder->match);
    pcre2_match_context_free(encoder->context);
    pcre2_jit_stack_free(encoder->stack);
    free(encoder->symbol);
    free(encoder->heap);
    free(encoder->arrival);
    str_done(&encoder->text);
    *encoder = (Encoder){0};
}

void stage_done(Stage *stage) {
    matcher_done(&stage->matcher);
    *stage = (Stage){0};
}
