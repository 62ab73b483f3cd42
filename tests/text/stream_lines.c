/* SPDX-License-Identifier: MIT
 *
 * stream_lines decode --model PATH --data FILE [--skip-special]: as rlhf-tokenizer with these arguments, for
 * lines that are arrays of ids, but decoded id by id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/text/tokenizer.h"

static bool stream(TokenStream *decoder, const cJSON *list, Str *out, Error *err) {
    bool ok = true;
    for (const cJSON *item = list->child; ok && item != NULL; item = item->next) {
        int64_t id = -1;
        ok = json_integer(item, 0, INT32_MAX, &id)
                 ? token_stream_put(decoder, (int32_t)id, out, err)
                 : error_set(err, ERROR_DATA, "not an id");
    }
    return ok && token_stream_end(decoder, out, err);
}

static bool run(TokenStream *decoder, FILE *file, const char *path, Error *err) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    bool ok = true;
    Str text = {0}, out = {0};
    for (long number = 1; ok && (n = getline(&line, &capacity, file)) >= 0; number++) {
        cJSON *tree = json_parse(line, (size_t)n, path, number, &json_limits_line, err);
        str_clear(&text);
        str_clear(&out);
        ok = tree != NULL && stream(decoder, tree, &text, err);
        str_append(&out, "{\"text\":");
        json_put_string(&out, str_text(&text), text.size);
        str_append(&out, "}\n");
        fwrite(str_text(&out), 1, ok ? out.size : 0, stdout);
        cJSON_Delete(tree);
    }
    str_done(&text);
    str_done(&out);
    free(line);
    return ok;
}

int main(int argc, char **argv) {
    Error err = {0};
    FILE *file = argc >= 6 ? fopen(argv[5], "r") : NULL;
    Tokenizer *tokenizer = file != NULL ? tokenizer_load(argv[3], &err) : NULL;
    TokenStream *decoder =
        tokenizer != NULL ? token_stream_create(tokenizer, argc > 6, true, &err) : NULL;
    bool ok = decoder != NULL && run(decoder, file, argv[5], &err);
    token_stream_free(decoder);
    tokenizer_free(tokenizer);
    if (file != NULL) {
        fclose(file);
    }
    if (!ok) {
        error_print(&err, "stream_lines", stderr);
    }
    return ok ? 0 : 1;
}
