/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/kernels/embedding.h"
#include "common/kernels/gemm.h"
#include "common/kernels/norm.h"
#include "common/model/pass.h"

void linear_backward(const Workspace *w, float *dx, const float *dy, const float *weight,
                     size_t rows, size_t in, size_t out) {
    bool plain = w->config.family->block.linear == LINEAR_IN_OUT;
    gemm(PLAIN, plain ? TRANSPOSED : PLAIN, rows, in, out, 1, dy, out, weight, plain ? out : in, 0,
         dx, in);
}

void linear_backward_weight(const Workspace *w, float *dweight, const float *x, const float *dy,
                            size_t rows, size_t in, size_t out) {
    if (w->config.family->block.linear == LINEAR_IN_OUT) {
        gemm(TRANSPOSED, PLAIN, in, out, rows, 1, x, in, dy, out, 1, dweight, out);
    } else {
        gemm(TRANSPOSED, PLAIN, out, in, rows, 1, dy, out, x, in, 1, dweight, in);
    }
}

typedef struct Back {
    const Model *model;
    Gradients *gradients;
    Workspace *w;
    size_t rows;
    size_t layer;
} Back;

static const float *weights(const Back *b, Part part) {
    return part_weights(b->model, b->w, part, b->layer);
}

/* Weight and bias of a linear layer: those that are trainable. */
static void linear_parameters(const Back *b, Part weight, Part bias, const float *x,
                              const float *dy, size_t in, size_t out) {
    float *dweight = part_gradient(b->model, b->gradients, b->w, weight, b->layer);
    float *dbias = part_gradient(b->model, b->gradients, b->w, bias, b->layer);
    if (dweight != NULL) {
        linear_backward_weight(b->w, dweight, x, dy, b->rows, in, out);
    }
    if (dbias != NULL) {
        matrix_column_sum(dbias, dy, b->rows, out);
    }
}

static void norm_parameters(const Back *b, Part weight, Part bias, const float *dy, const float *x,
                            const float *mean, const float *rstd) {
    float *dweight = part_gradient(b->model, b->gradients, b->w, weight, b->layer);
    float *dbias = part_gradient(b->model, b->gradients, b->w, bias, b->layer);
    if (dweight != NULL || dbias != NULL) {
        layernorm_backward_parameters(dweight, dbias, dy, x, mean, rstd, b->rows,
                                      b->w->config.width);
    }
}

/* The gradient before a residual branch's dropout. */
static const float *unmask(const Back *b, uint32_t site) {
    Workspace *w = b->w;
    if (!pass_drops(w, w->config.dropout_residual)) {
        return w->dresidual;
    }
    w->masks.rate = w->config.dropout_residual;
    dropout_apply(w->dmasked, w->dresidual, &w->masks, dropout_site(w, b->layer, site), b->rows,
                  w->config.width);
    return w->dmasked;
}

/* output = middle + mask(down(gelu(up(norm2(middle))))) */
static void feed_forward_backward(const Back *b) {
    Workspace *w = b->w;
    const BlockActivations *a = &w->block[b->layer];
    size_t width = w->config.width, inner = w->config.inner;
    const float *dy = unmask(b, SITE_MLP_OUT);
    linear_parameters(b, PART_DOWN_WEIGHT, PART_DOWN_BIAS, a->activation, dy, inner, width);
    linear_backward(w, w->dwide, dy, weights(b, PART_DOWN_WEIGHT), b->rows, inner, width);
    matrix_gelu_backward(w->dwide, a->up, w->dwide, b->rows * inner);
    linear_parameters(b, PART_UP_WEIGHT, PART_UP_BIAS, a->norm2, w->dwide, width, inner);
    linear_backward(w, w->dnarrow, w->dwide, weights(b, PART_UP_WEIGHT), b->rows, width, inner);
    norm_parameters(b, PART_NORM2_WEIGHT, PART_NORM2_BIAS, w->dnarrow, a->middle, a->mean2,
                    a->rstd2);
    layernorm_backward(w->dresidual, w->dnarrow, a->middle, a->mean2, a->rstd2,
                       weights(b, PART_NORM2_WEIGHT), b->rows, width);
}

