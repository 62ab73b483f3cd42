/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "common/kernels/rotary.h"
#include "common/model/pass.h"

static const float *weights(const Pass *pass, Part part) {
    return part_weights(pass->model, pass->w, part, pass->layer);
}

static const BlockActivations *block_of(const Pass *pass) {
    return &pass->w->block[pass->layer];
}

static bool norms_behind(const ModelConfig *config) {
    return config->family->block.place == NORM_BEHIND;
}

PassNorm first_norm(const Pass *pass) {
    const BlockActivations *a = block_of(pass);
    return (PassNorm){PART_NORM1_WEIGHT, PART_NORM1_BIAS,
                      norms_behind(&pass->w->config) ? a->middle : a->input, a->mean1, a->rstd1};
}

PassNorm second_norm(const Pass *pass) {
    const BlockActivations *a = block_of(pass);
    const ModelConfig *c = &pass->w->config;
    return (PassNorm){PART_NORM2_WEIGHT, PART_NORM2_BIAS,
                      norms_behind(c) ? a->sum
                      : c->parallel   ? a->input
                                      : a->middle,
                      a->mean2, a->rstd2};
}

static const BranchActivations *branch_of(const Pass *pass, uint32_t site) {
    return &block_of(pass)->branch[site == SITE_ATTENTION_OUT ? 0 : 1];
}

PassNorm branch_norm(const Pass *pass, uint32_t site) {
    bool first = site == SITE_ATTENTION_OUT;
    const BranchActivations *a = branch_of(pass, site);
    return (PassNorm){first ? PART_NORM1_OUT_WEIGHT : PART_NORM2_OUT_WEIGHT,
                      first ? PART_NORM1_OUT_BIAS : PART_NORM2_OUT_BIAS, a->out, a->mean, a->rstd};
}

PassNorm embedding_norm(const Workspace *w) {
    return (PassNorm){PART_EMBEDDING_NORM_WEIGHT, PART_EMBEDDING_NORM_BIAS, w->embedded,
                      w->embedded_mean, w->embedded_rstd};
}

PassNorm final_norm(const Workspace *w) {
    return (PassNorm){PART_FINAL_NORM_WEIGHT, PART_FINAL_NORM_BIAS, w->last, w->mean, w->rstd};
}

Norm norm_kernel(const Pass *pass, const PassNorm *norm) {
    const ModelConfig *c = &pass->w->config;
    return (Norm){c->family->block.norm, weights(pass, norm->weight), weights(pass, norm->bias),
                  c->norm_epsilon};
}

void pass_norm(const Pass *pass, const PassNorm *norm, float *y) {
    const Norm kernel = norm_kernel(pass, norm);
    norm_forward(&kernel, y, norm->mean, norm->rstd, norm->x, pass->rows, pass->w->config.width);
}

static void linear(const Pass *pass, Part part, float *y, const float *x, GemmFinish *finish,
                   const MatrixFinish *context) {
    linear_product(&pass->linear, part, pass->layer, PACK_FORWARD, y, x, pass->rows, finish,
                   context);
}

/* norm(x W + b), in w->normed: a branch of a block that a norm ends. */
static void linear_normed(const Pass *pass, const float *x, Part weight, Part bias, uint32_t site) {
    Workspace *w = pass->w;
    const PassNorm norm = branch_norm(pass, site);
    MatrixFinish finish = {.bias = weights(pass, bias), .width = w->config.width};
    linear(pass, weight, branch_of(pass, site)->out, x, finish_bias, &finish);
    pass_norm(pass, &norm, w->normed);
}

/* y = residual + mask(x W + b), or residual + mask(norm(x W + b)): the end of each branch of a block. */
static void linear_residual(const Pass *pass, float *y, const float *residual, const float *x,
                            Part weight, Part bias, uint32_t site) {
    Workspace *w = pass->w;
    size_t width = w->config.width;
    MatrixFinish finish = {.bias = weights(pass, bias), .residual = residual, .width = width};
    bool normed = branch_of(pass, site)->out != NULL;
    bool drops = pass_drops(w, w->config.dropout_residual);
    if (!normed && !drops) {
        linear(pass, weight, y, x, finish_bias_residual, &finish);
        return;
    }
    float *branch = normed ? w->normed : w->dmasked;
    if (normed) {
        linear_normed(pass, x, weight, bias, site);
    } else {
        linear(pass, weight, branch, x, finish_bias, &finish);
    }
    if (drops) {
        w->masks.rate = w->config.dropout_residual;
        dropout_apply(branch, branch, &w->masks, dropout_site(w, pass->layer, site), pass->rows,
                      width);
    }
    matrix_add(y, residual, branch, pass->rows * width);
}

