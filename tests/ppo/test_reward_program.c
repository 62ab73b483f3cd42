/* SPDX-License-Identifier: MIT
 *
 * The program as a reward source: answers of both forms, batches, and every way it can fail.
 */
#include <math.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/signals.h"
#include "ppo/reward_source.h"
#include "tests/support/support.h"

enum { ITEMS = 5 };

static Message message[ITEMS];
static RewardItem item[ITEMS];

static int setup(void **state) {
    (void)state;
    static char text[ITEMS][32];
    static const char *const completion[ITEMS] = {"a", "bb \"q\"", "c\\c\n", "", "\xc3\xa9\t"};
    signals_install("test");
    for (size_t i = 0; i < ITEMS; i++) {
        snprintf(text[i], sizeof text[i], "prompt %zu", i);
        message[i] = (Message){.role = ROLE_PLAIN, .text = text[i]};
        item[i] = (RewardItem){
            .message = &message[i], .messages = 1, .text = completion[i], .finished = i % 2 == 0};
    }
    return 0;
}

static RewardSource *shell(const char *script, size_t batch, double timeout) {
    Error err = {0};
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    RewardSource *source = reward_program_source(argv, batch, timeout, &err);
    assert_non_null(source);
    return source;
}

static void expect(const char *script, const double *want) {
    for (size_t batch = 1; batch <= ITEMS + 1; batch++) {
        Error err = {0};
        RewardSource *source = shell(script, batch, 20);
        for (int round = 0; round < 2; round++) {
            double score[ITEMS];
            assert_ok(reward_score(source, item, ITEMS, score, &err), &err);
            for (size_t i = 0; i < ITEMS; i++) {
                assert_close_double("score", score[i], want[i], 0, 0);
            }
        }
        reward_source_free(source);
    }
}

static void test_answers(void **state) {
    (void)state;
    expect("while read -r line; do echo ' { \"score\" : -2.5e1, \"why\": [1] } '; done",
           (double[]){-25, -25, -25, -25, -25});
    /* Length of each request: what arrives is one JSON line per completion. */
    double length[ITEMS];
    for (size_t i = 0; i < ITEMS; i++) {
        Str line = {0};
        str_append(&line, "{\"prompt\":");
        json_put_string(&line, message[i].text, strlen(message[i].text));
        str_append(&line, ",\"completion\":");
        json_put_string(&line, item[i].text, strlen(item[i].text));
        str_append(&line, item[i].finished ? ",\"finished\":true}" : ",\"finished\":false}");
        length[i] = (double)line.size;
        str_done(&line);
    }
    expect("LC_ALL=C; while IFS= read -r line; do echo \"${#line}\"; done", length);
}

static void test_conversation(void **state) {
    (void)state;
    Error err = {0};
    Message turns[] = {
        {.role = ROLE_SYSTEM, .text = (char[]){"s"}},
        {.role = ROLE_USER,   .text = (char[]){"u"}}
    };
    RewardItem one = {.message = turns, .messages = 2, .text = "x"};
    RewardSource *source =
        shell("read -r line; case $line in '{\"prompt\":[{\"role\":\"system\",\"content\":\"s\"},"
              "{\"role\":\"user\",\"content\":\"u\"}],\"completion\":\"x\",\"finished\":false}') "
              "echo 7;; "
              "*) echo 8;; esac; read -r line",
              4, 20);
    double score;
    assert_ok(reward_score(source, &one, 1, &score, &err), &err);
    assert_close_double("score", score, 7, 0, 0);
    reward_source_free(source);
}

static void expect_fault(const char *script, double timeout, const char *part) {
    Error err = {0};
    double score[ITEMS];
    RewardSource *source = shell(script, 3, timeout);
    double begin = clock_seconds();
    assert_error(reward_score(source, item, ITEMS, score, &err), &err, ERROR_UNAVAILABLE, part);
    assert_true(clock_seconds() - begin < 10);
    assert_null(strchr(err.text, '\n'));
    reward_source_free(source);
}

static void test_faults(void **state) {
    (void)state;
    expect_fault("exit 3", 20, "ended with status 3 after 0 of 3 answers");
    expect_fault("read -r x; echo 1; exit 0", 20, "ended with status 0 after 1 of 3 answers");
    expect_fault("read -r x; kill -9 $$", 20, "ended by signal 9");
    expect_fault("read -r x; echo 1; sleep 60", 0.3, "gave 1 of 3 answers in 0.3 seconds");
    expect_fault("sleep 60", 0.3, "gave 0 of 3 answers");
    expect_fault("exec >&-; sleep 60", 20, "closed its output after 0 of 3 answers");
    expect_fault("while read -r x; do echo good; done", 20, "answered \"good\"");
    expect_fault("while read -r x; do echo '{\"score\": \"1\"}'; done", 20, "expected {\"score\"");
    expect_fault("while read -r x; do echo '{\"value\": 1}'; done", 20, "expected {\"score\"");
    expect_fault("while read -r x; do echo; done", 20, "expected {\"score\"");
    expect_fault("while read -r x; do echo 1e999; done", 20, "1e999");
    expect_fault("while read -r x; do printf '1\\n2\\n'; done", 20, "one line for each line");
    expect_fault("head -c 300000 /dev/zero | tr '\\0' 1; sleep 60", 20, "without ending the line");
    expect_fault("read -r x; read -r x; read -r x; printf '1\\n2\\n3\\n4\\n'; cat >/dev/null", 20,
                 "one line for each line");
}

