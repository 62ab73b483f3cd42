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

static bool train(const PpoParts *parts, const OptionOrigins *origins, Log *log, Error *err) {
    Ppo ppo = {.dump = -1};
    if (!ppo_init(&ppo, parts, err)) {
        return false;
    }
    TrainerOptions options = trainer_options(&ppo);
    TrainerStage stage = ppo_stage;
    stage.context = &ppo;
    bool ok = ppo_dump_open(&ppo, err) &&
              stage_train(&ppo_program, ppo.config, origins, &options, &stage, log, err);
    ppo_say_time_in_all(&ppo);
    ppo_done(&ppo);
    return ok;
}

static bool run(const void *configuration, const OptionOrigins *origins, Log *log, Error *err) {
    const PpoConfig *config = configuration;
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
    bool ok = settings->dry_run ? ppo_plan(&parts, &plan, err) : train(&parts, origins, log, err);
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
    return stage_main(&ppo_program, argc, argv, &config, run);
}
