/* SPDX-License-Identifier: MIT
 *
 * Generation: against transformers' greedy continuations, against the teacher-forced pass (two code
 * paths that must agree), and its promises about order, rows, shared prompts and ends.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/generate.h"
#include "tests/model/tiny.h"
#include "tests/support/allocations.h"
#include "tests/support/support.h"

enum { CONTEXT = 40, EOS = 12, VOCABULARY = 61 };

/* The model in use: that of the fixture, or for a time one of each family. */
static Model model;

static const Sampling plain = {.temperature = 1,
                               .top_p = 1,
                               .repetition_penalty = 1,
                               .max_tokens = 24,
                               .purpose = RANDOM_SAMPLE};

typedef struct Prompts {
    int32_t id[64][CONTEXT];
    Prompt prompt[64];
    size_t count;
} Prompts;

/* Prompts of 1 to 29 ids, functions of the record. */
static void prompts_fill(Prompts *prompts, size_t count) {
    prompts->count = count;
    for (size_t p = 0; p < count; p++) {
        Random random = random_stream(5, RANDOM_TEST, p, 0);
        size_t n = 1 + random_below(&random, 0, 29);
        for (size_t i = 0; i < n; i++) {
            prompts->id[p][i] = (int32_t)random_below(&random, i + 1, VOCABULARY);
        }
        prompts->prompt[p] = (Prompt){prompts->id[p], n, 100 + p};
    }
}

/* A completion that outlives its generator. */
typedef struct Kept {
    int32_t id[CONTEXT];
    float logprob[CONTEXT], entropy[CONTEXT];
    size_t count, prompt, sample;
    Finish finish;
} Kept;

static GemmType type = GEMM_FP32, cache = GEMM_FP32, trainer = GEMM_FP32;
static bool packed = true;

static void run(const Prompts *prompts, size_t samples, const Sampling *sampling, size_t rows,
                StopCheck *stop, void *context, Kept *out) {
    Error err = {0};
    size_t all = prompts->count * samples;
    GeneratorPlan plan = {rows, CONTEXT, all, sampling->max_tokens, type, packed, cache};
    GenerateWatch watch = {.stop = stop, .context = context};
    Generator *generator = generator_create(&model.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    const Completion *completion = generate(generator, &model, prompts->prompt, prompts->count,
                                            samples, sampling, &watch, &err);
    assert_ok(completion != NULL, &err);
    for (size_t i = 0; i < all; i++) {
        const Completion *c = &completion[i];
        out[i] = (Kept){.count = c->count, .prompt = c->prompt, .sample = c->sample};
        out[i].finish = c->finish;
        memcpy(out[i].id, c->id, c->count * sizeof *c->id);
        memcpy(out[i].logprob, c->logprob, c->count * sizeof *c->logprob);
        memcpy(out[i].entropy, c->entropy, c->count * sizeof *c->entropy);
    }
    generator_free(generator);
}

static void assert_same(const Kept *a, const Kept *b) {
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->id, b->id, a->count * sizeof(int32_t));
    assert_memory_equal(a->logprob, b->logprob, a->count * sizeof(float));
    assert_memory_equal(a->entropy, b->entropy, a->count * sizeof(float));
    assert_int_equal(a->finish, b->finish);
}

static size_t read_ids(const cJSON *list, int32_t *out) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        out[n++] = item->valueint;
    }
    return n;
}

