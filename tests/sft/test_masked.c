/* SPDX-License-Identifier: MIT
 *
 * Encoders: the loss and gradient of a step of masked words and next sentences, against the same numbers
 * computed sequence by sequence; what the draws choose; runs resumed; what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/parallel.h"
#include "common/base/random.h"
#include "sft/sft.h"
#include "tests/support/support.h"
#include "tests/train/loop.h"

enum { RECORDS = 8, CONTEXT = 48, ROWS = 8 * CONTEXT };

static const char *const words[] = {"the",  "red", "fox",  "runs", "over", "a",
                                    "blue", "owl", "that", "sees", "old",  "trees"};

/* Eight demonstrations, or a text of many windows. */
static const char *write_data(bool texts) {
    Str text = {0};
    Random random = random_stream(5, RANDOM_TEST, 0, 0);
    uint64_t next = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        for (int half = 0; half < 2; half++) {
            bool open = half == 0 || !texts;
            str_append(&text, !open       ? " "
                              : half == 1 ? "\",\"completion\":\""
                              : texts     ? "{\"text\":\""
                                          : "{\"prompt\":\"");
            for (size_t n = 4 + i * (texts ? 5 : 1); n > 0; n--) {
                str_appendf(&text, "%s%s", words[random_below(&random, next++, 12)],
                            n > 1 ? " " : "");
            }
        }
        str_append(&text, "\"}\n");
    }
    const char *path =
        test_file(test_folder(), texts ? "texts.jsonl" : "pairs.jsonl", text.data, text.size);
    str_done(&text);
    return path;
}

static const char *tokenizer_setting(const char *name) {
    static char setting[4][700];
    static int counter;
    char *out = setting[counter++ % 4];
    snprintf(out, sizeof setting[0], "tokenizer.path=%s/text/%s", test_fixtures(), name);
    return out;
}

static const char *const small[] = {"model.new.layers=2",       "model.new.heads=2",
                                    "model.new.width=32",       "model.new.context=48",
                                    "model.new.dropout=0",      "train.batch=8",
                                    "train.learning_rate=0.01", "train.schedule=constant",
                                    "checkpoint.best=null",     NULL};
static const char *const bert[] = {"model.new.family=bert", NULL};
static const char *const next_bert[] = {"model.new.family=bert", "sft.next_sentence=true", NULL};

typedef struct World {
    SftConfig config;
    OptionOrigins *origins;
    Log log;
    Sft sft;
} World;

/* false: sft_prepare has refused. */
static bool try_open(World *world, const char *data, const char *tokenizer,
                     const char *const *const list[3], Error *err) {
    const char *argv[64] = {"rlhf-sft", "--data", data, "--quiet", "--set", tokenizer};
    int argc = 6;
    for (int i = 0; i < 3; i++) {
        for (const char *const *set = list[i]; set != NULL && *set != NULL; set++) {
            argv[argc++] = "--set";
            argv[argc++] = *set;
        }
    }
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action;
    *world = (World){0};
    assert_ok(options_parse(&sft_program, argc, (char **)(uintptr_t)argv, &world->config,
                            &world->origins, &operand, &operands, &action, err),
              err);
    log_init(&world->log, LOG_QUIET);
    return sft_prepare(&world->sft, &world->config, &world->log, err);
}

static void world_open(World *world, bool texts, const char *const *kind, const char *const *more) {
    Error err = {0};
    assert_ok(try_open(world, write_data(texts), tokenizer_setting("bert.json"),
                       (const char *const *const[]){small, kind, more}, &err),
              &err);
    assert_true(world->sft.encoder);
    assert_ok(sft_allocate(&world->sft, &err), &err);
}

static void world_close(World *world) {
    sft_done(&world->sft);
    options_done(&sft_program, &world->config, world->origins);
}

static double first_loss(World *world) {
    Error err = {0};
    Metrics metrics = {0}, timing = {0};
    bool finished = false;
    assert_ok(sft_stage.step(&world->sft, 0, &metrics, &timing, &finished, &err), &err);
    for (size_t i = 0; i < metrics.count; i++) {
        if (strcmp(metrics.name[i], "train/loss") == 0) {
            return metrics.value[i];
        }
    }
    fail_msg("no train/loss");
    return NAN;
}

