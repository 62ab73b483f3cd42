/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "reward/reward.h"

static bool train(Reward *reward, const RewardConfig *config, const OptionOrigins *origins,
                  Log *log, Error *err) {
    Str json = {0};
    Run run = {0};
    bool ok =
        options_write(&reward_program, config, origins, &json, err) &&
        run_open(&run, config->settings.output, config->settings.resume, str_text(&json), err);
    if (ok) {
        TrainerOptions options = stage_trainer_options(&config->settings, reward->steps);
        options.evaluate_first = reward->validation.items > 0;
        options.best_metric = reward->best;
        options.best_is_largest = reward->best_is_largest;
        TrainerStage stage = reward_stage;
        stage.context = reward;
        ok = reward_allocate(reward, err) && trainer_run(&options, &stage, &run, log, err);
    }
    run_close(&run);
    str_done(&json);
    return ok;
}

static bool run_program(const RewardConfig *config, const OptionOrigins *origins, Log *log,
                        Error *err) {
    const Settings *settings = &config->settings;
    bool finished = false;
    if (!settings->dry_run && !stage_check_output(settings, &finished, err)) {
        return false;
    }
    if (finished) {
        log_info(log, "%s is finished already", settings->output);
    } else {
        Reward reward;
        if (!reward_prepare(&reward, config, log, err)) {
            return false;
        }
        Str plan = {0};
        bool ok = settings->dry_run ? reward_plan(&reward, &plan, err)
                                    : train(&reward, config, origins, log, err);
        if (ok && settings->dry_run) {
            fputs(str_text(&plan), stdout);
        }
        str_done(&plan);
        reward_done(&reward);
        if (!ok || settings->dry_run) {
            return ok;
        }
    }
    if (config->reward.objective == REWARD_RANKING) {
        log_info(log,
                 "next: rlhf-ppo --model SFT_MODEL --reward-model %s/model --data PROMPTS "
                 "--output DIR",
                 settings->output);
    } else {
        log_info(log, "next: rlhf-score --model %s/model --data FILE", settings->output);
    }
    printf("%s/model\n", settings->output);
    return true;
}

int main(int argc, char **argv) {
    RewardConfig config = {0};
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok = options_parse(&reward_program, argc, argv, &config, &origins, &operand, &operands,
                            &action, &err);
    if (ok && action == OPTION_RUN) {
        ok = stage_adopt_run(&reward_program, &config, &config.settings, origins, &err);
    }
    if (ok && action == OPTION_RUN) {
        stage_begin(reward_program.name, &config.settings, &log);
        ok = run_program(&config, origins, &log, &err);
        log_finish(&log);
    }
    options_done(&reward_program, &config, origins);
    if (!ok) {
        error_print(&err, reward_program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
