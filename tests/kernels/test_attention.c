/* SPDX-License-Identifier: MIT
 *
 * Attention against plain loops in double, its backward against differences of these, with every
 * compilation: ragged groups with and without prefixes, lengths around the sizes of blocks, all kinds of
 * head sizes, of sharing of keys, of windows, in one and both directions, with and without dropout. What
 * a row gives depends on what it sees alone.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/attention_block.h"
#include "common/kernels/matrix.h"
#include "tests/support/support.h"

enum { ROWS = 1100, KEYS = 450, SEQUENCES = 16, THREADS = 4, MOST_HEADS = 8, MOST_HEAD = 256 };
enum { FLOATS = ROWS * 9 * MOST_HEAD }; /* of qkv */
static float qkv[FLOATS], dqkv[FLOATS], other[FLOATS];
static float out[FLOATS / 3], dout[FLOATS / 3], again[FLOATS / 3];
static float lse[ROWS * MOST_HEADS], other_lse[ROWS * MOST_HEADS];
static double in[FLOATS];

/* The options of attention beside the ragged rows. */
typedef struct Form {
    size_t heads, kv_heads, head_size, window;
    bool bidirectional;
    float scale, dropout;
} Form;

typedef struct Setup {
    AttentionSequence sequence[SEQUENCES];
    size_t group[SEQUENCES + 1];
    Attention attention;
    size_t rows, sequences;
    size_t width, stride; /* of out and of qkv */
} Setup;

static void set_up(Setup *s, const Form *form) {
    *s = (Setup){.width = form->heads * form->head_size,
                 .stride = (form->heads + 2 * form->kv_heads) * form->head_size};
    s->attention = (Attention){
        .sequence = s->sequence,
        .group = s->group,
        .heads = form->heads,
        .kv_heads = form->kv_heads,
        .head_size = form->head_size,
        .window = form->window,
        .bidirectional = form->bidirectional,
        .scale = form->scale,
        .dropout = form->dropout,
        .key = {5, 6},
        .site = 11
    };
    size_t scratch = THREADS * attention_scratch(form->head_size);
    s->attention.scratch = malloc(scratch * sizeof(float));
    assert_non_null(s->attention.scratch);
    for (size_t i = 0; i < scratch; i++) {
        s->attention.scratch[i] = NAN; /* nothing that was not written is read */
    }
}

/* A prefix becomes a sequence like any other where attention goes in both directions. */
static void add(Setup *s, size_t length, int prefix) {
    AttentionSequence *q = &s->sequence[s->sequences];
    *q = (AttentionSequence){
        .begin = s->rows, .end = s->rows + length, .stream = 1000 + s->sequences};
    if (prefix >= 0 && !s->attention.bidirectional) {
        q->prefix_begin = s->sequence[prefix].begin;
        q->prefix_end = s->sequence[prefix].end;
    } else {
        s->group[s->attention.groups++] = s->sequences;
    }
    s->rows += length;
    s->group[s->attention.groups] = ++s->sequences;
    assert_true(s->rows <= ROWS && s->rows * s->stride <= FLOATS);
}

static void fill(const Setup *s, double deviation) {
    Random random = random_stream(4, RANDOM_TEST, 0, 0);
    random_fill_normal(&random, qkv, s->rows * s->stride, deviation);
    random = random_stream(4, RANDOM_TEST, 1, 0);
    random_fill_normal(&random, dout, s->rows * s->width, 1);
    for (size_t i = 0; i < s->rows * s->stride; i++) {
        in[i] = qkv[i];
        dqkv[i] = NAN; /* overwritten, not added to */
    }
}

/* The row of key j of a sequence. */
static size_t key_row(const AttentionSequence *q, size_t j) {
    size_t prefix = q->prefix_end - q->prefix_begin;
    return j < prefix ? q->prefix_begin + j : q->begin + j - prefix;
}

static bool sees(const Attention *a, size_t position, size_t key) {
    if (key > position) {
        return a->bidirectional && (a->window == 0 || key - position < a->window);
    }
    return a->window == 0 || position - key < a->window;
}

