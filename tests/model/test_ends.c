/* SPDX-License-Identifier: MIT
 *
 * Several ids that end a completion: what is read from generation_config.json and config.json and written
 * back, and generation against transformers' generate() with the same lists.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/parallel.h"
#include "common/model/config.h"
#include "common/model/generate.h"
#include "tests/support/support.h"

enum { MOST = 64, CONTINUED = 12 };

#define GPT2                                                                                       \
    "{\"model_type\":\"gpt2\",\"vocab_size\":50,\"n_positions\":16,\"n_embd\":12,\"n_layer\":2,"   \
    "\"n_head\":3"

typedef struct Case {
    const char *config, *generation; /* values of eos_token_id; NULL: no key, no file */
    int32_t end[MOST];
    size_t ends;
    const char *kept, *written; /* values in the two files that are written */
} Case;

/* clang-format off */
static const Case cases[] = {
    {"7",     NULL,      {7},       1, "7",     "7"},
    {"[7,9]", NULL,      {7, 9},    2, "[7,9]", "[7,9]"},
    {"7",     "[9,7]",   {9, 7},    2, "7",     "[9,7]"},
    {"7",     "9",       {9},       1, "7",     "9"},
    {"7",     "null",    {7},       1, "7",     "7"},
    {NULL,    "[3,4]",   {3, 4},    2, NULL,    "[3,4]"},
    {"[7,9]", "7",       {7},       1, "[7,9]", "7"},
    /* Ids that the vocabulary lacks stay in the file and end nothing. */
    {"7",     "[60,9]",  {9},       1, "7",     "[60,9]"},
    {"[60,9]", NULL,     {9},       1, "[60,9]", "9"},
    {"7",     "[9,9,3]", {9, 3},    2, "7",     "[9,9,3]"},
    {"7",     "-1",      {7},       1, "7",     "7"},
};
/* clang-format on */

static const char *here(void) {
    static const char *folder;
    folder = folder == NULL ? test_folder() : folder;
    return folder;
}

static void put(const char *name, const Str *text) {
    test_file(here(), name, text->data, text->size);
}

static bool read_case(const char *eos, const char *generation, ModelConfig *config, Error *err) {
    Str text = {0};
    str_append(&text, GPT2);
    str_appendf(&text, eos != NULL ? ",\"eos_token_id\":%s}" : "}", eos);
    put("config.json", &text);
    str_clear(&text);
    str_appendf(&text, "{\"eos_token_id\":%s}", generation != NULL ? generation : "null");
    put("generation_config.json", &text);
    str_done(&text);
    char *path = file_join(here(), "generation_config.json", err);
    assert_true(path != NULL && (generation != NULL || remove(path) == 0));
    free(path);
    return model_config_read(config, here(), err);
}

static void assert_written(const char *name, const char *want) {
    Error err = {0};
    char *path = file_join(here(), name, &err);
    cJSON *json = json_read_file(path, &json_limits_config, &err);
    assert_ok(json != NULL, &err);
    char *value = cJSON_PrintUnformatted(json_member(json, "eos_token_id"));
    if (want != NULL) {
        assert_string_equal(value, want);
    } else {
        assert_null(value);
    }
    free(value);
    cJSON_Delete(json);
    free(path);
}

static void assert_ends(const ModelConfig *config, const Case *c) {
    size_t count;
    const int32_t *end = config_ends(config, &count);
    assert_int_equal(count, c->ends);
    assert_memory_equal(end, c->end, count * sizeof *end);
}

