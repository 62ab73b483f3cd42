/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/model/pass.h"

static const float *weights(const Pass *pass, Part part) {
    return part_weights(pass->model, pass->w, part, pass->layer);
}

static float *gradient(const Pass *pass, Part part) {
    return part_gradient(pass->model, pass->gradients, pass->w, part, pass->layer);
}

static bool norms_behind(const Pass *pass) {
    return pass->w->config.family->block.place == NORM_BEHIND;
}

static void bias_gradient(const Pass *pass, Part bias, const float *dy, size_t width) {
    float *dbias = gradient(pass, bias);
    if (dbias != NULL) {
        matrix_column_sum(dbias, dy, pass->rows, width);
    }
}

/* Of a layer that read x, and of its adapter. */
static void weight_gradient(const Pass *pass, Part weight, const float *x, const float *dy) {
    float *dweight = gradient(pass, weight);
    if (dweight != NULL) {
        linear_weight_gradient(&pass->linear, weight, pass->layer, dweight, x, dy, pass->rows);
    }
    if (linear_has_adapter(&pass->linear, weight)) {
        linear_adapter_gradient(&pass->linear, weight, pass->layer, pass->gradients, x, dy,
                                pass->rows);
    }
}

/* Of a layer that read norm(x), which is computed again: forward did not keep it. */
static void normed_weight_gradient(const Pass *pass, Part weight, const PassNorm *norm,
                                   const float *dy) {
    if (gradient(pass, weight) != NULL || linear_has_adapter(&pass->linear, weight)) {
        pass_norm(pass, norm, pass->w->normed);
        weight_gradient(pass, weight, pass->w->normed, dy);
    }
}

static void norm_parameters(const Pass *pass, const PassNorm *norm, const float *dy) {
    float *dweight = gradient(pass, norm->weight), *dbias = gradient(pass, norm->bias);
    if (dweight != NULL || dbias != NULL) {
        const Norm kernel = norm_kernel(pass, norm);
        norm_backward_parameters(&kernel, dweight, dbias, dy, norm->x, norm->mean, norm->rstd,
                                 pass->rows, pass->w->config.width);
    }
}

/* dx += gradient of what the norm read */
static void norm_input(const Pass *pass, const PassNorm *norm, float *dx, const float *dy) {
    const Norm kernel = norm_kernel(pass, norm);
    norm_backward(&kernel, dx, dy, norm->x, norm->mean, norm->rstd, pass->rows,
                  pass->w->config.width);
}

static void swap_residual(Workspace *w) {
    float *narrow = w->dnarrow;
    w->dnarrow = w->dresidual;
    w->dresidual = narrow;
}

/* The residual stream's gradient becomes that of what a norm in the stream read. */
static void through_norm(const Pass *pass, const PassNorm *norm) {
    Workspace *w = pass->w;
    norm_parameters(pass, norm, w->dresidual);
    memset(w->dnarrow, 0, pass->rows * w->config.width * sizeof *w->dnarrow);
    norm_input(pass, norm, w->dnarrow, w->dresidual);
    swap_residual(w);
}

/* dx = dy W^T */
static void linear(const Pass *pass, Part part, float *dx, const float *dy, GemmFinish *finish,
                   const MatrixFinish *context) {
    linear_product(&pass->linear, part, pass->layer, PACK_BACKWARD, dx, dy, pass->rows, finish,
                   context);
}

/* What a branch's output gets, before its dropout or its norm. */
static const float *branch_output(const Pass *pass, uint32_t site) {
    Workspace *w = pass->w;
    const float *dy = w->config.parallel ? w->dbranch : w->dresidual;
    if (pass_drops(w, w->config.dropout_residual)) {
        w->masks.rate = w->config.dropout_residual;
        dropout_apply(w->dmasked, dy, &w->masks, dropout_site(w, pass->layer, site), pass->rows,
                      w->config.width);
        dy = w->dmasked;
    }
    const PassNorm norm = branch_norm(pass, site);
    if (norm.x == NULL) {
        return dy;
    }
    CHECK(!w->config.parallel);
    norm_parameters(pass, &norm, dy);
    memset(w->dbranch, 0, pass->rows * w->config.width * sizeof *w->dbranch);
    norm_input(pass, &norm, w->dbranch, dy);
    return w->dbranch;
}

/* Ends a branch at its first layer, whose output has gradient dy: the layer read norm(x), or the stream
 * itself where norms stand behind; below: whether the stream's gradient is wanted. */
