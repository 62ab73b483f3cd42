/* SPDX-License-Identifier: MIT
 *
 * The program itself: what a run leaves behind, resuming by bytes, refusals and faults by exit
 * code.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/model/model.h"
#include "tests/ppo/folders.h"

static Folders folders;

static int setup(void **state) {
    (void)state;
    folders_make(&folders);
    return 0;
}

/* Runs rlhf-ppo with the small settings and more flags (NULL-terminated). */
static void run_ppo(TestRun *run, const char *output, const char *const *more) {
    const char *argv[96] = {
        "rlhf-ppo",  "--quiet",
        "--threads", "1",
        "--model",   folders.policy,
        "--data",    folders.prompts,
        "--output",  output,
        "--set",     "train.steps=6",
        "--set",     "train.batch=3",
        "--set",     "generation.max_tokens=8",
        "--set",     "train.micro_tokens=64",
        "--set",     "train.evaluate_every=2",
        "--set",     "train.learning_rate=2e-3",
        "--set",     "checkpoint.every=1",
        "--set",     "checkpoint.keep=100",
    };
    size_t argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    for (; more != NULL && *more != NULL; more++) {
        argv[argc++] = *more;
    }
    test_run(run, argv);
}

static void expect(const char *name, const char *const *more, int status, const char *part) {
    TestRun run;
    char output[800];
    snprintf(output, sizeof output, "%s/%s", folders.top, name);
    run_ppo(&run, output, more);
    if (run.status != status || strstr(str_text(&run.err), part) == NULL) {
        fail_msg("%s: status %d, expected %d with \"%s\":\n%s", name, run.status, status, part,
                 str_text(&run.err));
    }
    test_run_done(&run);
}

static size_t each_line(const char *path, void (*each)(const cJSON *line)) {
    Error err = {0};
    LineReader reader = {0};
    bool got = true;
    size_t lines = 0;
    assert_ok(line_reader_open(&reader, path, 1 << 20, &err), &err);
    while (line_reader_next(&reader, &got, &err) && got) {
        cJSON *line =
            json_parse(reader.line.data, reader.line.size, path, 1, &json_limits_line, &err);
        assert_non_null(line);
        if (each != NULL) {
            each(line);
        }
        cJSON_Delete(line);
        lines++;
    }
    line_reader_close(&reader);
    return lines;
}