/* One query row of one head: its output and the log of its sum. */
static void reference_row(const Setup *s, const AttentionSequence *q, size_t t, size_t head,
                          double *y, double *log_sum) {
    const Attention *a = &s->attention;
    size_t d = a->head_size, position = q->prefix_end - q->prefix_begin + t - q->begin;
    size_t n = q->prefix_end - q->prefix_begin + q->end - q->begin;
    size_t kv_head = head / (a->heads / a->kv_heads);
    double weight[KEYS] = {0}, sum = 0, scale = a->scale != 0 ? a->scale : 1 / sqrt((double)d);
    float ones[KEYS], mask[KEYS];
    assert_true(n <= KEYS);
    for (size_t j = 0; j < n; j++) {
        const double *x = in + t * s->stride + head * d;
        const double *k = in + key_row(q, j) * s->stride + (a->heads + kv_head) * d;
        double score = 0;
        for (size_t p = 0; p < d && sees(a, position, j); p++) {
            score += x[p] * k[p];
        }
        weight[j] = sees(a, position, j) ? exp(score * scale) : 0;
        sum += weight[j];
        ones[j] = mask[j] = 1;
    }
    if (a->dropout > 0) {
        DropoutRow place =
            dropout_row(a->key, q->stream, (uint32_t)position, a->site + (uint32_t)head);
        row_kernels()->dropout(mask, ones, &place, dropout_threshold(a->dropout),
                               dropout_scale(a->dropout), n);
    }
    memset(y, 0, d * sizeof *y);
    for (size_t j = 0; j < n; j++) {
        const double *v = in + key_row(q, j) * s->stride + (a->heads + a->kv_heads + kv_head) * d;
        for (size_t p = 0; p < d && weight[j] > 0; p++) {
            y[p] += weight[j] / sum * mask[j] * v[p];
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

/* The same of the heads that read a column of qkv. */
static double loss_of_column(const Setup *s, size_t group, size_t column) {
    const Attention *a = &s->attention;
    size_t head = column / a->head_size, each = a->heads / a->kv_heads;
    if (head < a->heads) {
        return loss(s, group, head);
    }
    double sum = 0;
    size_t kv_head = (head - a->heads) % a->kv_heads;
    for (size_t h = kv_head * each; h < (kv_head + 1) * each; h++) {
        sum += loss(s, group, h);
    }
    return sum;
}

static void check_forward(const Setup *s) {
    size_t d = s->attention.head_size, heads = s->attention.heads;
    for (size_t i = 0; i < s->sequences; i++) {
        const AttentionSequence *q = &s->sequence[i];
        for (size_t t = q->begin; t < q->end; t++) {
            for (size_t h = 0; h < heads; h++) {
                double y[MOST_HEAD], log_sum;
                reference_row(s, q, t, h, y, &log_sum);
                assert_close_double("lse", lse[t * heads + h], log_sum, 1e-6, 2e-6);
                for (size_t p = 0; p < d; p++) {
                    assert_close_double("attention", out[t * s->width + h * d + p], y[p], 3e-6,
                                        3e-6);
                }
            }
        }
    }
}

static void check_backward(const Setup *s, uint64_t trials) {
    float largest = 0;
    for (size_t i = 0; i < s->rows * s->stride; i++) {
        assert_true(isfinite(dqkv[i]));
        largest = fmaxf(largest, fabsf(dqkv[i]));
    }
    Random random = random_stream(4, RANDOM_TEST, 2, 0);
    for (uint64_t trial = 0; trial < trials; trial++) {
        size_t at = random_below(&random, trial, s->rows * s->stride);
        size_t row = at / s->stride, group = 0;
        while (s->group[group + 1] < s->sequences &&
               s->sequence[s->group[group + 1]].begin <= row) {
            group++;
        }
        const double step = 1e-5;
        double middle = in[at];
        in[at] = middle + step;
        double above = loss_of_column(s, group, at % s->stride);
        in[at] = middle - step;
        double slope = (above - loss_of_column(s, group, at % s->stride)) / (2 * step);
        in[at] = middle;
        assert_close_double("d qkv", dqkv[at], slope, 0, 3e-6 * largest + 1e-6);
    }
}

static double loss_along(const Setup *s, const float *direction, double step) {
    double sum = 0;
    for (size_t i = 0; i < s->rows * s->stride; i++) {
        in[i] = qkv[i] + step * direction[i];
    }
    for (size_t group = 0; group < s->attention.groups; group++) {
        for (size_t h = 0; h < s->attention.heads; h++) {
            sum += loss(s, group, h);
        }
    }
    return sum;
}

/* The slope along a random direction, in which every gradient has its part. */
static void check_direction(const Setup *s) {
    Random random = random_stream(4, RANDOM_TEST, 3, 0);
    random_fill_normal(&random, other, s->rows * s->stride, 1);
    const double step = 1e-5;
    double want = (loss_along(s, other, step) - loss_along(s, other, -step)) / (2 * step);
    double got = 0, square = 0;
    for (size_t i = 0; i < s->rows * s->stride; i++) {
        got += (double)dqkv[i] * other[i];
        square += (double)dqkv[i] * dqkv[i];
        in[i] = qkv[i];
    }
    assert_close_double("direction", got, want, 0, 3e-6 * sqrt(square));
}

static void run(Setup *s, int threads, uint64_t trials) {
    parallel_init(threads);
    attention_forward(out, lse, qkv, &s->attention);
    check_forward(s);
    attention_backward(dqkv, dout, out, lse, qkv, &s->attention);
    check_backward(s, trials);
    check_direction(s);
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

/* Several blocks of queries and of keys, cut by the end of a prefix. */
static void add_long(Setup *s) {
    add(s, 421, -1);
    add(s, 150, -1);
    add(s, 288, 1);
    add(s, 96, 1);
    add(s, 100, 1);
}

/* On every compilation. */
static void check(const Form *form, void (*rows)(Setup *), double deviation, uint64_t trials) {
    for (size_t k = 0; attention_kernels_at(k) != NULL; k++) {
        Setup s;
        set_up(&s, form);
        s.attention.kernels = attention_kernels_at(k);
        rows(&s);
        fill(&s, deviation);
        run(&s, 2, trials);
        free(s.attention.scratch);
    }
}

static void test_head_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 5, 16, 24, 33, 64, 80, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(&(Form){.heads = 3, .kv_heads = 3, .head_size = sizes[i]}, add_some, 1, 30);
    }
}

static void test_blocks(void **state) {
    (void)state;
    check(&(Form){.heads = 3, .kv_heads = 3, .head_size = 8}, add_long, 2, 30);
}

static void test_dropout(void **state) {
    (void)state;
    const Form form = {.heads = 3, .kv_heads = 3, .head_size = 8, .dropout = 0.3f};
    check(&form, add_some, 1, 60);
    check(&form, add_long, 1, 20);
}

static void test_shared_keys(void **state) {
    (void)state;
    check(&(Form){.heads = 4, .kv_heads = 2, .head_size = 24}, add_some, 1, 60);
    check(&(Form){.heads = 6, .kv_heads = 2, .head_size = 16, .scale = 1}, add_some, 0.5, 60);
    check(&(Form){.heads = 3, .kv_heads = 1, .head_size = 128}, add_some, 1, 30);
    check(&(Form){.heads = 4, .kv_heads = 2, .head_size = 4}, add_long, 1, 15);
    check(&(Form){.heads = 4, .kv_heads = 1, .head_size = 5, .dropout = 0.2f}, add_long, 1, 15);
}

/* Narrower than a vector, than a tile, than a block, and wider than all sequences. */
static void test_windows(void **state) {
    (void)state;
    static const size_t windows[] = {1, 2, 7, 16, 29, 96, 97, 150, 193, 300, SIZE_MAX};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        Form form = {.heads = 2, .kv_heads = 1 + i % 2, .head_size = 6, .window = windows[i]};
        check(&form, add_long, 1, 6);
        form.dropout = 0.3f;
        check(&form, i % 3 == 0 ? add_long : add_some, 1, 6);
    }
}

static void test_both_directions(void **state) {
    (void)state;
    static const size_t windows[] = {0, 1, 3, 20, 100, 210, 1000};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        Form form = {.heads = 2, .kv_heads = 2 - i % 2, .head_size = 6, .window = windows[i]};
        form.bidirectional = true;
        check(&form, add_long, 1, 6);
        form.dropout = 0.3f;
        check(&form, add_some, 1, 6);
    }
}

