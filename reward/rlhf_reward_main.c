/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "reward/reward.h"

static bool train(Reward *reward, const OptionOrigins *origins, Log *log, Error *err) {
    TrainerOptions options = stage_trainer_options(&reward->config->settings, reward->steps);
    options.checkpoint_bytes = stage_checkpoint_bytes(&reward->model, 1);
    options.evaluate_first = reward->validation.items > 0;
    options.best_metric = reward->best;
    options.best_is_largest = reward->best_is_largest;
    TrainerStage stage = reward_stage;
    stage.context = reward;
    return reward_allocate(reward, err) &&
           stage_train(&reward_program, reward->config, origins, &options, &stage, log, err);
}

static bool run(const void *configuration, const OptionOrigins *origins, Log *log, Error *err) {
    const RewardConfig *config = configuration;
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
                                    : train(&reward, origins, log, err);
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
    return stage_main(&reward_program, argc, argv, &config, run);
}
