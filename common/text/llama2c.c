/* SPDX-License-Identifier: MIT
 *
 * llama2.c's tokenizer.bin was made from a SentencePiece model: U+2581 became a space, and BOS and
 * EOS got newlines around them. Its program merges, and prepends a space, as SentencePiece does.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/text/protobuf.h"
#include "common/text/sentencepiece.h"

static uint32_t little(const char *bytes) {
    const unsigned char *b = (const unsigned char *)bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool is(const char *text, size_t n, const char *what) {
    return n == strlen(what) && memcmp(text, what, n) == 0;
}

static bool is_byte(const char *text, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    return n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' && text[3] != '\0' &&
           text[4] != '\0' && strchr(digits, text[3]) != NULL && strchr(digits, text[4]) != NULL;
}

static void put_piece(const char *text, size_t n, float score, size_t id, bool *bytes, Str *out) {
    PieceType type = PIECE_NORMAL;
    Str spelled = {0}, piece = {0};
    if (id == 0) {
        type = PIECE_UNKNOWN;
    } else if (is(text, n, "\n<s>\n") || is(text, n, "\n</s>\n")) {
        type = PIECE_CONTROL;
        text++;
        n -= 2;
    } else if (is_byte(text, n)) {
        type = PIECE_BYTE;
        *bytes = true;
    }
    for (size_t i = 0; i < n; i++) {
        str_append_bytes(&spelled, text[i] == ' ' ? "\xe2\x96\x81" : text + i,
                         text[i] == ' ' ? 3 : 1);
    }
    field_put_bytes(&piece, PIECE_TEXT, str_text(&spelled), spelled.size);
    field_put_float(&piece, PIECE_SCORE, score);
    field_put_number(&piece, PIECE_TYPE, (uint64_t)type);
    field_put_bytes(out, MODEL_PIECES, str_text(&piece), piece.size);
    out->failed = out->failed || spelled.failed || piece.failed;
    str_done(&spelled);
    str_done(&piece);
}

bool llama2c_convert(const char *bytes, size_t n, const char *file, Str *out, Error *err) {
    size_t at = 4, id = 0;
    bool fallback = false;
    for (; at < n; id++) {
        uint32_t bits = n - at >= 8 ? little(bytes + at) : 0;
        uint32_t size = n - at >= 8 ? little(bytes + at + 4) : 0;
        float score = 0;
        memcpy(&score, &bits, sizeof score);
        if (n - at < 8 || size == 0 || size > n - at - 8 || size > PIECE_BYTES_MAX ||
            !isfinite(score) || utf8_invalid_at(bytes + at + 8, size) < size) {
            return error_at(err, ERROR_DATA, file, 0, 0,
                            "token %zu, at byte %zu: expected a score, a size and a text of that "
                            "size, as llama2.c writes a tokenizer",
                            id, at);
        }
        put_piece(bytes + at + 8, size, score, id, &fallback, out);
        at += 8 + size;
    }
    if (id == 0) {
        return error_at(err, ERROR_DATA, file, 0, 0, "no tokens");
    }
    Str trainer = {0}, normalizer = {0};
    field_put_number(&trainer, TRAINER_KIND, PIECE_MODEL_BPE);
    field_put_number(&trainer, TRAINER_BYTE_FALLBACK, fallback);
    field_put_bytes(&normalizer, NORMALIZER_NAME, "identity", 8);
    field_put_number(&normalizer, NORMALIZER_DUMMY_PREFIX, 1);
    field_put_number(&normalizer, NORMALIZER_SQUEEZE, 0);
    field_put_number(&normalizer, NORMALIZER_ESCAPE, 1);
    field_put_bytes(out, MODEL_TRAINER, str_text(&trainer), trainer.size);
    field_put_bytes(out, MODEL_NORMALIZER, str_text(&normalizer), normalizer.size);
    out->failed = out->failed || trainer.failed || normalizer.failed;
    str_done(&trainer);
    str_done(&normalizer);
    return str_ok(out, err);
}
