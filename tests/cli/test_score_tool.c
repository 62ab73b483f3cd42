/* SPDX-License-Identifier: MIT
 *
 * rlhf-score on small random models: what it prints is what the library computes, and what it refuses.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cli/models.h"

/* Log-probs and scores of the library over prompt + completion (+ EOS). */
static size_t compute(const Model *model, const char *prompt, const char *completion, bool eos,
                      float *logprob, float *score) {
    Error err = {0};
    Tokens ids = {0};
    int32_t target[CONTEXT];
    Batch batch;
    WorkspacePlan plan = {CONTEXT, 1, false};
    prompt_ids(prompt, &ids);
    size_t n = ids.count;
    assert_ok(
        layout_completion(&layout, tokenizer, completion, strlen(completion), eos, &ids, &err),
        &err);
    for (size_t t = 0; t < ids.count; t++) {
        target[t] = t + 1 < ids.count ? ids.id[t + 1] : BATCH_NO_TARGET;
    }
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_ok(workspace != NULL && batch_init(&batch, CONTEXT, 1, &err), &err);
    assert_ok(batch_add(&batch, ids.id, target, ids.count, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    float all[CONTEXT * 3];
    if (score != NULL) {
        model_forward(model, workspace, &batch, &(PerToken){.score = all});
        size_t labels = model->config.labels;
        memcpy(score, all + (ids.count - 1) * labels, labels * sizeof(float));
    } else {
        model_forward(model, workspace, &batch, &(PerToken){.logprob = all});
        memcpy(logprob, all + n - 1, (ids.count - n) * sizeof(float));
    }
    size_t count = ids.count - n;
    workspace_free(workspace);
    batch_done(&batch);
    tokens_done(&ids);
    return count;
}

static const char pairs[] =
    "prompt,completion\nthe cat,sat on the mat\na dog,\"is a cat; the mat\"\n,the\n";
static const char *const rows[3][2] = {
    {"the cat", "sat on the mat"   },
    {"a dog",   "is a cat; the mat"},
    {"",        "the"              }
};

static void test_logprobs(void **state) {
    (void)state;
    const char *path = test_file(test_folder(), "pairs.csv", pairs, sizeof pairs - 1);
    for (int eos = 0; eos < 2; eos++) {
        Lines lines;
        run_lines((const char *const[]){"rlhf-score", "--model", lm_folder, "--data", path,
                                        eos != 0 ? "--eos" : "--eos=false", "--quiet", NULL},
                  &lines);
        assert_int_equal(lines.count, 3);
        for (size_t i = 0; i < 3; i++) {
            float want[CONTEXT];
            size_t n = compute(&lm, rows[i][0], rows[i][1], eos != 0, want, NULL), t = 0;
            double sum = 0;
            const cJSON *list = json_member(lines.line[i], "logprobs");
            assert_int_equal(cJSON_GetArraySize(list), n);
            for (const cJSON *item = list->child; item != NULL; item = item->next, t++) {
                assert_close_double("logprobs", item->valuedouble, (double)want[t], 0, 1e-5);
                sum += (double)want[t];
            }
            assert_close_double("logprob", json_member(lines.line[i], "logprob")->valuedouble, sum,
                                0, 1e-4);
        }
        lines_done(&lines);
    }
}

/* A text longer than the context: windows that share one id, every id but the first judged once. */
static void test_text(void **state) {
    (void)state;
    Error err = {0};
    Str book = {0}, line = {0};
    for (size_t i = 0; i < 6; i++) {
        str_append(&book, corpus);
    }
    str_append(&line, "{\"text\":");
    json_put_string(&line, str_text(&book), book.size);
    str_append(&line, "}\n");
    const char *path = test_file(test_folder(), "book.jsonl", str_text(&line), line.size);
    TestRun run;
    test_run(&run, (const char *const[]){"rlhf-score", "--model", lm_folder, "--data", path,
                                         "--eos=false", NULL});
    assert_int_equal(run.status, 0);
    Lines lines;
    lines_parse(&run.out, &lines);
    Tokens ids = {0};
    assert_ok(tokenizer_encode(tokenizer, str_text(&book), book.size, false, &ids, &err), &err);
    assert_true(ids.count > 2 * CONTEXT);
    Batch batch;
    WorkspacePlan plan = {CONTEXT, 1, false};
    Workspace *workspace = workspace_create(&lm.config, &plan, &err);
    assert_ok(workspace != NULL && batch_init(&batch, CONTEXT, 1, &err), &err);
    double sum = 0;
    size_t judged = 0;
    for (size_t i = 0; i + 1 < ids.count; i += CONTEXT - 1) {
        size_t n = ids.count - i < CONTEXT ? ids.count - i : CONTEXT;
        int32_t target[CONTEXT];
        float logprob[CONTEXT];
        memcpy(target, ids.id + i + 1, (n - 1) * sizeof *target);
        target[n - 1] = BATCH_NO_TARGET;
        batch_clear(&batch);
        assert_ok(batch_add(&batch, ids.id + i, target, n, BATCH_NO_PREFIX, 0, NULL, &err), &err);
        model_forward(&lm, workspace, &batch, &(PerToken){.logprob = logprob});
        for (size_t t = 0; t + 1 < n; t++, judged++) {
            sum += (double)logprob[t];
        }
    }
    assert_int_equal(lines.count, 1);
    assert_int_equal(cJSON_GetArraySize(json_member(lines.line[0], "logprobs")), judged);
    assert_int_equal(judged, ids.count - 1);
    assert_close_double("logprob", json_member(lines.line[0], "logprob")->valuedouble, sum, 1e-5,
                        0);
    char perplexity[64];
    snprintf(perplexity, sizeof perplexity, "%zu tokens, perplexity %.2f", judged,
             exp(-sum / (double)judged));
    assert_non_null(strstr(str_text(&run.err), perplexity));
    lines_done(&lines);
    workspace_free(workspace);
    batch_done(&batch);
    tokens_done(&ids);
    str_done(&book);
    str_done(&line);
    test_run_done(&run);
    run_refused((const char *const[]){"rlhf-score", "-m", reward_folder, "-d", path, "-q", NULL},
                ERROR_DATA, "form \"text\"");
}

static void test_scores(void **state) {
    (void)state;
    const char *path = test_file(test_folder(), "pairs.csv", pairs, sizeof pairs - 1);
    Lines lines;
    float want[3];
    run_lines((const char *const[]){"rlhf-score", "-m", reward_folder, "-d", path, "-q", NULL},
              &lines);
    assert_int_equal(lines.count, 3);
    for (size_t i = 0; i < 3; i++) {
        compute(&reward, rows[i][0], rows[i][1], true, NULL, want);
        assert_close_double("score", json_member(lines.line[i], "score")->valuedouble,
                            (double)want[0] + 0.5, 0, 1e-5);
    }
    lines_done(&lines);
    run_lines((const char *const[]){"rlhf-score", "-m", classifier_folder, "-d", path, "-q",
                                    "--set", "score.tokens=9", NULL},
              &lines);
    for (size_t i = 0; i < 3; i++) {
        const cJSON *labels = json_member(lines.line[i], "labels");
        static const char *const names[] = {"bad", "fair", "good"};
        double sum = 0;
        compute(&classifier, rows[i][0], rows[i][1], true, NULL, want);
        for (size_t j = 0; j < 3; j++) {
            sum += exp((double)want[j]);
        }
        for (size_t j = 0; j < 3; j++) {
            assert_close_double(names[j], json_member(labels, names[j])->valuedouble,
                                exp((double)want[j]) / sum, 0, 1e-5);
        }
    }
    lines_done(&lines);
}

/* Rows with several completions give arrays, each number what the completion gets alone. */
static void test_lists(void **state) {
    (void)state;
    static const char data[] =
        "{\"prompt\":\"the cat\",\"completions\":[\"sat\",\"sat on the mat\",\"is\"]}\n"
        "{\"prompt\":\"a dog\",\"completions\":[\"sat on a cat\"]}\n";
    static const char *const texts[] = {"sat", "sat on the mat", "is"};
    const char *path = test_file(test_folder(), "lists.jsonl", data, sizeof data - 1);
    Lines lines;
    run_lines((const char *const[]){"rlhf-score", "-m", reward_folder, "-d", path, "-q", NULL},
              &lines);
    assert_int_equal(lines.count, 2);
    const cJSON *scores = json_member(lines.line[0], "score");
    assert_int_equal(cJSON_GetArraySize(scores), 3);
    for (int i = 0; i < 3; i++) {
        float want;
        compute(&reward, "the cat", texts[i], true, NULL, &want);
        assert_close_double("score", cJSON_GetArrayItem(scores, i)->valuedouble, (double)want + 0.5,
                            0, 1e-5);
    }
    assert_int_equal(cJSON_GetArraySize(json_member(lines.line[1], "score")), 1);
    lines_done(&lines);
    run_lines((const char *const[]){"rlhf-score", "-m", lm_folder, "-d", path, "-q", NULL}, &lines);
    const cJSON *logprobs = json_member(lines.line[0], "logprobs");
    assert_int_equal(cJSON_GetArraySize(json_member(lines.line[0], "logprob")), 3);
    for (int i = 0; i < 3; i++) {
        float want[CONTEXT];
        size_t n = compute(&lm, "the cat", texts[i], true, want, NULL);
        const cJSON *list = cJSON_GetArrayItem(logprobs, i);
        assert_int_equal(cJSON_GetArraySize(list), n);
        assert_close_double("last", cJSON_GetArrayItem(list, (int)n - 1)->valuedouble,
                            (double)want[n - 1], 0, 1e-5);
    }
    lines_done(&lines);
}

static void test_refused(void **state) {
    (void)state;
    const char *path = long_prompts(), *program = "rlhf-score";
    run_refused((const char *const[]){program, "-m", lm_folder, NULL}, 64, "--data FILE");
    run_refused((const char *const[]){program, "-m", lm_folder, "-d", path, NULL}, 65,
                "long.jsonl:1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logprobs), cmocka_unit_test(test_text),
        cmocka_unit_test(test_scores),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, models_set_up, models_tear_down) == 0 ? 0 : 1;
}
