/* SPDX-License-Identifier: MIT */
#include "common/model/linear.h"

#include "common/base/error.h"

/* A layer's matrix as it is stored. */
typedef struct Linear {
    const float *weight;
    bool in_out;
    size_t in, out, columns;
} Linear;

static Linear linear_of(const Model *model, Part part, size_t layer) {
    size_t index = family_index(&model->config, part, layer);
    CHECK(index != SIZE_MAX);
    const Parameter *p = &model->parameter[index];
    bool head = part == PART_TOKEN_EMBEDDING || part == PART_LM_HEAD; /* [V, C] in every family */
    bool in_out = !head && model->config.family->block.linear == LINEAR_IN_OUT;
    return (Linear){model->data + p->offset, in_out, p->shape[in_out ? 0 : 1],
                    p->shape[in_out ? 1 : 0], p->shape[1]};
}

void linear_product(const LinearLayers *layers, Part part, size_t layer, unsigned which, float *y,
                    const float *x, size_t rows, GemmFinish *finish, const MatrixFinish *context) {
    Linear l = linear_of(layers->model, part, layer);
    bool back = which == PACK_BACKWARD;
    product_run(&(Product){
        .type = layers->type,
        .tb = l.in_out == back ? TRANSPOSED : PLAIN,
        .m = rows,
        .n = back ? l.in : l.out,
        .k = back ? l.out : l.in,
        .alpha = 1,
        .a = x,
        .lda = back ? l.out : l.in,
        .b = l.weight,
        .ldb = l.columns,
        .packed = packed_part(layers->packed, part, layer, which),
        .c = y,
        .ldc = back ? l.in : l.out,
        .finish = finish,
        .context = context,
    });
}

void linear_weight_gradient(const LinearLayers *layers, Part part, size_t layer, float *dweight,
                            const float *x, const float *dy, size_t rows) {
    Linear l = linear_of(layers->model, part, layer);
    product_run(&(Product){
        .type = layers->type,
        .ta = TRANSPOSED,
        .m = l.in_out ? l.in : l.out,
        .n = l.columns,
        .k = rows,
        .alpha = 1,
        .beta = 1,
        .a = l.in_out ? x : dy,
        .lda = l.in_out ? l.in : l.out,
        .b = l.in_out ? dy : x,
        .ldb = l.columns,
        .c = dweight,
        .ldc = l.columns,
    });
}
