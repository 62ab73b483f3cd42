/* SPDX-License-Identifier: MIT
 *
 * Files of cases: JSON lines, each with what another program made of a text with the tokenizer it names.
 */
#ifndef RLHF_TESTS_TEXT_CASES_H
#define RLHF_TESTS_TEXT_CASES_H

#include "common/base/json.h"
#include "common/text/tokenizer.h"

Tokenizer *case_tokenizer(const char *path); /* fails the test when it cannot be read */

typedef struct Cases {
    const char *folder, *file; /* of the rows; tokenizer NAME is folder/NAMEend */
    const char *key, *end;     /* key: the member that names the tokenizer */
    const char *only;          /* or NULL: its rows alone */
    const Tokenizer *given;    /* or NULL: instead of the one that a row names */
    void (*check)(const Tokenizer *tokenizer, const cJSON *row);
    size_t rows, tokenizers; /* checked, and read */
} Cases;
void cases_check(Cases *cases);

/* The ids decoded whole, and in a stream of which each part only adds; twice, since after its end a stream
 * is as new. */
void check_decoded(const Tokenizer *tokenizer, const int32_t *id, size_t n, bool skip_special,
                   const char *want, const char *name);

/* The list of a row; NULL and null ask for nothing. */
void check_ids(const cJSON *want, const Tokens *got, const char *what, const char *name,
               const char *text);

#endif
