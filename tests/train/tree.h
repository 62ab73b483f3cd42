/* SPDX-License-Identifier: MIT
 *
 * A folder as text, one line a file: name, size, hash. Equal texts: equal folders.
 */
#ifndef RLHF_TESTS_TRAIN_TREE_H
#define RLHF_TESTS_TRAIN_TREE_H

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/support/support.h"

static void tree_text(const char *folder, const char *relative, Str *out) {
    Error err = {0};
    char **name;
    size_t count;
    assert_ok(file_list(folder, &name, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char *path = file_join(folder, name[i], &err), hash[HASH_TEXT];
        assert_non_null(path);
        uint64_t size;
        Str below = {0};
        str_appendf(&below, "%s/%s", relative, name[i]);
        if (file_is_folder(path)) {
            tree_text(path, str_text(&below), out);
        } else if (strcmp(name[i], "timing.jsonl") != 0 && strcmp(name[i], "run.lock") != 0) {
            assert_ok(hash_file(path, hash, &size, &err), &err);
            str_appendf(out, "%s %llu %s\n", str_text(&below), (unsigned long long)size, hash);
        }
        str_done(&below);
        free(path);
        free(name[i]);
    }
    free(name);
}

#endif
