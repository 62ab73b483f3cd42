/* SPDX-License-Identifier: MIT
 *
 * What the tokenizer knows of Unicode: the byte-level alphabet, white space, classes, lower case,
 * normal forms.
 *
 * Each class is the one that the same step of Hugging Face's tokenizers uses; they come from
 * different versions of Unicode, so they are tables of our own (mint_unicode.py). Normal forms take
 * their data from utf8proc, but know nothing that came after Unicode 9.
 */
#ifndef RLHF_TEXT_UNICODE_H
#define RLHF_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/str.h"

/* Byte-level alphabet (GPT-2): a printable code point for every byte. */
uint32_t byte_level_code(unsigned char byte);
int byte_level_byte(uint32_t code); /* -1: no byte */
void byte_level_write(const char *bytes, size_t n, Str *out);
/* Reverses it; text with a code point outside of the alphabet is appended as it is. */
void byte_level_read(const char *text, size_t n, Str *out);

/* Appends bytes with every maximal ill-formed part replaced by U+FFFD (Unicode 3.9, as Rust
 * does). */
void utf8_replace(const char *bytes, size_t n, Str *out);
/* Bytes at the end of a text that begin a code point and lack its rest. */
size_t utf8_unfinished(const char *bytes, size_t n);

/* Bytes of the white space (White_Space property) at the start or the end of valid UTF-8. */
size_t white_space_before(const char *text, size_t n);
size_t white_space_after(const char *text, size_t n);

bool is_white_space(uint32_t code);
bool is_mark(uint32_t code);        /* M */
bool is_nonspacing(uint32_t code);  /* Mn */
bool is_control(uint32_t code);     /* Cc, Cf, Co, U+FFFD, but for tab, newline, carriage return */
bool is_punctuation(uint32_t code); /* P, and all ASCII that is no letter, digit, space, control */
bool is_number(uint32_t code);      /* N */
bool is_word(uint32_t code);        /* a word character: \w */

/* Lower case of one code point: writes 1 or 2 code points, returns how many. */
size_t lower_case(uint32_t code, uint32_t out[2]);

typedef struct CodeRange {
    uint32_t first, last;
} CodeRange;
typedef struct CaseRange {
    uint32_t first, last; /* every step-th of them */
    int32_t delta;
    uint32_t step;
} CaseRange;
typedef struct CategoryAddition {
    const char *category;
    const char *codes; /* items of a character class of PCRE2 */
} CategoryAddition;
extern const CategoryAddition unicode_additions[];
extern const size_t unicode_additions_count;
extern const CodeRange unicode_mark[], unicode_nonspacing[], unicode_control[],
    unicode_punctuation[], unicode_number[], unicode_word[], unicode_newer[];
extern const size_t unicode_mark_count, unicode_nonspacing_count, unicode_control_count,
    unicode_punctuation_count, unicode_number_count, unicode_word_count, unicode_newer_count;
extern const CaseRange unicode_lower_case[];
extern const size_t unicode_lower_case_count;

/* Normal forms (UAX 15). */
typedef enum NormalForm { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD } NormalForm;
/* Code points being normalized; initialize with {0}. */
typedef struct CodeBuffer {
    int32_t *code; /* owned */
    size_t capacity;
} CodeBuffer;
/* Appends the normal form of n bytes of valid UTF-8. */
bool normal_form(NormalForm form, const char *text, size_t n, CodeBuffer *buffer, Str *out,
                 Error *err);

#endif
