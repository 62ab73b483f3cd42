/* SPDX-License-Identifier: MIT
 *
 * The heads: log-prob, entropy and score of rows, chunk by chunk, and back.
 */
#include <string.h>

#include "common/kernels/logprob.h"
#include "common/model/pass.h"

/* Picks those of the n rows that have a target (and, with d, a gradient): places among the live rows and
 * among the n, targets. */
static size_t choose(Workspace *w, const Batch *batch, const size_t *row, size_t n,
                     const PerToken *d) {
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        size_t t = w->live[row[i]];
        if (batch->target[t] == BATCH_NO_TARGET) {
            continue;
        }
        if (d != NULL) {
            float dlogprob = d->logprob == NULL ? 0 : d->logprob[t];
            float dentropy = d->entropy == NULL ? 0 : d->entropy[t];
            if (dlogprob == 0 && dentropy == 0) {
                continue;
            }
            w->gradient.logprob[m] = dlogprob;
            w->gradient.entropy[m] = dentropy;
        }
        w->chosen[m] = row[i];
        w->place[m] = i;
        w->target[m] = batch->target[t];
        m++;
    }
    return m;
}

/* What the LM head reads of the m chosen rows. */
static const float *lm_input(const Model *model, Workspace *w, size_t m) {
    const Pass pass = pass_of(model, NULL, w, m);
    matrix_gather(w->gathered, w->hidden, w->chosen, m, w->config.width);
    return head_layer_forward(&pass, &w->transform, w->gathered);
}

/* Logits of the m chosen rows and what follows from them. */
static void logits_forward(const Model *model, Workspace *w, size_t m, bool entropy, bool correct) {
    const ModelConfig *c = &w->config;
    Part head = lm_head_part(c);
    const LinearMatrix matrix = linear_matrix(model, head, 0);
    const MatrixFinish finish = {.bias = part_weights(model, w, PART_LM_BIAS, 0),
                                 .width = c->vocabulary};
    product_run(&(Product){
        .type = w->plan.type,
        .tb = TRANSPOSED,
        .m = m,
        .n = c->vocabulary,
        .k = c->width,
        .alpha = 1 / w->temperature,
        .a = lm_input(model, w, m),
        .lda = c->width,
        .b = matrix.weight,
        .ldb = c->width,
        .compact = matrix.compact,
        .packed = packed_part(w->packed, head, 0, PACK_HEAD_FORWARD),
        .c = w->logits,
        .ldc = c->vocabulary,
        .finish = finish.bias != NULL ? finish_bias : NULL,
        .context = &finish,
    });
    logprob_forward(w->value.logprob, entropy ? w->value.entropy : NULL,
                    correct ? w->value.correct : NULL, w->lse, w->logits, w->target, m,
                    c->vocabulary);
}

/* dhead += scale dlogits^T x, of the m chosen rows */
static void head_weight_gradient(const Workspace *w, float *dhead, const float *x, size_t m,
                                 float scale) {
    size_t width = w->config.width, vocabulary = w->config.vocabulary;
    product_run(&(Product){
        .type = w->plan.type,
        .ta = TRANSPOSED,
        .m = vocabulary,
        .n = width,
        .k = m,
        .alpha = scale,
        .beta = 1,
        .a = w->logits,
        .lda = vocabulary,
        .b = x,
        .ldb = width,
        .c = dhead,
        .ldc = width,
    });
}

/* From w->gradient of the m chosen rows, whose logits are there, to the hidden state and the head. */
static void logits_backward(const Model *model, Gradients *gradients, Workspace *w, size_t m,
                            bool entropy) {
    const ModelConfig *c = &w->config;
    float scale = 1 / w->temperature;
    Part head = lm_head_part(c);
    const LinearMatrix matrix = linear_matrix(model, head, 0);
    logprob_backward(w->logits, w->lse, w->value.entropy, w->gradient.logprob,
                     entropy ? w->gradient.entropy : NULL, w->target, m, c->vocabulary);
    bool transformed = w->transform.inner != NULL;
    float *dhead = part_gradient(model, gradients, w, head, 0);
    if (dhead != NULL) {
        const float *x = transformed ? w->transform.normed : w->gathered;
        head_weight_gradient(w, dhead, x, m, scale);
    }
    float *dbias = part_gradient(model, gradients, w, PART_LM_BIAS, 0);
    if (dbias != NULL) {
        matrix_column_sum(dbias, w->logits, m, c->vocabulary);
    }
    product_run(&(Product){
        .type = w->plan.type,
        .m = m,
        .n = c->width,
        .k = c->vocabulary,
        .alpha = scale,
        .a = w->logits,
        .lda = c->vocabulary,
        .b = matrix.weight,
        .ldb = c->width,
        .compact = matrix.compact,
        .packed = packed_part(w->packed, head, 0, PACK_HEAD_BACKWARD),
        .c = transformed ? w->transform.d : w->gathered,
        .ldc = c->width,
    });
    if (transformed) {
        const Pass pass = pass_of(model, gradients, w, m);
        head_layer_backward(&pass, &w->transform, w->gathered);
    }
    matrix_scatter_add(w->dnarrow, transformed ? w->transform.d : w->gathered, w->chosen, m,
                       c->width);
}

