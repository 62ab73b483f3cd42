/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/train/settings.h"
#include "tests/support/support.h"

static const OptionTable *const tables[] = {&settings_table};
static const OptionFlag *const flags[] = {settings_flags};
static const OptionProgram program = {.name = "test",
                                      .summary = "Tests.",
                                      .examples = "test",
                                      .table = tables,
                                      .tables = 1,
                                      .flag = flags,
                                      .flag_lists = 1};

static bool parse(Settings *settings, OptionOrigins **origins, Error *err,
                  const char *const *argv) {
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    OptionAction action;
    const char **operand = NULL;
    size_t operands = 0;
    *settings = (Settings){0};
    bool ok = options_parse(&program, argc, (char **)(uintptr_t)argv, settings, origins, &operand,
                            &operands, &action, err);
    return ok;
}

#define PARSE(...) parse(&settings, &origins, &err, (const char *[]){"test", __VA_ARGS__, NULL})

static void flags_and_paths_reach_their_fields(void **state) {
    (void)state;
    Error err = {0};
    Settings settings;
    OptionOrigins *origins = NULL;
    assert_ok(PARSE("--model", "m", "--data", "a.csv", "-o", "out", "--resume", "--seed", "7",
                    "--threads", "3", "-n", "--verbose", "--set", "train.schedule=linear", "--set",
                    "data.over_length=terminate", "--set", "checkpoint.mode=largest", "--set",
                    "train.epsilon_mode=tensorflow", "--set", "model.new.layers=2", "--set",
                    "data.columns.annotator=who", "--set", "layout.eos=</s>"),
              &err);
    assert_string_equal(settings.model.path, "m");
    assert_int_equal(settings.data.train.count, 1);
    assert_string_equal(settings.data.train.item[0], "a.csv");
    assert_string_equal(settings.output, "out");
    assert_true(settings.resume && settings.dry_run && settings.verbose && !settings.quiet);
    assert_int_equal(settings.train.seed, 7);
    assert_int_equal(settings.compute.threads, 3);
    assert_int_equal(settings.train.schedule, SCHEDULE_LINEAR);
    assert_int_equal(settings.data.over_length, 2);
    assert_int_equal(settings.checkpoint.mode, 1);
    assert_int_equal(settings.train.epsilon_mode, ADAM_EPSILON_TENSORFLOW);
    assert_int_equal(settings.model.fresh.layers, 2);
    assert_string_equal(settings.data.columns.annotator, "who");
    assert_string_equal(settings.layout.eos, "</s>");
    options_done(&program, &settings, origins);
}

static void defaults_are_those_of_the_papers(void **state) {
    (void)state;
    Error err = {0};
    Settings settings;
    OptionOrigins *origins = NULL;
    assert_ok(PARSE("--quiet"), &err);
    assert_null(settings.model.path);
    assert_null(settings.layout.name);
    assert_int_equal(settings.data.train.count, 0);
    assert_int_equal(settings.train.schedule, SCHEDULE_COSINE);
    assert_int_equal(settings.train.epsilon_mode, ADAM_EPSILON_TORCH);
    assert_true(settings.train.floor == 0.1 && settings.train.beta1 == 0.9);
    assert_true(settings.train.beta2 == 0.95 && settings.train.clip == 1);
    assert_true(settings.generation.temperature == 1 && settings.generation.top_p == 1);
    assert_int_equal(settings.compute.threads, 0);
    assert_int_equal(settings.checkpoint.keep, 2);
    options_done(&program, &settings, origins);
}

static void values_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "train.beta1=1",           "train.batch=0",       "checkpoint.keep=0",
        "train.learning_rate=-1",  "generation.top_p=0",  "tokenizer.vocabulary=256",
        "data.validation_share=1", "train.schedule=step", "train.no_such_key=1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Error err = {0};
        Settings settings;
        OptionOrigins *origins = NULL;
        char text[64];
        snprintf(text, sizeof text, "%s", wrong[i]);
        assert_false(PARSE("--set", text));
        *strchr(text, '=') = '\0';
        if (err.code != ERROR_CONFIG && err.code != ERROR_USAGE) {
            fail_msg("%s: code %d", wrong[i], (int)err.code);
        }
        assert_non_null(strstr(err.text, text));
        options_done(&program, &settings, origins);
    }
}

/* What --help and the man page are made of: every row explains itself, no path comes twice. */
static void every_row_is_complete(void **state) {
    (void)state;
    for (size_t i = 0; i < settings_table.count; i++) {
        const Option *row = &settings_table.option[i];
        if (strlen(row->help) < 15 || !str_ends_with(row->help, ".")) {
            fail_msg("%s: \"%s\" is no sentence", row->path, row->help);
        }
        assert_true(row->offset < sizeof(Settings));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(row->path, settings_table.option[j].path);
            assert_int_not_equal(row->offset, settings_table.option[j].offset);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_paths_reach_their_fields),
        cmocka_unit_test(defaults_are_those_of_the_papers),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