static void branch_input(const Pass *pass, Part weight, const PassNorm *norm, const float *dy,
                         bool below) {
    Workspace *w = pass->w;
    if (norms_behind(pass)) {
        MatrixFinish finish = {.residual = w->dresidual, .width = w->config.width};
        linear(pass, weight, w->dnarrow, dy, finish_bias_residual, &finish);
        swap_residual(w);
        return;
    }
    linear(pass, weight, w->dnarrow, dy, NULL, NULL);
    norm_parameters(pass, norm, w->dnarrow);
    if (below) {
        norm_input(pass, norm, w->dresidual, w->dnarrow);
    }
}

/* mask(down(activation(up(norm(x))))); norm: the one that the layer reads. */
static void feed_forward_backward(const Pass *pass, const PassNorm *norm) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    const BlockActivations *a = &w->block[pass->layer];
    const float *dy = branch_output(pass, SITE_MLP_OUT), *inside = a->up, *dup = w->dwide;
    bias_gradient(pass, PART_DOWN_BIAS, dy, c->width);
    if (c->family->block.gated) {
        linear(pass, PART_DOWN_WEIGHT, w->dwide, dy, NULL, NULL);
        gated_backward(c->activation, a->up, w->dwide, pass->rows, c->inner);
        inside = w->dwide, dup = a->up;
    } else { /* the activation, which the weights' gradient reads, lies over what it was applied to */
        MatrixFinish finish = {
            .x = a->up, .y = a->up, .width = c->inner, .activation = c->activation};
        linear(pass, PART_DOWN_WEIGHT, w->dwide, dy, finish_activation_both, &finish);
    }
    weight_gradient(pass, PART_DOWN_WEIGHT, inside, dy);
    bias_gradient(pass, PART_UP_BIAS, dup, linear_outputs(c, PART_UP_WEIGHT));
    normed_weight_gradient(pass, PART_UP_WEIGHT, norm, dup);
    branch_input(pass, PART_UP_WEIGHT, norm, dup, true);
}

/* wide [rows, width]: the live rows' gradient; the others have none. */
static void widen(const Pass *pass, float *wide, const float *narrow, size_t width) {
    const Workspace *w = pass->w;
    memset(wide, 0, pass->rows * width * sizeof *wide);
    matrix_scatter_add(wide, narrow, w->live, w->lives, width);
}

/* mask(out(attention)): gives the gradient of attention. */
static const float *join_backward(const Pass *pass) {
    Workspace *w = pass->w;
    size_t width = w->config.width, query = config_query_width(&w->config);
    const float *attention = w->block[pass->layer].attention;
    bool narrow = pass_narrows(pass);
    Pass rest = *pass;
    rest.rows = narrow ? w->lives : pass->rows;
    const float *dy = branch_output(&rest, SITE_ATTENTION_OUT);
    if (narrow) {
        matrix_gather(w->dwide, attention, w->live, w->lives, query);
        attention = w->dwide;
    }
    bias_gradient(&rest, PART_ATTENTION_OUT_BIAS, dy, width);
    weight_gradient(&rest, PART_ATTENTION_OUT_WEIGHT, attention, dy);
    linear(&rest, PART_ATTENTION_OUT_WEIGHT, w->dnarrow, dy, NULL, NULL);
    if (!narrow) {
        return w->dnarrow;
    }
    widen(pass, w->normed, w->dnarrow, query);
    widen(pass, w->dnarrow, w->dresidual, width);
    swap_residual(w);
    return w->normed;
}

/* From the gradient of queries and keys as attention reads them to that of what the product gave. */
static void turn_heads_back(const Pass *pass, float *dqkv) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    size_t stride = config_qkv_width(c), query = config_query_width(c);
    size_t size = config_head_size(c);
    pass_rotate(pass, dqkv, true);
    if (weights(pass, PART_Q_NORM) != NULL) {
        const float *raw = w->block[pass->layer].raw;
        size_t raw_stride = query + config_key_width(c);
        const Norm of_query = head_norm(pass, PART_Q_NORM), of_key = head_norm(pass, PART_K_NORM);
        head_norm_backward(&of_query, dqkv, gradient(pass, PART_Q_NORM), raw, stride, raw_stride,
                           pass->rows, c->heads, size);
        head_norm_backward(&of_key, dqkv + query, gradient(pass, PART_K_NORM), raw + query, stride,
                           raw_stride, pass->rows, config_kv_heads(c), size);
    }
}

