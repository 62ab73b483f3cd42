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

bool stage_check_base(const Settings *settings, Error *err) {
    const char *path = settings->model.path;
    const char *held = compact_type_name[settings->lora.base];
    if (settings->lora.base == COMPACT_NONE) {
        return true;
    }
    if (settings->lora.rank == 0 && settings->model.adapter == NULL &&
        (path == NULL || !adapter_is_folder(path))) {
        return error_set(
            err, ERROR_CONFIG,
            "lora.base is \"%s\", but weights that train are held as f32, and no adapter "
            "is there that would train instead; set lora.rank or model.adapter too",
            held);
    }
    return settings->compute.gemm != COMPUTE_GEMM_OPENBLAS ||
           error_set(
               err, ERROR_CONFIG,
               "lora.base is \"%s\", which OpenBLAS does not multiply with; leave compute.gemm "
               "at \"auto\"",
               held);
}

bool stage_open_model(const Settings *settings, int head, size_t labels, Model *model,
                      bool *fresh_head, Error *err) {
    const char *path = settings->model.path, *adapter = settings->model.adapter;
    CompactType held = (CompactType)settings->lora.base;
    if (adapter == NULL && settings->lora.rank == 0 && settings->lora.merge &&
        !adapter_is_folder(path)) {
        return error_set(err, ERROR_CONFIG,
                         "lora.merge is set, but there is no adapter: neither lora.rank nor "
                         "model.adapter is, and %s is none",
                         path);
    }
    if (!stage_check_base(settings, err) ||
        (adapter != NULL
             ? !adapter_load(model, adapter, path, NULL, held, head, labels, fresh_head, err)
             : !model_load_compact(model, path, held, head, labels, fresh_head, err))) {
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
                 (double)model->own_count / 1e6,
                 (double)(model_weights(model) + model->own_count) / 1e6);
    }
    if (model->held != COMPACT_NONE) {
        log_info(log, "base: %.2f M of %.2f M weights held as %s",
                 (double)model->compact_count / 1e6, (double)model_weights(model) / 1e6,
                 compact_type_name[model->held]);
    }
}

bool stage_save_merged(const Settings *settings, const Tokenizer *tokenizer, const Layout *layout,
                       const char *run, Error *err) {
    if (!settings->lora.merge) {
        return true;
    }
    Model model = {0};
    char *result = file_join(run, "model", err), *merged = file_join(run, "merged", err);
    /* A run that was killed here may have left a temporary file. */
    bool ok =
        result != NULL && merged != NULL && file_remove_tree(merged, err) &&
        model_load_compact(&model, result, (CompactType)settings->lora.base, -1, 0, NULL, err) &&
        model_widen(&model, err);
    if (ok) {
        model_merge_adapter(&model);
        ok = stage_save_model(&model, tokenizer, layout, merged, err);
    }
    model_done(&model);
    free(result);
    free(merged);
    return ok;
}
