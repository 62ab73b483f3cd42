/* SPDX-License-Identifier: MIT
 *
 * rlhf-generate and rlhf-score on a small random model: what they print is what the library
 * computes, and what they refuse.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/base/utf8.h"
#include "common/model/family.h"
#include "common/model/generate.h"
#include "common/model/model.h"
#include "common/text/layout.h"
#include "tests/support/support.h"
#include "tools/live_text.h"

enum { CONTEXT = 48, MAX_LINES = 64 };

static Model lm, reward, classifier;
static Tokenizer *tokenizer;
static Layout layout;
static const char *lm_folder, *reward_folder, *classifier_folder;

static const char text[] = "the cat sat on the mat and the dog sat on the cat; a mat is a mat. ";

typedef struct Lines {
    cJSON *line[MAX_LINES];
    size_t count;
} Lines;

static void parse_lines(const Str *output, Lines *lines) {
    Error err = {0};
    lines->count = 0;
    for (const char *at = str_text(output); *at != '\0';) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_true(lines->count < MAX_LINES);
        cJSON *line = json_parse(at, (size_t)(end - at), "output", 1, &json_limits_line, &err);
        assert_ok(line != NULL, &err);
        lines->line[lines->count++] = line;
        at = end + 1;
    }
}

static void release(Lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        cJSON_Delete(lines->line[i]);
    }
}

/* Runs a program that must succeed and parses what it prints. */
static void run_lines(const char *const argv[], Lines *lines) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != 0) {
        fail_msg("exit %d: %s", run.status, str_text(&run.err));
    }
    parse_lines(&run.out, lines);
    test_run_done(&run);
}

static void run_refused(const char *const argv[], int status, const char *part) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != status || strstr(str_text(&run.err), part) == NULL) {
        fail_msg("expected exit %d and \"%s\", got %d: %s", status, part, run.status,
                 str_text(&run.err));
    }
    assert_int_equal(run.out.size, 0);
    test_run_done(&run);
}

static void prompt_ids(const char *prompt, Tokens *out) {
    Error err = {0};
    char copy[256];
    snprintf(copy, sizeof copy, "%s", prompt);
    Message message = {ROLE_PLAIN, copy};
    assert_ok(layout_prompt(&layout, tokenizer, &message, 1, out, &err), &err);
}

static void assert_ids(const cJSON *list, const int32_t *id, size_t count) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        assert_true(n < count);
        assert_int_equal(item->valueint, id[n]);
    }
    assert_int_equal(n, count);
}

