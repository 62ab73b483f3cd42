/* SPDX-License-Identifier: MIT */
#include "tests/text/cases.h"

#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "tests/support/support.h"

Tokenizer *case_tokenizer(const char *path) {
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    assert_ok(tokenizer != NULL, &err);
    return tokenizer;
}

void cases_check(Cases *cases) {
    Error err = {0};
    LineReader reader;
    char path[1024], name[64] = "";
    Tokenizer *read = NULL;
    bool got = true;
    snprintf(path, sizeof path, "%s/%s", cases->folder, cases->file);
    assert_ok(line_reader_open(&reader, path, 1 << 20, &err), &err);
    for (;;) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        if (!got) {
            break;
        }
        cJSON *row = json_parse(str_text(&reader.line), reader.line.size, cases->file,
                                reader.number, &json_limits_line, &err);
        assert_ok(row != NULL, &err);
        const char *wanted = json_string(json_member(row, cases->key));
        if (cases->only == NULL || strcmp(cases->only, wanted) == 0) {
            if (cases->given == NULL && strcmp(name, wanted) != 0) {
                snprintf(name, sizeof name, "%s", wanted);
                snprintf(path, sizeof path, "%s/%s%s", cases->folder, name, cases->end);
                tokenizer_free(read);
                read = case_tokenizer(path);
                cases->tokenizers++;
            }
            cases->check(cases->given != NULL ? cases->given : read, row);
            cases->rows++;
        }
        cJSON_Delete(row);
    }
    line_reader_close(&reader);
    tokenizer_free(read);
}

void check_decoded(const Tokenizer *tokenizer, const int32_t *id, size_t n, bool skip_special,
                   const char *want, const char *name) {
    Error err = {0};
    Str whole = {0}, stream = {0};
    assert_ok(tokenizer_decode(tokenizer, id, n, skip_special, true, &whole, &err), &err);
    if (strcmp(str_text(&whole), want) != 0) {
        fail_msg("%s: decoded \"%s\", expected \"%s\"", name, str_text(&whole), want);
    }
    TokenStream *s = token_stream_create(tokenizer, skip_special, true, &err);
    assert_ok(s != NULL, &err);
    for (int round = 0; round < 2; round++) {
        str_clear(&stream);
        for (size_t i = 0; i < n; i++) {
            assert_ok(token_stream_put(s, id[i], &stream, &err), &err);
            assert_true(stream.size <= whole.size &&
                        memcmp(str_text(&stream), str_text(&whole), stream.size) == 0);
        }
        assert_ok(token_stream_end(s, &stream, &err), &err);
        assert_string_equal(str_text(&stream), str_text(&whole));
    }
    token_stream_free(s);
    str_done(&whole);
    str_done(&stream);
}

void check_ids(const cJSON *want, const Tokens *got, const char *what, const char *name,
               const char *text) {
    if (want == NULL || cJSON_IsNull(want)) {
        return;
    }
    size_t i = 0;
    for (const cJSON *item = want->child; item != NULL; item = item->next, i++) {
        if (i >= got->count || got->id[i] != (int)item->valuedouble) {
            fail_msg("%s: %s %zu of \"%s\": %d, expected %d", name, what, i, text,
                     i < got->count ? got->id[i] : -1, (int)item->valuedouble);
        }
    }
    if (i != got->count) {
        fail_msg("%s: %zu %s of \"%s\", expected %zu", name, got->count, what, text, i);
    }
}
