/* SPDX-License-Identifier: MIT
 *
 * The steps of decoding: each hands on what is certain and holds the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/text/decode.h"

/* Replaces every occurrence in a text without NUL, left to right. */
static void replace_all(Str *text, const char *from, const char *to) {
    size_t n = strlen(from);
    const char *at = str_text(text), *found = n == 0 ? NULL : strstr(at, from);
    if (found == NULL) {
        return;
    }
    Str out = {0};
    for (; found != NULL; found = strstr(at, from)) {
        str_append_bytes(&out, at, (size_t)(found - at));
        str_append(&out, to);
        at = found + n;
    }
    str_append(&out, at);
    str_done(text);
    *text = out;
}

static void clean_up(Str *text) {
    static const char *const pairs[][2] = {
        {" .",      "."     },
        {" ?",      "?"     },
        {" !",      "!"     },
        {" ,",      ","     },
        {" ' ",     "'"     },
        {" n't",    "n't"   },
        {" 'm",     "'m"    },
        {" do not", " don't"},
        {" 's",     "'s"    },
        {" 've",    "'ve"   },
        {" 're",    "'re"   },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        replace_all(text, pairs[i][0], pairs[i][1]);
    }
}

/* <0xHH>: the byte; -1: another token. */
static int byte_of(const char *text, size_t n) {
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        bool plus = i == 3 && c == '+'; /* Rust's parser of numbers allows a sign */
        if (!plus && (digit < 0 || digit > 15 || (c > '9' && (c | 0x20) < 'a'))) {
            return -1;
        }
        value = plus ? 0 : 16 * value + digit;
    }
    return value;
}

/* Hands on the bytes that were held, as text. all: the run has ended. */
static bool flush_bytes(TokenStream *s, size_t i, Error *err) {
    Step *step = &s->step[i];
    size_t n = step->held.size;
    if (n == 0) {
        return true;
    }
    Str run = step->held;
    step->held = (Str){0};
    bool ok = true;
    if (!s->replace || utf8_invalid_at(run.data, n) == n) {
        ok = decode_put(s, i + 1, run.data, n, err);
    } else {
        for (size_t j = 0; ok && j < n; j++) {
            ok = decode_put(s, i + 1, "\xef\xbf\xbd", 3, err);
        }
    }
    str_done(&run);
    return ok;
}

/* ByteLevel: hands on all that cannot change any more. */
static bool flush_alphabet(TokenStream *s, size_t i, bool all, Error *err) {
    Step *step = &s->step[i];
    if (!str_ok(&step->held, err)) {
        return false;
    }
    size_t n = step->held.size, kept = 0;
    str_clear(&step->made);
    if (s->replace) {
        kept = all ? 0 : utf8_unfinished(str_text(&step->held), n);
        utf8_replace(str_text(&step->held), n - kept, &step->made);
    } else {
        str_append_bytes(&step->made, str_text(&step->held), n);
    }
    if (kept > 0) {
        memmove(step->held.data, step->held.data + n - kept, kept);
    }
    step->held.size = kept;
    return str_ok(&step->made, err) &&
           decode_put(s, i + 1, str_text(&step->made), step->made.size, err);
}

static void strip(const Decoder *decoder, const char *text, size_t n, Str *out) {
    size_t size = strlen(decoder->text), begin = 0, end = n;
    for (size_t j = 0; j < decoder->start && end - begin >= size &&
                       memcmp(text + begin, decoder->text, size) == 0;
         j++) {
        begin += size;
    }
    for (size_t j = 0; j < decoder->stop && end - begin >= size &&
                       memcmp(text + end - size, decoder->text, size) == 0;
         j++) {
        end -= size;
    }
    str_append_bytes(out, text + begin, end - begin);
}

static bool replace(const TokenStream *s, const Decoder *decoder, const char *text, size_t n,
                    Str *out, Error *err) {
    Encoder encoder;
    Tokens none = {0};
    if (!encoder_init(&encoder, s->tokenizer, &none, err)) {
        return false;
    }
    bool ok = true;
    for (size_t at = 0, begin = 0, end = 0; ok && at < n; at = end) {
        ok = encoder_find(&encoder, &decoder->matcher, text, n, at, &begin, &end, err);
        str_append_bytes(out, text + at, ok ? begin - at : 0);
        str_append(out, ok && end > begin ? decoder->content : "");
    }
    encoder_done(&encoder);
    return ok;
}

