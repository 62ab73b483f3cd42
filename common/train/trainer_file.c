/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/train/checkpoint.h"
#include "common/train/trainer_private.h"

static const char *const state_name = "state.json";

#define LARGEST ((int64_t)1 << 53)

static bool write_state(const Trainer *t, const char *folder, const cJSON *stage, Error *err) {
    const TrainerState *s = &t->state;
    Str text = {0};
    str_append(&text, "{");
    json_put_key(&text, "step");
    str_appendf(&text, "%lld", (long long)s->step);
    json_put_key(&text, "metrics_size");
    str_appendf(&text, "%llu", (unsigned long long)t->run->metrics_size);
    json_put_key(&text, "samples_size");
    str_appendf(&text, "%llu", (unsigned long long)t->run->samples_size);
    json_put_key(&text, "best_step");
    str_appendf(&text, "%lld", (long long)s->best_step);
    json_put_key(&text, "best_value");
    json_put_double(&text, s->best_value);
    json_put_key(&text, "scheduled");
    str_append(&text, s->scheduled ? "true" : "false");
    json_put_key(&text, "finished");
    str_append(&text, s->finished ? "true" : "false");
    json_put_key(&text, "stage");
    json_put_tree(&text, stage, false);
    str_append(&text, "}\n");
    char *path = str_ok(&text, err) ? file_join(folder, state_name, err) : NULL;
    bool ok = path != NULL && file_write(path, text.data, text.size, err);
    free(path);
    str_done(&text);
    return ok;
}

bool trainer_write_checkpoint(Trainer *t, Error *err) {
    CheckpointWriter writer;
    if (!run_sync(t->run, err) || !checkpoint_begin(&writer, t->run->folder, t->state.step,
                                                    t->options->checkpoint_bytes, err)) {
        return false;
    }
    cJSON *stage = cJSON_CreateObject();
    bool ok = stage != NULL || error_set(err, ERROR_OS, "out of memory: no room for a JSON value");
    ok = ok && t->stage->save(t->stage->context, writer.folder, stage, err) &&
         write_state(t, writer.folder, stage, err) && checkpoint_commit(&writer, err);
    checkpoint_abort(&writer);
    cJSON_Delete(stage);
    return ok;
}

static bool get_flag(const cJSON *tree, const char *name, bool *out) {
    const cJSON *item = json_member(tree, name);
    *out = cJSON_IsTrue(item);
    return cJSON_IsBool(item);
}

static bool parse_state(Trainer *t, const cJSON *tree, int64_t step, int64_t size[2]) {
    TrainerState *s = &t->state;
    const cJSON *best = json_member(tree, "best_value");
    if (!json_integer(json_member(tree, "step"), step, step, &s->step) ||
        !json_integer(json_member(tree, "metrics_size"), 0, LARGEST, &size[0]) ||
        !json_integer(json_member(tree, "samples_size"), 0, LARGEST, &size[1]) ||
        !json_integer(json_member(tree, "best_step"), -1, step, &s->best_step) ||
        !cJSON_IsNumber(best) || !get_flag(tree, "scheduled", &s->scheduled) ||
        !get_flag(tree, "finished", &s->finished) || !cJSON_IsObject(json_member(tree, "stage"))) {
        return false;
    }
    s->best_value = best->valuedouble;
    return true;
}

static cJSON *read_state(const char *folder, char **path, Error *err) {
    *path = file_join(folder, state_name, err);
    return *path == NULL ? NULL : json_read_file(*path, &json_limits_document, err);
}

static bool load_state(Trainer *t, const char *folder, int64_t step, Error *err) {
    int64_t size[2];
    char *path;
    cJSON *tree = read_state(folder, &path, err);
    bool ok = tree != NULL;
    if (ok && !parse_state(t, tree, step, size)) {
        ok = error_at(err, ERROR_DATA, path, 0, 0, "is not the state of a run at step %lld",
                      (long long)step);
    }
    ok = ok && run_rewind(t->run, (uint64_t)size[0], (uint64_t)size[1], err) &&
         t->stage->load(t->stage->context, folder, json_member(tree, "stage"), err);
    cJSON_Delete(tree);
    free(path);
    return ok;
}

/* Removes older checkpoints that were not scheduled: their successor is there, but its writer was killed
 * before it could. */
static bool remove_superseded(const Trainer *t, int64_t newest, Error *err) {
    int64_t *step;
    size_t count;
    if (!checkpoint_steps(t->run->folder, &step, &count, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        char *path = NULL, *folder = checkpoint_folder(t->run->folder, step[i], err);
        cJSON *tree = folder == NULL ? NULL : read_state(folder, &path, NULL);
        ok = folder != NULL;
        if (ok && step[i] < newest && cJSON_IsFalse(json_member(tree, "scheduled"))) {
            ok = checkpoint_remove(t->run->folder, step[i], err);
        }
        cJSON_Delete(tree);
        free(path);
        free(folder);
    }
    free(step);
    return ok;
}

bool trainer_resume(Trainer *t, bool *resumed, Error *err) {
    char *folder = NULL;
    int64_t step = 0;
    *resumed = false;
    if (!checkpoint_find(t->run->folder, t->log, &folder, &step, err)) {
        return false;
    }
    if (folder == NULL) {
        if (t->run->existed) {
            log_info(t->log, "%s has no checkpoint yet: starting over", t->run->folder);
        }
        return run_rewind(t->run, 0, 0, err);
    }
    bool ok = load_state(t, folder, step, err) && remove_superseded(t, step, err);
    if (ok) {
        log_info(t->log, "continuing from %s", folder);
        t->saved = step;
        t->extra = t->state.scheduled ? -1 : step;
        *resumed = true;
    } else {
        error_wrap(err, "cannot continue from %s", folder);
    }
    free(folder);
    return ok;
}
