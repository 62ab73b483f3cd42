/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/kernels/embedding.h"
#include "common/kernels/norm.h"
#include "common/model/pass.h"

static const float *weights(const Pass *pass, Part part) {
    return part_weights(pass->model, pass->w, part, pass->layer);
}

static float *gradient(const Pass *pass, Part part) {
    return part_gradient(pass->model, pass->gradients, pass->w, part, pass->layer);
}

static void bias_gradient(const Pass *pass, Part bias, const float *dy, size_t width) {
    float *dbias = gradient(pass, bias);
    if (dbias != NULL) {
        matrix_column_sum(dbias, dy, pass->rows, width);
    }
}

/* Of a layer that read x. */
static void weight_gradient(const Pass *pass, Part weight, const float *x, const float *dy) {
    float *dweight = gradient(pass, weight);
    if (dweight != NULL) {
        linear_weight_gradient(&pass->linear, weight, pass->layer, dweight, x, dy, pass->rows);
    }
}

/* A norm of a block: its parts, and what forward kept of it. */
typedef struct BlockNorm {
    Part weight, bias;
    const float *x;
    float *mean, *rstd;
} BlockNorm;

static Norm kernel_of(const Pass *pass, const BlockNorm *norm) {
    const ModelConfig *c = &pass->w->config;
    return (Norm){c->family->block.norm, weights(pass, norm->weight), weights(pass, norm->bias),
                  c->norm_epsilon};
}

/* Of a layer that read norm(x), which is computed again: forward did not keep it. */
static void normed_weight_gradient(const Pass *pass, Part weight, const BlockNorm *norm,
                                   const float *dy) {
    Workspace *w = pass->w;
    if (gradient(pass, weight) != NULL) {
        const Norm kernel = kernel_of(pass, norm);
        norm_forward(&kernel, w->normed, norm->mean, norm->rstd, norm->x, pass->rows,
                     w->config.width);
        weight_gradient(pass, weight, w->normed, dy);
    }
}

static void block_norm_parameters(const Pass *pass, const BlockNorm *norm, const float *dy) {
    float *dweight = gradient(pass, norm->weight), *dbias = gradient(pass, norm->bias);
    if (dweight != NULL || dbias != NULL) {
        const Norm kernel = kernel_of(pass, norm);
        norm_backward_parameters(&kernel, dweight, dbias, dy, norm->x, norm->mean, norm->rstd,
                                 pass->rows, pass->w->config.width);
    }
}

/* To the residual stream. */
static void block_norm_backward(const Pass *pass, const BlockNorm *norm, const float *dy) {
    const Norm kernel = kernel_of(pass, norm);
    norm_backward(&kernel, pass->w->dresidual, dy, norm->x, norm->mean, norm->rstd, pass->rows,
                  pass->w->config.width);
}

/* The gradient before a residual branch's dropout. */
static const float *unmask(const Pass *pass, uint32_t site) {
    Workspace *w = pass->w;
    if (!pass_drops(w, w->config.dropout_residual)) {
        return w->dresidual;
    }
    w->masks.rate = w->config.dropout_residual;
    dropout_apply(w->dmasked, w->dresidual, &w->masks, dropout_site(w, pass->layer, site),
                  pass->rows, w->config.width);
    return w->dmasked;
}

/* dx = dy W^T */
static void linear(const Pass *pass, Part part, float *dx, const float *dy, GemmFinish *finish,
                   const MatrixFinish *context) {
    linear_product(&pass->linear, part, pass->layer, PACK_BACKWARD, dx, dy, pass->rows, finish,
                   context);
}

/* output = middle + mask(down(gelu(up(norm2(middle))))) */
static void feed_forward_backward(const Pass *pass) {
    Workspace *w = pass->w;
    const BlockActivations *a = &w->block[pass->layer];
    const BlockNorm norm = {PART_NORM2_WEIGHT, PART_NORM2_BIAS, a->middle, a->mean2, a->rstd2};
    size_t width = w->config.width, inner = w->config.inner;
    const float *dy = unmask(pass, SITE_MLP_OUT);
    bias_gradient(pass, PART_DOWN_BIAS, dy, width);
    /* The activation, which the weights' gradient reads, takes the place of what it was applied to. */
    MatrixFinish finish = {
        .x = a->up, .y = a->up, .width = inner, .activation = w->config.activation};
    linear(pass, PART_DOWN_WEIGHT, w->dwide, dy, finish_activation_both, &finish);
    weight_gradient(pass, PART_DOWN_WEIGHT, a->up, dy);
    bias_gradient(pass, PART_UP_BIAS, w->dwide, inner);
    normed_weight_gradient(pass, PART_UP_WEIGHT, &norm, w->dwide);
    linear(pass, PART_UP_WEIGHT, w->dnarrow, w->dwide, NULL, NULL);
    block_norm_parameters(pass, &norm, w->dnarrow);
    block_norm_backward(pass, &norm, w->dnarrow);
}