/* SentencePiece: bytes that are UTF-8 by themselves, U+FFFD for every other one. all: none follow. */
static bool flush_pieces(TokenStream *s, size_t i, bool all, Error *err) {
    Step *step = &s->step[i];
    size_t n = step->held.size;
    size_t end = all || !s->replace ? n : n - utf8_unfinished(str_text(&step->held), n);
    str_clear(&step->made);
    for (size_t at = 0; at < end;) {
        size_t size = utf8_decode(step->held.data + at, end - at, NULL);
        if (size == 0 && s->replace) {
            str_append(&step->made, "\xef\xbf\xbd");
        } else {
            str_append_bytes(&step->made, step->held.data + at, size == 0 ? 1 : size);
        }
        at += size == 0 ? 1 : size;
    }
    if (end > 0) {
        memmove(step->held.data, step->held.data + end, n - end);
    }
    step->held.size = n - end;
    step->tokens |= end > 0 ? PIECES_TEXT : 0;
    return str_ok(&step->made, err) &&
           decode_put(s, i + 1, str_text(&step->made), step->made.size, err);
}

/* SentencePiece's decoder: controls are nothing, spaces at the start of the text go. */
static bool step_piece(TokenStream *s, size_t i, const char *text, size_t n, Error *err) {
    static const char sign[] = "\xe2\x96\x81";
    const Tokenizer *tokenizer = s->tokenizer;
    const Decoder *decoder = &tokenizer->decoder[i];
    Step *step = &s->step[i];
    bool unspelled = (tokenizer->token[s->id].flags & TOKEN_UNSPELLED) != 0;
    int byte = unspelled && tokenizer->byte_fallback ? byte_of(text, n) : -1;
    if (byte >= 0) {
        str_append_char(&step->held, (char)byte);
        return str_ok(&step->held, err) && flush_pieces(s, i, false, err);
    }
    if (!flush_pieces(s, i, true, err)) {
        return false;
    }
    bool start = !s->middle && step->tokens == 0;
    str_clear(&step->made);
    if (s->id == tokenizer->unknown) {
        str_append(&step->made, decoder->text);
    } else if (!unspelled) {
        bool space = start && decoder->flag && n >= 3 && memcmp(text, sign, 3) == 0;
        step->tokens |= space && !decoder->squeeze ? PIECES_SPACE : 0;
        str_append_bytes(&step->made, text + (space ? 3 : 0), n - (space ? 3 : 0));
        replace_all(&step->made, sign, " ");
    }
    step->tokens |= step->made.size > 0 ? PIECES_TEXT : 0;
    return str_ok(&step->made, err) &&
           decode_put(s, i + 1, str_text(&step->made), step->made.size, err);
}

/* One whole token through one step. */
bool decode_token(TokenStream *s, size_t i, const char *text, size_t n, Error *err) {
    const Decoder *decoder = &s->tokenizer->decoder[i];
    Step *step = &s->step[i];
    if (decoder->kind == DECODER_SENTENCEPIECE) {
        return step_piece(s, i, text, n, err);
    }
    bool first = step->tokens++ == 0 && !s->middle;
    Str *made = &step->made;
    str_clear(made);
    switch (decoder->kind) {
    case DECODER_FUSE:
        return decode_put(s, i + 1, text, n, err);
    case DECODER_BYTE_LEVEL:
        byte_level_read(text, n, &step->held);
        return flush_alphabet(s, i, false, err);
    case DECODER_BYTE_FALLBACK: {
        int byte = byte_of(text, n);
        if (byte >= 0) {
            str_append_char(&step->held, (char)byte);
            return str_ok(&step->held, err);
        }
        return flush_bytes(s, i, err) && decode_put(s, i + 1, text, n, err);
    }
    case DECODER_SUFFIX:
        str_append_bytes(made, str_text(&step->held), step->held.size);
        replace_all(made, decoder->text, " ");
        str_clear(&step->held);
        str_append_bytes(&step->held, text, n);
        if (!str_ok(&step->held, err)) {
            return false;
        }
        break;
    case DECODER_METASPACE:
        str_append_bytes(made, text, n);
        replace_all(made, decoder->text, first && decoder->flag ? "" : " ");
        break;
    case DECODER_WORDPIECE: {
        size_t prefix = strlen(decoder->text);
        bool continues = n >= prefix && memcmp(text, decoder->text, prefix) == 0;
        str_append(made, first || continues ? "" : " ");
        prefix = !first && continues ? prefix : 0;
        str_append_bytes(made, text + prefix, n - prefix);
        if (decoder->flag) {
            clean_up(made);
        }
        break;
    }
    case DECODER_SPACES:
        str_append(made, first ? "" : " ");
        str_append_bytes(made, text, n);
        break;
    case DECODER_STRIP:
        strip(decoder, text, n, made);
        break;
    case DECODER_REPLACE:
        if (!replace(s, decoder, text, n, made, err)) {
            return false;
        }
        break;
    case DECODER_SENTENCEPIECE:
        break;
    }
    return str_ok(made, err) && decode_put(s, i + 1, str_text(made), made->size, err);
}

