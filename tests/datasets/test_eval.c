/* SPDX-License-Identifier: MIT
 *
 * rlhf-eval: its numbers against numbers computed here one text at a time.
 */
#include "tests/support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/model/family.h"
#include "common/model/model.h"
#include "common/text/layout.h"

static const char facts[] =
    "{\"attributes\": {\"a\": {\"values\": {\"x\": [\"ex\"], \"y\": [\"why\"]}},"
    " \"b\": {\"values\": {\"z\": [\"zed\"]}}}}";

static const char *put(const char *folder, const char *name, const char *text) {
    return test_file(folder, name, text, strlen(text));
}

/* Runs rlhf-eval; its JSON, or the error's text in *error. */
static cJSON *evaluate(const char *const arguments[], int status, const char *error) {
    const char *argv[32] = {"rlhf-eval", "--json", "--quiet"};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        argv[3 + i] = arguments[i];
    }
    TestRun run;
    test_run(&run, argv);
    if (run.status != status) {
        fail_msg("status %d, wanted %d: %s", run.status, status, str_text(&run.err));
    }
    if (error != NULL && strstr(str_text(&run.err), error) == NULL) {
        fail_msg("wanted \"%s\" in: %s", error, str_text(&run.err));
    }
    cJSON *tree = NULL;
    if (status == 0) {
        Error err = {0};
        assert_string_equal(str_text(&run.err), "");
        tree = json_parse(run.out.data, run.out.size, "stdout", 1, &json_limits_document, &err);
        assert_ok(tree != NULL, &err);
    }
    test_run_done(&run);
    return tree;
}

static double number(const cJSON *object, const char *key) {
    const cJSON *item = json_member(object, key);
    if (!cJSON_IsNumber(item)) {
        fail_msg("no number \"%s\"", key);
    }
    return item->valuedouble;
}

static const cJSON *metrics(const cJSON *tree, int file) {
    return json_member(cJSON_GetArrayItem(json_member(tree, "files"), file), "metrics");
}

static void expect(const cJSON *object, const char *key, double want) {
    assert_close_double(key, number(object, key), want, 1e-9, 1e-9);
}

