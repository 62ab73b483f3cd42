/* SPDX-License-Identifier: MIT
 *
 * probe FOLDER HEAD WORK: what the program makes of a model folder, for live_families.py. HEAD is
 * config, lm, scores or both. WORK/input.json holds
 *   starts, ids, targets          sequences one after the other; target -1: none
 *   types                         segments of an encoder, or absent
 *   dlogprob, dentropy, dscore    coefficients of the loss whose gradients are wanted; or absent
 *   prompts, tokens               lists of ids, and how many to continue each with; or absent
 * It writes WORK/saved (the model), WORK/shards (the same in BF16, in shards), WORK/gradients (gradients in
 * place of the weights) and prints {"logprob", "entropy", "score", "greedy"}, the bias of a reward in its
 * score.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/generate.h"
#include "common/model/model.h"

enum { SHARD_BYTES = 1 << 16 };

typedef struct Numbers {
    double *value;
    size_t count;
} Numbers;

static Numbers numbers(const cJSON *list) {
    Numbers out = {0};
    size_t n = list != NULL ? (size_t)cJSON_GetArraySize(list) : 0;
    out.value = calloc(n + 1, sizeof *out.value);
    CHECK(out.value != NULL);
    const cJSON *item = list != NULL ? list->child : NULL;
    for (; item != NULL; item = item->next) {
        out.value[out.count++] = item->valuedouble;
    }
    return out;
}

static int32_t *ids_of(const cJSON *list, size_t *count) {
    Numbers n = numbers(list);
    int32_t *id = calloc(n.count + 1, sizeof *id);
    CHECK(id != NULL);
    for (size_t i = 0; i < n.count; i++) {
        id[i] = (int32_t)n.value[i];
    }
    free(n.value);
    *count = n.count;
    return id;
}

static float *floats_of(const cJSON *list, size_t count) {
    Numbers n = numbers(list);
    float *out = calloc(count + 1, sizeof *out);
    CHECK(out != NULL && n.count <= count);
    for (size_t i = 0; i < n.count; i++) {
        out[i] = (float)n.value[i];
    }
    free(n.value);
    return out;
}

static void print_floats(const char *name, const float *value, size_t n, float bias) {
    printf("\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        printf("%s%.9g", i > 0 ? "," : "", (double)(value[i] + bias));
    }
    printf("],\n");
}

static bool read_batch(Batch *batch, const cJSON *input, Error *err) {
    size_t n, starts, targets, types;
    int32_t *id = ids_of(json_member(input, "ids"), &n);
    int32_t *target = ids_of(json_member(input, "targets"), &targets);
    int32_t *start = ids_of(json_member(input, "starts"), &starts);
    int32_t *type = ids_of(json_member(input, "types"), &types);
    CHECK(starts >= 2 && targets == n && (types == n || types == 0));
    bool ok = batch_init(batch, n, starts - 1, err);
    for (size_t s = 0; ok && s + 1 < starts; s++) {
        size_t length = (size_t)(start[s + 1] - start[s]), first = 0;
        ok = batch_add(batch, id + start[s], target + start[s], length, BATCH_NO_PREFIX, s, NULL,
                       err);
        while (first < length && (types == 0 || type[(size_t)start[s] + first] == 0)) {
            first++;
        }
        if (ok) {
            batch_set_segments(batch, s, first);
        }
    }
    free(type);
    free(id);
    free(target);
    free(start);
    return ok;
}

static bool save(const Model *model, const char *work, const char *name, TensorType type,
                 size_t shard_bytes, Error *err) {
    char *folder = file_join(work, name, err);
    bool ok = folder != NULL && file_make_folders(folder, err) &&
              model_save_as(model, folder, type, shard_bytes, err);
    free(folder);
    return ok;
}

static bool save_gradients(const Model *model, const Gradients *gradients, const char *work,
                           Error *err) {
    Model copy;
    if (!model_copy(&copy, model, err)) {
        return false;
    }
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        memcpy(copy.data + p->offset, gradients->data + p->gradient, p->count * sizeof(float));
    }
    model_touch(&copy);
    bool ok = save(&copy, work, "gradients", TENSOR_F32, 0, err);
    model_done(&copy);
    return ok;
}

static bool pass(Model *model, const cJSON *input, const char *work, Error *err) {
    const ModelConfig *config = &model->config;
    bool lm = config->head != HEAD_SCORES, scores = config->head != HEAD_LM;
    Batch batch = {0};
    Gradients gradients = {0};
    if (!read_batch(&batch, input, err)) {
        return false;
    }
    size_t n = batch.tokens, all = n * config->labels;
    float *logprob = floats_of(NULL, n), *entropy = floats_of(NULL, n),
          *score = floats_of(NULL, all);
    float *dlogprob = floats_of(json_member(input, "dlogprob"), n);
    float *dentropy = floats_of(json_member(input, "dentropy"), n);
    float *dscore = floats_of(json_member(input, "dscore"), all);
    WorkspacePlan plan = {.tokens = n, .sequences = batch.sequences, .training = true};
    Workspace *workspace = workspace_create(config, &plan, err);
    bool ok = workspace != NULL && gradients_init(&gradients, model, err);
    if (ok) {
        PerToken out = {lm ? logprob : NULL, lm ? entropy : NULL, scores ? score : NULL, NULL};
        PerToken d = {lm ? dlogprob : NULL, lm ? dentropy : NULL, scores ? dscore : NULL, NULL};
        model_forward(model, workspace, &batch, &out);
        model_backward(model, &gradients, workspace, &batch, &d);
        print_floats("logprob", logprob, lm ? n : 0, 0);
        print_floats("entropy", entropy, lm ? n : 0, 0);
        print_floats("score", score, all, config->reward_bias);
        ok = save_gradients(model, &gradients, work, err);
    }
    workspace_free(workspace);
    gradients_done(&gradients);
    batch_done(&batch);
    free(logprob), free(entropy), free(score);
    free(dlogprob), free(dentropy), free(dscore);
    return ok;
}

/* Greedy continuations, past any EOS. */
static bool greedy(Model *model, const cJSON *input, Error *err) {
    const cJSON *prompts = json_member(input, "prompts");
    const cJSON *list = prompts != NULL ? prompts->child : NULL;
    enum { MOST = 16 };
    Prompt prompt[MOST];
    size_t count = 0;
    int32_t *owned[MOST];
    for (; list != NULL; list = list->next, count++) {
        CHECK(count < MOST);
        owned[count] = ids_of(list, &prompt[count].count);
        prompt[count].id = owned[count];
        prompt[count].record = count;
    }
    const cJSON *tokens = json_member(input, "tokens");
    size_t most = tokens != NULL ? (size_t)tokens->valuedouble : 1;
    GeneratorPlan plan = {.rows = 4,
                          .context = model->config.context,
                          .completions = count,
                          .tokens = most,
                          .packed = true};
    Sampling sampling = {.greedy = true,
                         .temperature = 1,
                         .top_p = 1,
                         .repetition_penalty = 1,
                         .max_tokens = most,
                         .purpose = RANDOM_SAMPLE};
    model->config.eos = -1;
    printf("\"greedy\":[");
    Generator *generator = count > 0 ? generator_create(&model->config, &plan, err) : NULL;
    const Completion *completion =
        generator != NULL ? generate(generator, model, prompt, count, 1, &sampling, NULL, err)
                          : NULL;
    for (size_t k = 0; completion != NULL && k < count; k++) {
        for (size_t i = 0; i < completion[k].count; i++) {
            printf("%s%d", i > 0 ? "," : k > 0 ? ",[" : "[", (int)completion[k].id[i]);
        }
        printf("]");
    }
    printf("]\n");
    generator_free(generator);
    for (size_t k = 0; k < count; k++) {
        free(owned[k]);
    }
    return count == 0 || completion != NULL;
}