static void test_greedy(void **state) {
    (void)state;
    Error err = {0};
    Str path = {0};
    str_appendf(&path, "%s/generate/cases.json", test_fixtures());
    cJSON *json = json_read_file(str_text(&path), &json_limits_document, &err);
    assert_ok(json != NULL, &err);
    size_t cases = 0, ends = 0;
    for (const cJSON *c = json_member(json, "greedy")->child; c != NULL; c = c->next) {
        static Prompts prompts;
        int32_t ids[CONTEXT];
        float logprob[CONTEXT];
        Sampling sampling = plain;
        sampling.greedy = true;
        sampling.max_tokens = (size_t)json_member(c, "max_tokens")->valueint;
        sampling.min_tokens = (size_t)json_member(c, "min_tokens")->valueint;
        sampling.repetition_penalty = (float)json_member(c, "repetition_penalty")->valuedouble;
        prompts.count = 1;
        prompts.prompt[0] =
            (Prompt){prompts.id[0], read_ids(json_member(c, "prompt"), prompts.id[0]), 0};
        size_t n = read_ids(json_member(c, "ids"), ids), i = 0;
        for (const cJSON *item = json_member(c, "logprob")->child; item != NULL;
             item = item->next) {
            logprob[i++] = (float)item->valuedouble;
        }
        Kept out;
        run(&prompts, 1, &sampling, 4, NULL, NULL, &out);
        assert_int_equal(out.count, n);
        assert_memory_equal(out.id, ids, n * sizeof(int32_t));
        assert_close("logprob", out.logprob, logprob, n, 0, 2e-5);
        assert_int_equal(out.finish, ids[n - 1] == EOS ? FINISH_EOS : FINISH_LENGTH);
        ends += out.finish == FINISH_EOS;
        cases++;
    }
    assert_int_equal(cases, 18);
    assert_true(ends >= 4);
    cJSON_Delete(json);
    str_done(&path);
}

/* T03: log-probs of the decoder = log-probs of the training path over the same ids. */
static void teacher_forced(const Prompt *prompt, const Kept *completion, float temperature,
                           float *logprob, float *entropy) {
    Error err = {0};
    Batch batch;
    WorkspacePlan plan = {.tokens = 2 * CONTEXT, .sequences = 1, .type = trainer};
    Workspace *workspace = workspace_create(&model.config, &plan, &err);
    assert_ok(workspace != NULL, &err);
    assert_ok(batch_init(&batch, 2 * CONTEXT, 1, &err), &err);
    int32_t id[2 * CONTEXT], target[2 * CONTEXT];
    size_t n = prompt->count;
    memcpy(id, prompt->id, n * sizeof(int32_t));
    memcpy(id + n, completion->id, completion->count * sizeof(int32_t));
    size_t rows = n + completion->count - 1;
    for (size_t t = 0; t < rows; t++) {
        target[t] = t + 1 >= n ? id[t + 1] : BATCH_NO_TARGET;
    }
    assert_ok(batch_add(&batch, id, target, rows, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    float all[2 * CONTEXT], chaos[2 * CONTEXT];
    workspace_set_temperature(workspace, temperature);
    model_forward(&model, workspace, &batch, &(PerToken){.logprob = all, .entropy = chaos});
    memcpy(logprob, all + n - 1, completion->count * sizeof(float));
    memcpy(entropy, chaos + n - 1, completion->count * sizeof(float));
    batch_done(&batch);
    workspace_free(workspace);
}

static void check_teacher_forced(const Prompts *prompts, float temperature) {
    Sampling sampling = plain;
    sampling.seed = 3;
    sampling.temperature = temperature;
    Kept out[80];
    run(prompts, 2, &sampling, 7, NULL, NULL, out);
    for (size_t i = 0; i < 80; i++) {
        float want[CONTEXT], entropy[CONTEXT];
        assert_int_equal(out[i].prompt, i / 2);
        assert_int_equal(out[i].sample, i % 2);
        assert_true(prompts->prompt[i / 2].count + out[i].count <= CONTEXT);
        teacher_forced(&prompts->prompt[i / 2], &out[i], temperature, want, entropy);
        assert_close("decoder and trainer", out[i].logprob, want, out[i].count, 0, 1e-5);
        assert_close("entropy", out[i].entropy, entropy, out[i].count, 0, 1e-5);
    }
}

static void test_teacher_forced(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 40);
    check_teacher_forced(&prompts, 1);
    check_teacher_forced(&prompts, 0.7f);
}

/* With inputs of products and the cache rounded to BF16 the sampler stays near the FP32 trainer. */
static void test_bf16(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 40);
    Kept out[80];
    type = cache = GEMM_BF16;
    run(&prompts, 2, &plain, 7, NULL, NULL, out);
    type = cache = GEMM_FP32;
    double worst = 0;
    for (size_t i = 0; i < 80; i++) {
        float want[CONTEXT], entropy[CONTEXT];
        teacher_forced(&prompts.prompt[i / 2], &out[i], 1, want, entropy);
        assert_close("decoder and trainer", out[i].logprob, want, out[i].count, 0, 5e-2);
        assert_close("entropy", out[i].entropy, entropy, out[i].count, 0, 5e-2);
        for (size_t t = 0; t < out[i].count; t++) {
            worst = fmax(worst, fabs((double)out[i].logprob[t] - (double)want[t]));
        }
    }
    assert_true(worst > 1e-5); /* it is another arithmetic */
}

