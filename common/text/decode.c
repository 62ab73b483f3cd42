/* SPDX-License-Identifier: MIT
 *
 * Decoding: tokens go through the decoders one after another, so that a stream gives the same bytes
 * as the whole. Behind Fuse and ByteLevel the tokens have become one, and steps see it in parts.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/decode.h"

static bool is_fusing(DecoderKind kind) {
    return kind == DECODER_FUSE || kind == DECODER_BYTE_LEVEL;
}

/* Do the tokens come to step i as parts of one? */
static bool is_fused(const TokenStream *s, size_t i) {
    for (size_t j = 0; j < i; j++) {
        if (is_fusing(s->tokenizer->decoder[j].kind)) {
            return true;
        }
    }
    return false;
}

bool decode_put(TokenStream *s, size_t i, const char *text, size_t n, Error *err) {
    if (n > TOKEN_TEXT_MAX) {
        return error_at(err, ERROR_DATA, s->tokenizer->source, 0, 0,
                        "the decoder makes more than %d bytes of a token", TOKEN_TEXT_MAX);
    }
    if (i == s->tokenizer->decoders) {
        str_append_bytes(s->out, text, n);
        return str_ok(s->out, err);
    }
    if (!is_fused(s, i)) {
        return decode_token(s, i, text, n, err);
    }
    const Decoder *decoder = &s->tokenizer->decoder[i];
    switch (decoder->kind) {
    case DECODER_FUSE:
        return decode_put(s, i + 1, text, n, err);
    case DECODER_STRIP:
        return decode_strip_part(s, i, text, n, err);
    case DECODER_REPLACE:
        if (decoder->matcher.kind == MATCH_LITERAL) {
            return decode_replace_part(s, i, text, n, err);
        }
        break;
    default:
        break;
    }
    /* Whatever looks at the token as a whole has to wait for it. */
    str_append_bytes(&s->step[i].held, text, n);
    return str_ok(&s->step[i].held, err);
}

TokenStream *token_stream_create(const Tokenizer *tokenizer, bool skip_special, bool replace_bad,
                                 Error *err) {
    TokenStream *s = mem_alloc(1, sizeof *s, err);
    if (s != NULL) {
        s->tokenizer = tokenizer;
        s->skip_special = skip_special;
        s->replace = replace_bad;
    }
    return s;
}

void token_stream_free(TokenStream *s) {
    for (size_t i = 0; s != NULL && i < STEPS_MAX; i++) {
        str_done(&s->step[i].held);
        str_done(&s->step[i].made);
    }
    free(s);
}

bool token_stream_put(TokenStream *s, int32_t id, Str *out, Error *err) {
    const char *text = tokenizer_text(s->tokenizer, id);
    if (text == NULL) {
        return error_at(err, ERROR_DATA, s->tokenizer->source, 0, 0,
                        "id %d is not in the vocabulary of %zu tokens", id,
                        s->tokenizer->vocabulary);
    }
    s->out = out;
    s->id = id;
    return (s->skip_special && tokenizer_is_special(s->tokenizer, id)) ||
           decode_put(s, 0, text, strlen(text), err);
}

bool token_stream_end(TokenStream *s, Str *out, Error *err) {
    s->out = out;
    bool ok = true;
    for (size_t i = 0; ok && i < s->tokenizer->decoders; i++) {
        ok = decode_finish(s, i, is_fused(s, i), err);
    }
    for (size_t i = 0; i < STEPS_MAX; i++) {
        s->step[i].tokens = 0;
        str_clear(&s->step[i].held);
    }
    return ok;
}

bool tokenizer_decode(const Tokenizer *tokenizer, const int32_t *id, size_t n, bool skip_special,
                      bool replace_bad, Str *out, Error *err) {
    TokenStream *s = token_stream_create(tokenizer, skip_special, replace_bad, err);
    size_t before = out->size;
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        ok = token_stream_put(s, id[i], out, err);
    }
    ok = ok && token_stream_end(s, out, err);
    token_stream_free(s);
    out->size = ok ? out->size : before;
    return ok;
}

/* What each token decodes to where it is neither the first nor the last. */
bool decoder_seal(Tokenizer *tokenizer, Error *err) {
    TokenStream *s = token_stream_create(tokenizer, false, false, err);
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < tokenizer->vocabulary; i++) {
        Token *token = &tokenizer->token[i];
        if (token->text == NULL || token->bytes != NULL) {
            continue;
        }
        Str bytes = {0};
        s->middle = true;
        ok = token_stream_put(s, (int32_t)i, &bytes, err) && token_stream_end(s, &bytes, err);
        token->size = bytes.size;
        token->bytes = ok ? str_take(&bytes, err) : NULL;
        str_done(&bytes);
        ok = ok && token->bytes != NULL;
    }
    token_stream_free(s);
    return ok;
}

void decoder_done(Decoder *decoder) {
    matcher_done(&decoder->matcher);
    free(decoder->text);
    free(decoder->content);
    *decoder = (Decoder){0};
}