static bool probe(char **argv, Error *err) {
    const char *kind = argv[2], *work = argv[3];
    int head = strcmp(kind, "lm") == 0       ? (int)HEAD_LM
               : strcmp(kind, "scores") == 0 ? (int)HEAD_SCORES
               : strcmp(kind, "both") == 0   ? (int)HEAD_BOTH
                                             : -1;
    char *path = file_join(work, "input.json", err);
    cJSON *input = path != NULL ? json_read_file(path, &json_limits_document, err) : NULL;
    free(path);
    Model model;
    if (input == NULL ||
        !model_load(&model, argv[1], head, head == (int)HEAD_LM ? 0 : head > 0, NULL, err)) {
        cJSON_Delete(input);
        return false;
    }
    printf("{\n");
    bool ok = save(&model, work, "saved", TENSOR_F32, 0, err) &&
              save(&model, work, "shards", TENSOR_BF16, SHARD_BYTES, err) &&
              pass(&model, input, work, err) && greedy(&model, input, err);
    printf("}\n");
    model_done(&model);
    cJSON_Delete(input);
    return ok;
}

int main(int argc, char **argv) {
    Error err = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: probe FOLDER config|lm|scores|both WORK\n");
        return ERROR_USAGE;
    }
    parallel_init(2);
    if (!probe(argv, &err)) {
        error_print(&err, "probe", stderr);
        return (int)err.code;
    }
    return 0;
}