/* The same products on both sides, and a cache as training attention reads keys and values: what differs is
 * rounding of sums, and the few inputs of products that fall on the other side of BF16's halves by it. */
static void test_bf16_trainer(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 40);
    Kept out[80];
    double worst[2] = {0}, sum[2] = {0};
    type = trainer = GEMM_BF16;
    for (int kind = 0; kind < 2; kind++) {
        cache = kind == 0 ? GEMM_FP32 : GEMM_BF16;
        run(&prompts, 2, &plain, 7, NULL, NULL, out);
        for (size_t i = 0; i < 80; i++) {
            float want[CONTEXT], entropy[CONTEXT];
            teacher_forced(&prompts.prompt[i / 2], &out[i], 1, want, entropy);
            for (size_t t = 0; t < out[i].count; t++) {
                double distance = fabs((double)out[i].logprob[t] - (double)want[t]);
                worst[kind] = fmax(worst[kind], distance);
                sum[kind] += distance;
            }
        }
    }
    type = trainer = cache = GEMM_FP32;
    print_message("FP32 cache: %.1e at most; BF16: %.1e; means %.1e, %.1e of it\n", worst[0],
                  worst[1], sum[0] / 80 / 20, sum[0] / sum[1]);
    assert_true(worst[0] < 2e-2 && sum[0] < sum[1] / 50);
}

/* Rows, order, company, threads and whether weights are packed change not a bit. */
static void check_independence(void) {
    static Prompts prompts, turned;
    prompts_fill(&prompts, 30);
    turned.count = 30;
    for (size_t p = 0; p < 30; p++) {
        turned.prompt[p] = prompts.prompt[29 - p];
    }
    Sampling sampling = plain;
    sampling.seed = 8;
    static Kept many[90], few[90], other[90];
    run(&prompts, 3, &sampling, 64, NULL, NULL, many);
    parallel_init(1);
    packed = false;
    run(&prompts, 3, &sampling, 1, NULL, NULL, few);
    packed = true;
    parallel_init(2);
    run(&turned, 3, &sampling, 5, NULL, NULL, other);
    size_t distinct = 0;
    for (size_t i = 0; i < 90; i++) {
        assert_same(&many[i], &few[i]);
        assert_same(&many[i], &other[(29 - i / 3) * 3 + i % 3]);
        distinct += i % 3 > 0 && (many[i].count != many[i - 1].count ||
                                  memcmp(many[i].id, many[i - 1].id, many[i].count * 4) != 0);
    }
    assert_true(distinct > 50);
    /* Another seed, other completions. */
    sampling.seed = 9;
    run(&prompts, 3, &sampling, 64, NULL, NULL, other);
    size_t changed = 0;
    for (size_t i = 0; i < 90; i++) {
        changed += many[i].count != other[i].count ||
                   memcmp(many[i].id, other[i].id, many[i].count * 4) != 0;
    }
    assert_true(changed > 60);
}

static void test_independence(void **state) {
    (void)state;
    check_independence();
    type = cache = GEMM_BF16;
    check_independence();
    type = cache = GEMM_FP32;
}

/* Every kind of block: the decoder computes what the trainer does, whoever else is decoded. */
static void test_family(void **state) {
    static Prompts prompts;
    const Model fixture = model;
    ModelConfig config = tiny_family(tiny_family_of(state), 3, HEAD_LM);
    config.context = CONTEXT;
    config.eos = EOS;
    tiny_model(&model, &config, 60);
    prompts_fill(&prompts, 40);
    check_teacher_forced(&prompts, 1);
    check_independence();
    type = cache = GEMM_BF16;
    check_independence();
    type = cache = GEMM_FP32;
    model_done(&model);
    model = fixture;
}

