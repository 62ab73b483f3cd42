/* SPDX-License-Identifier: MIT */
#include "common/kernels/attention.h"

#include "common/base/error.h"
#include "common/base/parallel.h"
#include "common/kernels/attention_block.h"

static const AttentionKernels *kernels_of(const Attention *attention) {
    return attention->kernels != NULL ? attention->kernels : attention_kernels();
}

size_t attention_scratch(size_t head_size) {
    size_t most = 0;
    for (size_t i = 0; attention_kernels_at(i) != NULL; i++) {
        size_t n = attention_kernels_at(i)->scratch(head_size);
        most = n > most ? n : most;
    }
    return most;
}

typedef struct Work {
    const AttentionPass *pass;
    AttentionTask *task;
    size_t heads; /* of each group */
} Work;

static void run_tasks(void *context, size_t begin, size_t end, int thread) {
    const Work *w = context;
    const Attention *a = w->pass->attention;
    float *scratch = a->scratch + (size_t)thread * attention_scratch(a->head_size);
    for (size_t i = begin; i < end; i++) {
        w->task(w->pass, i / w->heads, i % w->heads, scratch);
    }
}

static void run(const AttentionPass *pass, AttentionTask *task, size_t heads) {
    const Attention *a = pass->attention;
    CHECK(a->kv_heads > 0 && a->heads % a->kv_heads == 0);
    for (size_t i = 0; i < a->group[a->groups] && a->bidirectional; i++) {
        CHECK(a->sequence[i].prefix_begin == a->sequence[i].prefix_end);
    }
    Work work = {pass, task, heads};
    parallel_each(a->groups * heads, run_tasks, &work);
}

void attention_forward(float *out, float *lse, const float *qkv, const Attention *attention) {
    AttentionPass pass = {.attention = attention, .qkv = qkv, .out = out, .lse = lse};
    run(&pass, kernels_of(attention)->forward, attention->heads);
}

void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse,
                        const float *qkv, const Attention *attention) {
    AttentionPass pass = {.attention = attention,
                          .qkv = qkv,
                          .dout = dout,
                          .out = (float *)(uintptr_t)out,
                          .lse = (float *)(uintptr_t)lse,
                          .dqkv = dqkv};
    run(&pass, kernels_of(attention)->backward, attention->kv_heads);
}
