/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/text/tokenizer.h"
#include "tests/support/support.h"

static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

static TokenizerTrainer *feed_corpus(void) {
    Error err = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer/corpus.txt", test_fixtures());
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    assert_ok(trainer != NULL, &err);
    LineReader reader;
    bool got = true;
    assert_ok(line_reader_open(&reader, path, 1 << 20, &err), &err);
    for (;;) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        if (!got) {
            break;
        }
        assert_ok(tokenizer_trainer_feed(trainer, str_text(&reader.line), reader.line.size, &err),
                  &err);
    }
    line_reader_close(&reader);
    return trainer;
}

static TokenizerTraining options(size_t vocabulary) {
    return (TokenizerTraining){
        .vocabulary = vocabulary, .special = special, .specials = 3, .eos = special[0]};
}

static Tokenizer *load(const char *path) {
    Error err = {0};
    Tokenizer *tokenizer = tokenizer_load(path, &err);
    assert_ok(tokenizer != NULL, &err);
    return tokenizer;
}

/* trained.json is what Hugging Face's BpeTrainer made of the same lines. A trainer can finish
 * twice. */
static void trains_as_minted(void **state) {
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer/trained.json", test_fixtures());
    Tokenizer *want = load(path);
    TokenizerTrainer *trainer = feed_corpus();
    for (int round = 0; round < 2; round++) {
        Error err = {0};
        TokenizerTraining training = options(600); /* there are no more than 525 */
        Tokenizer *got = tokenizer_trainer_finish(trainer, &training, &err);
        assert_ok(got != NULL, &err);
        assert_int_equal(tokenizer_vocabulary(got), 525);
        for (int32_t id = 0; id < 525; id++) {
            assert_string_equal(tokenizer_text(got, id), tokenizer_text(want, id));
        }
        assert_true(tokenizer_fingerprint(got) == tokenizer_fingerprint(want));
        assert_int_equal(tokenizer_eos(got), 0);
        assert_int_equal(tokenizer_bos(got), -1);
        tokenizer_free(got);
    }
    tokenizer_trainer_free(trainer);
    tokenizer_free(want);
}

/* What is written is read again as the same, from tokenizer.json and from the older pair of
 * files. */
static void saves_what_it_trained(void **state) {
    (void)state;
    Error err = {0};
    TokenizerTrainer *trainer = feed_corpus();
    TokenizerTraining training = options(400);
    training.bos = special[1];
    training.pad = special[2];
    Tokenizer *trained = tokenizer_trainer_finish(trainer, &training, &err);
    assert_ok(trained != NULL, &err);
    const char *folder = test_folder();
    assert_ok(tokenizer_save(trained, folder, &err), &err);
    char path[4096];
    for (int pair = 0; pair < 2; pair++) {
        snprintf(path, sizeof path, "%s%s", folder, pair == 0 ? "" : "/vocab.json");
        Tokenizer *again = load(path);
        assert_true(tokenizer_fingerprint(again) == tokenizer_fingerprint(trained));
        assert_int_equal(tokenizer_eos(again), 0);
        assert_int_equal(tokenizer_bos(again), 1);
        assert_int_equal(tokenizer_pad(again), 2);
        tokenizer_free(again);
    }
    tokenizer_free(trained);
    tokenizer_trainer_free(trainer);
}

static void stops_at_rare_pairs(void **state) {
    (void)state;
    Error err = {0};
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    assert_ok(trainer != NULL, &err);
    assert_ok(tokenizer_trainer_feed(trainer, "abc abc xyz", 11, &err), &err);
    for (size_t least = 1; least <= 3; least++) {
        TokenizerTraining training = {.vocabulary = 1000, .minimum_count = least};
        Tokenizer *tokenizer = tokenizer_trainer_finish(trainer, &training, &err);
        assert_ok(tokenizer != NULL, &err);
        /* 1: "ab", "abc", "xy", " abc", " xy", " xyz"; 2: the first two; 3: none */
        static const size_t want[] = {256 + 6, 256 + 2, 256};
        assert_int_equal(tokenizer_vocabulary(tokenizer), want[least - 1]);
        assert_int_equal(tokenizer_eos(tokenizer), -1);
        tokenizer_free(tokenizer);
    }
    tokenizer_trainer_free(trainer);
}

static void refuses_wrong_options(void **state) {
    (void)state;
    TokenizerTrainer *trainer = feed_corpus();
    static const char *const twice[] = {"<a>", "<b>", "<a>"};
    static const char *const letter[] = {"<a>", "e"};
    static const char *const nothing[] = {""};
    const struct {
        TokenizerTraining training;
        ErrorCode code;
        const char *part;
    } cases[] = {
  /* clang-format off */
        {{.vocabulary = 258, .special = special, .specials = 3}, ERROR_CONFIG, "expected 259"},
        {{.vocabulary = 1u << 30}, ERROR_CONFIG, "a vocabulary of 1073741824"},
        {{.vocabulary = 400, .special = special, .specials = 3, .eos = "<s>"}, ERROR_CONFIG,
         "\"<s>\" is not among"},
        {{.vocabulary = 400, .special = twice, .specials = 3}, ERROR_CONFIG,
         "\"<a>\" is named twice"},
        {{.vocabulary = 400, .special = nothing, .specials = 1}, ERROR_CONFIG, "is empty"},
        {{.vocabulary = 400, .special = letter, .specials = 2}, ERROR_DATA,
         "\"e\" is also a byte"},
  /* clang-format on */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {0};
        Tokenizer *tokenizer = tokenizer_trainer_finish(trainer, &cases[i].training, &err);
        assert_error(tokenizer != NULL, &err, cases[i].code, cases[i].part);
    }
    Error err = {0};
    assert_error(tokenizer_trainer_feed(trainer, "a\xff", 2, &err), &err, ERROR_DATA, "byte 2");
    tokenizer_trainer_free(trainer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trains_as_minted),
        cmocka_unit_test(saves_what_it_trained),
        cmocka_unit_test(stops_at_rare_pairs),
        cmocka_unit_test(refuses_wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
