/* SPDX-License-Identifier: MIT */
#include "tests/cli/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/model/family.h"

Model lm, reward, classifier;
Tokenizer *tokenizer;
Layout layout;
const char *lm_folder, *reward_folder, *classifier_folder;

const char corpus[] = "the cat sat on the mat and the dog sat on the cat; a mat is a mat. ";

void lines_parse(const Str *output, Lines *lines) {
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

void lines_done(Lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        cJSON_Delete(lines->line[i]);
    }
}

void run_lines(const char *const argv[], Lines *lines) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != 0) {
        fail_msg("exit %d: %s", run.status, str_text(&run.err));
    }
    lines_parse(&run.out, lines);
    test_run_done(&run);
}

void run_refused(const char *const argv[], int status, const char *part) {
    TestRun run;
    test_run(&run, argv);
    if (run.status != status || strstr(str_text(&run.err), part) == NULL) {
        fail_msg("expected exit %d and \"%s\", got %d: %s", status, part, run.status,
                 str_text(&run.err));
    }
    assert_int_equal(run.out.size, 0);
    test_run_done(&run);
}

void prompt_ids(const char *prompt, Tokens *out) {
    Error err = {0};
    char copy[256];
    snprintf(copy, sizeof copy, "%s", prompt);
    Message message = {ROLE_PLAIN, copy};
    assert_ok(layout_prompt(&layout, tokenizer, &message, 1, out, &err), &err);
}

const char *long_prompts(void) {
    Str lines = {0};
    str_append(&lines, "{\"prompt\":\"a\"}\n{\"prompt\":\"");
    for (int i = 0; i < 30; i++) {
        str_append(&lines, "zq xv ");
    }
    str_append(&lines, "\"}\n");
    const char *path = test_file(test_folder(), "long.jsonl", str_text(&lines), lines.size);
    str_done(&lines);
    return path;
}

void assert_ids(const cJSON *list, const int32_t *id, size_t count) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        assert_true(n < count);
        assert_int_equal(item->valueint, id[n]);
    }
    assert_int_equal(n, count);
}

bool models_save(const Model *model, const char *folder, Error *err) {
    return model_save(model, folder, err) && tokenizer_save(tokenizer, folder, err) &&
           layout_save(&layout, folder, err);
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
    if (trainer != NULL && tokenizer_trainer_feed(trainer, corpus, strlen(corpus), err)) {
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

int models_set_up(void **state) {
    (void)state;
    Error err = {0};
    parallel_init(2);
    lm_folder = test_folder();
    reward_folder = test_folder();
    classifier_folder = test_folder();
    bool ok = (tokenizer = train_tokenizer(&err)) != NULL && layout_init(&layout, "plain", &err) &&
              create_models(&err) && models_save(&lm, lm_folder, &err) &&
              models_save(&reward, reward_folder, &err) &&
              models_save(&classifier, classifier_folder, &err);
    if (!ok) {
        error_print(&err, "models_set_up", stderr);
    }
    return ok ? 0 : -1;
}

int models_tear_down(void **state) {
    (void)state;
    model_done(&lm);
    model_done(&reward);
    model_done(&classifier);
    tokenizer_free(tokenizer);
    layout_done(&layout);
    return 0;
}