/* y = mask(x) at a site around the pooler, of the live rows [first, first + m), which are all rows then;
 * y may be x. */
static void drop_pooled(const Workspace *w, float *y, const float *x, uint32_t site, size_t first,
                        size_t m) {
    Dropout masks = w->masks;
    masks.rate = w->pooler.dropout;
    masks.stream += first;
    masks.position += first;
    dropout_apply(y, x, &masks, site, m, w->config.width);
}

/* What the pooler reads of the live rows [first, first + m). */
static const float *pooler_input(const Workspace *w, size_t first, size_t m) {
    const float *x = w->hidden + first * w->config.width;
    if (w->pooler.masked == NULL || !pass_drops_pooled(w)) {
        return x;
    }
    drop_pooled(w, w->pooler.masked, x, SITE_POOLER_INPUT, first, m);
    return w->pooler.masked;
}

/* What the score head reads of them, x being what the pooler does. */
static const float *pool(const Pass *pass, const float *x, size_t first) {
    Workspace *w = pass->w;
    const float *pooled = head_layer_forward(pass, &w->pooler, x);
    if (pass_drops_pooled(w)) {
        drop_pooled(w, w->pooler.active, pooled, SITE_POOLED, first, pass->rows);
    }
    return pooled;
}

/* From the gradient of what `pool` gave, in w->pooler.d, to that of the hidden rows. */
static void pool_backward(const Pass *pass, const float *x, size_t first) {
    Workspace *w = pass->w;
    bool drops = pass_drops_pooled(w);
    if (drops) {
        drop_pooled(w, w->pooler.d, w->pooler.d, SITE_POOLED, first, pass->rows);
    }
    head_layer_backward(pass, &w->pooler, x);
    if (drops && w->pooler.masked != NULL) {
        drop_pooled(w, w->pooler.d, w->pooler.d, SITE_POOLER_INPUT, first, pass->rows);
    }
    matrix_accumulate(w->dnarrow + first * w->config.width, w->pooler.d,
                      pass->rows * w->config.width);
}

/* score [m, labels] of the live rows [first, first + m), m at most a chunk where there is a pooler. The
 * score head is FP32 always: it is narrow. */
static void scores_forward(const Model *model, Workspace *w, float *score, size_t first, size_t m) {
    size_t width = w->config.width, labels = w->config.labels;
    const Pass pass = pass_of(model, NULL, w, m);
    const MatrixFinish finish = {.bias = part_weights(model, w, PART_SCORE_BIAS, 0),
                                 .width = labels};
    product_run(&(Product){
        .tb = TRANSPOSED,
        .m = m,
        .n = labels,
        .k = width,
        .alpha = 1,
        .a = pool(&pass, pooler_input(w, first, m), first),
        .lda = width,
        .b = part_weights(model, w, PART_SCORE, 0),
        .ldb = width,
        .c = score,
        .ldc = labels,
        .finish = finish.bias != NULL ? finish_bias : NULL,
        .context = &finish,
    });
}

/* Of the live rows [first, first + m). */
static void scores_backward(const Model *model, Gradients *gradients, Workspace *w,
                            const float *dscore, size_t first, size_t m) {
    size_t width = w->config.width, labels = w->config.labels;
    const Pass pass = pass_of(model, gradients, w, m);
    const float *input = pooler_input(w, first, m), *x = pool(&pass, input, first);
    float *dhidden = w->dnarrow + first * width;
    bool pooled = w->pooler.inner != NULL;
    float *dhead = part_gradient(model, gradients, w, PART_SCORE, 0);
    float *dbias = part_gradient(model, gradients, w, PART_SCORE_BIAS, 0);
    if (dhead != NULL) {
        gemm(TRANSPOSED, PLAIN, labels, width, m, 1, dscore, labels, x, width, 1, dhead, width);
    }
    if (dbias != NULL) {
        matrix_column_sum(dbias, dscore, m, labels);
    }
    gemm(PLAIN, PLAIN, m, width, labels, 1, dscore, labels, part_weights(model, w, PART_SCORE, 0),
         width, pooled ? 0 : 1, pooled ? w->pooler.d : dhidden, width);
    if (pooled) {
        pool_backward(&pass, input, first);
    }
}