static void test_generate(void **state) {
    (void)state;
    Error err = {0};
    static const char data[] =
        "{\"prompt\":\"the cat\"}\n{\"prompt\":\"\"}\n{\"prompt\":\"a dog on\"}\n";
    const char *path = test_file(test_folder(), "prompts.jsonl", data, sizeof data - 1);
    Lines lines;
    run_lines((const char *const[]){"rlhf-generate", "--model", lm_folder, "--data", path,
                                    "--samples", "4", "--max-tokens", "20", "--temperature", "0.8",
                                    "--top-k", "30", "--seed", "5", "--quiet", NULL},
              &lines);
    assert_int_equal(lines.count, 12);
    static const char *const prompts[] = {"the cat", "", "a dog on"};
    Tokens ids[3] = {0};
    Prompt prompt[3];
    for (size_t i = 0; i < 3; i++) {
        prompt_ids(prompts[i], &ids[i]);
        prompt[i] = (Prompt){ids[i].id, ids[i].count, i};
    }
    Sampling sampling = {.temperature = 0.8f,
                         .top_k = 30,
                         .top_p = 1,
                         .repetition_penalty = 1,
                         .max_tokens = 20,
                         .seed = 5,
                         .purpose = RANDOM_SAMPLE};
    GeneratorPlan plan = {.rows = 3, .context = CONTEXT, .completions = 12, .tokens = 20};
    Generator *generator = generator_create(&lm.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    const Completion *out = generate(generator, &lm, prompt, 3, 4, &sampling, NULL, &err);
    assert_ok(out != NULL, &err);
    for (size_t i = 0; i < 12; i++) {
        const cJSON *line = lines.line[i];
        Str want = {0};
        double logprob = 0;
        bool eos = out[i].finish == FINISH_EOS;
        assert_string_equal(json_string(json_member(line, "prompt")), prompts[i / 4]);
        assert_int_equal(json_member(line, "sample")->valueint, i % 4);
        assert_ids(json_member(line, "tokens"), out[i].id, out[i].count);
        for (size_t t = 0; t < out[i].count; t++) {
            logprob += (double)out[i].logprob[t];
        }
        assert_close_double("logprob", json_member(line, "logprob")->valuedouble, logprob, 0, 1e-4);
        assert_ok(
            tokenizer_decode(tokenizer, out[i].id, out[i].count - eos, true, true, &want, &err),
            &err);
        assert_string_equal(json_string(json_member(line, "completion")), str_text(&want));
        assert_string_equal(json_string(json_member(line, "finish")), eos ? "eos" : "length");
        str_done(&want);
    }
    for (size_t i = 0; i < 3; i++) {
        tokens_done(&ids[i]);
    }
    generator_free(generator);
    release(&lines);
}

/* "e t" ends within the second " the" of two. */
static void test_stop(void **state) {
    (void)state;
    Lines whole, cut;
    run_lines((const char *const[]){"rlhf-generate", "-m", lm_folder, "-p", "the mat", "-n", "30",
                                    "-q", NULL},
              &whole);
    run_lines((const char *const[]){"rlhf-generate", "-m", lm_folder, "-p", "the mat", "-n", "30",
                                    "-q", "--stop", "e t", "--stop", "%", NULL},
              &cut);
    assert_int_equal(whole.count, 30);
    assert_int_equal(cut.count, 30);
    size_t stopped = 0;
    for (size_t i = 0; i < 30; i++) {
        const char *all = json_string(json_member(whole.line[i], "completion"));
        const char *part = json_string(json_member(cut.line[i], "completion"));
        const char *one = strstr(all, "%"), *two = strstr(all, "e t");
        const char *first = one == NULL || (two != NULL && two < one) ? two : one;
        size_t n = first != NULL ? (size_t)(first - all) : strlen(all);
        assert_int_equal(strlen(part), n);
        assert_memory_equal(part, all, n);
        const char *finish = json_string(json_member(cut.line[i], "finish"));
        const char *was = json_string(json_member(whole.line[i], "finish"));
        assert_string_equal(finish, first != NULL ? "stop" : was);
        stopped += first != NULL;
    }
    assert_true(stopped > 2);
    release(&whole);
    release(&cut);
}

static bool save(const Model *model, const char *folder, Error *err) {
    return model_save(model, folder, err) && tokenizer_save(tokenizer, folder, err) &&
           layout_save(&layout, folder, err);
}

/* A second id that ends, from generation_config.json, cuts the same completions short, and is not said. */
static void test_ends(void **state) {
    (void)state;
    Error err = {0};
    Lines whole, cut;
    const char *folder = test_folder();
    run_lines((const char *const[]){"rlhf-generate", "-m", lm_folder, "-p", "the mat", "-n", "30",
                                    "-q", NULL},
              &whole);
    int32_t other = cJSON_GetArrayItem(json_member(whole.line[0], "tokens"), 2)->valueint;
    lm.config.end[0] = tokenizer_eos(tokenizer);
    lm.config.end[1] = other;
    lm.config.ends = 2;
    assert_true(save(&lm, folder, &err));
    lm.config.ends = 0;
    run_lines((const char *const[]){"rlhf-generate", "-m", folder, "-p", "the mat", "-n", "30",
                                    "-q", NULL},
              &cut);
    size_t by_other = 0;
    for (size_t i = 0; i < 30; i++) {
        int32_t id[256];
        size_t n = 0;
        bool found = false;
        const cJSON *item = json_member(whole.line[i], "tokens")->child;
        for (; item != NULL && !found; item = item->next) {
            id[n++] = item->valueint;
            found = item->valueint == other;
        }
        assert_ids(json_member(cut.line[i], "tokens"), id, n);
        const char *was = json_string(json_member(whole.line[i], "finish"));
        const char *finish = json_string(json_member(cut.line[i], "finish"));
        assert_string_equal(finish, found ? "eos" : was);
        Str want = {0};
        size_t said = n - (strcmp(finish, "eos") == 0);
        assert_ok(tokenizer_decode(tokenizer, id, said, true, true, &want, &err), &err);
        assert_string_equal(json_string(json_member(cut.line[i], "completion")), str_text(&want));
        str_done(&want);
        by_other += found;
    }
    assert_true(by_other >= 1 && by_other < 30);
    release(&whole);
    release(&cut);
}

static void test_ways_in_and_out(void **state) {
    (void)state;
    TestRun run, plain;
    Str command = {0}, file = {0};
    const char *folder = test_folder();
    str_appendf(&command, "printf 'the cat\\na dog\\n' | %s/tools/rlhf-generate -m %s --greedy",
                getenv("RLHF_TEST_BUILD"), lm_folder);
    test_run(&run, (const char *const[]){"/bin/sh", "-c", str_text(&command), NULL});
    assert_int_equal(run.status, 0);
    /* Two answers, each the completion that --prompt gives. */
    static const char *const prompts[] = {"the cat", "a dog"};
    Str want = {0};
    for (size_t i = 0; i < 2; i++) {
        Lines lines;
        str_clear(&file);
        str_appendf(&file, "%s/out-%zu.jsonl", folder, i);
        test_run(&plain, (const char *const[]){"rlhf-generate", "-m", lm_folder, "-p", prompts[i],
                                               "--greedy", "-o", str_text(&file), NULL});
        assert_int_equal(plain.status, 0);
        assert_int_equal(plain.out.size, 0);
        test_run_done(&plain);
        test_run(&plain, (const char *const[]){"/bin/cat", str_text(&file), NULL});
        parse_lines(&plain.out, &lines);
        str_appendf(&want, "%s\n", json_string(json_member(lines.line[0], "completion")));
        release(&lines);
        test_run_done(&plain);
    }
    assert_string_equal(str_text(&run.out), str_text(&want));
    test_run_done(&run);
    str_done(&command);
    str_done(&file);
    str_done(&want);
}

/* An answer printed while it is made is the completion that --prompt gives, cut at the same stop text. */
static void test_live(void **state) {
    (void)state;
    size_t cut = 0;
    for (int seed = 0; seed < 25; seed++) {
        TestRun run;
        Lines lines;
        Str command = {0}, want = {0}, number = {0};
        str_appendf(&command,
                    "printf 'the mat\\n' | %s/tools/rlhf-generate -m %s --stop 'e t' --stop '%%' "
                    "--max-tokens 25 --seed %d",
                    getenv("RLHF_TEST_BUILD"), lm_folder, seed);
        str_appendf(&number, "%d", seed);
        test_run(&run, (const char *const[]){"/bin/sh", "-c", str_text(&command), NULL});
        assert_int_equal(run.status, 0);
        run_lines((const char *const[]){"rlhf-generate", "-m", lm_folder, "-p", "the mat", "--stop",
                                        "e t", "--stop", "%", "--seed", str_text(&number),
                                        "--max-tokens", "25", "-q", NULL},
                  &lines);
        str_appendf(&want, "%s\n", json_string(json_member(lines.line[0], "completion")));
        assert_string_equal(str_text(&run.out), str_text(&want));
        cut += strcmp(json_string(json_member(lines.line[0], "finish")), "stop") == 0;
        release(&lines);
        test_run_done(&run);
        str_done(&command);
        str_done(&want);
        str_done(&number);
    }
    assert_in_range(cut, 2, 24);
}

/* Id by id: every piece is whole characters, all of them are the decoded text up to the first stop text,
 * whatever the ids. */
static void test_live_text(void **state) {
    (void)state;
    char the[] = "the", split[] = "he c", accent[] = "\xc3\xa9", letters[] = "aab";
    char *stops[] = {the, split, accent, letters};
    Error err = {0};
    size_t stopped = 0;
    for (uint64_t round = 0; round < 400; round++) {
        Random random = random_stream(round, RANDOM_TEST, 0, 0);
        StringList stop = {stops, round % 5};
        LiveText live;
        Str all = {0}, want = {0};
        int32_t id[40];
        size_t n = 1 + random_below(&random, 0, 39);
        assert_ok(live_text_init(&live, tokenizer, &stop, &err), &err);
        for (size_t i = 0; i < n; i++) {
            Str piece = {0};
            id[i] = (int32_t)random_below(&random, i + 1, tokenizer_vocabulary(tokenizer));
            assert_ok(live_text_put(&live, tokenizer, id[i], &piece, &err), &err);
            assert_int_equal(utf8_invalid_at(str_text(&piece), piece.size), piece.size);
            str_append_bytes(&all, str_text(&piece), piece.size);
            str_done(&piece);
        }
        assert_ok(live_text_end(&live, &all, &err), &err);
        assert_ok(tokenizer_decode(tokenizer, id, n, true, true, &want, &err), &err);
        size_t end = stop_text_at(&stop, str_text(&want), want.size);
        stopped += end < want.size;
        assert_int_equal(all.size, end);
        assert_memory_equal(str_text(&all), str_text(&want), end);
        live_text_done(&live);
        str_done(&all);
        str_done(&want);
    }
    assert_true(stopped > 5);
}

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
        release(&lines);
    }
}

