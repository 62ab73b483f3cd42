/* SPDX-License-Identifier: MIT */
#include "tests/ppo/folders.h"

#include <stdlib.h>
#include <string.h>

#include "common/model/family.h"

static const char *const lines[] = {
    "color[red], animal[fox]",   "The red fox runs.",
    "color[blue], animal[owl]",  "A blue owl sleeps in the old tree.",
    "color[white], animal[cat]", "The white cat sees the red fox and the blue owl.",
};

static Tokenizer *make_tokenizer(size_t vocabulary) {
    Error err = {0};
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    assert_non_null(trainer);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        for (int times = 0; times < 3; times++) {
            assert_ok(tokenizer_trainer_feed(trainer, lines[i], strlen(lines[i]), &err), &err);
        }
    }
    const char *special[] = {"<|endoftext|>"};
    TokenizerTraining training = {.vocabulary = vocabulary,
                                  .minimum_count = 2,
                                  .special = special,
                                  .specials = 1,
                                  .eos = special[0]};
    Tokenizer *tokenizer = tokenizer_trainer_finish(trainer, &training, &err);
    tokenizer_trainer_free(trainer);
    assert_non_null(tokenizer);
    return tokenizer;
}

static void make_model(const char *folder, const Tokenizer *tokenizer, const char *separator,
                       HeadKind head, size_t labels, uint64_t seed) {
    Error err = {0};
    char bad[] = "bad", fair[] = "fair", good[] = "good", *names[] = {bad, fair, good};
    Layout layout = {0};
    Model model = {0};
    ModelConfig config = {
        .family = family_find("gpt2"),
        .layers = 2,
        .heads = 2,
        .width = 16,
        .inner = 32,
        .vocabulary = tokenizer_vocabulary(tokenizer),
        .context = 64,
        .norm_epsilon = 1e-5f,
        .tied = true,
        .head = head,
        .labels = labels,
        .eos = tokenizer_eos(tokenizer),
        .bos = -1,
        .pad = -1,
        .label_name = labels == 3 ? names : NULL,
    };
    assert_ok(model_create(&model, &config, &err), &err);
    model_initialize(&model, seed);
    model.config.reward_bias = labels == 1 ? 0.25f : 0;
    for (size_t i = 0; i < model.parameters; i++) {
        const Parameter *parameter = &model.parameter[i];
        bool head_of = strcmp(parameter->name, "score.weight") == 0;
        for (size_t j = 0; parameter->rank > 1 && !head_of && j < parameter->count; j++) {
            model.data[parameter->offset + j] *= 6;
        }
    }
    assert_ok(layout_init(&layout, "plain", &err), &err);
    free(layout.separator);
    layout.separator = strdup(separator);
    assert_ok(stage_save_model(&model, tokenizer, &layout, folder, &err), &err);
    layout_done(&layout);
    model_done(&model);
}

static const char *path_in(const char *top, const char *name) {
    static char path[16][800];
    static int counter;
    char *out = path[counter++ % 16];
    snprintf(out, sizeof path[0], "%s/%s", top, name);
    return out;
}

void folders_make(Folders *folders) {
    const char *top = test_folder();
    *folders = (Folders){.top = top,
                         .policy = path_in(top, "policy"),
                         .reward = path_in(top, "reward"),
                         .other = path_in(top, "other"),
                         .classifier = path_in(top, "classifier")};
    Tokenizer *tokenizer = make_tokenizer(280), *another = make_tokenizer(300);
    assert_true(tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(another));
    make_model(folders->policy, tokenizer, "\n", HEAD_LM, 0, 1);
    make_model(folders->reward, tokenizer, "\n", HEAD_SCORES, 1, 2);
    make_model(folders->other, another, " => ", HEAD_SCORES, 1, 3);
    make_model(folders->classifier, tokenizer, "\n", HEAD_SCORES, 3, 4);
    tokenizer_free(tokenizer);
    tokenizer_free(another);
    static const char prompts[] = "{\"prompt\": \"color[red], animal[fox]\"}\n"
                                  "{\"prompt\": \"color[blue], animal[owl]\"}\n"
                                  "{\"prompt\": \"color[white], animal[cat]\"}\n"
                                  "{\"prompt\": \"color[red], animal[owl]\"}\n"
                                  "{\"prompt\": \"color[blue], animal[cat]\"}\n"
                                  "{\"prompt\": \"color[white], animal[fox]\"}\n";
    static const char held_out[] = "{\"prompt\": \"color[red], animal[cat]\"}\n"
                                   "{\"prompt\": \"a|b <i>*c*</i>\"}\n"
                                   "{\"prompt\": \"color[blue]\"}\n"
                                   "{\"prompt\": \"animal[owl]\"}\n";
    folders->prompts = test_file(top, "prompts.jsonl", prompts, sizeof prompts - 1);
    folders->held_out = test_file(top, "held-out.jsonl", held_out, sizeof held_out - 1);
}

void assert_same_files(const char *a, const char *b) {
    TestRun run;
    test_run(&run, (const char *const[]){"/usr/bin/diff", "-rq", a, b, NULL});
    if (run.status != 0) {
        fail_msg("%s and %s differ:\n%s%s", a, b, str_text(&run.out), str_text(&run.err));
    }
    test_run_done(&run);
}
