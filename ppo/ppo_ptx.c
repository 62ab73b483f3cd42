/* SPDX-License-Identifier: MIT */
#include "ppo/ppo.h"

static const Example *ptx_example(const Ppo *ppo, uint64_t index) {
    const ExampleSet *set = ppo->part.ptx;
    Random random = random_stream((uint64_t)ppo->config->settings.train.seed, RANDOM_PTX,
                                  index / set->examples, 0);
    return &set->example[random_permute(&random, set->examples, index % set->examples)];
}

typedef struct PtxContext {
    double weight; /* ppo.ptx_coef / trained tokens */
    double sum;    /* of -log p */
    const int32_t *target;
} PtxContext;

static void ptx_rows(void *pointer, size_t n, const size_t *row, const PerToken *value,
                     PerToken *gradient) {
    PtxContext *context = pointer;
    for (size_t i = 0; i < n; i++) {
        bool trained = context->target[row[i]] != BATCH_NO_TARGET;
        gradient->logprob[i] = trained ? (float)-context->weight : 0;
        context->sum -= trained ? value->logprob[i] : 0;
        if (gradient->entropy != NULL) {
            gradient->entropy[i] = 0;
        }
        if (gradient->score != NULL) {
            gradient->score[i] = 0;
        }
    }
}

/* The next micro-batch of records first + *next, ...; at least one. */
static bool fill(Ppo *ppo, uint64_t first, size_t count, size_t *next, Error *err) {
    batch_clear(&ppo->ptx_batch);
    while (*next < count) {
        const Example *example = ptx_example(ppo, first + *next);
        if (ppo->ptx_batch.tokens > 0 &&
            ppo->ptx_batch.tokens + example_rows(example, false) > ppo->rows) {
            break;
        }
        size_t sequence;
        if (!example_add(example, false, false, &ppo->ptx_batch, &sequence, err)) {
            return false;
        }
        *next += 1;
    }
    return true;
}

bool ppo_ptx(Ppo *ppo, uint64_t first, size_t count, double *loss, Error *err) {
    size_t tokens = 0;
    for (size_t next = 0; next < count;) {
        if (!fill(ppo, first, count, &next, err)) {
            return false;
        }
        for (size_t r = 0; r < ppo->ptx_batch.tokens; r++) {
            tokens += ppo->ptx_batch.target[r] != BATCH_NO_TARGET;
        }
    }
    *loss = 0;
    if (tokens == 0) {
        return true;
    }
    PtxContext context = {.weight = ppo->config->ppo.ptx_coef / (double)tokens,
                          .target = ppo->ptx_batch.target};
    PerToken none = {0};
    /* A language model's loss is that of its own distribution, whatever the sampling temperature
     * is. */
    workspace_set_temperature(ppo->policy_space, 1);
    bool ok = true;
    for (size_t next = 0; ok && next < count;) {
        ok = fill(ppo, first, count, &next, err);
        if (ok) {
            context.target = ppo->ptx_batch.target;
            model_train(ppo->part.policy, &ppo->policy_gradients, ppo->policy_space,
                        &ppo->ptx_batch, WANT_LOGPROB, ptx_rows, &context, &none);
        }
    }
    workspace_set_temperature(ppo->policy_space,
                              (float)ppo->config->settings.generation.temperature);
    *loss = context.sum / (double)tokens;
    return ok;
}
