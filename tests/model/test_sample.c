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
        SamplingScratch scratch = {weight, order};
        SamplingHistory history = {.prompt = prompt, .completion = completion};
        history.prompt_count = read_ids(json_member(c, "prompt"), prompt);
        history.count = read_ids(json_member(c, "completion"), completion);
        history.eos = (int32_t)number(c, "eos", -1);
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
    SamplingScratch scratch = {weight, order};
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

static void test_pick(void **state) {
    (void)state;
    const float probability[] = {0, 0.25f, 0, 0.5f, 0.25f, 0};
    assert_int_equal(sampling_pick(probability, 6, 0.0), 1);
    assert_int_equal(sampling_pick(probability, 6, 0.2499), 1);
    assert_int_equal(sampling_pick(probability, 6, 0.25), 3);
    assert_int_equal(sampling_pick(probability, 6, 0.7499), 3);
    assert_int_equal(sampling_pick(probability, 6, 0.75), 4);
    assert_int_equal(sampling_pick(probability, 6, 1 - 0x1p-53), 4);
}

static void test_greedy(void **state) {
    (void)state;
    float logits[] = {-1, 4, 4, -INFINITY, 3}, weight[5];
    uint32_t order[5];
    Sampling sampling = plain;
    sampling.greedy = true;
    sampling.temperature = 0.1f;
    sampling_distribution(&sampling, NULL, logits, 5, &(SamplingScratch){weight, order});
    assert_memory_equal(logits, ((float[]){0, 1, 0, 0, 0}), sizeof logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
