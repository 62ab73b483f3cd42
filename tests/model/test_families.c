/* SPDX-License-Identifier: MIT
 *
 * The model families against transformers: a small random model each (tests/fixtures/families, whose
 * mint.py says what its files hold), with log-probs, entropies, scores, all gradients, greedy
 * continuations, and the ways a model and its configuration lie in files.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/generate.h"
#include "tests/model/oracle.h"

enum { CONTINUED = 64, PROMPTS = 2 };

static const Case cases[] = {
    {"gpt2",                  -1,          0, GREEDY   },
    {"gpt1",                  -1,          0, GREEDY   },
    {"opt",                   -1,          0, GREEDY   },
    {"gpt-neo",               -1,          0, GREEDY   },
    {"gpt-neox",              -1,          0, GREEDY   },
    {"gpt-neox-sequential",   -1,          0, GREEDY   },
    {"llama",                 -1,          0, GREEDY   },
    {"llama-grouped",         -1,          0, GREEDY   },
    {"llama-bias",            -1,          0, GREEDY   },
    {"llama-linear",          -1,          0, GREEDY   },
    {"llama3",                -1,          0, GREEDY   },
    {"llama-tied",            -1,          0, GREEDY   },
    {"llama-head-size",       -1,          0, GREEDY   },
    {"mistral",               -1,          0, GREEDY   },
    {"qwen2",                 -1,          0, GREEDY   },
    {"qwen2-window",          -1,          0, GREEDY   },
    {"qwen3",                 -1,          0, GREEDY   },
    {"gemma3",                -1,          0, GREEDY   },
    {"gpt2-score",            -1,          0, 0        },
    {"gpt1-score",            -1,          0, 0        },
    {"opt-score",             -1,          0, 0        },
    {"gpt-neo-score",         -1,          0, 0        },
    {"gpt-neox-score",        -1,          0, 0        },
    {"llama-score",           -1,          0, 0        },
    {"mistral-score",         -1,          0, 0        },
    {"qwen2-score",           -1,          0, 0        },
    {"qwen3-score",           -1,          0, 0        },
    {"gemma3-tied",           -1,          0, 0        },
    {"gemma3-score",          -1,          0, 0        },
    {"llama-sharded",         -1,          0, 0        },
    {"llama-f16",             -1,          0, 0        },
    {"llama-bf16",            -1,          0, 0        },
    {"gpt2-trl",              HEAD_LM,     0, FOREIGN  },
    {"gpt2-trl",              HEAD_SCORES, 1, FOREIGN  },
    {"llama-trl",             HEAD_LM,     0, FOREIGN  },
    {"llama-trl",             HEAD_SCORES, 1, FOREIGN  },
    {"llama-openrlhf",        HEAD_SCORES, 1, FOREIGN  },
    {"llama-openrlhf-prefix", HEAD_SCORES, 1, FOREIGN  },
    {"gpt2-deepspeed",        HEAD_SCORES, 1, FOREIGN  },
    {"llama-deepspeed",       HEAD_SCORES, 1, FOREIGN  },
    {"bert-masked",           -1,          0, 0        },
    {"bert-classes",          -1,          0, SENTENCES},
    {"bert-pretraining",      -1,          0, SENTENCES},
    {"distilbert-masked",     -1,          0, 0        },
    {"distilbert-classes",    -1,          0, SENTENCES},
    {"roberta-masked",        -1,          0, 0        },
    {"roberta-classes",       -1,          0, SENTENCES},
};

/* The coefficients of the loss, where the oracle's rows are. */
static void read_slopes(Oracle *oracle, const Case *c, const Batch *batch, Values *slopes) {
    const char *name[] = {"dlogprob", "dentropy", "dscore"};
    float *to[] = {slopes->logprob, slopes->entropy, slopes->score};
    for (size_t i = 0; i < 3; i++) {
        size_t n;
        const float *from = oracle_floats(oracle, name[i], &n);
        if (from != NULL && i == 2 && (c->flags & SENTENCES) != 0) {
            for (size_t s = 0; s < batch->sequences; s++) {
                memcpy(to[i] + batch->start[s] * slopes->labels, from + s * slopes->labels,
                       slopes->labels * sizeof(float));
            }
        } else if (from != NULL) {
            memcpy(to[i], from, n * sizeof(float));
        }
    }
}

