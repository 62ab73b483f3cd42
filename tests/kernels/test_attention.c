/* SPDX-License-Identifier: MIT
 *
 * Attention against plain loops in double, its backward against differences of these, with every
 * compilation: ragged groups with and without prefixes, lengths around the sizes of blocks, all kinds of
 * head sizes, with and without dropout. What a row gives depends on what it sees alone.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/attention_block.h"
#include "common/kernels/matrix.h"
#include "tests/support/support.h"

enum { HEADS = 3, MOST_HEAD = 256, ROWS = 1100, KEYS = 450, SEQUENCES = 16, THREADS = 4 };
static float qkv[ROWS * 3 * HEADS * MOST_HEAD], dqkv[ROWS * 3 * HEADS * MOST_HEAD];
static float out[ROWS * HEADS * MOST_HEAD], dout[ROWS * HEADS * MOST_HEAD], lse[ROWS * HEADS];
static float other[ROWS * 3 * HEADS * MOST_HEAD], other_lse[ROWS * HEADS];
static double in[ROWS * 3 * HEADS * MOST_HEAD];

typedef struct Setup {
    AttentionSequence sequence[SEQUENCES];
    size_t group[SEQUENCES + 1];
    Attention attention;
    size_t rows, sequences, width;
} Setup;

static void set_up(Setup *s, size_t head_size) {
    *s = (Setup){.width = HEADS * head_size};
    s->attention = (Attention){
        .sequence = s->sequence,
        .group = s->group,
        .heads = HEADS,
        .kv_heads = HEADS,
        .head_size = head_size,
        .key = {5, 6},
        .site = 11
    };
    s->attention.scratch = malloc(THREADS * attention_scratch(head_size) * sizeof(float));
    assert_non_null(s->attention.scratch);
    for (size_t i = 0; i < THREADS * attention_scratch(head_size); i++) {
        s->attention.scratch[i] = NAN; /* nothing that was not written is read */
    }
}

static void add(Setup *s, size_t length, int prefix) {
    AttentionSequence *q = &s->sequence[s->sequences];
    *q = (AttentionSequence){
        .begin = s->rows, .end = s->rows + length, .stream = 1000 + s->sequences};
    if (prefix >= 0) {
        q->prefix_begin = s->sequence[prefix].begin;
        q->prefix_end = s->sequence[prefix].end;
    } else {
        s->group[s->attention.groups++] = s->sequences;
    }
    s->rows += length;
    s->group[s->attention.groups] = ++s->sequences;
    assert_true(s->rows <= ROWS);
}

static void fill(const Setup *s, double deviation) {
    Random random = random_stream(4, RANDOM_TEST, 0, 0);
    random_fill_normal(&random, qkv, s->rows * 3 * s->width, deviation);
    random = random_stream(4, RANDOM_TEST, 1, 0);
    random_fill_normal(&random, dout, s->rows * s->width, 1);
    for (size_t i = 0; i < s->rows * 3 * s->width; i++) {
        in[i] = qkv[i];
        dqkv[i] = NAN; /* overwritten, not added to */
    }
}

/* The row of key j of a sequence. */
static size_t key_row(const AttentionSequence *q, size_t j) {
    size_t prefix = q->prefix_end - q->prefix_begin;
    return j < prefix ? q->prefix_begin + j : q->begin + j - prefix;
}

/* One query row of one head: its output and the log of its sum. */
static void reference_row(const Setup *s, const AttentionSequence *q, size_t t, size_t head,
                          double *y, double *log_sum) {
    size_t n = q->prefix_end - q->prefix_begin + t - q->begin + 1, d = s->attention.head_size;
    double score[KEYS], sum = 0;
    float ones[KEYS], mask[KEYS];
    assert_true(n <= KEYS);
    for (size_t j = 0; j < n; j++) {
        const double *a = in + t * 3 * s->width + head * d;
        const double *b = in + (key_row(q, j) * 3 + 1) * s->width + head * d;
        score[j] = 0;
        for (size_t p = 0; p < d; p++) {
            score[j] += a[p] * b[p];
        }
        score[j] /= sqrt((double)d);
        sum += exp(score[j]);
        ones[j] = mask[j] = 1;
    }
    if (s->attention.dropout > 0) {
        DropoutRow place = dropout_row(s->attention.key, q->stream, (uint32_t)(n - 1),
                                       s->attention.site + (uint32_t)head);
        row_kernels()->dropout(mask, ones, &place, dropout_threshold(s->attention.dropout),
                               dropout_scale(s->attention.dropout), n);
    }
    memset(y, 0, d * sizeof *y);
    for (size_t j = 0; j < n; j++) {
        const double *v = in + (key_row(q, j) * 3 + 2) * s->width + head * d;
        for (size_t p = 0; p < d; p++) {
            y[p] += exp(score[j]) / sum * mask[j] * v[p];
        }
    }
    *log_sum = log(sum);
}

