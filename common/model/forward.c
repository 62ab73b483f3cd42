/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"
#include "common/kernels/norm.h"
#include "common/model/pass.h"

static const float *weights(const Pass *pass, Part part) {
    return part_weights(pass->model, pass->w, part, pass->layer);
}

static Norm norm_of(const Pass *pass, Part weight, Part bias) {
    const ModelConfig *c = &pass->w->config;
    return (Norm){c->family->block.norm, weights(pass, weight), weights(pass, bias),
                  c->norm_epsilon};
}

static void linear(const Pass *pass, Part part, float *y, const float *x, GemmFinish *finish,
                   const MatrixFinish *context) {
    linear_product(&pass->linear, part, pass->layer, PACK_FORWARD, y, x, pass->rows, finish,
                   context);
}

/* y = residual + mask(x W + b): the end of each half of a block. */
static void linear_residual(const Pass *pass, float *y, const float *residual, const float *x,
                            Part weight, Part bias, uint32_t site) {
    Workspace *w = pass->w;
    size_t width = w->config.width;
    MatrixFinish finish = {.bias = weights(pass, bias), .residual = residual, .width = width};
    if (!pass_drops(w, w->config.dropout_residual)) {
        linear(pass, weight, y, x, finish_bias_residual, &finish);
        return;
    }
    linear(pass, weight, w->dmasked, x, finish_bias, &finish);
    w->masks.rate = w->config.dropout_residual;
    dropout_apply(w->dmasked, w->dmasked, &w->masks, dropout_site(w, pass->layer, site), pass->rows,
                  width);
    matrix_add(y, residual, w->dmasked, pass->rows * width);
}

/* attention(qkv(norm1(input))) */
static void attend(const Pass *pass) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const BlockActivations *a = &w->block[pass->layer];
    const Norm norm = norm_of(pass, PART_NORM1_WEIGHT, PART_NORM1_BIAS);
    norm_forward(&norm, w->normed, a->mean1, a->rstd1, a->input, pass->rows, c->width);
    MatrixFinish finish = {.bias = weights(pass, PART_QKV_BIAS), .width = 3 * c->width};
    linear(pass, PART_QKV_WEIGHT, a->qkv, w->normed, finish_bias, &finish);
    attention_forward(a->attention, a->lse, a->qkv, pass_attention(w, pass->layer));
}

/* middle = input + mask(out(attention)). In the last block it has the live rows only: they are
 * collected where the keys were or where the activation will be. */
static void join(const Pass *pass) {
    Workspace *w = pass->w;
    const BlockActivations *a = &w->block[pass->layer];
    const float *input = a->input, *attention = a->attention;
    Pass rest = *pass;
    if (pass_narrows(pass)) {
        float *free_place = w->plan.training ? w->dwide : a->qkv;
        size_t width = w->config.width;
        rest.rows = w->lives;
        matrix_gather(free_place, attention, w->live, w->lives, width);
        attention = free_place;
        free_place += w->lives * width;
        matrix_gather(free_place, input, w->live, w->lives, width);
        input = free_place;
    }
    linear_residual(&rest, a->middle, input, attention, PART_ATTENTION_OUT_WEIGHT,
                    PART_ATTENTION_OUT_BIAS, SITE_ATTENTION_OUT);
}

/* output = middle + mask(down(gelu(up(norm2(middle))))) */
static void feed_forward(const Pass *pass, float *output) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const BlockActivations *a = &w->block[pass->layer];
    const Norm norm = norm_of(pass, PART_NORM2_WEIGHT, PART_NORM2_BIAS);
    norm_forward(&norm, w->normed, a->mean2, a->rstd2, a->middle, pass->rows, c->width);
    MatrixFinish finish = {.bias = weights(pass, PART_UP_BIAS),
                           .y = w->dwide,
                           .width = c->inner,
                           .activation = c->activation};
    if (output == NULL) {
        linear(pass, PART_UP_WEIGHT, a->up, w->normed, finish_bias, &finish);
        return;
    }
    bool kept = pass->layer >= w->kept;
    linear(pass, PART_UP_WEIGHT, a->up, w->normed,
           kept ? finish_bias_activation : finish_bias_activation_only, &finish);
    linear_residual(pass, output, a->middle, kept ? w->dwide : a->up, PART_DOWN_WEIGHT,
                    PART_DOWN_BIAS, SITE_MLP_OUT);
}

void block_forward(const Pass *pass, float *output) {
    Pass rest = *pass;
    rest.rows = pass_narrows(pass) ? pass->w->lives : pass->rows;
    attend(pass);
    join(pass);
    feed_forward(&rest, output);
}

void pass_forward(const Model *model, Workspace *w, const Batch *batch) {
    const ModelConfig *c = &w->config;
    size_t n = batch->tokens;
    pass_begin(w, batch);
    if (w->packed != NULL) {
        packed_update(w->packed, model);
    }
    float *input = c->layers > 0 ? w->block[0].input : w->last;
    embedding_forward(input, batch->id, w->position,
                      part_weights(model, w, PART_TOKEN_EMBEDDING, 0),
                      part_weights(model, w, PART_POSITION_EMBEDDING, 0), n, c->width);
    if (pass_drops(w, c->dropout_embedding)) {
        w->masks.rate = c->dropout_embedding;
        dropout_apply(input, input, &w->masks, SITE_EMBEDDING, n, c->width);
    }
    for (size_t layer = 0; layer < c->layers; layer++) {
        Pass pass = {
            .model = model,
            .w = w,
            .linear = {model, w->packed, w->plan.type},
            .rows = n,
            .layer = layer
        };
        block_forward(&pass, layer + 1 < c->layers ? w->block[layer + 1].input : w->last);
    }
    const Norm norm = {c->family->block.norm, part_weights(model, w, PART_FINAL_NORM_WEIGHT, 0),
                       part_weights(model, w, PART_FINAL_NORM_BIAS, 0), c->norm_epsilon};
    norm_forward(&norm, w->hidden, w->mean, w->rstd, w->last, w->lives, c->width);
}

void model_forward(const Model *model, Workspace *workspace, const Batch *batch,
                   const PerToken *out) {
    pass_forward(model, workspace, batch);
    head_forward(model, workspace, batch, out);
}
