/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "ppo/ppo_prepare.h"

static TrainerOptions trainer_options(const Ppo *ppo) {
    const PpoConfig *config = ppo->config;
    TrainerOptions options = stage_trainer_options(&config->settings, ppo->iterations);
    bool judged = config->ppo.select == SELECT_JUDGE ||
                  (config->ppo.select == SELECT_AUTO && ppo->part.judge != NULL);
    bool chosen = config->ppo.select != SELECT_LAST && ppo->part.held_outs > 0;
    options.best_metric = !chosen ? NULL : judged ? "eval/judge" : "eval/score";
    options.best_is_largest = true;
    options.evaluate_first = ppo->part.held_outs > 0;
    options.checkpoint_bytes = ppo_checkpoint_bytes(ppo);
    return options;
}

static bool train(const PpoConfig *config, const PpoParts *parts, const OptionOrigins *origins,
                  Log *log, Error *err) {
    Str json = {0};
    Run run = {0};
    Ppo ppo = {.dump = -1};
    if (!ppo_init(&ppo, parts, err)) {
        return false;
    }
    bool opened =
        options_write(&ppo_program, config, origins, &json, err) &&
        run_open(&run, config->settings.output, config->settings.resume, str_text(&json), err);
    bool ok = opened && ppo_dump_open(&ppo, err);
    if (ok) {
        TrainerOptions options = trainer_options(&ppo);
        TrainerStage stage = ppo_stage;
        stage.context = &ppo;
        ok = trainer_run(&options, &stage, &run, log, err);
    }
    if (opened) {
        run_close(&run);
    }
    str_done(&json);
    ppo_done(&ppo);
    return ok;
}

static bool run_program(const PpoConfig *config, const OptionOrigins *origins, Log *log,
                        Error *err) {
    const Settings *settings = &config->settings;
    bool finished = false;
    if (!ppo_config_check(config, err) ||
        (!settings->dry_run && !stage_check_output(settings, &finished, err))) {
        return false;
    }
    if (finished) {
        log_info(log, "%s is finished already", settings->output);
        printf("%s/model\n", settings->output);
        return true;
    }
    PpoInputs inputs;
    if (!ppo_prepare(&inputs, config, log, err)) {
        return false;
    }
    PpoParts parts = ppo_parts(&inputs, config, log);
    Str plan = {0};
    bool ok =
        settings->dry_run ? ppo_plan(&parts, &plan, err) : train(config, &parts, origins, log, err);
    if (ok && settings->dry_run) {
        fputs(str_text(&plan), stdout);
    }
    str_done(&plan);
    ppo_inputs_done(&inputs);
    if (ok && !settings->dry_run) {
        log_info(log, "next: rlhf-generate --model %s/model", settings->output);
        printf("%s/model\n", settings->output);
    }
    return ok;
}

int main(int argc, char **argv) {
    PpoConfig config = {0};
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok = options_parse(&ppo_program, argc, argv, &config, &origins, &operand, &operands,
                            &action, &err);
    if (ok && action == OPTION_RUN) {
        ok = stage_adopt_run(&ppo_program, &config, &config.settings, origins, &err);
    }
    ok = ok && (action == OPTION_EXIT ||
                stage_adopt_run(&ppo_program, &config, &config.settings, origins, &err));
    if (ok && action == OPTION_RUN) {
        stage_begin(ppo_program.name, &config.settings, &log);
        ok = run_program(&config, origins, &log, &err);
        log_finish(&log);
    }
    options_done(&ppo_program, &config, origins);
    if (!ok) {
        error_print(&err, ppo_program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