static void clear(float *x, size_t n) {
    if (x != NULL) {
        memset(x, 0, n * sizeof *x);
    }
}

/* Arrays of the batch from those of the chosen rows. */
static void hand_out(const Workspace *w, const PerToken *out, size_t m) {
    for (size_t i = 0; i < m; i++) {
        size_t t = w->live[w->chosen[i]];
        if (out->logprob != NULL) {
            out->logprob[t] = w->value.logprob[i];
        }
        if (out->entropy != NULL) {
            out->entropy[t] = w->value.entropy[i];
        }
        if (out->correct != NULL) {
            out->correct[t] = w->value.correct[i];
        }
    }
}

static size_t list_rows(Workspace *w, const Batch *batch, bool all) {
    size_t n = 0;
    for (size_t i = 0; i < w->lives; i++) {
        if (all || batch->target[w->live[i]] != BATCH_NO_TARGET) {
            w->row[n++] = i;
        }
    }
    return n;
}

/* Chunks of n rows are of one size, so that none is too small for its products to be fast. */
static size_t chunk_size(const Workspace *w, size_t n) {
    size_t chunks = (n + w->chunk - 1) / w->chunk;
    return n == 0 ? 1 : (n + chunks - 1) / chunks;
}

static size_t chunk_rows(size_t begin, size_t n, size_t chunk) {
    return n - begin < chunk ? n - begin : chunk;
}

static void prepare_outputs(const Workspace *w, const Batch *batch, const PerToken *out) {
    CHECK(has_lm_head(&w->config) ||
          (out->logprob == NULL && out->entropy == NULL && out->correct == NULL));
    CHECK(has_score_head(&w->config) || out->score == NULL);
    clear(out->logprob, batch->tokens);
    clear(out->entropy, batch->tokens);
    clear(out->correct, batch->tokens);
}

/* Scores of all live rows, 0 elsewhere. */
static void hand_out_scores(const Model *model, Workspace *w, const Batch *batch, float *score) {
    size_t labels = w->config.labels, n = w->lives, chunk = chunk_size(w, n);
    if (n == batch->tokens && w->pooler.inner == NULL) {
        scores_forward(model, w, score, 0, n);
        return;
    }
    memset(score, 0, batch->tokens * labels * sizeof *score);
    for (size_t begin = 0; begin < n; begin += chunk) {
        size_t rows = chunk_rows(begin, n, chunk);
        float *some = w->chunk_value.score;
        scores_forward(model, w, some, begin, rows);
        for (size_t i = 0; i < rows; i++) {
            memcpy(score + w->live[begin + i] * labels, some + i * labels, labels * sizeof *score);
        }
    }
}

/* From gradients of the scores of all rows of the batch. */
static void take_scores(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch,
                        const float *dscore) {
    size_t labels = w->config.labels, n = w->lives, chunk = chunk_size(w, n);
    if (n == batch->tokens && w->pooler.inner == NULL) {
        scores_backward(model, gradients, w, dscore, 0, n);
        return;
    }
    for (size_t begin = 0; begin < n; begin += chunk) {
        size_t rows = chunk_rows(begin, n, chunk);
        float *some = w->chunk_gradient.score;
        for (size_t i = 0; i < rows; i++) {
            memcpy(some + i * labels, dscore + w->live[begin + i] * labels, labels * sizeof *some);
        }
        scores_backward(model, gradients, w, some, begin, rows);
    }
}

void head_forward(const Model *model, Workspace *w, const Batch *batch, const PerToken *out) {
    prepare_outputs(w, batch, out);
    if (out->score != NULL) {
        hand_out_scores(model, w, batch, out->score);
    }
    if (out->logprob == NULL && out->entropy == NULL && out->correct == NULL) {
        return;
    }
    size_t n = list_rows(w, batch, false), chunk = chunk_size(w, n);
    for (size_t begin = 0; begin < n; begin += chunk) {
        size_t m = choose(w, batch, w->row + begin, chunk_rows(begin, n, chunk), NULL);
        logits_forward(model, w, m, out->entropy != NULL, out->correct != NULL);
        hand_out(w, out, m);
    }
}