/* Output times dout of one head of one group. */
static double loss(const Setup *s, size_t group, size_t head) {
    double sum = 0;
    for (size_t i = s->group[group]; i < s->group[group + 1]; i++) {
        const AttentionSequence *q = &s->sequence[i];
        for (size_t t = q->begin; t < q->end; t++) {
            double y[MOST_HEAD], log_sum;
            reference_row(s, q, t, head, y, &log_sum);
            for (size_t p = 0; p < s->attention.head_size; p++) {
                sum += y[p] * dout[t * s->width + head * s->attention.head_size + p];
            }
        }
    }
    return sum;
}

static void check_forward(const Setup *s) {
    for (size_t i = 0; i < s->sequences; i++) {
        const AttentionSequence *q = &s->sequence[i];
        for (size_t t = q->begin; t < q->end; t++) {
            for (size_t h = 0; h < HEADS; h++) {
                double y[MOST_HEAD], log_sum;
                reference_row(s, q, t, h, y, &log_sum);
                assert_close_double("lse", lse[t * HEADS + h], log_sum, 1e-6, 2e-6);
                for (size_t p = 0; p < s->attention.head_size; p++) {
                    assert_close_double("attention",
                                        out[t * s->width + h * s->attention.head_size + p], y[p],
                                        3e-6, 3e-6);
                }
            }
        }
    }
}

static void check_backward(const Setup *s, uint64_t trials) {
    float largest = 0;
    for (size_t i = 0; i < s->rows * 3 * s->width; i++) {
        assert_true(isfinite(dqkv[i]));
        largest = fmaxf(largest, fabsf(dqkv[i]));
    }
    Random random = random_stream(4, RANDOM_TEST, 2, 0);
    for (uint64_t trial = 0; trial < trials; trial++) {
        size_t at = random_below(&random, trial, s->rows * 3 * s->width);
        size_t row = at / (3 * s->width), group = 0;
        while (s->group[group + 1] < s->sequences &&
               s->sequence[s->group[group + 1]].begin <= row) {
            group++;
        }
        size_t head = at % s->width / s->attention.head_size;
        const double step = 1e-5;
        double middle = in[at];
        in[at] = middle + step;
        double above = loss(s, group, head);
        in[at] = middle - step;
        double slope = (above - loss(s, group, head)) / (2 * step);
        in[at] = middle;
        assert_close_double("d qkv", dqkv[at], slope, 0, 3e-6 * largest + 1e-6);
    }
}

static void run(Setup *s, int threads, uint64_t trials) {
    parallel_init(threads);
    attention_forward(out, lse, qkv, &s->attention);
    check_forward(s);
    attention_backward(dqkv, dout, out, lse, qkv, &s->attention);
    check_backward(s, trials);
}

/* Short ones, and one whose prefix ends where a sequence may end anywhere. */
static void add_some(Setup *s) {
    add(s, 1, -1);
    add(s, 43, -1);
    add(s, 37, -1);
    add(s, 1, 2);
    add(s, 40, 2);
    add(s, 7, 2);
    add(s, 97, -1); /* one row more than a block of queries */
    add(s, 1, -1);
    add(s, 2, 7);
}