static double number(const cJSON *line, const char *key) {
    const cJSON *item = json_member(line, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static size_t read_array(const cJSON *line, const char *key, double *out) {
    size_t n = 0;
    const cJSON *array = json_member(line, key);
    assert_true(cJSON_IsArray(array));
    for (const cJSON *item = array->child; item != NULL; item = item->next) {
        assert_true(cJSON_IsNumber(item) && n < 64);
        out[n++] = item->valuedouble;
    }
    return n;
}

static double advantage_sum, advantage_squares;
static size_t advantage_count;

/* A dumped completion is enough to recompute rewards, advantages and returns (gamma 1, lambda
 * 0.95). */
static void check_dump_line(const cJSON *line) {
    double id[64], old[64], reference[64], value[64], reward[64], advantage[64], returns[64];
    size_t n = read_array(line, "completion", id);
    assert_int_equal(read_array(line, "old_logprob", old), n);
    assert_int_equal(read_array(line, "reference_logprob", reference), n);
    assert_int_equal(read_array(line, "value", value), n);
    assert_int_equal(read_array(line, "reward", reward), n);
    assert_int_equal(read_array(line, "advantage", advantage), n);
    assert_int_equal(read_array(line, "return", returns), n);
    double beta = number(line, "beta"), score = number(line, "score"), gae = 0;
    bool finished = cJSON_IsTrue(json_member(line, "finished"));
    assert_close_double("score", score, number(line, "raw_score") - (finished ? 0 : 1), 0, 1e-9);
    for (size_t t = n; t-- > 0;) {
        double want = -beta * (old[t] - reference[t]) + (t + 1 == n ? score : 0);
        assert_close_double("reward", reward[t], want, 1e-4, 1e-5);
        double after = t + 1 < n ? value[t + 1] : 0;
        gae = reward[t] + after - value[t] + 0.95 * gae;
        assert_close_double("return", returns[t], gae + value[t], 1e-4, 1e-5);
        advantage_sum += advantage[t];
        advantage_squares += advantage[t] * advantage[t];
        advantage_count++;
    }
}

static void check_metrics_line(const cJSON *line) {
    if (number(line, "step") == 1) {
        assert_true(number(line, "objective/kl") == 0);
        assert_true(number(line, "val/ratio_first_deviation") <= 1e-5);
    }
    if (number(line, "step") > 0) {
        assert_close_double("reward", number(line, "objective/rlhf_reward"),
                            number(line, "objective/scores") +
                                number(line, "objective/non_score_reward"),
                            1e-9, 1e-9);
    }
}

static void test_run_folder(void **state) {
    (void)state;
    Error err = {0};
    TestRun run;
    const char *output = test_path(folders.top, "whole"),
               *dump = test_path(folders.top, "whole.jsonl");
    run_ppo(&run, output,
            (const char *const[]){"--reward-model", folders.reward, "--set", "data.evaluation",
                                  "--dump-rollouts", dump, NULL});
    assert_int_equal(run.status, 64); /* --set without a value */
    test_run_done(&run);
    char evaluation[900];
    snprintf(evaluation, sizeof evaluation, "data.evaluation=%s", folders.held_out);
    run_ppo(&run, output,
            (const char *const[]){"--reward-model", folders.reward, "--set", evaluation,
                                  "--dump-rollouts", dump, "--set", "ppo.best_of=2", NULL});
    if (run.status != 0) {
        fail_msg("status %d: %s", run.status, str_text(&run.err));
    }
    assert_true(strstr(str_text(&run.out), "whole/model\n") != NULL);
    test_run_done(&run);
    assert_int_equal(each_line(test_path(output, "metrics.jsonl"), check_metrics_line), 7);
    assert_int_equal(each_line(test_path(output, "samples.jsonl"), NULL), 4 * 4);
    assert_int_equal(each_line(dump, check_dump_line), 6 * 3);
    double mean = advantage_sum / (double)advantage_count;
    assert_close_double("mean advantage", mean, 0, 0, 1e-5);
    assert_close_double("variance", advantage_squares / (double)advantage_count - mean * mean, 1, 0,
                        1e-3);

    Model model = {0};
    bool fresh = true;
    assert_ok(model_load(&model, test_path(output, "model"), -1, 0, NULL, &err), &err);
    assert_int_equal(model.config.head, HEAD_LM);
    model_done(&model);
    assert_ok(model_load(&model, test_path(output, "critic"), -1, 1, &fresh, &err), &err);
    assert_int_equal(model.config.head, HEAD_SCORES);
    assert_false(fresh);
    model_done(&model);

    Str report = {0};
    assert_ok(file_read(test_path(output, "report.md"), 1 << 20, &report, &err), &err);
    assert_non_null(strstr(str_text(&report), "a\\|b &lt;i&gt;\\*c\\*&lt;/i&gt;"));
    assert_non_null(strstr(str_text(&report), "## Reward and KL"));
    assert_non_null(strstr(str_text(&report), "| 2 |"));
    assert_null(strstr(str_text(&report), "<i>"));
    str_done(&report);
}

static void assert_same_run(const char *a, const char *b) {
    static const char *const name[] = {"model",         "critic",    "metrics.jsonl",
                                       "samples.jsonl", "report.md", "checkpoints/step-00000006"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        assert_same_files(test_path(a, name[i]), test_path(b, name[i]));
    }
}

/* T28: a run cut back to any of its checkpoints and resumed leaves the same bytes; also at the
 * end of an epoch (every second of these iterations), and one that stopped itself after each
 * iteration. */
static void resume(const char *name, const char *const *more, const int *point, size_t points,
                   bool stops) {
    char whole[800], part[900], dump[900], part_dump[1000], evaluation[900];
    snprintf(whole, sizeof whole, "%s/%s", folders.top, name);
    snprintf(evaluation, sizeof evaluation, "data.evaluation=%s", folders.held_out);
    snprintf(dump, sizeof dump, "%s.jsonl", whole);
    const char *argv[48] = {
        "--set", evaluation,           "--set", "ppo.kl_target=0.5",
        "--set", "ppo.kl_horizon=100", "--set", "ppo.score_normalization=running"};
    size_t n = 8;
    for (; *more != NULL; more++) {
        argv[n++] = *more;
    }
    argv[n++] = "--dump-rollouts";
    argv[n] = dump;
    expect(name, argv, 0, "");
    char folder[100];
    for (size_t i = 0; i < points; i++) {
        snprintf(folder, sizeof folder, "%s-%d", name, point[i]);
        snprintf(part, sizeof part, "%s-%d", whole, point[i]);
        snprintf(part_dump, sizeof part_dump, "%s.jsonl", part);
        test_copy_run(whole, part, point[i]);
        test_shell("cp '%s' '%s'", dump, part_dump);
        test_shell("sed -i 's|%s\"|%s\"|' '%s/run.json'", dump, part_dump, part);
        argv[n] = part_dump;
        argv[n + 1] = "--resume";
        expect(folder, argv, 0, "");
        assert_same_run(whole, part);
        assert_same_files(dump, part_dump);
    }
    if (!stops) {
        return;
    }
    argv[n + 2] = "--set";
    argv[n + 3] = "checkpoint.max_minutes=1e-9";
    snprintf(folder, sizeof folder, "%s-stops", name);
    snprintf(part, sizeof part, "%s/%s", folders.top, folder);
    snprintf(part_dump, sizeof part_dump, "%s.jsonl", part);
    for (int i = 0; i < 5; i++) {
        expect(folder, argv, 75, "time limit");
    }
    expect(folder, argv, 0, "");
    assert_same_run(whole, part);
    assert_same_files(dump, part_dump);
    expect(folder, argv, 0, ""); /* finished already */
}

static void test_resume(void **state) {
    (void)state;
    resume("resume",
           (const char *const[]){"--reward-model", folders.reward, "--set", "train.ema=0.9",
                                 "--set", "ppo.minibatches=2", NULL},
           (const int[]){0, 1, 2, 5}, 4, false);
}

static void test_resume_shared(void **state) {
    (void)state;
    resume("resume-shared",
           (const char *const[]){"--reward-model", folders.other, "--set", "ppo.critic=shared",
                                 "--set", "generation.samples=2", NULL},
           (const int[]){3, 4}, 2, true);
}

static const char *program_source(const char *script) {
    static char text[600];
    snprintf(text, sizeof text,
             "reward.sources=[{\"type\":\"program\",\"command\":[\"/bin/sh\",\"-c\",\"%s\"],"
             "\"timeout\":0.5}]",
             script);
    return text;
}

static void test_reward_programs(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"exit 4",                                   "ended with status 4"   },
        {"sleep 30",                                 "in 0.5 seconds"        },
        {"while read -r x; do echo what; done",      "answered \"what\""     },
        {"while read -r x; do echo 1; echo 1; done", "one line for each line"},
    };
    for (size_t i = 0; i < 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "program-%zu", i);
        expect(name,
               (const char *const[]){"--set", program_source(bad[i][0]), "--set",
                                     "ppo.critic=policy", NULL},
               69, bad[i][1]);
    }
    expect("program-good",
           (const char *const[]){"--set",
                                 program_source("while read -r x; do echo \\\"${#x}\\\"; done"),
                                 "--set", "ppo.critic=policy", NULL},
           0, "");
    char mix[2400];
    snprintf(mix, sizeof mix,
             "reward.sources=[{\"type\":\"model\",\"path\":\"%s\",\"weight\":0.5},{\"type\":"
             "\"classifier\",\"path\":\"%s\",\"label\":\"good\",\"output\":\"log_probability\"}]",
             folders.reward, folders.classifier);
    expect("mix", (const char *const[]){"--set", mix, NULL}, 0, "");
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const filters[] = {
        "generation.top_k=5",     "generation.top_p=0.9",
        "generation.min_p=0.1",   "generation.repetition_penalty=1.2",
        "generation.greedy=true", "generation.stop=x"};
    for (size_t i = 0; i < 6; i++) {
        expect("refused",
               (const char *const[]){"--reward-model", folders.reward, "--set", filters[i], NULL},
               78, "sample from the policy itself");
    }
    expect("refused", NULL, 78, "no reward is given");
    expect(
        "refused",
        (const char *const[]){"--reward-model", folders.reward, "--set", "train.dropout=0.1", NULL},
        78, "without dropout");
    expect(
        "refused",
        (const char *const[]){"--reward-model", folders.reward, "--set", "ppo.minibatches=4", NULL},
        78, "ppo.minibatches is 4");
    expect("refused",
           (const char *const[]){"--reward-model", folders.reward, "--set", "ppo.kl_coeff=1", NULL},
           78, "ppo.kl_coef");
    expect("refused", (const char *const[]){"--reward-model", folders.other, NULL}, 78,
           "another tokenizer than the policy");
    expect("refused", (const char *const[]){"--reward-model", folders.policy, NULL}, 65,
           "score head");
    expect("refused",
           (const char *const[]){"--reward-model", folders.reward, "--set",
                                 "generation.max_tokens=64", NULL},
           78, "no room for a prompt");
    expect("refused",
           (const char *const[]){"--reward-model", folders.reward, "--set", "ppo.ptx_coef=1", NULL},
           78, "data.ptx");
    assert_false(file_exists(test_path(folders.top, "refused")));
}