static void test_texts_and_rule(void **state) {
    (void)state;
    const char *folder = test_folder();
    const char *table = put(folder, "facts.json", facts);
    const char *one = put(folder, "one.jsonl",
                          "{\"prompt\":\"a[x], b[z]\",\"completion\":\"ex zed\",\"tokens\":[1,2,3],"
                          "\"finish\":\"eos\"}\n"
                          "{\"prompt\":\"a[x]\",\"completion\":\"why zed\",\"tokens\":[1],"
                          "\"finish\":\"length\"}\n");
    const char *two = put(folder, "two.jsonl",
                          "{\"prompt\":\"a[x]\",\"completion\":\"ex\"}\n"
                          "{\"prompt\":\"a[x], b[z]\",\"completion\":\"ex\"}\n"
                          "{\"prompt\":\"a[y]\",\"completion\":\"ex\"}\n");
    char named[800];
    snprintf(named, sizeof named, "second=%s", two);
    const char *arguments[] = {"--facts", table, one, named, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    const cJSON *first = metrics(tree, 0), *second = metrics(tree, 1);
    assert_string_equal(
        json_string(json_member(cJSON_GetArrayItem(json_member(tree, "files"), 0), "name")), "one");
    assert_string_equal(
        json_string(json_member(cJSON_GetArrayItem(json_member(tree, "files"), 1), "name")),
        "second");
    expect(first, "texts", 2);
    expect(first, "prompts", 2);
    expect(first, "distinct", 1);
    expect(first, "words", 2);
    expect(first, "tokens", 2);
    expect(first, "unfinished", 0.5);
    expect(first, "facts/kept", 2.0 / 3);
    expect(first, "facts/missing", 0.5);
    expect(first, "facts/invented", 1); /* why and zed */
    expect(first, "facts/texts_missing", 0.5);
    expect(first, "facts/texts_invented", 0.5);
    expect(first, "facts/texts_right", 0.5);
    expect(second, "distinct", 1.0 / 3);
    assert_null(json_member(second, "tokens"));
    /* the shared prompts: the second wins a[x], the first a[x], b[z] */
    expect(second, "wins/rule", 0.5);
    assert_null(json_member(first, "wins/rule"));
    cJSON_Delete(tree);
}

static void test_rankings_by_rule(void **state) {
    (void)state;
    const char *folder = test_folder();
    const char *table = put(folder, "facts.json", facts);
    /* "ex" has the fact, "no" lacks it, "oh" lacks it too. Raters: ex > no 3:0, ex > oh 1:1 with a tie,
     * no > oh 2:1; the completions in any order. Another screen of two raters: no > ex 2:0. */
    const char *rankings =
        put(folder, "rankings.jsonl",
            "{\"prompt\":\"a[x]\",\"completions\":[\"ex\",\"no\",\"oh\"],\"ranks\":[1,2,3]}\n"
            "{\"prompt\":\"a[x]\",\"completions\":[\"oh\",\"ex\",\"no\"],\"ranks\":[1,2,3]}\n"
            "{\"prompt\":\"a[x]\",\"completions\":[\"ex\",\"no\",\"oh\"],\"ranks\":[1,2,1]}\n"
            "{\"prompt\":\"a[x]\",\"completions\":[\"ex\",\"no\"],\"ranks\":[2,1]}\n"
            "{\"prompt\":\"a[x]\",\"completions\":[\"no\",\"ex\"],\"ranks\":[1,2]}\n");
    const char *arguments[] = {"--facts", table, "--rankings", rankings, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    const cJSON *got = json_member(tree, "rankings");
    expect(got, "majority_pairs/rule", 3); /* ex > no; oh > no (2:1); no > ex */
    expect(got, "majority/rule", (1 + 0.5 + 0) / 3);
    expect(got, "unanimous_pairs/rule", 1);
    expect(got, "unanimous/rule", 1);
    cJSON_Delete(tree);
}

static Tokenizer *tokenizer; /* bytes; EOS is id 0 */
static Layout layout;
static char lm_a[700], lm_b[700], rm[700];

static void save_model(const char *folder, int head, uint64_t seed, Model *model) {
    Error err = {0};
    ModelConfig config = {.family = family_find("gpt2"),
                          .layers = 2,
                          .heads = 2,
                          .width = 16,
                          .inner = 64,
                          .vocabulary = 257,
                          .context = 64,
                          .norm_epsilon = 1e-5F,
                          .tied = true,
                          .head = (HeadKind)head,
                          .labels = head == HEAD_SCORES ? 1 : 0,
                          .eos = 0,
                          .bos = -1,
                          .pad = -1,
                          .reward_bias = head == HEAD_SCORES ? 0.25F : 0};
    assert_ok(model_create(model, &config, &err), &err);
    model_initialize(model, seed);
    for (size_t i = 0; i < model->count; i++) {
        model->data[i] *= 4; /* far from uniform */
    }
    assert_ok(file_make_folders(folder, &err), &err);
    assert_ok(model_save(model, folder, &err), &err);
    assert_ok(tokenizer_save(tokenizer, folder, &err), &err);
    assert_ok(layout_save(&layout, folder, &err), &err);
}

/* Score at the last row, or the sum of log-probs of the completion, of one text alone. */
static double judge_alone(const Model *model, const char *prompt, const char *text, bool end) {
    Error err = {0};
    Tokens ids = {0};
    Message message = {ROLE_PLAIN, (char *)(uintptr_t)prompt};
    assert_ok(layout_prompt(&layout, tokenizer, &message, 1, &ids, &err), &err);
    size_t begin = ids.count;
    assert_ok(layout_completion(&layout, tokenizer, text, strlen(text), end, &ids, &err), &err);
    WorkspacePlan plan = {.tokens = 64, .sequences = 1};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    Batch batch;
    int32_t target[64];
    float value[64];
    for (size_t t = 0; t < ids.count; t++) {
        target[t] = t + 1 >= begin && t + 1 < ids.count ? ids.id[t + 1] : BATCH_NO_TARGET;
    }
    assert_ok(batch_init(&batch, 64, 1, &err), &err);
    assert_ok(batch_add(&batch, ids.id, target, ids.count, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    bool scores = model->config.head == HEAD_SCORES;
    PerToken out = {.logprob = scores ? NULL : value, .score = scores ? value : NULL};
    model_forward(model, workspace, &batch, &out);
    double result = scores ? (double)(value[ids.count - 1] + model->config.reward_bias) : 0;
    for (size_t t = 0; !scores && t < ids.count; t++) {
        result += target[t] == BATCH_NO_TARGET ? 0 : (double)value[t];
    }
    batch_done(&batch);
    workspace_free(workspace);
    tokens_done(&ids);
    return result;
}

static Model model_a, model_b, model_r;

static int set_up(void **state) {
    (void)state;
    Error err = {0};
    const char *special[] = {"<|endoftext|>"};
    TokenizerTraining options = {.vocabulary = 257,
                                 .minimum_count = 2,
                                 .special = special,
                                 .specials = 1,
                                 .eos = special[0]};
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    assert_ok(trainer != NULL && tokenizer_trainer_feed(trainer, "ab", 2, &err), &err);
    tokenizer = tokenizer_trainer_finish(trainer, &options, &err);
    assert_ok(tokenizer != NULL, &err);
    tokenizer_trainer_free(trainer);
    assert_ok(layout_init(&layout, "plain", &err), &err);
    const char *folder = test_folder();
    snprintf(lm_a, sizeof lm_a, "%s/a/model", folder);
    snprintf(lm_b, sizeof lm_b, "%s/b/model", folder);
    snprintf(rm, sizeof rm, "%s/rm/model", folder);
    save_model(lm_a, HEAD_LM, 1, &model_a);
    save_model(lm_b, HEAD_LM, 2, &model_b);
    save_model(rm, HEAD_SCORES, 3, &model_r);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    model_done(&model_a);
    model_done(&model_b);
    model_done(&model_r);
    tokenizer_free(tokenizer);
    layout_done(&layout);
    return 0;
}

static const char *const prompts[] = {"a[x]", "a[y], b[z]", "b[z]"};
static const char *const texts[] = {
    "ex", "why zed", "zed", "", "ex ex", "zed why", "whyzed", "e", "longer text ex", "x", "y", "z"};
enum { PROMPTS = 3, SAMPLES = 4 };

/* SAMPLES texts for each prompt, shuffled among each other; the last text is unfinished. */
static const char *outputs(const char *folder) {
    Str lines = {0};
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t p = 0; p < PROMPTS; p++) {
            str_appendf(&lines, "{\"prompt\":\"%s\",\"completion\":\"%s\",\"finish\":\"%s\"}\n",
                        prompts[p], texts[p * SAMPLES + s],
                        s + 1 == SAMPLES && p + 1 == PROMPTS ? "length" : "eos");
        }
    }
    const char *path = test_file(folder, "outputs.jsonl", lines.data, lines.size);
    str_done(&lines);
    return path;
}

static void test_models(void **state) {
    (void)state;
    const char *folder = test_folder(), *file = outputs(folder);
    double reward = 0, kl = 0, tokens = 0;
    for (size_t i = 0; i < PROMPTS * SAMPLES; i++) {
        const char *prompt = prompts[i / SAMPLES];
        bool end = i + 1 < PROMPTS * SAMPLES;
        reward += judge_alone(&model_r, prompt, texts[i], true);
        kl += judge_alone(&model_b, prompt, texts[i], end) -
              judge_alone(&model_a, prompt, texts[i], end);
        tokens += (double)strlen(texts[i]) + end;
    }
    const char *arguments[] = {"--reward-model", rm,   "--policy", lm_a, "--policy", lm_b,
                               "--reference",    lm_a, file,       file, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    const cJSON *first = metrics(tree, 0), *second = metrics(tree, 1);
    double n = PROMPTS * SAMPLES;
    assert_close_double("reward", number(first, "reward/rm"), reward / n, 1e-5, 1e-5);
    expect(first, "kl", 0);
    assert_true(fabs(kl / n) > 0.01);
    assert_close_double("kl", number(second, "kl"), kl / n, 1e-4, 1e-4);
    assert_close_double("kl_token", number(second, "kl_token"), kl / tokens, 1e-4, 1e-4);
    expect(second, "wins/rm", 0.5);
    cJSON_Delete(tree);
}

/* Ids as sampled count, not how the text would be encoded. */
static void test_sampled_ids(void **state) {
    (void)state;
    Error err = {0};
    Tokens ids = {0};
    assert_ok(layout_completion(&layout, tokenizer, "ex", 2, true, &ids, &err), &err);
    Str line = {0};
    str_append(&line, "{\"prompt\":\"p\",\"completion\":\"something else\",\"finish\":\"eos\","
                      "\"tokens\":[");
    for (size_t i = 0; i < ids.count; i++) {
        str_appendf(&line, "%s%d", i > 0 ? "," : "", ids.id[i]);
    }
    str_append(&line, "]}\n");
    const char *file = test_file(test_folder(), "x.jsonl", line.data, line.size);
    const char *arguments[] = {"--policy", lm_b, "--reference", lm_a, file, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    double want = judge_alone(&model_b, "p", "ex", true) - judge_alone(&model_a, "p", "ex", true);
    assert_close_double("kl", number(metrics(tree, 0), "kl"), want, 1e-4, 1e-4);
    cJSON_Delete(tree);
    str_done(&line);
    tokens_done(&ids);
}

/* The mean over all choices of n of SAMPLES, enumerated. */
static void test_best_of(void **state) {
    (void)state;
    const char *folder = test_folder(), *file = outputs(folder);
    const char *table = put(folder, "facts.json", facts);
    const char *arguments[] = {"--reward-model", rm, "--best-of", "--facts", table, file, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    const cJSON *list = json_member(cJSON_GetArrayItem(json_member(tree, "files"), 0), "best_of");
    assert_int_equal(cJSON_GetArraySize(list), 3);
    for (int k = 0; k < 3; k++) {
        int n = 1 << k;
        double sum = 0, choices = 0;
        for (size_t p = 0; p < PROMPTS; p++) {
            for (unsigned set = 0; set < 1u << SAMPLES; set++) {
                double best = -INFINITY;
                if (__builtin_popcount(set) != n) {
                    continue;
                }
                for (size_t s = 0; s < SAMPLES; s++) {
                    if ((set >> s & 1) != 0) {
                        best = fmax(
                            best, judge_alone(&model_r, prompts[p], texts[p * SAMPLES + s], true));
                    }
                }
                sum += best;
                choices++;
            }
        }
        const cJSON *row = cJSON_GetArrayItem(list, k);
        expect(row, "n", n);
        expect(row, "kl", log(n) - (n - 1.0) / n);
        assert_close_double("best reward", number(row, "reward"), sum / choices, 1e-5, 1e-5);
    }
    const cJSON *one = cJSON_GetArrayItem(list, 0);
    expect(one, "facts/missing", number(metrics(tree, 0), "facts/missing"));
    expect(one, "facts/texts_right", number(metrics(tree, 0), "facts/texts_right"));
    cJSON_Delete(tree);
}

static void test_rankings_by_model(void **state) {
    (void)state;
    double ex = judge_alone(&model_r, "a[x]", "ex", true);
    double no = judge_alone(&model_r, "a[x]", "no", true);
    const char *file =
        put(test_folder(), "r.jsonl",
            "{\"prompt\":\"a[x]\",\"completions\":[\"ex\",\"no\"],\"ranks\":[1,2]}\n");
    const char *arguments[] = {"--reward-model", rm, "--rankings", file, NULL};
    cJSON *tree = evaluate(arguments, 0, NULL);
    expect(json_member(tree, "rankings"), "majority/rm", ex > no ? 1 : 0);
    expect(json_member(tree, "rankings"), "majority_pairs/rm", 1);
    cJSON_Delete(tree);
}

static void test_faults(void **state) {
    (void)state;
    const char *folder = test_folder();
    const char *table = put(folder, "facts.json", facts);
    const char *good = put(folder, "good.jsonl", "{\"prompt\":\"a[x]\",\"completion\":\"c\"}\n");
    const char *other = put(folder, "other.jsonl", "{\"prompt\":\"a[y]\",\"completion\":\"c\"}\n");
    const char *plain = put(folder, "plain.jsonl", "{\"prompt\":\"hello\",\"completion\":\"c\"}\n");
    const char *ids =
        put(folder, "ids.jsonl", "{\"prompt\":\"a[x]\",\"completion\":\"c\",\"tokens\":[999]}\n");
    const char *words = put(folder, "words.jsonl",
                            "{\"prompt\":\"a[x]\",\"completion\":\"c\",\"tokens\":[\"c\"]}\n");
    Str long_text = {0};
    str_append(&long_text, "{\"prompt\":\"a[x]\",\"completion\":\"");
    for (size_t i = 0; i < 100; i++) {
        str_append(&long_text, "w");
    }
    str_append(&long_text, "\"}\n");
    const char *big = put(folder, "big.jsonl", str_text(&long_text));
    str_done(&long_text);
    const struct {
        const char *arguments[8];
        int status;
        const char *error;
        /* clang-format off */
    } table_of_faults[] = {
        {{"--quiet"}, 64, "no file of outputs"},
        {{"--rankings", good}, 64, "without a judge"},
        {{"--best-of", good}, 64, "--best-of without --reward-model"},
        {{"--policy", lm_a, good}, 64, "belong together"},
        {{"--policy", lm_a, "--reference", lm_a, good, good}, 64, "1 policies for 2 files"},
        {{"absent.jsonl"}, 66, "absent.jsonl"},
        {{"--facts", good, good}, 65, "without an object \"attributes\""},
        {{"--facts", table, plain}, 65, "holds no fact"},
        {{"--facts", table, good, other}, 65, "share no prompt"},
        {{"--reward-model", lm_a, good}, 65, "has no score head"},
        {{"--reward-model", rm, "--best-of", good}, 65, "one text only"},
        {{"--reward-model", rm, big}, 65, "reads at most 64"},
        {{"--policy", lm_a, "--reference", lm_a, ids}, 65, "token 999"},
        {{words}, 65, "something else than ids"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof table_of_faults / sizeof *table_of_faults; i++) {
        assert_null(evaluate(table_of_faults[i].arguments, table_of_faults[i].status,
                             table_of_faults[i].error));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_and_rule), cmocka_unit_test(test_rankings_by_rule),
        cmocka_unit_test(test_models),         cmocka_unit_test(test_sampled_ids),
        cmocka_unit_test(test_best_of),        cmocka_unit_test(test_rankings_by_model),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests_name("eval", tests, set_up, tear_down);
}
