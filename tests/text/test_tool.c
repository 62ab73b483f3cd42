/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"

static const char program[] = "rlhf-tokenizer";

static void expect(const char *const argv[], int status, const char *out, const char *err) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != status) {
        fail_msg("exit %d, expected %d; stderr: %s", run.status, status, str_text(&run.err));
    }
    if (out != NULL) {
        assert_string_equal(str_text(&run.out), out);
    }
    if (strstr(str_text(&run.err), err) == NULL) {
        fail_msg("stderr: %s; expected: %s", str_text(&run.err), err);
    }
    test_run_done(&run);
}

#define RUN(status, out, err, ...)                                                                 \
    expect((const char *const[]){program, __VA_ARGS__, NULL}, status, out, err)

static void encodes_and_decodes(void **state) {
    (void)state;
    const char *model = test_path(test_fixtures(), "tokenizer/trained.json");
    const char *lines = "\"ab\"\n{\"text\":\"<|im_end|>\",\"more\":1}\n\"\"\n";
    const char *file = test_file(test_folder(), "in.jsonl", lines, strlen(lines));
    RUN(0, "{\"ids\":[342],\"tokens\":[\"ab\"]}\n", "", "encode", "--model", model, "ab");
    RUN(0,
        "{\"ids\":[342],\"tokens\":[\"ab\"]}\n{\"ids\":[2],\"tokens\":[\"<|im_end|>\"]}\n"
        "{\"ids\":[],\"tokens\":[]}\n",
        "", "encode", "--model", model, "--data", file, "--special-in-text");
    RUN(0, "{\"text\":\"ab<|im_end|>\"}\n{\"text\":\"\"}\n", "", "decode", "--model", model,
        "67, 68,2", "");
    RUN(0, "{\"text\":\"ab\"}\n", "", "decode", "--skip-special", "-m", model, "67 68 2");
    const char *ids = "[67,68]\n{\"ids\":[3]}\n";
    file = test_file(test_folder(), "ids.jsonl", ids, strlen(ids));
    RUN(0, "{\"text\":\"ab\"}\n{\"text\":\"!\"}\n", "", "decode", "-m", model, "-d", file);
}

static void says_what_is_wrong(void **state) {
    (void)state;
    const char *model = test_path(test_fixtures(), "tokenizer/trained.json");
    const char *lines = "\"ab\"\n{\"txt\":\"\"}\n";
    const char *file = test_file(test_folder(), "bad.jsonl", lines, strlen(lines));
    RUN(64, "", "no command: expected train, encode, decode or template", "--quiet");
    RUN(64, "", "unknown command \"incode\"", "incode");
    RUN(64, "", "name its folder with --model", "encode", "x");
    RUN(64, "", "train needs --data FILE and --output DIR", "train");
    RUN(64, "", "\"x\" is not an id", "decode", "-m", model, "1,x");
    RUN(64, "", "unknown option --modle; did you mean --model?", "encode", "--modle", "x");
    RUN(65, NULL, "bad.jsonl:2: expected a string, or an object", "encode", "-m", model, "-d",
        file);
    RUN(65, "", "id 600 is not in the vocabulary", "decode", "-m", model, "600");
    RUN(66, "", "nonexistent", "encode", "-m", "/nonexistent", "x");
    RUN(78, "", "train.vocabulary", "train", "-n", "3", "-d", file, "-o", "/nonexistent/x");
}

static void trains(void **state) {
    (void)state;
    const char *csv = "mr,ref\n\"name[Hut]\",\"The hut, the hut, the hut.\"\n"
                      "\"name[Inn]\",\"The inn and the hut.\"\n";
    const char *file = test_file(test_folder(), "texts.csv", csv, strlen(csv));
    char out[1024], printed[1100];
    snprintf(out, sizeof out, "%s/trained", test_folder());
    snprintf(printed, sizeof printed, "%s\n", out);
    RUN(0, printed, "texts.csv", "train", "--data", file, "--set", "data.columns.prompt=mr",
        "--set", "data.columns.completion=ref", "--vocabulary", "270", "--output", out,
        "--special=<s>", "--special=</s>", "--eos", "</s>");
    RUN(73, "", "already holds a tokenizer", "train", "--data", file, "--set",
        "data.columns.prompt=mr", "--set", "data.columns.completion=ref", "-o", out);
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(out, &err);
    assert_ok(tokenizer != NULL, &err);
    assert_in_range(tokenizer_vocabulary(tokenizer), 262, 270);
    assert_int_equal(tokenizer_eos(tokenizer), 1);
    assert_true(tokenizer_find(tokenizer, "hut") > 258 ||
                tokenizer_find(tokenizer, "\xc4\xa0hut") > 258);
    assert_true(file_exists(test_path(out, "tokenizer_config.json")));
    assert_true(file_exists(test_path(out, "vocab.json")));
    assert_true(file_exists(test_path(out, "merges.txt")));
    tokenizer_free(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(trains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