/* middle = input + mask(out(attention(qkv(norm1(input))))); below: whether anything under the block
 * wants a gradient. */
static void attention_half_backward(const Back *b, bool below) {
    Workspace *w = b->w;
    const BlockActivations *a = &w->block[b->layer];
    size_t width = w->config.width;
    const float *dy = unmask(b, SITE_ATTENTION_OUT);
    linear_parameters(b, PART_ATTENTION_OUT_WEIGHT, PART_ATTENTION_OUT_BIAS, a->attention, dy,
                      width, width);
    linear_backward(w, w->dnarrow, dy, weights(b, PART_ATTENTION_OUT_WEIGHT), b->rows, width,
                    width);
    attention_backward(w->dwide, w->dnarrow, a->attention, a->lse, a->qkv,
                       pass_attention(w, b->layer));
    linear_parameters(b, PART_QKV_WEIGHT, PART_QKV_BIAS, a->norm1, w->dwide, width, 3 * width);
    linear_backward(w, w->dnarrow, w->dwide, weights(b, PART_QKV_WEIGHT), b->rows, width,
                    3 * width);
    norm_parameters(b, PART_NORM1_WEIGHT, PART_NORM1_BIAS, w->dnarrow, a->input, a->mean1,
                    a->rstd1);
    if (below) {
        layernorm_backward(w->dresidual, w->dnarrow, a->input, a->mean1, a->rstd1,
                           weights(b, PART_NORM1_WEIGHT), b->rows, width);
    }
}

/* Number of the lowest layer with a trainable tensor: -1 embeddings, L final norm and heads. */
static int lowest_trainable(const Model *model) {
    int lowest = (int)model->config.layers;
    for (size_t i = 0; i < model->parameters; i++) {
        const Parameter *p = &model->parameter[i];
        if (p->gradient != SIZE_MAX && p->layer < lowest) {
            lowest = p->layer;
        }
    }
    return lowest;
}

void pass_backward(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch) {
    const ModelConfig *c = &w->config;
    size_t n = batch->tokens;
    int lowest = lowest_trainable(model);
    Back b = {model, gradients, w, n, 0};
    norm_parameters(&b, PART_FINAL_NORM_WEIGHT, PART_FINAL_NORM_BIAS, w->dnarrow, w->last, w->mean,
                    w->rstd);
    if (lowest == (int)c->layers) {
        return;
    }
    memset(w->dresidual, 0, n * c->width * sizeof *w->dresidual);
    layernorm_backward(w->dresidual, w->dnarrow, w->last, w->mean, w->rstd,
                       weights(&b, PART_FINAL_NORM_WEIGHT), n, c->width);
    for (int layer = (int)c->layers - 1; layer >= 0 && layer >= lowest; layer--) {
        b.layer = (size_t)layer;
        feed_forward_backward(&b);
        attention_half_backward(&b, layer > lowest);
    }
    if (lowest >= 0) {
        return;
    }
    if (pass_drops(w, c->dropout_embedding)) {
        w->masks.rate = c->dropout_embedding;
        dropout_apply(w->dresidual, w->dresidual, &w->masks, SITE_EMBEDDING, n, c->width);
    }
    float *dtoken = part_gradient(model, gradients, w, PART_TOKEN_EMBEDDING, 0);
    float *dplace = part_gradient(model, gradients, w, PART_POSITION_EMBEDDING, 0);
    embedding_backward(dtoken, dplace, batch->id, w->position, w->dresidual, n, c->width);
}

void model_backward(const Model *model, Gradients *gradients, Workspace *workspace,
                    const Batch *batch, const PerToken *d) {
    CHECK(workspace->plan.training && !model->mapped);
    head_backward(model, gradients, workspace, batch, d);
    pass_backward(model, gradients, workspace, batch);
}

void model_train(const Model *model, Gradients *gradients, Workspace *workspace, const Batch *batch,
                 unsigned want, RowLoss *loss, void *context, const PerToken *out) {
    CHECK(workspace->plan.training && !model->mapped);
    pass_forward(model, workspace, batch);
    head_train(model, gradients, workspace, batch, want, loss, context, out);
    pass_backward(model, gradients, workspace, batch);
}