/* A text longer than the context: windows that share one id, every id but the first judged once. */
static void test_text(void **state) {
    (void)state;
    Error err = {0};
    Str book = {0}, line = {0};
    for (size_t i = 0; i < 6; i++) {
        str_append(&book, text);
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
    parse_lines(&run.out, &lines);
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
    release(&lines);
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
    release(&lines);
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
    release(&lines);
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
    release(&lines);
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
    release(&lines);
}

static void test_refused(void **state) {
    (void)state;
    const char *folder = test_folder();
    char longer[600] = "{\"prompt\":\"a\"}\n{\"prompt\":\"";
    for (int i = 0; i < 30; i++) {
        strcat(longer, "zq xv ");
    }
    strcat(longer, "\"}\n");
    const char *path = test_file(folder, "long.jsonl", longer, strlen(longer));
    const char *generator = "rlhf-generate", *score = "rlhf-score";
    run_refused((const char *const[]){generator, "-p", "x", NULL}, 64, "--model DIR");
    run_refused((const char *const[]){generator, "-m", lm_folder, "-p", "x", "-d", path, NULL}, 64,
                "not both");
    run_refused((const char *const[]){generator, "-m", lm_folder, "-d", path, NULL}, 65,
                "long.jsonl:2");
    run_refused((const char *const[]){generator, "-m", reward_folder, "-p", "x", NULL}, 65,
                "a GPT2LMHeadModel was expected");
    run_refused((const char *const[]){generator, "-m", folder, "-p", "x", NULL}, 66, "config.json");
    run_refused(
        (const char *const[]){generator, "-m", lm_folder, "-p", "x", "--temperature", "0", NULL},
        78, "generation.temperature");
    run_refused(
        (const char *const[]){generator, "-m", lm_folder, "-p", "x", "-o", "/nonexistent/x", NULL},
        73, "/nonexistent");
    run_refused((const char *const[]){score, "-m", lm_folder, NULL}, 64, "--data FILE");
    run_refused((const char *const[]){score, "-m", lm_folder, "-d", path, NULL}, 65,
                "long.jsonl:1");
}

static Tokenizer *train_tokenizer(Error *err) {
    static const char *const special[] = {"<|endoftext|>"};
    TokenizerTraining training = {.vocabulary = 280,
                                  .minimum_count = 2,
                                  .special = special,
                                  .specials = 1,
                                  .eos = special[0]};
    TokenizerTrainer *trainer = tokenizer_trainer_create(err);
    Tokenizer *result = NULL;
    if (trainer != NULL && tokenizer_trainer_feed(trainer, text, strlen(text), err)) {
        result = tokenizer_trainer_finish(trainer, &training, err);
    }
    tokenizer_trainer_free(trainer);
    return result;
}

static bool create_models(Error *err) {
    ModelConfig config = {.family = &family_gpt2,
                          .layers = 2,
                          .heads = 2,
                          .width = 16,
                          .inner = 64,
                          .vocabulary = tokenizer_vocabulary(tokenizer),
                          .context = CONTEXT,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .head = HEAD_LM,
                          .eos = tokenizer_eos(tokenizer),
                          .bos = -1,
                          .pad = -1};
    if (!model_create(&lm, &config, err)) {
        return false;
    }
    model_initialize(&lm, 1);
    for (size_t i = 0; i < lm.count; i++) {
        lm.data[i] *= 20; /* away from the uniform distribution */
    }
    model_config_set_head(&config, HEAD_SCORES, 1);
    if (!model_create(&reward, &config, err)) {
        return false;
    }
    model_initialize(&reward, 2);
    reward.config.reward_bias = 0.5f;
    model_config_set_head(&config, HEAD_SCORES, 3);
    if (!model_create(&classifier, &config, err)) {
        return false;
    }
    model_initialize(&classifier, 3);
    classifier.config.label_name = calloc(3, sizeof(char *));
    for (size_t i = 0; i < 3; i++) {
        classifier.config.label_name[i] = strdup((const char *[]){"bad", "fair", "good"}[i]);
    }
    return true;
}

static int set_up(void **state) {
    (void)state;
    Error err = {0};
    parallel_init(2);
    lm_folder = test_folder();
    reward_folder = test_folder();
    classifier_folder = test_folder();
    bool ok = (tokenizer = train_tokenizer(&err)) != NULL && layout_init(&layout, "plain", &err) &&
              create_models(&err) && save(&lm, lm_folder, &err) &&
              save(&reward, reward_folder, &err) && save(&classifier, classifier_folder, &err);
    if (!ok) {
        error_print(&err, "test_generate_score", stderr);
    }
    return ok ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    model_done(&lm);
    model_done(&reward);
    model_done(&classifier);
    tokenizer_free(tokenizer);
    layout_done(&layout);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_ways_in_and_out),
        cmocka_unit_test(test_live),     cmocka_unit_test(test_live_text),
        cmocka_unit_test(test_logprobs), cmocka_unit_test(test_text),
        cmocka_unit_test(test_scores),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down) == 0 ? 0 : 1;
}