Norm head_norm(const Pass *pass, Part weight) {
    const ModelConfig *c = &pass->w->config;
    return (Norm){c->family->block.norm, weights(pass, weight), NULL, c->norm_epsilon};
}

void pass_rotate(const Pass *pass, float *qkv, bool back) {
    const Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const Rope *rope = config_rope(c, pass->layer);
    const float *turn = rope == &c->rope ? w->turn : w->local_turn;
    if (turn != NULL) {
        rotary_apply(qkv, config_qkv_width(c), pass->rows, c->heads + config_kv_heads(c),
                     config_head_size(c), w->position, turn, rope->dimensions / 2, back);
    }
}

/* Norm and rotation of queries and keys, in place. */
static void turn_heads(const Pass *pass) {
    const ModelConfig *c = &pass->w->config;
    const BlockActivations *a = block_of(pass);
    size_t stride = config_qkv_width(c), query = config_query_width(c);
    size_t size = config_head_size(c);
    if (weights(pass, PART_Q_NORM) != NULL) {
        if (a->raw != NULL) {
            matrix_copy_columns(a->raw, a->qkv, stride, pass->rows, query + config_key_width(c));
        }
        const Norm of_query = head_norm(pass, PART_Q_NORM), of_key = head_norm(pass, PART_K_NORM);
        head_norm_forward(&of_query, a->qkv, stride, pass->rows, c->heads, size);
        head_norm_forward(&of_key, a->qkv + query, stride, pass->rows, config_kv_heads(c), size);
    }
    pass_rotate(pass, a->qkv, false);
}

void block_project(const Pass *pass) {
    const BlockActivations *a = block_of(pass);
    const ModelConfig *c = &pass->w->config;
    const float *x = a->input;
    if (!norms_behind(c)) {
        const PassNorm norm = first_norm(pass);
        pass_norm(pass, &norm, pass->w->normed);
        x = pass->w->normed;
    }
    MatrixFinish finish = {.bias = weights(pass, PART_QKV_BIAS), .width = config_qkv_width(c)};
    linear(pass, PART_QKV_WEIGHT, a->qkv, x, finish_bias, &finish);
    turn_heads(pass);
}

/* The first feed-forward layer of w->normed, and what the activation makes of it, which is returned. Its
 * input is overwritten unless it is kept. */
static const float *activate(const Pass *pass, bool keep) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    float *up = block_of(pass)->up;
    MatrixFinish finish = {.bias = weights(pass, PART_UP_BIAS),
                           .y = w->inside,
                           .width = linear_outputs(c, PART_UP_WEIGHT),
                           .activation = c->activation};
    if (c->family->block.gated) {
        linear(pass, PART_UP_WEIGHT, up, w->normed, finish_bias, &finish);
        gated_forward(c->activation, w->inside, up, pass->rows, c->inner);
        return w->inside;
    }
    linear(pass, PART_UP_WEIGHT, up, w->normed,
           keep ? finish_bias_activation : finish_bias_activation_only, &finish);
    return keep ? w->inside : up;
}

/* Sequential: middle = input + attention's branch, output = middle + f(norm2(middle)); parallel: the same
 * but f reads norm2(input); with norms behind: output = norm2(h + f(h)), h = norm1(middle). */
void block_finish(const Pass *pass, const float *input, const float *attention, float *output) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const BlockActivations *a = block_of(pass);
    bool behind = norms_behind(c), again = output == NULL;
    if (!again || !c->parallel) {
        linear_residual(pass, a->middle, input, attention, PART_ATTENTION_OUT_WEIGHT,
                        PART_ATTENTION_OUT_BIAS, SITE_ATTENTION_OUT);
    }
    PassNorm norm = behind ? first_norm(pass) : second_norm(pass);
    norm.x = c->parallel ? input : a->middle;
    pass_norm(pass, &norm, w->normed);
    bool ends_in_norm = branch_of(pass, SITE_MLP_OUT)->out != NULL;
    if (again && !behind && !ends_in_norm) {
        MatrixFinish finish = {.bias = weights(pass, PART_UP_BIAS),
                               .width = linear_outputs(c, PART_UP_WEIGHT)};
        linear(pass, PART_UP_WEIGHT, a->up, w->normed, finish_bias, &finish);
        return;
    }
    const float *inside = activate(pass, again || pass->layer >= w->kept);
    if (again && ends_in_norm) {
        linear_normed(pass, inside, PART_DOWN_WEIGHT, PART_DOWN_BIAS, SITE_MLP_OUT);
        return;
    }
    linear_residual(pass, behind ? a->sum : output, behind ? w->normed : a->middle, inside,
                    PART_DOWN_WEIGHT, PART_DOWN_BIAS, SITE_MLP_OUT);
    if (behind) {
        norm = second_norm(pass);
        pass_norm(pass, &norm, again ? w->normed : output);
    }
}

