/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/base/signals.h"
#include "common/kernels/gemm.h"
#include "common/model/packed.h"
#include "common/stage/stage.h"

static bool choose_kernels(int choice, Error *err) {
    gemm_select(choice == COMPUTE_GEMM_OPENBLAS ? GEMM_OPENBLAS : GEMM_OWN);
    return choice < COMPUTE_GEMM_NAMED || gemm_use(settings_gemm[choice]) ||
           error_set(err, ERROR_CONFIG,
                     "compute.gemm is \"%s\", but this CPU has no such instructions; leave it at "
                     "\"auto\"",
                     settings_gemm[choice]);
}

bool stage_threads(int64_t threads, Error *err) {
    parallel_init((int)threads);
    return gemm_self_check(err);
}

bool stage_begin(const char *program, const Settings *settings, Log *log, Error *err) {
    log_init(log, settings->quiet ? LOG_QUIET : settings->verbose ? LOG_VERBOSE : LOG_NORMAL);
    log->plain_interval = (double)settings->log.every;
    parallel_init((int)settings->compute.threads);
    signals_install(program);
    if (!choose_kernels(settings->compute.gemm, err) || !gemm_self_check(err)) {
        return false;
    }
    int threads = parallel_threads();
    log_info(log, "products: %s, %d thread%s", gemm_describe((GemmType)settings->compute.dtype),
             threads, threads == 1 ? "" : "s");
    return true;
}

/* Each line by itself: a line break inside a message would be escaped. */
static void say_lines(Log *log, const char *text) {
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        if (n > 0) {
            log_info(log, "%.*s", (int)n, text);
        }
        text += n + (text[n] == '\n');
    }
}

void stage_show_example(const DataSet *data, Log *log) {
    Str text = {0};
    record_render(&data->record[0], &text);
    log_info(log, "example (line %ld):", data->record[0].line);
    say_lines(log, str_text(&text));
    str_done(&text);
}

bool stage_adopt_run(const OptionProgram *program, void *config, const Settings *settings,
                     OptionOrigins *origins, Error *err) {
    static const char *const free_paths[] = {"output",
                                             "resume",
                                             "dry_run",
                                             "quiet",
                                             "verbose",
                                             "compute.threads",
                                             "compute.recompute",
                                             "checkpoint.every",
                                             "checkpoint.keep",
                                             "checkpoint.max_minutes",
                                             "log.every",
                                             NULL};
    if (!settings->resume || settings->output == NULL) {
        return true;
    }
    char *path = file_join(settings->output, "run.json", err);
    bool ok = path != NULL && (!file_exists(path) ||
                               options_resume(program, config, origins, path, free_paths, err));
    free(path);
    return ok;
}

bool stage_check_output(const Settings *settings, bool *finished, Error *err) {
    *finished = false;
    const char *folder = settings->output;
    if (folder == NULL) {
        return error_set(err, ERROR_USAGE,
                         "no output folder is given; name one that does not exist yet with "
                         "--output DIR");
    }
    if (!file_exists(folder)) {
        return true;
    }
    if (!file_is_folder(folder)) {
        return error_set(err, ERROR_CANNOT_CREATE,
                         "--output %s exists and is not a folder; name another one", folder);
    }
    char *config = file_join(folder, "run.json", err);
    char *report = config == NULL ? NULL : file_join(folder, "report.md", err);
    bool ok = report != NULL;
    if (ok && file_exists(config)) {
        *finished = settings->resume && file_exists(report);
        if (!settings->resume) {
            ok = error_set(err, ERROR_CANNOT_CREATE,
                           "--output %s already holds a run; continue it with --resume, or name "
                           "another folder",
                           folder);
        }
    }
    free(config);
    free(report);
    return ok;
}

DataOptions stage_data_options(const Settings *settings, unsigned accept) {
    return (DataOptions){
        .root = settings->data.root,
        .format = settings->data.format,
        .columns =
            {
                      .prompt = settings->data.columns.prompt,
                      .completion = settings->data.columns.completion,
                      .chosen = settings->data.columns.chosen,
                      .rejected = settings->data.columns.rejected,
                      .completions = settings->data.columns.completions,
                      .ranks = settings->data.columns.ranks,
                      .ranking = settings->data.columns.ranking,
                      .scores = settings->data.columns.scores,
                      .messages = settings->data.columns.messages,
                      .text = settings->data.columns.text,
                      .label = settings->data.columns.label,
                      .margin = settings->data.columns.margin,
                      .annotator = settings->data.columns.annotator,
                      },
        .skip_bad = settings->data.skip_bad,
        .accept = accept,
    };
}

