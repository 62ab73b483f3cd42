/* SPDX-License-Identifier: MIT */
#include "common/kernels/embedding.h"
#include "common/kernels/gemm.h"
#include "common/kernels/matrix.h"
#include "common/kernels/norm.h"
#include "common/model/generate_private.h"

/* A part's values (of block `layer`). */
static const float *part(const Model *model, Part which, size_t layer) {
    size_t i = family_index(&model->config, which, layer);
    CHECK(i != SIZE_MAX);
    return model->data + model->parameter[i].offset;
}

/* y += x W, y [n, out] already holding what is added. */
static void linear_add(const Generator *g, float *y, const float *x, const float *weight, size_t n,
                       size_t in, size_t out) {
    bool plain = g->family->block.linear == LINEAR_IN_OUT;
    gemm(PLAIN, plain ? PLAIN : TRANSPOSED, n, out, in, 1.0f, x, in, weight, plain ? out : in, 1.0f,
         y, out);
}

static void attention(Generator *g, const Model *model, size_t layer, size_t n) {
    size_t width = g->width, head_size = width / g->heads;
    float *pages = g->cache + layer * g->pages * page_floats(g->heads, head_size);
    layernorm_forward(g->normed, g->mean, g->rstd, g->x, part(model, PART_NORM1_WEIGHT, layer),
                      part(model, PART_NORM1_BIAS, layer), g->norm_epsilon, n, width);
    matrix_start(g->qkv, NULL, part(model, PART_QKV_BIAS, layer), n, 3 * width);
    linear_add(g, g->qkv, g->normed, part(model, PART_QKV_WEIGHT, layer), n, width, 3 * width);
    cached_attention_store(pages, g->place, g->qkv, n, g->heads, head_size);
    cached_attention(g->attended, pages, g->place, g->qkv, n, g->heads, head_size, g->scores,
                     g->context);
    matrix_start(g->middle, g->x, part(model, PART_ATTENTION_OUT_BIAS, layer), n, width);
    linear_add(g, g->middle, g->attended, part(model, PART_ATTENTION_OUT_WEIGHT, layer), n, width,
               width);
}

static void feed_forward(Generator *g, const Model *model, size_t layer, size_t n) {
    size_t width = g->width, inner = g->inner;
    layernorm_forward(g->normed, g->mean, g->rstd, g->middle, part(model, PART_NORM2_WEIGHT, layer),
                      part(model, PART_NORM2_BIAS, layer), g->norm_epsilon, n, width);
    gemm(PLAIN, g->family->block.linear == LINEAR_IN_OUT ? PLAIN : TRANSPOSED, n, inner, width,
         1.0f, g->normed, width, part(model, PART_UP_WEIGHT, layer),
         g->family->block.linear == LINEAR_IN_OUT ? inner : width, 0.0f, g->up, inner);
    matrix_bias_gelu(g->up, g->bent, part(model, PART_UP_BIAS, layer), n, inner);
    matrix_start(g->x, g->middle, part(model, PART_DOWN_BIAS, layer), n, width);
    linear_add(g, g->x, g->bent, part(model, PART_DOWN_WEIGHT, layer), n, inner, width);
}

void generator_pass(Generator *g, const Model *model, size_t n) {
    CHECK(n <= g->pass_rows);
    embedding_forward(g->x, g->id, g->position, part(model, PART_TOKEN_EMBEDDING, 0),
                      part(model, PART_POSITION_EMBEDDING, 0), n, g->width);
    for (size_t layer = 0; layer < g->layers; layer++) {
        attention(g, model, layer, n);
        feed_forward(g, model, layer, n);
    }
    layernorm_forward(g->normed, g->mean, g->rstd, g->x, part(model, PART_FINAL_NORM_WEIGHT, 0),
                      part(model, PART_FINAL_NORM_BIAS, 0), g->norm_epsilon, n, g->width);
}

void generator_head(Generator *g, const Model *model, const float *hidden, size_t n) {
    CHECK(n <= g->head_rows);
    Part head = model->config.tied ? PART_TOKEN_EMBEDDING : PART_LM_HEAD;
    gemm(PLAIN, TRANSPOSED, n, g->vocabulary, g->width, 1.0f, hidden, g->width,
         part(model, head, 0), g->width, 0.0f, g->logits, g->vocabulary);
}