static void test_head_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 5, 16, 32, 33, 64, 80, 256};
    for (size_t k = 0; attention_kernels_at(k) != NULL; k++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            Setup s;
            set_up(&s, sizes[i]);
            s.attention.kernels = attention_kernels_at(k);
            add_some(&s);
            fill(&s, 1);
            run(&s, 1 + (int)(i % 2), 30);
            free(s.attention.scratch);
        }
    }
}

/* Several blocks of queries and of keys, cut by the end of a prefix. */
static void add_long(Setup *s) {
    add(s, 421, -1);
    add(s, 150, -1);
    add(s, 288, 1);
    add(s, 96, 1);
    add(s, 100, 1);
}

static void test_blocks(void **state) {
    (void)state;
    for (size_t k = 0; attention_kernels_at(k) != NULL; k++) {
        Setup s;
        set_up(&s, 8);
        s.attention.kernels = attention_kernels_at(k);
        add_long(&s);
        fill(&s, 2);
        run(&s, 2, 100);
        free(s.attention.scratch);
    }
}

static void test_dropout(void **state) {
    (void)state;
    for (size_t k = 0; attention_kernels_at(k) != NULL; k++) {
        for (int i = 0; i < 2; i++) {
            Setup s;
            set_up(&s, 8);
            s.attention.kernels = attention_kernels_at(k);
            s.attention.dropout = 0.3f;
            i == 0 ? add_some(&s) : add_long(&s);
            fill(&s, 1);
            run(&s, 2, 60);
            free(s.attention.scratch);
        }
    }
}

/* Large scores overflow nothing. */
static void test_large_scores(void **state) {
    (void)state;
    Setup s;
    set_up(&s, 16);
    add_some(&s);
    fill(&s, 100);
    parallel_init(2);
    attention_forward(out, lse, qkv, &s.attention);
    attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
    for (size_t i = 0; i < s.rows * s.width; i++) {
        assert_true(isfinite(out[i]));
    }
    for (size_t i = 0; i < s.rows * 3 * s.width; i++) {
        assert_true(isfinite(dqkv[i]));
    }
    free(s.attention.scratch);
}

static void test_threads(void **state) {
    (void)state;
    Setup s;
    set_up(&s, 24);
    add_some(&s);
    add(&s, 300, -1);
    fill(&s, 1);
    parallel_init(1);
    attention_forward(out, lse, qkv, &s.attention);
    attention_backward(other, dout, out, lse, qkv, &s.attention);
    for (int threads = 2; threads <= THREADS; threads++) {
        static float again[ROWS * HEADS * MOST_HEAD];
        parallel_init(threads);
        attention_forward(again, other_lse, qkv, &s.attention);
        assert_memory_equal(again, out, s.rows * s.width * sizeof *out);
        assert_memory_equal(other_lse, lse, s.rows * HEADS * sizeof *lse);
        attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
        assert_memory_equal(dqkv, other, s.rows * 3 * s.width * sizeof *dqkv);
    }
    free(s.attention.scratch);
}

/* A sequence behind a prefix gives the bits of the same rows in one sequence, beside other neighbors. */
static void test_shared_prefix(void **state) {
    (void)state;
    static const size_t prefixes[] = {1, 37, 96, 200}, lengths[] = {1, 50, 130};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 3; j++) {
            size_t p = prefixes[i], n = lengths[j];
            Setup one, two;
            set_up(&one, 20);
            set_up(&two, 20);
            add(&one, p, -1);
            add(&one, n, 0);
            fill(&one, 1);
            add(&two, 11, -1);
            add(&two, p + n, -1);
            size_t floats = 3 * one.width;
            memcpy(other, qkv, 11 * floats * sizeof *qkv);
            memcpy(other + 11 * floats, qkv, (p + n) * floats * sizeof *qkv);
            parallel_init(1);
            attention_forward(out, lse, qkv, &one.attention);
            attention_forward(dqkv, other_lse, other, &two.attention);
            assert_memory_equal(out, dqkv + 11 * one.width, (p + n) * one.width * sizeof *out);
            assert_memory_equal(lse, other_lse + 11 * HEADS, (p + n) * HEADS * sizeof *lse);
            free(one.attention.scratch);
            free(two.attention.scratch);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_sizes), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_dropout),    cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_shared_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