bool stage_read_data(const Settings *settings, unsigned accept, DataSet *train, DataSet *validation,
                     Log *log, Error *err) {
    if (settings->data.train.count == 0) {
        return error_set(err, ERROR_CONFIG,
                         "no training data is given; name a file with --data FILE");
    }
    DataOptions options = stage_data_options(settings, accept);
    if (!dataset_read(train, &settings->data.train, &options, err) ||
        !dataset_keep_part(train, settings->data.part_begin, settings->data.part_end, err)) {
        return false;
    }
    dataset_limit(train, (size_t)settings->data.limit);
    say_lines(log, str_text(&train->description));
    if (settings->data.validation.count > 0) {
        if (!dataset_read(validation, &settings->data.validation, &options, err)) {
            return false;
        }
        say_lines(log, str_text(&validation->description));
        return true;
    }
    return settings->data.validation_share == 0 ||
           dataset_split(train, settings->data.validation_share, (uint64_t)settings->train.seed,
                         validation, err);
}

int64_t stage_steps(const Settings *settings, size_t records) {
    if (settings->train.steps > 0) {
        return settings->train.steps;
    }
    int64_t batch = settings->train.batch;
    int64_t all = settings->train.epochs * (int64_t)records;
    return (all + batch - 1) / batch;
}

double stage_learning_rate(const Settings *settings, int64_t step, int64_t steps) {
    double warmup = settings->train.warmup;
    int64_t rising = warmup < 1 ? (int64_t)llround(warmup * (double)steps) : (int64_t)warmup;
    return settings->train.learning_rate * schedule_factor((ScheduleKind)settings->train.schedule,
                                                           step, steps, rising,
                                                           settings->train.floor);
}

OptimizerOptions stage_optimizer_options(const Settings *settings) {
    return (OptimizerOptions){
        .beta1 = settings->train.beta1,
        .beta2 = settings->train.beta2,
        .epsilon = settings->train.epsilon,
        .weight_decay = settings->train.weight_decay,
        .epsilon_mode = (AdamEpsilon)settings->train.epsilon_mode,
        .clip = settings->train.clip,
    };
}

WorkspacePlan stage_training_plan(const Settings *settings, size_t rows) {
    return (WorkspacePlan){
        .tokens = rows,
        .sequences = rows,
        .training = true,
        .type = (GemmType)settings->compute.dtype,
        .recompute = settings->compute.recompute,
    };
}

WorkspacePlan stage_reading_plan(const Settings *settings, size_t rows) {
    enum { MANY = 1024 }; /* rows, over which laying out weights anew for each pass costs nothing */
    /* Laid out, a base held in fewer bytes would take as many as floats again. */
    bool packs = rows < MANY && settings->lora.base == COMPACT_NONE;
    return (WorkspacePlan){
        .tokens = rows,
        .sequences = rows,
        .type = (GemmType)settings->compute.dtype,
        .packed = packs ? PACK_FORWARD | PACK_HEAD_FORWARD : 0,
    };
}

size_t stage_rows(const Settings *settings, size_t longest) {
    size_t micro = (size_t)settings->train.micro_tokens;
    size_t step = mem_mul((size_t)settings->train.batch, longest);
    size_t wanted = micro < step ? micro : step;
    return wanted > longest ? wanted : longest;
}

uint64_t stage_checkpoint_bytes(const Model *model, size_t copies) {
    uint64_t bytes = optimizer_bytes(model) + (1 + copies) * model_changing(model) * sizeof(float);
    return bytes + ((uint64_t)1 << 20); /* tokenizer, configuration, manifest */
}

TrainerOptions stage_trainer_options(const Settings *settings, int64_t steps) {
    const char *best = settings->checkpoint.best;
    return (TrainerOptions){
        .steps = steps,
        .evaluate_every = settings->train.evaluate_every,
        .checkpoint_every = settings->checkpoint.every,
        .keep = (int)settings->checkpoint.keep,
        .max_seconds = settings->checkpoint.max_minutes * 60,
        .best_metric = best,
        .best_is_largest = settings->checkpoint.mode == 1,
    };
}
