/* SPDX-License-Identifier: MIT
 *
 * The normalizers, each a pass over a text. Beside the text they keep how much of it stems from the
 * first character of all (Span.first): what is put in at a place stems from what stood there.
 */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"
#include "common/text/internal.h"
#include "common/text/sentencepiece.h"

static void put_code(Str *out, uint32_t code) {
    char bytes[4];
    size_t n = utf8_encode(code, bytes);
    str_append_bytes(out, bytes, n);
}

/* What BertNormalizer calls Chinese: the blocks of CJK ideographs that BERT's authors listed. */
static bool is_chinese(uint32_t c) {
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Nmt: what its authors removed (0), made a space, or left as it is. */
static uint32_t nmt(uint32_t c) {
    if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f ||
        c == 0x9f) {
        return 0;
    }
    bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
                 (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                 c == 0xfeff || c == 0xfffd;
    return space ? ' ' : c;
}

/* One code point through a step that looks at nothing else. */
static void put_changed(const Normalizer *step, uint32_t code, const char *bytes, size_t size,
                        Str *out) {
    uint32_t lower[2];
    switch (step->kind) {
    case NORMALIZER_LOWERCASE:
        for (size_t i = 0, n = lower_case(code, lower); i < n; i++) {
            put_code(out, lower[i]);
        }
        break;
    case NORMALIZER_STRIP_ACCENTS:
        if (!is_mark(code)) {
            str_append_bytes(out, bytes, size);
        }
        break;
    case NORMALIZER_NMT:
        if (nmt(code) != 0) {
            put_code(out, nmt(code));
        }
        break;
    case NORMALIZER_BYTE_LEVEL:
        byte_level_write(bytes, size, out);
        break;
    default: /* the first half of BERT's */
        if (step->clean && (code == 0 || is_control(code))) {
            break;
        }
        code = step->clean && is_white_space(code) ? ' ' : code;
        str_append(out, step->chinese && is_chinese(code) ? " " : "");
        put_code(out, code);
        str_append(out, step->chinese && is_chinese(code) ? " " : "");
    }
}

/* Bytes at the start of a text that such a step only copies, but for capitals. */
static size_t plain_run(const Normalizer *step, const char *text, size_t n) {
    char least = step->kind == NORMALIZER_BYTE_LEVEL ? '!' : ' ';
    size_t i = 0;
    while (i < n && text[i] >= least && text[i] < 0x7f) {
        i++;
    }
    return i;
}

static void change_each(const Normalizer *step, Span in, Str *out, size_t *first) {
    size_t size = 0;
    for (size_t i = 0; i < in.n; i += size) {
        size_t before = out->size;
        size = plain_run(step, in.text + i, in.n - i);
        if (size > 0) {
            str_append_bytes(out, in.text + i, size);
            for (size_t j = before; step->kind == NORMALIZER_LOWERCASE && j < out->size; j++) {
                char c = out->data[j];
                out->data[j] = (char)(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
            }
            *first = i < in.first ? before + (in.first - i < size ? in.first - i : size) : *first;
            continue;
        }
        uint32_t code = 0;
        size = utf8_decode(in.text + i, in.n - i, &code);
        put_changed(step, code, in.text + i, size, out);
        *first = i < in.first ? out->size : *first;
    }
}

static bool is_ascii(const char *text, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= (unsigned char)text[i];
    }
    return all < 0x80;
}

static bool change_form(Encoder *encoder, NormalForm form, Span in, Str *out, size_t *first,
                        Error *err) {
    if (in.first > 0 && encoder->tokenizer->asks_first) {
        size_t before = out->size;
        if (!normal_form(form, in.text, in.first, &encoder->codes, out, err)) {
            return false;
        }
        *first = out->size - before;
        out->size = before;
    }
    if (!normal_form(form, in.text, in.n, &encoder->codes, out, err)) {
        return false;
    }
    *first = *first < out->size ? *first : out->size;
    return true;
}

static bool change_bert(Encoder *encoder, const Normalizer *step, Span in, Str *out, size_t *first,
                        Error *err) {
    static const Normalizer lowercase = {.kind = NORMALIZER_LOWERCASE};
    change_each(step, in, out, first);
    for (int pass = 0; pass < 2 && str_ok(out, err); pass++) {
        if (pass == 0 ? !step->accents || is_ascii(str_text(out), out->size) : !step->lower) {
            continue;
        }
        Str *text = &encoder->text;
        str_clear(text);
        Span now = {str_text(out), out->size, *first};
        *first = 0;
        if (pass == 1) {
            change_each(&lowercase, now, text, first);
        } else {
            Str form = {0};
            bool ok = change_form(encoder, FORM_NFD, now, &form, first, err);
            for (size_t i = 0, size = 0, kept = *first; ok && i < form.size; i += size) {
                uint32_t code = 0;
                size = utf8_decode(form.data + i, form.size - i, &code);
                str_append_bytes(text, form.data + i, is_nonspacing(code) ? 0 : size);
                *first = i < kept ? text->size : *first;
            }
            ok = ok && str_ok(&form, err);
            str_done(&form);
            if (!ok) {
                return false;
            }
        }
        Str swap = *out;
        *out = *text;
        *text = swap;
    }
    return str_ok(out, err);
}

static bool change_matches(Encoder *encoder, const Normalizer *step, Span in, Str *out,
                           size_t *first, Error *err) {
    size_t at = 0;
    while (at < in.n) {
        size_t begin = 0, end = 0;
        if (!encoder_find(encoder, &step->matcher, in.text, in.n, at, &begin, &end, err)) {
            return false;
        }
        str_append_bytes(out, in.text + at, begin - at);
        if (at < in.first) {
            *first = out->size - (begin > in.first ? begin - in.first : 0);
        }
        if (out->size / GROWTH_MAX > in.n + GROWTH_FREE) {
            return error_set(err, ERROR_DATA, "a normalizer makes more than %d bytes of each",
                             GROWTH_MAX);
        }
        if (end > begin) {
            str_append(out, step->content);
            *first = end <= in.first ? out->size : *first;
        }
        at = end;
    }
    return str_ok(out, err);
}

/* The end of the grapheme that begins at i. */
static size_t grapheme_end(const char *text, size_t n, size_t i, utf8proc_int32_t *state) {
    uint32_t code = 0, next = 0;
    size_t size = utf8_decode(text + i, n - i, &code), end = i + size;
    for (; end < n; end += size) {
        size = utf8_decode(text + end, n - end, &next);
        if (code < 0x80 && next < 0x80 && code != '\r') {
            *state = 0;
            break;
        }
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)code, (utf8proc_int32_t)next,
                                             state)) {
            break;
        }
        code = next;
    }
    return end;
}

