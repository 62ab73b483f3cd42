/* SPDX-License-Identifier: MIT
 *
 * SentencePiece's normalizer and its table, precompiled_charsmap: the size of a Darts trie in bytes, its units, then texts
 * that end in NUL. Every step through it is checked: the file may say anything.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/sentencepiece.h"

static uint32_t little(const char *bytes) {
    const unsigned char *b = (const unsigned char *)bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool fault(const char *file, Error *err, const char *what) {
    return error_at(err, ERROR_DATA, file, 0, 0, "precompiled_charsmap: %s", what);
}

/* Darts: bits 0 to 7 and 31 are the label, bit 8 says that a key ends, the rest leads on. */
static uint32_t offset(uint32_t unit) {
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Whether all replacements begin with a character: a text that begins inside of one is not UTF-8. */
static bool replacements_begin(const Charsmap *map) {
    for (size_t i = 0; i < map->units; i++) {
        uint32_t unit = map->unit[i];
        size_t end = i ^ offset(unit);
        if ((unit & 1u << 31) != 0 || (unit & 1u << 8) == 0 || end >= map->units) {
            continue;
        }
        uint32_t value = map->unit[end] & 0x7fffffff;
        if (value < map->n && utf8_continues(map->text[value])) {
            return false;
        }
    }
    return true;
}

bool charsmap_read(Charsmap *map, const char *bytes, size_t n, const char *file, Error *err) {
    *map = (Charsmap){0};
    if (n < 4) {
        return fault(file, err, "expected the size of its tree, found fewer than 4 bytes");
    }
    size_t tree = little(bytes);
    if (tree % 4 != 0 || tree == 0 || tree > n - 4) {
        return fault(file, err, "the size of its tree does not fit its bytes");
    }
    map->units = tree / 4;
    map->n = n - 4 - tree;
    map->unit = mem_alloc(map->units, sizeof *map->unit, err);
    map->text = map->unit == NULL ? NULL : mem_strndup(bytes + 4 + tree, map->n, err);
    if (map->text == NULL) {
        charsmap_done(map);
        return false;
    }
    for (size_t i = 0; i < map->units; i++) {
        map->unit[i] = little(bytes + 4 + 4 * i);
    }
    if (utf8_invalid_at(map->text, map->n) < map->n) {
        charsmap_done(map);
        return fault(file, err, "its texts are not valid UTF-8");
    }
    if (!replacements_begin(map)) {
        charsmap_done(map);
        return fault(file, err, "a replacement begins inside a character");
    }
    return true;
}

void charsmap_done(Charsmap *map) {
    free(map->unit);
    free(map->text);
    *map = (Charsmap){0};
}

static const char *search(const Charsmap *map, const char *text, size_t n, bool longest,
                          size_t *length) {
    const char *found = NULL;
    if (map->units == 0) {
        return NULL;
    }
    uint32_t at = offset(map->unit[0]);
    for (size_t i = 0; i < n && text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= map->units || (map->unit[at] & (1u << 31 | 0xff)) != byte) {
            break;
        }
        uint32_t unit = map->unit[at];
        at ^= offset(unit);
        if ((unit & 1u << 8) != 0 && at < map->units) {
            uint32_t value = map->unit[at] & 0x7fffffff;
            bool cuts = i + 1 < n && utf8_continues(text[i + 1]);
            if (value < map->n && !(longest && cuts)) {
                found = map->text + value;
                *length = i + 1;
                if (!longest) {
                    break;
                }
            }
        }
    }
    return found;
}

const char *charsmap_shortest(const Charsmap *map, const char *text, size_t n) {
    size_t length = 0;
    return search(map, text, n, false, &length);
}

const char *charsmap_longest(const Charsmap *map, const char *text, size_t n, size_t *length) {
    *length = 0;
    return search(map, text, n, true, length);
}

void sentencepiece_normalize(const Tokenizer *tokenizer, const Normalizer *step, const char *text,
                             size_t n, Str *out) {
    static const char sign[] = "\xe2\x96\x81";
    const char *space = step->escape ? sign : " ";
    size_t at = 0, start = out->size, length = 0, size = strlen(space);
    bool after_space = step->squeeze, begun = false;
    while (at < n) {
        const char *to = text + at;
        size_t bytes = 0;
        if (trie_longest(&tokenizer->whole, TRIE_ROOT, text + at, n - at, &length) >= 0) {
            bytes = length;
        } else if ((to = charsmap_longest(&step->map, text + at, n - at, &length)) != NULL) {
            bytes = strlen(to);
        } else {
            to = text + at;
            bytes = length = utf8_decode(text + at, n - at, NULL);
        }
        at += length;
        if (!begun && step->squeeze && bytes == 1 && *to == ' ') {
            continue; /* spaces before anything else */
        }
        if (!begun && step->left) {
            str_append(out, space);
        }
        begun = true;
        while (after_space && bytes > 0 && *to == ' ') {
            to++;
            bytes--;
        }
        for (size_t i = 0; i < bytes; i++) {
            str_append_bytes(out, to[i] == ' ' ? space : to + i, to[i] == ' ' ? size : 1);
        }
        after_space = bytes > 0 ? to[bytes - 1] == ' ' : after_space;
        after_space = after_space && step->squeeze;
    }
    while (step->squeeze && out->size - start >= size &&
           memcmp(out->data + out->size - size, space, size) == 0) {
        out->size -= size;
    }
    if (begun && step->right) {
        str_append(out, space);
    }
}
