/* SPDX-License-Identifier: MIT
 *
 * roundtrip FROM HEAD TO ID...: reads a model folder with the given head (lm, scores, both; scores
 * may have a number of labels behind it, as in scores3), gives a fresh score head random weights
 * and a bias, writes the folder TO, and prints what the pass computes for the ids: log-probs of the
 * next id and, with a score head, the scores at every id, bias included. For roundtrip.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/parallel.h"
#include "common/model/model.h"

enum { LONGEST = 256, MOST_LABELS = 16 };

static bool compute(const Model *model, const int32_t *id, size_t n, Error *err) {
    static float logprob[LONGEST], score[LONGEST * MOST_LABELS];
    const ModelConfig *config = &model->config;
    int32_t target[LONGEST];
    Batch batch = {0};
    WorkspacePlan plan = {n, 1, false};
    Workspace *workspace = workspace_create(config, &plan, err);
    for (size_t t = 0; t < n; t++) {
        target[t] = t + 1 < n ? id[t + 1] : BATCH_NO_TARGET;
    }
    bool ok = workspace != NULL && batch_init(&batch, n, 1, err) &&
              batch_add(&batch, id, target, n, BATCH_NO_PREFIX, 0, NULL, err);
    if (ok) {
        PerToken out = {.logprob = config->head != HEAD_SCORES ? logprob : NULL,
                        .score = config->head != HEAD_LM ? score : NULL};
        model_forward(model, workspace, &batch, &out);
    }
    printf("{\"logprob\":[");
    for (size_t t = 0; ok && config->head != HEAD_SCORES && t + 1 < n; t++) {
        printf("%s%.9g", t > 0 ? "," : "", (double)logprob[t]);
    }
    printf("],\"score\":[");
    for (size_t k = 0; ok && config->head != HEAD_LM && k < n * config->labels; k++) {
        printf("%s%.9g", k > 0 ? "," : "", (double)score[k] + (double)config->reward_bias);
    }
    printf("]}\n");
    batch_done(&batch);
    workspace_free(workspace);
    return ok;
}

static bool convert(int argc, char **argv, Error *err) {
    if (argc < 5 || argc > LONGEST) {
        return error_set(err, ERROR_USAGE, "usage: roundtrip FROM lm|scores[N]|both TO ID...");
    }
    const char *kind = argv[2];
    int head = strcmp(kind, "lm") == 0     ? HEAD_LM
               : strcmp(kind, "both") == 0 ? HEAD_BOTH
                                           : HEAD_SCORES;
    size_t labels = head == HEAD_SCORES ? strtoul(kind + strlen("scores"), NULL, 10) : 0;
    int32_t id[LONGEST];
    bool fresh;
    Model model;
    for (int i = 4; i < argc; i++) {
        id[i - 4] = (int32_t)strtol(argv[i], NULL, 10);
    }
    if (!model_load(&model, argv[1], head, labels, &fresh, err)) {
        return false;
    }
    CHECK(model.config.labels <= MOST_LABELS);
    if (fresh) {
        model_initialize_scores(&model, 7, false);
        model.config.reward_bias = model.config.labels == 1 && head == HEAD_SCORES ? 0.625f : 0.0f;
    }
    bool ok = file_make_folders(argv[3], err) && model_save(&model, argv[3], err) &&
              compute(&model, id, (size_t)argc - 4, err);
    model_done(&model);
    return ok;
}

int main(int argc, char **argv) {
    Error err = {0};
    parallel_init(2);
    if (!convert(argc, argv, &err)) {
        error_print(&err, "roundtrip", stderr);
        return (int)err.code;
    }
    return 0;
}