/* mask(out(attention(qkv(norm1(x))))); below: whether anything under the block wants a gradient. */
static void attention_half_backward(const Pass *pass, bool below) {
    Workspace *w = pass->w;
    const BlockActivations *a = &w->block[pass->layer];
    const PassNorm norm = first_norm(pass);
    const float *dattention = join_backward(pass);
    attention_backward(w->dwide, dattention, a->attention, a->lse, a->qkv,
                       pass_attention(w, pass->layer));
    turn_heads_back(pass, w->dwide);
    bias_gradient(pass, PART_QKV_BIAS, w->dwide, config_qkv_width(&w->config));
    if (norms_behind(pass)) {
        weight_gradient(pass, PART_QKV_WEIGHT, a->input, w->dwide);
    } else {
        normed_weight_gradient(pass, PART_QKV_WEIGHT, &norm, w->dwide);
    }
    branch_input(pass, PART_QKV_WEIGHT, &norm, w->dwide, below);
}

/* From the gradient of a block's output to that of its input, both in w->dresidual. */
static void block_backward(const Pass *pass, bool below) {
    Workspace *w = pass->w;
    size_t width = w->config.width;
    Pass rest = *pass;
    rest.rows = pass_narrows(pass) ? w->lives : pass->rows;
    PassNorm first = first_norm(pass), second = second_norm(pass);
    if (norms_behind(pass)) {
        through_norm(&rest, &second);
        feed_forward_backward(&rest, &first);
        through_norm(&rest, &first);
    } else {
        if (w->config.parallel) {
            memcpy(w->dbranch, w->dresidual, rest.rows * width * sizeof *w->dbranch);
            if (rest.rows < pass->rows) { /* the final norm is behind us: room for what it read */
                matrix_gather(w->last, second.x, w->live, w->lives, width);
                second.x = w->last;
            }
        }
        feed_forward_backward(&rest, &second);
    }
    attention_half_backward(pass, below);
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

static void embedding_half_backward(const Pass *pass, const Batch *batch) {
    Workspace *w = pass->w;
    const ModelConfig *c = &w->config;
    if (pass_drops(w, c->dropout_embedding)) {
        w->masks.rate = c->dropout_embedding;
        dropout_apply(w->dresidual, w->dresidual, &w->masks, SITE_EMBEDDING, pass->rows, c->width);
    }
    if (w->embedded != NULL) {
        const PassNorm norm = embedding_norm(w);
        through_norm(pass, &norm);
    }
    float *dplace = gradient(pass, PART_POSITION_EMBEDDING);
    dplace = dplace == NULL ? NULL : dplace + c->first_position * c->width;
    const EmbeddingRows rows = embedding_rows(pass, batch->id, batch->segment);
    embedding_backward(&rows, gradient(pass, PART_TOKEN_EMBEDDING), dplace,
                       gradient(pass, PART_SEGMENT_EMBEDDING), w->dresidual);
}

/* From the gradient of the final hidden state to that of the last block's output. */
static void final_norm_backward(const Pass *live, bool below) {
    Workspace *w = live->w;
    if (w->first[PART_FINAL_NORM_WEIGHT] == SIZE_MAX) {
        swap_residual(w);
        return;
    }
    const PassNorm norm = final_norm(w);
    norm_parameters(live, &norm, w->dnarrow);
    if (below) {
        memset(w->dresidual, 0, live->rows * w->config.width * sizeof *w->dresidual);
        norm_input(live, &norm, w->dresidual, w->dnarrow);
    }
}

void pass_backward(const Model *model, Gradients *gradients, Workspace *w, const Batch *batch) {
    const ModelConfig *c = &w->config;
    int lowest = lowest_trainable(model);
    const Pass live = pass_of(model, gradients, w, w->lives);
    Pass pass = pass_of(model, gradients, w, batch->tokens);
    final_norm_backward(&live, lowest < (int)c->layers);
    for (int layer = (int)c->layers - 1; layer >= 0 && layer >= lowest; layer--) {
        pass.layer = (size_t)layer;
        if (pass.layer < w->kept) {
            block_forward(&pass, NULL);
        }
        block_backward(&pass, layer > lowest);
    }
    if (lowest < 0) {
        pass.layer = 0;
        embedding_half_backward(&pass, batch);
    }
}

void model_backward(const Model *model, Gradients *gradients, Workspace *workspace,
                    const Batch *batch, const PerToken *d) {
    CHECK(workspace->plan.training && (!model->mapped || model->own != NULL));
    head_backward(model, gradients, workspace, batch, d);
    pass_backward(model, gradients, workspace, batch);
}

void model_train(const Model *model, Gradients *gradients, Workspace *workspace, const Batch *batch,
                 unsigned want, RowLoss *loss, void *context, const PerToken *out) {
    CHECK(workspace->plan.training && (!model->mapped || model->own != NULL));
    pass_forward(model, workspace, batch);
    head_train(model, gradients, workspace, batch, want, loss, context, out);
    pass_backward(model, gradients, workspace, batch);
}
