/* SPDX-License-Identifier: MIT
 *
 * Attention against plain loops in double, its backward against differences of these: ragged groups with
 * and without prefixes, blocks cut anywhere, with and without dropout.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/attention.h"
#include "common/kernels/matrix.h"
#include "tests/support/support.h"

enum { HEADS = 3, HEAD = 5, WIDTH = HEADS * HEAD, ROWS = 400, KEYS = 200, SEQUENCES = 16 };
static float qkv[ROWS * 3 * WIDTH], out[ROWS * WIDTH], lse[ROWS * HEADS], dout[ROWS * WIDTH];
static float dqkv[ROWS * 3 * WIDTH];
static double want[ROWS * WIDTH], want_lse[ROWS * HEADS];

typedef struct Setup {
    AttentionSequence sequence[SEQUENCES];
    size_t group[SEQUENCES + 1];
    Attention attention;
    size_t rows, sequences;
} Setup;

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
}

static void set_up(Setup *s, float dropout) {
    *s = (Setup){0};
    s->attention = (Attention){
        .sequence = s->sequence,
        .group = s->group,
        .heads = HEADS,
        .head_size = HEAD,
        .longest = KEYS,
        .dropout = dropout,
        .key = {5, 6},
        .site = 11
    };
    s->attention.scratch = calloc(8 * attention_scratch(KEYS), sizeof(float));
    assert_non_null(s->attention.scratch);
    add(s, 1, -1);
    add(s, 43, -1); /* one row more than a block */
    add(s, 37, -1);
    add(s, 1, 2);
    add(s, 40, 2);
    add(s, 7, 2);
    add(s, 64, -1);
    add(s, 1, -1);
    add(s, 2, 7);
    assert_true(s->rows <= ROWS);
    Random random = random_stream(4, RANDOM_TEST, 0, 0);
    random_fill_normal(&random, qkv, s->rows * 3 * WIDTH, 1);
    random = random_stream(4, RANDOM_TEST, 1, 0);
    random_fill_normal(&random, dout, s->rows * WIDTH, 1);
}

static void tear_down(Setup *s) {
    free(s->attention.scratch);
}

/* The row of key j of a sequence. */
static size_t key_row(const AttentionSequence *q, size_t j) {
    size_t prefix = q->prefix_end - q->prefix_begin;
    return j < prefix ? q->prefix_begin + j : q->begin + j - prefix;
}

/* One query row of one head: its output and the log of its sum. */
static void reference_row(const Setup *s, const AttentionSequence *q, size_t t, size_t head,
                          const double *in, double *y, double *log_sum) {
    size_t n = q->prefix_end - q->prefix_begin + t - q->begin + 1;
    double score[KEYS], sum = 0;
    float ones[KEYS], mask[KEYS];
    for (size_t j = 0; j < n; j++) {
        const double *a = in + t * 3 * WIDTH + head * HEAD;
        const double *b = in + key_row(q, j) * 3 * WIDTH + WIDTH + head * HEAD;
        score[j] = 0;
        for (size_t d = 0; d < HEAD; d++) {
            score[j] += a[d] * b[d] / sqrt(HEAD);
        }
        sum += exp(score[j]);
        ones[j] = mask[j] = 1;
    }
    if (s->attention.dropout > 0) {
        DropoutRow place = dropout_row(s->attention.key, q->stream, (uint32_t)(n - 1),
                                       s->attention.site + (uint32_t)head);
        row_kernels()->dropout(mask, ones, &place, dropout_threshold(s->attention.dropout),
                               dropout_scale(s->attention.dropout), n);
    }
    memset(y, 0, HEAD * sizeof *y);
    for (size_t j = 0; j < n; j++) {
        const double *v = in + key_row(q, j) * 3 * WIDTH + 2 * WIDTH + head * HEAD;
        for (size_t d = 0; d < HEAD; d++) {
            y[d] += exp(score[j]) / sum * mask[j] * v[d];
        }
    }
    *log_sum = log(sum);
}

static double reference(const Setup *s, const double *in) {
    double loss = 0;
    for (size_t i = 0; i < s->sequences; i++) {
        const AttentionSequence *q = &s->sequence[i];
        for (size_t t = q->begin; t < q->end; t++) {
            for (size_t h = 0; h < HEADS; h++) {
                double *y = want + t * WIDTH + h * HEAD;
                reference_row(s, q, t, h, in, y, &want_lse[t * HEADS + h]);
                for (size_t d = 0; d < HEAD; d++) {
                    loss += y[d] * dout[t * WIDTH + h * HEAD + d];
                }
            }
        }
    }
    return loss;
}

static void check_forward(const Setup *s, const double *in) {
    static float rounded[ROWS * WIDTH];
    reference(s, in);
    for (size_t i = 0; i < s->rows * WIDTH; i++) {
        rounded[i] = (float)want[i];
    }
    assert_close("attention", out, rounded, s->rows * WIDTH, 2e-6, 0);
    for (size_t i = 0; i < s->rows * HEADS; i++) {
        rounded[i] = (float)want_lse[i];
    }
    assert_close("lse", lse, rounded, s->rows * HEADS, 2e-6, 0);
}

static void check_backward(const Setup *s, double *in) {
    float largest = 0;
    for (size_t i = 0; i < s->rows * 3 * WIDTH; i++) {
        largest = fmaxf(largest, fabsf(dqkv[i]));
    }
    Random random = random_stream(4, RANDOM_TEST, 2, 0);
    for (uint64_t trial = 0; trial < 150; trial++) {
        size_t at = random_below(&random, trial, s->rows * 3 * WIDTH);
        const double step = 1e-5;
        double middle = in[at];
        in[at] = middle + step;
        double above = reference(s, in);
        in[at] = middle - step;
        double slope = (above - reference(s, in)) / (2 * step);
        in[at] = middle;
        assert_close_double("d qkv", dqkv[at], slope, 0, 3e-6 * largest + 1e-6);
    }
}

static void run(float dropout, int threads) {
    Setup s;
    set_up(&s, dropout);
    parallel_init(threads);
    static double in[ROWS * 3 * WIDTH];
    for (size_t i = 0; i < s.rows * 3 * WIDTH; i++) {
        in[i] = qkv[i];
        dqkv[i] = NAN; /* overwritten, not added to */
    }
    attention_forward(out, lse, qkv, &s.attention);
    check_forward(&s, in);
    attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
    check_backward(&s, in);
    tear_down(&s);
}

static void test_plain(void **state) {
    (void)state;
    run(0, 1);
    run(0, 2);
}

static void test_dropout(void **state) {
    (void)state;
    run(0.3f, 2);
}

/* Large scores overflow nothing. */
static void test_large_scores(void **state) {
    (void)state;
    Setup s;
    set_up(&s, 0);
    parallel_init(2);
    for (size_t i = 0; i < s.rows * 3 * WIDTH; i++) {
        qkv[i] *= 100;
    }
    attention_forward(out, lse, qkv, &s.attention);
    attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
    for (size_t i = 0; i < s.rows * WIDTH; i++) {
        assert_true(isfinite(out[i]));
    }
    for (size_t i = 0; i < s.rows * 3 * WIDTH; i++) {
        assert_true(isfinite(dqkv[i]));
    }
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_large_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
