/* SPDX-License-Identifier: MIT
 *
 * rlhf-generate on a small random model: what it prints is what the library computes, and what it
 * refuses.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/model/generate.h"
#include "tests/cli/models.h"
#include "tools/live_text.h"

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
    lines_done(&lines);
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
    lines_done(&whole);
    lines_done(&cut);
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
    assert_true(models_save(&lm, folder, &err));
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
    lines_done(&whole);
    lines_done(&cut);
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
        lines_parse(&plain.out, &lines);
        str_appendf(&want, "%s\n", json_string(json_member(lines.line[0], "completion")));
        lines_done(&lines);
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
        lines_done(&lines);
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

static void test_refused(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = long_prompts(), *program = "rlhf-generate";
    run_refused((const char *const[]){program, "-p", "x", NULL}, 64, "--model DIR");
    run_refused((const char *const[]){program, "-m", lm_folder, "-p", "x", "-d", path, NULL}, 64,
                "not both");
    run_refused((const char *const[]){program, "-m", lm_folder, "-d", path, NULL}, 65,
                "long.jsonl:2");
    run_refused((const char *const[]){program, "-m", reward_folder, "-p", "x", NULL}, 65,
                "a GPT2LMHeadModel was expected");
    run_refused((const char *const[]){program, "-m", folder, "-p", "x", NULL}, 66, "config.json");
    run_refused(
        (const char *const[]){program, "-m", lm_folder, "-p", "x", "--temperature", "0", NULL}, 78,
        "generation.temperature");
    run_refused(
        (const char *const[]){program, "-m", lm_folder, "-p", "x", "-o", "/nonexistent/x", NULL},
        73, "/nonexistent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_ways_in_and_out),
        cmocka_unit_test(test_live),     cmocka_unit_test(test_live_text),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, models_set_up, models_tear_down) == 0 ? 0 : 1;
}
