/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/internal.h"

static bool model_piece(void *context, const char *piece, size_t n, Error *err) {
    Encoder *encoder = context;
    switch (encoder->tokenizer->kind) {
    case MODEL_UNIGRAM:
        return encoder_unigram(encoder, piece, n, err);
    case MODEL_WORDPIECE:
        return encoder_wordpiece(encoder, piece, n, err);
    case MODEL_BPE:
        break;
    }
    return encoder_merge(encoder, piece, n, err);
}

/* Does a match at [start, stop) touch a word character on either side? */
static bool touches_word(const char *text, size_t n, size_t start, size_t stop) {
    size_t last = start;
    uint32_t before = 0, behind = 0;
    while (last > 0 && utf8_continues(text[--last])) {
    }
    return (start > 0 && utf8_decode(text + last, start - last, &before) > 0 && is_word(before)) ||
           (stop < n && utf8_decode(text + stop, n - stop, &behind) > 0 && is_word(behind));
}

static Span part_of(Span text, size_t begin, size_t end) {
    Span part = {text.text + begin, end - begin, text.first > begin ? text.first - begin : 0};
    part.first = part.first < part.n ? part.first : part.n;
    return part;
}

static bool encode_phase(Encoder *encoder, int phase, Span text, Error *err);

/* What lies between added tokens: normalized behind the raw ones, split behind the others. */
static bool encode_rest(Encoder *encoder, int phase, Span text, Error *err) {
    if (phase == 1) {
        return encoder_pieces(encoder, text, model_piece, encoder, err);
    }
    Span normal;
    return encoder_normalize(encoder, text, &normal, err) &&
           (normal.n == 0 || encode_phase(encoder, 1, normal, err));
}

static bool encode_phase(Encoder *encoder, int phase, Span text, Error *err) {
    const Tokenizer *tokenizer = encoder->tokenizer;
    const Trie *tree = &tokenizer->tree[phase];
    size_t n = text.n;
    /* done: what has been encoded; at: where the search goes on. They differ where a match was
     * refused and where stripping took white space that holds another match. */
    size_t done = 0, at = tree->count == 0 ? n : 0, space_end = 0;
    while (at < n) {
        size_t length = 0;
        int32_t index = -1;
        if (tokenizer->begins[phase][(unsigned char)text.text[at]]) {
            index = trie_longest(tree, TRIE_ROOT, text.text + at, n - at, &length);
        }
        if (index < 0) {
            at++;
            continue;
        }
        const AddedToken *added = &tokenizer->added[(size_t)index % tokenizer->added_count];
        size_t start = at, stop = at + length;
        at = stop;
        if ((added->special && !encoder->special) ||
            (added->single_word && touches_word(text.text, n, start, stop))) {
            continue;
        }
        if (added->lstrip) {
            start = start > done ? start - white_space_after(text.text + done, start - done) : done;
        }
        if (added->rstrip) {
            if (stop >= space_end) {
                space_end = stop + white_space_before(text.text + stop, n - stop);
            }
            stop = space_end;
        }
        if (start > done && !encode_rest(encoder, phase, part_of(text, done, start), err)) {
            return false;
        }
        if (!tokens_push(encoder->out, added->id, err)) {
            return false;
        }
        done = stop;
    }
    return done >= n || encode_rest(encoder, phase, part_of(text, done, n), err);
}

bool encoder_added(Encoder *encoder, const char *text, size_t n, Error *err) {
    return encode_phase(encoder, 0, (Span){text, n, utf8_decode(text, n, NULL)}, err);
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
    encoder.special = special;
    size_t before = out->count;
    bool ok = encoder_added(&encoder, text, n, err);
    encoder_done(&encoder);
    out->count = ok ? out->count : before;
    return ok;
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

int32_t tokenizer_mask(const Tokenizer *tokenizer) {
    static const char *const usual[] = {"[MASK]", "<mask>"};
    int32_t id = tokenizer->mask;
    for (size_t i = 0; id < 0 && i < 2; i++) {
        id = tokenizer_find(tokenizer, usual[i]);
    }
    return id;
}

int32_t tokenizer_pad(const Tokenizer *tokenizer) {
    return tokenizer->pad;
}

int32_t tokenizer_unknown(const Tokenizer *tokenizer) {
    return tokenizer->unknown;
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
