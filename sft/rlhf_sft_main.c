/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "common/base/file.h"
#include "sft/sft.h"

static bool train(Sft *sft, const SftConfig *config, const OptionOrigins *origins, Log *log,
                  Error *err) {
    Str json = {0};
    Run run = {0};
    bool ok =
        options_write(&sft_program, config, origins, &json, err) &&
        run_open(&run, config->settings.output, config->settings.resume, str_text(&json), err);
    if (ok) {
        TrainerOptions options = stage_trainer_options(&config->settings, sft->steps);
        if (sft->validation.examples == 0) {
            options.best_metric = NULL;
        }
        TrainerStage stage = sft_stage;
        stage.context = sft;
        ok = sft_allocate(sft, err) && trainer_run(&options, &stage, &run, log, err);
    }
    run_close(&run);
    str_done(&json);
    return ok;
}

static bool run_program(const SftConfig *config, const OptionOrigins *origins, Log *log,
                        Error *err) {
    const Settings *settings = &config->settings;
    bool finished = false;
    if (!settings->dry_run && !stage_check_output(settings, &finished, err)) {
        return false;
    }
    if (finished) {
        log_info(log, "%s is finished already", settings->output);
    } else {
        Sft sft;
        if (!sft_prepare(&sft, config, log, err)) {
            return false;
        }
        Str plan = {0};
        bool ok =
            settings->dry_run ? sft_plan(&sft, &plan, err) : train(&sft, config, origins, log, err);
        if (ok && settings->dry_run) {
            fputs(str_text(&plan), stdout);
        }
        str_done(&plan);
        sft_done(&sft);
        if (!ok || settings->dry_run) {
            return ok;
        }
    }
    log_info(log,
             "next: rlhf-generate --model %s/model, or rlhf-reward --model %s/model --data "
             "RANKINGS --output DIR",
             settings->output, settings->output);
    printf("%s/model\n", settings->output);
    return true;
}

int main(int argc, char **argv) {
    SftConfig config = {0};
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok = options_parse(&sft_program, argc, argv, &config, &origins, &operand, &operands,
                            &action, &err);
    if (ok && action == OPTION_RUN) {
        ok = stage_adopt_run(&sft_program, &config, &config.settings, origins, &err);
    }
    if (ok && action == OPTION_RUN) {
        stage_begin(sft_program.name, &config.settings, &log);
        ok = run_program(&config, origins, &log, &err);
        log_finish(&log);
    }
    options_done(&sft_program, &config, origins);
    if (!ok) {
        error_print(&err, sft_program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
