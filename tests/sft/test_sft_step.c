/* SPDX-License-Identifier: MIT
 *
 * The loss and gradient of a step of fine-tuning, against the same numbers computed sequence by
 * sequence; and runs resumed where an epoch ends.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/parallel.h"
#include "sft/sft.h"
#include "tests/support/support.h"
#include "tests/train/loop.h"

static const char demonstrations[] =
    "{\"prompt\":\"color[red], animal[fox]\",\"completion\":\"A red fox.\"}\n"
    "{\"prompt\":\"color[blue], animal[owl]\",\"completion\":\"An owl, and it is blue!\"}\n"
    "{\"prompt\":\"color[white]\",\"completion\":\"White\"}\n"
    "{\"prompt\":\"animal[cat], color[red], animal[owl]\",\"completion\":\"Two of them, red.\"}\n"
    "{\"prompt\":\"color[green]\",\"completion\":\"Green is what it is, said the owl.\"}\n"
    "{\"prompt\":\"animal[fox]\",\"completion\":\"Fox\"}\n"
    "{\"prompt\":\"color[blue], animal[fox]\",\"completion\":\"A fox, but blue\"}\n"
    "{\"prompt\":\"color[red]\",\"completion\":\"\"}\n";

enum { RECORDS = 8, ROWS = 256 };

static const char *const small[] = {"model.new.layers=2",
                                    "model.new.heads=2",
                                    "model.new.width=32",
                                    "model.new.context=96",
                                    "model.new.dropout=0",
                                    "tokenizer.vocabulary=280",
                                    "train.batch=8",
                                    "train.learning_rate=0.01",
                                    "train.schedule=constant",
                                    "checkpoint.best=null",
                                    NULL};

typedef struct World {
    SftConfig config;
    OptionOrigins *origins;
    Log log;
    Sft sft;
} World;

static void world_open(World *world, const char *const *more) {
    Error err = {0};
    const char *data =
        test_file(test_folder(), "data.jsonl", demonstrations, sizeof demonstrations - 1);
    const char *argv[64] = {"rlhf-sft", "--data", data, "--quiet"};
    int argc = 4;
    for (int list = 0; list < 2; list++) {
        for (const char *const *set = list == 0 ? small : more; *set != NULL; set++) {
            argv[argc++] = "--set";
            argv[argc++] = *set;
        }
    }
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action;
    *world = (World){0};
    assert_ok(options_parse(&sft_program, argc, (char **)(uintptr_t)argv, &world->config,
                            &world->origins, &operand, &operands, &action, &err),
              &err);
    log_init(&world->log, LOG_QUIET);
    assert_ok(sft_prepare(&world->sft, &world->config, &world->log, &err), &err);
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

/* Minus the mean log-prob of all completions' ids, one record at a time, and its gradient. Prompt ids
 * are not trained (T09), EOS is (T06, T10). */
static double one_by_one(Sft *sft, Gradients *gradients) {
    Error err = {0};
    size_t tokens = 0;
    double loss = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        const Tokens *completion = &sft->train.example[i].completion[0];
        assert_int_equal(completion->id[completion->count - 1], sft->model.config.eos);
        tokens += completion->count;
    }
    WorkspacePlan plan = {.tokens = ROWS, .sequences = 1, .training = true};
    Workspace *workspace = workspace_create(&sft->model.config, &plan, &err);
    Batch batch = {0};
    assert_non_null(workspace);
    assert_ok(batch_init(&batch, ROWS, 1, &err), &err);
    for (size_t i = 0; i < RECORDS; i++) {
        const Tokens *prompt = &sft->train.example[i].prompt;
        const Tokens *completion = &sft->train.example[i].completion[0];
        int32_t id[ROWS], target[ROWS];
        float logprob[ROWS], slope[ROWS] = {0};
        size_t P = prompt->count, n = P + completion->count - 1;
        assert_true(n + 1 <= ROWS);
        memcpy(id, prompt->id, P * sizeof *id);
        memcpy(id + P, completion->id, completion->count * sizeof *id);
        for (size_t t = 0; t < n; t++) {
            target[t] = t + 1 >= P ? id[t + 1] : BATCH_NO_TARGET;
            slope[t] = t + 1 >= P ? -1 / (float)tokens : 0;
        }
        batch_clear(&batch);
        assert_ok(batch_add(&batch, id, target, n, BATCH_NO_PREFIX, i, NULL, &err), &err);
        model_forward(&sft->model, workspace, &batch, &(PerToken){.logprob = logprob});
        for (size_t t = P - 1; t < n; t++) {
            loss -= (double)logprob[t] / (double)tokens;
        }
        model_backward(&sft->model, gradients, workspace, &batch, &(PerToken){.logprob = slope});
    }
    batch_done(&batch);
    workspace_free(workspace);
    return loss;
}

