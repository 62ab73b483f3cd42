/* SPDX-License-Identifier: MIT
 *
 * A small BERT on its whole way: masked words, then rankings or classes, then the reward of a policy with
 * another tokenizer, through text. What PPO's sources say is what rlhf-score prints.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "ppo/reward_source.h"
#include "tests/ppo/folders.h"

enum { ITEMS = 4 };

static Folders folders;
static char encoder[700], reward[700], classifier[700];
static const char *texts;

static const char *const asked[ITEMS] = {"color[red]", "color[red]", "animal[owl]", "a fox"};
static const char *const said[ITEMS] = {"The red fox.", "Red!", "The owl sleeps",
                                        "runs over trees"};

static void run_ok(const char *const *argv) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != 0) {
        fail_msg("%s: exit %d: %s", argv[0], run.status, str_text(&run.err));
    }
    test_run_done(&run);
}

static const char *demonstrations(const char *name, bool labeled) {
    Str text = {0};
    for (int i = 0; i < 12; i++) {
        str_appendf(&text, "{\"prompt\":\"color[%s], animal[%s]\",\"completion\":\"%s\"",
                    i % 3 == 0 ? "red" : "blue", i % 2 == 0 ? "fox" : "owl", said[i % ITEMS]);
        str_append(&text, !labeled     ? "}\n"
                          : i % 4 == 0 ? ",\"label\":\"good\"}\n"
                                       : ",\"label\":\"bad\"}\n");
    }
    const char *path = test_file(folders.top, name, text.data, text.size);
    str_done(&text);
    return path;
}

static const char *rankings(void) {
    Str text = {0};
    for (int i = 0; i < 8; i++) {
        str_appendf(&text,
                    "{\"prompt\":\"animal[%d]\",\"completions\":[\"%s\",\"%s\",\"%s\"],"
                    "\"ranks\":[1,2,3]}\n",
                    i, said[0], said[2], said[3]);
    }
    const char *path = test_file(folders.top, "rankings.jsonl", text.data, text.size);
    str_done(&text);
    return path;
}

static void train(const char *program, const char *model, const char *data, const char *output,
                  const char *setting, const char *micro, const char *steps) {
    char count[40];
    snprintf(count, sizeof count, "train.steps=%s", steps);
    run_ok((const char *const[]){program, "--quiet", "--model", model, "--data", data, "--output",
                                 output, "--set", count, "--set", "train.batch=4", "--set",
                                 "train.learning_rate=5e-3", "--set", setting, "--set", micro,
                                 NULL});
}

static void in_top(char out[700], const char *name) {
    snprintf(out, 700, "%s/%s", folders.top, name);
}

static int setup(void **state) {
    (void)state;
    char tokenizer[700], output[700];
    folders_make(&folders);
    snprintf(tokenizer, sizeof tokenizer, "tokenizer.path=%s/text/bert.json", test_fixtures());
    in_top(output, "masked");
    run_ok((const char *const[]){"rlhf-sft", "--quiet",
                                 "--data",   demonstrations("demonstrations.jsonl", false),
                                 "--output", output,
                                 "--set",    tokenizer,
                                 "--set",    "model.new.family=bert",
                                 "--set",    "model.new.layers=2",
                                 "--set",    "model.new.heads=2",
                                 "--set",    "model.new.width=16",
                                 "--set",    "model.new.context=64",
                                 "--set",    "train.steps=4",
                                 "--set",    "train.batch=4",
                                 NULL});
    in_top(encoder, "masked/model");
    in_top(output, "ranked");
    train("rlhf-reward", encoder, rankings(), output, "reward.normalize=none",
          "train.micro_tokens=4096", "20");
    in_top(reward, "ranked/model");
    in_top(output, "classed");
    train("rlhf-reward", encoder, demonstrations("labels.jsonl", true), output,
          "reward.objective=classification", "train.micro_tokens=4096", "20");
    in_top(classifier, "classed/model");
    Str lines = {0};
    for (int i = 0; i < ITEMS; i++) {
        str_appendf(&lines, "{\"prompt\":\"%s\",\"completion\":\"%s\"}\n", asked[i], said[i]);
    }
    texts = test_file(folders.top, "texts.jsonl", lines.data, lines.size);
    str_done(&lines);
    return 0;
}

/* What rlhf-score prints of each text: "score", or the probability of a label. */
static void printed(const char *model, const char *label, double out[ITEMS]) {
    TestRun run;
    Error err = {0};
    test_run(&run, (const char *const[]){"rlhf-score", "-m", model, "-d", texts, "-q", NULL});
    assert_int_equal(run.status, 0);
    const char *line = str_text(&run.out);
    for (int i = 0; i < ITEMS; i++) {
        size_t n = strcspn(line, "\n");
        cJSON *json = json_parse(line, n, "line", 1, &json_limits_document, &err);
        assert_non_null(json);
        const cJSON *number = label == NULL ? json_member(json, "score")
                                            : json_member(json_member(json, "labels"), label);
        assert_true(cJSON_IsNumber(number));
        out[i] = number->valuedouble;
        cJSON_Delete(json);
        line += n + (line[n] == '\n');
    }
    test_run_done(&run);
}

