/* SPDX-License-Identifier: MIT
 *
 * Attention over pages against sums in double over plain arrays and against attention of whole sequences,
 * for head sizes of every kind, positions around the edges of pages, shared heads of keys and windows; and
 * its promises: neighbors and threads change no bit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/attention.h"
#include "common/kernels/cached_attention.h"
#include "tests/support/support.h"

enum { ROWS = 5, LONGEST = 90, PAGES = 40 };

/* The options beside places and values. */
typedef struct Form {
    GemmType type;
    size_t heads, kv_heads, head_size, window;
    float scale;
} Form;

/* Rows over a prompt of `shared` tokens that all of them see; row i has own[i] tokens behind it. */
typedef struct World {
    size_t width, stride, shared, own[ROWS];
    float *token; /* [1 + ROWS][LONGEST][stride] of the prompt, and behind it of each row */
    uint32_t prompt_page[PAGES], page[ROWS][PAGES];
    CachedPages pages;
} World;

static const float *token_at(const World *w, size_t row, size_t position) {
    size_t list = position < w->shared ? 0 : 1 + row;
    size_t at = position < w->shared ? position : position - w->shared;
    return w->token + (list * LONGEST + at) * w->stride;
}

static CachedRow place(const World *w, size_t row, size_t position) {
    return (CachedRow){w->prompt_page, w->shared, w->page[row], position};
}

static void world_init(World *w, const Form *form, size_t shared) {
    *w = (World){.width = form->heads * form->head_size,
                 .stride = (form->heads + 2 * form->kv_heads) * form->head_size,
                 .shared = shared};
    size_t floats = (1 + ROWS) * LONGEST * w->stride;
    w->token = malloc(floats * sizeof(float));
    Random random = random_stream(form->head_size, RANDOM_TEST, shared, 0);
    for (size_t i = 0; i < floats; i++) {
        w->token[i] = (float)(int32_t)random_u32(&random, i) * 0x1.8p-31f;
    }
    /* Pages in no order; those of rows are taken from the end. */
    for (size_t i = 0; i < PAGES; i++) {
        w->prompt_page[i] = (uint32_t)(7 * i % PAGES);
        for (size_t r = 0; r < ROWS; r++) {
            w->page[r][i] = (uint32_t)(7 * (PAGES - 1 - r * 6 - i % 6) % PAGES);
        }
    }
    size_t bytes = PAGES * page_bytes(form->type, form->kv_heads, form->head_size);
    w->pages = (CachedPages){.data = aligned_alloc(64, (bytes + 63) / 64 * 64),
                             .type = form->type,
                             .heads = form->heads,
                             .kv_heads = form->kv_heads,
                             .head_size = form->head_size,
                             .window = form->window,
                             .scale = form->scale};
    memset(w->pages.data, 0xff, bytes); /* what was not stored is NaN */
    for (size_t t = 0; t < shared; t++) {
        CachedRow row = place(w, 0, t);
        cached_attention_store(&w->pages, &row, token_at(w, 0, t), 1);
    }
    static const size_t own[ROWS] = {1, 15, 16, 17, 50};
    for (size_t r = 0; r < ROWS; r++) {
        w->own[r] = own[r];
        for (size_t t = shared; t < shared + own[r]; t++) {
            CachedRow row = place(w, r, t);
            cached_attention_store(&w->pages, &row, token_at(w, r, t), 1);
        }
    }
}

static void world_done(World *w) {
    free(w->token);
    free(w->pages.data);
}

static double rounded(const World *w, float x) {
    return (double)(w->pages.type == GEMM_BF16 ? round_bf16(x) : x);
}

static void reference(const World *w, size_t row, size_t position, float *out) {
    const CachedPages *pages = &w->pages;
    size_t d = pages->head_size, each = pages->heads / pages->kv_heads;
    size_t first =
        pages->window > 0 && position >= pages->window ? position + 1 - pages->window : 0;
    double scale = pages->scale != 0 ? (double)pages->scale : 1 / sqrt((double)d);
    const float *query = token_at(w, row, position);
    for (size_t h = 0; h < pages->heads; h++) {
        double score[2 * LONGEST], largest = -INFINITY, total = 0;
        for (size_t t = first; t <= position; t++) {
            const float *key = token_at(w, row, t) + w->width + h / each * d;
            score[t] = 0;
            for (size_t i = 0; i < d; i++) {
                score[t] += (double)query[h * d + i] * rounded(w, key[i]);
            }
            score[t] *= scale;
            largest = fmax(largest, score[t]);
        }
        for (size_t t = first; t <= position; t++) {
            total += score[t] = exp(score[t] - largest);
        }
        for (size_t i = 0; i < d; i++) {
            size_t at = w->width + (pages->kv_heads + h / each) * d + i;
            double sum = 0;
            for (size_t t = first; t <= position; t++) {
                sum += score[t] * rounded(w, token_at(w, row, t)[at]);
            }
            out[h * d + i] = (float)(sum / total);
        }
    }
}

