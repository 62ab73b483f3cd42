/* SPDX-License-Identifier: MIT
 *
 * Reward models and classifiers as sources, against a plain pass of the same model over each
 * item alone.
 */
#include <math.h>
#include <string.h>

#include "ppo/reward_source.h"
#include "tests/ppo/folders.h"

enum { ITEMS = 5, LENGTH = 32 };

static Folders folders;
static Tokenizer *tokenizer;
static Message message[ITEMS];
static Tokens prompt[ITEMS], completion[ITEMS];
static RewardItem item[ITEMS];
static RewardContext context;

static const char *const asked[ITEMS] = {"color[red]", "color[red]", "color[red]", "animal[owl]",
                                         "animal[owl], color[blue]"};
static const char *const said[ITEMS] = {"The red fox.", "Red!", "", "The owl sleeps",
                                        "A blue owl."};

static int setup(void **state) {
    (void)state;
    Error err = {0};
    Layout layout = {0};
    folders_make(&folders);
    tokenizer = tokenizer_load(folders.policy, &err);
    assert_non_null(tokenizer);
    assert_ok(layout_init(&layout, "plain", &err), &err);
    for (size_t i = 0; i < ITEMS; i++) {
        bool finished = i != 3;
        message[i] = (Message){.role = ROLE_PLAIN, .text = (char *)(uintptr_t)asked[i]};
        assert_ok(layout_prompt(&layout, tokenizer, &message[i], 1, &prompt[i], &err), &err);
        assert_ok(layout_completion(&layout, tokenizer, said[i], strlen(said[i]), finished,
                                    &completion[i], &err),
                  &err);
        item[i] = (RewardItem){
            .message = &message[i],
            .messages = 1,
            .prompt = prompt[i].id,
            .prompt_count = prompt[i].count,
            .completion = completion[i].id,
            .completion_count = completion[i].count,
            .text = said[i],
            .finished = finished,
            .group = i < 3 ? 7 : i,
        };
    }
    layout_done(&layout);
    context = (RewardContext){.fingerprint = tokenizer_fingerprint(tokenizer),
                              .eos = tokenizer_eos(tokenizer),
                              .pass = {.tokens = 40},
                              .most_tokens = 64};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < ITEMS; i++) {
        tokens_done(&prompt[i]);
        tokens_done(&completion[i]);
    }
    tokenizer_free(tokenizer);
    return 0;
}

