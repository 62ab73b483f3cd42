/* SPDX-License-Identifier: MIT */
#include "common/base/batch.h"
#include "tests/support/support.h"

static const int32_t id[] = {3, 1, 4, 1, 5}, target[] = {1, 4, BATCH_NO_TARGET};

static void sequences_stand_in_a_row(void **state) {
    (void)state;
    Error err = {0};
    Batch batch;
    assert_ok(batch_init(&batch, 0, 0, &err), &err);
    size_t index = 99;
    assert_ok(batch_add(&batch, id, NULL, 5, BATCH_NO_PREFIX, 10, &index, &err), &err);
    assert_int_equal(index, 0);
    assert_ok(batch_add(&batch, id, target, 3, 0, 11, &index, &err), &err);
    assert_ok(batch_add(&batch, id, NULL, 2, 0, 12, &index, &err), &err);
    assert_int_equal(index, 2);
    assert_int_equal(batch.tokens, 10);
    assert_int_equal(batch.start[1], 5);
    assert_int_equal(batch.start[3], 10);
    assert_int_equal(batch_length(&batch, 1), 3);
    assert_int_equal(batch_first_position(&batch, 0), 0);
    assert_int_equal(batch_first_position(&batch, 2), 5);
    assert_int_equal(batch.target[0], BATCH_NO_TARGET);
    assert_int_equal(batch.target[6], 4);
    assert_int_equal(batch.key[2], 12);
    assert_memory_equal(batch.id + 5, id, 3 * sizeof *id);
    assert_true(batch_is_valid(&batch, 6, 8));
    assert_false(batch_is_valid(&batch, 5, 8)); /* id 5 */
    assert_false(batch_is_valid(&batch, 6, 7)); /* 5 + 3 positions */
    batch_clear(&batch);
    assert_int_equal(batch.tokens, 0);
    assert_true(batch_is_valid(&batch, 1, 1));
    assert_ok(batch_add(&batch, id, NULL, 1, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    assert_int_equal(batch.start[0], 0);
    batch_done(&batch);
}

static void rules_of_prefixes_are_checked(void **state) {
    (void)state;
    static const struct {
        int32_t prefix[4];
        bool valid;
    } rule[] = {
        {{-1, 0, 0, -1},   true },
        {{-1, -1, 1, 1},   true },
        {{-1, 0, 1, -1},   false},
        {{-1, 0, -1, 0},   false},
        {{-1, -1, 0, 0},   false},
        {{0, -1, -1, -1},  false},
        {{-1, 2, -1, -1},  false},
        {{-1, 7, -1, -1},  false},
        {{-1, -2, -1, -1}, false},
    };
    for (size_t k = 0; k < sizeof rule / sizeof *rule; k++) {
        Error err = {0};
        Batch batch;
        assert_ok(batch_init(&batch, 4, 4, &err), &err);
        for (int s = 0; s < 4; s++) {
            assert_ok(batch_add(&batch, id, NULL, 1, rule[k].prefix[s], 0, NULL, &err), &err);
        }
        assert_int_equal(batch_is_valid(&batch, 10, 10), rule[k].valid);
        batch_done(&batch);
    }
}

static void growing_keeps_what_was_there(void **state) {
    (void)state;
    Error err = {0};
    Batch batch;
    assert_ok(batch_init(&batch, 1, 1, &err), &err);
    for (int32_t s = 0; s < 500; s++) {
        int32_t row[3] = {s, s + 1, s + 2};
        assert_ok(batch_add(&batch, row, row, 1 + (size_t)s % 3, BATCH_NO_PREFIX, (uint64_t)s, NULL,
                            &err),
                  &err);
    }
    for (size_t s = 0; s < 500; s++) {
        assert_int_equal(batch_length(&batch, s), 1 + s % 3);
        for (size_t t = 0; t < batch_length(&batch, s); t++) {
            assert_int_equal(batch.id[batch.start[s] + t], s + t);
            assert_int_equal(batch.target[batch.start[s] + t], s + t);
        }
        assert_int_equal(batch.key[s], s);
    }
    batch_done(&batch);
}

static void enough_room_allocates_nothing(void **state) {
    (void)state;
    Error err = {0};
    Batch batch;
    assert_ok(batch_init(&batch, 20, 4, &err), &err);
    const int32_t *ids = batch.id;
    const size_t *starts = batch.start;
    for (int s = 0; s < 4; s++) {
        assert_ok(batch_add(&batch, id, NULL, 5, BATCH_NO_PREFIX, 0, NULL, &err), &err);
    }
    assert_ptr_equal(ids, batch.id);
    assert_ptr_equal(starts, batch.start);
    batch_done(&batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_stand_in_a_row),
        cmocka_unit_test(rules_of_prefixes_are_checked),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(enough_room_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