/* The last token of every row at once. */
static void attend_all(const World *w, float *out) {
    CachedRow row[ROWS];
    float *qkv = malloc(ROWS * w->stride * sizeof(float));
    size_t scratch_floats = 4 * cached_attention_scratch(w->pages.heads, 2 * LONGEST);
    float *scratch = malloc(scratch_floats * sizeof(float));
    for (size_t i = 0; i < scratch_floats; i++) {
        scratch[i] = NAN; /* nothing that was not written is read */
    }
    for (size_t r = 0; r < ROWS; r++) {
        size_t last = w->shared + w->own[r] - 1;
        row[r] = place(w, r, last);
        memcpy(qkv + r * w->stride, token_at(w, r, last), w->stride * sizeof(float));
    }
    cached_attention(out, &w->pages, row, qkv, ROWS, scratch, 2 * LONGEST);
    free(qkv);
    free(scratch);
}

static const size_t head_sizes[] = {1, 3, 8, 16, 24, 31, 64, 80, 128, 200};
static const size_t prompts[] = {1, 16, 17, 70};

static void check(const Form *form, size_t prompt) {
    World w;
    world_init(&w, form, prompt);
    float *out = malloc(ROWS * w.width * sizeof(float));
    float *want = malloc(w.width * sizeof(float));
    attend_all(&w, out);
    for (size_t r = 0; r < ROWS; r++) {
        reference(&w, r, w.shared + w.own[r] - 1, want);
        assert_close("attention", out + r * w.width, want, w.width, 1e-5, 3e-6);
    }
    free(out);
    free(want);
    world_done(&w);
}

static void test_reference(void **state) {
    (void)state;
    for (GemmType type = GEMM_FP32; type <= GEMM_BF16; type++) {
        for (size_t h = 0; h < sizeof head_sizes / sizeof *head_sizes; h++) {
            for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++) {
                check(&(Form){type, 3, 3, head_sizes[h], 0, 0}, prompts[p]);
                check(&(Form){type, 4, 2, head_sizes[h], 0, 0.3f}, prompts[p]);
            }
        }
    }
}

static void test_windows(void **state) {
    (void)state;
    static const size_t windows[] = {1, 2, 9, 15, 16, 17, 40, 71, 120, SIZE_MAX};
    for (GemmType type = GEMM_FP32; type <= GEMM_BF16; type++) {
        for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
            for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++) {
                check(&(Form){type, 3, 3, 24, windows[i], 0}, prompts[p]);
                check(&(Form){type, 6, 1 + i % 3, 31, windows[i], 0}, prompts[p]);
            }
        }
    }
}

/* A row gets what it gets as the last one of its whole sequence. */
static void check_whole(const Form *form, size_t prompt) {
    World w;
    world_init(&w, form, prompt);
    float *out = malloc(ROWS * w.width * sizeof(float));
    float *qkv = malloc(2 * LONGEST * w.stride * sizeof(float));
    float *whole = malloc(2 * LONGEST * w.width * sizeof(float));
    float *lse = malloc(2 * LONGEST * form->heads * sizeof(float));
    float *scratch = malloc(2 * attention_scratch(form->head_size) * sizeof(float));
    attend_all(&w, out);
    for (size_t r = 0; r < ROWS; r++) {
        size_t n = w.shared + w.own[r];
        for (size_t t = 0; t < n; t++) {
            memcpy(qkv + t * w.stride, token_at(&w, r, t), w.stride * sizeof(float));
        }
        const AttentionSequence sequence = {.end = n};
        const size_t group[] = {0, 1};
        const Attention attention = {.sequence = &sequence,
                                     .group = group,
                                     .groups = 1,
                                     .heads = form->heads,
                                     .kv_heads = form->kv_heads,
                                     .head_size = form->head_size,
                                     .window = form->window,
                                     .scale = form->scale,
                                     .scratch = scratch};
        attention_forward(whole, lse, qkv, &attention);
        assert_close("whole", out + r * w.width, whole + (n - 1) * w.width, w.width, 2e-6, 2e-6);
    }
    free(out);
    free(qkv);
    free(whole);
    free(lse);
    free(scratch);
    world_done(&w);
}