/* Sequences of step 0 one at a time: -log p of hidden ids over their number, and -log softmax of the
 * true score over the number of sequences; and the gradient of it. */
static double one_by_one(Sft *sft, bool next, Gradients *gradients) {
    Error err = {0};
    size_t targets = 0;
    double loss = 0;
    WorkspacePlan plan = {.tokens = CONTEXT, .sequences = 1, .training = true};
    Workspace *workspace = workspace_create(&sft->model.config, &plan, &err);
    Batch batch = {0};
    assert_non_null(workspace);
    assert_ok(batch_init(&batch, CONTEXT, 1, &err), &err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < RECORDS; i++) {
            float logprob[CONTEXT], slope[CONTEXT] = {0}, score[CONTEXT * 2];
            float dscore[CONTEXT * 2] = {0};
            int label;
            size_t record = sft_step_example(sft, 0, (int64_t)i);
            batch_clear(&batch);
            assert_ok(masked_add(&sft->masked, &sft->train, record, 0, &batch, &label, &err), &err);
            for (size_t t = next; t < batch.tokens; t++) {
                targets += pass == 0 && batch.target[t] != BATCH_NO_TARGET;
            }
            if (pass == 0) {
                continue;
            }
            model_forward(&sft->model, workspace, &batch,
                          &(PerToken){.logprob = logprob, .score = next ? score : NULL});
            for (size_t t = next; t < batch.tokens; t++) {
                if (batch.target[t] != BATCH_NO_TARGET) {
                    loss -= (double)logprob[t] / (double)targets;
                    slope[t] = -1 / (float)targets;
                }
            }
            if (next) {
                double other = exp((double)score[1 - label] - (double)score[label]);
                loss += log1p(other) / RECORDS;
                dscore[1 - label] = (float)(other / (1 + other) / RECORDS);
                dscore[label] = -dscore[1 - label];
            }
            model_backward(&sft->model, gradients, workspace, &batch,
                           &(PerToken){.logprob = slope, .score = next ? dscore : NULL});
        }
    }
    batch_done(&batch);
    workspace_free(workspace);
    return loss;
}

/* All records in one micro-batch, and each in its own, are the sum over single sequences; without
 * clipping the first mean of Adam is (1 - beta1) of the gradient. */
static void check_step(const char *const *kind, bool next) {
    static const char *const micro[] = {"train.micro_tokens=4096", "train.micro_tokens=1"};
    for (int i = 0; i < 4; i++) {
        World world;
        Gradients want = {0};
        Error err = {0};
        world_open(&world, i >= 2, kind, (const char *const[]){micro[i % 2], "train.clip=0", NULL});
        assert_true(world.sft.train.examples >= RECORDS);
        assert_ok(gradients_init(&want, &world.sft.model, &err), &err);
        double loss = one_by_one(&world.sft, next, &want);
        assert_close_double("loss", first_loss(&world), loss, 1e-5, 0);
        for (size_t j = 0; j < want.count; j++) {
            want.data[j] *= 1 - (float)world.config.settings.train.beta1;
        }
        assert_close("gradient", world.sft.optimizer.m, want.data, want.count, 2e-5, 0);
        gradients_done(&want);
        world_close(&world);
    }
}

static void test_masked_step(void **state) {
    (void)state;
    check_step(bert, false);
}

static void test_next_step(void **state) {
    (void)state;
    check_step(next_bert, true);
}

/* Over many draws: 15 % of ordinary ids, of these 80 % masked and 10 % kept; special ids never; at least
 * one a sequence; a draw repeats itself, and the frame stays. */