/* The same bits twice. */
static void test_repeatable(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 20);
    Kept a[40], b[40];
    run(&prompts, 2, &plain, 16, NULL, NULL, a);
    run(&prompts, 2, &plain, 16, NULL, NULL, b);
    for (size_t i = 0; i < 40; i++) {
        assert_same(&a[i], &b[i]);
    }
}

/* n samples of a prompt follow its distribution: chi-square of the first id. */
static void test_frequencies(void **state) {
    (void)state;
    enum { SAMPLES = 4000 };
    static Prompts prompts;
    prompts_fill(&prompts, 1);
    Sampling sampling = plain;
    sampling.max_tokens = 1;
    sampling.temperature = 2;
    sampling.top_k = 12;
    Kept *out = malloc(SAMPLES * sizeof *out);
    run(&prompts, SAMPLES, &sampling, 64, NULL, NULL, out);
    double count[VOCABULARY] = {0}, probability[VOCABULARY] = {0}, total = 0, chi = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        count[out[i].id[0]]++;
        probability[out[i].id[0]] = exp((double)out[i].logprob[0]);
    }
    size_t kinds = 0;
    for (size_t v = 0; v < VOCABULARY; v++) {
        kinds += count[v] > 0;
        total += probability[v];
    }
    assert_int_equal(kinds, 12);
    assert_true(total < 0.999); /* recorded log-probs are unfiltered */
    for (size_t v = 0; v < VOCABULARY; v++) {
        double expected = SAMPLES * probability[v] / total;
        chi += expected > 0 ? (count[v] - expected) * (count[v] - expected) / expected : 0;
    }
    assert_true(chi < 31.3); /* 11 degrees of freedom, p = 0.001 */
    free(out);
}

typedef struct Watch {
    size_t calls;
} Watch;

static bool stop_at_three(void *context, size_t prompt, size_t sample, const int32_t *id,
                          size_t count) {
    Watch *watch = context;
    (void)prompt;
    (void)sample;
    (void)id;
    watch->calls++;
    return count == 3;
}

static void test_ends(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 30);
    Kept base[30], out[30];
    Sampling sampling = plain;
    run(&prompts, 1, &sampling, 8, NULL, NULL, base);
    size_t finished = 0, full = 0;
    for (size_t i = 0; i < 30; i++) {
        size_t room = CONTEXT - prompts.prompt[i].count;
        size_t limit = room < 24 ? room : 24;
        bool eos = base[i].id[base[i].count - 1] == EOS;
        assert_int_equal(base[i].finish, eos ? FINISH_EOS : FINISH_LENGTH);
        assert_true(eos ? base[i].count <= limit : base[i].count == limit);
        for (size_t t = 0; t + 1 < base[i].count; t++) {
            assert_int_not_equal(base[i].id[t], EOS);
        }
        finished += eos;
        full += base[i].count == limit;
    }
    assert_true(finished > 3 && full > 3);

    /* Further ids that end cut the same completion short. */
    const int32_t stop[] = {37, 15};
    sampling.stop = stop;
    sampling.stops = 2;
    run(&prompts, 1, &sampling, 8, NULL, NULL, out);
    for (size_t i = 0; i < 30; i++) {
        size_t n = 0;
        while (n < base[i].count && base[i].id[n] != 37 && base[i].id[n] != 15) {
            n++;
        }
        assert_int_equal(out[i].count, n < base[i].count ? n + 1 : base[i].count);
        assert_memory_equal(out[i].id, base[i].id, out[i].count * sizeof(int32_t));
        assert_int_equal(out[i].finish, n < base[i].count ? FINISH_EOS : base[i].finish);
    }

    Watch watch = {0};
    sampling = plain;
    run(&prompts, 1, &sampling, 8, stop_at_three, &watch, out);
    size_t calls = 0;
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(out[i].count, base[i].count < 3 ? base[i].count : 3);
        calls += out[i].count - (out[i].finish == FINISH_EOS);
        assert_int_equal(out[i].finish,
                         out[i].id[out[i].count - 1] == EOS ? FINISH_EOS : FINISH_STOP);
    }
    assert_int_equal(watch.calls, calls);

    /* EOS is masked before min_tokens. */
    sampling.min_tokens = 9;
    run(&prompts, 1, &sampling, 8, NULL, NULL, out);
    for (size_t i = 0; i < 30; i++) {
        for (size_t t = 0; t < 9 && t < out[i].count; t++) {
            assert_int_not_equal(out[i].id[t], EOS);
        }
    }
}