static void test_whole_sequences(void **state) {
    (void)state;
    for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++) {
        check_whole(&(Form){GEMM_FP32, 4, 4, 64, 0, 0}, prompts[p]);
        check_whole(&(Form){GEMM_FP32, 4, 2, 80, 0, 1}, prompts[p]);
        check_whole(&(Form){GEMM_FP32, 6, 2, 16, 33, 0}, prompts[p]);
        check_whole(&(Form){GEMM_FP32, 3, 1, 128, 5, 0}, prompts[p]);
    }
}

/* A row alone, on one thread, has the bits it has among others on more. */
static void check_alone(const Form *form) {
    World w;
    world_init(&w, form, 33);
    float *out = malloc(ROWS * w.width * sizeof(float));
    float *alone = malloc(w.width * sizeof(float));
    float *scratch = malloc(cached_attention_scratch(form->heads, LONGEST) * sizeof(float));
    for (int threads = 2; threads <= 4; threads++) {
        parallel_init(threads);
        attend_all(&w, out);
        parallel_init(1);
        for (size_t r = 0; r < ROWS; r++) {
            size_t last = w.shared + w.own[r] - 1;
            CachedRow row = place(&w, r, last);
            cached_attention(alone, &w.pages, &row, token_at(&w, r, last), 1, scratch, LONGEST);
            assert_memory_equal(alone, out + r * w.width, w.width * sizeof(float));
        }
    }
    parallel_init(2);
    free(out);
    free(alone);
    free(scratch);
    world_done(&w);
}

static void test_independence(void **state) {
    (void)state;
    for (GemmType type = GEMM_FP32; type <= GEMM_BF16; type++) {
        check_alone(&(Form){type, 3, 3, 64, 0, 0});
        check_alone(&(Form){type, 16, 4, 128, 0, 0});
        check_alone(&(Form){type, 16, 2, 128, 40, 0});
    }
}

/* Every instruction set's kernels against the portable ones. */
static void test_kernels(void **state) {
    (void)state;
    enum { MOST = 200 };
    float key[MOST], value[MOST], q[MOST], weight[PAGE_TOKENS];
    float keys[2][MOST * PAGE_TOKENS], values[2][MOST * PAGE_TOKENS];
    float scores[2][PAGE_TOKENS], out[2][MOST];
    Random random = random_stream(1, RANDOM_TEST, 2, 3);
    for (int kind = 0; kind < 2; kind++) {
        GemmType type = kind == 0 ? GEMM_FP32 : GEMM_BF16;
        for (size_t k = 0; page_kernels_at(type, k) != NULL; k++) {
            for (size_t h = 0; h < sizeof head_sizes / sizeof *head_sizes; h++) {
                size_t d = head_sizes[h], n = 1 + (h * 5 + 3) % PAGE_TOKENS;
                for (int side = 0; side < 2; side++) {
                    const PageKernels *kernels = page_kernels_at(type, side == 0 ? 0 : k);
                    for (size_t t = 0; t < PAGE_TOKENS; t++) {
                        for (size_t i = 0; i < d; i++) {
                            key[i] = (float)random_normal(&random, t * MOST + i);
                            value[i] = (float)random_normal(&random, t * MOST + i + 7777);
                            q[i] = (float)random_normal(&random, i + 9999);
                            out[side][i] = 1;
                        }
                        weight[t] = (float)random_uniform(&random, t);
                        kernels->store(keys[side], t, key, d);
                        kernels->store(values[side], t, value, d);
                    }
                    kernels->scores(scores[side], 0.5f, q, keys[side], n, d);
                    kernels->weigh(out[side], weight, values[side], n, d);
                }
                size_t bytes = d * PAGE_TOKENS * (kind == 0 ? sizeof(float) : sizeof(uint16_t));
                assert_memory_equal(keys[0], keys[1], bytes);
                assert_memory_equal(values[0], values[1], bytes);
                assert_close("scores", scores[1], scores[0], n, 1e-5, 2e-5);
                assert_close("values", out[1], out[0], d, 1e-5, 2e-5);
            }
        }
    }
}

static int set_up(void **state) {
    (void)state;
    parallel_init(2);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),       cmocka_unit_test(test_windows),
        cmocka_unit_test(test_whole_sequences), cmocka_unit_test(test_independence),
        cmocka_unit_test(test_kernels),
    };
    return cmocka_run_group_tests(tests, set_up, NULL) == 0 ? 0 : 1;
}
