/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "common/stage/stage.h"

int stage_main(const OptionProgram *program, int argc, char **argv, void *config, StageRun *run) {
    const Settings *settings = config;
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok =
        options_parse(program, argc, argv, config, &origins, &operand, &operands, &action, &err);
    if (ok && action == OPTION_RUN) {
        ok = stage_adopt_run(program, config, settings, origins, &err);
        if (ok) {
            ok = stage_begin(program->name, settings, &log, &err) &&
                 run(config, origins, &log, &err);
            log_finish(&log);
        }
    }
    options_done(program, config, origins);
    if (!ok) {
        error_print(&err, program->name, stderr);
        return (int)err.code;
    }
    return 0;
}

bool stage_train(const OptionProgram *program, const void *config, const OptionOrigins *origins,
                 const TrainerOptions *options, const TrainerStage *stage, Log *log, Error *err) {
    const Settings *settings = config;
    Str json = {0};
    Run run = {0};
    bool opened = options_write(program, config, origins, &json, err) &&
                  run_open(&run, settings->output, settings->resume, str_text(&json), err);
    bool ok = opened && trainer_run(options, stage, &run, log, err);
    if (opened) {
        run_close(&run);
    }
    str_done(&json);
    return ok;
}
