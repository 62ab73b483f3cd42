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

/* Length of the word in the buffer without a possessive 's and apostrophes at its end. */
static size_t trimmed(const char *buffer, size_t n) {
    while (n > 0 && buffer[n - 1] == '\'') {
        n--;
    }
    return n > 2 && buffer[n - 1] == 's' && buffer[n - 2] == '\'' ? n - 2 : n;
}

/* The next word or mark from *at on; false at the end. */
static bool next_entry(const char *text, size_t n, size_t *at, uint64_t *entry) {
    char buffer[LONGEST_WORD + 8];
    size_t used = 0;
    while (*at < n) {
        uint32_t code = 0xFFFD;
        size_t bytes = utf8_decode(text + *at, n - *at, &code);
        bytes = bytes == 0 ? 1 : bytes;
        char letter;
        Class class = classify(code, &letter);
        bool mark = class == CLASS_STOP || class == CLASS_COMMA;
        /* "4.5" and "1,000" are one word */
        bool inside = mark && used > 0 && isdigit((unsigned char)buffer[used - 1]) && *at + 1 < n &&
                      isdigit((unsigned char)text[*at + 1]);
        if (class == CLASS_LETTER || inside || (class == CLASS_APOSTROPHE && used > 0)) {
            if (used < LONGEST_WORD && class == CLASS_APOSTROPHE) {
                buffer[used++] = '\'';
            } else if (used < LONGEST_WORD && letter != '\0') {
                buffer[used++] = letter;
            } else if (used < LONGEST_WORD) {
                memcpy(buffer + used, text + *at, bytes);
                used += bytes;
            }
        } else if (used > 0) {
            break;
        } else if (mark) {
            *at += bytes;
            *entry = class == CLASS_STOP ? WORD_STOP : WORD_COMMA;
            return true;
        }
        *at += bytes;
    }
    if (used > 0) {
        *entry = word_hash(buffer, trimmed(buffer, used));
    }
    return used > 0;
}

bool words_split(Words *words, const char *text, size_t n, Error *err) {
    size_t at = 0;
    for (uint64_t entry; next_entry(text, n, &at, &entry);) {
        if (!mem_reserve(&words->word, &words->capacity, words->count + 1, sizeof *words->word,
                         err)) {
            return false;
        }
        words->word[words->count++] = entry;
    }
    return true;
}

void words_done(Words *words) {
    free(words->word);
    *words = (Words){0};
}

bool word_single(const char *text, size_t n, uint64_t *word) {
    size_t at = 0;
    uint64_t more;
    return next_entry(text, n, &at, word) && *word > WORD_HIDDEN &&
           !next_entry(text, n, &at, &more);
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