/* Replaces what the table has: a grapheme of fewer than 6 bytes as a whole by what its shortest
 * prefix becomes, else each code point by itself. */
static void change_mapped(const Normalizer *step, Span in, Str *out, size_t *first) {
    utf8proc_int32_t state = 0;
    size_t end = 0, size = 0, start = out->size;
    bool lost = false;
    for (size_t i = 0; i < in.n; i = end) {
        end = grapheme_end(in.text, in.n, i, &state);
        const char *to = end - i < 6 ? charsmap_shortest(&step->map, in.text + i, end - i) : NULL;
        bool whole = to != NULL;
        for (size_t j = i; j < end; j += size) {
            size = whole ? end - i : utf8_decode(in.text + j, in.n - j, NULL);
            to = whole ? to : charsmap_shortest(&step->map, in.text + j, size);
            if (to != NULL) {
                str_append(out, to);
            } else {
                str_append_bytes(out, in.text + j, size);
            }
            *first = j < in.first ? out->size - start : *first;
            lost = lost || (j == 0 && out->size == start);
        }
    }
    /* What is removed at the very beginning leaves its place to what comes next. */
    if (lost && in.first > 0 && out->size > start) {
        *first = utf8_decode(out->data + start, out->size - start, NULL);
    }
}

static bool change(Encoder *encoder, const Normalizer *step, Span in, Str *out, size_t *first,
                   Error *err) {
    size_t begin = 0, end = in.n;
    switch (step->kind) {
    case NORMALIZER_FORM:
        return change_form(encoder, step->form, in, out, first, err);
    case NORMALIZER_BERT:
        return change_bert(encoder, step, in, out, first, err);
    case NORMALIZER_REPLACE:
        return change_matches(encoder, step, in, out, first, err);
    case NORMALIZER_CHARSMAP:
        change_mapped(step, in, out, first);
        break;
    case NORMALIZER_SENTENCEPIECE:
        sentencepiece_normalize(encoder->tokenizer, step, in.text, in.n, out);
        break;
    case NORMALIZER_PREPEND:
        str_append(out, step->content);
        str_append_bytes(out, in.text, in.n);
        *first = in.first > 0 ? out->size - in.n + in.first : 0;
        break;
    case NORMALIZER_STRIP:
        begin = step->left ? white_space_before(in.text, in.n) : 0;
        end -= step->right ? white_space_after(in.text + begin, in.n - begin) : 0;
        str_append_bytes(out, in.text + begin, end - begin);
        *first = in.first > begin ? in.first - begin : 0;
        break;
    default:
        change_each(step, in, out, first);
    }
    return str_ok(out, err);
}

bool encoder_normalize(Encoder *encoder, Span text, Span *out, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    *out = text;
    for (size_t i = 0; i < tokenizer->normalizers && out->n > 0; i++) {
        Str *to = &encoder->normal[i % 2];
        size_t first = 0;
        str_clear(to);
        if (!change(encoder, &tokenizer->normalizer[i], *out, to, &first, err)) {
            return false;
        }
        *out = (Span){str_text(to), to->size, first < to->size ? first : to->size};
        if (to->size / GROWTH_MAX > text.n + GROWTH_FREE) {
            return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                            "the normalizer makes %zu bytes of %zu", to->size, text.n);
        }
    }
    return true;
}

void normalizer_done(Normalizer *normalizer) {
    matcher_done(&normalizer->matcher);
    charsmap_done(&normalizer->map);
    free(normalizer->content);
    *normalizer = (Normalizer){0};
}
