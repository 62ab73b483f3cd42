/* SPDX-License-Identifier: MIT */
#include "datasets/facts_words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/utf8.h"

enum { LONGEST_WORD = 64 }; /* bytes; the rest of a longer word does not count */

typedef enum Class { CLASS_LETTER, CLASS_BLANK, CLASS_COMMA, CLASS_STOP, CLASS_APOSTROPHE } Class;

/* U+00C0 ... U+017F without their accents; 0: no single letter. */
static char base_letter(uint32_t code) {
    static const char latin[] = "aaaaaaaceeeeiiiidnooooo*ouuuuyts"
                                "aaaaaaaceeeeiiiidnooooo/ouuuuyty"
                                "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll"
                                "lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
    return code >= 0xC0 && code < 0xC0 + sizeof latin - 1 ? latin[code - 0xC0] : '\0';
}

static Class classify(uint32_t code, char *letter) {
    *letter = '\0';
    if (code < 0x80) {
        *letter = (char)tolower((int)code);
        if (isalnum((int)code) || code == '$') {
            return CLASS_LETTER;
        }
        return strchr(".!?;", (int)code) != NULL     ? CLASS_STOP
               : code == '\''                        ? CLASS_APOSTROPHE
               : strchr(",:()\"", (int)code) != NULL ? CLASS_COMMA
                                                     : CLASS_BLANK;
    }
    if (code == 0x2018 || code == 0x2019) {
        return CLASS_APOSTROPHE;
    }
    if (code == 0xA0 || (code >= 0x2000 && code <= 0x206F)) {
        return CLASS_BLANK; /* spaces and dashes */
    }
    *letter = base_letter(code);
    return CLASS_LETTER;
}

uint64_t word_hash(const char *folded, size_t n) {
    uint64_t hash = hash_bytes(folded, n);
    return hash <= WORD_HIDDEN ? hash + 3 : hash;
}

static bool push(Words *words, uint64_t word, Error *err) {
    if (!mem_reserve(&words->word, &words->capacity, words->count + 1, sizeof *words->word, err)) {
        return false;
    }
    words->word[words->count++] = word;
    return true;
}

/* Ends the word under construction. */
static bool finish(Words *words, char *buffer, size_t *used, Error *err) {
    size_t n = *used;
    *used = 0;
    while (n > 0 && buffer[n - 1] == '\'') {
        n--;
    }
    if (n > 2 && buffer[n - 1] == 's' && buffer[n - 2] == '\'') {
        n -= 2;
    }
    return n == 0 || push(words, word_hash(buffer, n), err);
}

bool words_split(Words *words, const char *text, size_t n, Error *err) {
    char buffer[LONGEST_WORD + 8];
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0xFFFD;
        size_t bytes = utf8_decode(text + i, n - i, &code);
        bytes = bytes == 0 ? 1 : bytes;
        char letter;
        Class class = classify(code, &letter);
        /* "4.5" and "1,000" are one word */
        bool inside = (class == CLASS_STOP || class == CLASS_COMMA) && used > 0 &&
                      isdigit((unsigned char)buffer[used - 1]) && i + 1 < n &&
                      isdigit((unsigned char)text[i + 1]);
        bool apostrophe = class == CLASS_APOSTROPHE && used > 0;
        if (class == CLASS_LETTER || inside || apostrophe) {
            if (used < LONGEST_WORD && letter != '\0') {
                buffer[used++] = letter;
            } else if (used < LONGEST_WORD && apostrophe) {
                buffer[used++] = '\'';
            } else if (used < LONGEST_WORD) {
                memcpy(buffer + used, text + i, bytes);
                used += bytes;
            }
        } else {
            bool mark = class == CLASS_STOP || class == CLASS_COMMA;
            if (!finish(words, buffer, &used, err) ||
                (mark && !push(words, class == CLASS_STOP ? WORD_STOP : WORD_COMMA, err))) {
                return false;
            }
        }
        i += bytes;
    }
    return finish(words, buffer, &used, err);
}

void words_done(Words *words) {
    free(words->word);
    *words = (Words){0};
}

bool word_single(const char *text, size_t n, uint64_t *word) {
    Words words = {0};
    bool one =
        words_split(&words, text, n, NULL) && words.count == 1 && words.word[0] > WORD_HIDDEN;
    if (one) {
        *word = words.word[0];
    }
    words_done(&words);
    return one;
}

bool word_set_add(WordSet *set, uint64_t word, Error *err) {
    if (!mem_reserve(&set->word, &set->capacity, set->count + 1, sizeof *set->word, err)) {
        return false;
    }
    set->word[set->count++] = word;
    return true;
}

bool word_set_has(const WordSet *set, uint64_t word) {
    for (size_t i = 0; i < set->count; i++) {
        if (set->word[i] == word) {
            return true;
        }
    }
    return false;
}

void word_set_done(WordSet *set) {
    free(set->word);
    *set = (WordSet){0};
}
