/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/model/adapter.h"
#include "common/model/adapter_io.h"
#include "common/stage/stage.h"

bool stage_adapt(const Settings *settings, Model *model, const char *base, Error *err) {
    AdapterConfig adapter = {.rank = (size_t)settings->lora.rank,
                             .alpha = (float)settings->lora.alpha,
                             .dropout = (float)settings->lora.dropout,
                             .rslora = settings->lora.rslora};
    static const char *const all_linear[] = {"all-linear"};
    size_t named = settings->lora.targets.count;
    char **names = settings->lora.targets.item;
    const char *const *target = named > 0 ? (const char *const *)names : all_linear;
    if (!adapter_targets(&model->config, target, named > 0 ? named : 1, &adapter.targets, err) ||
        !model_adapt(model, &adapter, (uint64_t)settings->train.seed, err)) {
        return error_wrap(err, "lora");
    }
    model->base = realpath(base, NULL);
    return model->base != NULL || error_errno(err, "cannot open", base);
}

bool stage_open_model(const Settings *settings, int head, size_t labels, Model *model,
                      bool *fresh_head, Error *err) {
    const char *path = settings->model.path, *adapter = settings->model.adapter;
    if (adapter == NULL && settings->lora.rank == 0 && settings->lora.merge &&
        !adapter_is_folder(path)) {
        return error_set(err, ERROR_CONFIG,
                         "lora.merge is set, but there is no adapter: neither lora.rank nor "
                         "model.adapter is, and %s is none",
                         path);
    }
    if (adapter != NULL ? !adapter_load(model, adapter, path, NULL, head, labels, fresh_head, err)
                        : !model_load(model, path, head, labels, fresh_head, err)) {
        return false;
    }
    if (settings->lora.rank == 0) {
        return true;
    }
    if (model->config.adapter.rank > 0) {
        error_set(err, ERROR_CONFIG,
                  "lora.rank asks for a new adapter, but %s is one; leave lora.rank out to train "
                  "it further, or merge it into its base first",
                  adapter != NULL ? adapter : path);
        model_done(model);
        return false;
    }
    if (!stage_adapt(settings, model, path, err)) {
        model_done(model);
        return false;
    }
    return true;
}

void stage_say_adapter(const Model *model, Log *log) {
    const AdapterConfig *adapter = &model->config.adapter;
    if (adapter->rank > 0) {
        log_info(log, "adapter: rank %zu on %d layers of a block, %.2f M of %.2f M weights train",
                 adapter->rank, __builtin_popcountll(adapter->targets),
                 (double)model->own_count / 1e6, (double)(model->count + model->own_count) / 1e6);
    }
}

bool stage_save_merged(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                       const char *run, Error *err) {
    if (!settings->lora.merge) {
        return true;
    }
    Model model = {0};
    char *result = file_join(run, "model", err), *merged = file_join(run, "merged", err);
    bool ok = result != NULL && merged != NULL && model_load(&model, result, -1, 0, NULL, err);
    if (ok) {
        model_merge_adapter(&model);
        ok = stage_save_model(&model, tokenizer, layout, merged, err);
    }
    model_done(&model);
    free(result);
    free(merged);
    return ok;
}