/* Gradients in the names and order of a file: written as if they were the weights. */
static const char *save_gradients(const Model *model, const Gradients *gradients) {
    Error err = {0};
    Model as_weights;
    const char *folder = test_folder();
    assert_ok(model_copy(&as_weights, model, &err), &err);
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        memcpy(as_weights.data + p->offset, gradients->data + p->gradient,
               p->count * sizeof(float));
    }
    model_touch(&as_weights);
    assert_ok(model_save(&as_weights, folder, &err), &err);
    model_done(&as_weights);
    return folder;
}

static void compare_gradients(Oracle *oracle, const char *folder) {
    Error err = {0};
    SafeTensors ours;
    assert_ok(safetensors_open(&ours, test_path(folder, "model.safetensors"), &err), &err);
    const size_t prefix = strlen("gradient.");
    size_t compared = 0;
    float *got = NULL, *want = NULL, largest = 0;
    for (int round = 0; round < 2; round++) { /* first the largest of all */
        for (size_t i = 0; i < oracle->file.tensors; i++) {
            const Tensor *tensor = &oracle->file.tensor[i];
            if (strncmp(tensor->name, "gradient.", prefix) != 0) {
                continue;
            }
            const char *name = tensor->name + prefix;
            const Tensor *other = safetensors_find(&ours, name);
            if (other == NULL) {
                fail_msg("no tensor %s was written", name);
            }
            assert_int_equal(other->rank, tensor->rank);
            assert_memory_equal(other->shape, tensor->shape, (size_t)other->rank * sizeof(size_t));
            got = realloc(got, tensor->bytes), want = realloc(want, tensor->bytes);
            assert_true(got != NULL && want != NULL);
            assert_ok(safetensors_read_floats(&ours, other, got, tensor->count, false, &err), &err);
            assert_ok(
                safetensors_read_floats(&oracle->file, tensor, want, tensor->count, false, &err),
                &err);
            if (round == 0) {
                for (size_t k = 0; k < tensor->count; k++) {
                    largest = fmaxf(largest, fabsf(want[k]));
                }
            } else {
                /* What is zero but for rounding has no size of its own. */
                assert_close(name, got, want, tensor->count, 1e-4, 1e-6 * (double)largest);
                compared++;
            }
        }
    }
    assert_int_equal(compared, ours.tensors);
    free(got);
    free(want);
    safetensors_close(&ours);
}

static void test_pass(void **state) {
    const Case *c = *state;
    Error err = {0};
    Oracle oracle;
    Model model;
    Batch batch;
    Values values, slopes;
    oracle_open(&oracle, c);
    case_load(&model, c, case_folder(c));
    case_batch(&batch, &oracle);
    values_init(&values, &model, batch.tokens);
    values_init(&slopes, &model, batch.tokens);
    Workspace *workspace = case_workspace(&model, &batch, true);
    PerToken out = values_per_token(&values, &model), d = values_per_token(&slopes, &model);
    model_forward(&model, workspace, &batch, &out);
    if ((c->flags & FOREIGN) == 0) {
        Gradients gradients = {0};
        assert_ok(gradients_init(&gradients, &model, &err), &err);
        read_slopes(&oracle, c, &batch, &slopes);
        model_backward(&model, &gradients, workspace, &batch, &d);
        compare_gradients(&oracle, save_gradients(&model, &gradients));
        gradients_done(&gradients);
    }
    values_keep_scores(&values, c, &model, &batch);
    values_compare(&oracle, &model, &values);
    workspace_free(workspace);
    values_done(&slopes);
    values_done(&values);
    batch_done(&batch);
    model_done(&model);
    oracle_close(&oracle);
}

