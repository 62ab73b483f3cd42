/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"

enum { JIT_STACK_MAX = 64 << 20 };

typedef struct Walk {
    Encoder *encoder;
    PieceFunction *piece;
    void *context;
} Walk;

int encoder_match(Encoder *encoder, const pcre2_code *code, const char *text, size_t n,
                  size_t start, pcre2_match_data *match) {
    for (;;) {
        int found = pcre2_match(code, (PCRE2_SPTR)text, n, start, PCRE2_NO_UTF_CHECK, match,
                                encoder->context);
        if (found != PCRE2_ERROR_JIT_STACKLIMIT || encoder->stack != NULL) {
            return found;
        }
        encoder->stack = pcre2_jit_stack_create(64 << 10, JIT_STACK_MAX, NULL);
        if (encoder->stack == NULL) {
            return found;
        }
        pcre2_jit_stack_assign(encoder->context, NULL, encoder->stack);
    }
}

static bool walk(const Walk *w, size_t depth, const char *text, size_t n, Error *err);

static bool split(const Walk *w, size_t depth, const char *text, size_t n, Error *err) {
    const Stage *stage = &w->encoder->tokenizer->stage[depth];
    pcre2_match_data *match = w->encoder->match[depth];
    const size_t *bounds = pcre2_get_ovector_pointer(match);
    size_t at = 0;
    while (at < n) {
        int found = encoder_match(w->encoder, stage->code, text, n, at, match);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
            char reason[256];
            pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
            return error_set(err, ERROR_DATA, "splitting a text of %zu bytes by pattern %s: %s", n,
                             stage->pattern, reason);
        }
        size_t begin = found < 0 ? n : bounds[0], end = found < 0 ? n : bounds[1];
        if (begin > at && !stage->drop_rest && !walk(w, depth + 1, text + at, begin - at, err)) {
            return false;
        }
        if (end > begin && !stage->drop_matches &&
            !walk(w, depth + 1, text + begin, end - begin, err)) {
            return false;
        }
        at = end;
    }
    return true;
}

static bool walk(const Walk *w, size_t depth, const char *text, size_t n, Error *err) {
    const Tokenizer *tokenizer = w->encoder->tokenizer;
    if (depth == tokenizer->stages) {
        return w->piece(w->context, text, n, err);
    }
    const Stage *stage = &tokenizer->stage[depth];
    Str prefixed = {0};
    if (stage->prefix_space && text[0] != ' ') {
        str_append_char(&prefixed, ' ');
        str_append_bytes(&prefixed, text, n);
        if (!str_ok(&prefixed, err)) {
            str_done(&prefixed);
            return false;
        }
        text = str_text(&prefixed);
        n++;
    }
    bool ok =
        stage->code == NULL ? walk(w, depth + 1, text, n, err) : split(w, depth, text, n, err);
    str_done(&prefixed);
    return ok;
}

bool encoder_pieces(Encoder *encoder, const char *text, size_t n, PieceFunction *piece,
                    void *context, Error *err) {
    /* The limit grows with the text: a step back over each of its bytes is no runaway pattern. */
    size_t limit = 10000000 + 16 * (n < (1u << 27) ? n : (1u << 27));
    pcre2_set_match_limit(encoder->context, (uint32_t)limit);
    Walk w = {encoder, piece, context};
    return walk(&w, 0, text, n, err);
}

bool encoder_init(Encoder *encoder, const Tokenizer *tokenizer, Tokens *out, Error *err) {
    *encoder = (Encoder){.tokenizer = tokenizer, .out = out};
    encoder->context = pcre2_match_context_create(NULL);
    bool ok = encoder->context != NULL;
    for (size_t i = 0; ok && i <= tokenizer->stages; i++) {
        encoder->match[i] = pcre2_match_data_create(1, NULL);
        ok = encoder->match[i] != NULL;
    }
    if (!ok) {
        encoder_done(encoder);
        return error_set(err, ERROR_OS, "out of memory preparing to split text");
    }
    pcre2_set_heap_limit(encoder->context, 64 << 10);
    return true;
}

void encoder_done(Encoder *encoder) {
    for (size_t i = 0; i <= STAGES_MAX; i++) {
        pcre2_match_data_free(encoder->match[i]);
    }
    pcre2_match_context_free(encoder->context);
    pcre2_jit_stack_free(encoder->stack);
    free(encoder->symbol);
    free(encoder->heap);
    str_done(&encoder->text);
    *encoder = (Encoder){0};
}
