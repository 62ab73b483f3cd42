/* SPDX-License-Identifier: MIT
 *
 * The dense layers between an encoder's hidden state and its heads: the LM head's transform, the score
 * head's pooler.
 */
#include <string.h>

#include "common/kernels/activation.h"
#include "common/model/pass.h"

/* A layer's parts and activation; a pooler has no norm. */
typedef struct Layer {
    Part weight, bias, norm_weight, norm_bias;
    ActivationKind activation;
} Layer;

static Layer layer_of(const Pass *pass, const HeadLayer *h) {
    const ModelConfig *c = &pass->w->config;
    return h == &pass->w->transform
               ? (Layer){PART_TRANSFORM_WEIGHT, PART_TRANSFORM_BIAS, PART_TRANSFORM_NORM_WEIGHT,
                         PART_TRANSFORM_NORM_BIAS, c->activation}
               : (Layer){PART_POOLER_WEIGHT, PART_POOLER_BIAS, PARTS, PARTS,
                         c->family->block.pooler};
}

static PassNorm norm_of(const HeadLayer *h, const Layer *layer) {
    return (PassNorm){layer->norm_weight, layer->norm_bias, h->active, h->mean, h->rstd};
}

/* These layers' matrices are not packed. */
static LinearLayers linear_of(const Pass *pass) {
    return (LinearLayers){.model = pass->model, .type = pass->w->plan.type};
}

const float *head_layer_forward(const Pass *pass, HeadLayer *h, const float *x) {
    Workspace *w = pass->w;
    if (h->inner == NULL) {
        return x;
    }
    const Layer layer = layer_of(pass, h);
    const LinearLayers linear = linear_of(pass);
    MatrixFinish finish = {.bias = part_weights(pass->model, w, layer.bias, 0),
                           .y = h->active,
                           .width = w->config.width,
                           .activation = layer.activation};
    linear_product(&linear, layer.weight, 0, PACK_FORWARD, h->inner, x, pass->rows,
                   finish_bias_activation, &finish);
    if (layer.norm_weight == PARTS) {
        return h->active;
    }
    const PassNorm norm = norm_of(h, &layer);
    pass_norm(pass, &norm, h->normed);
    return h->normed;
}

static float *gradient(const Pass *pass, Part part) {
    return part_gradient(pass->model, pass->gradients, pass->w, part, 0);
}

/* d becomes the gradient of what the norm read. */
static void through_norm(const Pass *pass, const HeadLayer *h, const Layer *layer) {
    size_t width = pass->w->config.width, count = pass->rows * width;
    const PassNorm norm = norm_of(h, layer);
    const Norm kernel = norm_kernel(pass, &norm);
    norm_backward_parameters(&kernel, gradient(pass, layer->norm_weight),
                             gradient(pass, layer->norm_bias), h->d, norm.x, norm.mean, norm.rstd,
                             pass->rows, width);
    memset(h->normed, 0, count * sizeof *h->normed);
    norm_backward(&kernel, h->normed, h->d, norm.x, norm.mean, norm.rstd, pass->rows, width);
    memcpy(h->d, h->normed, count * sizeof *h->d);
}

void head_layer_backward(const Pass *pass, HeadLayer *h, const float *x) {
    size_t width = pass->w->config.width;
    const Layer layer = layer_of(pass, h);
    const LinearLayers linear = linear_of(pass);
    if (layer.norm_weight != PARTS) {
        through_norm(pass, h, &layer);
    }
    activation_backward(layer.activation, h->d, h->inner, pass->rows * width);
    float *dweight = gradient(pass, layer.weight), *dbias = gradient(pass, layer.bias);
    if (dweight != NULL) {
        linear_weight_gradient(&linear, layer.weight, 0, dweight, x, h->d, pass->rows);
    }
    if (dbias != NULL) {
        matrix_column_sum(dbias, h->d, pass->rows, width);
    }
    linear_product(&linear, layer.weight, 0, PACK_BACKWARD, h->active, h->d, pass->rows, NULL,
                   NULL);
    float *d = h->active;
    h->active = h->d;
    h->d = d;
}