/* Log-probs of a continuation by the pass over the whole sequence. */
static void full_pass(const Model *model, const Prompt *prompt, const Completion *completion,
                      Values *values) {
    Error err = {0};
    Batch batch;
    size_t n = prompt->count, rows = n + completion->count - 1;
    int32_t id[256], target[256];
    assert_true(rows < 256);
    memcpy(id, prompt->id, n * sizeof *id);
    memcpy(id + n, completion->id, completion->count * sizeof *id);
    for (size_t t = 0; t < rows; t++) {
        target[t] = t + 1 >= n ? id[t + 1] : BATCH_NO_TARGET;
    }
    assert_ok(batch_init(&batch, rows, 1, &err), &err);
    assert_ok(batch_add(&batch, id, target, rows, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    values_init(values, model, rows);
    Workspace *workspace = case_workspace(model, &batch, false);
    model_forward(model, workspace, &batch,
                  &(PerToken){.logprob = values->logprob, .entropy = values->entropy});
    workspace_free(workspace);
    batch_done(&batch);
}

static void test_greedy(void **state) {
    const Case *c = *state;
    Error err = {0};
    Oracle oracle;
    Model model;
    oracle_open(&oracle, c);
    case_load(&model, c, case_folder(c));
    model.config.eos = -1; /* the oracle goes on */
    Prompt prompt[PROMPTS];
    for (size_t k = 0; k < PROMPTS; k++) {
        char name[32];
        snprintf(name, sizeof name, "prompt.%zu", k);
        prompt[k].id = oracle_ids(&oracle, name, &prompt[k].count);
        prompt[k].record = k;
        assert_non_null(prompt[k].id);
    }
    GeneratorPlan plan = {.rows = PROMPTS,
                          .context = model.config.context,
                          .completions = PROMPTS,
                          .tokens = CONTINUED,
                          .packed = true};
    Sampling sampling = {.greedy = true,
                         .temperature = 1,
                         .top_p = 1,
                         .repetition_penalty = 1,
                         .max_tokens = CONTINUED,
                         .purpose = RANDOM_SAMPLE};
    Generator *generator = generator_create(&model.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    const Completion *completion =
        generate(generator, &model, prompt, PROMPTS, 1, &sampling, NULL, &err);
    assert_ok(completion != NULL, &err);
    for (size_t k = 0; k < PROMPTS; k++) {
        char name[32];
        size_t n;
        snprintf(name, sizeof name, "greedy.%zu", k);
        const int32_t *want = oracle_ids(&oracle, name, &n);
        assert_int_equal(n, CONTINUED);
        assert_int_equal(completion[k].count, n);
        assert_memory_equal(completion[k].id, want, n * sizeof *want);
        snprintf(name, sizeof name, "greedy_logprob.%zu", k);
        assert_close(name, completion[k].logprob, oracle_floats(&oracle, name, &n), CONTINUED, 0,
                     1e-4);
        Values full;
        size_t before = prompt[k].count - 1;
        full_pass(&model, &prompt[k], &completion[k], &full);
        assert_close("cached log-probs", completion[k].logprob, full.logprob + before, CONTINUED, 0,
                     1e-4);
        assert_close("cached entropies", completion[k].entropy, full.entropy + before, CONTINUED, 0,
                     1e-4);
        values_done(&full);
    }
    generator_free(generator);
    model_done(&model);
    oracle_close(&oracle);
}

static void copy_file(const char *from, const char *name, const char *to, const char *as) {
    Error err = {0};
    Str text = {0};
    assert_ok(file_read(test_path(from, name), 1 << 20, &text, &err), &err);
    test_file(to, as, text.data, text.size);
    str_done(&text);
}

/* A copy of the case's folder with one of its configurations. */
static const char *copy_case(const Case *c, const char *config) {
    Error err = {0};
    const char *from = case_folder(c), *to = test_folder();
    char **name;
    size_t count;
    assert_ok(file_list(from, &name, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(name[i], "config", strlen("config")) != 0) {
            copy_file(from, name[i], to, name[i]);
        }
        free(name[i]);
    }
    free(name);
    copy_file(from, config, to, "config.json");
    return to;
}

static bool is_weights(const char *name) {
    size_t n = strlen(name), ending = strlen(".safetensors");
    return strncmp(name, "model", strlen("model")) == 0 && n > ending &&
           strcmp(name + n - ending, ".safetensors") == 0;
}

/* Every tensor of the folder's files is in the file written, with the same values. */
static void compare_tensors(const char *folder, const char *written) {
    Error err = {0};
    SafeTensors ours;
    char **name;
    size_t count, compared = 0;
    assert_ok(safetensors_open(&ours, test_path(written, "model.safetensors"), &err), &err);
    assert_ok(file_list(folder, &name, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        SafeTensors theirs = {0};
        if (is_weights(name[i])) {
            assert_ok(safetensors_open(&theirs, test_path(folder, name[i]), &err), &err);
        }
        for (size_t k = 0; k < theirs.tensors; k++) {
            const Tensor *a = &theirs.tensor[k], *b = safetensors_find(&ours, a->name);
            if (b == NULL) {
                fail_msg("no tensor %s was written", a->name);
            }
            assert_int_equal(a->rank, b->rank);
            assert_memory_equal(a->shape, b->shape, (size_t)a->rank * sizeof(size_t));
            float *x = calloc(2 * a->count, sizeof *x), *y = x + a->count;
            assert_non_null(x);
            assert_ok(safetensors_read_floats(&theirs, a, x, a->count, false, &err), &err);
            assert_ok(safetensors_read_floats(&ours, b, y, a->count, false, &err), &err);
            assert_memory_equal(x, y, a->count * sizeof *x);
            free(x);
            compared++;
        }
        safetensors_close(&theirs);
        free(name[i]);
    }
    free(name);
    assert_int_equal(compared, ours.tensors);
    safetensors_close(&ours);
}

/* Keys come out as they went in, also those that nobody knows; weights are written as F32. */
static void compare_config(const char *folder, const char *written) {
    Error err = {0};
    cJSON *before = json_read_file(test_path(folder, "config.json"), &json_limits_config, &err);
    assert_ok(before != NULL, &err);
    cJSON *after = json_read_file(test_path(written, "config.json"), &json_limits_config, &err);
    assert_ok(after != NULL, &err);
    for (const cJSON *item = before->child; item != NULL; item = item->next) {
        bool type = strcmp(item->string, "dtype") == 0 || strcmp(item->string, "torch_dtype") == 0;
        const cJSON *other = json_member(after, item->string);
        if (other == NULL || (!type && !cJSON_Compare(item, other, true))) {
            fail_msg("%s changed or is lost", item->string);
        }
        if (type) {
            assert_string_equal(json_string(other), "float32");
        }
    }
    cJSON_Delete(before);
    cJSON_Delete(after);
}

static void add_unknown_key(const char *folder) {
    Error err = {0};
    Str text = {0};
    const char *path = test_path(folder, "config.json");
    cJSON *json = json_read_file(path, &json_limits_config, &err);
    assert_ok(json != NULL, &err);
    cJSON *own = cJSON_AddObjectToObject(json, "of_somebody_else");
    assert_non_null(cJSON_AddNumberToObject(own, "half", 0.5));
    json_put_tree(&text, json, true);
    assert_ok(file_write(path, text.data, text.size, &err), &err);
    str_done(&text);
    cJSON_Delete(json);
}

/* Each spelling of the configuration means the same, and what is written is what was read. */
static void test_files(void **state) {
    const Case *c = *state;
    const char *config[] = {"config.json", "config-5.json", "config-old.json"};
    Error err = {0};
    Oracle oracle;
    Batch batch;
    Model model;
    oracle_open(&oracle, c);
    case_batch(&batch, &oracle);
    case_load(&model, c, case_folder(c));
    for (size_t i = 0; i < 3; i++) {
        if (!file_exists(test_path(case_folder(c), config[i]))) {
            continue;
        }
        const char *folder = copy_case(c, config[i]), *written = test_folder();
        Model first, second;
        add_unknown_key(folder);
        case_load(&first, c, folder);
        assert_int_equal(first.count, model.count);
        assert_memory_equal(first.data, model.data, model.count * sizeof(float));
        assert_ok(model_save(&first, written, &err), &err);
        compare_config(folder, written);
        compare_tensors(folder, written);
        case_load(&second, c, written);
        assert_memory_equal(second.data, model.data, model.count * sizeof(float));
        Values values;
        values_init(&values, &second, batch.tokens);
        Workspace *workspace = case_workspace(&second, &batch, false);
        PerToken out = values_per_token(&values, &second);
        model_forward(&second, workspace, &batch, &out);
        values_keep_scores(&values, c, &second, &batch);
        values_compare(&oracle, &second, &values);
        workspace_free(workspace);
        values_done(&values);
        model_done(&first);
        model_done(&second);
    }
    model_done(&model);
    batch_done(&batch);
    oracle_close(&oracle);
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    enum { CASES = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[3 * CASES];
    static char names[3 * CASES][64];
    size_t n = 0;
    for (size_t i = 0; i < CASES; i++) {
        const struct {
            const char *name;
            CMUnitTestFunction function;
            bool wanted;
        } part[] = {
            {"pass",   test_pass,   true                           },
            {"greedy", test_greedy, (cases[i].flags & GREEDY) != 0 },
            {"files",  test_files,  (cases[i].flags & FOREIGN) == 0},
        };
        for (size_t k = 0; k < 3; k++) {
            if (part[k].wanted) {
                snprintf(names[n], sizeof names[n], "%s: %s", cases[i].folder, part[k].name);
                tests[n] = (struct CMUnitTest){.name = names[n],
                                               .test_func = part[k].function,
                                               .initial_state = (void *)(uintptr_t)&cases[i]};
                n++;
            }
        }
    }
    return _cmocka_run_group_tests("families", tests, n, set_up, NULL) == 0 ? 0 : 1;
}
