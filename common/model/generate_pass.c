/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"
#include "common/kernels/matrix.h"
#include "common/kernels/norm.h"
#include "common/model/generate_private.h"
#include "common/model/linear.h"

/* A part's values (of block `layer`). */
static const float *part(const Model *model, Part which, size_t layer) {
    size_t i = family_index(&model->config, which, layer);
    CHECK(i != SIZE_MAX);
    return model->data + model->parameter[i].offset;
}

static void linear(const Generator *g, const Model *model, Part weight, size_t layer, float *y,
                   const float *x, size_t n, GemmFinish *finish, const MatrixFinish *context) {
    const LinearLayers layers = {model, g->packed, g->type};
    linear_product(&layers, weight, layer, PACK_FORWARD, y, x, n, finish, context);
}

static void norm(Generator *g, const Model *model, Part weight, Part bias, size_t layer,
                 const float *x, size_t n) {
    const Norm kernel = {model->config.family->block.norm, part(model, weight, layer),
                         part(model, bias, layer), g->norm_epsilon};
    norm_forward(&kernel, g->normed, g->mean, g->rstd, x, n, g->width);
}

/* Of prompts only the last tokens go on: brings their rows to the front, returns their number. */
static size_t keep_last(Generator *g) {
    for (size_t i = 0; i < g->sequences; i++) {
        size_t last = g->sequence[i].end - 1;
        matrix_move_row(g->x, i, last, g->width);
        matrix_move_row(g->qkv, i, last, 3 * g->width);
        g->place[i] = g->place[last];
    }
    return g->sequences;
}

/* Returns the rows that go on: all, but of prompts in the last block, whose other rows nothing reads. */
static size_t attention(Generator *g, const Model *model, size_t layer, size_t n) {
    size_t width = g->width, head_size = width / g->heads;
    CachedPages pages = {.data = g->cache + layer * g->pages * g->page,
                         .type = g->type,
                         .heads = g->heads,
                         .kv_heads = g->heads,
                         .head_size = head_size};
    MatrixFinish qkv = {.bias = part(model, PART_QKV_BIAS, layer), .width = 3 * width};
    MatrixFinish out = {
        .bias = part(model, PART_ATTENTION_OUT_BIAS, layer), .residual = g->x, .width = width};
    norm(g, model, PART_NORM1_WEIGHT, PART_NORM1_BIAS, layer, g->x, n);
    linear(g, model, PART_QKV_WEIGHT, layer, g->qkv, g->normed, n, finish_bias, &qkv);
    cached_attention_store(&pages, g->place, g->qkv, n);
    if (g->sequences > 0 && layer + 1 < g->layers) {
        Attention whole = {.sequence = g->sequence,
                           .group = g->group,
                           .groups = g->sequences,
                           .heads = g->heads,
                           .kv_heads = g->heads,
                           .head_size = head_size,
                           .scratch = g->scratch};
        attention_forward(g->attended, g->lse, g->qkv, &whole);
    } else {
        n = g->sequences > 0 ? keep_last(g) : n;
        cached_attention(g->attended, &pages, g->place, g->qkv, n, g->scores, g->context);
    }
    linear(g, model, PART_ATTENTION_OUT_WEIGHT, layer, g->middle, g->attended, n,
           finish_bias_residual, &out);
    return n;
}

static void feed_forward(Generator *g, const Model *model, size_t layer, size_t n) {
    size_t width = g->width;
    MatrixFinish up = {.bias = part(model, PART_UP_BIAS, layer),
                       .width = g->inner,
                       .activation = model->config.activation};
    MatrixFinish down = {
        .bias = part(model, PART_DOWN_BIAS, layer), .residual = g->middle, .width = width};
    norm(g, model, PART_NORM2_WEIGHT, PART_NORM2_BIAS, layer, g->middle, n);
    linear(g, model, PART_UP_WEIGHT, layer, g->inside, g->normed, n, finish_bias_activation_only,
           &up);
    linear(g, model, PART_DOWN_WEIGHT, layer, g->x, g->inside, n, finish_bias_residual, &down);
}

void generator_pass(Generator *g, const Model *model, size_t n) {
    CHECK(n <= g->pass_rows);
    embedding_forward(g->x, g->id, g->position, part(model, PART_TOKEN_EMBEDDING, 0),
                      part(model, PART_POSITION_EMBEDDING, 0), n, g->width);
    for (size_t layer = 0; layer < g->layers; layer++) {
        n = attention(g, model, layer, n);
        feed_forward(g, model, layer, n);
    }
    norm(g, model, PART_FINAL_NORM_WEIGHT, PART_FINAL_NORM_BIAS, 0, g->x, n);
}

void generator_head(Generator *g, const Model *model, const float *hidden, size_t n) {
    CHECK(n <= g->head_rows);
    const LinearLayers layers = {model, g->packed, g->type};
    Part head = model->config.tied ? PART_TOKEN_EMBEDDING : PART_LM_HEAD;
    linear_product(&layers, head, 0, PACK_HEAD_FORWARD, g->logits, hidden, n, NULL, NULL);
}
