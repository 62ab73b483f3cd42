/* SPDX-License-Identifier: MIT
 *
 * A real model in llama2.c's form: it tells its story word for word as published.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

#define STORY                                                                                      \
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she "   \
    "saw a big, red ball. She wanted to play with it, but it was too high."

static void test_story(void **state) {
    (void)state;
    const char *data = test_data();
    if (data == NULL) {
        skip();
    }
    char model[700], tokenizer[700];
    snprintf(model, sizeof model, "%s/models/stories260K/stories260K.bin", data);
    snprintf(tokenizer, sizeof tokenizer, "%s/models/stories260K/tok512.bin", data);
    /* From nothing but BOS, as published, and the same words when they are begun by the user. */
    static const struct {
        const char *prompt, *completion;
    } cases[] = {
        {"",                 "\"completion\":\"Once upon a time" STORY},
        {"Once upon a time", "\"completion\":\"" STORY                },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const argv[] = {"rlhf-generate", "--quiet",      "--model",  model,
                                    "--tokenizer",   tokenizer,      "--prompt", cases[i].prompt,
                                    "--greedy",      "--max-tokens", "120",      NULL};
        TestRun run;
        test_run(&run, argv);
        assert_int_equal(run.status, 0);
        assert_non_null(strstr(str_text(&run.out), cases[i].completion));
        test_run_done(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_story)};
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
