/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

static bool merge_piece(void *context, const char *piece, size_t n, Error *err) {
    return encoder_merge(context, piece, n, err);
}

/* The longest added token of a phase that begins at `text`, or NULL. */
static const AddedToken *added_at(const Tokenizer *tokenizer, int phase, const char *text,
                                  size_t n) {
    const PairMap *tree = &tokenizer->tree[phase];
    const AddedToken *longest = NULL;
    int32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const PairSlot *edge = pair_map_find(tree, node, (unsigned char)text[i]);
        if (edge == NULL) {
            break;
        }
        node = edge->result;
        const PairSlot *end = pair_map_find(tree, node, NODE_END);
        longest = end == NULL ? longest : &tokenizer->added[end->rank];
    }
    return longest;
}

static bool is_word(Encoder *encoder, const char *text, size_t n) {
    pcre2_match_data *match = encoder->match[encoder->tokenizer->stages];
    return encoder_match(encoder, encoder->tokenizer->word, text, n, 0, match) >= 0;
}

/* Does a match at [start, stop) touch a word character on either side? */
static bool touches_word(Encoder *encoder, const char *text, size_t n, size_t start, size_t stop) {
    size_t last = start;
    while (last > 0 && ((unsigned char)text[--last] & 0xc0) == 0x80) {
    }
    return (start > 0 && is_word(encoder, text + last, start - last)) ||
           (stop < n && is_word(encoder, text + stop, utf8_decode(text + stop, n - stop, NULL)));
}

static bool encode_phase(Encoder *encoder, int phase, const char *text, size_t n, bool special,
                         Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    if (phase == 2) {
        return encoder_pieces(encoder, text, n, merge_piece, encoder, err);
    }
    if (tokenizer->tree[phase].count == 0) {
        return encode_phase(encoder, phase + 1, text, n, special, err);
    }
    /* done: what has been encoded; at: where the search goes on. They differ where a match was
     * refused and where stripping took white space that holds another match. */
    size_t done = 0, at = 0, space_end = 0;
    while (at < n) {
        const AddedToken *added = NULL;
        if (tokenizer->begins[phase][(unsigned char)text[at]]) {
            added = added_at(tokenizer, phase, text + at, n - at);
        }
        if (added == NULL) {
            at++;
            continue;
        }
        size_t start = at, stop = at + added->n;
        at = stop;
        if ((added->special && !special) ||
            (added->single_word && touches_word(encoder, text, n, start, stop))) {
            continue;
        }
        if (added->lstrip) {
            start = start > done ? start - white_space_after(text + done, start - done) : done;
        }
        if (added->rstrip) {
            if (stop >= space_end) {
                space_end = stop + white_space_before(text + stop, n - stop);
            }
            stop = space_end;
        }
        if (start > done &&
            !encode_phase(encoder, phase + 1, text + done, start - done, special, err)) {
            return false;
        }
        if (!tokens_push(encoder->out, added->id, err)) {
            return false;
        }
        done = stop;
    }
    return done >= n || encode_phase(encoder, phase + 1, text + done, n - done, special, err);
}

bool encoder_added(Encoder *encoder, const char *text, size_t n, bool special, Error *err) {
    return encode_phase(encoder, 0, text, n, special, err);
}

bool tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t n, bool special,
                      Tokens *out, Error *err) {
    if (n == 0) {
        return true;
    }
    size_t bad = utf8_invalid_at(text, n);
    if (bad < n) {
        return error_set(err, ERROR_DATA, "byte %zu of the text, 0x%02x, is not valid UTF-8",
                         bad + 1, (unsigned char)text[bad]);
    }
    Encoder encoder;
    if (!encoder_init(&encoder, tokenizer, out, err)) {
        return false;
    }
    size_t before = out->count;
    bool ok = encoder_added(&encoder, text, n, special, err);
    encoder_done(&encoder);
    out->count = ok ? out->count : before;
    return ok;
}

bool tokenizer_decode(const Tokenizer *tokenizer, const int32_t *id, size_t n, bool skip_special,
                      bool replace, Str *out, Error *err) {
    Str bytes = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        size_t size = 0;
        const char *text = tokenizer_bytes(tokenizer, id[i], &size);
        if (text == NULL) {
            ok = error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                          "id %d is not in the vocabulary of %zu tokens", id[i],
                          tokenizer->vocabulary);
        } else if (!skip_special || !tokenizer_is_special(tokenizer, id[i])) {
            str_append_bytes(&bytes, text, size);
        }
    }
    ok = ok && str_ok(&bytes, err);
    if (ok && replace) {
        utf8_replace(str_text(&bytes), bytes.size, out);
    } else if (ok) {
        str_append_bytes(out, str_text(&bytes), bytes.size);
    }
    str_done(&bytes);
    return ok && str_ok(out, err);
}

const char *tokenizer_bytes(const Tokenizer *tokenizer, int32_t id, size_t *n) {
    if (id < 0 || (size_t)id >= tokenizer->vocabulary || tokenizer->token[id].text == NULL) {
        *n = 0;
        return NULL;
    }
    *n = tokenizer->token[id].size;
    return tokenizer->token[id].bytes;
}

const char *tokenizer_text(const Tokenizer *tokenizer, int32_t id) {
    bool known = id >= 0 && (size_t)id < tokenizer->vocabulary;
    return known ? tokenizer->token[id].text : NULL;
}

size_t tokenizer_vocabulary(const Tokenizer *tokenizer) {
    return tokenizer->vocabulary;
}

int32_t tokenizer_eos(const Tokenizer *tokenizer) {
    return tokenizer->eos;
}

int32_t tokenizer_bos(const Tokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t tokenizer_pad(const Tokenizer *tokenizer) {
    return tokenizer->pad;
}

bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->vocabulary &&
           (tokenizer->token[id].flags & TOKEN_SPECIAL) != 0;
}

int32_t tokenizer_find(const Tokenizer *tokenizer, const char *content) {
    size_t n = strlen(content);
    int32_t id = name_map_find(&tokenizer->contents, content, n);
    return id >= 0 ? id : name_map_find(&tokenizer->model, content, n);
}

uint64_t tokenizer_fingerprint(const Tokenizer *tokenizer) {
    return tokenizer->fingerprint;
}
