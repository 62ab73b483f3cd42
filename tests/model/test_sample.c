/* SPDX-License-Identifier: MIT
 *
 * The filters of sampling against transformers' logits processors (tests/fixtures/generate), and
 * the choice of an id.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/model/generate.h"
#include "tests/support/support.h"

enum { VOCABULARY = 32, MANY = 50257 };

static const Sampling plain = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = 8};

static size_t read_ids(const cJSON *list, int32_t *out) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        out[n++] = item->valueint;
    }
    return n;
}

static size_t read_floats(const cJSON *list, float *out) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        out[n++] = (float)item->valuedouble;
    }
    return n;
}

static double number(const cJSON *object, const char *key, double fallback) {
    const cJSON *item = json_member(object, key);
    return item == NULL ? fallback : item->valuedouble;
}

static void test_transformers(void **state) {
    (void)state;
    Error err = {0};
    Str path = {0};
    str_appendf(&path, "%s/generate/cases.json", test_fixtures());
    cJSON *json = json_read_file(str_text(&path), &json_limits_document, &err);
    assert_ok(json != NULL, &err);
    size_t cases = 0;
    for (const cJSON *c = json_member(json, "filters")->child; c != NULL; c = c->next) {
        const cJSON *settings = json_member(c, "settings");
        int32_t prompt[16], completion[16];
        float logits[VOCABULARY], want[VOCABULARY], weight[VOCABULARY];
        uint32_t order[VOCABULARY];
        SamplingScratch scratch = {.weight = weight, .order = order};
        SamplingHistory history = {.prompt = prompt, .completion = completion};
        history.prompt_count = read_ids(json_member(c, "prompt"), prompt);
        history.count = read_ids(json_member(c, "completion"), completion);
        const int32_t end[] = {(int32_t)number(c, "eos", -1)};
        history.end = end;
        history.ends = end[0] >= 0;
        assert_int_equal(read_floats(json_member(c, "logits"), logits), VOCABULARY);
        assert_int_equal(read_floats(json_member(c, "probability"), want), VOCABULARY);
        Sampling sampling = plain;
        sampling.temperature = (float)number(settings, "temperature", 1);
        sampling.top_k = (int)number(settings, "top_k", 0);
        sampling.top_p = (float)number(settings, "top_p", 1);
        sampling.min_p = (float)number(settings, "min_p", 0);
        sampling.repetition_penalty = (float)number(settings, "repetition_penalty", 1);
        sampling.min_tokens = (size_t)number(settings, "min_tokens", 0);
        sampling_distribution(&sampling, &history, logits, VOCABULARY, &scratch);
        char *name = cJSON_PrintUnformatted(settings);
        assert_close(name, logits, want, VOCABULARY, 0, 2e-6);
        for (size_t i = 0; i < VOCABULARY; i++) {
            assert_true((logits[i] == 0.0f) == (want[i] == 0.0f));
        }
        free(name);
        cases++;
    }
    assert_int_equal(cases, 46);
    cJSON_Delete(json);
    str_done(&path);
}

/* Against a full sort: sizes and ties that the fixture does not have. */
static int by_logit(const void *a, const void *b) {
    const float *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0] ? -1 : 1) : x[1] < y[1] ? -1 : x[1] > y[1];
}

static void test_large(void **state) {
    (void)state;
    float *logits = malloc(MANY * sizeof(float)), *weight = malloc(MANY * sizeof(float));
    float(*sorted)[2] = malloc(MANY * sizeof *sorted);
    uint32_t *order = malloc(MANY * sizeof(uint32_t));
    SamplingScratch scratch = {.weight = weight, .order = order};
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    for (int round = 0; round < 6; round++) {
        Sampling sampling = plain;
        sampling.top_p = (float[]){0.01f, 0.3f, 0.9f, 0.99f, 1.0f, 1.0f}[round];
        sampling.top_k = (int[]){0, 0, 0, 0, 40, 49999}[round];
        double total = 0, mass = 0;
        for (size_t i = 0; i < MANY; i++) {
            /* Rounded to have many ties. */
            float logit = (float)random_normal(&random, i + (size_t)round * MANY) * 3;
            logits[i] = round % 2 == 1 ? roundf(logit * 8) / 8 : logit;
            sorted[i][0] = logits[i];
            sorted[i][1] = (float)i;
            total += exp((double)logits[i]);
        }
        qsort(sorted, MANY, sizeof *sorted, by_logit);
        sampling_distribution(&sampling, NULL, logits, MANY, &scratch);
        size_t kept = 0, expected = 0;
        for (size_t i = 0; i < MANY; i++) {
            kept += logits[i] > 0;
        }
        if (sampling.top_k > 0) {
            while (expected < MANY && sorted[expected][0] >= sorted[sampling.top_k - 1][0]) {
                expected++;
            }
        } else {
            while (expected < MANY && mass < (double)sampling.top_p * total) {
                mass += exp((double)sorted[expected++][0]);
            }
        }
        /* The kernels' exponentials are floats: the edge may lie one id further. */
        assert_in_range(kept, expected - (round < 4), expected + (round < 4));
        size_t sure = kept < expected ? kept : expected;
        for (size_t i = 0; i < sure; i++) {
            assert_true(logits[(size_t)sorted[i][1]] > 0);
        }
    }
    free(logits);
    free(weight);
    free(sorted);
    free(order);
}