static void test_draws(void **state) {
    (void)state;
    World world;
    Error err = {0};
    Batch batch = {0}, again = {0};
    size_t ordinary = 0, targets = 0, hidden = 0, kept = 0;
    int label;
    world_open(&world, true, bert, NULL);
    const Sft *sft = &world.sft;
    const ExampleSet *set = &sft->train;
    for (uint64_t draw = 0; draw < 400; draw++) {
        size_t i = draw % set->examples;
        const Tokens *ids = &set->example[i].prompt;
        batch_clear(&batch);
        batch_clear(&again);
        assert_ok(masked_add(&sft->masked, set, i, draw, &batch, &label, &err), &err);
        assert_ok(masked_add(&sft->masked, set, i, draw, &again, &label, &err), &err);
        assert_int_equal(batch.tokens, ids->count);
        assert_memory_equal(batch.id, again.id, batch.tokens * sizeof *batch.id);
        assert_memory_equal(batch.target, again.target, batch.tokens * sizeof *batch.id);
        assert_string_equal(tokenizer_text(sft->tokenizer, batch.id[0]), "[CLS]");
        assert_string_equal(tokenizer_text(sft->tokenizer, batch.id[batch.tokens - 1]), "[SEP]");
        size_t here = 0;
        for (size_t t = 0; t < batch.tokens; t++) {
            ordinary += !tokenizer_is_special(sft->tokenizer, ids->id[t]);
            if (batch.target[t] == BATCH_NO_TARGET) {
                assert_int_equal(batch.id[t], ids->id[t]);
                continue;
            }
            here++;
            assert_int_equal(batch.target[t], ids->id[t]);
            assert_false(tokenizer_is_special(sft->tokenizer, ids->id[t]));
            bool mask = strcmp(tokenizer_text(sft->tokenizer, batch.id[t]), "[MASK]") == 0;
            assert_true(mask || !tokenizer_is_special(sft->tokenizer, batch.id[t]));
            hidden += mask;
            kept += batch.id[t] == ids->id[t];
        }
        assert_true(here >= 1);
        assert_int_equal(here, masked_targets(&sft->masked, set, i, draw));
        assert_int_equal(batch.tokens, masked_rows(&sft->masked, set, i, draw));
        targets += here;
    }
    double n = (double)targets;
    assert_close_double("share", n / (double)ordinary, 0.15, 0, 0.01);
    assert_close_double("masked", (double)hidden / n, 0.8, 0, 0.03);
    assert_close_double("kept", (double)kept / n, 0.1, 0, 0.025);
    batch_done(&batch);
    batch_done(&again);
    world_close(&world);
}

/* The halves of the pairs: types 0 and 1, a true second half in one of two, else another example's. */
static void test_pairs(void **state) {
    (void)state;
    for (int texts = 0; texts < 2; texts++) {
        World world;
        Error err = {0};
        Batch batch = {0};
        size_t others = 0, draws = 400;
        world_open(&world, texts == 1, next_bert, NULL);
        const Sft *sft = &world.sft;
        const ExampleSet *set = &sft->train;
        int32_t sep = tokenizer_find(sft->tokenizer, "[SEP]");
        for (uint64_t draw = 0; draw < draws; draw++) {
            size_t i = draw % set->examples, separators = 0;
            int label;
            batch_clear(&batch);
            assert_ok(masked_add(&sft->masked, set, i, draw, &batch, &label, &err), &err);
            others += label == 1;
            assert_int_equal(batch.target[0], batch.id[0]);
            assert_true(batch.tokens <= CONTEXT);
            assert_true(batch.tokens <= masked_most_rows(&sft->masked, set));
            for (size_t t = 0; t < batch.tokens; t++) {
                assert_int_equal(batch.segment[t], separators);
                separators += batch.id[t] == sep;
            }
            assert_int_equal(separators, 2);
            const Example *example = &set->example[i];
            for (size_t t = 0; label == 0 && texts == 0 && t < batch.tokens; t++) {
                size_t n = example->prompt.count;
                int32_t id = t < n ? example->prompt.id[t] : example->completion[0].id[t - n];
                assert_int_equal(batch.target[t] == BATCH_NO_TARGET ? batch.id[t] : batch.target[t],
                                 id);
            }
        }
        assert_close_double("others", (double)others / (double)draws, 0.5, 0, 0.08);
        batch_done(&batch);
        world_close(&world);
    }
}