/* The gradient of a query of the only head, in double: sum_j p_j (dp_j - sum_k p_k dp_k) k_j. */
static void even_reference(const Setup *s, size_t t, double *dq) {
    size_t n = s->rows, d = s->width;
    double p[KEYS], dp[KEYS], sum = 0, mean = 0, scale = 1 / sqrt((double)d);
    for (size_t j = 0; j < n; j++) {
        const double *k = in + j * s->stride + d, *v = k + d;
        double score = 0;
        dp[j] = 0;
        for (size_t i = 0; i < d; i++) {
            score += scale * in[t * s->stride + i] * k[i];
            dp[j] += (double)dout[t * d + i] * v[i];
        }
        p[j] = exp(score);
        sum += p[j];
    }
    for (size_t j = 0; j < n; j++) {
        mean += p[j] / sum * dp[j];
    }
    for (size_t i = 0; i < d; i++) {
        dq[i] = 0;
        for (size_t j = 0; j < n; j++) {
            dq[i] += scale * p[j] / sum * (dp[j] - mean) * in[j * s->stride + d + i];
        }
    }
}

/* An encoder's row that looks at much the same keys and values, as deep layers have them: what they have in
 * common cancels, and its rounding does not stay behind. */
static void test_even_rows(void **state) {
    (void)state;
    for (size_t k = 0; attention_kernels_at(k) != NULL; k++) {
        Setup s;
        set_up(&s, &(Form){.heads = 1, .kv_heads = 1, .head_size = 12, .bidirectional = true});
        s.attention.kernels = attention_kernels_at(k);
        add(&s, 150, -1);
        fill(&s, 1);
        for (size_t i = 0; i < s.rows * s.stride; i++) {
            bool query = i % s.stride < s.width;
            qkv[i] = query ? 0.1f * qkv[i] : 1 + 0.05f * qkv[i];
            in[i] = qkv[i];
        }
        attention_forward(out, lse, qkv, &s.attention);
        attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
        double worst = 0, largest = 0;
        for (size_t t = 0; t < s.rows; t++) {
            double want[12];
            even_reference(&s, t, want);
            for (size_t i = 0; i < s.width; i++) {
                worst = fmax(worst, fabs((double)dqkv[t * s.stride + i] - want[i]));
                largest = fmax(largest, fabs(want[i]));
            }
        }
        assert_true(worst < 5e-4 * largest);
        free(s.attention.scratch);
    }
}