void head_backward(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch,
                   const PerToken *d) {
    const ModelConfig *c = &w->config;
    clear(w->dnarrow, w->lives * c->width);
    if (d->score != NULL) {
        CHECK(has_score_head(c));
        take_scores(model, gradients, w, batch, d->score);
    }
    if (d->logprob == NULL && d->entropy == NULL) {
        return;
    }
    CHECK(has_lm_head(c));
    size_t n = list_rows(w, batch, false), chunk = chunk_size(w, n);
    for (size_t begin = 0; begin < n; begin += chunk) {
        size_t m = choose(w, batch, w->row + begin, chunk_rows(begin, n, chunk), d);
        if (m > 0) {
            logits_forward(model, w, m, d->entropy != NULL, false);
            logits_backward(model, gradients, w, m, d->entropy != NULL);
        }
    }
}

/* Spreads the chosen rows' values over the chunk's rows (0 elsewhere), and picks their gradients. */
static void spread(const size_t *place, size_t m, float *to, size_t n, const float *from) {
    memset(to, 0, n * sizeof *to);
    for (size_t i = 0; i < m; i++) {
        to[place[i]] = from[i];
    }
}

static void pick(const size_t *place, size_t m, float *to, const float *from) {
    for (size_t i = 0; i < m; i++) {
        to[i] = from[place[i]];
    }
}

/* The arrays of a chunk that the row function sees. */
static void chunk_arrays(const Workspace *w, unsigned want, PerToken *value, PerToken *gradient) {
    *value = *gradient = (PerToken){0};
    if (want & WANT_LOGPROB) {
        value->logprob = w->chunk_value.logprob;
        gradient->logprob = w->chunk_gradient.logprob;
    }
    if (want & WANT_ENTROPY) {
        value->entropy = w->chunk_value.entropy;
        gradient->entropy = w->chunk_gradient.entropy;
    }
    if (want & WANT_SCORE) {
        value->score = w->chunk_value.score;
        gradient->score = w->chunk_gradient.score;
    }
}

void head_train(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch,
                unsigned want, RowLoss *loss, void *context, const PerToken *out) {
    const ModelConfig *c = &w->config;
    const PerToken none = {0};
    out = out == NULL ? &none : out;
    prepare_outputs(w, batch, out);
    clear(w->dnarrow, w->lives * c->width);
    bool scores = (want & WANT_SCORE) != 0, lm = (want & (WANT_LOGPROB | WANT_ENTROPY)) != 0;
    bool entropy = (want & WANT_ENTROPY) != 0 || out->entropy != NULL;
    CHECK((!scores || has_score_head(c)) && (!lm || has_lm_head(c)));
    lm = lm || out->logprob != NULL || out->entropy != NULL || out->correct != NULL;
    PerToken value, gradient;
    chunk_arrays(w, want, &value, &gradient);
    size_t n = list_rows(w, batch, scores), chunk = chunk_size(w, n);
    for (size_t begin = 0; begin < n; begin += chunk) {
        size_t rows = chunk_rows(begin, n, chunk);
        size_t m = lm ? choose(w, batch, w->row + begin, rows, NULL) : 0;
        if (m > 0) {
            logits_forward(model, w, m, entropy, out->correct != NULL);
            hand_out(w, out, m);
        }
        if (value.logprob != NULL) {
            spread(w->place, m, value.logprob, rows, w->value.logprob);
            clear(gradient.logprob, rows);
        }
        if (value.entropy != NULL) {
            spread(w->place, m, value.entropy, rows, w->value.entropy);
            clear(gradient.entropy, rows);
        }
        for (size_t i = 0; i < rows; i++) {
            w->batch_row[i] = w->live[w->row[begin + i]];
        }
        if (scores) { /* then the chunk is the live rows begin, begin + 1, ... */
            scores_forward(model, w, value.score, begin, rows);
            clear(gradient.score, rows * c->labels);
        }
        loss(context, rows, w->batch_row, &value, &gradient);
        if (scores) {
            scores_backward(model, gradients, w, gradient.score, begin, rows);
        }
        if (m > 0 && (value.logprob != NULL || value.entropy != NULL)) {
            clear(w->gradient.logprob, m);
            if (value.logprob != NULL) {
                pick(w->place, m, w->gradient.logprob, gradient.logprob);
            }
            if (value.entropy != NULL) {
                pick(w->place, m, w->gradient.entropy, gradient.entropy);
            }
            logits_backward(model, gradients, w, m, value.entropy != NULL);
        }
    }
    if (out->score != NULL) {
        hand_out_scores(model, w, batch, out->score);
    }
}