/* An evaluation's draw is always the same, and the steps' are not; training makes the numbers better. */
static void test_learns(void **state) {
    (void)state;
    World world;
    Error err = {0};
    SftSums before, same, after;
    world_open(&world, false, next_bert, (const char *const[]){"train.learning_rate=0.003", NULL});
    assert_ok(sft_measure(&world.sft, &world.sft.train, &before, &err), &err);
    assert_ok(sft_measure(&world.sft, &world.sft.train, &same, &err), &err);
    assert_memory_equal(&before, &same, sizeof before);
    assert_int_equal(before.sequences, RECORDS);
    for (int64_t i = 0; i < 60; i++) {
        Metrics metrics = {0}, timing = {0};
        bool finished = false;
        assert_ok(sft_stage.step(&world.sft, i, &metrics, &timing, &finished, &err), &err);
    }
    assert_ok(sft_measure(&world.sft, &world.sft.train, &after, &err), &err);
    assert_true(after.tokens == before.tokens);
    assert_true(after.loss < 0.6 * before.loss);
    world_close(&world);
}

static void run(const char *data, const char *output, bool resume) {
    const char *argv[64] = {"rlhf-sft",  "--quiet",
                            "--threads", "1",
                            "--data",    data,
                            "--output",  output,
                            "--set",     "train.steps=6",
                            "--set",     "data.validation_share=0.3",
                            "--set",     "checkpoint.every=1",
                            "--set",     "checkpoint.keep=100",
                            "--set",     "train.dropout=0.1",
                            "--set",     "train.evaluate_every=2",
                            "--set",     tokenizer_setting("bert.json")};
    int argc = 22;
    for (int list = 0; list < 2; list++) {
        for (const char *const *set = list == 0 ? small : next_bert; *set != NULL; set++) {
            argv[argc++] = "--set";
            argv[argc++] = *set;
        }
    }
    argv[argc] = resume ? "--resume" : NULL;
    TestRun result;
    test_run(&result, argv);
    if (result.status != 0) {
        fail_msg("exit %d: %s", result.status, str_text(&result.err));
    }
    test_run_done(&result);
}

static void open_folder(World *world, const char *folder, const char *const *more) {
    Error err = {0};
    char path[700];
    snprintf(path, sizeof path, "model.path=%s", folder);
    const char *const from[] = {path, "train.batch=8", "train.schedule=constant",
                                "checkpoint.best=null", NULL};
    assert_ok(try_open(world, write_data(false), tokenizer_setting("bert.json"),
                       (const char *const *const[]){from, more, NULL}, &err),
              &err);
    assert_ok(sft_allocate(&world->sft, &err), &err);
}

/* An adapter alone learns masked words on a frozen encoder (whose small embeddings, frozen too, leave it little
 * to win), and is read back as it was saved. */
static void test_adapter(void **state) {
    (void)state;
    World world;
    Error err = {0};
    SftSums before, after, again;
    const char *folder = test_folder();
    char base[700], adapter[700];
    snprintf(base, sizeof base, "%s/base/model", folder);
    snprintf(adapter, sizeof adapter, "%s/adapter", folder);
    base[strlen(base) - strlen("/model")] = '\0';
    run(write_data(true), base, false);
    base[strlen(base)] = '/';
    open_folder(&world, base,
                (const char *const[]){"lora.rank=4", "train.learning_rate=0.05", NULL});
    const Model *model = &world.sft.model;
    assert_true(model->config.head == HEAD_LM && model->config.adapter.rank == 4);
    Model whole;
    assert_ok(model_load(&whole, base, HEAD_LM, 0, NULL, &err), &err);
    assert_ok(sft_measure(&world.sft, &world.sft.train, &before, &err), &err);
    for (int64_t i = 0; i < 80; i++) {
        Metrics metrics = {0}, timing = {0};
        bool finished = false;
        assert_ok(sft_stage.step(&world.sft, i, &metrics, &timing, &finished, &err), &err);
    }
    assert_ok(sft_measure(&world.sft, &world.sft.train, &after, &err), &err);
    assert_true(after.tokens == before.tokens && after.loss < 0.99 * before.loss);
    for (size_t i = 0; i < whole.parameters; i++) {
        const Parameter *want = &whole.parameter[i], *have = model_find(model, want->name);
        assert_non_null(have);
        assert_memory_equal(parameter_data(model, have), parameter_data(&whole, want),
                            want->count * sizeof(float));
    }
    assert_ok(stage_save_model(model, world.sft.tokenizer, &world.sft.layout, adapter, &err), &err);
    world_close(&world);
    open_folder(&world, adapter, NULL);
    assert_ok(sft_measure(&world.sft, &world.sft.train, &again, &err), &err);
    assert_memory_equal(&again, &after, sizeof after);
    world_close(&world);
    model_done(&whole);
}

