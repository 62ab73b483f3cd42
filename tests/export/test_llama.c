/* SPDX-License-Identifier: MIT
 *
 * Exported files run by llama.cpp: greedy continuations and log-probs are ours, and so are tokens.
 * RLHF_TEST_LLAMA names the program (llama_run.c says how to build it); skipped without it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/export/export.h"
#include "common/model/generate.h"
#include "tests/export/models.h"
#include "tests/support/support.h"

enum { PROMPT = 12, CONTINUED = 64 };

static const char *program(void) {
    const char *path = getenv("RLHF_TEST_LLAMA");
    if (path == NULL) {
        print_message("skipped: RLHF_TEST_LLAMA names no program that runs llama.cpp\n");
        skip();
    }
    return path;
}

/* Runs the program with a file as its input; what it wrote to standard output. */
static void run_llama(const char *gguf, const char *what, const Str *input, Str *out) {
    TestRun run;
    char command[2048];
    const char *path = test_file(test_folder(), "input", input->data, input->size);
    snprintf(command, sizeof command, "'%s' '%s' %s <'%s'", program(), gguf, what, path);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    test_run(&run, argv);
    if (run.status != 0) {
        fail_msg("%s: %s", command, str_text(&run.err));
    }
    str_append(out, str_text(&run.out));
    test_run_done(&run);
}

static void generate_here(const Model *model, const int32_t *prompt, int32_t *out) {
    Error err = {0};
    GeneratorPlan plan = {
        .rows = 1, .context = PROMPT + CONTINUED, .completions = 1, .tokens = CONTINUED};
    Generator *generator = generator_create(&model->config, &plan, &err);
    assert_ok(generator != NULL, &err);
    Sampling sampling = {.greedy = true,
                         .temperature = 1,
                         .top_p = 1,
                         .repetition_penalty = 1,
                         .max_tokens = CONTINUED,
                         .min_tokens = 0};
    Prompt one = {.id = prompt, .count = PROMPT};
    const Completion *completion = generate(generator, model, &one, 1, 1, &sampling, NULL, &err);
    assert_ok(completion != NULL, &err);
    assert_int_equal(completion->count, CONTINUED);
    memcpy(out, completion->id, CONTINUED * sizeof *out);
    generator_free(generator);
}