/* wide [rows, C]: the live rows' gradient; the others have none. */
static void widen(const Pass *pass, float *wide, const float *narrow) {
    const Workspace *w = pass->w;
    memset(wide, 0, pass->rows * w->config.width * sizeof *wide);
    matrix_scatter_add(wide, narrow, w->live, w->lives, w->config.width);
}

/* middle = input + mask(out(attention)): gives the gradient of attention. */
static const float *join_backward(const Pass *pass) {
    Workspace *w = pass->w;
    const float *attention = w->block[pass->layer].attention;
    const float *dy = unmask(pass, SITE_ATTENTION_OUT);
    bool narrow = pass_narrows(pass);
    Pass rest = *pass;
    if (narrow) {
        rest.rows = w->lives;
        matrix_gather(w->dwide, attention, w->live, w->lives, w->config.width);
        attention = w->dwide;
    }
    bias_gradient(&rest, PART_ATTENTION_OUT_BIAS, dy, w->config.width);
    weight_gradient(&rest, PART_ATTENTION_OUT_WEIGHT, attention, dy);
    linear(&rest, PART_ATTENTION_OUT_WEIGHT, w->dnarrow, dy, NULL, NULL);
    if (!narrow) {
        return w->dnarrow;
    }
    widen(pass, w->normed, w->dnarrow);
    widen(pass, w->dnarrow, w->dresidual);
    float *wide = w->dnarrow;
    w->dnarrow = w->dresidual;
    w->dresidual = wide;
    return w->normed;
}

/* middle = input + mask(out(attention(qkv(norm1(input))))); below: whether anything under the block
 * wants a gradient. */
static void attention_half_backward(const Pass *pass, bool below) {
    Workspace *w = pass->w;
    const BlockActivations *a = &w->block[pass->layer];
    const BlockNorm norm = {PART_NORM1_WEIGHT, PART_NORM1_BIAS, a->input, a->mean1, a->rstd1};
    size_t width = w->config.width;
    const float *dattention = join_backward(pass);
    attention_backward(w->dwide, dattention, a->attention, a->lse, a->qkv,
                       pass_attention(w, pass->layer));
    bias_gradient(pass, PART_QKV_BIAS, w->dwide, 3 * width);
    normed_weight_gradient(pass, PART_QKV_WEIGHT, &norm, w->dwide);
    linear(pass, PART_QKV_WEIGHT, w->dnarrow, w->dwide, NULL, NULL);
    block_norm_parameters(pass, &norm, w->dnarrow);
    if (below) {
        block_norm_backward(pass, &norm, w->dnarrow);
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
    Pass pass = {
        .model = model,
        .gradients = gradients,
        .w = w,
        .linear = {model, w->packed, w->plan.type},
        .rows = n
    };
    Pass live = pass;
    live.rows = w->lives;
    const BlockNorm norm = {PART_FINAL_NORM_WEIGHT, PART_FINAL_NORM_BIAS, w->last, w->mean,
                            w->rstd};
    block_norm_parameters(&live, &norm, w->dnarrow);
    if (lowest == (int)c->layers) {
        return;
    }
    memset(w->dresidual, 0, w->lives * c->width * sizeof *w->dresidual);
    block_norm_backward(&live, &norm, w->dnarrow);
    for (int layer = (int)c->layers - 1; layer >= 0 && layer >= lowest; layer--) {
        pass.layer = (size_t)layer;
        if (pass.layer < w->kept) {
            block_forward(&pass, NULL);
        }
        live.layer = pass.layer;
        feed_forward_backward(pass_narrows(&pass) ? &live : &pass);
        attention_half_backward(&pass, layer > lowest);
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
