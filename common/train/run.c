/* SPDX-License-Identifier: MIT */
#include "common/train/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"

void metrics_put(Metrics *metrics, const char *name, double value) {
    size_t i = 0;
    while (i < metrics->count && strcmp(metrics->name[i], name) != 0) {
        i++;
    }
    if (i == metrics->count) {
        CHECK(i < METRICS_MOST && strlen(name) < METRIC_NAME);
        memcpy(metrics->name[i], name, strlen(name) + 1);
        metrics->count++;
    }
    metrics->value[i] = value;
}

bool metrics_get(const Metrics *metrics, const char *name, double *value) {
    for (size_t i = 0; i < metrics->count; i++) {
        if (strcmp(metrics->name[i], name) == 0) {
            *value = metrics->value[i];
            return true;
        }
    }
    return false;
}

void metrics_clear(Metrics *metrics) {
    metrics->count = 0;
}

static int open_in(const char *folder, const char *name, int flags, Error *err) {
    char *path = file_join(folder, name, err);
    if (path == NULL) {
        return -1;
    }
    int descriptor = open(path, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor < 0) {
        error_errno(err, "cannot open", path);
    }
    free(path);
    return descriptor;
}

/* Temporary files and folders of writers that were killed: we hold the lock, so they are dead. */
static bool remove_leftovers(const char *folder, Error *err) {
    char **name;
    size_t count;
    if (!file_list(folder, &name, &count, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        if (ok && strstr(name[i], ".tmp-") != NULL) {
            char *path = file_join(folder, name[i], err);
            ok = path != NULL && file_remove_tree(path, err);
            free(path);
        }
        free(name[i]);
    }
    free(name);
    return ok;
}

static bool take_lock(Run *run, Error *err) {
    run->lock = open_in(run->folder, "run.lock", O_RDWR, err);
    if (run->lock < 0) {
        return false;
    }
    if (flock(run->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return error_set(err, ERROR_TEMPORARY,
                             "another process is working in the run folder %s; wait for it, or "
                             "name another folder",
                             run->folder);
        }
        return error_errno(err, "cannot lock", run->folder);
    }
    return true;
}

static bool prepare(Run *run, bool resume, const char *config_json, Error *err) {
    char *config = file_join(run->folder, "run.json", err);
    char *report = config == NULL ? NULL : file_join(run->folder, "report.md", err);
    char *checkpoints = report == NULL ? NULL : file_join(run->folder, "checkpoints", err);
    bool ok = checkpoints != NULL;
    if (ok) {
        run->existed = file_exists(config);
        run->finished = run->existed && file_exists(report);
    }
    /* Without run.json a run's remains still are not to be continued unasked. */
    if (ok && !resume && (run->existed || file_exists(checkpoints))) {
        ok = error_set(err, ERROR_CANNOT_CREATE,
                       "%s already holds a run; continue it with --resume, or name another folder",
                       run->folder);
    }
    ok = ok && remove_leftovers(run->folder, err);
    if (ok && !run->existed) {
        ok = file_write(config, config_json, strlen(config_json), err);
    }
    free(config);
    free(report);
    free(checkpoints);
    return ok;
}

static bool open_stream(Run *run, const char *name, int *descriptor, uint64_t *size, Error *err) {
    *descriptor = open_in(run->folder, name, O_WRONLY | O_APPEND, err);
    struct stat status;
    if (*descriptor < 0) {
        return false;
    }
    if (fstat(*descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        return error_set(err, ERROR_CANNOT_CREATE, "%s/%s is not a regular file", run->folder,
                         name);
    }
    *size = (uint64_t)status.st_size;
    return true;
}

/* Room for a line of as many metrics as there can be, so that the loop allocates none. */
enum { NUMBER_MOST = 32, LINE_MOST = METRICS_MOST * (METRIC_NAME + NUMBER_MOST) };

bool run_open(Run *run, const char *folder, bool resume, const char *config_json, Error *err) {
    *run = (Run){.lock = -1, .metrics = -1, .timing = -1, .samples = -1};
    uint64_t timing_size;
    run->folder = mem_strdup(folder, err);
    if (run->folder == NULL || !file_make_folders(folder, err) || !take_lock(run, err) ||
        !prepare(run, resume, config_json, err) ||
        !open_stream(run, "metrics.jsonl", &run->metrics, &run->metrics_size, err) ||
        !open_stream(run, "samples.jsonl", &run->samples, &run->samples_size, err) ||
        !open_stream(run, "timing.jsonl", &run->timing, &timing_size, err) ||
        !mem_reserve(&run->line.data, &run->line.capacity, LINE_MOST, 1, err)) {
        run_close(run);
        return false;
    }
    return true;
}

static void close_one(int descriptor) {
    if (descriptor >= 0) {
        close(descriptor);
    }
}

void run_close(Run *run) {
    if (run->folder != NULL) {
        close_one(run->metrics);
        close_one(run->timing);
        close_one(run->samples);
        close_one(run->lock); /* last: it gives the lock back */
        free(run->folder);
        str_done(&run->line);
        *run = (Run){.lock = -1, .metrics = -1, .timing = -1, .samples = -1};
    }
}

static bool rewind_one(const Run *run, const char *name, int descriptor, uint64_t size,
                       uint64_t *now, Error *err) {
    if (size > *now) {
        return error_set(err, ERROR_DATA,
                         "%s/%s has %llu bytes where the checkpoint knows of %llu: the run folder "
                         "was changed; start a new run in another folder",
                         run->folder, name, (unsigned long long)*now, (unsigned long long)size);
    }
    if (ftruncate(descriptor, (off_t)size) != 0) {
        return error_errno(err, "cannot shorten", name);
    }
    *now = size;
    return true;
}

bool run_rewind(Run *run, uint64_t metrics_size, uint64_t samples_size, Error *err) {
    return rewind_one(run, "metrics.jsonl", run->metrics, metrics_size, &run->metrics_size, err) &&
           rewind_one(run, "samples.jsonl", run->samples, samples_size, &run->samples_size, err);
}

/* One write a line, so that a killed process leaves whole lines; what a full disk cut short is taken
 * back. size may be NULL. */
static bool append(Run *run, const char *name, int descriptor, const Str *text, uint64_t *size,
                   Error *err) {
    if (!str_ok(text, err)) {
        return false;
    }
    size_t done = 0;
    while (done < text->size) {
        ssize_t n = write(descriptor, text->data + done, text->size - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_errno(err, "cannot write", name);
            off_t end = lseek(descriptor, 0, SEEK_END);
            if (end < 0 || ftruncate(descriptor, end - (off_t)done) != 0) {
                error_wrap(err, "%s ends in half a line", run->folder);
            }
            return false;
        }
        done += (size_t)n;
    }
    if (size != NULL) {
        *size += text->size;
    }
    return true;
}

static bool append_metrics(Run *run, const char *name, int descriptor, int64_t step,
                           const Metrics *metrics, uint64_t *size, Error *err) {
    Str *line = &run->line;
    str_clear(line);
    str_appendf(line, "{\"step\":%lld", (long long)step);
    for (size_t i = 0; i < metrics->count; i++) {
        json_put_key(line, metrics->name[i]);
        json_put_double(line, metrics->value[i]);
    }
    str_append(line, "}\n");
    return append(run, name, descriptor, line, size, err);
}

bool run_metrics(Run *run, int64_t step, const Metrics *metrics, Error *err) {
    return append_metrics(run, "metrics.jsonl", run->metrics, step, metrics, &run->metrics_size,
                          err);
}

bool run_timing(Run *run, int64_t step, const Metrics *timing, Error *err) {
    return append_metrics(run, "timing.jsonl", run->timing, step, timing, NULL, err);
}

bool run_sample(Run *run, const Str *json, Error *err) {
    if (!str_ok(json, err)) {
        return false;
    }
    str_clear(&run->line);
    str_append_bytes(&run->line, str_text(json), json->size);
    str_append_char(&run->line, '\n');
    return append(run, "samples.jsonl", run->samples, &run->line, &run->samples_size, err);
}

bool run_sync(Run *run, Error *err) {
    if (fsync(run->metrics) != 0 || fsync(run->samples) != 0) {
        return error_errno(err, "cannot sync the metrics in", run->folder);
    }
    return true;
}

static bool copy_file(const char *from, const char *to, Error *err) {
    FileMap map;
    if (!file_map(&map, from, err)) {
        return false;
    }
    FileWriter writer = {0};
    bool ok = file_writer_open(&writer, to, err);
    for (size_t at = 0; ok && at < map.size; at += FILE_PIECE) {
        size_t n = map.size - at < FILE_PIECE ? map.size - at : FILE_PIECE;
        ok = file_writer_put(&writer, map.data + at, n, err);
        file_map_release(&map, at, n);
    }
    ok = ok && file_writer_commit(&writer, NULL, err);
    file_writer_abort(&writer);
    file_unmap(&map);
    return ok;
}

static bool copy_folder(const char *from, const char *to, int depth, Error *err) {
    enum { DEEPEST = 8 };
    char **name;
    size_t count;
    if (depth > DEEPEST) {
        return error_set(err, ERROR_DATA, "%s is nested too deeply", from);
    }
    if (!file_make_folders(to, err) || !file_list(from, &name, &count, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        char *source = ok ? file_join(from, name[i], err) : NULL;
        char *target = source == NULL ? NULL : file_join(to, name[i], err);
        ok = target != NULL && (file_is_folder(source) ? copy_folder(source, target, depth + 1, err)
                                                       : copy_file(source, target, err));
        free(source);
        free(target);
        free(name[i]);
    }
    free(name);
    return ok && file_sync_folder(to, err);
}

bool run_publish(Run *run, const char *from_folder, const char *name, Error *err) {
    char *target = file_join(run->folder, name, err);
    if (target == NULL) {
        return false;
    }
    Str temporary = {0};
    str_appendf(&temporary, "%s.tmp-%ld", target, (long)getpid());
    bool ok = str_ok(&temporary, err) && file_remove_tree(str_text(&temporary), err) &&
              copy_folder(from_folder, str_text(&temporary), 0, err) &&
              file_remove_tree(target, err) && file_rename(str_text(&temporary), target, err);
    if (!ok && !temporary.failed) {
        file_remove_tree(str_text(&temporary), NULL);
    }
    str_done(&temporary);
    free(target);
    return ok;
}

bool run_finish(Run *run, const Str *report, Error *err) {
    char *path = str_ok(report, err) ? file_join(run->folder, "report.md", err) : NULL;
    bool ok = path != NULL && file_write(path, str_text(report), report->size, err);
    free(path);
    return ok;
}