static size_t pick(const float *probability, double u) {
    double before = 0;
    return sampling_pick(probability, 6, u, &before);
}

static void test_pick(void **state) {
    (void)state;
    const float probability[] = {0, 0.25f, 0, 0.5f, 0.25f, 0};
    assert_int_equal(pick(probability, 0.0), 1);
    assert_int_equal(pick(probability, 0.2499), 1);
    assert_int_equal(pick(probability, 0.25), 3);
    assert_int_equal(pick(probability, 0.7499), 3);
    assert_int_equal(pick(probability, 0.75), 4);
    assert_int_equal(pick(probability, 1 - 0x1p-53), 4);
}

/* A draw at u is the id at u of the cumulated distribution; its log-prob and the entropy are those of
 * the softmax at the temperature. Sizes around those of the sums' blocks. */
static void test_draw(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 5, 511, 512, 513, 1024, 5000, MANY};
    static const Sampling settings[] = {
        {.temperature = 1,         .top_p = 1,              .repetition_penalty = 1},
        {                   .temperature = 0.6f,              .top_p = 1, .repetition_penalty = 1                       },
        { .temperature = 1.5f, .top_p = 0.8f,                        .repetition_penalty = 1        },
        {         .temperature = 1, .top_k = 7,                        .top_p = 1,                             .repetition_penalty = 1},
        {                                                                                    .temperature = 0.9f,
         .top_k = 20,
         .top_p = 0.9f,
         .min_p = 0.02f,
         .repetition_penalty = 1.3f},
        {                                                  .temperature = 2, .top_p = 1,         .repetition_penalty = 1,                        .min_tokens = 9},
        {      .greedy = true,              .temperature = 0.5f,           .top_p = 1,                        .repetition_penalty = 1.2f},
    };
    float *logits = malloc(MANY * sizeof(float)), *work = malloc(MANY * sizeof(float));
    float *weight = malloc(MANY * sizeof(float)), *copy = malloc(MANY * sizeof(float));
    uint32_t *order = malloc(MANY * sizeof(uint32_t));
    SamplingScratch scratch = {weight, order, copy};
    Random random = random_stream(4, RANDOM_TEST, 0, 0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        const int32_t seen[] = {0, (int32_t)(n / 2), (int32_t)(n - 1), 0};
        const int32_t masked[] = {(int32_t)(n / 3), (int32_t)(n / 2)};
        SamplingHistory history = {seen, 2, seen + 2, 2, masked, n > 2 ? 2 : n > 1};
        for (size_t i = 0; i < n; i++) {
            logits[i] = (float)random_normal(&random, s * MANY + i) * 3;
        }
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
            double total = 0, entropy = 0, sum = 0, T = (double)settings[k].temperature;
            for (size_t i = 0; i < n; i++) {
                total += exp((double)logits[i] / T);
            }
            for (size_t i = 0; i < n; i++) {
                double logprob = (double)logits[i] / T - log(total);
                entropy -= exp(logprob) * logprob;
            }
            memcpy(work, logits, n * sizeof(float));
            sampling_distribution(&settings[k], &history, work, n, &scratch);
            /* In the middle of each id's share, for ids whose share is not lost in rounding. */
            for (size_t i = 0, tried = 0; i < n && tried < 40; i++) {
                double u = sum + 0.5 * (double)work[i];
                sum += (double)work[i];
                if (work[i] < 1e-4f || u >= 1) {
                    continue;
                }
                tried++;
                float *drawn = malloc(n * sizeof(float));
                memcpy(drawn, logits, n * sizeof(float));
                SamplingDraw draw = sampling_draw(&settings[k], &history, drawn, n, u, &scratch);
                free(drawn);
                assert_int_equal(draw.id, i);
                assert_close_double("logprob", (double)draw.logprob,
                                    (double)logits[i] / T - log(total), 0, 3e-6);
                assert_close_double("entropy", (double)draw.entropy, entropy, 0, 5e-6);
            }
            /* At the ends a filtered id is never drawn. */
            for (int end = 0; end < 2; end++) {
                float *drawn = malloc(n * sizeof(float));
                memcpy(drawn, logits, n * sizeof(float));
                SamplingDraw draw = sampling_draw(&settings[k], &history, drawn, n,
                                                  end == 0 ? 0 : 1 - 0x1p-53, &scratch);
                free(drawn);
                assert_true(work[draw.id] > 0);
            }
        }
    }
    logits[MANY / 2] = NAN;
    assert_true(isnan(
        sampling_draw(&settings[4], &(SamplingHistory){0}, logits, MANY, 0.5, &scratch).logprob));
    free(logits);
    free(work);
    free(weight);
    free(copy);
    free(order);
}

static void test_greedy(void **state) {
    (void)state;
    float logits[] = {-1, 4, 4, -INFINITY, 3}, weight[5];
    uint32_t order[5];
    Sampling sampling = plain;
    sampling.greedy = true;
    sampling.temperature = 0.1f;
    sampling_distribution(&sampling, NULL, logits, 5,
                          &(SamplingScratch){.weight = weight, .order = order});
    assert_memory_equal(logits, ((float[]){0, 1, 0, 0, 0}), sizeof logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers), cmocka_unit_test(test_large),
        cmocka_unit_test(test_pick),         cmocka_unit_test(test_draw),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
