/* SPDX-License-Identifier: MIT
 *
 * Packed matrices are the model's, laid out for each product; versions tell when they are stale.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/model/packed.h"
#include "tests/model/tiny.h"

enum { ROWS = 7 };

static const unsigned all = PACK_FORWARD | PACK_BACKWARD | PACK_HEAD_FORWARD | PACK_HEAD_BACKWARD;

/* y = x op(B) by the packed matrix must be what plain loops make of the stored weights [rows, columns],
 * to which the tensors behind the part's belong. */
static void check_part(const PackedModel *packed, const Model *model, GemmType type, Part part,
                       size_t layer, unsigned which, bool transposed) {
    const PackedMatrix *matrix = packed_part(packed, part, layer, which);
    assert_non_null(matrix);
    size_t index = family_index(&model->config, part, layer);
    const Parameter *p = &model->parameter[index];
    size_t rows = p->shape[0], columns = p->shape[1];
    for (size_t i = index + 1; i < model->parameters; i++) {
        int unused;
        if (!part_is_behind(family_row(&model->config, i, &unused)->part)) {
            break;
        }
        rows += model->parameter[i].shape[0];
    }
    size_t k = transposed ? columns : rows, n = transposed ? rows : columns;
    assert_int_equal(matrix->type, type);
    assert_int_equal(matrix->k, k);
    assert_int_equal(matrix->n, n);
    float *x = malloc(ROWS * k * sizeof *x), *y = malloc(ROWS * n * sizeof *y);
    float *want = malloc(ROWS * n * sizeof *want);
    assert_true(x != NULL && y != NULL && want != NULL);
    for (size_t i = 0; i < ROWS * k; i++) {
        x[i] = (float)((i * 37) % 17) - 8; /* small integers are BF16 numbers */
    }
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t q = 0; q < k; q++) {
                float b = model->data[p->offset + (transposed ? j * columns + q : q * columns + j)];
                sum += (double)x[i * k + q] * (double)(type == GEMM_BF16 ? round_bf16(b) : b);
            }
            want[i * n + j] = (float)sum;
        }
    }
    product_run(&(Product){.type = type,
                           .m = ROWS,
                           .n = n,
                           .k = k,
                           .alpha = 1,
                           .a = x,
                           .lda = k,
                           .packed = matrix,
                           .c = y,
                           .ldc = n});
    assert_close(p->name, y, want, ROWS * n, 1e-5, 0);
    free(x);
    free(y);
    free(want);
}

static void check_all(const PackedModel *packed, const Model *model, GemmType type) {
    bool out_in = model->config.family->block.linear == LINEAR_OUT_IN;
    static const Part part[] = {PART_QKV_WEIGHT, PART_ATTENTION_OUT_WEIGHT, PART_UP_WEIGHT,
                                PART_DOWN_WEIGHT};
    for (size_t layer = 0; layer < model->config.layers; layer++) {
        for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
            check_part(packed, model, type, part[i], layer, PACK_FORWARD, out_in);
            check_part(packed, model, type, part[i], layer, PACK_BACKWARD, !out_in);
        }
    }
    Part head = model->config.tied ? PART_TOKEN_EMBEDDING : PART_LM_HEAD;
    check_part(packed, model, type, head, 0, PACK_HEAD_FORWARD, true);
    check_part(packed, model, type, head, 0, PACK_HEAD_BACKWARD, false);
}

static void test_matrices(void **state) {
    Error err = {0};
    for (int type = GEMM_FP32; type <= GEMM_BF16; type++) {
        Model model;
        ModelConfig config = tiny_family(tiny_family_of(state), 2, HEAD_BOTH);
        tiny_model(&model, &config, 30);
        PackedModel *packed = packed_create(&config, (GemmType)type, all, &err);
        assert_ok(packed != NULL, &err);
        packed_update(packed, &model);
        check_all(packed, &model, (GemmType)type);
        model_initialize(&model, 3); /* other weights, another version */
        packed_update(packed, &model);
        check_all(packed, &model, (GemmType)type);
        packed_free(packed);
        model_done(&model);
    }
}

/* What was not asked for, or the model lacks, is not there and takes no room. */
static void test_which(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    ModelConfig config = tiny_config(2, HEAD_SCORES, true);
    tiny_model(&model, &config, 31);
    PackedModel *packed = packed_create(&config, GEMM_FP32, PACK_FORWARD | PACK_HEAD_FORWARD, &err);
    assert_ok(packed != NULL, &err);
    packed_update(packed, &model);
    assert_non_null(packed_part(packed, PART_UP_WEIGHT, 1, PACK_FORWARD));
    assert_null(packed_part(packed, PART_UP_WEIGHT, 1, PACK_BACKWARD));
    assert_null(packed_part(packed, PART_TOKEN_EMBEDDING, 0, PACK_HEAD_FORWARD));
    assert_null(packed_part(NULL, PART_UP_WEIGHT, 1, PACK_FORWARD));
    size_t forward = packed_bytes(&config, GEMM_FP32, PACK_FORWARD);
    assert_int_equal(packed_bytes(&config, GEMM_FP32, PACK_FORWARD | PACK_HEAD_FORWARD), forward);
    assert_true(packed_bytes(&config, GEMM_FP32, PACK_FORWARD | PACK_BACKWARD) > forward * 3 / 2);
    packed_free(packed);
    packed_free(NULL);
    model_done(&model);
}

/* No two states of weights in the process share a version. */
static void test_versions(void **state) {
    (void)state;
    enum { MODELS = 3, SEEN = 4 * MODELS };
    Error err = {0};
    Model model[MODELS];
    uint64_t seen[SEEN];
    size_t n = 0;
    ModelConfig config = tiny_config(1, HEAD_LM, true);
    for (size_t i = 0; i < MODELS; i++) {
        Model copy;
        assert_ok(model_create(&model[i], &config, &err), &err);
        seen[n++] = model[i].version;
        model_initialize(&model[i], 1);
        seen[n++] = model[i].version;
        assert_ok(model_copy(&copy, &model[i], &err), &err);
        seen[n++] = copy.version;
        model_done(&copy);
        model_touch(&model[i]);
        seen[n++] = model[i].version;
    }
    for (size_t i = 0; i < SEEN; i++) {
        assert_true(seen[i] != 0);
        for (size_t j = 0; j < i; j++) {
            assert_true(seen[i] != seen[j]);
        }
    }
    for (size_t i = 0; i < MODELS; i++) {
        model_done(&model[i]);
    }
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[2 + TINY_FAMILIES] = {
        cmocka_unit_test(test_which),
        cmocka_unit_test(test_versions),
    };
    tiny_each_family(tests + 2, "matrices", test_matrices);
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