/* Large scores overflow nothing. */
static void test_large_scores(void **state) {
    (void)state;
    for (size_t window = 0; window < 40; window += 13) {
        Setup s;
        set_up(&s, &(Form){.heads = 3, .kv_heads = 3, .head_size = 16, .window = window});
        add_some(&s);
        fill(&s, 100);
        parallel_init(2);
        attention_forward(out, lse, qkv, &s.attention);
        attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
        for (size_t i = 0; i < s.rows * s.width; i++) {
            assert_true(isfinite(out[i]));
        }
        for (size_t i = 0; i < s.rows * s.stride; i++) {
            assert_true(isfinite(dqkv[i]));
        }
        free(s.attention.scratch);
    }
}

static void test_threads(void **state) {
    (void)state;
    static const Form forms[] = {
        {.heads = 3,       .kv_heads = 3, .head_size = 24      },
        { .heads = 6, .kv_heads = 2,  .head_size = 16,       .window = 50, .dropout = 0.1f},
        { .heads = 4, .kv_heads = 1,  .head_size = 16, .window = 90, .bidirectional = true},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        Setup s;
        set_up(&s, &forms[i]);
        add_some(&s);
        add(&s, 300, -1);
        fill(&s, 1);
        parallel_init(1);
        attention_forward(out, lse, qkv, &s.attention);
        attention_backward(other, dout, out, lse, qkv, &s.attention);
        for (int threads = 2; threads <= THREADS; threads++) {
            parallel_init(threads);
            attention_forward(again, other_lse, qkv, &s.attention);
            assert_memory_equal(again, out, s.rows * s.width * sizeof *out);
            assert_memory_equal(other_lse, lse, s.rows * forms[i].heads * sizeof *lse);
            attention_backward(dqkv, dout, out, lse, qkv, &s.attention);
            assert_memory_equal(dqkv, other, s.rows * s.stride * sizeof *dqkv);
        }
        free(s.attention.scratch);
    }
}