static void sourced(const char *model, const char *label, size_t budget, double out[ITEMS]) {
    Error err = {0};
    Message message[ITEMS];
    RewardItem item[ITEMS];
    static const int32_t id[1];
    RewardContext context = {.fingerprint = 1, .eos = 0, .pass.tokens = budget, .most_tokens = 64};
    for (int i = 0; i < ITEMS; i++) {
        message[i] = (Message){.role = ROLE_PLAIN, .text = (char *)(uintptr_t)asked[i]};
        item[i] = (RewardItem){.message = &message[i],
                               .messages = 1,
                               .prompt = id,
                               .prompt_count = 1,
                               .completion = id,
                               .completion_count = 1,
                               .text = said[i],
                               .finished = i != 2,
                               .group = (uint64_t)(i / 2)};
    }
    RewardSource *source =
        label == NULL
            ? reward_model_source(model, &context, &err)
            : reward_classifier_source(model, label, CLASSIFIER_PROBABILITY, &context, &err);
    assert_ok(source != NULL, &err);
    assert_true(source->reads_text);
    assert_ok(reward_score(source, item, ITEMS, out, &err), &err);
    reward_source_free(source);
}

/* The number of each text is the same by both programs and in any packing. */
static void test_same_numbers(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        const char *model = kind == 0 ? reward : classifier, *label = kind == 0 ? NULL : "good";
        double want[ITEMS], got[ITEMS];
        printed(model, label, want);
        for (size_t budget = 1; budget <= 256; budget *= 16) {
            sourced(model, label, budget, got);
            for (int i = 0; i < ITEMS; i++) {
                assert_close_double(said[i], got[i], want[i], 1e-5, 1e-5);
            }
        }
        assert_true(fabs(want[0] - want[3]) > 1e-4);
    }
}

/* After a few steps the best ranked text has the highest score of its prompt, and a label its share. */
static void test_learned(void **state) {
    (void)state;
    double score[ITEMS], good[ITEMS];
    printed(reward, NULL, score);
    assert_true(score[0] > score[2] && score[2] > score[3]);
    printed(classifier, "good", good);
    for (int i = 0; i < ITEMS; i++) {
        assert_close_double("good", good[i], 0.25, 0, 0.05);
    }
}

static double last_loss(const char *run) {
    Error err = {0};
    Str text = {0};
    char path[800];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    assert_ok(file_read(path, 1 << 20, &text, &err), &err);
    text.data[text.size - 1] = '\0';
    const char *line = strrchr(text.data, '\n');
    line = line == NULL ? text.data : line + 1;
    cJSON *json = json_parse(line, strlen(line), path, 1, &json_limits_document, &err);
    assert_non_null(json);
    double loss = json_member(json, "train/loss")->valuedouble;
    cJSON_Delete(json);
    str_done(&text);
    return loss;
}

/* Steps of one micro-batch and of one for each prompt. */
static void test_micro_batches(void **state) {
    (void)state;
    double loss[2];
    static const char *const micro[] = {"train.micro_tokens=4096", "train.micro_tokens=1"};
    for (int i = 0; i < 2; i++) {
        char name[40], output[700];
        snprintf(name, sizeof name, "ranked-%d", i);
        in_top(output, name);
        train("rlhf-reward", encoder, rankings(), output, "reward.normalize=none", micro[i], "3");
        loss[i] = last_loss(output);
    }
    assert_close_double("loss", loss[1], loss[0], 1e-5, 0);
}

static void ppo(TestRun *run, const char *policy, const char *name, const char *more,
                const char *judge) {
    char output[700], model[800];
    in_top(output, name);
    snprintf(model, sizeof model, "reward.model=%s", judge);
    test_run(run, (const char *const[]){"rlhf-ppo", "--quiet", "--model", policy, "--data",
                                        folders.prompts, "--output", output, "--set", model,
                                        "--set", "train.steps=2", "--set", "train.batch=3", "--set",
                                        "generation.max_tokens=8", "--set", more, NULL});
}

/* An encoder in another place than the reward's. */
static void refused(const char *policy, const char *name, const char *more, const char *judge) {
    TestRun run;
    ppo(&run, policy, name, more, judge);
    if (run.status != ERROR_CONFIG || strstr(str_text(&run.err), "is an encoder (bert)") == NULL) {
        fail_msg("%s: exit %d: %s", name, run.status, str_text(&run.err));
    }
    test_run_done(&run);
}

static void test_ppo(void **state) {
    (void)state;
    TestRun run;
    char setting[800];
    ppo(&run, folders.policy, "ppo", "ppo.critic=policy", reward);
    if (run.status != 0) {
        fail_msg("exit %d: %s", run.status, str_text(&run.err));
    }
    test_run_done(&run);
    refused(encoder, "ppo-policy", "ppo.critic=policy", folders.reward);
    snprintf(setting, sizeof setting, "ppo.critic_path=%s", reward);
    refused(folders.policy, "ppo-critic", setting, reward);
    snprintf(setting, sizeof setting, "ppo.reference=%s", encoder);
    refused(folders.policy, "ppo-reference", setting, folders.reward);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_numbers),
        cmocka_unit_test(test_learned),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_ppo),
    };
    return cmocka_run_group_tests(tests, setup, NULL) != 0;
}
