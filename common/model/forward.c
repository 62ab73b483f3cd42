/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"
#include "common/kernels/gemm.h"
#include "common/kernels/norm.h"
#include "common/model/pass.h"

void linear_forward(const Workspace *w, float *y, float beta, const float *x, const float *weight,
                    size_t rows, size_t in, size_t out) {
    bool plain = w->config.family->block.linear == LINEAR_IN_OUT;
    gemm(PLAIN, plain ? PLAIN : TRANSPOSED, rows, out, in, 1, x, in, weight, plain ? out : in, beta,
         y, out);
}

/* y = residual + mask(x W + b): the end of each half of a block. */
static void linear_residual(Workspace *w, float *y, const float *residual, const float *x,
                            const float *weight, const float *bias, size_t rows, size_t in,
                            uint32_t site) {
    size_t width = w->config.width;
    if (!pass_drops(w, w->config.dropout_residual)) {
        matrix_start(y, residual, bias, rows, width);
        linear_forward(w, y, 1, x, weight, rows, in, width);
        return;
    }
    matrix_start(w->dmasked, NULL, bias, rows, width);
    linear_forward(w, w->dmasked, 1, x, weight, rows, in, width);
    w->masks.rate = w->config.dropout_residual;
    dropout_apply(w->dmasked, w->dmasked, &w->masks, site, rows, width);
    matrix_add(y, residual, w->dmasked, rows * width);
}

static void block_forward(const Model *model, Workspace *w, size_t layer, size_t n, float *output) {
    const ModelConfig *c = &w->config;
    BlockActivations *a = &w->block[layer];
#define WEIGHTS(part) part_weights(model, w, part, layer)
    layernorm_forward(a->norm1, a->mean1, a->rstd1, a->input, WEIGHTS(PART_NORM1_WEIGHT),
                      WEIGHTS(PART_NORM1_BIAS), c->norm_epsilon, n, c->width);
    matrix_start(a->qkv, NULL, WEIGHTS(PART_QKV_BIAS), n, 3 * c->width);
    linear_forward(w, a->qkv, 1, a->norm1, WEIGHTS(PART_QKV_WEIGHT), n, c->width, 3 * c->width);
    attention_forward(a->attention, a->lse, a->qkv, pass_attention(w, layer));
    linear_residual(w, a->middle, a->input, a->attention, WEIGHTS(PART_ATTENTION_OUT_WEIGHT),
                    WEIGHTS(PART_ATTENTION_OUT_BIAS), n, c->width,
                    dropout_site(w, layer, SITE_ATTENTION_OUT));
    layernorm_forward(a->norm2, a->mean2, a->rstd2, a->middle, WEIGHTS(PART_NORM2_WEIGHT),
                      WEIGHTS(PART_NORM2_BIAS), c->norm_epsilon, n, c->width);
    linear_forward(w, a->up, 0, a->norm2, WEIGHTS(PART_UP_WEIGHT), n, c->width, c->inner);
    matrix_bias_gelu(a->up, a->activation, WEIGHTS(PART_UP_BIAS), n, c->inner);
    linear_residual(w, output, a->middle, a->activation, WEIGHTS(PART_DOWN_WEIGHT),
                    WEIGHTS(PART_DOWN_BIAS), n, c->inner, dropout_site(w, layer, SITE_MLP_OUT));
#undef WEIGHTS
}

void pass_forward(const Model *model, Workspace *w, const Batch *batch) {
    const ModelConfig *c = &w->config;
    size_t n = batch->tokens;
    pass_begin(w, batch);
    float *input = c->layers > 0 ? w->block[0].input : w->last;
    embedding_forward(input, batch->id, w->position,
                      part_weights(model, w, PART_TOKEN_EMBEDDING, 0),
                      part_weights(model, w, PART_POSITION_EMBEDDING, 0), n, c->width);
    if (pass_drops(w, c->dropout_embedding)) {
        w->masks.rate = c->dropout_embedding;
        dropout_apply(input, input, &w->masks, SITE_EMBEDDING, n, c->width);
    }
    for (size_t layer = 0; layer < c->layers; layer++) {
        float *output = layer + 1 < c->layers ? w->block[layer + 1].input : w->last;
        block_forward(model, w, layer, n, output);
    }
    layernorm_forward(
        w->hidden, w->mean, w->rstd, w->last, part_weights(model, w, PART_FINAL_NORM_WEIGHT, 0),
        part_weights(model, w, PART_FINAL_NORM_BIAS, 0), c->norm_epsilon, n, c->width);
}

void model_forward(const Model *model, Workspace *workspace, const Batch *batch,
                   const PerToken *out) {
    pass_forward(model, workspace, batch);
    head_forward(model, workspace, batch, out);
}
