/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/train/optimizer.h"
#include "tests/support/support.h"
/* clang-format off */
#include "tests/train/adam_vectors.h"
/* clang-format on */

static const float start[6] = {0.5f, -0.25f, 1.0f, 0.0f, 2.0f, -1.5f};
static const float gradient[3][6] = {
    {0.1f,  -0.2f, 1e-4f,  0.0f,  3.0f,  -1e-6f},
    {0.05f, 0.3f,  -2e-4f, 1e-8f, -1.0f, 2e-6f },
    {-0.4f, 0.1f,  5e-5f,  0.0f,  0.5f,  3e-3f },
};
static const double rates[3] = {1e-2, 5e-3, 2e-2};

/* A model of three parameters, of which the second is frozen; the third has no weight decay. */
typedef struct Toy {
    Model model;
    Parameter parameter[3];
    float weight[18], slope[12];
    Gradients gradients;
} Toy;

static void toy_init(Toy *toy) {
    *toy = (Toy){0};
    static const char *const name[] = {"a.weight", "frozen.weight", "a.bias"};
    static const size_t place[] = {0, SIZE_MAX, 6};
    for (size_t i = 0; i < 3; i++) {
        Parameter *p = &toy->parameter[i];
        *p = (Parameter){
            .shape = {2, 3},
            .rank = 2,
            .count = 6,
            .offset = 6 * i,
            .gradient = place[i],
            .trainable = i != 1,
            .decay = i != 2
        };
        memcpy(p->name, name[i], strlen(name[i]) + 1);
        memcpy(toy->weight + 6 * i, start, sizeof start);
    }
    toy->model =
        (Model){.parameter = toy->parameter, .parameters = 3, .data = toy->weight, .count = 18};
    toy->gradients = (Gradients){.data = toy->slope, .count = 12};
}

static void check_steps(AdamEpsilon mode, const float want[3][6], const float want_decay[3][6]) {
    Toy toy;
    toy_init(&toy);
    Error err = {0};
    Optimizer optimizer;
    const OptimizerOptions options = {
        .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-5, .weight_decay = 0.1, .epsilon_mode = mode};
    assert_ok(optimizer_init(&optimizer, &options, &toy.gradients, &err), &err);
    assert_int_equal(optimizer_bytes(&toy.model), 2 * 12 * sizeof(float));
    for (size_t t = 0; t < 3; t++) {
        memcpy(toy.slope, gradient[t], sizeof gradient[t]);
        memcpy(toy.slope + 6, gradient[t], sizeof gradient[t]);
        uint64_t version = toy.model.version;
        optimizer_step(&optimizer, &toy.model, &toy.gradients, optimizer_norm(&toy.gradients),
                       rates[t]);
        assert_close("with decay", toy.weight, want_decay[t], 6, 2e-7, 0);
        assert_close("without decay", toy.weight + 12, want[t], 6, 2e-7, 0);
        assert_memory_equal(toy.weight + 6, start, sizeof start); /* frozen */
        for (size_t i = 0; i < 12; i++) {
            assert_true(toy.slope[i] == 0);
        }
        assert_true(toy.model.version != version);
    }
    assert_int_equal(optimizer.step, 3);
    optimizer_done(&optimizer);
}

static void torch_epsilon_matches_torch(void **state) {
    (void)state;
    check_steps(ADAM_EPSILON_TORCH, want_torch, want_torch_decay);
}

static void tensorflow_epsilon_matches_its_formula(void **state) {
    (void)state;
    check_steps(ADAM_EPSILON_TENSORFLOW, want_tensorflow, want_tensorflow_decay);
    /* The modes differ where gradients are as small as epsilon. */
    assert_true(fabsf(want_torch[0][5] - want_tensorflow[0][5]) > 1e-4f);
}

