/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "sft/sft.h"

static bool train(Sft *sft, const OptionOrigins *origins, Log *log, Error *err) {
    TrainerOptions options = stage_trainer_options(&sft->config->settings, sft->steps);
    options.checkpoint_bytes = stage_checkpoint_bytes(&sft->model, sft->ema.data != NULL);
    if (sft->validation.examples == 0) {
        options.best_metric = NULL;
    }
    TrainerStage stage = sft_stage;
    stage.context = sft;
    return sft_allocate(sft, err) &&
           stage_train(&sft_program, sft->config, origins, &options, &stage, log, err);
}

static bool run(const void *configuration, const OptionOrigins *origins, Log *log, Error *err) {
    const SftConfig *config = configuration;
    const Settings *settings = &config->settings;
    bool finished = false, encoder = false;
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
        bool ok = settings->dry_run ? sft_plan(&sft, &plan, err) : train(&sft, origins, log, err);
        if (ok && settings->dry_run) {
            fputs(str_text(&plan), stdout);
        }
        str_done(&plan);
        encoder = sft.encoder;
        sft_done(&sft);
        if (!ok || settings->dry_run) {
            return ok;
        }
    }
    if (encoder) {
        log_info(log, "next: rlhf-reward --model %s/model --data RANKINGS-OR-LABELS --output DIR",
                 settings->output);
    } else {
        log_info(log,
                 "next: rlhf-generate --model %s/model, or rlhf-reward --model %s/model --data "
                 "RANKINGS --output DIR",
                 settings->output, settings->output);
    }
    printf("%s/model\n", settings->output);
    return true;
}

int main(int argc, char **argv) {
    SftConfig config = {0};
    return stage_main(&sft_program, argc, argv, &config, run);
}