/* T34: long prompts are dropped and counted; a file of nothing else is an error. */
static void test_long_prompts(void **state) {
    (void)state;
    Str text = {0};
    str_append(&text, "{\"prompt\": \"");
    for (int i = 0; i < 100; i++) {
        str_append(&text, "fox owl ");
    }
    str_append(&text, "\"}\n");
    const char *all = test_file(folders.top, "long.jsonl", text.data, text.size);
    str_append(&text, "{\"prompt\": \"color[red]\"}\n");
    const char *some = test_file(folders.top, "some-long.jsonl", text.data, text.size);
    str_done(&text);
    char data[900];
    snprintf(data, sizeof data, "data.prompts=%s", all);
    expect("long", (const char *const[]){"--reward-model", folders.reward, "--set", data, NULL}, 65,
           "are too long");
    snprintf(data, sizeof data, "data.prompts=%s", some);
    expect("some-long",
           (const char *const[]){"--reward-model", folders.reward, "--set", data, NULL}, 0,
           "1 prompts have more than 55 tokens");
}

static void test_stop_and_plan(void **state) {
    (void)state;
    expect("stopped",
           (const char *const[]){"--reward-model", folders.reward, "--set", "ppo.stop_kl=1e-3",
                                 "--set", "train.learning_rate=0.01", "--set", "ppo.kl_coef=0",
                                 NULL},
           81, "ppo.stop_kl");
    TestRun run;
    run_ppo(&run, test_path(folders.top, "planned"),
            (const char *const[]){"--reward-model", folders.reward, "--dry-run", NULL});
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(str_text(&run.out), "predicted peak"));
    assert_non_null(strstr(str_text(&run.out), "6 of 3 completions of at most 8 tokens"));
    assert_false(file_exists(test_path(folders.top, "planned")));
    test_run_done(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_folder),    cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_shared), cmocka_unit_test(test_reward_programs),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_long_prompts),
        cmocka_unit_test(test_stop_and_plan),
    };
    return cmocka_run_group_tests(tests, setup, NULL) != 0;
}