/* A sequence behind a prefix gives the bits of the same rows in one sequence, beside other neighbors. */
static void check_prefix(const Form *form, size_t p, size_t n) {
    Setup one, two;
    set_up(&one, form);
    set_up(&two, form);
    add(&one, p, -1);
    add(&one, n, 0);
    fill(&one, 1);
    add(&two, 11, -1);
    add(&two, p + n, -1);
    memcpy(other, qkv, 11 * one.stride * sizeof *qkv);
    memcpy(other + 11 * one.stride, qkv, (p + n) * one.stride * sizeof *qkv);
    parallel_init(1);
    attention_forward(out, lse, qkv, &one.attention);
    attention_forward(again, other_lse, other, &two.attention);
    assert_memory_equal(out, again + 11 * one.width, (p + n) * one.width * sizeof *out);
    assert_memory_equal(lse, other_lse + 11 * form->heads, (p + n) * form->heads * sizeof *lse);
    free(one.attention.scratch);
    free(two.attention.scratch);
}

static void test_shared_prefix(void **state) {
    (void)state;
    static const size_t prefixes[] = {1, 37, 96, 200}, lengths[] = {1, 50, 130};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 3; j++) {
            check_prefix(&(Form){.heads = 3, .kv_heads = 3, .head_size = 20}, prefixes[i],
                         lengths[j]);
            check_prefix(&(Form){.heads = 4, .kv_heads = 2, .head_size = 20, .window = 70},
                         prefixes[i], lengths[j]);
        }
    }
}

/* A window that holds everything, and keys repeated for each head of queries, give the bits of plain
 * attention. */
static void test_same_bits(void **state) {
    (void)state;
    enum { HEADS = 4, KV_HEADS = 2, SIZE = 12, STRIDE = (HEADS + 2 * KV_HEADS) * SIZE };
    Setup shared, plain;
    set_up(&shared,
           &(Form){.heads = HEADS, .kv_heads = KV_HEADS, .head_size = SIZE, .window = 450});
    set_up(&plain, &(Form){.heads = HEADS, .kv_heads = HEADS, .head_size = SIZE});
    add_long(&shared);
    add_long(&plain);
    fill(&shared, 1);
    for (size_t t = 0; t < plain.rows; t++) {
        for (size_t i = 0; i < plain.stride; i++) {
            size_t head = i / SIZE, kind = head / HEADS;
            size_t from = kind == 0 ? head : HEADS + (kind - 1) * KV_HEADS + head % HEADS / 2;
            other[t * plain.stride + i] = qkv[t * STRIDE + from * SIZE + i % SIZE];
        }
    }
    parallel_init(2);
    attention_forward(out, lse, qkv, &shared.attention);
    attention_forward(again, other_lse, other, &plain.attention);
    assert_memory_equal(again, out, plain.rows * plain.width * sizeof *out);
    assert_memory_equal(other_lse, lse, plain.rows * HEADS * sizeof *lse);
    attention_backward(dqkv, dout, out, lse, qkv, &shared.attention);
    static float whole[ROWS * 3 * HEADS * SIZE];
    attention_backward(whole, dout, out, lse, other, &plain.attention);
    for (size_t t = 0; t < plain.rows; t++) {
        const float *a = whole + t * plain.stride, *b = dqkv + t * STRIDE;
        assert_memory_equal(a, b, HEADS * SIZE * sizeof *a);
        for (size_t i = 0; i < 2 * KV_HEADS * SIZE; i++) {
            const float *pair = a + HEADS * SIZE + i / SIZE * 2 * SIZE + i % SIZE;
            assert_close_double("sum", b[HEADS * SIZE + i], (double)pair[0] + pair[SIZE], 1e-5,
                                1e-5);
        }
    }
    free(shared.attention.scratch);
    free(plain.attention.scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_sizes),    cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_dropout),       cmocka_unit_test(test_shared_keys),
        cmocka_unit_test(test_windows),       cmocka_unit_test(test_both_directions),
        cmocka_unit_test(test_large_scores),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_shared_prefix), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_even_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