static void test_files(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        Error err = {0};
        ModelConfig config, copy;
        assert_ok(read_case(c->config, c->generation, &config, &err), &err);
        assert_ends(&config, c);
        assert_ok(model_config_copy(&copy, &config, &err), &err);
        model_config_done(&config);
        assert_ends(&copy, c);
        assert_ok(model_config_write(&copy, here(), &err), &err);
        model_config_done(&copy);
        assert_written("config.json", c->kept);
        assert_written("generation_config.json", c->written);
        assert_ok(model_config_read(&config, here(), &err), &err);
        assert_ends(&config, c);
        model_config_done(&config);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"\"</s>\"", "[1,\"2\"]", "1.5", "-2", "{}", "true"};
    ModelConfig config;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Error err = {0};
        assert_error(read_case("7", wrong[i], &config, &err), &err, ERROR_DATA,
                     "'eos_token_id' is ");
        assert_non_null(strstr(err.file, "generation_config.json"));
    }
    /* As many different ids as there is room for, and one more. */
    for (size_t n = EOS_LIMIT; n <= EOS_LIMIT + 1; n++) {
        Error err = {0};
        Str text = {0}, list = {0};
        str_append(&text, "{\"model_type\":\"gpt2\",\"vocab_size\":99,\"n_positions\":16,"
                          "\"n_embd\":12,\"n_layer\":2,\"n_head\":3}");
        put("config.json", &text);
        for (size_t id = 0; id < n; id++) {
            str_appendf(&list, "%s%zu", id == 0 ? "{\"eos_token_id\":[" : ",", id);
        }
        str_append(&list, "]}");
        put("generation_config.json", &list);
        if (n == EOS_LIMIT) {
            assert_ok(model_config_read(&config, here(), &err), &err);
            assert_int_equal(config.ends, EOS_LIMIT);
            model_config_done(&config);
        } else {
            assert_error(model_config_read(&config, here(), &err), &err, ERROR_DATA,
                         "a list of at most 64");
        }
        str_done(&text);
        str_done(&list);
    }
}

static size_t read_ids(const cJSON *list, int32_t *out) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        out[n++] = item->valueint;
    }
    return n;
}

/* The model's own ids, and the first of them with the others as the caller's. */
static void check_case(Model *model, Generator *generator, const cJSON *c) {
    Error err = {0};
    int32_t ids[MOST], want[MOST], end[MOST];
    size_t ends = read_ids(json_member(c, "ends"), end);
    size_t n = read_ids(json_member(c, "ids"), want);
    Prompt prompt = {.id = ids, .count = read_ids(json_member(c, "prompt"), ids)};
    bool finished = cJSON_IsTrue(json_member(c, "finished"));
    for (size_t own = 1; own <= ends; own += ends > 1 ? ends - 1 : 1) {
        Sampling sampling = {.greedy = true,
                             .temperature = 1,
                             .top_p = 1,
                             .repetition_penalty = 1,
                             .max_tokens = CONTINUED,
                             .min_tokens = (size_t)json_member(c, "min_tokens")->valueint,
                             .stop = end + own,
                             .stops = ends - own};
        memcpy(model->config.end, end, own * sizeof *end);
        model->config.ends = own;
        const Completion *out = generate(generator, model, &prompt, 1, 1, &sampling, NULL, &err);
        assert_ok(out != NULL, &err);
        assert_int_equal(out->count, n);
        assert_memory_equal(out->id, want, n * sizeof *want);
        assert_int_equal(out->finish, finished ? FINISH_EOS : FINISH_LENGTH);
    }
}

static void test_transformers(void **state) {
    (void)state;
    Error err = {0};
    Str path = {0};
    Model model;
    str_appendf(&path, "%s/generate", test_fixtures());
    assert_ok(model_load(&model, str_text(&path), HEAD_LM, 0, NULL, &err), &err);
    str_append(&path, "/ends.json");
    cJSON *json = json_read_file(str_text(&path), &json_limits_document, &err);
    assert_ok(json != NULL, &err);
    GeneratorPlan plan = {2, 40, 1, CONTINUED, GEMM_FP32, true};
    Generator *generator = generator_create(&model.config, &plan, &err);
    assert_ok(generator != NULL, &err);
    size_t count = 0, finished = 0;
    for (const cJSON *c = json->child; c != NULL; c = c->next, count++) {
        check_case(&model, generator, c);
        finished += cJSON_IsTrue(json_member(c, "finished"));
    }
    assert_int_equal(count, 40);
    assert_true(finished >= 20);
    generator_free(generator);
    cJSON_Delete(json);
    model_done(&model);
    str_done(&path);
}

int main(void) {
    parallel_init(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