static void test_superfluous_line(void **state) {
    (void)state;
    Error err = {0};
    double score[ITEMS];
    RewardSource *source = shell("read -r x; echo 1; sleep 0.2; echo 2; cat >/dev/null", 3, 5);
    assert_ok(reward_score(source, item, 1, score, &err), &err);
    const char *const pause[] = {"/bin/sleep", "0.5", NULL};
    TestRun run;
    test_run(&run, pause);
    test_run_done(&run);
    assert_error(reward_score(source, item, 1, score, &err), &err, ERROR_UNAVAILABLE,
                 "without being asked");
    reward_source_free(source);
}

static void test_missing_program(void **state) {
    (void)state;
    Error err = {0};
    const char *const argv[] = {"./no-such-program", NULL};
    double score;
    RewardSource *source = reward_program_source(argv, 1, 1, &err);
    assert_non_null(source);
    assert_error(reward_score(source, item, 1, &score, &err), &err, ERROR_UNAVAILABLE,
                 "can not be started");
    reward_source_free(source);
}

/* A request longer than a pipe holds, to a program that writes before it reads. */
static void test_large(void **state) {
    (void)state;
    Error err = {0};
    enum { MANY = 3000 };
    static RewardItem many[MANY];
    static double score[MANY];
    static char text[200];
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (RewardItem){.message = &message[0], .messages = 1, .text = text};
    }
    RewardSource *source = shell("cat", MANY, 20);
    assert_error(reward_score(source, many, MANY, score, &err), &err, ERROR_UNAVAILABLE,
                 "expected {\"score\"");
    reward_source_free(source);
    source = shell("sed -u 's/.*/0.25/'", MANY, 30);
    assert_ok(reward_score(source, many, MANY, score, &err), &err);
    assert_close_double("last", score[MANY - 1], 0.25, 0, 0);
    reward_source_free(source);
}

static double sum_of(void *context, const RewardItem *one) {
    (void)one;
    return *(double *)context;
}

static void test_mix(void **state) {
    (void)state;
    Error err = {0};
    double a = 2, b = 5, score[ITEMS];
    RewardSource *part[] = {reward_function_source(sum_of, &a, &err),
                            reward_function_source(sum_of, &b, &err)};
    RewardSource *mix = reward_mix(part, (double[]){0.5, -2}, 2, &err);
    assert_non_null(mix);
    assert_ok(reward_score(mix, item, ITEMS, score, &err), &err);
    assert_close_double("mix", score[ITEMS - 1], 0.5 * 2 - 2 * 5, 0, 0);
    b = NAN;
    assert_error(reward_score(mix, item, ITEMS, score, &err), &err, ERROR_DATA, "finite");
    reward_source_free(mix);
}

static void expect_config_error(const char *json, const char *part) {
    Error err = {0};
    RewardContext context = {.timeout = 1, .eos = -1, .pass = {.tokens = 8}, .most_tokens = 8};
    cJSON *tree = cJSON_Parse(json);
    assert_non_null(tree);
    RewardSource *source = reward_sources_parse(tree, &context, &err);
    assert_error(source != NULL, &err, ERROR_CONFIG, part);
    cJSON_Delete(tree);
}

static void test_configuration(void **state) {
    (void)state;
    Error err = {0};
    RewardContext context = {.timeout = 20, .eos = -1};
    expect_config_error("{}", "expected an array");
    expect_config_error("[]", "empty");
    expect_config_error("[3]", "expected an object");
    expect_config_error("[{}]", "\"type\"");
    expect_config_error("[{\"type\": \"human\"}]", "\"human\"");
    expect_config_error("[{\"type\": \"program\", \"command\": \"sh -c true\"}]",
                        "array of strings");
    expect_config_error("[{\"type\": \"program\", \"command\": []}]", "array of strings");
    expect_config_error("[{\"type\": \"program\", \"command\": [\"a\"], \"timeuot\": 3}]",
                        "unknown key \"timeuot\"");
    expect_config_error("[{\"type\": \"program\", \"command\": [\"a\"], \"batch\": 0}]", "batch");
    expect_config_error("[{\"type\": \"model\", \"weight\": \"1\", \"path\": \"x\"}]", "weight");
    expect_config_error("[{\"type\": \"classifier\", \"path\": \"x\"}]", "\"label\"");
    expect_config_error(
        "[{\"type\": \"classifier\", \"path\": \"x\", \"label\": \"a\", \"output\": \"p\"}]",
        "log_probability");
    cJSON *tree = cJSON_Parse("[{\"type\": \"program\", \"weight\": 3, \"command\": [\"/bin/sh\", "
                              "\"-c\", \"while read -r x; do echo 1; done\"]}, {\"type\": "
                              "\"program\", \"weight\": -1, \"batch\": 2, \"timeout\": 9, "
                              "\"command\": [\"sed\", \"-u\", \"s/.*/0.5/\"]}]");
    RewardSource *source = reward_sources_parse(tree, &context, &err);
    cJSON_Delete(tree);
    assert_non_null(source);
    double score[ITEMS];
    assert_ok(reward_score(source, item, ITEMS, score, &err), &err);
    assert_close_double("weighted", score[2], 2.5, 0, 0);
    reward_source_free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_superfluous_line),
        cmocka_unit_test(test_missing_program),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, setup, NULL) != 0;
}