static float logprob_here(const Model *model, const int32_t *id, int32_t target) {
    Error err = {0};
    Batch batch;
    int32_t targets[PROMPT];
    float logprob[PROMPT];
    for (int i = 0; i < PROMPT; i++) {
        targets[i] = i + 1 < PROMPT ? BATCH_NO_TARGET : target;
    }
    assert_ok(batch_init(&batch, PROMPT, 1, &err), &err);
    assert_ok(batch_add(&batch, id, targets, PROMPT, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    WorkspacePlan plan = {.tokens = PROMPT, .sequences = 1};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    PerToken out = {.logprob = logprob};
    model_forward(model, workspace, &batch, &out);
    workspace_free(workspace);
    batch_done(&batch);
    return logprob[PROMPT - 1];
}

/* Log-probs of all ids behind the prompt, as llama.cpp's logits say. */
static void check_logprobs(const Model *model, const char *gguf, const int32_t *prompt,
                           const Str *ids, double tolerance) {
    Str out = {0};
    size_t n = model->config.vocabulary;
    double *logit = calloc(n, sizeof *logit), sum = 0;
    run_llama(gguf, "logits", ids, &out);
    char *at = out.data;
    for (size_t i = 0; i < n; i++) {
        logit[i] = strtod(at, &at);
        sum += exp(logit[i]);
    }
    for (size_t i = 0; i < n; i += 37) {
        double ours = (double)logprob_here(model, prompt, (int32_t)i);
        assert_close_double("log-prob", ours, logit[i] - log(sum), 0, tolerance);
    }
    free(logit);
    str_done(&out);
}

static void check_model(const TestModel *row) {
    Error err = {0};
    Model model;
    Tokenizer *tokenizer;
    test_model_open(row, &model, &tokenizer, NULL);
    ExportSource source = {&model, tokenizer, NULL, row->name};
    Str notes = {0}, ids = {0}, out = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/%s.gguf", test_folder(), row->name);
    assert_ok(export_gguf(&source, GGML_F32, path, &notes, &err), &err);
    int32_t prompt[PROMPT], ours[CONTINUED];
    for (int i = 0; i < PROMPT; i++) {
        prompt[i] = (int32_t)((size_t)(17 + 31 * i) % model.config.vocabulary);
        str_appendf(&ids, "%d ", prompt[i]);
    }
    /* llama.cpp's GELU is a table of F16 values. */
    bool gelu = model.config.activation != ACTIVATION_SILU;
    check_logprobs(&model, path, prompt, &ids, gelu ? 2e-2 : 1e-3);
    model.config.eos = -1;
    generate_here(&model, prompt, ours);
    run_llama(path, "greedy 64", &ids, &out);
    char *at = out.data;
    for (int i = 0; i < CONTINUED; i++) {
        long theirs = strtol(at, &at, 10);
        if (theirs != ours[i]) {
            fail_msg("%s: token %d is %d here, %ld in llama.cpp", row->name, i, ours[i], theirs);
        }
    }
    print_message("%s: %d tokens are the same\n", row->name, CONTINUED);
    str_done(&notes);
    str_done(&ids);
    str_done(&out);
    tokenizer_free(tokenizer);
    model_done(&model);
}

static void test_greedy(void **state) {
    (void)state;
    program();
    for (const TestModel *row = test_models; row->name != NULL; row++) {
        check_model(row);
    }
}

/* A file of the vocabulary alone. */
static const char *vocabulary_file(const Tokenizer *tokenizer) {
    static char path[600];
    Error err = {0};
    Str notes = {0};
    ExportSource source = {NULL, tokenizer, NULL, "vocabulary"};
    GgufWriter *writer = gguf_writer_create(&err);
    assert_ok(writer != NULL, &err);
    snprintf(path, sizeof path, "%s/vocabulary.gguf", test_folder());
    gguf_put_string(writer, "general.architecture", "llama", 5);
    assert_ok(export_tokenizer(&source, tokenizer_vocabulary(tokenizer), writer, &notes, &err) &&
                  gguf_writer_begin(writer, path, &err) && gguf_writer_commit(writer, &err),
              &err);
    gguf_writer_free(writer);
    str_done(&notes);
    return path;
}

/* Texts of the tokenizers' fixture, each as llama_run wants it. */
static size_t read_texts(Str text[], size_t most, Str *input) {
    Error err = {0};
    LineReader reader;
    char path[600];
    bool got = true;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/text/cases.jsonl", test_fixtures());
    assert_ok(line_reader_open(&reader, path, 16 << 20, &err), &err);
    while (n < most) {
        assert_ok(line_reader_next(&reader, &got, &err), &err);
        if (!got) {
            break;
        }
        cJSON *row =
            json_parse(reader.line.data, reader.line.size, path, 1, &json_limits_line, &err);
        const char *one = json_string(json_member(row, "text"));
        size_t length = one != NULL ? strlen(one) : 0, normal = 0;
        /* ASCII, and what has no other normal form. */
        for (; normal < length &&
               ((unsigned char)one[normal] < 0xcc || (unsigned char)one[normal] > 0xcd);
             normal++) {
        }
        if (length > 0 && normal == length) {
            str_appendf(input, "%zu\n", length);
            str_append(input, one);
            str_append(&text[n++], one);
        }
        cJSON_Delete(row);
    }
    line_reader_close(&reader);
    return n;
}

static void check_tokenizer(const char *name, const char *eos, const Str text[], size_t texts,
                            const Str *input) {
    Error err = {0};
    Str out = {0};
    char folder[600];
    snprintf(folder, sizeof folder, "%s/tokenizer-%s", test_folder(), name);
    assert_ok(file_make_folders(folder, &err), &err);
    Tokenizer *tokenizer = test_tokenizer(name, NULL, eos, folder);
    run_llama(vocabulary_file(tokenizer), "tokens", input, &out);
    size_t different = 0, at = 0;
    for (size_t i = 0; i < texts; i++) {
        Tokens ids = {0};
        Str ours = {0};
        if (!tokenizer_encode(tokenizer, text[i].data, text[i].size, false, &ids, &err)) {
            fail_msg("%s", err.text);
        }
        for (size_t j = 0; j < ids.count; j++) {
            str_appendf(&ours, "%s%d", j > 0 ? " " : "", ids.id[j]);
        }
        size_t n = strcspn(out.data + at, "\n");
        bool same = n == ours.size && memcmp(out.data + at, str_text(&ours), n) == 0;
        if (!same && different++ < 3) {
            print_message("%s: \"%s\"\n  here      %s\n  llama.cpp %.*s\n", name, text[i].data,
                          str_text(&ours), (int)n, out.data + at);
        }
        at += n + 1;
        str_done(&ours);
        tokens_done(&ids);
    }
    print_message("%s: %zu of %zu texts are different\n", name, different, texts);
    assert_int_equal(different, 0);
    str_done(&out);
    tokenizer_free(tokenizer);
}

static void test_tokens(void **state) {
    (void)state;
    enum { TEXTS = 4000 };
    static const char *const names[][2] = {
        {"gpt2.json",      "<|endoftext|>"},
        {"llama3.json",    "<|eot_id|>"   },
        {"qwen2.json",     "<|im_end|>"   },
        {"smollm.json",    "<|endoftext|>"},
        {"neox.json",      "<|endoftext|>"},
        {"deepseek.json",  "<|endoftext|>"},
        {"deepseek3.json", "<|endoftext|>"},
        {"bpe-bytes.bin",  "</s>"         },
    };
    static Str text[TEXTS];
    Str input = {0};
    program();
    size_t texts = read_texts(text, TEXTS, &input);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_tokenizer(names[i][0], names[i][1], text, texts, &input);
    }
    for (size_t i = 0; i < texts; i++) {
        str_done(&text[i]);
    }
    str_done(&input);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