/* In the last block the live rows alone go on: they are collected where the keys were or where the
 * activation will be. */
void block_forward(const Pass *pass, float *output) {
    Workspace *w = pass->w;
    const BlockActivations *a = block_of(pass);
    const float *input = a->input, *attention = a->attention;
    Pass rest = *pass;
    block_project(pass);
    attention_forward(a->attention, a->lse, a->qkv, pass_attention(w, pass->layer));
    if (pass_narrows(pass)) {
        float *place = w->plan.training ? w->dwide : a->qkv;
        size_t width = config_query_width(&w->config);
        rest.rows = w->lives;
        matrix_gather(place, attention, w->live, w->lives, width);
        attention = place;
        place += w->lives * width;
        matrix_gather(place, input, w->live, w->lives, w->config.width);
        input = place;
    }
    block_finish(&rest, input, attention, output);
}

float *block_output(const Workspace *w, size_t layer) {
    return layer + 1 < w->config.layers ? w->block[layer + 1].input : w->last;
}

/* The first rows of the table of positions may belong to none. */
static const float *place_table(const Pass *pass) {
    const ModelConfig *c = &pass->w->config;
    const float *table = weights(pass, PART_POSITION_EMBEDDING);
    return table == NULL ? NULL : table + c->first_position * c->width;
}

EmbeddingRows embedding_rows(const Pass *pass, const int32_t *id, const uint8_t *segment) {
    const ModelConfig *c = &pass->w->config;
    return (EmbeddingRows){
        .id = id,
        .position = pass->w->position,
        .segment = segment,
        .rows = pass->rows,
        .width = c->width,
        .scale = c->family->block.scaled_embedding ? sqrtf((float)c->width) : 0,
    };
}

void pass_embed(const Pass *pass, const int32_t *id, const uint8_t *segment) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const LinearMatrix token = linear_matrix(pass->model, PART_TOKEN_EMBEDDING, 0);
    EmbeddingRows rows = embedding_rows(pass, id, segment);
    rows.compact = token.compact;
    float *input = c->layers > 0 ? w->block[0].input : w->last;
    embedding_forward(w->embedded != NULL ? w->embedded : input, &rows, token.weight,
                      place_table(pass), weights(pass, PART_SEGMENT_EMBEDDING));
    if (w->embedded != NULL) {
        const PassNorm norm = embedding_norm(w);
        pass_norm(pass, &norm, input);
    }
    if (pass_drops(w, c->dropout_embedding)) {
        w->masks.rate = c->dropout_embedding;
        dropout_apply(input, input, &w->masks, SITE_EMBEDDING, pass->rows, c->width);
    }
}

void pass_finish(const Pass *pass) {
    Workspace *w = pass->w;
    if (w->first[PART_FINAL_NORM_WEIGHT] != SIZE_MAX) {
        const PassNorm norm = final_norm(w);
        pass_norm(pass, &norm, w->hidden);
    }
}

Pass pass_of(const Model *model, Gradients *gradients, Workspace *w, size_t rows) {
    return (Pass){
        .model = model,
        .gradients = gradients,
        .w = w,
        .linear = {model, w->packed, w->plan.type, pass_adapter(model, w)},
        .rows = rows,
    };
}

void pass_forward(const Model *model, Workspace *w, const Batch *batch) {
    pass_begin(w, batch);
    if (w->packed != NULL) {
        packed_update(w->packed, model);
    }
    Pass pass = pass_of(model, NULL, w, batch->tokens);
    pass_embed(&pass, batch->id, batch->segment);
    for (; pass.layer < w->config.layers; pass.layer++) {
        block_forward(&pass, block_output(w, pass.layer));
    }
    Pass live = pass_of(model, NULL, w, w->lives);
    pass_finish(&live);
}

void model_forward(const Model *model, Workspace *workspace, const Batch *batch,
                   const PerToken *out) {
    pass_forward(model, workspace, batch);
    head_forward(model, workspace, batch, out);
}