/* By hand: after one step from zero state m^ = g and v^ = g^2, so p moves by lr g / (|g| + eps). */
static void first_step_by_hand(void **state) {
    (void)state;
    Toy toy;
    toy_init(&toy);
    Error err = {0};
    Optimizer optimizer;
    const OptimizerOptions options = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1, .clip = 0};
    assert_ok(optimizer_init(&optimizer, &options, &toy.gradients, &err), &err);
    toy.slope[0] = 3;
    optimizer_step(&optimizer, &toy.model, &toy.gradients, 3, 0.1);
    assert_close_double("p", toy.weight[0], 0.5 - 0.1 * 3 / (3 + 1), 1e-6, 0);
    assert_true(toy.weight[1] == start[1]);
    optimizer_done(&optimizer);
}

static void clipping_shortens_long_gradients_only(void **state) {
    (void)state;
    static const struct {
        double clip, scale;
    } each[] = {
        {0,   1  },
        {5,   1  },
        {5.1, 1  },
        {2.5, 0.5}
    };
    for (size_t k = 0; k < sizeof each / sizeof *each; k++) {
        Toy toy;
        toy_init(&toy);
        Error err = {0};
        Optimizer optimizer;
        const OptimizerOptions options = {
            .beta1 = 0, .beta2 = 0.9, .epsilon = 1e8, .clip = each[k].clip};
        assert_ok(optimizer_init(&optimizer, &options, &toy.gradients, &err), &err);
        toy.slope[0] = 3, toy.slope[7] = -4; /* over both parameters: norm 5 */
        double norm = optimizer_norm(&toy.gradients);
        assert_close_double("norm", norm, 5, 1e-15, 0);
        optimizer_step(&optimizer, &toy.model, &toy.gradients, norm, 1e8);
        assert_close_double("m", optimizer.m[0], 3 * each[k].scale, 1e-6, 0);
        assert_close_double("p", toy.weight[0], 0.5 - 3 * each[k].scale, 1e-6, 0);
        assert_close_double("bias", toy.weight[13], -0.25 + 4 * each[k].scale, 1e-6, 0);
        optimizer_done(&optimizer);
    }
}

static void norm_does_not_depend_on_threads(void **state) {
    (void)state;
    enum { N = 300001 };
    float *data = malloc(N * sizeof *data);
    assert_non_null(data);
    Random random = random_stream(3, RANDOM_TEST, 0, 0);
    random_fill_normal(&random, data, N, 1);
    long double sum = 0;
    for (size_t i = 0; i < N; i++) {
        sum += (long double)data[i] * data[i];
    }
    const Gradients gradients = {data, N};
    parallel_init(1);
    double one = optimizer_norm(&gradients);
    assert_close_double("norm", one, (double)sqrtl(sum), 1e-14, 0);
    for (int threads = 2; threads <= 7; threads++) {
        parallel_init(threads);
        double many = optimizer_norm(&gradients);
        assert_memory_equal(&one, &many, sizeof one);
    }
    parallel_init(1);
    data[N - 1] = NAN;
    assert_true(isnan(optimizer_norm(&gradients)));
    data[N - 1] = INFINITY;
    assert_true(isinf(optimizer_norm(&gradients)));
    free(data);
}

static void average_moves_by_its_share(void **state) {
    (void)state;
    Toy toy, ema;
    toy_init(&toy);
    toy_init(&ema);
    for (size_t i = 0; i < 18; i++) {
        toy.weight[i] = 1;
        ema.weight[i] = 0;
    }
    double want = 0;
    for (int t = 0; t < 3; t++) {
        ema_update(&ema.model, &toy.model, 0.992);
        want = 0.992 * want + 0.008;
    }
    for (size_t i = 0; i < 18; i++) {
        assert_close_double("average", ema.weight[i], want, 1e-5, 0);
        assert_true(toy.weight[i] == 1);
    }
}

