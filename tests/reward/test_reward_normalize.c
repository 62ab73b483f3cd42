/* SPDX-License-Identifier: MIT
 *
 * T14: where the published scores have their zero and unit, through the files.
 */
#include <math.h>

#include "common/base/file.h"
#include "tests/reward/fixture.h"

/* What transformers and our other programs see: the folder's own head and bias. */
static void published(Reward *reward, const char *folder, RewardScale *scale) {
    Error err = {0};
    RewardScale first;
    Model model = {0};
    float *before = malloc(reward->model.count * sizeof(float));
    memcpy(before, reward->model.data, reward->model.count * sizeof(float));
    float bias = reward->model.config.reward_bias;
    assert_ok(reward_scale(reward, &reward->model, &first, &err), &err);
    assert_ok(reward_save_scaled(reward, &reward->model, &first, folder, &err), &err);
    assert_memory_equal(before, reward->model.data, reward->model.count * sizeof(float));
    assert_true(bias == reward->model.config.reward_bias);
    free(before);
    assert_ok(model_load(&model, folder, HEAD_SCORES, 1, NULL, &err), &err);
    assert_ok(reward_scale(reward, &model, scale, &err), &err);

    /* Normalizing what is normal changes nothing. */
    assert_close_double("gain", scale->gain, 1, 1e-3, 0);
    assert_close_double("bias", scale->bias, (double)model.config.reward_bias, 1e-3, 1e-5);
    model_done(&model);
}

static const char *write_demonstrations(const char *folder) {
    const char *text = "prompt,completion\n"
                       "\"color[red], animal[fox]\",Here is a red fox.\n"
                       "\"color[red], animal[fox]\",A red fox\n"
                       "\"color[red], animal[fox]\",A red fox\n"
                       "\"color[blue], animal[owl]\",\"An owl, and a blue one\"\n"
                       "\"color[white], animal[owl]\",White owl.\n";
    return test_file(folder, "demonstrations.csv", text, strlen(text));
}

static void test_demonstrations(void **state) {
    (void)state;
    const char *folder = test_folder();
    char setting[800];
    snprintf(setting, sizeof setting, "data.normalize=\"%s\"", write_demonstrations(folder));
    World world;
    const char *more[] = {setting, NULL};
    world_open(&world, write_rankings(folder, 1), more);
    RewardScale scale;
    world_train(&world, 0, 10);
    published(&world.reward, test_folder(), &scale);
    assert_int_equal(scale.texts, 5); /* a text that was written twice counts twice */
    assert_true(fabs(scale.mean) < 1e-5);
    assert_true(scale.deviation > 1e-3);
    world_close(&world);
}

static void test_preferred(void **state) {
    (void)state;
    World world;
    world_open(&world, write_rankings(test_folder(), 2), NULL);
    RewardScale scale;
    published(&world.reward, test_folder(), &scale);
    assert_int_equal(scale.texts, 16); /* the best completion of each record */
    assert_true(fabs(scale.mean) < 1e-5);
    world_close(&world);
}

static void test_reference(void **state) {
    (void)state;
    Error err = {0};
    const char *folder = test_folder(), *model = test_folder();
    const char *path = write_rankings(folder, 1);
    const char *prompts = write_demonstrations(folder);
    World world;
    const char *none[] = {"reward.normalize=none", NULL};
    /* A language model that shares the tokenizer. */
    world_open(&world, path, none);
    Model language = {0};
    ModelConfig config = {0};
    assert_ok(model_config_copy(&config, &world.reward.model.config, &err), &err);
    config.head = HEAD_LM;
    config.labels = 0;
    assert_ok(model_create(&language, &config, &err), &err);
    model_initialize(&language, 3);
    assert_ok(
        stage_save_model(&language, world.reward.tokenizer, &world.reward.layout, model, &err),
        &err);
    model_done(&language);
    model_config_done(&config);
    world_close(&world);

    char start[700], data[800];
    snprintf(start, sizeof start, "model.path=\"%s\"", model);
    snprintf(data, sizeof data, "data.prompts=\"%s\"", prompts);
    const char *more[] = {start,
                          data,
                          "model.new.layers=0",
                          "reward.normalize=reference",
                          "reward.normalize_samples=40",
                          "generation.max_tokens=12",
                          NULL};
    world_open(&world, path, more);
    RewardScale scale;
    world_train(&world, 0, 10);
    published(&world.reward, test_folder(), &scale);
    assert_true(scale.texts >= 40);
    assert_true(fabs(scale.mean) < 1e-5);
    assert_close_double("deviation", scale.deviation, 1, 1e-3, 0);
    const ExampleSet *samples = &world.reward.normalize_examples;
    for (size_t i = 0; i < samples->examples; i++) {
        const Tokens *tokens = &samples->example[i].completion[0];
        assert_int_equal(tokens->id[tokens->count - 1], world.reward.model.config.eos);
    }
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demonstrations),
        cmocka_unit_test(test_preferred),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
