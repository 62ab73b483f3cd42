/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <string.h>

#include "common/base/parallel.h"
#include "tests/support/support.h"

enum { MOST = 1000 };

typedef struct Cover {
    atomic_int seen[MOST];
    atomic_int pieces, most_thread;
    size_t begin[64], end[64];
    size_t grain;
    bool nested;
} Cover;

static void inner(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    atomic_int *sum = context;
    *sum += (int)(end - begin);
}

static void visit(void *context, size_t begin, size_t end, int thread) {
    Cover *cover = context;
    assert_true(thread >= 0 && thread < parallel_threads());
    cover->begin[thread] = begin;
    cover->end[thread] = end;
    cover->pieces++;
    for (size_t i = begin; i < end; i++) {
        cover->seen[i]++;
    }
    if (cover->nested) {
        atomic_int sum = 0;
        parallel_for(57, 1, inner, &sum);
        assert_int_equal(sum, 57);
    }
}

static void ranges_are_covered_once(void **state) {
    (void)state;
    static const size_t grains[] = {0, 1, 3, 16, 1000};
    for (int threads = 1; threads <= 5; threads++) {
        parallel_init(threads);
        assert_int_equal(parallel_threads(), threads);
        for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
            for (size_t n = 0; n <= 40; n++) {
                static Cover cover;
                memset(&cover, 0, sizeof cover);
                parallel_for(n, grains[g], visit, &cover);
                for (size_t i = 0; i < MOST; i++) {
                    assert_int_equal(cover.seen[i], i < n);
                }
                assert_true(cover.pieces <= threads);
                assert_int_equal(cover.pieces == 0, n == 0);
                size_t at = 0; /* contiguous, in the order of the thread's number */
                for (int p = 0; p < cover.pieces; p++) {
                    assert_int_equal(cover.begin[p], at);
                    at = cover.end[p];
                    assert_true(at == n || grains[g] == 0 || at % grains[g] == 0);
                }
                assert_int_equal(at, n);
            }
        }
    }
}

static void nested_calls_run_inline(void **state) {
    (void)state;
    parallel_init(3);
    static Cover cover;
    memset(&cover, 0, sizeof cover);
    cover.nested = true;
    parallel_for(100, 1, visit, &cover);
    assert_int_equal(cover.pieces, 3);
}

static void each_hands_out_single_items(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        parallel_init(threads);
        static Cover cover;
        memset(&cover, 0, sizeof cover);
        parallel_each(777, visit, &cover);
        assert_int_equal(cover.pieces, 777);
        for (size_t i = 0; i < MOST; i++) {
            assert_int_equal(cover.seen[i], i < 777);
        }
    }
    parallel_init(0);
    assert_true(parallel_threads() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_covered_once),
        cmocka_unit_test(nested_calls_run_inline),
        cmocka_unit_test(each_hands_out_single_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