/* Strip of a text in parts: takes from the start, holds what may be the end. */
bool decode_strip_part(TokenStream *s, size_t i, const char *text, size_t n, Error *err) {
    const Decoder *decoder = &s->tokenizer->decoder[i];
    Step *step = &s->step[i];
    size_t size = strlen(decoder->text), at = 0, tail = 0;
    Str all = step->held;
    step->held = (Str){0};
    str_append_bytes(&all, text, n);
    if (!str_ok(&all, err)) {
        str_done(&all);
        return false;
    }
    /* step->tokens counts what was taken at the start; behind the start it is beyond any limit. */
    while (!s->middle && step->tokens < decoder->start && all.size - at >= size &&
           memcmp(all.data + at, decoder->text, size) == 0) {
        at += size;
        step->tokens++;
    }
    if (all.size - at >= size) {
        step->tokens = SIZE_MAX;
    }
    while (!s->middle && tail < decoder->stop && all.size - at >= (tail + 1) * size &&
           memcmp(all.data + all.size - (tail + 1) * size, decoder->text, size) == 0) {
        tail++;
    }
    size_t kept = step->tokens == SIZE_MAX ? tail * size : all.size - at;
    bool ok = decode_put(s, i + 1, str_text(&all) + at, all.size - at - kept, err);
    str_append_bytes(&step->held, str_text(&all) + all.size - kept, kept);
    str_done(&all);
    return ok && str_ok(&step->held, err);
}

/* A literal replaced in a text that comes in parts: holds what may become one. */
bool decode_replace_part(TokenStream *s, size_t i, const char *text, size_t n, Error *err) {
    const Decoder *decoder = &s->tokenizer->decoder[i];
    Step *step = &s->step[i];
    const char *literal = decoder->matcher.text;
    size_t size = decoder->matcher.n, at = 0;
    str_append_bytes(&step->held, text, n);
    str_clear(&step->made);
    while (step->held.size - at >= size) {
        const char *found = str_find(step->held.data + at, step->held.size - at, literal, size);
        if (found == NULL) {
            break;
        }
        str_append_bytes(&step->made, step->held.data + at, (size_t)(found - step->held.data) - at);
        str_append(&step->made, decoder->content);
        at = (size_t)(found - step->held.data) + size;
    }
    size_t kept = step->held.size - at < size - 1 ? step->held.size - at : size - 1;
    while (kept > 0 && memcmp(step->held.data + step->held.size - kept, literal, kept) != 0) {
        kept--;
    }
    str_append_bytes(&step->made, str_text(&step->held) + at, step->held.size - at - kept);
    if (kept > 0) {
        memmove(step->held.data, step->held.data + step->held.size - kept, kept);
    }
    step->held.size = kept;
    return str_ok(&step->held, err) && str_ok(&step->made, err) &&
           decode_put(s, i + 1, str_text(&step->made), step->made.size, err);
}

bool decode_finish(TokenStream *s, size_t i, bool fused, Error *err) {
    const Decoder *decoder = &s->tokenizer->decoder[i];
    Step *step = &s->step[i];
    bool ok = true, literal = decoder->matcher.kind == MATCH_LITERAL;
    Str held = {0};
    if (fused && decoder->kind != DECODER_FUSE) {
        held = step->held;
        step->held = (Str){0};
        if (decoder->kind == DECODER_REPLACE && literal) {
            ok = decode_put(s, i + 1, str_text(&held), held.size, err);
        } else if (decoder->kind == DECODER_STRIP) {
            size_t size = strlen(decoder->text), cut = 0;
            while (!s->middle && cut < decoder->stop && held.size >= (cut + 1) * size) {
                cut++;
            }
            ok = decode_put(s, i + 1, str_text(&held), held.size - cut * size, err);
        } else {
            ok = decode_token(s, i, str_text(&held), held.size, err);
        }
        str_done(&held);
    }
    if (decoder->kind == DECODER_BYTE_LEVEL) {
        ok = ok && flush_alphabet(s, i, true, err);
    } else if (decoder->kind == DECODER_BYTE_FALLBACK) {
        ok = ok && flush_bytes(s, i, err);
    } else if (decoder->kind == DECODER_SENTENCEPIECE) {
        ok = ok && flush_pieces(s, i, true, err);
    } else if (decoder->kind == DECODER_SUFFIX && ok && step->tokens > 0) {
        held = step->held;
        step->held = (Str){0};
        replace_all(&held, decoder->text, s->middle ? " " : "");
        ok = str_ok(&held, err) && decode_put(s, i + 1, str_text(&held), held.size, err);
        str_done(&held);
    }
    return ok;
}
