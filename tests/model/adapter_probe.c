/* SPDX-License-Identifier: MIT
 *
 * adapter_probe FOLDER SAVED ID...: reads an adapter's folder, writes it again to SAVED (which exists) and
 * prints what the model says of the ids: the log-probability of each but the first, or for a classifier
 * the scores at every id. For peft_live.py.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/parallel.h"
#include "common/model/model.h"

enum { MOST = 512 };

static bool probe(int argc, char **argv, Error *err) {
    static int32_t id[MOST], target[MOST];
    static float value[MOST * 64];
    size_t n = (size_t)argc - 3;
    Model model;
    Batch batch;
    for (size_t t = 0; t < n; t++) {
        id[t] = (int32_t)strtol(argv[t + 3], NULL, 10);
        target[t] = BATCH_NO_TARGET;
    }
    for (size_t t = 0; t + 1 < n; t++) {
        target[t] = id[t + 1];
    }
    WorkspacePlan plan = {.tokens = n, .sequences = 1};
    if (!model_load(&model, argv[1], -1, 0, NULL, err) || !model_save(&model, argv[2], err) ||
        !batch_init(&batch, n, 1, err) ||
        !batch_add(&batch, id, target, n, BATCH_NO_PREFIX, 0, NULL, err)) {
        return false;
    }
    Workspace *workspace = workspace_create(&model.config, &plan, err);
    if (workspace == NULL) {
        return false;
    }
    bool scores = model.config.head == HEAD_SCORES;
    PerToken out = {.logprob = scores ? NULL : value, .score = scores ? value : NULL};
    CHECK(model.config.labels <= 64);
    model_forward(&model, workspace, &batch, &out);
    for (size_t i = 0; i < (scores ? n * model.config.labels : n - 1); i++) {
        printf("%.9g\n", (double)value[i]);
    }
    workspace_free(workspace);
    batch_done(&batch);
    model_done(&model);
    return true;
}

int main(int argc, char **argv) {
    Error err = {0};
    if (argc < 4 || argc > MOST + 3) {
        fprintf(stderr, "usage: adapter_probe FOLDER SAVED ID...\n");
        return 64;
    }
    parallel_init(1);
    if (!probe(argc, argv, &err)) {
        error_print(&err, "adapter_probe", stderr);
        return 1;
    }
    return 0;
}