static void test_refused(void **state) {
    (void)state;
    static int32_t id[CONTEXT];
    Error err = {0};
    GeneratorPlan plan = {2, CONTEXT, 2, 24, GEMM_FP32, true};
    Generator *generator = generator_create(&model.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    Prompt prompt[2] = {
        {id, 3,       0},
        {id, CONTEXT, 0}
    };
    assert_error(generate(generator, &model, prompt, 2, 1, &plain, NULL, &err) != NULL, &err,
                 ERROR_DATA, "prompt 2 has 40 tokens");
    id[2] = VOCABULARY;
    assert_error(generate(generator, &model, prompt, 1, 1, &plain, NULL, &err) != NULL, &err,
                 ERROR_DATA, "holds the id 61");
    id[2] = 0;
    Model spoiled;
    assert_ok(model_copy(&spoiled, &model, &err), &err);
    spoiled.data[spoiled.parameter[2].offset] = NAN;
    assert_error(generate(generator, &spoiled, prompt, 1, 1, &plain, NULL, &err) != NULL, &err,
                 ERROR_DIVERGED, "not finite");
    /* A generator that failed serves the next call. */
    assert_ok(generate(generator, &model, prompt, 1, 2, &plain, NULL, &err) != NULL, &err);
    model_done(&spoiled);
    generator_free(generator);
}

static void test_encoder_refused(void **state) {
    (void)state;
    Error err = {0};
    ModelConfig config = tiny_family(TINY_BERT, 1, HEAD_LM);
    GeneratorPlan plan = {2, 16, 2, 8, GEMM_FP32, true};
    assert_error(generator_create(&config, &plan, &err) != NULL, &err, ERROR_CONFIG,
                 "a bert model is an encoder");
}

/* With threads, waiting samples, and then every filter. */
static void test_no_allocation(void **state) {
    (void)state;
    static Prompts prompts;
    prompts_fill(&prompts, 9);
    Error err = {0};
    GeneratorPlan plan = {4, CONTEXT, 27, 24, GEMM_FP32, true};
    Generator *generator = generator_create(&model.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    Sampling sampling = plain;
    for (int round = 0; round < 3; round++) {
        size_t before = test_allocations();
        assert_ok(generate(generator, &model, prompts.prompt, 9, 3, &sampling, NULL, &err) != NULL,
                  &err);
        /* The first call may start the threads. */
        assert_true(round == 0 || test_allocations() == before);
        sampling.top_k = 30;
        sampling.top_p = 0.9f;
        sampling.min_p = 0.01f;
        sampling.repetition_penalty = 1.1f;
    }
    generator_free(generator);
}

static int set_up(void **state) {
    (void)state;
    Error err = {0};
    Str folder = {0};
    parallel_init(2);
    str_appendf(&folder, "%s/generate", test_fixtures());
    bool ok = model_load(&model, str_text(&folder), HEAD_LM, 0, NULL, &err);
    if (!ok) {
        error_print(&err, "test_generate", stderr);
    }
    str_done(&folder);
    return ok && model.config.eos == EOS ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    model_done(&model);
    return 0;
}

int main(void) {
    enum { ONCE = 10 };
    struct CMUnitTest tests[ONCE + TINY_DECODERS] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_teacher_forced),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bf16_trainer),
        cmocka_unit_test(test_independence),
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_encoder_refused),
    };
    tiny_each_decoder(tests + ONCE, "family", test_family);
    return cmocka_run_group_tests(tests, set_up, tear_down) == 0 ? 0 : 1;
}
