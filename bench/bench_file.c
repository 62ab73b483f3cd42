/* SPDX-License-Identifier: MIT
 *
 * Checkpoints of weights: saving (written, hashed, flushed to the disk, read back) and loading (hashed,
 * checked for numbers that are none), beside plain writing with one flush and plain reading of as many
 * bytes. Files lie in the current folder, or in the one that RLHF_BENCH_FOLDER names.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/model/family.h"
#include "common/model/model.h"
#include "common/train/checkpoint.h"

typedef struct Work {
    Model model;
    char run[200], plain[240];
    char *bytes;
    size_t count;
} Work;

static void check(bool ok, const Error *err) {
    if (!ok) {
        bench_fail(err);
    }
}

static void save(void *context) {
    Work *work = context;
    CheckpointWriter writer;
    Error err = {0};
    check(checkpoint_begin(&writer, work->run, 1, work->count, &err) &&
              model_save(&work->model, writer.folder, &err) && checkpoint_commit(&writer, &err),
          &err);
}

static void load(void *context) {
    Work *work = context;
    Model model = {0};
    Error err = {0};
    char *folder = checkpoint_folder(work->run, 1, &err);
    check(folder != NULL && checkpoint_verify(folder, &err) &&
              model_load(&model, folder, -1, 0, NULL, &err),
          &err);
    model_done(&model);
    free(folder);
}

static void fail_plain(const char *what, const char *path) {
    Error err = {0};
    error_errno(&err, what, path);
    bench_fail(&err);
}

static void write_plain(void *context) {
    Work *work = context;
    int file = open(work->plain, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    size_t done = 0;
    while (file >= 0 && done < work->count) {
        ssize_t n = write(file, work->bytes + done, work->count - done);
        if (n <= 0) {
            fail_plain("write", work->plain);
        }
        done += (size_t)n;
    }
    if (file < 0 || fsync(file) != 0 || close(file) != 0) {
        fail_plain("write", work->plain);
    }
}

static void read_plain(void *context) {
    Work *work = context;
    int file = open(work->plain, O_RDONLY);
    size_t done = 0;
    while (file >= 0 && done < work->count) {
        ssize_t n = read(file, work->bytes + done, work->count - done);
        if (n <= 0) {
            fail_plain("read", work->plain);
        }
        done += (size_t)n;
    }
    if (file < 0 || close(file) != 0) {
        fail_plain("read", work->plain);
    }
}

static void prepare(Work *work, const char *shape) {
    bool large = shape[0] == '1';
    ModelConfig config = {.family = &family_gpt2,
                          .layers = large ? 12 : 6,
                          .heads = large ? 12 : 6,
                          .width = large ? 768 : 384,
                          .inner = large ? 3072 : 1536,
                          .vocabulary = large ? 50257 : 4096,
                          .context = 1024,
                          .norm_epsilon = 1e-5f,
                          .tied = true,
                          .eos = -1,
                          .bos = -1,
                          .pad = -1};
    Error err = {0};
    check(model_create(&work->model, &config, &err), &err);
    model_initialize(&work->model, 1);
    work->count = work->model.count * sizeof(float);
    work->bytes = mem_alloc_aligned(work->count, 1, &err);
    check(work->bytes != NULL, &err);
    const char *folder = getenv("RLHF_BENCH_FOLDER");
    int n = snprintf(work->run, sizeof work->run, "%s/bench_file.XXXXXX",
                     folder != NULL ? folder : ".");
    if (n >= (int)sizeof work->run || mkdtemp(work->run) == NULL) {
        fail_plain("make", work->run);
    }
    snprintf(work->plain, sizeof work->plain, "%s/plain", work->run);
    save(work);
    write_plain(work);
}

static void measure(const char *shape, bool full) {
    static const struct {
        const char *what;
        void (*body)(void *);
    } kind[] = {
        {"save checkpoint",         save       },
        {"write and flush plainly", write_plain},
        {"load checkpoint",         load       },
        {"read plainly",            read_plain }
    };
    Work work = {0};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        char name[64];
        snprintf(name, sizeof name, "file %s %s", shape, kind[i].what);
        if (!bench_wants(name, full)) {
            continue;
        }
        if (work.bytes == NULL) {
            prepare(&work, shape);
        }
        bench_measure(&(BenchRow){.name = name, .unit = "bytes", .work = (double)work.count},
                      kind[i].body, &work);
    }
    if (work.bytes != NULL) {
        Error err = {0};
        check(file_remove_tree(work.run, &err), &err);
        model_done(&work.model);
        free(work.bytes);
    }
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_file");
    measure("small", false);
    measure("124M", true);
    return bench_end();
}
