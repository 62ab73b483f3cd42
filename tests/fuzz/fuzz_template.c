/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of templates: whatever is parsed is rendered with a small conversation; it ends, spans cover
 * the text, and what is marked as content has the letters of content only.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/jinja/jinja.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static cJSON *variables;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    variables =
        cJSON_Parse("{\"n\":3,\"x\":1.5,\"none\":null,\"t\":true,\"list\":[1,\"a\",[2]],"
                    "\"d\":{\"k\":\"v\",\"a\":1},\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    return variables == NULL;
}

static void check_spans(const JinjaText *text) {
    size_t at = 0;
    for (size_t i = 0; i < text->spans; i++) {
        if (text->span[i].end <= at || text->span[i].source < -1 || text->span[i].source > 1) {
            abort();
        }
        at = text->span[i].end;
    }
    if (at != text->size ||
        (text->size > 0 && utf8_invalid_at(text->text, text->size) != text->size)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const JinjaMessage message[] = {
        {"user",      " Hi \xC3\xA9\n<b> ", 11},
        {"assistant", "Yes, 'no'",          9 }
    };
    JinjaContext context = {
        .variables = variables, .message = message, .messages = 2, .date = "2026-03-07"};
    Error err = {0};
    Jinja *jinja = jinja_parse((const char *)data, size, NULL, &err);
    if (jinja == NULL) {
        if (err.code != ERROR_DATA) {
            abort();
        }
        return 0;
    }
    JinjaText text = {0};
    if (jinja_render(jinja, &context, &text, &err)) {
        check_spans(&text);
        jinja_text_done(&text);
    } else if (err.code != ERROR_DATA || (err.line == 0 && err.column == 0)) {
        abort();
    }
    jinja_free(jinja);
    return 0;
}
