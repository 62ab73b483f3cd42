/* SPDX-License-Identifier: MIT
 *
 * An encoder's step and measurement: the sum over masked tokens divided by their number in the step,
 * plus with next sentences the mean over the step's sequences.
 */
#include "common/loss/classification.h"
#include "common/model/family.h"
#include "sft/sft.h"

/* The examples of a step, or all of a set in its own order. */
typedef struct Source {
    const Sft *sft;
    const ExampleSet *set;
    int64_t step; /* -1: an evaluation */
    size_t count;
} Source;

static size_t source_example(const Source *source, size_t i) {
    return source->step < 0 ? i : sft_step_example(source->sft, source->step, (int64_t)i);
}

static uint64_t source_draw(const Source *source) {
    return source->step < 0 ? MASKED_EVALUATION : (uint64_t)source->step;
}

/* Fills the batch with examples from *next on, as many as fit, at least one. */
static bool fill(Sft *sft, const Source *source, size_t *next, Error *err) {
    uint64_t draw = source_draw(source);
    batch_clear(&sft->batch);
    sft->batch.only_targets = true;
    do {
        int *label = &sft->label[sft->batch.sequences];
        if (!masked_add(&sft->masked, source->set, source_example(source, *next), draw, &sft->batch,
                        label, err)) {
            return false;
        }
        (*next)++;
    } while (*next < source->count &&
             sft->batch.tokens +
                     masked_rows(&sft->masked, source->set, source_example(source, *next), draw) <=
                 sft->rows);
    return true;
}

/* Sums of what is in the batch, from the numbers that a pass left. */
static void add_sums(const Sft *sft, SftSums *sums) {
    const Batch *batch = &sft->batch;
    bool next = sft->masked.options.next_sentence;
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t first = family_score_row(&sft->model.config, batch->start[s], batch->start[s + 1]);
        for (size_t t = batch->start[s]; t < batch->start[s + 1]; t++) {
            if (batch->target[t] == BATCH_NO_TARGET || (next && t == first)) {
                continue;
            }
            sums->loss -= (double)sft->logprob[t];
            sums->correct += sft->correct[t] > 0.5f;
            sums->tokens++;
        }
        if (next) {
            const float *score = sft->score + first * SFT_NEXT_LABELS;
            float unused[SFT_NEXT_LABELS] = {0};
            size_t label = (size_t)sft->label[s];
            sums->next_loss += classification_loss(score, SFT_NEXT_LABELS, label, 0, 1, unused);
            sums->next_correct += score[label] > score[1 - label];
            sums->sequences++;
        }
    }
}

/* Forward, and the sums of the batch added. */
static void forward(Sft *sft, const Model *model, SftSums *sums) {
    PerToken out = {.logprob = sft->logprob, .correct = sft->correct, .score = sft->score};
    model_forward(model, sft->workspace, &sft->batch, &out);
    add_sums(sft, sums);
}

/* slope: of a masked token's log-prob; weight: of a sequence's next sentence. */
static void backward(Sft *sft, float slope, double weight) {
    const Batch *batch = &sft->batch;
    bool next = sft->masked.options.next_sentence;
    for (size_t t = 0; t < batch->tokens; t++) {
        sft->dlogprob[t] = batch->target[t] == BATCH_NO_TARGET ? 0 : slope;
    }
    for (size_t i = 0; next && i < batch->tokens * SFT_NEXT_LABELS; i++) {
        sft->dscore[i] = 0;
    }
    for (size_t s = 0; next && s < batch->sequences; s++) {
        size_t first = family_score_row(&sft->model.config, batch->start[s], batch->start[s + 1]);
        sft->dlogprob[first] = 0;
        classification_loss(sft->score + first * SFT_NEXT_LABELS, SFT_NEXT_LABELS,
                            (size_t)sft->label[s], 0, weight,
                            sft->dscore + first * SFT_NEXT_LABELS);
    }
    PerToken gradient = {.logprob = sft->dlogprob, .score = sft->dscore};
    model_backward(&sft->model, &sft->gradients, sft->workspace, batch, &gradient);
}

bool sft_masked_accumulate(Sft *sft, int64_t step, SftSums *sums, Error *err) {
    Source source = {sft, &sft->train, step, (size_t)sft->config->settings.train.batch};
    size_t targets = 0, next = 0;
    for (size_t i = 0; i < source.count; i++) {
        targets += masked_targets(&sft->masked, &sft->train, source_example(&source, i),
                                  source_draw(&source));
    }
    float slope = -(float)(1.0 / (double)targets);
    *sums = (SftSums){0};
    while (next < source.count) {
        if (!fill(sft, &source, &next, err)) {
            return false;
        }
        forward(sft, &sft->model, sums);
        backward(sft, slope, 1.0 / (double)source.count);
    }
    batch_clear(&sft->batch);
    return true;
}

bool sft_masked_measure(Sft *sft, const ExampleSet *set, SftSums *sums, Error *err) {
    Source source = {sft, set, -1, set->examples};
    size_t next = 0;
    while (next < source.count) {
        if (!fill(sft, &source, &next, err)) {
            return false;
        }
        forward(sft, sft_result(sft), sums);
    }
    batch_clear(&sft->batch);
    return true;
}