/* The head's numbers at the last of the ids; [labels]. */
static void plain_pass(const Model *model, const Tokens *ids, float *out) {
    Error err = {0};
    Batch batch = {0};
    float score[64 * 3];
    WorkspacePlan plan = {.tokens = ids->count, .sequences = 1};
    Workspace *workspace = workspace_create(&model->config, &plan, &err);
    assert_non_null(workspace);
    assert_ok(batch_init(&batch, ids->count, 1, &err), &err);
    assert_ok(batch_add(&batch, ids->id, NULL, ids->count, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    model_forward(model, workspace, &batch, &(PerToken){.score = score});
    size_t labels = model->config.labels;
    memcpy(out, score + (ids->count - 1) * labels, labels * sizeof *out);
    batch_done(&batch);
    workspace_free(workspace);
}

/* What the model says of each item, read with the given tokenizer and layout, EOS always at the
 * end. */
static void expected(const char *folder, const Tokenizer *reader, const Layout *layout,
                     float out[ITEMS][3]) {
    Error err = {0};
    Model model = {0};
    assert_ok(model_load(&model, folder, -1, 0, NULL, &err), &err);
    for (size_t i = 0; i < ITEMS; i++) {
        Tokens ids = {0};
        assert_ok(layout_prompt(layout, reader, &message[i], 1, &ids, &err), &err);
        assert_ok(layout_completion(layout, reader, said[i], strlen(said[i]), true, &ids, &err),
                  &err);
        plain_pass(&model, &ids, out[i]);
        tokens_done(&ids);
    }
    model_done(&model);
}

static void plain_layout(Layout *layout, const char *folder) {
    Error err = {0};
    bool found;
    assert_ok(layout_load(layout, folder, &found, &err), &err);
    assert_true(found);
}

/* Alone, together behind a shared prompt, in any order and split: the same score, bias included. */
static void test_reward_model(void **state) {
    (void)state;
    Error err = {0};
    Layout layout = {0};
    float want[ITEMS][3];
    double got[ITEMS];
    plain_layout(&layout, folders.reward);
    expected(folders.reward, tokenizer, &layout, want);
    layout_done(&layout);
    for (size_t budget = 1; budget <= 128; budget *= 8) {
        context.pass.tokens = budget;
        RewardSource *source = reward_model_source(folders.reward, &context, &err);
        assert_non_null(source);
        assert_int_equal(source->longest, 63);
        assert_true(source->weights > 0 && source->work > 0);
        assert_ok(reward_score(source, item, ITEMS, got, &err), &err);
        for (size_t i = 0; i < ITEMS; i++) {
            double one;
            assert_close_double("together", got[i], want[i][0] + 0.25, 1e-5, 1e-5);
            assert_ok(reward_score(source, &item[i], 1, &one, &err), &err);
            assert_close_double("alone", one, want[i][0] + 0.25, 1e-5, 1e-5);
        }
        reward_source_free(source);
    }
}

/* A reward model with a tokenizer of its own reads the text, by its own layout. */
static void test_other_tokenizer(void **state) {
    (void)state;
    Error err = {0};
    Layout layout = {0};
    float want[ITEMS][3];
    double got[ITEMS];
    Tokenizer *reader = tokenizer_load(folders.other, &err);
    assert_non_null(reader);
    plain_layout(&layout, folders.other);
    assert_string_equal(layout.separator, " => ");
    expected(folders.other, reader, &layout, want);
    RewardSource *source = reward_model_source(folders.other, &context, &err);
    assert_non_null(source);
    assert_int_equal(source->longest, 0);
    assert_ok(reward_score(source, item, ITEMS, got, &err), &err);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_close_double("score", got[i], want[i][0] + 0.25, 1e-5, 1e-5);
    }
    reward_source_free(source);
    layout_done(&layout);
    tokenizer_free(reader);
}

static void test_classifier(void **state) {
    (void)state;
    Error err = {0};
    Layout layout = {0};
    float want[ITEMS][3];
    plain_layout(&layout, folders.classifier);
    expected(folders.classifier, tokenizer, &layout, want);
    layout_done(&layout);
    static const char *const label[] = {"bad", "fair", "good", "1"};
    for (int output = 0; output < 3; output++) {
        for (size_t l = 0; l < 4; l++) {
            double got[ITEMS];
            size_t index = l < 3 ? l : 1;
            RewardSource *source = reward_classifier_source(
                folders.classifier, label[l], (ClassifierOutput)output, &context, &err);
            assert_non_null(source);
            assert_ok(reward_score(source, item, ITEMS, got, &err), &err);
            for (size_t i = 0; i < ITEMS; i++) {
                double sum = 0;
                for (size_t j = 0; j < 3; j++) {
                    sum += exp((double)want[i][j]);
                }
                double p = exp((double)want[i][index]) / sum;
                assert_close_double("classifier", got[i],
                                    output == CLASSIFIER_LOGIT         ? want[i][index]
                                    : output == CLASSIFIER_PROBABILITY ? p
                                                                       : log(p),
                                    1e-4, 1e-5);
            }
            reward_source_free(source);
        }
    }
}

static void test_faults(void **state) {
    (void)state;
    Error err = {0};
    assert_error(reward_model_source(folders.policy, &context, &err) != NULL, &err, ERROR_DATA,
                 "score head");
    err = (Error){0};
    assert_error(reward_classifier_source(folders.classifier, "great", CLASSIFIER_LOGIT, &context,
                                          &err) != NULL,
                 &err, ERROR_CONFIG, "bad, fair, good");
    err = (Error){0};
    assert_error(reward_model_source("no-such-folder", &context, &err) != NULL, &err,
                 ERROR_NO_INPUT, "no-such-folder");
    /* More than the model reads. */
    err = (Error){0};
    static int32_t many[80];
    RewardItem longer = item[0];
    longer.completion = many;
    longer.completion_count = 80;
    double score;
    RewardSource *source = reward_model_source(folders.reward, &context, &err);
    assert_non_null(source);
    assert_error(reward_score(source, &longer, 1, &score, &err), &err, ERROR_DATA, "at most 64");
    reward_source_free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reward_model),
        cmocka_unit_test(test_other_tokenizer),
        cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
