/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of JSON, with and without comments: what passes comes back the same after writing and
 * reading, what does not is refused at a place within the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition) {
    if (!condition) {
        abort();
    }
}

static void check(const char *text, size_t size, const JsonLimits *limits) {
    Error err = {0};
    Str once = {0}, twice = {0};
    cJSON *tree = json_parse(text, size, "fuzz", 1, limits, &err);
    if (tree == NULL) {
        demand(err.code == ERROR_DATA && err.text[0] != '\0' && err.column <= (long)size + 1);
        return;
    }
    json_put_tree(&once, tree, true);
    cJSON *again = json_parse(once.data, once.size, "fuzz", 1, &json_limits_document, &err);
    demand(again != NULL && cJSON_Compare(tree, again, true));
    json_put_tree(&twice, again, true);
    demand(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    long line, column;
    json_locate(text, size,
                tree->child != NULL && tree->child->string != NULL ? tree->child->string : "[0]",
                true, &line, &column);
    cJSON_Delete(tree);
    cJSON_Delete(again);
    str_done(&once);
    str_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check((const char *)data, size, &json_limits_document);
    check((const char *)data, size, &json_limits_config);
    return 0;
}