/* The same bytes from two runs, and from one that is cut back and resumed. */
static void test_resume(void **state) {
    (void)state;
    const char *data = write_data(true), *folder = test_folder();
    char whole[700], part[700];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(part, sizeof part, "%s/part", folder);
    run(data, whole, false);
    test_copy_run(whole, part, 3);
    run(data, part, true);
    test_shell("diff -rq -x timing.jsonl -x run.json -x run.lock '%s' '%s'", whole, part);
    test_shell("rm -r '%s'", part);
    run(data, part, false);
    test_shell("diff -rq -x timing.jsonl -x run.json -x run.lock '%s' '%s'", whole, part);
}

static void test_no_allocation(void **state) {
    (void)state;
    World world;
    world_open(&world, true, next_bert,
               (const char *const[]){"train.micro_tokens=100", "train.dropout=0.1", "train.ema=0.9",
                                     "compute.recompute=1", NULL});
    TrainerStage stage = sft_stage;
    stage.context = &world.sft;
    assert_loop_allocates_nothing(&stage, &world.log);
    world_close(&world);
}

static void refused(const char *text, const char *tokenizer, const char *const *more,
                    ErrorCode code, const char *part) {
    World world;
    Error err = {0};
    const char *data = text == NULL ? write_data(false)
                                    : test_file(test_folder(), "bad.jsonl", text, strlen(text));
    bool ok = try_open(&world, data, tokenizer_setting(tokenizer),
                       (const char *const *const[]){small, more, NULL}, &err);
    assert_error(ok, &err, code, part);
    options_done(&sft_program, &world.config, world.origins);
}

static void test_refused(void **state) {
    (void)state;
    refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a fox\"},"
            "{\"role\":\"assistant\",\"content\":\"an owl\"}]}\n",
            "bert.json", bert, ERROR_DATA, "not on conversations");
    refused("{\"text\":\"\"}\n", "bert.json", bert, ERROR_DATA, "empty");
    refused("{\"prompt\":\"\",\"completion\":\"\"}\n", "bert.json", bert, ERROR_DATA,
            "0 sequences are left");
    refused("{\"prompt\":\"a fox\",\"completion\":\"an owl\"}\n", "bert.json", next_bert,
            ERROR_DATA, "expected 2 or more");
    refused(NULL, "bert.json",
            (const char *const[]){"model.new.family=distilbert", "sft.next_sentence=true", NULL},
            ERROR_CONFIG, "next-sentence head");
    refused(NULL, "gpt2.json", (const char *const[]){"sft.next_sentence=true", NULL}, ERROR_CONFIG,
            "next-sentence head");
    refused(NULL, "gpt2.json", bert, ERROR_DATA, "encoder");
    refused(NULL, "bert.json",
            (const char *const[]){"model.new.family=bert", "layout.name=plain", "layout.eos=[SEP]",
                                  "sft.next_sentence=true", NULL},
            ERROR_CONFIG, "frame around pairs");
    refused(NULL, "gpt2.json",
            (const char *const[]){"model.new.family=bert", "layout.name=plain", NULL}, ERROR_DATA,
            "no mask token");
}

static int set_up(void **state) {
    (void)state;
    parallel_init(1);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked_step), cmocka_unit_test(test_next_step),
        cmocka_unit_test(test_draws),       cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_learns),      cmocka_unit_test(test_adapter),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) != 0;
}