/* T08, T11: all records in one micro-batch, and each in its own, are the sum over single sequences. The
 * step uses the gradient up; without clipping the first mean of Adam is (1 - beta1) of it. */
static void test_micro_batches(void **state) {
    (void)state;
    static const char *const micro[] = {"train.micro_tokens=4096", "train.micro_tokens=1"};
    for (int i = 0; i < 2; i++) {
        World world;
        Gradients want = {0};
        Error err = {0};
        world_open(&world, (const char *const[]){micro[i], "train.clip=0", NULL});
        assert_int_equal(world.sft.train.examples, RECORDS);
        assert_ok(gradients_init(&want, &world.sft.model, &err), &err);
        double loss = one_by_one(&world.sft, &want);
        assert_close_double("loss", first_loss(&world), loss, 1e-5, 0);
        for (size_t j = 0; j < want.count; j++) {
            want.data[j] *= 1 - (float)world.config.settings.train.beta1;
        }
        assert_close("gradient", world.sft.optimizer.m, want.data, want.count, 2e-5, 0);
        gradients_done(&want);
        world_close(&world);
    }
}

/* T26: dropout acts in training when asked for, and never in an evaluation. */
static void test_dropout(void **state) {
    (void)state;
    double loss[2], measured[2];
    for (int i = 0; i < 2; i++) {
        World world;
        Error err = {0};
        SftSums sums;
        world_open(&world,
                   (const char *const[]){i == 0 ? "train.dropout=0" : "train.dropout=0.3", NULL});
        assert_ok(sft_measure(&world.sft, &world.sft.train, &sums, &err), &err);
        measured[i] = sums.loss / (double)sums.tokens;
        loss[i] = first_loss(&world);
        world_close(&world);
    }
    assert_true(measured[0] == measured[1]);
    assert_close_double("without dropout", loss[0], measured[0], 1e-5, 0);
    assert_true(fabs(loss[1] - loss[0]) > 1e-4);
}

static void run(const char *data, const char *output, bool resume) {
    const char *argv[64] = {"rlhf-sft",  "--quiet",
                            "--threads", "1",
                            "--data",    data,
                            "--output",  output,
                            "--set",     "train.batch=4",
                            "--set",     "train.steps=6",
                            "--set",     "checkpoint.every=1",
                            "--set",     "checkpoint.keep=100",
                            "--set",     "train.evaluate_every=2"};
    int argc = 18;
    for (const char *const *set = small; *set != NULL; set++) {
        if (strncmp(*set, "train.batch", 11) != 0) {
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

/* T28: two steps are an epoch. Cut back to a checkpoint at its end, in its middle, or before the first
 * step, and resumed, a run leaves the same bytes. */
static void test_resume(void **state) {
    (void)state;
    const char *folder = test_folder();
    const char *data = test_file(folder, "data.jsonl", demonstrations, sizeof demonstrations - 1);
    char whole[700], part[700];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    run(data, whole, false);
    static const int point[] = {2, 4, 3};
    for (size_t i = 0; i < sizeof point / sizeof *point; i++) {
        snprintf(part, sizeof part, "%s/part-%d", folder, point[i]);
        test_copy_run(whole, part, point[i]);
        run(data, part, true);
        test_shell("diff -rq -x timing.jsonl -x run.json -x run.lock '%s' '%s'", whole, part);
    }
}

/* With all that a step may have: several micro-batches, dropout, recomputation, an average. */
static void test_no_allocation(void **state) {
    (void)state;
    World world;
    world_open(&world, (const char *const[]){"train.micro_tokens=100", "train.dropout=0.1",
                                             "train.ema=0.9", "compute.recompute=1", NULL});
    TrainerStage stage = sft_stage;
    stage.context = &world.sft;
    assert_loop_allocates_nothing(&stage, &world.log);
    world_close(&world);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(1);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) != 0;
}
