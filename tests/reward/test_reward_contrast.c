/* SPDX-License-Identifier: MIT
 *
 * Rankings made from demonstrations.
 */
#include "tests/reward/fixture.h"

/* Two families of twelve prompts each; prompts of a family share most of their words. */
static const char *write_families(const char *folder, int prompts) {
    Str text = {0};
    str_append(&text, "prompt,completion\n");
    for (int i = 0; i < prompts; i++) {
        for (int k = 0; k < 2; k++) {
            const char *family = i % 2 == 0 ? "inn, old, small, quiet" : "hut, new, large, noisy";
            str_appendf(&text, "\"name[n%d], %s\",\"%s n%d said %d\"\n", i, family,
                        i % 2 == 0 ? "even" : "odd", i, k);
        }
    }
    const char *path = test_file(folder, "families.csv", text.data, text.size);
    str_done(&text);
    return path;
}

static bool read_demonstrations(DataSet *set, const char *path, Error *err) {
    char *item = (char *)(uintptr_t)path;
    StringList list = {&item, 1};
    DataOptions options = {.accept = 1u << RECORD_DEMONSTRATION};
    return dataset_read(set, &list, &options, err);
}

static void test_rankings(void **state) {
    (void)state;
    Error err = {0};
    DataSet demonstrations = {0}, set, again, other;
    assert_ok(read_demonstrations(&demonstrations, write_families(test_folder(), 24), &err), &err);
    assert_ok(reward_contrast_build(&set, &demonstrations, 7, &err), &err);
    assert_ok(reward_contrast_build(&again, &demonstrations, 7, &err), &err);
    assert_ok(reward_contrast_build(&other, &demonstrations, 8, &err), &err);
    assert_int_equal(set.records, 24 * 4);
    size_t places[4] = {0}, moved = 0;
    for (size_t i = 0; i < set.records; i++) {
        const Record *record = &set.record[i];
        assert_int_equal(record->kind, RECORD_RANKING);
        assert_int_equal(record->completions, 4);
        int prompt = 0;
        assert_int_equal(sscanf(record->message[0].text, "name[n%d]", &prompt), 1);
        size_t own = 0;
        for (size_t k = 0; k < 4; k++) {
            char family[8];
            int about = 0;
            assert_int_equal(sscanf(record->completion[k], "%7s n%d", family, &about), 2);
            assert_true(record->rank[k] == (about == prompt ? 1 : 2));
            /* the others are about the most similar prompts: those of the same family */
            assert_int_equal(about % 2, prompt % 2);
            own += about == prompt;
            places[k] += about == prompt;
            assert_string_equal(record->completion[k], again.record[i].completion[k]);
            moved += strcmp(record->completion[k], other.record[i].completion[k]) != 0;
            for (size_t j = 0; j < k; j++) {
                assert_string_not_equal(record->completion[k], record->completion[j]);
            }
        }
        assert_int_equal(own, 1);
    }
    for (size_t k = 0; k < 4; k++) {
        assert_in_range(places[k], 10, 40); /* 24 expected: the place tells nothing */
    }
    assert_true(moved > 0);
    dataset_done(&set);
    dataset_done(&again);
    dataset_done(&other);
    dataset_done(&demonstrations);
}

static void test_too_few(void **state) {
    (void)state;
    Error err = {0};
    DataSet demonstrations = {0}, set;
    assert_ok(read_demonstrations(&demonstrations, write_families(test_folder(), 8), &err), &err);
    assert_error(reward_contrast_build(&set, &demonstrations, 7, &err), &err, ERROR_DATA,
                 "8 prompts");
    dataset_done(&demonstrations);
}

/* The two losses of a step add up with their weight: gradients are linear in it. */
static void test_step(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = write_rankings(folder, 1);
    char setting[800];
    snprintf(setting, sizeof setting, "reward.contrast=\"%s\"", write_families(folder, 24));
    const char *coefficient[3] = {"reward.contrast_coef=0", "reward.contrast_coef=1",
                                  "reward.contrast_coef=2"};
    float *gradient[3];
    size_t count = 0;
    for (int i = 0; i < 3; i++) {
        Error err = {0};
        Metrics metrics = {0}, timing = {0};
        bool finished = false;
        World world;
        const char *more[] = {setting, coefficient[i], "reward.contrast_batch=5",
                              "train.learning_rate=0", NULL};
        world_open(&world, path, more);
        assert_ok(reward_stage.step(&world.reward, 0, &metrics, &timing, &finished, &err), &err);
        double loss = 0, contrast = 0;
        assert_true(metrics_get(&metrics, "train/loss", &loss));
        assert_true(metrics_get(&metrics, "train/contrast_loss", &contrast));
        assert_true(loss > 0 && (contrast > 0) == (i > 0)); /* as it enters the sum */
        count = world.reward.gradients.count;
        gradient[i] = malloc(count * sizeof(float));
        memcpy(gradient[i], world.reward.gradients.data, count * sizeof(float));
        world_close(&world);
    }
    for (size_t i = 0; i < count; i++) {
        gradient[0][i] = gradient[1][i] + (gradient[1][i] - gradient[0][i]);
    }
    assert_close("gradient", gradient[2], gradient[0], count, 1e-3, 1e-7);
    for (int i = 0; i < 3; i++) {
        free(gradient[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rankings),
        cmocka_unit_test(test_too_few),
        cmocka_unit_test(test_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
