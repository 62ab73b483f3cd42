/* SPDX-License-Identifier: MIT
 *
 * UTF-8 (RFC 3629): surrogates, overlong forms and code points above U+10FFFF are refused.
 */
#ifndef RLHF_BASE_UTF8_H
#define RLHF_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the code point at text (n > 0 bytes left), and the code point through *code (may be
 * NULL); 0 if the bytes are not valid UTF-8. */
size_t utf8_decode(const char *text, size_t n, uint32_t *code);

/* Whether a byte goes on with a code point, not begins one. */
static inline bool utf8_continues(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Writes a code point, returns its bytes (1..4). */
size_t utf8_encode(uint32_t code, char out[4]);

/* Offset of the first invalid byte, or n if all is valid. */
size_t utf8_invalid_at(const char *text, size_t n);

#endif