static void state_survives_a_file(void **state) {
    (void)state;
    Toy toy, other;
    toy_init(&toy);
    toy_init(&other);
    Error err = {0};
    Optimizer optimizer, again;
    const OptimizerOptions options = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-5};
    assert_ok(optimizer_init(&optimizer, &options, &toy.gradients, &err), &err);
    assert_ok(optimizer_init(&again, &options, &toy.gradients, &err), &err);
    memcpy(toy.slope, gradient[0], sizeof gradient[0]);
    memcpy(toy.slope + 6, gradient[1], sizeof gradient[1]);
    optimizer_step(&optimizer, &toy.model, &toy.gradients, 1, 0.1);
    char path[700];
    snprintf(path, sizeof path, "%s/optimizer.safetensors", test_folder());
    assert_ok(optimizer_save(&optimizer, &toy.model, path, &err), &err);
    assert_ok(optimizer_load(&again, &toy.model, path, &err), &err);
    assert_int_equal(again.step, 1);
    assert_memory_equal(again.m, optimizer.m, 12 * sizeof(float));
    assert_memory_equal(again.v, optimizer.v, 12 * sizeof(float));

    other.parameter[0].shape[0] = 3, other.parameter[0].shape[1] = 2;
    assert_error(optimizer_load(&again, &other.model, path, &err), &err, ERROR_DATA, "m.a.weight");
    toy_init(&other);
    other.parameter[2].name[0] = 'b';
    assert_error(optimizer_load(&again, &other.model, path, &err), &err, ERROR_DATA, "m.b.bias");
    toy_init(&other);
    other.parameter[2].gradient = SIZE_MAX, other.parameter[2].trainable = false;
    assert_error(optimizer_load(&again, &other.model, path, &err), &err, ERROR_DATA, "frozen");
    optimizer_done(&optimizer);
    optimizer_done(&again);
}

static void schedules_follow_their_formulas(void **state) {
    (void)state;
    for (int64_t s = 0; s < 10; s++) { /* linear: (S - s) / S, so 1 first and 1/S last */
        assert_close_double("linear", schedule_factor(SCHEDULE_LINEAR, s, 10, 0, 0.1),
                            (10.0 - (double)s) / 10, 1e-15, 0);
        assert_close_double("constant", schedule_factor(SCHEDULE_CONSTANT, s, 10, 0, 0.1), 1, 0, 0);
        assert_close_double("cosine", schedule_factor(SCHEDULE_COSINE, s, 10, 0, 0.1),
                            0.1 + 0.9 * (1 + cos(M_PI * (double)s / 10)) / 2, 1e-15, 0);
    }
    assert_true(schedule_factor(SCHEDULE_LINEAR, 9, 10, 0, 0) == 0.1);
    assert_true(schedule_factor(SCHEDULE_LINEAR, 10, 10, 0, 0) == 0);
    assert_true(schedule_factor(SCHEDULE_COSINE, 0, 10, 0, 0.1) == 1);
    for (ScheduleKind kind = SCHEDULE_CONSTANT; kind <= SCHEDULE_COSINE; kind++) {
        static const double rise[] = {0.25, 0.5, 0.75, 1, 1};
        for (int64_t s = 0; s < 5; s++) { /* the first step after the warm-up is at the peak */
            assert_close_double("warm-up", schedule_factor(kind, s, 12, 4, 0), rise[s], 1e-15, 0);
        }
        double before = 1;
        for (int64_t s = 5; s < 12; s++) {
            double now = schedule_factor(kind, s, 12, 4, 0);
            assert_true(now > 0 && (kind == SCHEDULE_CONSTANT ? now == 1 : now < before));
            before = now;
        }
        assert_true(isfinite(schedule_factor(kind, 3, 4, 4, 0)));
        assert_true(isfinite(schedule_factor(kind, 0, 1, 0, 0)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torch_epsilon_matches_torch),
        cmocka_unit_test(tensorflow_epsilon_matches_its_formula),
        cmocka_unit_test(first_step_by_hand),
        cmocka_unit_test(clipping_shortens_long_gradients_only),
        cmocka_unit_test(norm_does_not_depend_on_threads),
        cmocka_unit_test(average_moves_by_its_share),
        cmocka_unit_test(state_survives_a_file),
        cmocka_unit_test(schedules_follow_their_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
